// tests/model/gemm_test.c - products with everything that can be added to them, against sums in
// double. Tolerance: a sum of k terms of size at most 1 is off by at most about k roundings of
// 6e-8 relative to the sum of their sizes; 2e-7 * (k + 8) holds that with room for activations.
#include "tests/model/device.h"

struct shape {
    size_t m, n, k;
};
static const struct shape shapes[] = {
    {1, 1, 1}, {3, 5, 7}, {17, 33, 9}, {64, 48, 20}, {300, 37, 65}, {8, 1030, 64}, {70, 130, 129},
};

static double gelu(double x) {
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double silu(double x) { return x / (1 + exp(-x)); }
static double slope(double (*f)(double), double x) { return (f(x + 1e-6) - f(x - 1e-6)) / 2e-6; }

// Element (r, c) of op(a) op(b).
static double product(const struct model_gemm *g, const float *a, const float *b, size_t r,
                      size_t c) {
    double sum = 0;
    for (size_t k = 0; k < g->k; k++) {
        const double x = g->transpose_a ? a[k * g->a_stride + r] : a[r * g->a_stride + k];
        const double y = g->transpose_b ? b[c * g->b_stride + k] : b[k * g->b_stride + c];
        sum += x * y;
    }
    return sum;
}

// One product with strides wider than needed; checks d, and that nothing beside it was written.
static void try_shape(struct model_backend *backend, struct shape s, bool ta, bool tb,
                      enum model_activation activation, bool with_c, bool with_bias) {
    struct proto_error error = {0};
    const size_t pad = 3, a_rows = ta ? s.k : s.m, b_rows = tb ? s.n : s.k, c_rows = (s.m + 1) / 2;
    struct model_gemm g = {.transpose_a = ta,
                           .transpose_b = tb,
                           .m = s.m,
                           .n = s.n,
                           .k = s.k,
                           .a_stride = (ta ? s.m : s.k) + pad,
                           .b_stride = (tb ? s.k : s.n) + pad,
                           .c_stride = s.n + 1,
                           .c_rows = with_c ? c_rows : 0,
                           .d_stride = s.n + pad,
                           .activation = activation};
    const size_t d_count = s.m * g.d_stride;
    float *a = device_host(a_rows * g.a_stride, 1), *b = device_host(b_rows * g.b_stride, 2);
    float *c = device_host(c_rows * g.c_stride, 3), *bias = device_host(s.n, 4);
    float *before = device_host(d_count, 5), *aux = device_host(s.m * s.n, 6);
    float *da = device_floats(backend, a, a_rows * g.a_stride);
    float *db = device_floats(backend, b, b_rows * g.b_stride);
    float *dc = device_floats(backend, c, c_rows * g.c_stride);
    float *dbias = device_floats(backend, bias, s.n);
    float *daux = device_floats(backend, aux, s.m * s.n);
    g.a = da;
    g.b = db;
    g.c = with_c ? dc : NULL;
    g.bias = with_bias ? dbias : NULL;
    g.aux = activation == MODEL_LINEAR ? NULL : daux;
    g.d = device_floats(backend, before, d_count);
    if (activation >= MODEL_GELU_BACKWARD) {
        // what is in aux is for the device to know: the forward pass of the same product writes it
        struct model_gemm forward = g;
        forward.activation = activation == MODEL_GELU_BACKWARD ? MODEL_GELU : MODEL_SILU;
        CHECK_OK(model_gemm(backend, &forward, &error), error);
    }
    CHECK_OK(model_gemm(backend, &g, &error), error);
    float *d = device_back(backend, g.d, d_count);
    const double tolerance = 2e-7 * ((double)s.k + 8);
    for (size_t r = 0; r < s.m; r++)
        for (size_t j = 0; j < g.d_stride; j++) {
            const float found = d[r * g.d_stride + j];
            if (j >= s.n) {
                CHECK_NEAR(found, before[r * g.d_stride + j], 0);
                continue;
            }
            double x = product(&g, a, b, r, j);
            if (with_c) x += c[r % c_rows * g.c_stride + j];
            if (with_bias) x += bias[j];
            if (activation == MODEL_GELU) x = gelu(x);
            if (activation == MODEL_SILU) x = silu(x);
            if (activation == MODEL_GELU_BACKWARD) x *= slope(gelu, x);
            if (activation == MODEL_SILU_BACKWARD) x *= slope(silu, x);
            CHECK_NEAR(found, x, tolerance * fmax(1, fabs(x)));
        }
    float *const devices[] = {da, db, dc, dbias, daux, g.d};
    for (size_t i = 0; i < PROTO_COUNT(devices); i++) model_backend_free(backend, devices[i]);
    float *const hosts[] = {a, b, c, bias, before, aux, d};
    for (size_t i = 0; i < PROTO_COUNT(hosts); i++) free(hosts[i]);
}

TEST(gemm_is_the_product_in_all_orientations) {
    FOR_EACH_SET(2, {
        for (size_t i = 0; i < PROTO_COUNT(shapes); i++)
            for (int order = 0; order < 4; order++)
                try_shape(backend, shapes[i], order & 1, order & 2, MODEL_LINEAR, false, false);
    });
}

TEST(gemm_adds_a_repeated_table_and_a_bias) {
    FOR_EACH_SET(2, {
        for (size_t i = 0; i < PROTO_COUNT(shapes); i++)
            for (int with = 1; with < 4; with++)
                try_shape(backend, shapes[i], false, true, MODEL_LINEAR, with & 1, with & 2);
    });
}

TEST(gemm_activates_what_it_has_added) {
    FOR_EACH_SET(2, {
        for (size_t i = 0; i < PROTO_COUNT(shapes); i++)
            for (int kind = MODEL_GELU; kind <= MODEL_SILU_BACKWARD; kind++)
                try_shape(backend, shapes[i], false, true, (enum model_activation)kind,
                          kind < MODEL_GELU_BACKWARD, kind < MODEL_GELU_BACKWARD);
    });
}

// Oracle: central differences of the activation in double. The product is by the 1 x 1 unit, so
// that the activation is all there is, from -12 to 12.
TEST(gemm_leaves_the_derivative_for_the_backward_pass) {
    double (*const functions[])(double) = {gelu, silu};
    const enum model_activation kinds[] = {MODEL_GELU, MODEL_SILU};
    enum { N = 481 };
    float x[N], one = 1, ones[N];
    for (int i = 0; i < N; i++) x[i] = (float)(i - N / 2) * 0.05f, ones[i] = 1;
    FOR_EACH_SET(1, {
        for (int f = 0; f < 2; f++) {
            struct proto_error error = {0};
            float *dx = device_floats(backend, x, N), *dy = device_floats(backend, NULL, N);
            float *unit = device_floats(backend, &one, 1), *aux = device_floats(backend, NULL, N);
            const struct model_gemm forward = {.m = N,
                                               .n = 1,
                                               .k = 1,
                                               .a = dx,
                                               .a_stride = 1,
                                               .b = unit,
                                               .b_stride = 1,
                                               .d = dy,
                                               .d_stride = 1,
                                               .activation = kinds[f],
                                               .aux = aux};
            CHECK_OK(model_gemm(backend, &forward, &error), error);
            CHECK_OK(model_backend_upload(backend, dx, ones, sizeof ones, &error), error);
            struct model_gemm backward = forward;
            backward.activation = f == 0 ? MODEL_GELU_BACKWARD : MODEL_SILU_BACKWARD;
            float *y = device_back(backend, dy, N);
            CHECK_OK(model_gemm(backend, &backward, &error), error);
            float *g = device_back(backend, dy, N);
            for (int i = 0; i < N; i++) {
                CHECK_NEAR(y[i], functions[f](x[i]), 3e-7 * fmax(1, fabs((double)x[i])));
                // 1e-9 of the difference, 2e-6 of fp32 in x s (1 - s) at |x| up to 12
                CHECK_NEAR(g[i], slope(functions[f], x[i]), 2e-6);
            }
            free(y);
            free(g);
            model_backend_free(backend, dx);
            model_backend_free(backend, dy);
            model_backend_free(backend, unit);
            model_backend_free(backend, aux);
        }
    });
}

// dW += dy^T x, db += column sums of dy: both are added to, not replaced.
TEST(gemm_accumulates_weight_and_bias_gradients) {
    FOR_EACH_SET(2, {
        for (size_t i = 0; i < PROTO_COUNT(shapes); i++) {
            struct proto_error error = {0};
            const size_t m = shapes[i].m, n = shapes[i].n, k = shapes[i].k;
            float *a = device_host(k * m, 1), *b = device_host(k * n, 2);
            float *d = device_host(m * n, 3), *sums = device_host(m, 4);
            struct model_gemm g = {.transpose_a = true,
                                   .m = m,
                                   .n = n,
                                   .k = k,
                                   .a = device_floats(backend, a, k * m),
                                   .a_stride = m,
                                   .b = device_floats(backend, b, k * n),
                                   .b_stride = n,
                                   .d = device_floats(backend, d, m * n),
                                   .d_stride = n,
                                   .c_stride = n,
                                   .a_sums = device_floats(backend, sums, m)};
            g.c = g.d;
            CHECK_OK(model_gemm(backend, &g, &error), error);
            float *found = device_back(backend, g.d, m * n);
            float *found_sums = device_back(backend, g.a_sums, m);
            for (size_t r = 0; r < m; r++) {
                double sum = sums[r];
                for (size_t j = 0; j < k; j++) sum += a[j * m + r];
                CHECK_NEAR(found_sums[r], sum, 2e-7 * ((double)k + 8));
                for (size_t j = 0; j < n; j++)
                    CHECK_NEAR(found[r * n + j], d[r * n + j] + product(&g, a, b, r, j),
                               2e-7 * ((double)k + 8));
            }
            float *const devices[] = {(float *)(uintptr_t)g.a, (float *)(uintptr_t)g.b, g.d,
                                      g.a_sums};
            for (size_t f = 0; f < 4; f++) model_backend_free(backend, devices[f]);
            float *const hosts[] = {a, b, d, sums, found, found_sums};
            for (size_t f = 0; f < 6; f++) free(hosts[f]);
        }
    });
}

TEST(gemm_refuses_shapes_by_name) {
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, 1);
    float x[16] = {0};
    const struct model_gemm good = {.m = 2,
                                    .n = 2,
                                    .k = 2,
                                    .a = x,
                                    .a_stride = 2,
                                    .b = x,
                                    .b_stride = 2,
                                    .d = x,
                                    .d_stride = 2};
    struct model_gemm g = good;
    g.k = 0;
    CHECK(!model_gemm(backend, &g, &error));
    CHECK_TEXT(error.text, "gemm: a side of a product is 0");
    g = good, g.d_stride = 1;
    CHECK(!model_gemm(backend, &g, &error));
    CHECK_TEXT(error.text, "gemm: d's rows overlap");
    g = good, g.activation = MODEL_GELU_BACKWARD;
    CHECK(!model_gemm(backend, &g, &error));
    CHECK_TEXT(error.text, "gemm: the backward activation needs aux");
    g = good, g.c = x, g.c_stride = 1;
    CHECK(!model_gemm(backend, &g, &error));
    CHECK_TEXT(error.text, "gemm: c's rows overlap");
    model_backend_close(&backend);
    CHECK(!model_backend_open("cuda:999", 1, &backend, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.where, "cuda:999");
}

TEST_MAIN(UNIT(gemm_is_the_product_in_all_orientations),
          UNIT(gemm_adds_a_repeated_table_and_a_bias), UNIT(gemm_activates_what_it_has_added),
          UNIT(gemm_leaves_the_derivative_for_the_backward_pass),
          UNIT(gemm_accumulates_weight_and_bias_gradients), UNIT(gemm_refuses_shapes_by_name))
