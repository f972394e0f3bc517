// model/kernels_softmax.cu - the masked softmax between attention's two products, and its way back:
// dS = P (dP - sum over keys of P dP) scale. A row is one warp's when it is short, else one
// block's.
#include "model/kernels.cuh"

#define SHORT_ROW 256  // keys

// The result at one place of a row, also in 16 bits where they are wanted.
static __device__ __forceinline__ void put(const struct model_kernel_softmax &a, float *result,
                                           size_t at, float value) {
    result[at] = value;
    if (a.rounded) a.rounded[at] = rounded_of(a.precision, value);
}

template <typename TEAM>
static __device__ __forceinline__ void
softmax_row(const TEAM &team, const struct model_kernel_softmax &a, size_t row) {
    const uint8_t *mask = a.mask ? a.mask + row / (a.heads * a.queries) * a.keys : nullptr;
    float *p = a.p + row * a.stride, top = -INFINITY, inverse = 0;
    if (a.again) {
        top = a.stats[2 * row];
        inverse = a.stats[2 * row + 1];
    } else {
        for (size_t l = team.place; l < a.keys; l += team.size())
            if (!mask || mask[l]) top = fmaxf(top, p[l] * a.scale);
        top = team.max(top);
        float sum = 0;
        for (size_t l = team.place; l < a.keys; l += team.size())
            if (!mask || mask[l]) sum += expf(p[l] * a.scale - top);
        inverse = 1.0f / team.sum(sum);
        if (a.stats && team.place == 0) {
            a.stats[2 * row] = top;
            a.stats[2 * row + 1] = inverse;
        }
    }
    for (size_t l = team.place; l < a.stride; l += team.size()) {
        const bool seen = l < a.keys && (!mask || mask[l]);
        put(a, a.p, row * a.stride + l, seen ? expf(p[l] * a.scale - top) * inverse : 0.0f);
    }
}

template <typename TEAM>
static __device__ __forceinline__ void
softmax_row_backward(const TEAM &team, const struct model_kernel_softmax &a, size_t row) {
    const float *p = a.p + row * a.stride;
    const float *dp = a.dp + row * a.stride;
    float sum = 0;
    for (size_t l = team.place; l < a.keys; l += team.size()) sum += p[l] * dp[l];
    sum = team.sum(sum);
    for (size_t l = team.place; l < a.stride; l += team.size())
        put(a, a.dp, row * a.stride + l, l < a.keys ? p[l] * (dp[l] - sum) * a.scale : 0.0f);
}

// BACKWARD or not, by warps or by blocks.
template <bool BACKWARD, typename TEAM>
static __device__ __forceinline__ void one_row(const TEAM &team,
                                               const struct model_kernel_softmax &a, size_t row) {
    if (BACKWARD)
        softmax_row_backward(team, a, row);
    else
        softmax_row(team, a, row);
}
template <bool BACKWARD>
__global__ void __launch_bounds__(BLOCK_THREADS)
    softmax_short_kernel(struct model_kernel_softmax a) {
    const warp_team team = {threadIdx.x % 32};
    const size_t row = size_t(blockIdx.x) * BLOCK_WARPS + threadIdx.x / 32;
    if (row >= a.batch * a.heads * a.queries) return;  // whole warps leave together
    one_row<BACKWARD>(team, a, row);
}
template <bool BACKWARD>
__global__ void __launch_bounds__(BLOCK_THREADS)
    softmax_long_kernel(struct model_kernel_softmax a) {
    SHARED(float, shared, [BLOCK_WARPS]);
    const block_team<float> team = {threadIdx.x, shared};
    one_row<BACKWARD>(team, a, blockIdx.x);
}

template <bool BACKWARD>
static void run(struct CUstream_st *stream, const struct model_kernel_softmax *a) {
    const struct model_kernel_softmax args = *a;
    const size_t rows = a->batch * a->heads * a->queries;
    if (a->keys <= SHORT_ROW)
        LAUNCH(softmax_short_kernel<BACKWARD>, ceil_div(rows, BLOCK_WARPS), BLOCK_THREADS, 0,
               stream, args);
    else
        LAUNCH(softmax_long_kernel<BACKWARD>, rows, BLOCK_THREADS, 0, stream, args);
}
void model_kernel_softmax(struct CUstream_st *stream, const struct model_kernel_softmax *a) {
    run<false>(stream, a);
}
void model_kernel_softmax_backward(struct CUstream_st *stream,
                                   const struct model_kernel_softmax *a) {
    run<true>(stream, a);
}
