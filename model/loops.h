// model/loops.h - the loops of the CPU backend, compiled once per instruction set and chosen at
// start (loops.c, loops_attention.c; model/CMakeLists.txt).
//
// Each function does a range [begin, end) of an operation's rows or items on one thread. Sums run
// in 16 explicit lanes in every set, so that sets differ by the rounding of fused multiply-adds
// only.
#ifndef MODEL_LOOPS_H
#define MODEL_LOOPS_H

#include "model/backend.h"

#define MODEL_CHUNK 4096  // elements of one partial sum of sum_squares and mse
#define SUM_PAD 16        // elements that scratch and padded rows are rounded to

struct model_loops {
    const char *name;  // "avx2"
    // d [rows, n] = c + bias (either may be NULL) for rows begin..end: what a product adds to.
    void (*prefill)(const struct model_gemm *a, size_t begin, size_t end);
    // The activation on finished rows of d.
    void (*activate)(const struct model_gemm *a, size_t begin, size_t end);
    // a_sums of columns begin..end.
    void (*row_sums)(const struct model_gemm *a, size_t begin, size_t end);
    // Rows of x; dgain [width] is this thread's partial sum.
    void (*norm)(const struct model_norm *a, size_t begin, size_t end);
    void (*norm_backward)(const struct model_norm_backward *a, size_t begin, size_t end,
                          float *dgain);
    // Items are (sample, head) pairs. scratch: attention_scratch elements; gains: 2 * head_width.
    size_t (*attention_scratch)(const struct model_attention *a);
    void (*attention)(const struct model_attention *a, size_t begin, size_t end, float *scratch);
    void (*attention_backward)(const struct model_attention_backward *a, size_t begin, size_t end,
                               float *scratch, float *gains);
    void (*sum_batch)(const struct model_sum_batch *a, size_t begin, size_t end);
    void (*adamw)(const struct model_adamw *a, size_t begin, size_t end);
    void (*axpby)(const struct model_axpby *a, size_t begin, size_t end);
    void (*combine)(const struct model_combine *a, size_t begin, size_t end);
    // Chunks of MODEL_CHUNK elements; sums [chunks].
    void (*sum_squares)(const struct model_sum_squares *a, size_t begin, size_t end, double *sums);
    void (*mse)(const struct model_mse *a, size_t begin, size_t end, double *sums);
    // line [side * 3] += weight * row, for the vertical half of a resize.
    void (*add_pixels)(float *line, const uint8_t *row, size_t n, float weight);
};

extern const struct model_loops model_loops_v4, model_loops_v3, model_loops_v2, model_loops_plain;

#endif
