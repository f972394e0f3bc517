// tests/model/inputs_test.c - the operations at the network's edges, against formulas in double or
// plain copies. Sums and products of two or three fp32 numbers: 3e-7.
#include "tests/model/device.h"

TEST(sinusoid_puts_the_cosines_first) {
    enum { ROWS = 4, WIDTH = 256 };
    const float v[ROWS] = {0, 1, 25, 999};
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, 1);
    const struct model_sinusoid a = {.rows = ROWS,
                                     .width = WIDTH,
                                     .v = device_floats(backend, v, ROWS),
                                     .y = device_floats(backend, NULL, ROWS * WIDTH)};
    CHECK_OK(model_sinusoid(backend, &a, &error), error);
    float *y = device_back(backend, a.y, ROWS * WIDTH);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t k = 0; k < WIDTH / 2; k++) {
            const double exponent = log(10000) * (double)k / (WIDTH / 2);
            const double angle = v[r] * exp(-exponent);
            // exponent (two roundings), its power and the angle are fp32: each rounding of 6e-8
            // turns the angle
            const double tolerance = 2e-7 + 6e-8 * angle * (2 + 2 * exponent);
            CHECK_NEAR(y[r * WIDTH + k], cos(angle), tolerance);
            CHECK_NEAR(y[r * WIDTH + WIDTH / 2 + k], sin(angle), tolerance);
        }
    free(y);
    model_backend_free(backend, (void *)(uintptr_t)a.v);
    model_backend_free(backend, a.y);
    model_backend_close(&backend);
}

TEST(tokens_keep_state_and_action_masks_apart) {
    enum { B = 3, T = 5, W = 7 };
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, 2);
    float *robot = device_host(B * W, 1), *state_mask = device_host(B * W, 2);
    float *action_mask = device_host(B * W, 3), *action = device_host(B * T * W, 4);
    float *noise = device_host(B * T * W, 5), *signal = device_host(B, 6);
    float *grain = device_host(B, 7);
    struct model_tokens a = {.batch = B,
                             .chunk = T,
                             .width = W,
                             .state = device_floats(backend, robot, B * W),
                             .state_mask = device_floats(backend, state_mask, B * W),
                             .action_mask = device_floats(backend, action_mask, B * W),
                             .action = device_floats(backend, action, B * T * W),
                             .noise = device_floats(backend, noise, B * T * W),
                             .signal = device_floats(backend, signal, B),
                             .grain = device_floats(backend, grain, B),
                             .y = device_floats(backend, NULL, B * (T + 1) * 2 * W)};
    for (int noisy = 1; noisy >= 0; noisy--) {
        const float *device_noise = a.noise;
        if (!noisy) a.noise = NULL;
        CHECK_OK(model_tokens(backend, &a, &error), error);
        float *y = device_back(backend, a.y, B * (T + 1) * 2 * W);
        for (size_t b = 0; b < B; b++)
            for (size_t r = 0; r <= T; r++)
                for (size_t i = 0; i < W; i++) {
                    const float *row = y + (b * (T + 1) + r) * 2 * W;
                    const size_t at = (b * T + r - 1) * W + i;
                    const double value =
                        r == 0  ? (double)robot[b * W + i]
                        : noisy ? (double)signal[b] * action[at] + (double)grain[b] * noise[at]
                                : (double)action[at];
                    CHECK_NEAR(row[i], value, 3e-7);
                    CHECK(row[W + i] == (r == 0 ? state_mask : action_mask)[b * W + i]);
                }
        free(y);
        a.noise = device_noise;
    }
    const float *const devices[] = {a.state, a.state_mask, a.action_mask, a.action,
                                    a.noise, a.signal,     a.grain,       a.y};
    for (size_t i = 0; i < PROTO_COUNT(devices); i++)
        model_backend_free(backend, (void *)(uintptr_t)devices[i]);
    float *const hosts[] = {robot, state_mask, action_mask, action, noise, signal, grain};
    for (size_t i = 0; i < PROTO_COUNT(hosts); i++) free(hosts[i]);
    model_backend_close(&backend);
}

// Backward of a concatenation is its adjoint: <concat(x), d> = <x, concat_backward(d)> for every x,
// which the element-wise copies show; the table's gradient is a sum over the batch.
TEST(concat_and_its_backward_are_adjoint) {
    enum { B = 3, R = 4, W = 9, N = R + 2 };
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, 2);
    float *first = device_host(B * W, 1), *second = device_host(B * W, 2);
    float *rest = device_host(B * R * W, 3), *position = device_host(N * W, 4);
    float *dx = device_host(B * N * W, 5);
    const struct model_concat a = {.batch = B,
                                   .rest_rows = R,
                                   .width = W,
                                   .first = device_floats(backend, first, B * W),
                                   .second = device_floats(backend, second, B * W),
                                   .rest = device_floats(backend, rest, B * R * W),
                                   .position = device_floats(backend, position, N * W),
                                   .x = device_floats(backend, NULL, B * N * W)};
    const struct model_concat_backward b = {.batch = B,
                                            .rest_rows = R,
                                            .width = W,
                                            .dx = device_floats(backend, dx, B * N * W),
                                            .dfirst = device_floats(backend, NULL, B * W),
                                            .dsecond = device_floats(backend, NULL, B * W),
                                            .drest = device_floats(backend, NULL, B * R * W),
                                            .dposition = device_floats(backend, position, N * W)};
    CHECK_OK(model_concat(backend, &a, &error), error);
    CHECK_OK(model_concat_backward(backend, &b, &error), error);
    float *x = device_back(backend, a.x, B * N * W), *g1 = device_back(backend, b.dfirst, B * W);
    float *g2 = device_back(backend, b.dsecond, B * W),
          *gr = device_back(backend, b.drest, B * R * W);
    float *gp = device_back(backend, b.dposition, N * W);
    for (size_t r = 0; r < N; r++)
        for (size_t i = 0; i < W; i++) {
            double sum = position[r * W + i];
            for (size_t s = 0; s < B; s++) {
                const size_t at = (s * N + r) * W + i;
                const size_t from = r < 2 ? s * W + i : (s * R + r - 2) * W + i;
                const float *in = r == 0 ? first : r == 1 ? second : rest;
                const float *back = r == 0 ? g1 : r == 1 ? g2 : gr;
                CHECK_NEAR(x[at], (double)in[from] + position[r * W + i], 3e-7);
                CHECK(back[from] == dx[at]);
                sum += dx[at];
            }
            CHECK_NEAR(gp[r * W + i], sum, 1e-6);
        }
    const struct model_sum_batch s = {
        .batch = B, .n = N * W, .x = b.dx, .y = (float *)(uintptr_t)a.position};
    CHECK_OK(model_sum_batch(backend, &s, &error), error);
    float *summed = device_back(backend, a.position, N * W);
    for (size_t i = 0; i < N * W; i++) CHECK_NEAR(summed[i], gp[i], 1e-6);
    float *const hosts[] = {first, second, rest, position, dx, x, g1, g2, gr, gp, summed};
    for (size_t i = 0; i < PROTO_COUNT(hosts); i++) free(hosts[i]);
    const float *const devices[] = {a.first, a.second, a.rest,    a.position, a.x,
                                    b.dx,    b.dfirst, b.dsecond, b.drest,    b.dposition};
    for (size_t i = 0; i < PROTO_COUNT(devices); i++)
        model_backend_free(backend, (void *)(uintptr_t)devices[i]);
    model_backend_close(&backend);
}

TEST(mask_rows_hides_columns_of_every_row) {
    enum { B = 2, R = 3, W = 5 };
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, 1);
    float *x = device_host(B * R * W, 1), mask[B * W];
    for (size_t i = 0; i < B * W; i++) mask[i] = i % 3 == 0;
    const struct model_mask_rows a = {.batch = B,
                                      .rows = R,
                                      .width = W,
                                      .x = device_floats(backend, x, B * R * W),
                                      .mask = device_floats(backend, mask, B * W),
                                      .y = device_floats(backend, NULL, B * R * W)};
    CHECK_OK(model_mask_rows(backend, &a, &error), error);
    float *y = device_back(backend, a.y, B * R * W);
    for (size_t i = 0; i < B * R * W; i++) CHECK(y[i] == x[i] * mask[i / (R * W) * W + i % W]);
    free(x);
    free(y);
    const float *const devices[] = {a.x, a.mask, a.y};
    for (size_t i = 0; i < 3; i++) model_backend_free(backend, (void *)(uintptr_t)devices[i]);
    model_backend_close(&backend);
}

TEST_MAIN(UNIT(sinusoid_puts_the_cosines_first), UNIT(tokens_keep_state_and_action_masks_apart),
          UNIT(concat_and_its_backward_are_adjoint), UNIT(mask_rows_hides_columns_of_every_row))
