// model/kernels_norm.cu - norms of rows (a block each) and of the heads of a row (a warp each, with
// the split into heads), forward and backward. Formulas: model_norm in model/backend.h; a row's dx
// is g w s - s^3 (x - mean) / d sum(g w x), with d the divisor of its statistic.
#include "model/kernels.cuh"

static __device__ __forceinline__ float divisor_of(enum model_norm_stat stat, size_t n) {
    return float(stat == MODEL_VARIANCE ? n - 1 : n);
}

// 1 / sqrt(v + epsilon) of a row, the same in each thread of the team.
template <typename TEAM>
static __device__ __forceinline__ float scale_of(const TEAM &team, enum model_norm_stat stat,
                                                 float epsilon, const float *x, size_t n,
                                                 float *mean) {
    float centre = 0, square = 0;
    if (stat == MODEL_VARIANCE) {
        for (size_t i = team.place; i < n; i += team.size()) centre += x[i];
        centre = team.sum(centre) / float(n);
    }
    for (size_t i = team.place; i < n; i += team.size())
        square += (x[i] - centre) * (x[i] - centre);
    *mean = centre;
    return 1.0f / sqrtf(team.sum(square) / divisor_of(stat, n) + epsilon);
}

// dx of one row; each thread adds its columns' part to gains.
template <typename TEAM>
static __device__ __forceinline__ void
row_backward(const TEAM &team, enum model_norm_stat stat, const float *x, const float *gain,
             const float *dy, const float *stats, size_t n, bool add, float *dx, float *gains) {
    const float mean = stats[0], scale = stats[1];
    float dot = 0;
    for (size_t i = team.place; i < n; i += team.size()) {
        const float product = dy[i] * x[i];
        dot += product * gain[i];
        gains[i] += product * scale;
    }
    const float pull = scale * scale * scale * team.sum(dot) / divisor_of(stat, n);
    for (size_t i = team.place; i < n; i += team.size()) {
        const float d = dy[i] * gain[i] * scale - (x[i] - mean) * pull;
        dx[i] = add ? dx[i] + d : d;
    }
}

// ---- rows ----

__global__ void __launch_bounds__(BLOCK_THREADS) norm_kernel(struct model_norm a) {
    SHARED(float, shared, [BLOCK_WARPS]);
    const block_team<float> team = {threadIdx.x, shared};
    const size_t to = blockIdx.x, kept = a.group_rows - a.skip;
    const float *x = a.x + (to / kept * a.group_rows + a.skip + to % kept) * a.width;
    float mean = 0;
    const float scale = scale_of(team, a.stat, a.epsilon, x, a.width, &mean);
    for (size_t i = team.place; i < a.width; i += team.size())
        a.y[to * a.width + i] = x[i] * scale * a.gain[i];
    if (team.place == 0) {
        a.rows[2 * to] = mean;
        a.rows[2 * to + 1] = scale;
    }
}
void model_kernel_norm(struct CUstream_st *stream, const struct model_norm *a) {
    const struct model_norm args = *a;
    LAUNCH(norm_kernel, a->groups * (a->group_rows - a->skip), BLOCK_THREADS, 0, stream, args);
}

// A block walks its rows; gains [blocks, width] are summed afterwards.
__global__ void __launch_bounds__(BLOCK_THREADS)
    norm_backward_kernel(struct model_norm_backward b, float *gains) {
    SHARED(float, shared, [BLOCK_WARPS]);
    const block_team<float> team = {threadIdx.x, shared};
    const struct model_norm &a = b.forward;
    const size_t kept = a.group_rows - a.skip, rows = a.groups * a.group_rows;
    float *own = gains + blockIdx.x * a.width;
    for (size_t i = team.place; i < a.width; i += team.size()) own[i] = 0;
    for (size_t r = blockIdx.x; r < rows; r += gridDim.x) {
        const size_t group = r / a.group_rows, row = r % a.group_rows;
        float *dx = b.dx + r * a.width;
        if (row < a.skip) {
            for (size_t i = team.place; !b.add && i < a.width; i += team.size()) dx[i] = 0;
            continue;
        }
        const size_t from = group * kept + row - a.skip;
        row_backward(team, a.stat, a.x + r * a.width, a.gain, b.dy + from * a.width,
                     a.rows + 2 * from, a.width, b.add, dx, own);
    }
}
static size_t norm_parts(const struct model_norm_backward *a) {
    return at_most(a->forward.groups * a->forward.group_rows, PARTS_MAX);
}
size_t model_kernel_norm_backward_partial(const struct model_norm_backward *a) {
    return norm_parts(a) * a->forward.width;
}
void model_kernel_norm_backward(struct CUstream_st *stream, const struct model_norm_backward *a,
                                float *partial) {
    const struct model_norm_backward args = *a;
    LAUNCH(norm_backward_kernel, norm_parts(a), BLOCK_THREADS, 0, stream, args, partial);
    kernels_add_parts(stream, partial, norm_parts(a), a->forward.width, a->dgain);
}

// ---- heads ----

// One head of one row; heads of a row lie side by side in x, so neighbours are read together.
struct head_place {
    size_t x, y;  // in rows of the stream, and in heads
};
static __device__ __forceinline__ struct head_place place_of(const struct model_kernel_heads &a,
                                                             size_t item) {
    const size_t head = item % a.heads, row = item / a.heads;  // row of batch * rows
    const size_t to = (row / a.rows * a.heads + head) * a.rows + row % a.rows;
    return {row * a.stride + head * a.width, to};
}

__global__ void __launch_bounds__(BLOCK_THREADS) heads_kernel(struct model_kernel_heads a) {
    const warp_team team = {threadIdx.x % 32};
    const size_t item = size_t(blockIdx.x) * BLOCK_WARPS + threadIdx.x / 32;
    if (item >= a.batch * a.rows * a.heads) return;  // whole warps leave together
    const struct head_place at = place_of(a, item);
    const float *x = a.x + at.x;
    float mean = 0, scale = 1;
    if (a.gain) scale = scale_of(team, a.stat, a.epsilon, x, a.width, &mean);
    for (size_t i = team.place; i < a.width; i += 32) {
        const float y = a.gain ? x[i] * scale * a.gain[i] : x[i];
        if (a.precision == MODEL_F32)
            a.y[at.y * a.width + i] = y;
        else
            a.rounded[at.y * a.width + i] = rounded_of(a.precision, y);
    }
    if (a.gain && team.place == 0) {
        a.stats[2 * at.y] = mean;
        a.stats[2 * at.y + 1] = scale;
    }
}
void model_kernel_heads(struct CUstream_st *stream, const struct model_kernel_heads *a) {
    const struct model_kernel_heads args = *a;
    LAUNCH(heads_kernel, ceil_div(a->batch * a->rows * a->heads, BLOCK_WARPS), BLOCK_THREADS, 0,
           stream, args);
}

// Each warp walks its heads and keeps its gains in shared memory [warps, width].
__global__ void __launch_bounds__(BLOCK_THREADS)
    heads_backward_kernel(struct model_kernel_heads_backward b, float *partial) {
    DYN_SHARED(float, gains);
    const struct model_kernel_heads &a = b.forward;
    const unsigned warp = threadIdx.x / 32;
    const warp_team team = {threadIdx.x % 32};
    const size_t items = a.batch * a.rows * a.heads, walk = size_t(gridDim.x) * BLOCK_WARPS;
    float *own = gains + warp * a.width;
    for (size_t i = team.place; i < a.width; i += 32) own[i] = 0;
    for (size_t item = size_t(blockIdx.x) * BLOCK_WARPS + warp; item < items; item += walk) {
        const struct head_place at = place_of(a, item);
        row_backward(team, a.stat, a.x + at.x, a.gain, b.dy + at.y * a.width, a.stats + 2 * at.y,
                     a.width, false, b.dx + at.x, own);
    }
    __syncthreads();
    for (size_t i = threadIdx.x; i < a.width; i += BLOCK_THREADS) {
        float sum = 0;
        for (unsigned w = 0; w < BLOCK_WARPS; w++) sum += gains[w * a.width + i];
        partial[blockIdx.x * a.width + i] = sum;
    }
}
__global__ void __launch_bounds__(BLOCK_THREADS)
    heads_join_kernel(struct model_kernel_heads_backward b) {
    const struct model_kernel_heads &a = b.forward;
    const size_t item = size_t(blockIdx.x) * BLOCK_WARPS + threadIdx.x / 32;
    if (item >= a.batch * a.rows * a.heads) return;
    const struct head_place at = place_of(a, item);
    for (size_t i = threadIdx.x % 32; i < a.width; i += 32)
        b.dx[at.x + i] = b.dy[at.y * a.width + i];
}
static size_t heads_blocks(const struct model_kernel_heads *a) {
    return ceil_div(a->batch * a->rows * a->heads, BLOCK_WARPS);
}
static size_t heads_parts(const struct model_kernel_heads *a) {
    return at_most(heads_blocks(a), PARTS_MAX);
}
size_t model_kernel_heads_backward_partial(const struct model_kernel_heads_backward *a) {
    return a->forward.gain ? heads_parts(&a->forward) * a->forward.width : 0;
}
void model_kernel_heads_backward(struct CUstream_st *stream,
                                 const struct model_kernel_heads_backward *a, float *partial) {
    const struct model_kernel_heads_backward args = *a;
    const struct model_kernel_heads *forward = &a->forward;
    if (!forward->gain) {
        LAUNCH(heads_join_kernel, heads_blocks(forward), BLOCK_THREADS, 0, stream, args);
        return;
    }
    LAUNCH(heads_backward_kernel, heads_parts(forward), BLOCK_THREADS,
           BLOCK_WARPS * forward->width * sizeof(float), stream, args, partial);
    kernels_add_parts(stream, partial, heads_parts(forward), forward->width, a->dgain);
}
