// model/rdt_layout.h - inside the network: where each parameter lies in the flat buffer, and which
// device buffers a call works in. Shared by parameters.c and rdt*.c only.
#ifndef MODEL_RDT_LAYOUT_H
#define MODEL_RDT_LAYOUT_H

#include "model/rdt.h"

struct rdt_linear_at {
    size_t weight, bias;
};
struct rdt_block_at {
    size_t norm1, norm2, norm3;
    size_t q_norm, k_norm, cross_q_norm, cross_k_norm;
    struct rdt_linear_at qkv, proj, q, cross_proj, fc1, fc2;
};
// The kv weights of all blocks that read one condition lie side by side.
struct model_rdt_layout {
    struct rdt_linear_at state[3], lang[2], img[2], time[2], freq[2];
    size_t x_position, lang_position, img_position;
    struct rdt_linear_at lang_kv, img_kv;
    size_t final_norm;
    struct rdt_linear_at final_fc1, final_fc2;
    struct rdt_block_at blocks[];  // [depth]
};

struct rdt_rows {
    size_t first, count;
};
// A condition: tokens -> adaptor + position table -> keys and values of its blocks.
struct rdt_condition {
    const char *name;  // of its first block's tap
    uint32_t blocks;   // that read it
    size_t dim, rows_max;
    uint32_t kept_blocks;  // whose keys and values are held at a time: all, or one
    struct rdt_linear_at adaptor[2], kv_at;
    size_t position;
    float *tokens;        // [batch, rows, dim]
    float *aux, *hidden;  // [batch, rows, D]; aux in training only
    float *cond, *dcond;  // [batch, rows, D]; dcond in training only
    float *kv;            // [kept blocks, batch, rows, 2 D]
    // of the call: rows of a sample; rows of [batch, rows] that are computed; rows of a sample that
    // are the first sample's in all others
    size_t rows;
    struct rdt_rows *own, *shared;
    size_t own_count, shared_count;
};

// What a block leaves for its backward pass. Without training all blocks share one; when the
// backward pass computes it again, all but `in`.
struct rdt_block {
    float *in;                                    // [batch, N, D]
    float *norm1, *norm2, *norm3;                 // [batch, N, D]
    float *norm1_rows, *norm2_rows, *norm3_rows;  // [batch, N, 2]
    float *qkv;                                   // [batch, N, 3 D]
    float *attention, *saved;                     // [batch, N, D]; probabilities
    float *middle;                                // x after self-attention
    float *q;                                     // [batch, N, D]
    float *cross, *cross_saved;
    float *late;           // x after cross-attention
    float *ffn_aux, *ffn;  // [batch, N, D]
};

// A two-layer embedder of a number: timestep, frequency.
struct rdt_embedder {
    const char *name;
    struct rdt_linear_at at[2];
    float *value;         // [batch]
    float *wave;          // [batch, MODEL_SINUSOID]
    float *aux, *hidden;  // [batch, D]
    float *out;           // [batch, D]
};

struct model_rdt {
    struct model_backend *backend;
    struct model_rdt_sizes sizes;
    struct model_rdt_plan plan;
    struct model_parameters *table;
    const struct model_rdt_layout *at;
    struct model_rdt_inputs inputs;
    struct model_tap tap;
    void *arena;  // every buffer below
    size_t arena_bytes;
    float *host;  // [4, batch_max] staging of per-sample numbers
    float *acp;   // [MODEL_TIMESTEPS]

    struct rdt_condition lang, img;
    struct rdt_embedder time, freq;
    float *signal, *grain;                                      // [batch]
    float *tokens;                                              // [batch, 1 + chunk, 2 width]
    float *state_aux[2], *state_hidden[2], *state_out;          // [batch, 1 + chunk, D]
    struct rdt_block *blocks;                                   // [depth]
    float *out;                                                 // x behind the last block
    float *final_norm, *final_rows, *final_aux, *final_hidden;  // [batch, chunk, D]
    float *prediction;                                          // [batch, chunk, width]
    double *loss;                                               // device [1]

    float *dprediction;           // [batch, chunk, width]
    float *dx, *dbranch, *dwide;  // [batch, N, D], [batch, N, D], [batch, N, 3 D]
    float *dkv, *dhidden;         // [batch, longest condition, 2 D], [batch, longest condition, D]
    float *dsmall[2];             // [batch, D]

    // of the current call
    const struct model_rdt_call *call;
    const float *w;
    float *g;
    bool again;  // the backward pass repeats a part of the forward pass: taps saw it already
};

// y = act(x W^T + bias + c).
struct rdt_linear {
    size_t rows, in, out;
    const float *x;
    struct rdt_linear_at at;
    float *y;
    enum model_activation activation;
    float *aux;
    const float *c;
    size_t c_rows;
};
PROTO_MUST_CHECK bool rdt_linear(struct model_rdt *rdt, struct rdt_linear l,
                                 struct proto_error *error);
// dW += dy^T x with the bias, dx = dy W (times the derivative in aux, when given).
struct rdt_linear_back {
    size_t rows, in, out;
    const float *dy, *x;
    struct rdt_linear_at at;
    float *dx;         // nullable
    bool add;          // dx += ; without aux
    float *aux;        // nullable: of the activation that made x, GELU
    bool silu;         // or SILU
    size_t dy_stride;  // 0: out
};
PROTO_MUST_CHECK bool rdt_linear_back(struct model_rdt *rdt, struct rdt_linear_back l,
                                      struct proto_error *error);

// Takes a call over: PROTO_FAILED when it is outside the plan.
PROTO_MUST_CHECK bool rdt_begin(struct model_rdt *rdt, const struct model_rdt_call *call,
                                const float *weights, struct proto_error *error);

// Steps of a pass, in order; all read rdt->call, rdt->w (and rdt->g).
PROTO_MUST_CHECK bool rdt_conditions_forward(struct model_rdt *rdt, struct proto_error *error);
PROTO_MUST_CHECK bool rdt_embed(struct model_rdt *rdt, struct rdt_embedder *embedder,
                                struct proto_error *error);
// From the noisy actions to the prediction; noise NULL: `action` is noisy already.
PROTO_MUST_CHECK bool rdt_forward(struct model_rdt *rdt, const float *action, const float *noise,
                                  struct proto_error *error);
PROTO_MUST_CHECK bool rdt_backward(struct model_rdt *rdt, struct proto_error *error);

// Their parts, each of which a test can run by itself: block i from its `in` to `out` (NULL: only
// what its backward pass reads); back from rdt->dx at its end to rdt->dx at its beginning and to
// the condition (its dcond), which blocks reach in falling order; keys and values of block i; and
// back from the condition to all before it.
PROTO_MUST_CHECK bool rdt_block_forward(struct model_rdt *rdt, uint32_t i, float *out,
                                        struct proto_error *error);
PROTO_MUST_CHECK bool rdt_block_backward(struct model_rdt *rdt, uint32_t i,
                                         struct proto_error *error);
PROTO_MUST_CHECK bool rdt_keys_values(struct model_rdt *rdt, const struct rdt_condition *c,
                                      uint32_t i, struct proto_error *error);
PROTO_MUST_CHECK bool rdt_condition_back(struct model_rdt *rdt, struct rdt_condition *c,
                                         struct proto_error *error);

// Over the rows of a condition that the call computes (model/rdt_shared.c). shared: [places], equal
// parts of a sample's rows, nullable. l.rows does not count: pointers are of all rows, dense.
void rdt_shared_begin(struct rdt_condition *c, uint32_t batch, const uint8_t *shared,
                      size_t places);
PROTO_MUST_CHECK bool rdt_shared_linear(struct model_rdt *rdt, const struct rdt_condition *c,
                                        struct rdt_linear l, struct proto_error *error);
PROTO_MUST_CHECK bool rdt_shared_linear_back(struct model_rdt *rdt, const struct rdt_condition *c,
                                             struct rdt_linear_back l, struct proto_error *error);
// x [batch, rows, width]: shared rows from the first sample to the others; of a gradient, from the
// others into the first.
PROTO_MUST_CHECK bool rdt_shared_copy(struct model_rdt *rdt, const struct rdt_condition *c,
                                      float *x, size_t width, struct proto_error *error);
PROTO_MUST_CHECK bool rdt_shared_sum(struct model_rdt *rdt, const struct rdt_condition *c,
                                     float *dx, size_t width, struct proto_error *error);
PROTO_MUST_CHECK bool rdt_shared_position_back(struct model_rdt *rdt, const struct rdt_condition *c,
                                               struct proto_error *error);

// Nothing without a tap.
PROTO_MUST_CHECK bool rdt_tap(struct model_rdt *rdt, const float *device, size_t rows, size_t width,
                              struct proto_error *error, const char *name, ...) PROTO_PRINTF(6, 7);
static inline size_t rdt_stream(const struct model_rdt *rdt) {
    return 3u + (size_t)rdt->sizes.chunk;  // N
}
static inline struct rdt_condition *rdt_condition_of(struct model_rdt *rdt, uint32_t block) {
    return block % 2 == 0 ? &rdt->lang : &rdt->img;
}
static inline float *rdt_kv(const struct model_rdt *rdt, const struct rdt_condition *c,
                            uint32_t i) {
    const size_t block = c->kept_blocks == c->blocks ? i / 2 : 0;
    return c->kv + block * rdt->call->batch * c->rows * 2 * rdt->sizes.hidden;
}

#endif
