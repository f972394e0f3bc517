// model/backend_cuda_attention.c - attention from batched products and the kernels between them, in
// parts of whole samples or of some heads of one sample, so that scores take bounded memory.
//
// The forward pass keeps two numbers a query (the largest score and 1 / the sum); the backward pass
// makes heads, scores and probabilities again from q, k and v, bit for bit: one product more than
// keeping them, and gigabytes less.
#include "model/backend_cuda.h"

#include <math.h>
#include <string.h>

#define ROW_MULTIPLE 8  // of a row of scores: 16 bytes in 16 bits

// Heads head..head+heads of samples sample..sample+batch.
struct part {
    size_t sample, batch, head, heads;
};

// Arrays of a part, in scratch. Those that products read are in the precision of products.
struct arrays {
    size_t stride;             // of a row of scores
    void *q, *k, *v;           // [items, rows, width]
    float *q_stats, *k_stats;  // [items, rows, 2]
    float *p, *y;              // scores [items, queries, stride]; [items, queries, width]
    void *p_operand;           // p, or its rounded copy
    // backward only
    void *dy;
    float *dp, *dq, *dkv;
    void *dp_operand;
};

struct work {
    struct model_backend_cuda *cuda;
    const struct model_attention *a;
    const struct model_attention_backward *back;  // NULL: forward
    struct part part;
    struct arrays at;
};

// ---- memory ----

// Hands out scratch; with base NULL it only counts.
static void *take(uint8_t *base, size_t *used, size_t elements, size_t element_bytes) {
    void *memory = base ? base + *used : NULL;
    *used += (elements * element_bytes + 255) / 256 * 256;
    return memory;
}
static size_t plan(const struct work *work, uint8_t *base, struct arrays *at) {
    const struct model_attention *a = work->a;
    const bool f32 = work->cuda->base.precision == MODEL_F32;
    const size_t element = f32 ? sizeof(float) : sizeof(uint16_t);
    const size_t items = work->part.batch * work->part.heads;
    const size_t q = items * a->queries * a->head_width, k = items * a->keys * a->head_width;
    size_t used = 0;
    at->stride = (a->keys + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
    const size_t scores = items * a->queries * at->stride;
    at->q = take(base, &used, q, element);
    at->k = take(base, &used, k, element);
    at->v = take(base, &used, k, element);
    at->q_stats = take(base, &used, items * a->queries * 2, sizeof(float));
    at->k_stats = take(base, &used, items * a->keys * 2, sizeof(float));
    at->p = take(base, &used, scores, sizeof(float));
    at->p_operand = f32 ? at->p : take(base, &used, scores, element);
    if (!work->back) {
        at->y = take(base, &used, q, sizeof(float));
        return used;
    }
    at->dy = take(base, &used, q, element);
    at->dp = take(base, &used, scores, sizeof(float));
    at->dp_operand = f32 ? at->dp : take(base, &used, scores, element);
    at->dq = take(base, &used, q, sizeof(float));
    at->dkv = take(base, &used, k, sizeof(float));
    return used;
}

// ---- steps ----

static const float *of_part(const struct work *work, const float *x, size_t rows, size_t stride) {
    return x + work->part.sample * rows * stride + work->part.head * work->a->head_width;
}

// x of one part as heads one after the other; `to` is in the precision of products.
static struct model_kernel_heads heads_of(const struct work *work, const float *x, size_t rows,
                                          size_t stride, const float *gain, float *stats,
                                          void *to) {
    const struct model_attention *a = work->a;
    struct model_kernel_heads heads = {.stat = a->stat,
                                       .epsilon = a->epsilon,
                                       .batch = work->part.batch,
                                       .heads = work->part.heads,
                                       .rows = rows,
                                       .width = a->head_width,
                                       .x = of_part(work, x, rows, stride),
                                       .stride = stride,
                                       .gain = gain,
                                       .stats = stats,
                                       .precision = work->cuda->base.precision};
    if (heads.precision == MODEL_F32)
        heads.y = to;
    else
        heads.rounded = to;
    return heads;
}

// d [m, n] = op(a) op(b), dense, one per head of the part. a's or b's rows may be those of scores.
static bool product(const struct work *work, size_t m, size_t n, size_t k, const void *a,
                    bool transpose_a, size_t a_stride, const void *b, bool transpose_b, float *d,
                    size_t d_stride, struct proto_error *error) {
    const struct model_cuda_product p = {.transpose_a = transpose_a,
                                         .transpose_b = transpose_b,
                                         .precision = work->cuda->base.precision,
                                         .m = m,
                                         .n = n,
                                         .k = k,
                                         .items = work->part.batch * work->part.heads,
                                         .a = a,
                                         .b = b,
                                         .a_stride = a_stride,
                                         .b_stride = work->a->head_width,
                                         .a_item = (transpose_a ? k : m) * a_stride,
                                         .b_item = (transpose_b ? n : k) * work->a->head_width,
                                         .d = d,
                                         .d_stride = d_stride,
                                         .d_item = m * d_stride,
                                         .epilogue = CUBLASLT_EPILOGUE_DEFAULT};
    return model_cuda_product(work->cuda, &p, NULL, error);
}

static struct model_kernel_softmax softmax_of(const struct work *work) {
    const struct model_attention *a = work->a;
    const struct part *part = &work->part;
    float *stats = a->saved;
    if (stats) stats += 2 * a->queries * (part->sample * a->heads + part->head);
    return (struct model_kernel_softmax){.batch = part->batch,
                                         .heads = part->heads,
                                         .queries = a->queries,
                                         .keys = a->keys,
                                         .stride = work->at.stride,
                                         .scale = 1.0f / sqrtf((float)a->head_width),
                                         .mask = a->mask ? a->mask + part->sample * a->keys : NULL,
                                         .p = work->at.p,
                                         .stats = stats,
                                         .again = work->back != NULL,
                                         .precision = work->cuda->base.precision};
}

// q, k and v as heads, and the probabilities.
static bool probabilities(const struct work *work, struct proto_error *error) {
    const struct model_attention *a = work->a;
    const struct arrays *at = &work->at;
    struct CUstream_st *stream = work->cuda->stream;
    const struct model_kernel_heads q =
        heads_of(work, a->q, a->queries, a->q_stride, a->q_gain, at->q_stats, at->q);
    const struct model_kernel_heads k =
        heads_of(work, a->k, a->keys, a->kv_stride, a->k_gain, at->k_stats, at->k);
    const struct model_kernel_heads v =
        heads_of(work, a->v, a->keys, a->kv_stride, NULL, NULL, at->v);
    model_kernel_heads(stream, &q);
    model_kernel_heads(stream, &k);
    model_kernel_heads(stream, &v);
    if (!product(work, a->queries, a->keys, a->head_width, at->q, false, a->head_width, at->k, true,
                 at->p, at->stride, error))
        return false;
    struct model_kernel_softmax softmax = softmax_of(work);
    if (softmax.precision != MODEL_F32) softmax.rounded = at->p_operand;
    model_kernel_softmax(stream, &softmax);
    return true;
}

// Heads side by side again, through the norm when there is a gain.
static bool join(const struct work *work, struct model_kernel_heads forward, const float *dy,
                 float *dx, float *dgain, struct proto_error *error) {
    const struct model_kernel_heads_backward back = {
        .forward = forward,
        .dy = dy,
        .dx = dx + work->part.sample * forward.rows * forward.stride +
              work->part.head * forward.width,
        .dgain = dgain};
    const size_t bytes = model_kernel_heads_backward_partial(&back) * sizeof(float);
    float *partial = NULL;
    if (bytes > 0 && !(partial = model_cuda_scratch(work->cuda, MODEL_CUDA_PARTIAL, bytes, error)))
        return false;
    model_kernel_heads_backward(work->cuda->stream, &back, partial);
    return true;
}

static bool forward_part(const struct work *work, struct proto_error *error) {
    const struct model_attention *a = work->a;
    const struct arrays *at = &work->at;
    const struct model_kernel_heads y =
        heads_of(work, a->y, a->queries, a->heads * a->head_width, NULL, NULL, NULL);
    return probabilities(work, error) &&
           product(work, a->queries, a->head_width, a->keys, at->p_operand, false, at->stride,
                   at->v, false, at->y, a->head_width, error) &&
           join(work, y, at->y, a->y, NULL, error);
}

// dV = P^T dY; dP = dY V^T; dS from both; dK = dS^T Q; dQ = dS K.
static bool backward_part(const struct work *work, struct proto_error *error) {
    const struct model_attention *a = work->a;
    const struct model_attention_backward *b = work->back;
    const struct arrays *at = &work->at;
    const size_t nq = a->queries, nk = a->keys, w = a->head_width;
    const struct model_kernel_heads q =
        heads_of(work, a->q, nq, a->q_stride, a->q_gain, at->q_stats, NULL);
    const struct model_kernel_heads k =
        heads_of(work, a->k, nk, a->kv_stride, a->k_gain, at->k_stats, NULL);
    const struct model_kernel_heads v = heads_of(work, a->v, nk, a->kv_stride, NULL, NULL, NULL);
    const struct model_kernel_heads dy =
        heads_of(work, b->dy, nq, a->heads * w, NULL, NULL, at->dy);
    if (!probabilities(work, error)) return false;
    model_kernel_heads(work->cuda->stream, &dy);
    struct model_kernel_softmax softmax = softmax_of(work);
    softmax.dp = at->dp;
    if (softmax.precision != MODEL_F32) softmax.rounded = at->dp_operand;
    if (!product(work, nk, w, nq, at->p_operand, true, at->stride, at->dy, false, at->dkv, w,
                 error) ||
        !join(work, v, at->dkv, b->dv, NULL, error) ||
        !product(work, nq, nk, w, at->dy, false, w, at->v, true, at->dp, at->stride, error))
        return false;
    model_kernel_softmax_backward(work->cuda->stream, &softmax);
    return product(work, nk, w, nq, at->dp_operand, true, at->stride, at->q, false, at->dkv, w,
                   error) &&
           join(work, k, at->dkv, b->dk, b->dk_gain, error) &&
           product(work, nq, w, nk, at->dp_operand, false, at->stride, at->k, false, at->dq, w,
                   error) &&
           join(work, q, at->dq, b->dq, b->dq_gain, error);
}

// ---- parts ----

// As many whole samples as the scores' limit allows, or else as many heads of one.
static struct part largest_part(const struct model_backend_cuda *cuda,
                                const struct model_attention *a) {
    const size_t head_bytes = a->queries * (a->keys + ROW_MULTIPLE) * sizeof(float);
    size_t heads = cuda->scores_bytes_max / head_bytes;
    if (heads < 1) heads = 1;
    if (heads < a->heads) return (struct part){.batch = 1, .heads = heads};
    const size_t batch = heads / a->heads;
    return (struct part){.batch = batch < a->batch ? batch : a->batch, .heads = a->heads};
}

static bool run(struct model_backend_cuda *cuda, const struct model_attention *a,
                const struct model_attention_backward *back, struct proto_error *error) {
    struct work work = {.cuda = cuda, .a = a, .back = back, .part = largest_part(cuda, a)};
    const struct part largest = work.part;
    if (!model_cuda_enter(cuda, error)) return false;
    const size_t bytes = plan(&work, NULL, &work.at);
    uint8_t *scratch = model_cuda_scratch(cuda, MODEL_CUDA_ATTENTION, bytes, error);
    if (!scratch) return false;
    for (size_t sample = 0; sample < a->batch; sample += largest.batch)
        for (size_t head = 0; head < a->heads; head += largest.heads) {
            work.part = (struct part){sample, largest.batch, head, largest.heads};
            if (work.part.batch > a->batch - sample) work.part.batch = a->batch - sample;
            if (work.part.heads > a->heads - head) work.part.heads = a->heads - head;
            (void)plan(&work, scratch, &work.at);
            if (!(back ? backward_part(&work, error) : forward_part(&work, error))) return false;
        }
    return model_cuda_launched(cuda, back ? "attention_backward" : "attention", error);
}

size_t model_cuda_attention_saved(size_t batch, size_t heads, size_t queries, size_t keys,
                                  size_t head_width) {
    (void)keys, (void)head_width;
    return batch * heads * queries * 2;
}

static bool fits(const struct model_attention *a, struct proto_error *error) {
    return a->head_width <= MODEL_KERNEL_HEAD_MAX ||
           proto_fail(error, PROTO_FAILED, "attention: a head of %zu is wider than %d",
                      a->head_width, MODEL_KERNEL_HEAD_MAX);
}
bool model_cuda_attention(struct model_backend *backend, const struct model_attention *a,
                          struct proto_error *error) {
    return fits(a, error) && run(model_cuda_of(backend), a, NULL, error);
}
bool model_cuda_attention_backward(struct model_backend *backend,
                                   const struct model_attention_backward *a,
                                   struct proto_error *error) {
    return fits(&a->forward, error) && run(model_cuda_of(backend), &a->forward, a, error);
}
