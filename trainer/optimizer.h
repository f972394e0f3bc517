// trainer/optimizer.h - AdamW with clipping by the global norm and a moving average of the weights,
// over flat device buffers: fp32 throughout.
//
// Step n = 1, 2, ..: norm = |g|; g *= min(1, max_norm / (norm + 1e-6)); p *= 1 - rate * decay;
// m, v; p -= rate * (m / (1 - beta1^n)) / (sqrt(v / (1 - beta2^n)) + epsilon); then the average:
// call number s = 0, 1, ..: k = max(0, s - update_after - 1), decay = 0 when k is 0, else
// clamp(1 - (1 + k / inv_gamma)^-power, min, max); ema = decay * ema + (1 - decay) * p.
// Weight decay holds for every parameter. g is the mean gradient over micro batches and ranks.
//
//     trainer_optimizer_open(backend, &settings, elements, &optimizer, error)
//     trainer_optimizer_start(optimizer, weights, error)          // or _restore
//     trainer_optimizer_step(optimizer, weights, gradients, rate, &report, error)
#ifndef TRAINER_OPTIMIZER_H
#define TRAINER_OPTIMIZER_H

#include "model/backend.h"

struct trainer_optimizer_settings {
    double beta1, beta2, epsilon, weight_decay;
    double max_grad_norm;  // 0: no clipping
    struct {
        uint64_t update_after_step;
        double inv_gamma, power, min, max;
    } ema;
};

struct trainer_optimizer;
PROTO_MUST_CHECK bool trainer_optimizer_open(struct model_backend *backend,
                                             const struct trainer_optimizer_settings *settings,
                                             size_t elements, struct trainer_optimizer **optimizer,
                                             struct proto_error *error);
void trainer_optimizer_close(struct trainer_optimizer **optimizer);  // accepts NULL

// A fresh start: moments 0, counters 0, the average is a copy of the weights (device).
PROTO_MUST_CHECK bool trainer_optimizer_start(struct trainer_optimizer *optimizer,
                                              const float *weights, struct proto_error *error);

struct trainer_optimizer_report {
    double grad_norm;  // before clipping
    double ema_decay;  // that was used
    bool finite;       // is the norm? Else nothing was changed
};
// weights, gradients: device [elements]; the gradients are `scale` times too large. Allocates
// nothing.
PROTO_MUST_CHECK bool trainer_optimizer_step_scaled(struct trainer_optimizer *optimizer,
                                                    float *weights, const float *gradients,
                                                    double scale, double rate,
                                                    struct trainer_optimizer_report *report,
                                                    struct proto_error *error);
// The same with scale 1. PROTO_FAILED, with nothing changed, when the norm is not finite.
PROTO_MUST_CHECK bool trainer_optimizer_step(struct trainer_optimizer *optimizer, float *weights,
                                             const float *gradients, double rate,
                                             struct trainer_optimizer_report *report,
                                             struct proto_error *error);

// The averaged weights, device [elements]: valid until close.
const float *trainer_optimizer_ema(const struct trainer_optimizer *optimizer);

// What a resume needs; the arrays are host [elements] and the caller's.
struct trainer_optimizer_state {
    uint64_t step, ema_counter;
    float *m, *v, *ema;
};
PROTO_MUST_CHECK bool trainer_optimizer_snapshot(struct trainer_optimizer *optimizer,
                                                 struct trainer_optimizer_state *state,
                                                 struct proto_error *error);
PROTO_MUST_CHECK bool trainer_optimizer_restore(struct trainer_optimizer *optimizer,
                                                const struct trainer_optimizer_state *state,
                                                struct proto_error *error);

// Decay of EMA call number `counter`, from 0.
double trainer_ema_decay(const struct trainer_optimizer_settings *settings, uint64_t counter);

#endif
