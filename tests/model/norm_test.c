// tests/model/norm_test.c - norms of rows, forward against the formula in double, backward against
// central differences of the double formula. Tolerances: sums of up to `width` fp32 terms of size
// about 1, relative to results of about 1: 1e-6; differences of step 1e-5 in double add 1e-9.
#include "tests/model/device.h"

static const size_t widths[] = {2, 5, 16, 17, 64, 130};
#define GROUPS 3
#define GROUP_ROWS 5

static void formula(enum model_norm_stat stat, const double *x, const double *gain, size_t n,
                    double *y) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    if (stat == MODEL_MEAN_SQUARE) mean = 0;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    const double v = square / (double)(stat == MODEL_VARIANCE ? n - 1 : n);
    for (size_t i = 0; i < n; i++) y[i] = gain[i] * x[i] / sqrt(v + 1e-3);
}

// Sum of dy * y of one row, as a function of x and gain.
static double objective(enum model_norm_stat stat, const double *x, const double *gain,
                        const float *dy, size_t n) {
    double y[256], sum = 0;
    formula(stat, x, gain, n, y);
    for (size_t i = 0; i < n; i++) sum += y[i] * (double)dy[i];
    return sum;
}

static void try_width(struct model_backend *backend, enum model_norm_stat stat, size_t n,
                      size_t skip, bool add) {
    struct proto_error error = {0};
    const size_t rows = GROUPS * GROUP_ROWS, kept = GROUPS * (GROUP_ROWS - skip);
    float *x = device_host(rows * n, 1), *gain = device_host(n, 2), *dy = device_host(kept * n, 3);
    float *before = device_host(rows * n, 4), *dgain_before = device_host(n, 5);
    struct model_norm a = {.stat = stat,
                           .epsilon = 1e-3f,
                           .groups = GROUPS,
                           .group_rows = GROUP_ROWS,
                           .skip = skip,
                           .width = n,
                           .x = device_floats(backend, x, rows * n),
                           .gain = device_floats(backend, gain, n),
                           .y = device_floats(backend, NULL, kept * n),
                           .rows = device_floats(backend, NULL, kept * 2)};
    CHECK_OK(model_norm(backend, &a, &error), error);
    struct model_norm_backward b = {.forward = a,
                                    .dy = device_floats(backend, dy, kept * n),
                                    .dx = device_floats(backend, before, rows * n),
                                    .add = add,
                                    .dgain = device_floats(backend, dgain_before, n)};
    CHECK_OK(model_norm_backward(backend, &b, &error), error);
    float *y = device_back(backend, a.y, kept * n), *dx = device_back(backend, b.dx, rows * n);
    float *dgain = device_back(backend, b.dgain, n);
    double expected_gain[256] = {0}, wide[256], wide_gain[256], out[256];
    for (size_t i = 0; i < n; i++) wide_gain[i] = gain[i];
    for (size_t r = 0; r < rows; r++) {
        const bool left_out = r % GROUP_ROWS < skip;
        const size_t to = r / GROUP_ROWS * (GROUP_ROWS - skip) + r % GROUP_ROWS - skip;
        for (size_t i = 0; i < n; i++) wide[i] = x[r * n + i];
        if (!left_out) formula(stat, wide, wide_gain, n, out);
        for (size_t i = 0; i < n; i++) {
            double d = 0;
            if (!left_out) {
                CHECK_NEAR(y[to * n + i], out[i], 1e-6 * fmax(1, fabs(out[i])));
                wide[i] += 1e-5;
                d = objective(stat, wide, wide_gain, dy + to * n, n);
                wide[i] -= 2e-5;
                d = (d - objective(stat, wide, wide_gain, dy + to * n, n)) / 2e-5;
                wide[i] += 1e-5;
                expected_gain[i] += dy[to * n + i] * out[i] / wide_gain[i];
            }
            // rows of two numbers close together have slopes up to 30
            CHECK_NEAR(dx[r * n + i], d + (add ? before[r * n + i] : 0), 3e-6 * fmax(1, fabs(d)));
        }
    }
    for (size_t i = 0; i < n; i++) CHECK_NEAR(dgain[i], dgain_before[i] + expected_gain[i], 1e-5);
    const float *const devices[] = {a.x, a.gain, a.y, a.rows, b.dy, b.dx, b.dgain};
    for (size_t i = 0; i < PROTO_COUNT(devices); i++)
        model_backend_free(backend, (void *)(uintptr_t)devices[i]);
    float *const hosts[] = {x, gain, dy, before, dgain_before, y, dx, dgain};
    for (size_t i = 0; i < PROTO_COUNT(hosts); i++) free(hosts[i]);
}

TEST(norm_and_its_gradients_are_the_formula) {
    FOR_EACH_SET(3, {
        for (size_t i = 0; i < PROTO_COUNT(widths); i++)
            for (int stat = MODEL_VARIANCE; stat <= MODEL_MEAN_SQUARE; stat++) {
                try_width(backend, (enum model_norm_stat)stat, widths[i], 0, true);
                try_width(backend, (enum model_norm_stat)stat, widths[i], 0, false);
            }
    });
}

TEST(norm_leaves_out_the_first_rows_of_a_group) {
    FOR_EACH_SET(2, {
        try_width(backend, MODEL_VARIANCE, 17, 3, false);
        try_width(backend, MODEL_VARIANCE, 17, 3, true);
    });
}

TEST(norm_refuses_a_variance_of_one_number) {
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, 1);
    float x[4] = {0};
    const struct model_norm a = {
        .groups = 1, .group_rows = 1, .width = 1, .x = x, .gain = x, .y = x, .rows = x};
    CHECK(!model_norm(backend, &a, &error));
    CHECK_TEXT(error.text, "norm: a variance needs two numbers");
    model_backend_close(&backend);
}

TEST_MAIN(UNIT(norm_and_its_gradients_are_the_formula),
          UNIT(norm_leaves_out_the_first_rows_of_a_group),
          UNIT(norm_refuses_a_variance_of_one_number))
