// model/backend.h - the one table of operations that networks are written over, so that a device is
// a file that fills the table.
//
// A backend is one queue of one device: operations run in the order given, perhaps later; only
// model_backend_download and model_backend_wait wait for them. Its memory is addressed by plain
// pointers that the host may offset but never follows: only backend files dereference them. All
// arithmetic is f32 unless said; matrices are row-major with a row stride in elements ("stride").
// For the same machine, shapes and number of threads every operation gives the same bits.
//
//     struct model_backend *backend = NULL;
//     if (!model_backend_open("cpu", 2, &backend, error)) return false;
//     float *x = model_backend_alloc(backend, 4 * sizeof(float), error);
//     if (!model_backend_upload(backend, x, host, 4 * sizeof(float), error)) ...
//     const struct model_axpby a = {.n = 4, .a = 2, .x = x, .b = 0, .y = x};
//     if (!model_axpby(backend, &a, error)) ...
//
// Each operation has one argument struct, one launcher here that checks shapes, and one
// implementation per backend. "nullable" pointers may be NULL; all others may not.
#ifndef MODEL_BACKEND_H
#define MODEL_BACKEND_H

#include "proto/error.h"

#include <stdint.h>

struct model_backend;
struct model_copies;

// ---- devices and memory ----

// device "cpu", or "cuda:N" through the CUDA module (model/backend_cuda_module.h): PROTO_MISSING
// when this build or machine has no such device, saying what it has. threads, of a cpu: 0 is one
// per core that this process may use.
PROTO_MUST_CHECK bool model_backend_open(const char *device, uint32_t threads,
                                         struct model_backend **backend, struct proto_error *error);
void model_backend_close(struct model_backend **backend);  // accepts NULL; leaves NULL behind
uint32_t model_backend_threads(const struct model_backend *backend);
// "Zen+avx2", "H100+cublas13.1": what computes. Bits are equal only on the same. Fits 64.
const char *model_backend_kernels(const struct model_backend *backend);

// Zeroed device memory, 64-byte aligned; NULL and *error when there is none. Free with
// model_backend_free.
PROTO_MUST_CHECK void *model_backend_alloc(struct model_backend *backend, size_t size_bytes,
                                           struct proto_error *error);
void model_backend_free(struct model_backend *backend, void *memory);  // accepts NULL
PROTO_MUST_CHECK bool model_backend_upload(struct model_backend *backend, void *device,
                                           const void *host, size_t size_bytes,
                                           struct proto_error *error);
// Waits for everything before it.
PROTO_MUST_CHECK bool model_backend_download(struct model_backend *backend, void *host,
                                             const void *device, size_t size_bytes,
                                             struct proto_error *error);
// Device to device; the ranges do not overlap.
PROTO_MUST_CHECK bool model_backend_copy(struct model_backend *backend, void *to, const void *from,
                                         size_t size_bytes, struct proto_error *error);
// All bytes to `value`.
PROTO_MUST_CHECK bool model_backend_fill(struct model_backend *backend, void *device, uint8_t value,
                                         size_t size_bytes, struct proto_error *error);
PROTO_MUST_CHECK bool model_backend_wait(struct model_backend *backend, struct proto_error *error);
// What is already known to have gone wrong on the device; waits for nothing.
PROTO_MUST_CHECK bool model_backend_last(struct model_backend *backend, struct proto_error *error);

// What the memory that is taken from here on is for ("weights", "activations"): a device that is
// full says what holds it. `purpose` is borrowed for ever: a constant.
void model_backend_purpose(struct model_backend *backend, const char *purpose);
#define MODEL_PURPOSES_MAX 16
struct model_backend_held {
    const char *purpose;
    size_t bytes;
};
struct model_backend_memory {
    size_t total_bytes, free_bytes;  // of the device, which others may use too; 0 on a cpu
    size_t held_bytes;               // by this backend, its own scratch included
    size_t count;
    struct model_backend_held
        held[MODEL_PURPOSES_MAX];  // what held_bytes is made of, largest first
};
PROTO_MUST_CHECK bool model_backend_memory(struct model_backend *backend,
                                           struct model_backend_memory *memory,
                                           struct proto_error *error);

// What products of matrices (gemm, and those of attention) read: their operands are rounded to this
// right before the product, which adds up and writes f32. All memory that operations show stays
// f32. Set after open, before parameters are declared. A cpu has MODEL_F32 only: PROTO_MISSING.
enum model_precision { MODEL_F32, MODEL_BF16, MODEL_FP16 };
PROTO_MUST_CHECK bool model_backend_precision(struct model_backend *backend,
                                              enum model_precision precision,
                                              struct proto_error *error);
enum model_precision model_backend_precision_of(const struct model_backend *backend);
// Says that memory[elements] holds parameters, which products read far more often than anything
// writes: a device with another precision keeps a rounded copy of them, which adamw, upload, copy
// and fill renew, so that a product rounds activations only. Whoever writes there through the
// stream alone calls this again. Ends with model_backend_free of that memory.
PROTO_MUST_CHECK bool model_backend_parameters(struct model_backend *backend, const float *memory,
                                               size_t elements, struct proto_error *error);

// The cudaStream_t in whose order operations run, for libraries that work on the same memory; NULL
// on a cpu. What they write must not be the operand of a product under way.
struct CUstream_st;
struct CUstream_st *model_backend_stream(struct model_backend *backend);

// ---- operations ----

// d = act(op(a) op(b) + c + bias).   d [m, n]; op(a) [m, k]; op(b) [k, n].
// Forward of a linear layer y = x W^T + bias: a = x, b = W, transpose_b.
// Its backward: dx = dy W (a = dy, b = W); dW += dy^T x (transpose_a, a = dy, b = x, c = d = dW)
// with the bias gradient as a_sums.
enum model_activation {
    MODEL_LINEAR,
    MODEL_GELU,  // tanh form: x / (1 + exp(-2 sqrt(2/pi) (x + 0.044715 x^3)))
    MODEL_SILU,  // x / (1 + exp(-x))
    // multiply by the derivative of that activation, of which the forward left what it needs in aux
    MODEL_GELU_BACKWARD,
    MODEL_SILU_BACKWARD,
};
struct model_gemm {
    bool transpose_a, transpose_b;
    size_t m, n, k;
    const float *a;  // [m, k], or [k, m] when transposed
    size_t a_stride;
    const float *b;  // [k, n], or [n, k] when transposed
    size_t b_stride;
    const float *c;  // nullable: added before bias; may be d (then with d's stride)
    size_t c_stride;
    size_t c_rows;  // row r of c is r mod c_rows (a position table); 0: m rows
    float *d;
    size_t d_stride;
    const float *bias;  // nullable [n]
    enum model_activation activation;
    float *aux;  // [m, n] densely; GELU, SILU: nullable, written; backward: read. What is in it is
                 // the backend's own matter
    float *a_sums;  // nullable [m]: += row sums of op(a); only with transpose_a
};

// y = gain * x / sqrt(v + epsilon), v the unbiased variance of the row (timm 1.0.3) or its mean
// square; x is not centred. Rows come in groups, of which the first `skip` are left out of y:
// x [groups, group_rows, width], y [groups, group_rows - skip, width], both dense.
enum model_norm_stat { MODEL_VARIANCE, MODEL_MEAN_SQUARE };
struct model_norm {
    enum model_norm_stat stat;
    float epsilon;
    size_t groups, group_rows, skip, width;
    const float *x, *gain;
    float *y;
    float *rows;  // [rows of y, 2]: mean (0 for mean_square) and 1/sqrt(v + epsilon), for backward
};
struct model_norm_backward {
    struct model_norm forward;  // as then; y is not read
    const float *dy;
    float *dx;     // [groups, group_rows, width]
    bool add;      // dx += , else dx = with zeros in the rows left out
    float *dgain;  // [width] +=
};

// Multi-head attention with q and k normalised per head (model_norm over head_width), scale
// 1/sqrt(head_width). q rows [batch, queries], k and v rows [batch, keys]; head h of a row begins
// at column h * head_width. Masked keys have probability exactly 0.
struct model_attention {
    enum model_norm_stat stat;
    float epsilon;
    size_t batch, heads, queries, keys, head_width;
    const float *q, *k, *v;
    size_t q_stride, kv_stride;
    const float *q_gain, *k_gain;  // [head_width]
    const uint8_t *mask;           // nullable [batch, keys], 1: attend; at least one per sample
    float *y;                      // [batch, queries, heads * head_width], dense
    float *saved;                  // nullable (inference): [model_attention_saved], for backward
};
struct model_attention_backward {
    struct model_attention forward;  // as then; y is not read
    const float *dy;                 // as y
    float *dq, *dk, *dv;             // written, with q's and k's strides
    float *dq_gain, *dk_gain;        // [head_width] +=
};
// Elements of `saved`.
size_t model_attention_saved(const struct model_backend *backend, size_t batch, size_t heads,
                             size_t queries, size_t keys, size_t head_width);

// y[r] = [cos(v w_0) .. cos(v w_{h-1}), sin(v w_0) ..], w_k = exp(-ln(10000) k / h), width = 2 h.
struct model_sinusoid {
    size_t rows, width;
    const float *v;  // [rows]
    float *y;        // [rows, width]
};

// Rows of the state adaptor's input: row 0 of a sample [state, state_mask], rows 1.. [value,
// action_mask], value = signal[b] * action + grain[b] * noise.
struct model_tokens {
    size_t batch, chunk, width;
    const float *state, *state_mask, *action_mask;  // [batch, width]
    const float *action;                            // [batch, chunk, width]
    const float *noise;                             // nullable (then value = action)
    const float *signal, *grain;                    // [batch]; nullable with noise
    float *y;                                       // [batch, 1 + chunk, 2 * width]
};

// x[b] = [first[b], second[b], rest[b]] + position.  Backward: the same split of dx, and
// dposition += sum over the batch.
struct model_concat {
    size_t batch, rest_rows, width;
    const float *first, *second;  // [batch, width]
    const float *rest;            // [batch, rest_rows, width]
    const float *position;        // [2 + rest_rows, width]
    float *x;                     // [batch, 2 + rest_rows, width]
};
struct model_concat_backward {
    size_t batch, rest_rows, width;
    const float *dx;
    float *dfirst, *dsecond, *drest;  // written
    float *dposition;                 // +=
};

// y[i] += sum over b of x[b, i]: gradient of a position table.
struct model_sum_batch {
    size_t batch, n;
    const float *x;
    float *y;
};

// loss = mean (prediction - target)^2, summed in double in a fixed order; gradient = scale *
// dloss/dprediction.
struct model_mse {
    size_t n;
    const float *prediction, *target;
    float scale;
    float *gradient;  // nullable
    double *loss;     // device [1]
};

// One AdamW step and the moving average, in one pass. g is multiplied by `gradient_scale` first;
// p *= 1 - rate * decay; m, v; p -= rate * (m / correction1) / (sqrt(v / correction2) + epsilon);
// ema = ema_decay * ema + (1 - ema_decay) * p.
struct model_adamw {
    size_t n;
    float *p, *m, *v;
    const float *g;
    float *ema;  // nullable
    double gradient_scale, rate, beta1, beta2, epsilon, weight_decay;
    double correction1, correction2;  // 1 - beta^step
    double ema_decay;
};

// Sum of squares in double, in a fixed order that does not depend on the number of threads.
struct model_sum_squares {
    size_t n;
    const float *x;
    double *sum;  // device [1]
};

// y = a x + b y (b 0: y is not read).
struct model_axpby {
    size_t n;
    float a;
    const float *x;
    float b;
    float *y;
};

// x = cx x + c0 m0 + c1 m1, one step of a linear multistep solver. With c1 0 m1 is not read.
struct model_combine {
    size_t n;
    float cx, c0, c1;
    float *x;
    const float *m0, *m1;
};

// y[b, r, i] = x[b, r, i] * mask[b, i].
struct model_mask_rows {
    size_t batch, rows, width;
    const float *x, *mask;
    float *y;
};

// Images to patch tokens: padded to a square with the background 127 (centred, floor), resized to
// grid * patch pixels by area weights, (x/255 - mean[c]) / deviation, one token per patch,
// row-major: patch * patch * 3 values (row, column, channel) and 18 of place (row and column of the
// patch centre in [-1, 1]: v, then sin and cos of pi f v for f = 0.5, 1, 2, 4, row's nine before
// column's nine). An image with mask 0 is seen as background.
struct model_patches {
    size_t images, height, width;
    const uint8_t *pixels;  // [images, height, width, 3]
    const uint8_t *mask;    // nullable [images]
    bool flip_rows;         // row 0 is the bottom of the picture
    uint32_t grid, patch;
    float mean[3], deviation;
    float *tokens;  // [images, grid * grid, 3 * patch * patch + 18]
};
#define MODEL_PATCH_PLACE 18

// ---- the table ----

// One row per operation: name of the slot, of the launcher model_<name> and of the argument struct.
#define MODEL_OPERATIONS(X)                                                                        \
    X(gemm, model_gemm)                                                                            \
    X(norm, model_norm)                                                                            \
    X(norm_backward, model_norm_backward)                                                          \
    X(attention, model_attention)                                                                  \
    X(attention_backward, model_attention_backward)                                                \
    X(sinusoid, model_sinusoid)                                                                    \
    X(tokens, model_tokens)                                                                        \
    X(concat, model_concat)                                                                        \
    X(concat_backward, model_concat_backward)                                                      \
    X(sum_batch, model_sum_batch)                                                                  \
    X(mse, model_mse)                                                                              \
    X(adamw, model_adamw)                                                                          \
    X(sum_squares, model_sum_squares)                                                              \
    X(axpby, model_axpby)                                                                          \
    X(combine, model_combine)                                                                      \
    X(mask_rows, model_mask_rows)                                                                  \
    X(patches, model_patches)

// The launchers: check the shapes (PROTO_FAILED, naming the operation), then run. An operation may
// need scratch; it is taken when a shape is first seen larger than before, so a step that repeats
// shapes allocates nothing.
#define MODEL_DECLARE_LAUNCHER(name, args)                                                         \
    PROTO_MUST_CHECK bool model_##name(struct model_backend *backend, const struct args *a,        \
                                       struct proto_error *error);
MODEL_OPERATIONS(MODEL_DECLARE_LAUNCHER)

// What a device fills in; no slot is NULL. Shapes were checked by the launcher.
struct model_ops {
    const char *name;  // "cpu"
    void (*close)(struct model_backend *backend);
    void *(*alloc)(struct model_backend *backend, size_t size_bytes, struct proto_error *error);
    void (*free)(struct model_backend *backend, void *memory);
    bool (*upload)(struct model_backend *backend, void *device, const void *host, size_t size_bytes,
                   struct proto_error *error);
    bool (*download)(struct model_backend *backend, void *host, const void *device,
                     size_t size_bytes, struct proto_error *error);
    bool (*copy)(struct model_backend *backend, void *to, const void *from, size_t size_bytes,
                 struct proto_error *error);
    bool (*fill)(struct model_backend *backend, void *device, uint8_t value, size_t size_bytes,
                 struct proto_error *error);
    bool (*wait)(struct model_backend *backend, struct proto_error *error);
    bool (*last)(struct model_backend *backend, struct proto_error *error);
    bool (*memory)(struct model_backend *backend, struct model_backend_memory *memory,
                   struct proto_error *error);
    bool (*precision)(struct model_backend *backend, enum model_precision precision,
                      struct proto_error *error);
    bool (*parameters)(struct model_backend *backend, const float *memory, size_t elements,
                       struct proto_error *error);
    struct CUstream_st *(*stream)(struct model_backend *backend);
    bool (*copies_open)(struct model_backend *backend, struct model_copies **copies,
                        struct proto_error *error);  // model/copies.h
    size_t (*attention_saved)(size_t batch, size_t heads, size_t queries, size_t keys,
                              size_t head_width);
#define MODEL_DECLARE_SLOT(name, args)                                                             \
    bool (*name)(struct model_backend * backend, const struct args *a, struct proto_error *error);
    MODEL_OPERATIONS(MODEL_DECLARE_SLOT)
};

// What every backend's own struct begins with.
struct model_backend {
    const struct model_ops *ops;
    uint32_t threads;
    char kernels[64];
    const char *purpose;  // of memory taken from here on
    enum model_precision precision;
};

#endif
