// tests/model/elements_test.c - the operations over elements: sums, losses, the optimiser's pass
// and linear combinations, against the same formulas in double. fp32 rounds each of a few
// operations once: 3e-7 relative to the terms; sums in double of fp32 squares are exact to 1e-12.
#include "tests/model/device.h"

// Around whole vectors and whole chunks of partial sums.
static const size_t counts[] = {1, 15, 16, 17, 4095, 4096, 4097, 10000};

TEST(sum_of_squares_is_exact_and_the_same_for_any_threads) {
    for (size_t i = 0; i < PROTO_COUNT(counts); i++) {
        const size_t n = counts[i];
        float *x = device_host(n, 1);
        double expected = 0, first = 0;
        for (size_t j = 0; j < n; j++) expected += (double)x[j] * (double)x[j];
        for (uint32_t threads = 1; threads <= 3; threads++)
            FOR_EACH_SET(threads, {
                struct proto_error error = {0};
                double sum = 0;
                const struct model_sum_squares a = {.n = n,
                                                    .x = device_floats(backend, x, n),
                                                    .sum = device_copy(backend, NULL, 8)};
                CHECK_OK(model_sum_squares(backend, &a, &error), error);
                CHECK_OK(model_backend_download(backend, &sum, a.sum, 8, &error), error);
                CHECK_NEAR(sum, expected, 1e-12 * expected);
                if (threads == 1 && set_ == 0) first = sum;
                // squares of fp32 are exact in double, so sets do not differ either
                CHECK(sum == first);
                model_backend_free(backend, (void *)(uintptr_t)a.x);
                model_backend_free(backend, a.sum);
            });
        free(x);
    }
}

TEST(mse_is_the_mean_and_leaves_its_gradient) {
    for (size_t i = 0; i < PROTO_COUNT(counts); i++) {
        const size_t n = counts[i];
        float *x = device_host(n, 1), *t = device_host(n, 2);
        double expected = 0;
        for (size_t j = 0; j < n; j++) {
            const double off = (double)x[j] - (double)t[j];
            expected += off * off / (double)n;
        }
        FOR_EACH_SET(2, {
            struct proto_error error = {0};
            double loss = 0;
            const struct model_mse a = {.n = n,
                                        .prediction = device_floats(backend, x, n),
                                        .target = device_floats(backend, t, n),
                                        .scale = 0.25f,
                                        .gradient = device_floats(backend, NULL, n),
                                        .loss = device_copy(backend, NULL, 8)};
            CHECK_OK(model_mse(backend, &a, &error), error);
            CHECK_OK(model_backend_download(backend, &loss, a.loss, 8, &error), error);
            CHECK_NEAR(loss, expected, 2e-7 * expected + 1e-12);
            float *g = device_back(backend, a.gradient, n);
            for (size_t j = 0; j < n; j++) {
                const double slope = 0.25 * 2 * ((double)x[j] - (double)t[j]) / (double)n;
                CHECK_NEAR(g[j], slope, 3e-7 / (double)n);
            }
            free(g);
            const void *const devices[] = {a.prediction, a.target, a.gradient, a.loss};
            for (size_t d = 0; d < 4; d++)
                model_backend_free(backend, (void *)(uintptr_t)devices[d]);
        });
        free(x);
        free(t);
    }
}

TEST(adamw_is_the_published_step) {
    for (size_t i = 0; i < PROTO_COUNT(counts); i++) {
        const size_t n = counts[i];
        float *p = device_host(n, 1), *m = device_host(n, 2), *v = device_host(n, 3);
        float *g = device_host(n, 4), *ema = device_host(n, 5);
        for (size_t j = 0; j < n; j++) v[j] = fabsf(v[j]);
        FOR_EACH_SET(2, {
            struct proto_error error = {0};
            struct model_adamw a = {.n = n,
                                    .gradient_scale = 0.5,
                                    .rate = 0.01,
                                    .beta1 = 0.8,
                                    .beta2 = 0.95,
                                    .epsilon = 1e-3,
                                    .weight_decay = 0.1,
                                    .correction1 = 0.36,
                                    .correction2 = 0.0975,
                                    .ema_decay = 0.75};
            a.p = device_floats(backend, p, n), a.m = device_floats(backend, m, n);
            a.v = device_floats(backend, v, n), a.ema = device_floats(backend, ema, n);
            a.g = device_floats(backend, g, n);
            CHECK_OK(model_adamw(backend, &a, &error), error);
            float *p2 = device_back(backend, a.p, n), *m2 = device_back(backend, a.m, n);
            float *v2 = device_back(backend, a.v, n), *ema2 = device_back(backend, a.ema, n);
            for (size_t j = 0; j < n; j++) {
                const double d = g[j] * 0.5, first = 0.8 * m[j] + 0.2 * d;
                const double second = 0.95 * v[j] + 0.05 * d * d;
                const double weight =
                    p[j] * (1 - 0.001) - 0.01 * (first / 0.36) / (sqrt(second / 0.0975) + 1e-3);
                CHECK_NEAR(m2[j], first, 2e-7);
                CHECK_NEAR(v2[j], second, 2e-7);
                // the step reaches 30 where v is near 0
                CHECK_NEAR(p2[j], weight, 3e-7 + 1e-6 * fabs(weight - p[j]));
                CHECK_NEAR(ema2[j], 0.75 * ema[j] + 0.25 * weight,
                           4e-7 + 1e-6 * fabs(weight - p[j]));
            }
            float *const hosts[] = {p2, m2, v2, ema2};
            for (size_t f = 0; f < 4; f++) free(hosts[f]);
            const float *const devices[] = {a.p, a.m, a.v, a.ema, a.g};
            for (size_t f = 0; f < 5; f++)
                model_backend_free(backend, (void *)(uintptr_t)devices[f]);
        });
        float *const hosts[] = {p, m, v, g, ema};
        for (size_t f = 0; f < 5; f++) free(hosts[f]);
    }
}

TEST(combinations_read_nothing_whose_factor_is_zero) {
    const size_t n = 1030;
    float *x = device_host(n, 1), *y = device_host(n, 2), *z = device_host(n, 3);
    float *nothing = device_host(n, 4);
    for (size_t j = 0; j < n; j++) nothing[j] = NAN;
    FOR_EACH_SET(2, {
        struct proto_error error = {0};
        float *dx = device_floats(backend, x, n), *dy = device_floats(backend, y, n);
        float *dz = device_floats(backend, z, n), *dn = device_floats(backend, nothing, n);
        const struct model_axpby sum = {.n = n, .a = 2, .x = dx, .b = -0.5f, .y = dy};
        const struct model_axpby copy = {.n = n, .a = 3, .x = dx, .b = 0, .y = dn};
        CHECK_OK(model_axpby(backend, &sum, &error), error);
        CHECK_OK(model_axpby(backend, &copy, &error), error);
        const struct model_combine both = {
            .n = n, .cx = 0.5f, .c0 = 2, .c1 = -1, .x = dz, .m0 = dx, .m1 = dy};
        CHECK_OK(model_combine(backend, &both, &error), error);
        float *s = device_back(backend, dy, n), *c = device_back(backend, dn, n);
        float *m = device_back(backend, dz, n);
        for (size_t j = 0; j < n; j++) {
            const double added = 2.0 * x[j] - 0.5 * y[j];
            CHECK_NEAR(s[j], added, 3e-7);
            CHECK_NEAR(c[j], 3.0 * x[j], 3e-7);
            CHECK_NEAR(m[j], 0.5 * z[j] + 2.0 * x[j] - added, 1e-6);
        }
        CHECK_OK(model_backend_upload(backend, dn, nothing, n * sizeof *nothing, &error), error);
        const struct model_combine last = {.n = n, .c0 = 1, .x = dn, .m0 = dx, .m1 = dn};
        CHECK_OK(model_combine(backend, &last, &error), error);
        float *l = device_back(backend, dn, n);
        CHECK(memcmp(l, x, n * sizeof *l) == 0);
        float *const hosts[] = {s, c, m, l};
        for (size_t f = 0; f < 4; f++) free(hosts[f]);
        float *const devices[] = {dx, dy, dz, dn};
        for (size_t f = 0; f < 4; f++) model_backend_free(backend, devices[f]);
    });
    float *const hosts[] = {x, y, z, nothing};
    for (size_t f = 0; f < 4; f++) free(hosts[f]);
}

TEST_MAIN(UNIT(sum_of_squares_is_exact_and_the_same_for_any_threads),
          UNIT(mse_is_the_mean_and_leaves_its_gradient), UNIT(adamw_is_the_published_step),
          UNIT(combinations_read_nothing_whose_factor_is_zero))
