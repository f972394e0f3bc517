// tests/gpusim/bugs.cu - two small kernels, right and with each known bug planted: what gpusim_test
// runs to prove that every kind of bug is caught, and by which mode.
//
//     gpusim_bugs NAME    exit 0: results are right; 1: wrong, said on stdout; 99: gpusim refused
#include "gpusim/gpusim.h"
#include "model/backend_gpu.cuh"

#include <cstdio>

#define THREADS 64

enum bug {
    NONE,
    GLOBAL_END,
    SHARED_END,
    NO_BARRIER,
    NO_BARRIER_BEFORE_REUSE,
    DIVERGENT_BARRIER,
    EARLY_EXIT,
    MASK,
    LOST_LANES,
    OUTSIDE_MASK,
    BLOCKS_RACE,
    NO_SYNCWARP,
    UNWRITTEN,
    THREADS_TOO_MANY,
    SHARED_TOO_MUCH,
    NOT_ASKED_FOR,
    BUGS
};
static const char *const names[BUGS] = {
    "none",       "global_end",        "shared_end",      "no_barrier",
    "no_reuse",   "divergent_barrier", "early_exit",      "mask",
    "lost_lanes", "outside_mask",      "blocks_race",     "no_syncwarp",
    "unwritten",  "threads_too_many",  "shared_too_much", "not_asked_for",
};

static volatile unsigned past_the_end = THREADS / 32;  // that no compiler warns of it

// y[row, i] = x[row, i] + sum of the row; total[row] = that sum. One block per row.
__global__ void __launch_bounds__(THREADS)
    rows_kernel(const float *x, float *y, float *total, unsigned width, bug planted) {
    SHARED(float, sums, [THREADS / 32]);
    const unsigned place = threadIdx.x, lane = place % 32, row = blockIdx.x;
    float sum = 0;
    for (unsigned i = place; i < width; i += THREADS) sum += x[row * width + i];
    for (unsigned bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(~0u, sum, bits);
    if (lane == 0) sums[place / 32] = sum;
    if (planted == SHARED_END && place == 0) sums[past_the_end] = 0;
    if (planted == NO_SYNCWARP && lane == 1) sums[place / 32] += 0.0f * sum;
    if (planted == DIVERGENT_BARRIER && place < 40) __syncthreads();
    if (planted == EARLY_EXIT && place == 17) return;
    if (planted != NO_BARRIER) __syncthreads();
    sum = 0;
    for (unsigned w = 0; w < THREADS / 32; w++) sum += sums[w];
    if (planted == MASK && lane < 16) sum += 0.0f * __shfl_xor_sync(0xff00u, sum, 1);
    if (planted == OUTSIDE_MASK && lane < 16) sum += 0.0f * __shfl_xor_sync(0xffffu, sum, 16);
    if (planted == LOST_LANES && lane < 16) sum += 0.0f * __shfl_xor_sync(~0u, sum, 1);
    const unsigned end = planted == GLOBAL_END ? width + 1 : width;
    for (unsigned i = place; i < end; i += THREADS) y[row * width + i] = x[row * width + i] + sum;
    if (planted == UNWRITTEN && row == 1) return;
    if (planted == BLOCKS_RACE) y[place] += 0.0f * sum;  // of row 0, in every block
    if (place == 0) total[row] = sum;
}

// y[i] = the sum of x over tiles that pass through shared memory and are read turned around.
__global__ void __launch_bounds__(THREADS)
    tiles_kernel(const float *x, float *y, unsigned tiles, bug planted) {
    DYN_SHARED(float, tile);
    const unsigned place = threadIdx.x;
    float sum = 0;
    for (unsigned t = 0; t < tiles; t++) {
        if (planted != NO_BARRIER_BEFORE_REUSE) __syncthreads();
        tile[place] = x[t * THREADS + place];
        __syncthreads();
        sum += tile[THREADS - 1 - place];
    }
    y[place] = sum;
}

static float *device(size_t count) {
    return static_cast<float *>(gpusim_alloc(count * sizeof(float)));
}

// Small whole numbers, so that sums are exact in any order.
static float number(size_t i) { return float(i * 7 % 23); }

static bool rows_are_right(bug planted) {
    const unsigned rows = 3, width = 150;
    float *x = device(rows * width), *y = device(rows * width), *total = device(rows);
    for (size_t i = 0; i < rows * width; i++) x[i] = number(i);
    for (size_t i = 0; planted == BLOCKS_RACE && i < THREADS; i++) y[i] = 0;
    const size_t threads = planted == THREADS_TOO_MANY ? 1056 : THREADS;
    LAUNCH(rows_kernel, rows, threads, 0, nullptr, x, y, total, width, planted);
    bool right = true;
    for (size_t r = 0; r < rows; r++) {
        float sum = 0;
        for (size_t i = 0; i < width; i++) sum += x[r * width + i];
        right = right && total[r] == sum;
        for (size_t i = 0; i < width; i++)
            right = right && y[r * width + i] == x[r * width + i] + sum;
    }
    gpusim_free(x), gpusim_free(y), gpusim_free(total);
    return right;
}

static bool tiles_are_right(bug planted) {
    const unsigned tiles = 3;
    float *x = device(tiles * THREADS), *y = device(THREADS);
    for (size_t i = 0; i < tiles * THREADS; i++) x[i] = number(i);
    size_t bytes = THREADS * sizeof(float);
    if (planted == SHARED_TOO_MUCH) bytes = 49153;
    if (planted == NOT_ASKED_FOR) bytes = 0;
    LAUNCH(tiles_kernel, 1, THREADS, bytes, nullptr, x, y, tiles, planted);
    bool right = true;
    for (size_t i = 0; i < THREADS; i++) {
        float sum = 0;
        for (size_t t = 0; t < tiles; t++) sum += x[t * THREADS + THREADS - 1 - i];
        right = right && y[i] == sum;
    }
    gpusim_free(x), gpusim_free(y);
    return right;
}

int main(int count, char **words) {
    for (int i = 0; count == 2 && i < BUGS; i++) {
        if (strcmp(words[1], names[i]) != 0) continue;
        const bug planted = static_cast<bug>(i);
        const bool right = rows_are_right(planted) && tiles_are_right(planted);
        puts(right ? "right" : "wrong value");
        return right ? 0 : 1;
    }
    fprintf(stderr, "gpusim_bugs: which bug?\n");
    return 2;
}
