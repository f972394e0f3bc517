// trainer/optimizer.c - AdamW, clipping and the moving average. All arithmetic on weights is one
// operation of the backend; here are the scalars, in double, and the counters.
#include "trainer/optimizer.h"

#include <math.h>
#include <stdlib.h>

struct trainer_optimizer {
    struct model_backend *backend;
    struct trainer_optimizer_settings settings;
    size_t elements;
    float *m, *v, *ema;  // device [elements]
    double *sum;         // device [1]
    uint64_t step, ema_counter;
};

static bool settings_check(const struct trainer_optimizer_settings *s, struct proto_error *error) {
    const struct {
        const char *name;
        double value, min, below;
    } rows[] = {
        {"adam_beta1", s->beta1, 0, 1},
        {"adam_beta2", s->beta2, 0, 1},
        {"adam_epsilon", s->epsilon, 1e-30, INFINITY},
        {"adam_weight_decay", s->weight_decay, 0, INFINITY},
        {"max_grad_norm", s->max_grad_norm, 0, INFINITY},
        {"ema_inv_gamma", s->ema.inv_gamma, 1e-30, INFINITY},
        {"ema_power", s->ema.power, 0, INFINITY},
        {"ema_min_decay", s->ema.min, 0, 1.0000001},
        {"ema_max_decay", s->ema.max, 0, 1.0000001},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (!(rows[i].value >= rows[i].min && rows[i].value < rows[i].below))
            return proto_fail(error, PROTO_USAGE, "trainer.%s is %g, must be %g or above, below %g",
                              rows[i].name, rows[i].value, rows[i].min, rows[i].below);
    return true;
}

bool trainer_optimizer_open(struct model_backend *backend,
                            const struct trainer_optimizer_settings *settings, size_t elements,
                            struct trainer_optimizer **out, struct proto_error *error) {
    if (!settings_check(settings, error)) return false;
    size_t bytes = 0;
    if (elements == 0 || !proto_mul(elements, sizeof(float), &bytes))
        return proto_fail(error, PROTO_FAILED, "an optimizer over %zu parameters", elements);
    struct trainer_optimizer *optimizer = proto_alloc(sizeof *optimizer, error);
    if (!optimizer) return false;
    optimizer->backend = backend;
    optimizer->settings = *settings;
    optimizer->elements = elements;
    float **const arrays[] = {&optimizer->m, &optimizer->v, &optimizer->ema};
    bool done = true;
    for (size_t i = 0; done && i < PROTO_COUNT(arrays); i++)
        done = (*arrays[i] = model_backend_alloc(backend, bytes, error)) != NULL;
    if (done) done = (optimizer->sum = model_backend_alloc(backend, sizeof(double), error)) != NULL;
    if (!done) {
        trainer_optimizer_close(&optimizer);
        return false;
    }
    *out = optimizer;
    return true;
}

void trainer_optimizer_close(struct trainer_optimizer **out) {
    struct trainer_optimizer *optimizer = *out;
    if (!optimizer) return;
    model_backend_free(optimizer->backend, optimizer->m);
    model_backend_free(optimizer->backend, optimizer->v);
    model_backend_free(optimizer->backend, optimizer->ema);
    model_backend_free(optimizer->backend, optimizer->sum);
    free(optimizer);
    *out = NULL;
}

bool trainer_optimizer_start(struct trainer_optimizer *optimizer, const float *weights,
                             struct proto_error *error) {
    const size_t bytes = optimizer->elements * sizeof(float);
    optimizer->step = optimizer->ema_counter = 0;
    return model_backend_fill(optimizer->backend, optimizer->m, 0, bytes, error) &&
           model_backend_fill(optimizer->backend, optimizer->v, 0, bytes, error) &&
           model_backend_copy(optimizer->backend, optimizer->ema, weights, bytes, error);
}

double trainer_ema_decay(const struct trainer_optimizer_settings *settings, uint64_t counter) {
    const uint64_t after = settings->ema.update_after_step;
    if (counter < after || counter - after <= 1) return 0;
    const double k = (double)(counter - after - 1);
    const double decay = 1 - pow(1 + k / settings->ema.inv_gamma, -settings->ema.power);
    return fmin(fmax(decay, settings->ema.min), settings->ema.max);
}

bool trainer_optimizer_step(struct trainer_optimizer *optimizer, float *weights,
                            const float *gradients, double rate,
                            struct trainer_optimizer_report *report, struct proto_error *error) {
    if (!trainer_optimizer_step_scaled(optimizer, weights, gradients, 1, rate, report, error))
        return false;
    return report->finite ||
           proto_fail(error, PROTO_FAILED,
                      "the gradient of optimiser step %llu is not finite; a lower learning_rate or "
                      "max_grad_norm usually cures it",
                      (unsigned long long)optimizer->step);
}

bool trainer_optimizer_step_scaled(struct trainer_optimizer *optimizer, float *weights,
                                   const float *gradients, double scale, double rate,
                                   struct trainer_optimizer_report *report,
                                   struct proto_error *error) {
    const struct trainer_optimizer_settings *s = &optimizer->settings;
    const struct model_sum_squares squares = {
        .n = optimizer->elements, .x = gradients, .sum = optimizer->sum};
    double sum = 0;
    if (!model_sum_squares(optimizer->backend, &squares, error) ||
        !model_backend_download(optimizer->backend, &sum, optimizer->sum, sizeof sum, error))
        return false;
    const double norm = sqrt(sum) / scale;
    *report = (struct trainer_optimizer_report){.grad_norm = norm, .finite = isfinite(norm)};
    if (!report->finite) return true;
    const double clip = s->max_grad_norm > 0 ? fmin(1, s->max_grad_norm / (norm + 1e-6)) : 1;
    const double decay = trainer_ema_decay(s, optimizer->ema_counter);
    const double n = (double)(optimizer->step + 1);
    const struct model_adamw adamw = {.n = optimizer->elements,
                                      .p = weights,
                                      .m = optimizer->m,
                                      .v = optimizer->v,
                                      .g = gradients,
                                      .ema = optimizer->ema,
                                      .gradient_scale = clip / scale,
                                      .rate = rate,
                                      .beta1 = s->beta1,
                                      .beta2 = s->beta2,
                                      .epsilon = s->epsilon,
                                      .weight_decay = s->weight_decay,
                                      .correction1 = 1 - pow(s->beta1, n),
                                      .correction2 = 1 - pow(s->beta2, n),
                                      .ema_decay = decay};
    if (!model_adamw(optimizer->backend, &adamw, error)) return false;
    optimizer->step++;
    optimizer->ema_counter++;
    report->ema_decay = decay;
    return true;
}

const float *trainer_optimizer_ema(const struct trainer_optimizer *optimizer) {
    return optimizer->ema;
}

bool trainer_optimizer_snapshot(struct trainer_optimizer *optimizer,
                                struct trainer_optimizer_state *state, struct proto_error *error) {
    const size_t bytes = optimizer->elements * sizeof(float);
    state->step = optimizer->step;
    state->ema_counter = optimizer->ema_counter;
    return model_backend_download(optimizer->backend, state->m, optimizer->m, bytes, error) &&
           model_backend_download(optimizer->backend, state->v, optimizer->v, bytes, error) &&
           model_backend_download(optimizer->backend, state->ema, optimizer->ema, bytes, error);
}

bool trainer_optimizer_restore(struct trainer_optimizer *optimizer,
                               const struct trainer_optimizer_state *state,
                               struct proto_error *error) {
    const size_t bytes = optimizer->elements * sizeof(float);
    optimizer->step = state->step;
    optimizer->ema_counter = state->ema_counter;
    return model_backend_upload(optimizer->backend, optimizer->m, state->m, bytes, error) &&
           model_backend_upload(optimizer->backend, optimizer->v, state->v, bytes, error) &&
           model_backend_upload(optimizer->backend, optimizer->ema, state->ema, bytes, error);
}
