// model/sampler.h - the diffusion schedule and the DPM-Solver++ 2M sampler (arXiv:2211.01095) over
// it, as diffusers computes them: deterministic, x0 prediction, any number of steps.
#ifndef MODEL_SAMPLER_H
#define MODEL_SAMPLER_H

#include "model/rdt.h"

// squaredcos_cap_v2 over 1000 steps. betas in double rounded to f32; the product of f32(1 - beta)
// runs in double, each entry rounded to f32.
struct model_schedule {
    float betas[MODEL_TIMESTEPS], alphas_cumprod[MODEL_TIMESTEPS];
};
void model_schedule_fill(struct model_schedule *schedule);

// The solver's plan for n steps: x' = coef_x x + coef_m0 m0 + coef_m1 m1, m0 the prediction at
// timestep i, m1 the one before. sigmas has n + 1 entries, the last 0.
#define MODEL_SAMPLER_STEPS_MAX 1000
struct model_solver {
    uint32_t steps;
    uint32_t timesteps[MODEL_SAMPLER_STEPS_MAX];
    double sigmas[MODEL_SAMPLER_STEPS_MAX + 1];
    double coef_x[MODEL_SAMPLER_STEPS_MAX], coef_m0[MODEL_SAMPLER_STEPS_MAX],
        coef_m1[MODEL_SAMPLER_STEPS_MAX];
};
// PROTO_USAGE: steps is not 1..1000.
PROTO_MUST_CHECK bool model_solver_plan(const struct model_schedule *schedule, uint32_t steps,
                                        struct model_solver *solver, struct proto_error *error);

struct model_sampler;
// Takes the memory for x and two predictions of the largest batch. The network is borrowed.
PROTO_MUST_CHECK bool model_sampler_open(struct model_rdt *rdt, uint32_t steps,
                                         struct model_sampler **sampler, struct proto_error *error);
void model_sampler_close(struct model_sampler **sampler);  // accepts NULL; leaves NULL behind
const struct model_solver *model_sampler_solver(const struct model_sampler *sampler);

// Predicts action chunks for the inputs now in the network's buffers (state, masks, conditions).
// noise: host [batch, chunk, width], standard normal in all columns; action: host, same shape,
// masked by action_mask. Allocates nothing.
PROTO_MUST_CHECK bool model_sampler_run(struct model_sampler *sampler,
                                        const struct model_rdt_call *call, const float *weights,
                                        const float *noise, float *action,
                                        struct proto_error *error);
// For tests: sees the input and the prediction of each step (device [batch * chunk, width]), named
// "x0", "x0_pred0", "x1" ... NULL turns it off.
void model_sampler_watch(struct model_sampler *sampler, const struct model_tap *tap);

#endif
