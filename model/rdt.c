// model/rdt.c - the network's memory and its calls. One plan deals out every buffer: run once
// without memory it answers how much a plan needs, run again it sets the pointers.
#include "model/rdt_layout.h"
#include "model/sampler.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64

// ---- the memory plan ----

struct arena {
    uint8_t *base;  // NULL: only count
    size_t used;
    bool overflow;
};

// rows * width elements of `size` bytes.
static void *take(struct arena *arena, size_t rows, size_t width, size_t size) {
    size_t elements = 0, bytes = 0, end = 0;
    if (!proto_mul(rows, width, &elements) || !proto_mul(elements, size, &bytes) ||
        !proto_add(arena->used, bytes, &end) || !proto_add(end, ALIGNMENT - 1, &end)) {
        arena->overflow = true;
        return NULL;
    }
    void *memory = arena->base ? arena->base + arena->used : NULL;
    arena->used = end / ALIGNMENT * ALIGNMENT;
    return memory;
}
static float *floats(struct arena *arena, size_t rows, size_t width) {
    return take(arena, rows, width, sizeof(float));
}

static void plan_condition(struct model_rdt *rdt, struct rdt_condition *c, struct arena *arena) {
    const size_t rows = rdt->plan.batch_max * c->rows_max, hidden = rdt->sizes.hidden;
    c->tokens = floats(arena, rows, c->dim);
    c->hidden = floats(arena, rows, hidden);
    c->cond = floats(arena, rows, hidden);
    c->kv = floats(arena, c->kept_blocks * rows, 2 * hidden);
    if (!rdt->plan.training) return;
    c->aux = floats(arena, rows, hidden);
    c->dcond = floats(arena, rows, hidden);
}

static void plan_embedder(struct model_rdt *rdt, struct rdt_embedder *e, struct arena *arena) {
    const size_t batch = rdt->plan.batch_max, hidden = rdt->sizes.hidden;
    e->value = floats(arena, batch, 1);
    e->wave = floats(arena, batch, MODEL_SINUSOID);
    e->hidden = floats(arena, batch, hidden);
    e->out = floats(arena, batch, hidden);
    if (rdt->plan.training) e->aux = floats(arena, batch, hidden);
}

// Numbers that block i's cross-attention leaves for its backward pass.
static size_t cross_saved(struct model_rdt *rdt, uint32_t i) {
    return model_attention_saved(rdt->backend, rdt->plan.batch_max, rdt->sizes.heads,
                                 rdt_stream(rdt), rdt_condition_of(rdt, i)->rows_max,
                                 rdt->sizes.hidden / rdt->sizes.heads);
}

static void plan_block(struct model_rdt *rdt, uint32_t i, struct arena *arena) {
    struct rdt_block *b = &rdt->blocks[i];
    const size_t batch = rdt->plan.batch_max, stream = rdt_stream(rdt), rows = batch * stream;
    const size_t hidden = rdt->sizes.hidden, heads = rdt->sizes.heads;
    const bool training = rdt->plan.training, recompute = rdt->plan.recompute;
    if ((!training || recompute) && i > 0) {
        *b = rdt->blocks[0];
        if (training) b->in = floats(arena, rows, hidden);
        return;
    }
    b->in = floats(arena, rows, hidden);
    b->norm1 = floats(arena, rows, hidden);
    b->norm2 = training ? floats(arena, rows, hidden) : b->norm1;
    b->norm3 = training ? floats(arena, rows, hidden) : b->norm1;
    b->norm1_rows = floats(arena, rows, 2);
    b->norm2_rows = training ? floats(arena, rows, 2) : b->norm1_rows;
    b->norm3_rows = training ? floats(arena, rows, 2) : b->norm1_rows;
    b->qkv = floats(arena, rows, 3 * hidden);
    b->attention = floats(arena, rows, hidden);
    b->middle = floats(arena, rows, hidden);
    b->q = floats(arena, rows, hidden);
    b->cross = floats(arena, rows, hidden);
    b->late = floats(arena, rows, hidden);
    b->ffn = floats(arena, rows, hidden);
    if (!training) return;
    const size_t head = hidden / heads, own = cross_saved(rdt, i);
    const size_t next = recompute && rdt->sizes.depth > 1 ? cross_saved(rdt, i + 1) : 0;
    b->ffn_aux = floats(arena, rows, hidden);
    b->saved =
        floats(arena, 1, model_attention_saved(rdt->backend, batch, heads, stream, stream, head));
    b->cross_saved = floats(arena, 1, own > next ? own : next);
}

static void plan_backward(struct model_rdt *rdt, struct arena *arena) {
    const size_t batch = rdt->plan.batch_max, rows = batch * rdt_stream(rdt);
    const size_t hidden = rdt->sizes.hidden;
    const size_t longest =
        rdt->lang.rows_max > rdt->img.rows_max ? rdt->lang.rows_max : rdt->img.rows_max;
    rdt->dprediction = floats(arena, batch * rdt->sizes.chunk, rdt->sizes.width);
    rdt->dx = floats(arena, rows, hidden);
    rdt->dbranch = floats(arena, rows, hidden);
    rdt->dwide = floats(arena, rows, 3 * hidden);
    rdt->dkv = floats(arena, batch * longest, 2 * hidden);
    rdt->dhidden = floats(arena, batch * longest, hidden);
    for (int i = 0; i < 2; i++) rdt->dsmall[i] = floats(arena, batch, hidden);
}

static void plan_all(struct model_rdt *rdt, struct arena *arena) {
    const struct model_rdt_sizes *s = &rdt->sizes;
    const size_t batch = rdt->plan.batch_max, tokens = batch * (1u + (size_t)s->chunk);
    const bool training = rdt->plan.training;
    struct model_rdt_inputs *in = &rdt->inputs;
    in->state = floats(arena, batch, s->width);
    in->state_mask = floats(arena, batch, s->width);
    in->action_mask = floats(arena, batch, s->width);
    if (training) {
        in->action = floats(arena, batch * s->chunk, s->width);
        in->noise = floats(arena, batch * s->chunk, s->width);
    }
    in->lang_mask = take(arena, batch, rdt->lang.rows_max, 1);
    plan_condition(rdt, &rdt->lang, arena);
    plan_condition(rdt, &rdt->img, arena);
    in->lang_tokens = rdt->lang.tokens;
    in->img_tokens = rdt->img.tokens;
    plan_embedder(rdt, &rdt->time, arena);
    plan_embedder(rdt, &rdt->freq, arena);
    rdt->signal = floats(arena, batch, 1);
    rdt->grain = floats(arena, batch, 1);
    rdt->tokens = floats(arena, tokens, 2 * (size_t)s->width);
    for (int i = 0; i < 2; i++) {
        rdt->state_hidden[i] = floats(arena, tokens, s->hidden);
        if (training) rdt->state_aux[i] = floats(arena, tokens, s->hidden);
    }
    rdt->state_out = floats(arena, tokens, s->hidden);
    for (uint32_t i = 0; i < s->depth; i++) plan_block(rdt, i, arena);
    rdt->out = training ? floats(arena, batch * rdt_stream(rdt), s->hidden) : rdt->blocks[0].in;
    rdt->final_norm = floats(arena, batch * s->chunk, s->hidden);
    rdt->final_rows = floats(arena, batch * s->chunk, 2);
    rdt->final_hidden = floats(arena, batch * s->chunk, s->hidden);
    rdt->prediction = floats(arena, batch * s->chunk, s->width);
    rdt->loss = take(arena, 1, 1, sizeof *rdt->loss);
    if (!training) return;
    rdt->final_aux = floats(arena, batch * s->chunk, s->hidden);
    plan_backward(rdt, arena);
}

// Everything but memory.
static bool begin(struct model_rdt *rdt, struct model_backend *backend,
                  const struct model_rdt_sizes *sizes, const struct model_rdt_plan *plan,
                  struct proto_error *error) {
    if (!model_rdt_sizes_check(sizes, error)) return false;
    if (plan->batch_max < 1 || plan->lang_max < 1 || plan->lang_max > sizes->lang_rows)
        return proto_fail(error, PROTO_USAGE,
                          "a plan of %u samples with %u language tokens; the network takes 1..%u "
                          "tokens and at least one sample",
                          plan->batch_max, plan->lang_max, sizes->lang_rows);
    rdt->backend = backend;
    rdt->sizes = *sizes;
    rdt->plan = *plan;
    rdt->plan.recompute = plan->recompute && plan->training;
    if (!model_parameters_new(sizes, &rdt->table, error)) return false;
    rdt->at = rdt->table->layout;
    rdt->blocks = proto_alloc_array(sizes->depth, sizeof *rdt->blocks, error);
    if (!rdt->blocks) return false;
    rdt->lang = (struct rdt_condition){.name = "lang",
                                       .blocks = (sizes->depth + 1) / 2,
                                       .dim = sizes->lang_dim,
                                       .rows_max = plan->lang_max,
                                       .adaptor = {rdt->at->lang[0], rdt->at->lang[1]},
                                       .kv_at = rdt->at->lang_kv,
                                       .position = rdt->at->lang_position};
    rdt->img = (struct rdt_condition){.name = "img",
                                      .blocks = sizes->depth / 2,
                                      .dim = sizes->img_dim,
                                      .rows_max = model_rdt_img_length(sizes),
                                      .adaptor = {rdt->at->img[0], rdt->at->img[1]},
                                      .kv_at = rdt->at->img_kv,
                                      .position = rdt->at->img_position};
    rdt->img.rows = rdt->img.rows_max;
    rdt->lang.kept_blocks = rdt->plan.recompute ? 1 : rdt->lang.blocks;
    rdt->img.kept_blocks = rdt->plan.recompute && rdt->img.blocks > 0 ? 1 : rdt->img.blocks;
    rdt->time =
        (struct rdt_embedder){.name = "t_embed", .at = {rdt->at->time[0], rdt->at->time[1]}};
    rdt->freq =
        (struct rdt_embedder){.name = "freq_embed", .at = {rdt->at->freq[0], rdt->at->freq[1]}};
    return true;
}

static void end(struct model_rdt *rdt) {
    model_parameters_free(&rdt->table);
    free(rdt->blocks);
    free(rdt->lang.own);
    free(rdt->lang.shared);
    free(rdt->img.own);
    free(rdt->img.shared);
    free(rdt->host);
    free(rdt->acp);
    if (rdt->arena) model_backend_free(rdt->backend, rdt->arena);
}

static bool count_bytes(struct model_rdt *rdt, size_t *size_bytes, struct proto_error *error) {
    struct arena arena = {0};
    plan_all(rdt, &arena);
    if (arena.overflow)
        return proto_fail(error, PROTO_EXHAUSTED, "a batch of %u needs more than any memory holds",
                          rdt->plan.batch_max);
    *size_bytes = arena.used;
    return true;
}

bool model_rdt_memory(const struct model_backend *backend, const struct model_rdt_sizes *sizes,
                      const struct model_rdt_plan *plan, size_t *size_bytes,
                      struct proto_error *error) {
    struct model_rdt rdt = {0};
    // the plan only asks the backend for sizes
    const bool done = begin(&rdt, (struct model_backend *)(uintptr_t)backend, sizes, plan, error) &&
                      count_bytes(&rdt, size_bytes, error);
    end(&rdt);
    return done;
}

static size_t places(const struct model_rdt *rdt) {
    return (size_t)rdt->sizes.img_history * rdt->sizes.img_cameras;
}
// Room for the rows of a condition of so many places, however they are shared.
static bool open_rows(struct model_rdt *rdt, struct rdt_condition *c, size_t places,
                      struct proto_error *error) {
    const size_t runs = (places + 1) / 2;
    return (c->own = proto_alloc_array(1 + rdt->plan.batch_max * runs, sizeof *c->own, error)) &&
           (c->shared = proto_alloc_array(runs, sizeof *c->shared, error));
}

bool model_rdt_open(struct model_backend *backend, const struct model_rdt_sizes *sizes,
                    const struct model_rdt_plan *plan, struct model_rdt **out,
                    struct proto_error *error) {
    struct model_rdt *rdt = proto_alloc(sizeof *rdt, error);
    if (!rdt) return false;
    bool done = false;
    struct model_schedule *schedule = NULL;
    if (!begin(rdt, backend, sizes, plan, error)) goto end;
    if (!open_rows(rdt, &rdt->lang, 1, error) || !open_rows(rdt, &rdt->img, places(rdt), error))
        goto end;
    if (!count_bytes(rdt, &rdt->arena_bytes, error)) goto end;
    rdt->arena = model_backend_alloc(backend, rdt->arena_bytes, error);
    if (!rdt->arena) goto end;
    struct arena arena = {.base = rdt->arena};
    plan_all(rdt, &arena);
    rdt->host = proto_alloc_array(4 * (size_t)plan->batch_max, sizeof *rdt->host, error);
    rdt->acp = proto_alloc_array(MODEL_TIMESTEPS, sizeof *rdt->acp, error);
    schedule = proto_alloc(sizeof *schedule, error);
    if (!rdt->host || !rdt->acp || !schedule) goto end;
    model_schedule_fill(schedule);
    memcpy(rdt->acp, schedule->alphas_cumprod, sizeof schedule->alphas_cumprod);
    done = true;
end:
    free(schedule);
    if (!done) {
        model_rdt_close(&rdt);
        return false;
    }
    *out = rdt;
    return true;
}

void model_rdt_close(struct model_rdt **rdt) {
    if (!*rdt) return;
    end(*rdt);
    free(*rdt);
    *rdt = NULL;
}

const struct model_rdt_sizes *model_rdt_sizes(const struct model_rdt *rdt) { return &rdt->sizes; }
struct model_backend *model_rdt_backend(const struct model_rdt *rdt) {
    return rdt->backend;
}
uint32_t model_rdt_batch_max(const struct model_rdt *rdt) { return rdt->plan.batch_max; }
const struct model_parameters *model_rdt_parameters(const struct model_rdt *rdt) {
    return rdt->table;
}
const struct model_rdt_inputs *model_rdt_inputs(const struct model_rdt *rdt) {
    return &rdt->inputs;
}
const float *model_rdt_prediction(const struct model_rdt *rdt) { return rdt->prediction; }
void model_rdt_watch(struct model_rdt *rdt, const struct model_tap *tap) {
    rdt->tap = tap ? *tap : (struct model_tap){0};
}

bool rdt_tap(struct model_rdt *rdt, const float *device, size_t rows, size_t width,
             struct proto_error *error, const char *name, ...) {
    if (!rdt->tap.see || rdt->again) return true;
    char text[64];
    va_list arguments;
    va_start(arguments, name);
    vsnprintf(text, sizeof text, name, arguments);
    va_end(arguments);
    return rdt->tap.see(rdt->tap.context, text, device, rows, width, width, error);
}

// ---- calls ----

bool rdt_begin(struct model_rdt *rdt, const struct model_rdt_call *call, const float *weights,
               struct proto_error *error) {
    const uint8_t lang_shared = call->lang_shared;
    if (call->batch < 1 || call->batch > rdt->plan.batch_max)
        return proto_fail(error, PROTO_FAILED, "a batch of %u samples, planned for 1..%u",
                          call->batch, rdt->plan.batch_max);
    if (call->lang_length < 1 || call->lang_length > rdt->plan.lang_max)
        return proto_fail(error, PROTO_FAILED, "an instruction of %u tokens, planned for 1..%u",
                          call->lang_length, rdt->plan.lang_max);
    rdt->call = call;
    rdt->w = weights;
    rdt->lang.rows = call->lang_length;
    rdt_shared_begin(&rdt->lang, call->batch, &lang_shared, 1);
    rdt_shared_begin(&rdt->img, call->batch, call->img_shared, places(rdt));
    return true;
}

static bool send(struct model_rdt *rdt, float *device, const float *host,
                 struct proto_error *error) {
    return model_backend_upload(rdt->backend, device, host, rdt->call->batch * sizeof *host, error);
}

bool model_rdt_train(struct model_rdt *rdt, const struct model_rdt_call *call, const float *weights,
                     float *gradients, float scale, double *loss, struct proto_error *error) {
    if (!rdt->plan.training)
        return proto_fail(error, PROTO_FAILED, "this network was opened without training");
    if (!rdt_begin(rdt, call, weights, error)) return false;
    rdt->g = gradients;
    float *value = rdt->host, *signal = value + call->batch, *grain = signal + call->batch;
    for (uint32_t b = 0; b < call->batch; b++) {
        if (call->timesteps[b] >= MODEL_TIMESTEPS)
            return proto_fail(error, PROTO_FAILED, "timestep %u, must be 0..%d", call->timesteps[b],
                              MODEL_TIMESTEPS - 1);
        const float acp = rdt->acp[call->timesteps[b]];
        value[b] = (float)call->timesteps[b];
        signal[b] = sqrtf(acp);
        grain[b] = sqrtf(1.0f - acp);
    }
    if (!send(rdt, rdt->time.value, value, error) || !send(rdt, rdt->signal, signal, error) ||
        !send(rdt, rdt->grain, grain, error) || !send(rdt, rdt->freq.value, call->ctrl_freq, error))
        return false;
    if (!rdt_conditions_forward(rdt, error) || !rdt_embed(rdt, &rdt->freq, error) ||
        !rdt_forward(rdt, rdt->inputs.action, rdt->inputs.noise, error))
        return false;
    const struct model_mse mse = {.n = (size_t)call->batch * rdt->sizes.chunk * rdt->sizes.width,
                                  .prediction = rdt->prediction,
                                  .target = rdt->inputs.action,
                                  .scale = scale,
                                  .gradient = rdt->dprediction,
                                  .loss = rdt->loss};
    if (!model_mse(rdt->backend, &mse, error) || !rdt_backward(rdt, error)) return false;
    return !loss || model_backend_download(rdt->backend, loss, rdt->loss, sizeof *loss, error);
}

bool model_rdt_condition(struct model_rdt *rdt, const struct model_rdt_call *call,
                         const float *weights, struct proto_error *error) {
    if (!rdt_begin(rdt, call, weights, error)) return false;
    return send(rdt, rdt->freq.value, call->ctrl_freq, error) &&
           rdt_conditions_forward(rdt, error) && rdt_embed(rdt, &rdt->freq, error);
}

bool model_rdt_denoise(struct model_rdt *rdt, const struct model_rdt_call *call,
                       const float *weights, const float *noisy, uint32_t timestep,
                       struct proto_error *error) {
    if (!rdt_begin(rdt, call, weights, error)) return false;
    if (timestep >= MODEL_TIMESTEPS)
        return proto_fail(error, PROTO_FAILED, "timestep %u, must be 0..%d", timestep,
                          MODEL_TIMESTEPS - 1);
    for (uint32_t b = 0; b < call->batch; b++) rdt->host[b] = (float)timestep;
    return send(rdt, rdt->time.value, rdt->host, error) && rdt_forward(rdt, noisy, NULL, error);
}
