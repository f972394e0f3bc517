// tests/trainer/optimizer_test.c - AdamW, clipping and averaging over several steps against the
// same in double: each step rounds fp32 numbers of about 1 a few times, 1e-6 after five steps.
// Resuming is bit-equal. Recorded PyTorch steps are compared by rdt_golden.
#include "tests/check.h"

#include "trainer/optimizer.h"

#include <math.h>

#define N 1000
#define STEPS 6

static const struct trainer_optimizer_settings settings = {
    .beta1 = 0.8,
    .beta2 = 0.95,
    .epsilon = 1e-8,
    .weight_decay = 0.1,
    .max_grad_norm = 2,
    .ema = {.update_after_step = 1, .inv_gamma = 1, .power = 0.75, .min = 0, .max = 0.5}};

struct fixture {
    struct model_backend *backend;
    struct trainer_optimizer *optimizer;
    float *weights, *gradients;
};
static float value(int step, int i) { return (float)sin(1 + step * 1.7 + i * 0.37); }

static void fixture_open(struct fixture *f) {
    struct proto_error error = {0};
    float start[N];
    CHECK_OK(model_backend_open("cpu", 2, &f->backend, &error), error);
    CHECK_OK(trainer_optimizer_open(f->backend, &settings, N, &f->optimizer, &error), error);
    f->weights = model_backend_alloc(f->backend, N * sizeof(float), &error);
    f->gradients = model_backend_alloc(f->backend, N * sizeof(float), &error);
    CHECK(f->weights && f->gradients);
    for (int i = 0; i < N; i++) start[i] = value(-1, i);
    CHECK_OK(model_backend_upload(f->backend, f->weights, start, sizeof start, &error), error);
    CHECK_OK(trainer_optimizer_start(f->optimizer, f->weights, &error), error);
}
static void fixture_close(struct fixture *f) {
    model_backend_free(f->backend, f->weights);
    model_backend_free(f->backend, f->gradients);
    trainer_optimizer_close(&f->optimizer);
    model_backend_close(&f->backend);
}
// Gradients of odd steps are small enough not to be clipped.
static double gradient(int step, int i) { return value(step, i) * (step % 2 ? 0.01 : 1); }

static struct trainer_optimizer_report take_step(struct fixture *f, int step) {
    struct proto_error error = {0};
    struct trainer_optimizer_report report = {0};
    float g[N];
    for (int i = 0; i < N; i++) g[i] = (float)gradient(step, i);
    CHECK_OK(model_backend_upload(f->backend, f->gradients, g, sizeof g, &error), error);
    CHECK_OK(trainer_optimizer_step(f->optimizer, f->weights, f->gradients, 0.01, &report, &error),
             error);
    return report;
}

TEST(steps_are_the_published_algorithm) {
    struct proto_error error = {0};
    struct fixture f;
    static double p[N], m[N], v[N], ema[N];
    float found[N], average[N];
    fixture_open(&f);
    for (int i = 0; i < N; i++) p[i] = ema[i] = value(-1, i);
    for (int step = 0; step < STEPS; step++) {
        const struct trainer_optimizer_report report = take_step(&f, step);
        double square = 0;
        for (int i = 0; i < N; i++) square += gradient(step, i) * gradient(step, i);
        const double norm = sqrt(square), clip = fmin(1, 2 / (norm + 1e-6));
        CHECK_NEAR(report.grad_norm, norm, 1e-7 * norm);
        CHECK((clip < 1) == (step % 2 == 0));
        const double decay = trainer_ema_decay(&settings, (uint64_t)step);
        CHECK(report.ema_decay == decay);
        for (int i = 0; i < N; i++) {
            const double g = gradient(step, i) * clip;
            p[i] *= 1 - 0.01 * 0.1;
            m[i] = 0.8 * m[i] + 0.2 * g;
            v[i] = 0.95 * v[i] + 0.05 * g * g;
            p[i] -= 0.01 * (m[i] / (1 - pow(0.8, step + 1))) /
                    (sqrt(v[i] / (1 - pow(0.95, step + 1))) + 1e-8);
            ema[i] = decay * ema[i] + (1 - decay) * p[i];
        }
    }
    CHECK_OK(model_backend_download(f.backend, found, f.weights, sizeof found, &error), error);
    CHECK_OK(model_backend_download(f.backend, average, trainer_optimizer_ema(f.optimizer),
                                    sizeof average, &error),
             error);
    for (int i = 0; i < N; i++) {
        CHECK_NEAR(found[i], p[i], 1e-6);
        CHECK_NEAR(average[i], ema[i], 1e-6);
    }
    fixture_close(&f);
}

TEST(a_restored_optimizer_goes_on_bit_for_bit) {
    struct proto_error error = {0};
    struct fixture whole, first, second;
    static float m[N], v[N], ema[N], weights[N], a[N], b[N];
    struct trainer_optimizer_state kept = {.m = m, .v = v, .ema = ema};
    fixture_open(&whole);
    fixture_open(&first);
    fixture_open(&second);
    for (int step = 0; step < STEPS; step++) (void)take_step(&whole, step);
    for (int step = 0; step < 3; step++) (void)take_step(&first, step);
    CHECK_OK(trainer_optimizer_snapshot(first.optimizer, &kept, &error), error);
    CHECK_INT(kept.step, 3);
    CHECK_INT(kept.ema_counter, 3);
    CHECK_OK(model_backend_download(first.backend, weights, first.weights, sizeof weights, &error),
             error);
    CHECK_OK(trainer_optimizer_restore(second.optimizer, &kept, &error), error);
    CHECK_OK(model_backend_upload(second.backend, second.weights, weights, sizeof weights, &error),
             error);
    for (int step = 3; step < STEPS; step++) (void)take_step(&second, step);
    CHECK_OK(model_backend_download(whole.backend, a, whole.weights, sizeof a, &error), error);
    CHECK_OK(model_backend_download(second.backend, b, second.weights, sizeof b, &error), error);
    CHECK(memcmp(a, b, sizeof a) == 0);
    CHECK_OK(model_backend_download(whole.backend, a, trainer_optimizer_ema(whole.optimizer),
                                    sizeof a, &error),
             error);
    CHECK_OK(model_backend_download(second.backend, b, trainer_optimizer_ema(second.optimizer),
                                    sizeof b, &error),
             error);
    CHECK(memcmp(a, b, sizeof a) == 0);
    fixture_close(&whole);
    fixture_close(&first);
    fixture_close(&second);
}

// Oracle: values of the official decay with update_after 0, power 0.75, max 0.9999.
TEST(decay_of_the_average_is_the_published_one) {
    static const struct {
        uint64_t counter;
        double decay;
    } rows[] = {
        {0, 0},           {1, 0},           {2, 0.40540},    {3, 0.56131},     {5, 0.70093},
        {10, 0.82217},    {100, 0.96838},   {1000, 0.99438}, {10000, 0.99900}, {100000, 0.99982},
        {215444, 0.9999}, {1000000, 0.9999}};
    struct trainer_optimizer_settings s = settings;
    s.ema.update_after_step = 0;
    s.ema.max = 0.9999;
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        CHECK_NEAR(trainer_ema_decay(&s, rows[i].counter), rows[i].decay, 6e-6);
    s.ema.update_after_step = 5;
    CHECK(trainer_ema_decay(&s, 6) == 0 && trainer_ema_decay(&s, 7) > 0.4);
}

TEST(a_gradient_that_is_not_finite_changes_nothing) {
    struct proto_error error = {0};
    struct fixture f;
    static float before[N], after[N], g[N];
    fixture_open(&f);
    (void)take_step(&f, 0);
    CHECK_OK(model_backend_download(f.backend, before, f.weights, sizeof before, &error), error);
    g[17] = NAN;
    CHECK_OK(model_backend_upload(f.backend, f.gradients, g, sizeof g, &error), error);
    struct trainer_optimizer_report report;
    CHECK(!trainer_optimizer_step(f.optimizer, f.weights, f.gradients, 0.01, &report, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    CHECK_HAS(error.text, "optimiser step 1 is not finite");
    CHECK_OK(model_backend_download(f.backend, after, f.weights, sizeof after, &error), error);
    CHECK(memcmp(before, after, sizeof before) == 0);
    fixture_close(&f);
}

// A power of two changes no digit.
TEST(a_scaled_gradient_gives_the_bits_of_the_plain_one) {
    struct proto_error error = {0};
    static float results[2][N], g[N];
    double norms[2];
    for (int scaled = 0; scaled < 2; scaled++) {
        struct fixture f;
        const double scale = scaled ? 65536 : 1;
        fixture_open(&f);
        for (int step = 0; step < 3; step++) {
            struct trainer_optimizer_report report;
            for (int i = 0; i < N; i++) g[i] = (float)gradient(step, i) * (float)scale;
            CHECK_OK(model_backend_upload(f.backend, f.gradients, g, sizeof g, &error), error);
            CHECK_OK(trainer_optimizer_step_scaled(f.optimizer, f.weights, f.gradients, scale, 0.01,
                                                   &report, &error),
                     error);
            CHECK(report.finite);
            norms[scaled] = report.grad_norm;
        }
        CHECK_OK(model_backend_download(f.backend, results[scaled], f.weights, sizeof results[0],
                                        &error),
                 error);
        fixture_close(&f);
    }
    CHECK(norms[0] == norms[1]);
    CHECK(memcmp(results[0], results[1], sizeof results[0]) == 0);
}

// fp16 skips such a step: neither weights nor moments nor counters move.
TEST(a_scaled_gradient_that_is_not_finite_is_reported) {
    struct proto_error error = {0};
    static float results[2][N], g[N];
    for (int skips = 0; skips < 2; skips++) {
        struct fixture f;
        struct trainer_optimizer_report report = {.finite = true};
        fixture_open(&f);
        (void)take_step(&f, 0);
        if (skips) {
            g[3] = INFINITY;
            CHECK_OK(model_backend_upload(f.backend, f.gradients, g, sizeof g, &error), error);
            CHECK_OK(trainer_optimizer_step_scaled(f.optimizer, f.weights, f.gradients, 4, 0.01,
                                                   &report, &error),
                     error);
            CHECK(!report.finite && !isfinite(report.grad_norm));
        }
        (void)take_step(&f, 1);
        CHECK_OK(
            model_backend_download(f.backend, results[skips], f.weights, sizeof results[0], &error),
            error);
        fixture_close(&f);
    }
    CHECK(memcmp(results[0], results[1], sizeof results[0]) == 0);
}

TEST(settings_are_refused_by_name) {
    struct proto_error error = {0};
    struct model_backend *backend = NULL;
    struct trainer_optimizer *optimizer = NULL;
    struct trainer_optimizer_settings s = settings;
    CHECK_OK(model_backend_open("cpu", 1, &backend, &error), error);
    s.beta2 = 1;
    CHECK(!trainer_optimizer_open(backend, &s, N, &optimizer, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "trainer.adam_beta2 is 1");
    CHECK(!optimizer);
    model_backend_close(&backend);
}

TEST_MAIN(UNIT(steps_are_the_published_algorithm), UNIT(a_restored_optimizer_goes_on_bit_for_bit),
          UNIT(decay_of_the_average_is_the_published_one),
          UNIT(a_gradient_that_is_not_finite_changes_nothing),
          UNIT(a_scaled_gradient_gives_the_bits_of_the_plain_one),
          UNIT(a_scaled_gradient_that_is_not_finite_is_reported),
          UNIT(settings_are_refused_by_name))
