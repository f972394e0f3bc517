// model/rdt_forward.c - the forward pass: conditions, embedders, blocks, head.
#include "model/rdt_layout.h"

bool rdt_linear(struct model_rdt *rdt, struct rdt_linear l, struct proto_error *error) {
    const struct model_gemm gemm = {.transpose_b = true,
                                    .m = l.rows,
                                    .n = l.out,
                                    .k = l.in,
                                    .a = l.x,
                                    .a_stride = l.in,
                                    .b = rdt->w + l.at.weight,
                                    .b_stride = l.in,
                                    .c = l.c,
                                    .c_stride = l.out,
                                    .c_rows = l.c_rows,
                                    .d = l.y,
                                    .d_stride = l.out,
                                    .bias = rdt->w + l.at.bias,
                                    .activation = l.activation,
                                    .aux = l.aux};
    return model_gemm(rdt->backend, &gemm, error);
}

bool rdt_keys_values(struct model_rdt *rdt, const struct rdt_condition *c, uint32_t i,
                     struct proto_error *error) {
    const size_t hidden = rdt->sizes.hidden, before = i / 2 * 2 * hidden;
    float *kv = rdt_kv(rdt, c, i);
    const struct rdt_linear linear = {
        .in = hidden,
        .out = 2 * hidden,
        .x = c->cond,
        .at = {c->kv_at.weight + before * hidden, c->kv_at.bias + before},
        .y = kv};
    return rdt_shared_linear(rdt, c, linear, error) &&
           rdt_shared_copy(rdt, c, kv, 2 * hidden, error);
}

// Of every block that reads the condition, when they are all kept.
static bool all_keys_values(struct model_rdt *rdt, const struct rdt_condition *c,
                            struct proto_error *error) {
    const uint32_t first = c == &rdt->lang ? 0 : 1;
    for (uint32_t i = first; i < rdt->sizes.depth; i += 2)
        if (!rdt->plan.recompute && !rdt_keys_values(rdt, c, i, error)) return false;
    return true;
}

static bool condition_forward(struct model_rdt *rdt, struct rdt_condition *c,
                              struct proto_error *error) {
    const size_t rows = rdt->call->batch * c->rows, hidden = rdt->sizes.hidden;
    if (c->blocks == 0) return true;
    const struct rdt_linear first = {.in = c->dim,
                                     .out = hidden,
                                     .x = c->tokens,
                                     .at = c->adaptor[0],
                                     .y = c->hidden,
                                     .activation = MODEL_GELU,
                                     .aux = c->aux};
    // the second layer adds the position table
    const struct rdt_linear second = {.in = hidden,
                                      .out = hidden,
                                      .x = c->hidden,
                                      .at = c->adaptor[1],
                                      .y = c->cond,
                                      .c = rdt->w + c->position};
    return rdt_shared_linear(rdt, c, first, error) && rdt_shared_linear(rdt, c, second, error) &&
           rdt_tap(rdt, c->cond, rows, hidden, error, "%s_cond", c->name) &&
           all_keys_values(rdt, c, error);
}

bool rdt_conditions_forward(struct model_rdt *rdt, struct proto_error *error) {
    return condition_forward(rdt, &rdt->lang, error) && condition_forward(rdt, &rdt->img, error);
}

bool rdt_embed(struct model_rdt *rdt, struct rdt_embedder *e, struct proto_error *error) {
    const size_t batch = rdt->call->batch, hidden = rdt->sizes.hidden;
    const struct model_sinusoid sinusoid = {
        .rows = batch, .width = MODEL_SINUSOID, .v = e->value, .y = e->wave};
    return model_sinusoid(rdt->backend, &sinusoid, error) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = batch,
                                          .in = MODEL_SINUSOID,
                                          .out = hidden,
                                          .x = e->wave,
                                          .at = e->at[0],
                                          .y = e->hidden,
                                          .activation = MODEL_SILU,
                                          .aux = e->aux},
                      error) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = batch,
                                          .in = hidden,
                                          .out = hidden,
                                          .x = e->hidden,
                                          .at = e->at[1],
                                          .y = e->out},
                      error) &&
           rdt_tap(rdt, e->out, batch, hidden, error, "%s", e->name);
}

static bool state_adaptor(struct model_rdt *rdt, const float *action, const float *noise,
                          struct proto_error *error) {
    const struct model_rdt_sizes *s = &rdt->sizes;
    const size_t batch = rdt->call->batch, rows = batch * (1u + (size_t)s->chunk);
    const struct model_tokens tokens = {.batch = batch,
                                        .chunk = s->chunk,
                                        .width = s->width,
                                        .state = rdt->inputs.state,
                                        .state_mask = rdt->inputs.state_mask,
                                        .action_mask = rdt->inputs.action_mask,
                                        .action = action,
                                        .noise = noise,
                                        .signal = rdt->signal,
                                        .grain = rdt->grain,
                                        .y = rdt->tokens};
    if (!model_tokens(rdt->backend, &tokens, error)) return false;
    if (!rdt_tap(rdt, rdt->tokens, rows, 2u * s->width, error, "tokens")) return false;
    for (int i = 0; i < 3; i++) {
        const struct rdt_linear layer = {.rows = rows,
                                         .in = i == 0 ? 2u * s->width : s->hidden,
                                         .out = s->hidden,
                                         .x = i == 0 ? rdt->tokens : rdt->state_hidden[i - 1],
                                         .at = rdt->at->state[i],
                                         .y = i == 2 ? rdt->state_out : rdt->state_hidden[i],
                                         .activation = i == 2 ? MODEL_LINEAR : MODEL_GELU,
                                         .aux = i == 2 ? NULL : rdt->state_aux[i]};
        if (!rdt_linear(rdt, layer, error)) return false;
    }
    return rdt_tap(rdt, rdt->state_out, rows, s->hidden, error, "core_in.x");
}

static bool block_norm(struct model_rdt *rdt, const float *x, size_t gain, float *y, float *rows,
                       struct proto_error *error) {
    const struct model_norm norm = {.stat = rdt->sizes.norm_stat,
                                    .epsilon = rdt->sizes.epsilon,
                                    .groups = rdt->call->batch,
                                    .group_rows = rdt_stream(rdt),
                                    .width = rdt->sizes.hidden,
                                    .x = x,
                                    .gain = rdt->w + gain,
                                    .y = y,
                                    .rows = rows};
    return model_norm(rdt->backend, &norm, error);
}

static bool self_attention(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    struct rdt_block *b = &rdt->blocks[i];
    const struct rdt_block_at *at = &rdt->at->blocks[i];
    const size_t stream = rdt_stream(rdt), rows = rdt->call->batch * stream;
    const size_t hidden = rdt->sizes.hidden;
    const struct model_attention attention = {.stat = rdt->sizes.norm_stat,
                                              .epsilon = rdt->sizes.epsilon,
                                              .batch = rdt->call->batch,
                                              .heads = rdt->sizes.heads,
                                              .queries = stream,
                                              .keys = stream,
                                              .head_width = hidden / rdt->sizes.heads,
                                              .q = b->qkv,
                                              .k = b->qkv + hidden,
                                              .v = b->qkv + 2 * hidden,
                                              .q_stride = 3 * hidden,
                                              .kv_stride = 3 * hidden,
                                              .q_gain = rdt->w + at->q_norm,
                                              .k_gain = rdt->w + at->k_norm,
                                              .y = b->attention,
                                              .saved = b->saved};
    return block_norm(rdt, b->in, at->norm1, b->norm1, b->norm1_rows, error) &&
           rdt_tap(rdt, b->norm1, rows, hidden, error, "block%u.norm1", i) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = hidden,
                                          .out = 3 * hidden,
                                          .x = b->norm1,
                                          .at = at->qkv,
                                          .y = b->qkv},
                      error) &&
           model_attention(rdt->backend, &attention, error) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = hidden,
                                          .out = hidden,
                                          .x = b->attention,
                                          .at = at->proj,
                                          .y = b->middle,
                                          .c = b->in},
                      error) &&
           rdt_tap(rdt, b->middle, rows, hidden, error, "block%u.middle", i);
}

static bool cross_attention(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    struct rdt_block *b = &rdt->blocks[i];
    const struct rdt_block_at *at = &rdt->at->blocks[i];
    const struct rdt_condition *c = rdt_condition_of(rdt, i);
    const size_t stream = rdt_stream(rdt), rows = rdt->call->batch * stream;
    const size_t hidden = rdt->sizes.hidden;
    const float *kv = rdt_kv(rdt, c, i);
    const struct model_attention attention = {.stat = rdt->sizes.norm_stat,
                                              .epsilon = rdt->sizes.epsilon,
                                              .batch = rdt->call->batch,
                                              .heads = rdt->sizes.heads,
                                              .queries = stream,
                                              .keys = c->rows,
                                              .head_width = hidden / rdt->sizes.heads,
                                              .q = b->q,
                                              .k = kv,
                                              .v = kv + hidden,
                                              .q_stride = hidden,
                                              .kv_stride = 2 * hidden,
                                              .q_gain = rdt->w + at->cross_q_norm,
                                              .k_gain = rdt->w + at->cross_k_norm,
                                              .mask =
                                                  c == &rdt->lang ? rdt->inputs.lang_mask : NULL,
                                              .y = b->cross,
                                              .saved = b->cross_saved};
    return (!rdt->plan.recompute || rdt_keys_values(rdt, c, i, error)) &&
           block_norm(rdt, b->middle, at->norm2, b->norm2, b->norm2_rows, error) &&
           rdt_tap(rdt, b->norm2, rows, hidden, error, "block%u.norm2", i) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = hidden,
                                          .out = hidden,
                                          .x = b->norm2,
                                          .at = at->q,
                                          .y = b->q},
                      error) &&
           model_attention(rdt->backend, &attention, error) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = hidden,
                                          .out = hidden,
                                          .x = b->cross,
                                          .at = at->cross_proj,
                                          .y = b->late,
                                          .c = b->middle},
                      error) &&
           rdt_tap(rdt, b->late, rows, hidden, error, "block%u.late", i);
}

static bool feed_forward(struct model_rdt *rdt, uint32_t i, float *out, struct proto_error *error) {
    struct rdt_block *b = &rdt->blocks[i];
    const struct rdt_block_at *at = &rdt->at->blocks[i];
    const size_t rows = rdt->call->batch * rdt_stream(rdt), hidden = rdt->sizes.hidden;
    if (!block_norm(rdt, b->late, at->norm3, b->norm3, b->norm3_rows, error) ||
        !rdt_tap(rdt, b->norm3, rows, hidden, error, "block%u.norm3", i) ||
        !rdt_linear(rdt,
                    (struct rdt_linear){.rows = rows,
                                        .in = hidden,
                                        .out = hidden,
                                        .x = b->norm3,
                                        .at = at->fc1,
                                        .y = b->ffn,
                                        .activation = MODEL_GELU,
                                        .aux = b->ffn_aux},
                    error))
        return false;
    if (!out) return true;
    return rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = hidden,
                                          .out = hidden,
                                          .x = b->ffn,
                                          .at = at->fc2,
                                          .y = out,
                                          .c = b->late},
                      error) &&
           rdt_tap(rdt, out, rows, hidden, error, "block%u.out", i);
}

bool rdt_block_forward(struct model_rdt *rdt, uint32_t i, float *out, struct proto_error *error) {
    const size_t rows = rdt->call->batch * rdt_stream(rdt);
    return rdt_tap(rdt, rdt->blocks[i].in, rows, rdt->sizes.hidden, error, "block%u.in", i) &&
           self_attention(rdt, i, error) && cross_attention(rdt, i, error) &&
           feed_forward(rdt, i, out, error);
}

// Only the chunk's rows reach the head: the norm leaves the three before them out.
static bool head_forward(struct model_rdt *rdt, struct proto_error *error) {
    const struct model_rdt_sizes *s = &rdt->sizes;
    const size_t rows = (size_t)rdt->call->batch * s->chunk;
    const struct model_norm norm = {.stat = s->norm_stat,
                                    .epsilon = s->epsilon,
                                    .groups = rdt->call->batch,
                                    .group_rows = rdt_stream(rdt),
                                    .skip = 3,
                                    .width = s->hidden,
                                    .x = rdt->out,
                                    .gain = rdt->w + rdt->at->final_norm,
                                    .y = rdt->final_norm,
                                    .rows = rdt->final_rows};
    return model_norm(rdt->backend, &norm, error) &&
           rdt_tap(rdt, rdt->final_norm, rows, s->hidden, error, "final.norm") &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = s->hidden,
                                          .out = s->hidden,
                                          .x = rdt->final_norm,
                                          .at = rdt->at->final_fc1,
                                          .y = rdt->final_hidden,
                                          .activation = MODEL_GELU,
                                          .aux = rdt->final_aux},
                      error) &&
           rdt_linear(rdt,
                      (struct rdt_linear){.rows = rows,
                                          .in = s->hidden,
                                          .out = s->width,
                                          .x = rdt->final_hidden,
                                          .at = rdt->at->final_fc2,
                                          .y = rdt->prediction},
                      error) &&
           rdt_tap(rdt, rdt->prediction, rows, s->width, error, "pred");
}

bool rdt_forward(struct model_rdt *rdt, const float *action, const float *noise,
                 struct proto_error *error) {
    const struct model_rdt_sizes *s = &rdt->sizes;
    if (!rdt_embed(rdt, &rdt->time, error) || !state_adaptor(rdt, action, noise, error))
        return false;
    const struct model_concat concat = {.batch = rdt->call->batch,
                                        .rest_rows = 1u + s->chunk,
                                        .width = s->hidden,
                                        .first = rdt->time.out,
                                        .second = rdt->freq.out,
                                        .rest = rdt->state_out,
                                        .position = rdt->w + rdt->at->x_position,
                                        .x = rdt->blocks[0].in};
    if (!model_concat(rdt->backend, &concat, error)) return false;
    for (uint32_t i = 0; i < s->depth; i++) {
        float *out = i + 1 < s->depth ? rdt->blocks[i + 1].in : rdt->out;
        if (!rdt_block_forward(rdt, i, out, error)) return false;
    }
    return head_forward(rdt, error);
}
