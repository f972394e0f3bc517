// model/kernels.h - the GPU's side of every loop operation of model/backend.h: launchers of kernels
// that nvcc and the simulator of tests/gpusim compile from one source (kernels*.cu).
//
// A launcher puts its kernels on the stream and returns; arguments are those of the table, already
// checked, with device pointers. Whether a launch failed is for the backend to ask. Sums are made
// in a fixed order that depends on shapes alone, never with atomics, so that bits repeat. Products
// of matrices are not here: attention is split into what stands between its products. What the
// table calls gemm is, around the product: prefill, [d += op(a) op(b)], activate, row_sums.
#ifndef MODEL_KERNELS_H
#define MODEL_KERNELS_H

#include "model/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st;  // what a cudaStream_t points to

// ---- one kernel or two per operation of the table ----

// `partial`: device scratch of model_kernel_*_partial elements, not NULL when that is above 0.
void model_kernel_norm(struct CUstream_st *stream, const struct model_norm *a);
size_t model_kernel_norm_backward_partial(const struct model_norm_backward *a);
void model_kernel_norm_backward(struct CUstream_st *stream, const struct model_norm_backward *a,
                                float *partial);
void model_kernel_sinusoid(struct CUstream_st *stream, const struct model_sinusoid *a);
void model_kernel_tokens(struct CUstream_st *stream, const struct model_tokens *a);
void model_kernel_concat(struct CUstream_st *stream, const struct model_concat *a);
void model_kernel_concat_backward(struct CUstream_st *stream,
                                  const struct model_concat_backward *a);
void model_kernel_sum_batch(struct CUstream_st *stream, const struct model_sum_batch *a);
size_t model_kernel_sums_partial(size_t n);  // doubles, of mse and sum_squares
void model_kernel_mse(struct CUstream_st *stream, const struct model_mse *a, double *partial);
void model_kernel_sum_squares(struct CUstream_st *stream, const struct model_sum_squares *a,
                              double *partial);
// `rounded`, when not NULL, gets the new weights in `precision`.
void model_kernel_adamw(struct CUstream_st *stream, const struct model_adamw *a,
                        enum model_precision precision, uint16_t *rounded);
void model_kernel_axpby(struct CUstream_st *stream, const struct model_axpby *a);
void model_kernel_combine(struct CUstream_st *stream, const struct model_combine *a);
void model_kernel_mask_rows(struct CUstream_st *stream, const struct model_mask_rows *a);
void model_kernel_patches(struct CUstream_st *stream, const struct model_patches *a);

// ---- around a product ----

// y = x in 16 bits, rows of columns: what a product in MODEL_BF16 or MODEL_FP16 reads.
struct model_kernel_round {
    enum model_precision precision;
    size_t rows, columns;
    const float *x;
    size_t x_stride;
    uint16_t *y;
    size_t y_stride;
    float
        *sums;  // nullable [columns]: += sums over the rows of x as it was, so that it is read once
};
size_t model_kernel_round_partial(const struct model_kernel_round *a);
void model_kernel_round(struct CUstream_st *stream, const struct model_kernel_round *a,
                        float *partial);

// d = c + bias, 0 for the one that is NULL; at least one is not.
void model_kernel_prefill(struct CUstream_st *stream, const struct model_gemm *a);
// d = act(d). aux, when there is one, gets d itself before GELU, as a library's fused products
// leave it, and the derivative of SILU; backward: d *= the derivative.
void model_kernel_activate(struct CUstream_st *stream, const struct model_gemm *a);
// a_sums[i] += sum over k of a[k, i].
size_t model_kernel_row_sums_partial(const struct model_gemm *a);
void model_kernel_row_sums(struct CUstream_st *stream, const struct model_gemm *a, float *partial);

// ---- between the products of attention ----

// Heads one after the other: y [batch, heads, rows, width] from x [batch, rows] at column h *
// width, each head of a row normalised when there is a gain.
struct model_kernel_heads {
    enum model_norm_stat stat;
    float epsilon;
    size_t batch, heads, rows, width;  // width of a head, at most MODEL_KERNEL_HEAD_MAX
    const float *x;
    size_t stride;      // of x's rows
    const float *gain;  // nullable [width]
    float *y;
    float *stats;  // with gain: [batch, heads, rows, 2], for backward
    // not MODEL_F32: y is not written, but `rounded` of the same shape in 16 bits
    enum model_precision precision;
    uint16_t *rounded;
};
#define MODEL_KERNEL_HEAD_MAX 1024
void model_kernel_heads(struct CUstream_st *stream, const struct model_kernel_heads *a);
// The way back. Without a gain dx is dy's heads side by side, so it also joins attention's output.
struct model_kernel_heads_backward {
    struct model_kernel_heads forward;  // as then; y is not read, and x not without a gain
    const float *dy;                    // [batch, heads, rows, width]
    float *dx;                          // written, rows of forward.stride
    float *dgain;                       // with gain: [width] +=
};
size_t model_kernel_heads_backward_partial(const struct model_kernel_heads_backward *a);
void model_kernel_heads_backward(struct CUstream_st *stream,
                                 const struct model_kernel_heads_backward *a, float *partial);

// p = softmax(scale * p) over the keys of each row, 0 where the mask is and in the row's padding.
struct model_kernel_softmax {
    size_t batch, heads, queries, keys;
    size_t stride;  // of rows, >= keys
    float scale;
    const uint8_t *mask;  // nullable [batch, keys]; at least one key per sample
    float *p;             // [batch, heads, queries, stride]
    float *dp;            // backward only: becomes the gradient of the scores before `scale`
    // nullable [batch, heads, queries, 2]: the largest score and 1 / the sum of a row, written;
    // `again`: read, to make the same p from the same scores in one pass
    float *stats;
    bool again;
    // nullable: the result, p or dp, also in 16 bits
    enum model_precision precision;
    uint16_t *rounded;
};
void model_kernel_softmax(struct CUstream_st *stream, const struct model_kernel_softmax *a);
void model_kernel_softmax_backward(struct CUstream_st *stream,
                                   const struct model_kernel_softmax *a);

#ifdef __cplusplus
}
#endif

#endif
