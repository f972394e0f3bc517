// model/backend_cpu_gemm.c - products on OpenBLAS. Each thread computes its own rows or columns of
// d and finishes them itself: what is added (c and bias) is written first, so that the product adds
// to it in its own pass over d, and activations run while the rows are in cache.
#include "model/backend_cpu.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

#define ROWS_HOT 256         // of a block that is activated right after its product
#define SMALL_WORK 200000.0  // multiply-adds that one thread does faster than two

static void multiply(const struct model_gemm *a) {
    const bool begun = a->c || a->bias;
    cblas_sgemm(CblasRowMajor, a->transpose_a ? CblasTrans : CblasNoTrans,
                a->transpose_b ? CblasTrans : CblasNoTrans, (int)a->m, (int)a->n, (int)a->k, 1,
                a->a, (int)a->a_stride, a->b, (int)a->b_stride, begun ? 1 : 0, a->d,
                (int)a->d_stride);
}

// Rows begin..end of a product as a product of its own.
static struct model_gemm rows_of(const struct model_gemm *a, size_t begin, size_t end) {
    struct model_gemm part = *a;
    part.m = end - begin;
    part.a += a->transpose_a ? begin : begin * a->a_stride;
    part.d += begin * a->d_stride;
    return part;
}
static struct model_gemm columns_of(const struct model_gemm *a, size_t begin, size_t end) {
    struct model_gemm part = *a;
    part.n = end - begin;
    part.b += a->transpose_b ? begin * a->b_stride : begin;
    part.d += begin;
    return part;
}

static void run_rows(const struct model_loops *loops, const struct model_gemm *a, size_t begin,
                     size_t end) {
    const bool active = a->activation != MODEL_LINEAR;
    const bool begun = (a->c && a->c != a->d) || a->bias;
    const size_t step = active ? ROWS_HOT : end - begin;
    for (size_t row = begin; row < end; row += step) {
        const size_t last = row + step < end ? row + step : end;
        if (begun) loops->prefill(a, row, last);
        const struct model_gemm part = rows_of(a, row, last);
        multiply(&part);
        if (active) loops->activate(a, row, last);
    }
    if (a->a_sums) loops->row_sums(a, begin, end);
}

struct gemm_job {
    const struct model_loops *loops;
    const struct model_gemm *a;
    bool by_columns;
};

static void gemm_task(void *context, uint32_t thread, uint32_t threads) {
    const struct gemm_job *job = context;
    const struct model_gemm *a = job->a;
    const struct model_part part = model_part_of(job->by_columns ? a->n : a->m, 8, thread, threads);
    if (part.begin >= part.end) return;
    if (!job->by_columns) {
        run_rows(job->loops, a, part.begin, part.end);
        return;
    }
    const struct model_gemm columns = columns_of(a, part.begin, part.end);
    multiply(&columns);
}

bool model_cpu_gemm(struct model_backend *backend, const struct model_gemm *a,
                    struct proto_error *error) {
    struct model_backend_cpu *cpu = (struct model_backend_cpu *)backend;
    if (a->m > INT_MAX || a->n > INT_MAX || a->k > INT_MAX || a->a_stride > INT_MAX ||
        a->b_stride > INT_MAX || a->d_stride > INT_MAX)
        return proto_fail(error, PROTO_FAILED, "gemm: [%zu, %zu] x %zu is too large", a->m, a->n,
                          a->k);
    if (cpu->split_from > 0 && (double)a->m * (double)a->n * (double)a->k < SMALL_WORK) {
        run_rows(cpu->loops, a, 0, a->m);
        return true;
    }
    const bool plain =
        a->activation == MODEL_LINEAR && !a->a_sums && !a->bias && (!a->c || a->c == a->d);
    struct gemm_job job = {cpu->loops, a, plain && a->n > a->m};
    model_pool_run(cpu->pool, gemm_task, &job);
    return true;
}
