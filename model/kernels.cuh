// model/kernels.cuh - what kernels share: sums over a warp or a block in a fixed order, and the
// walk of an elementwise kernel.
#ifndef MODEL_KERNELS_CUH
#define MODEL_KERNELS_CUH

#include "model/backend_gpu.cuh"
#include "model/kernels.h"

#define BLOCK_THREADS 256
#define BLOCK_WARPS (BLOCK_THREADS / 32)
#define PARTS_MAX 256        // partial sums of a sum over rows
#define ELEMENT_BLOCKS 4096  // of an elementwise kernel; more elements are walked

static inline size_t ceil_div(size_t n, size_t by) { return (n + by - 1) / by; }
static inline size_t at_most(size_t n, size_t limit) { return n < limit ? n : limit; }
static inline size_t element_blocks(size_t n) {
    return at_most(ceil_div(n, BLOCK_THREADS), ELEMENT_BLOCKS);
}

// for (FOR_EACH_ELEMENT(i, n)): each thread its own, neighbours side by side.
#define FOR_EACH_ELEMENT(i, n)                                                                     \
    size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;                                      \
    i < (n);                                                                                       \
    i += size_t(gridDim.x) * blockDim.x

// The bits of x, rounded to 16 of them.
static __device__ __forceinline__ uint16_t rounded_of(enum model_precision precision, float x) {
    return precision == MODEL_BF16 ? __bfloat16_as_ushort(__float2bfloat16_rn(x))
                                   : __half_as_ushort(__float2half_rn(x));
}

template <typename T> static __device__ __forceinline__ T warp_sum(T value) {
    for (unsigned bits = 16; bits > 0; bits /= 2) value += __shfl_xor_sync(~0u, value, bits);
    return value;
}
static __device__ __forceinline__ float warp_max(float value) {
    for (unsigned bits = 16; bits > 0; bits /= 2)
        value = fmaxf(value, __shfl_xor_sync(~0u, value, bits));
    return value;
}

// The threads that work on one row: a warp, or a whole block, which needs shared [warps].
struct warp_team {
    unsigned place;
    __device__ unsigned size() const { return 32; }
    __device__ float sum(float value) const { return warp_sum(value); }
    __device__ float max(float value) const { return warp_max(value); }
};
template <typename T> struct block_team {
    unsigned place;
    T *shared;
    __device__ unsigned size() const { return blockDim.x; }
    __device__ T sum(T value) const {
        value = warp_sum(value);
        share(value);
        value = 0;
        for (unsigned w = 0; w < blockDim.x / 32; w++) value += shared[w];
        __syncthreads();  // before the next sum writes there
        return value;
    }
    __device__ T max(T value) const {
        value = warp_max(value);
        share(value);
        for (unsigned w = 0; w < blockDim.x / 32; w++) value = fmaxf(value, shared[w]);
        __syncthreads();
        return value;
    }
    __device__ void share(T value) const {
        if (place % 32 == 0) shared[place / 32] = value;
        __syncthreads();
    }
};

// out[i] += sum over the parts of partial [parts, columns], in order (kernels_sums.cu).
void kernels_add_parts(struct CUstream_st *stream, const float *partial, size_t parts,
                       size_t columns, float *out);

#endif
