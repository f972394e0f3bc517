// model/rdt_backward.c - the backward pass: the forward pass read from its end. rdt->dx holds the
// gradient of the stream at the place reached; each branch adds to it through its norm. Gradients
// of parameters are added to rdt->g.
#include "model/rdt_layout.h"

bool rdt_linear_back(struct model_rdt *rdt, struct rdt_linear_back l, struct proto_error *error) {
    const size_t dy_stride = l.dy_stride ? l.dy_stride : l.out;
    float *dweight = rdt->g + l.at.weight;
    const struct model_gemm weight = {.transpose_a = true,
                                      .m = l.out,
                                      .n = l.in,
                                      .k = l.rows,
                                      .a = l.dy,
                                      .a_stride = dy_stride,
                                      .b = l.x,
                                      .b_stride = l.in,
                                      .c = dweight,
                                      .c_stride = l.in,
                                      .d = dweight,
                                      .d_stride = l.in,
                                      .a_sums = rdt->g + l.at.bias};
    if (!model_gemm(rdt->backend, &weight, error)) return false;
    if (!l.dx) return true;
    const struct model_gemm input = {.m = l.rows,
                                     .n = l.in,
                                     .k = l.out,
                                     .a = l.dy,
                                     .a_stride = dy_stride,
                                     .b = rdt->w + l.at.weight,
                                     .b_stride = l.in,
                                     .c = l.add ? l.dx : NULL,
                                     .c_stride = l.in,
                                     .d = l.dx,
                                     .d_stride = l.in,
                                     .activation = !l.aux   ? MODEL_LINEAR
                                                   : l.silu ? MODEL_SILU_BACKWARD
                                                            : MODEL_GELU_BACKWARD,
                                     .aux = l.aux};
    return model_gemm(rdt->backend, &input, error);
}

// dx (+)= gradient through a norm of the stream.
static bool norm_back(struct model_rdt *rdt, const float *x, size_t gain, float *rows, size_t skip,
                      const float *dy, bool add, struct proto_error *error) {
    const struct model_norm_backward back = {.forward = {.stat = rdt->sizes.norm_stat,
                                                         .epsilon = rdt->sizes.epsilon,
                                                         .groups = rdt->call->batch,
                                                         .group_rows = rdt_stream(rdt),
                                                         .skip = skip,
                                                         .width = rdt->sizes.hidden,
                                                         .x = x,
                                                         .gain = rdt->w + gain,
                                                         .rows = rows},
                                             .dy = dy,
                                             .dx = rdt->dx,
                                             .add = add,
                                             .dgain = rdt->g + gain};
    return model_norm_backward(rdt->backend, &back, error);
}

static bool head_backward(struct model_rdt *rdt, struct proto_error *error) {
    const struct model_rdt_sizes *s = &rdt->sizes;
    const size_t rows = (size_t)rdt->call->batch * s->chunk;
    return rdt_tap(rdt, rdt->dprediction, rows, s->width, error, "d.pred") &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = s->hidden,
                                                    .out = s->width,
                                                    .dy = rdt->dprediction,
                                                    .x = rdt->final_hidden,
                                                    .at = rdt->at->final_fc2,
                                                    .dx = rdt->dwide,
                                                    .aux = rdt->final_aux},
                           error) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = s->hidden,
                                                    .out = s->hidden,
                                                    .dy = rdt->dwide,
                                                    .x = rdt->final_norm,
                                                    .at = rdt->at->final_fc1,
                                                    .dx = rdt->dbranch},
                           error) &&
           rdt_tap(rdt, rdt->dbranch, rows, s->hidden, error, "d.final.norm") &&
           norm_back(rdt, rdt->out, rdt->at->final_norm, rdt->final_rows, 3, rdt->dbranch, false,
                     error);
}

static bool feed_forward_back(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    struct rdt_block *b = &rdt->blocks[i];
    const struct rdt_block_at *at = &rdt->at->blocks[i];
    const size_t rows = rdt->call->batch * rdt_stream(rdt), hidden = rdt->sizes.hidden;
    return rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = hidden,
                                                    .out = hidden,
                                                    .dy = rdt->dx,
                                                    .x = b->ffn,
                                                    .at = at->fc2,
                                                    .dx = rdt->dwide,
                                                    .aux = b->ffn_aux},
                           error) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = hidden,
                                                    .out = hidden,
                                                    .dy = rdt->dwide,
                                                    .x = b->norm3,
                                                    .at = at->fc1,
                                                    .dx = rdt->dbranch},
                           error) &&
           rdt_tap(rdt, rdt->dbranch, rows, hidden, error, "d.block%u.norm3", i) &&
           norm_back(rdt, b->late, at->norm3, b->norm3_rows, 0, rdt->dbranch, true, error);
}

// From rdt->dkv, the gradient of block i's keys and values, to their weights and the condition.
static bool keys_values_back(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    const struct rdt_condition *c = rdt_condition_of(rdt, i);
    const size_t hidden = rdt->sizes.hidden, before = i / 2 * 2 * hidden;
    const struct rdt_linear_back back = {
        .in = hidden,
        .out = 2 * hidden,
        .dy = rdt->dkv,
        .x = c->cond,
        .at = {c->kv_at.weight + before * hidden, c->kv_at.bias + before},
        .dx = c->dcond,
        .add = i / 2 + 1 < c->blocks};
    return rdt_shared_sum(rdt, c, rdt->dkv, 2 * hidden, error) &&
           rdt_shared_linear_back(rdt, c, back, error);
}

static bool cross_attention_back(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    struct rdt_block *b = &rdt->blocks[i];
    const struct rdt_block_at *at = &rdt->at->blocks[i];
    const struct rdt_condition *c = rdt_condition_of(rdt, i);
    const size_t stream = rdt_stream(rdt), rows = rdt->call->batch * stream;
    const size_t hidden = rdt->sizes.hidden;
    const float *kv = rdt_kv(rdt, c, i);
    const struct model_attention_backward back = {
        .forward = {.stat = rdt->sizes.norm_stat,
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
                    .mask = c == &rdt->lang ? rdt->inputs.lang_mask : NULL,
                    .saved = b->cross_saved},
        .dy = rdt->dbranch,
        .dq = rdt->dwide,
        .dk = rdt->dkv,
        .dv = rdt->dkv + hidden,
        .dq_gain = rdt->g + at->cross_q_norm,
        .dk_gain = rdt->g + at->cross_k_norm};
    return rdt_tap(rdt, rdt->dx, rows, hidden, error, "d.block%u.late", i) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = hidden,
                                                    .out = hidden,
                                                    .dy = rdt->dx,
                                                    .x = b->cross,
                                                    .at = at->cross_proj,
                                                    .dx = rdt->dbranch},
                           error) &&
           model_attention_backward(rdt->backend, &back, error) &&
           keys_values_back(rdt, i, error) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = hidden,
                                                    .out = hidden,
                                                    .dy = rdt->dwide,
                                                    .x = b->norm2,
                                                    .at = at->q,
                                                    .dx = rdt->dbranch},
                           error) &&
           rdt_tap(rdt, rdt->dbranch, rows, hidden, error, "d.block%u.norm2", i) &&
           norm_back(rdt, b->middle, at->norm2, b->norm2_rows, 0, rdt->dbranch, true, error);
}

static bool self_attention_back(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    struct rdt_block *b = &rdt->blocks[i];
    const struct rdt_block_at *at = &rdt->at->blocks[i];
    const size_t stream = rdt_stream(rdt), rows = rdt->call->batch * stream;
    const size_t hidden = rdt->sizes.hidden;
    const struct model_attention_backward back = {
        .forward = {.stat = rdt->sizes.norm_stat,
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
                    .saved = b->saved},
        .dy = rdt->dbranch,
        .dq = rdt->dwide,
        .dk = rdt->dwide + hidden,
        .dv = rdt->dwide + 2 * hidden,
        .dq_gain = rdt->g + at->q_norm,
        .dk_gain = rdt->g + at->k_norm};
    return rdt_tap(rdt, rdt->dx, rows, hidden, error, "d.block%u.middle", i) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = hidden,
                                                    .out = hidden,
                                                    .dy = rdt->dx,
                                                    .x = b->attention,
                                                    .at = at->proj,
                                                    .dx = rdt->dbranch},
                           error) &&
           model_attention_backward(rdt->backend, &back, error) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = rows,
                                                    .in = hidden,
                                                    .out = 3 * hidden,
                                                    .dy = rdt->dwide,
                                                    .x = b->norm1,
                                                    .at = at->qkv,
                                                    .dx = rdt->dbranch},
                           error) &&
           rdt_tap(rdt, rdt->dbranch, rows, hidden, error, "d.block%u.norm1", i) &&
           norm_back(rdt, b->in, at->norm1, b->norm1_rows, 0, rdt->dbranch, true, error);
}

// Gradients from `first` up to `end` are final.
static bool ready(struct model_rdt *rdt, size_t first, size_t end, struct proto_error *error) {
    const struct model_rdt_ready *told = rdt->call->ready;
    return !told || first == end || told->take(told->context, first, end - first, error);
}

bool rdt_condition_back(struct model_rdt *rdt, struct rdt_condition *c, struct proto_error *error) {
    const size_t rows = rdt->call->batch * c->rows, hidden = rdt->sizes.hidden;
    if (c->blocks == 0) return true;
    return ready(rdt, c->kv_at.weight, c->kv_at.bias + c->blocks * 2 * hidden, error) &&
           rdt_tap(rdt, c->dcond, rows, hidden, error, "d.%s_cond", c->name) &&
           rdt_shared_position_back(rdt, c, error) &&
           rdt_shared_linear_back(rdt, c,
                                  (struct rdt_linear_back){.in = hidden,
                                                           .out = hidden,
                                                           .dy = c->dcond,
                                                           .x = c->hidden,
                                                           .at = c->adaptor[1],
                                                           .dx = rdt->dhidden,
                                                           .aux = c->aux},
                                  error) &&
           rdt_shared_linear_back(rdt, c,
                                  (struct rdt_linear_back){.in = c->dim,
                                                           .out = hidden,
                                                           .dy = rdt->dhidden,
                                                           .x = c->tokens,
                                                           .at = c->adaptor[0]},
                                  error);
}

static bool embedder_back(struct model_rdt *rdt, struct rdt_embedder *e, const float *dout,
                          struct proto_error *error) {
    const size_t batch = rdt->call->batch, hidden = rdt->sizes.hidden;
    return rdt_tap(rdt, dout, batch, hidden, error, "d.%s", e->name) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = batch,
                                                    .in = hidden,
                                                    .out = hidden,
                                                    .dy = dout,
                                                    .x = e->hidden,
                                                    .at = e->at[1],
                                                    .dx = rdt->dbranch,
                                                    .aux = e->aux,
                                                    .silu = true},
                           error) &&
           rdt_linear_back(rdt,
                           (struct rdt_linear_back){.rows = batch,
                                                    .in = MODEL_SINUSOID,
                                                    .out = hidden,
                                                    .dy = rdt->dbranch,
                                                    .x = e->wave,
                                                    .at = e->at[0]},
                           error);
}

// From dx at the first block's input to the embedders and the state adaptor.
static bool inputs_back(struct model_rdt *rdt, struct proto_error *error) {
    const struct model_rdt_sizes *s = &rdt->sizes;
    const size_t rows = rdt->call->batch * (1u + (size_t)s->chunk);
    float *dstate = rdt->dwide, *dhidden = rdt->dwide + rows * s->hidden;
    const struct model_concat_backward concat = {.batch = rdt->call->batch,
                                                 .rest_rows = 1u + s->chunk,
                                                 .width = s->hidden,
                                                 .dx = rdt->dx,
                                                 .dfirst = rdt->dsmall[0],
                                                 .dsecond = rdt->dsmall[1],
                                                 .drest = dstate,
                                                 .dposition = rdt->g + rdt->at->x_position};
    if (!model_concat_backward(rdt->backend, &concat, error) ||
        !rdt_tap(rdt, dstate, rows, s->hidden, error, "d.core_in.x"))
        return false;
    for (int i = 2; i >= 0; i--) {
        const struct rdt_linear_back layer = {.rows = rows,
                                              .in = i == 0 ? 2u * s->width : s->hidden,
                                              .out = s->hidden,
                                              .dy = dstate,
                                              .x = i == 0 ? rdt->tokens : rdt->state_hidden[i - 1],
                                              .at = rdt->at->state[i],
                                              .dx = i == 0 ? NULL : dhidden,
                                              .aux = i == 0 ? NULL : rdt->state_aux[i - 1]};
        if (!rdt_linear_back(rdt, layer, error)) return false;
        float *swap = dstate;
        dstate = dhidden;
        dhidden = swap;
    }
    return embedder_back(rdt, &rdt->time, rdt->dsmall[0], error) &&
           embedder_back(rdt, &rdt->freq, rdt->dsmall[1], error);
}

bool rdt_block_backward(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    const size_t rows = rdt->call->batch * rdt_stream(rdt), hidden = rdt->sizes.hidden;
    return rdt_tap(rdt, rdt->dx, rows, hidden, error, "d.block%u.out", i) &&
           feed_forward_back(rdt, i, error) && cross_attention_back(rdt, i, error) &&
           self_attention_back(rdt, i, error) &&
           rdt_tap(rdt, rdt->dx, rows, hidden, error, "d.block%u.in", i);
}

// The parts of block i that its backward pass reads, from its `in`. Those of the last block are
// still what the forward pass left.
static bool block_again(struct model_rdt *rdt, uint32_t i, struct proto_error *error) {
    if (!rdt->plan.recompute || i + 1 == rdt->sizes.depth) return true;
    rdt->again = true;
    const bool done = rdt_block_forward(rdt, i, NULL, error);
    rdt->again = false;
    return done;
}

// The flat buffer is [adaptors, positions, embedders] [block 0] .. [keys and values of language]
// [of images] [head]: it becomes final from its end, but for the keys and values, whose blocks are
// all needed first.
bool rdt_backward(struct model_rdt *rdt, struct proto_error *error) {
    const struct model_rdt_layout *at = rdt->at;
    const uint32_t depth = rdt->sizes.depth;
    const size_t head = at->final_norm, blocks = at->blocks[0].norm1;
    if (!head_backward(rdt, error) || !ready(rdt, head, rdt->table->elements, error)) return false;
    for (uint32_t i = depth; i-- > 0;) {
        const size_t end = i + 1 < depth ? at->blocks[i + 1].norm1 : at->lang_kv.weight;
        if (!block_again(rdt, i, error) || !rdt_block_backward(rdt, i, error) ||
            !ready(rdt, at->blocks[i].norm1, end, error))
            return false;
    }
    return rdt_condition_back(rdt, &rdt->lang, error) &&
           rdt_condition_back(rdt, &rdt->img, error) && inputs_back(rdt, error) &&
           ready(rdt, 0, blocks, error);
}
