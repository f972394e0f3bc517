// model/sampler.c - the diffusion's numbers and the DPM-Solver++ 2M loop over the network.
#include "model/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double signal_left(double u) {
    const double c = cos((u + 0.008) / 1.008 * M_PI / 2);
    return c * c;
}

void model_schedule_fill(struct model_schedule *schedule) {
    double product = 1;
    for (size_t i = 0; i < MODEL_TIMESTEPS; i++) {
        const double now = (double)i / MODEL_TIMESTEPS, next = (double)(i + 1) / MODEL_TIMESTEPS;
        const double beta = 1 - signal_left(next) / signal_left(now);
        schedule->betas[i] = (float)(beta < 0.999 ? beta : 0.999);
        product *= (double)(1.0f - schedule->betas[i]);
        schedule->alphas_cumprod[i] = (float)product;
    }
}

bool model_solver_plan(const struct model_schedule *schedule, uint32_t steps,
                       struct model_solver *solver, struct proto_error *error) {
    if (steps < 1 || steps > MODEL_SAMPLER_STEPS_MAX)
        return proto_fail(error, PROTO_USAGE, "%u solver steps, must be 1..%d", steps,
                          MODEL_SAMPLER_STEPS_MAX);
    memset(solver, 0, sizeof *solver);
    solver->steps = steps;
    double lambda[MODEL_SAMPLER_STEPS_MAX + 1], alpha[MODEL_SAMPLER_STEPS_MAX + 1],
        deviation[MODEL_SAMPLER_STEPS_MAX + 1];
    for (uint32_t i = 0; i < steps; i++) {
        // linspace(0, 999, steps + 1) from its end, halves to even
        const double t = rint((double)(MODEL_TIMESTEPS - 1) * (double)(steps - i) / (double)steps);
        solver->timesteps[i] = (uint32_t)t;
        const double acp = (double)schedule->alphas_cumprod[solver->timesteps[i]];
        const double sigma = sqrt((1 - acp) / acp);
        solver->sigmas[i] = sigma;
        alpha[i] = 1 / sqrt(1 + sigma * sigma);
        deviation[i] = sigma * alpha[i];
        lambda[i] = log(alpha[i]) - log(deviation[i]);
    }
    for (uint32_t i = 0; i + 1 < steps; i++) {
        const double h = lambda[i + 1] - lambda[i];
        const double weight = alpha[i + 1] * -expm1(-h);
        solver->coef_x[i] = deviation[i + 1] / deviation[i];
        solver->coef_m0[i] = weight;
        if (i == 0) continue;
        const double r = (lambda[i] - lambda[i - 1]) / h;
        solver->coef_m0[i] = weight * (1 + 1 / (2 * r));
        solver->coef_m1[i] = -weight / (2 * r);
    }
    // sigma 0 at the end: the result is the prediction itself
    solver->coef_m0[steps - 1] = 1;
    return true;
}

struct model_sampler {
    struct model_rdt *rdt;
    struct model_solver solver;
    struct model_tap tap;
    float *x, *previous;  // device [batch_max, chunk, width]
    size_t elements_max;
};

bool model_sampler_open(struct model_rdt *rdt, uint32_t steps, struct model_sampler **out,
                        struct proto_error *error) {
    struct model_sampler *sampler = proto_alloc(sizeof *sampler, error);
    if (!sampler) return false;
    struct model_schedule *schedule = proto_alloc(sizeof *schedule, error);
    sampler->rdt = rdt;
    bool done = false;
    if (!schedule) goto end;
    model_schedule_fill(schedule);
    if (!model_solver_plan(schedule, steps, &sampler->solver, error)) goto end;
    const struct model_rdt_sizes *sizes = model_rdt_sizes(rdt);
    sampler->elements_max = (size_t)model_rdt_batch_max(rdt) * sizes->chunk * sizes->width;
    struct model_backend *backend = model_rdt_backend(rdt);
    sampler->x = model_backend_alloc(backend, sampler->elements_max * sizeof(float), error);
    if (!sampler->x) goto end;
    sampler->previous = model_backend_alloc(backend, sampler->elements_max * sizeof(float), error);
    done = sampler->previous != NULL;
end:
    free(schedule);
    if (!done) {
        model_sampler_close(&sampler);
        return false;
    }
    *out = sampler;
    return true;
}

void model_sampler_close(struct model_sampler **out) {
    struct model_sampler *sampler = *out;
    if (!sampler) return;
    model_backend_free(model_rdt_backend(sampler->rdt), sampler->x);
    model_backend_free(model_rdt_backend(sampler->rdt), sampler->previous);
    free(sampler);
    *out = NULL;
}

const struct model_solver *model_sampler_solver(const struct model_sampler *sampler) {
    return &sampler->solver;
}
void model_sampler_watch(struct model_sampler *sampler, const struct model_tap *tap) {
    sampler->tap = tap ? *tap : (struct model_tap){0};
}

static bool see(struct model_sampler *sampler, const char *name, uint32_t step, const float *device,
                size_t rows, struct proto_error *error) {
    if (!sampler->tap.see) return true;
    char text[32];
    snprintf(text, sizeof text, "%s%u", name, step);
    const size_t width = model_rdt_sizes(sampler->rdt)->width;
    return sampler->tap.see(sampler->tap.context, text, device, rows, width, width, error);
}

static bool sampler_step(struct model_sampler *sampler, const struct model_rdt_call *call,
                         const float *weights, uint32_t i, struct proto_error *error) {
    struct model_backend *backend = model_rdt_backend(sampler->rdt);
    const struct model_solver *solver = &sampler->solver;
    const struct model_rdt_sizes *sizes = model_rdt_sizes(sampler->rdt);
    const size_t rows = (size_t)call->batch * sizes->chunk, n = rows * sizes->width;
    if (!see(sampler, "x", i, sampler->x, rows, error)) return false;
    if (!model_rdt_denoise(sampler->rdt, call, weights, sampler->x, solver->timesteps[i], error))
        return false;
    const float *prediction = model_rdt_prediction(sampler->rdt);
    if (!see(sampler, "x0_pred", i, prediction, rows, error)) return false;
    const struct model_combine combine = {.n = n,
                                          .cx = (float)solver->coef_x[i],
                                          .c0 = (float)solver->coef_m0[i],
                                          .c1 = (float)solver->coef_m1[i],
                                          .x = sampler->x,
                                          .m0 = prediction,
                                          .m1 = sampler->previous};
    if (!model_combine(backend, &combine, error)) return false;
    return model_backend_copy(backend, sampler->previous, prediction, n * sizeof(float), error);
}

bool model_sampler_run(struct model_sampler *sampler, const struct model_rdt_call *call,
                       const float *weights, const float *noise, float *action,
                       struct proto_error *error) {
    struct model_backend *backend = model_rdt_backend(sampler->rdt);
    const struct model_rdt_sizes *sizes = model_rdt_sizes(sampler->rdt);
    const size_t bytes = (size_t)call->batch * sizes->chunk * sizes->width * sizeof(float);
    if (bytes > sampler->elements_max * sizeof(float))
        return proto_fail(error, PROTO_FAILED, "sampler: a batch of %u is over the planned %u",
                          call->batch, model_rdt_batch_max(sampler->rdt));
    if (!model_backend_upload(backend, sampler->x, noise, bytes, error)) return false;
    if (!model_rdt_condition(sampler->rdt, call, weights, error)) return false;
    for (uint32_t i = 0; i < sampler->solver.steps; i++)
        if (!sampler_step(sampler, call, weights, i, error)) return false;
    const struct model_mask_rows mask = {.batch = call->batch,
                                         .rows = sizes->chunk,
                                         .width = sizes->width,
                                         .x = sampler->x,
                                         .mask = model_rdt_inputs(sampler->rdt)->action_mask,
                                         .y = sampler->x};
    if (!model_mask_rows(backend, &mask, error)) return false;
    return model_backend_download(backend, action, sampler->x, bytes, error);
}
