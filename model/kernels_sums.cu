// model/kernels_sums.cu - sums over many blocks in two steps: each block leaves a partial sum at
// its own place, a second kernel adds them in order. No atomics: the same shapes give the same
// bits.
#include "model/kernels.cuh"

#define PART_COLUMNS 32  // of a block of add_parts_kernel: 32 columns by 8 shares of the parts
#define SLAB_ROWS 64     // fewest rows of a partial sum of row_sums
#define CHUNK 4096       // elements of a partial sum of mse and sum_squares

__global__ void __launch_bounds__(BLOCK_THREADS)
    add_parts_kernel(const float *partial, size_t parts, size_t columns, float *out) {
    SHARED(float, shares, [BLOCK_WARPS][PART_COLUMNS]);
    const unsigned share = threadIdx.x / PART_COLUMNS, place = threadIdx.x % PART_COLUMNS;
    const size_t column = size_t(blockIdx.x) * PART_COLUMNS + place;
    float sum = 0;
    for (size_t part = share; column < columns && part < parts; part += BLOCK_WARPS)
        sum += partial[part * columns + column];
    shares[share][place] = sum;
    __syncthreads();
    if (share > 0 || column >= columns) return;
    sum = 0;
    for (unsigned s = 0; s < BLOCK_WARPS; s++) sum += shares[s][place];
    out[column] += sum;
}
void kernels_add_parts(struct CUstream_st *stream, const float *partial, size_t parts,
                       size_t columns, float *out) {
    LAUNCH(add_parts_kernel, ceil_div(columns, PART_COLUMNS), BLOCK_THREADS, 0, stream, partial,
           parts, columns, out);
}

// Blocks are (slab of rows, 256 columns); partial [slabs, columns].
struct slab_place {
    size_t slab, column, end;
};
static __device__ __forceinline__ struct slab_place slab_of(size_t rows, size_t columns,
                                                            size_t slab_rows) {
    const size_t across = (columns + BLOCK_THREADS - 1) / BLOCK_THREADS;
    const size_t slab = blockIdx.x / across, end = (slab + 1) * slab_rows;
    return {slab, blockIdx.x % across * BLOCK_THREADS + threadIdx.x, end < rows ? end : rows};
}
__global__ void __launch_bounds__(BLOCK_THREADS)
    row_sums_kernel(const float *x, size_t stride, size_t rows, size_t columns, size_t slab_rows,
                    float *partial) {
    const struct slab_place at = slab_of(rows, columns, slab_rows);
    if (at.column >= columns) return;
    float sum = 0;
    for (size_t r = at.slab * slab_rows; r < at.end; r++) sum += x[r * stride + at.column];
    partial[at.slab * columns + at.column] = sum;
}
__global__ void __launch_bounds__(BLOCK_THREADS)
    round_kernel(struct model_kernel_round a, size_t slab_rows, float *partial) {
    const struct slab_place at = slab_of(a.rows, a.columns, slab_rows);
    if (at.column >= a.columns) return;
    float sum = 0;
    for (size_t r = at.slab * slab_rows; r < at.end; r++) {
        const float x = a.x[r * a.x_stride + at.column];
        a.y[r * a.y_stride + at.column] = rounded_of(a.precision, x);
        sum += x;
    }
    if (a.sums) partial[at.slab * a.columns + at.column] = sum;
}
struct slabs {
    size_t rows, count;
};
static struct slabs slabs_of(size_t rows) {
    const size_t wanted = at_most(ceil_div(rows, SLAB_ROWS), PARTS_MAX);
    const size_t each = ceil_div(rows, wanted);
    return {each, ceil_div(rows, each)};
}
size_t model_kernel_row_sums_partial(const struct model_gemm *a) {
    return slabs_of(a->k).count * a->m;
}
void model_kernel_row_sums(struct CUstream_st *stream, const struct model_gemm *a, float *partial) {
    const struct slabs slabs = slabs_of(a->k);
    const size_t blocks = slabs.count * ceil_div(a->m, BLOCK_THREADS);
    const float *x = a->a;
    const size_t stride = a->a_stride, rows = a->k, columns = a->m;
    LAUNCH(row_sums_kernel, blocks, BLOCK_THREADS, 0, stream, x, stride, rows, columns, slabs.rows,
           partial);
    kernels_add_parts(stream, partial, slabs.count, a->m, a->a_sums);
}

#define ROUND_ROWS 8  // of a block that only rounds
size_t model_kernel_round_partial(const struct model_kernel_round *a) {
    return a->sums ? slabs_of(a->rows).count * a->columns : 0;
}
void model_kernel_round(struct CUstream_st *stream, const struct model_kernel_round *a,
                        float *partial) {
    const struct model_kernel_round args = *a;
    struct slabs slabs = {ROUND_ROWS, ceil_div(a->rows, ROUND_ROWS)};
    if (a->sums) slabs = slabs_of(a->rows);
    const size_t blocks = slabs.count * ceil_div(a->columns, BLOCK_THREADS);
    const size_t rows = slabs.rows;
    LAUNCH(round_kernel, blocks, BLOCK_THREADS, 0, stream, args, rows, partial);
    if (a->sums) kernels_add_parts(stream, partial, slabs.count, a->columns, a->sums);
}

// ---- sums of everything, in double ----

__global__ void __launch_bounds__(BLOCK_THREADS)
    sum_squares_kernel(struct model_sum_squares a, double *partial) {
    SHARED(double, shared, [BLOCK_WARPS]);
    const block_team<double> team = {threadIdx.x, shared};
    const size_t first = size_t(blockIdx.x) * CHUNK;
    const size_t end = first + CHUNK < a.n ? first + CHUNK : a.n;
    double sum = 0;
    for (size_t i = first + team.place; i < end; i += team.size())
        sum += double(a.x[i]) * double(a.x[i]);
    sum = team.sum(sum);
    if (team.place == 0) partial[blockIdx.x] = sum;
}
__global__ void __launch_bounds__(BLOCK_THREADS)
    mse_kernel(struct model_mse a, float slope, double *partial) {
    SHARED(double, shared, [BLOCK_WARPS]);
    const block_team<double> team = {threadIdx.x, shared};
    const size_t first = size_t(blockIdx.x) * CHUNK;
    const size_t end = first + CHUNK < a.n ? first + CHUNK : a.n;
    double sum = 0;
    for (size_t i = first + team.place; i < end; i += team.size()) {
        const float off = a.prediction[i] - a.target[i];
        sum += double(off) * double(off);
        if (a.gradient) a.gradient[i] = off * slope;
    }
    sum = team.sum(sum);
    if (team.place == 0) partial[blockIdx.x] = sum;
}
// One block: out = total / divisor.
__global__ void __launch_bounds__(BLOCK_THREADS)
    total_kernel(const double *partial, size_t count, double divisor, double *out) {
    SHARED(double, shared, [BLOCK_WARPS]);
    const block_team<double> team = {threadIdx.x, shared};
    double sum = 0;
    for (size_t i = team.place; i < count; i += team.size()) sum += partial[i];
    sum = team.sum(sum);
    if (team.place == 0) *out = sum / divisor;
}

size_t model_kernel_sums_partial(size_t n) { return ceil_div(n, CHUNK); }
void model_kernel_sum_squares(struct CUstream_st *stream, const struct model_sum_squares *a,
                              double *partial) {
    const struct model_sum_squares args = *a;
    const size_t chunks = ceil_div(a->n, CHUNK);
    double *sum = a->sum;
    LAUNCH(sum_squares_kernel, chunks, BLOCK_THREADS, 0, stream, args, partial);
    LAUNCH(total_kernel, 1, BLOCK_THREADS, 0, stream, partial, chunks, 1.0, sum);
}
void model_kernel_mse(struct CUstream_st *stream, const struct model_mse *a, double *partial) {
    const struct model_mse args = *a;
    const size_t chunks = ceil_div(a->n, CHUNK);
    const float slope = float(2.0 * double(a->scale) / double(a->n));
    const double count = double(a->n);
    double *loss = a->loss;
    LAUNCH(mse_kernel, chunks, BLOCK_THREADS, 0, stream, args, slope, partial);
    LAUNCH(total_kernel, 1, BLOCK_THREADS, 0, stream, partial, chunks, count, loss);
}
