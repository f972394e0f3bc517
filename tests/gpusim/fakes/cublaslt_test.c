// tests/gpusim/fakes/cublaslt_test.c - products of the fakes' cublasLt. Oracle: the formula of its
// manual in f64, over operands rounded by the compiler's own 16-bit types; GELU and its slope by
// their definition and by finite differences. Tolerances: sums in f32 differ from f64 by at most
// (k + 8) 2^-24 of the sum of |terms|; a 16-bit result by half a unit in its last place more.
#include "tests/gpusim/fakes/fakes_world.h"

#include <cublasLt.h>
#include <math.h>

#define SIDE_MAX 64  // elements that a matrix of a case has at most, over all batches: SIDE_MAX^2

__extension__ typedef _Float16 compiler_f16;

static float as_f16(float x) { return (float)(compiler_f16)x; }
static float as_bf16(float x) {  // ties to even, by the definition of the format
    uint32_t bits = 0;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t below = bits & 0xffff, odd = bits >> 16 & 1;
    bits &= 0xffff0000;
    if (below > 0x8000 || (below == 0x8000 && odd)) bits += 0x10000;
    memcpy(&x, &bits, sizeof x);
    return x;
}
static size_t bytes_of(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }
static float rounded(cudaDataType type, float x) {
    return type == CUDA_R_32F ? x : type == CUDA_R_16F ? as_f16(x) : as_bf16(x);
}
static void put(void *memory, cudaDataType type, size_t at, float x) {
    uint32_t bits = 0;
    const compiler_f16 half = (compiler_f16)x;
    const float upper = as_bf16(x);
    memcpy(&bits, &upper, sizeof bits);
    const uint16_t brain = (uint16_t)(bits >> 16);
    char *to = (char *)memory + at * bytes_of(type);
    if (type == CUDA_R_32F) memcpy(to, &x, sizeof x);
    if (type == CUDA_R_16F) memcpy(to, &half, sizeof half);
    if (type == CUDA_R_16BF) memcpy(to, &brain, sizeof brain);
}
static float get(const void *memory, cudaDataType type, size_t at) {
    const char *from = (const char *)memory + at * bytes_of(type);
    float x = 0;
    compiler_f16 half = 0;
    uint16_t brain = 0;
    if (type == CUDA_R_32F) memcpy(&x, from, sizeof x);
    if (type == CUDA_R_16F) {
        memcpy(&half, from, sizeof half);
        x = (float)half;
    }
    if (type == CUDA_R_16BF) {
        memcpy(&brain, from, sizeof brain);
        const uint32_t bits = (uint32_t)brain << 16;
        memcpy(&x, &bits, sizeof x);
    }
    return x;
}
static float drawn(uint32_t *seed) {
    *seed = *seed * 1664525 + 1013904223;
    return (float)(*seed >> 8) / (1 << 23) - 1;
}

// One matrix of a problem on both sides.
struct side {
    cudaDataType type;
    size_t rows, columns, ld, stride;
    char host[SIDE_MAX * SIDE_MAX * 4];
    void *device;
    cublasLtMatrixLayout_t layout;
};
static int side_new(struct side *s, cudaDataType type, size_t rows, size_t columns, int32_t batch,
                    uint32_t seed) {
    *s = (struct side){.type = type, .rows = rows, .columns = columns, .ld = rows + 3};
    s->stride = (s->ld * columns + 7) / 8 * 8;
    const size_t count = s->stride * (size_t)batch;
    EXPECT(count <= SIDE_MAX * SIDE_MAX, true);
    for (size_t i = 0; i < count; i++) put(s->host, type, i, drawn(&seed));
    MUST(cudaMalloc(&s->device, count * bytes_of(type)));
    MUST(cudaMemcpy(s->device, s->host, count * bytes_of(type), cudaMemcpyHostToDevice));
    MUST(cublasLtMatrixLayoutCreate(&s->layout, type, rows, columns, (int64_t)s->ld));
    const int64_t stride = (int64_t)s->stride;
    MUST(cublasLtMatrixLayoutSetAttribute(s->layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch,
                                          sizeof batch));
    MUST(cublasLtMatrixLayoutSetAttribute(s->layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                          &stride, sizeof stride));
    return RIGHT;
}
static double at(const struct side *s, size_t matrix, size_t row, size_t column) {
    return (double)get(s->host, s->type, matrix * s->stride + column * s->ld + row);
}

static double gelu(double x) {
    return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
static double gelu_slope(double x) { return (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5; }

struct problem {
    bool ta, tb;
    cudaDataType in, out;
    uint32_t epilogue;
    int32_t batch;
    float alpha, beta;
};
#define M 13
#define K 9
#define COLUMNS 11

struct world {
    struct problem p;
    struct side a, b, c, d, aux, bias;
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t operation;
    cublasLtMatmulPreference_t preference;
    void *workspace;
};
#define WORKSPACE (64 << 10)

static bool has(const struct world *w, uint32_t bit) { return (w->p.epilogue & bit) != 0; }

static int world_new(struct world *w, const struct problem *p) {
    *w = (struct world){.p = *p};
    MUST(side_new(&w->a, p->in, p->ta ? K : M, p->ta ? M : K, p->batch, 1));
    MUST(side_new(&w->b, p->in, p->tb ? COLUMNS : K, p->tb ? K : COLUMNS, p->batch, 2));
    MUST(side_new(&w->c, p->out, M, COLUMNS, p->batch, 3));
    MUST(side_new(&w->d, p->out, M, COLUMNS, p->batch, 4));
    MUST(side_new(&w->aux, p->out, M, COLUMNS, p->batch, 5));  // its ld is 16, a multiple of 8
    MUST(side_new(&w->bias, p->out, has(w, 512) ? COLUMNS : M, 1, p->batch, 6));
    MUST(cublasLtCreate(&w->handle));
    MUST(cublasLtMatmulDescCreate(&w->operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    MUST(cublasLtMatmulPreferenceCreate(&w->preference));
    const cublasOperation_t ta = p->ta ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t tb = p->tb ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int64_t aux_ld = (int64_t)w->aux.ld, aux_stride = (int64_t)w->aux.stride;
    const int64_t bias_stride = (int64_t)w->bias.stride;
    const struct {
        cublasLtMatmulDescAttributes_t name;
        const void *value;
        size_t size;
    } rows[] = {
        {CUBLASLT_MATMUL_DESC_TRANSA, &ta, sizeof ta},
        {CUBLASLT_MATMUL_DESC_TRANSB, &tb, sizeof tb},
        {CUBLASLT_MATMUL_DESC_EPILOGUE, &p->epilogue, sizeof p->epilogue},
        {CUBLASLT_MATMUL_DESC_BIAS_POINTER, &w->bias.device, sizeof w->bias.device},
        {CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, &bias_stride, sizeof bias_stride},
        {CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &w->aux.device, sizeof w->aux.device},
        {CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &aux_ld, sizeof aux_ld},
        {CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, &aux_stride, sizeof aux_stride},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        MUST(cublasLtMatmulDescSetAttribute(w->operation, rows[i].name, rows[i].value,
                                            rows[i].size));
    const uint64_t most = WORKSPACE;
    MUST(cublasLtMatmulPreferenceSetAttribute(
        w->preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most));
    MUST(cudaMalloc(&w->workspace, WORKSPACE));
    return RIGHT;
}

static int choose(struct world *w, cublasLtMatmulHeuristicResult_t *result, int expected) {
    int count = 0;
    EXPECT(cublasLtMatmulAlgoGetHeuristic(w->handle, w->operation, w->a.layout, w->b.layout,
                                          w->c.layout, w->d.layout, w->preference, 1, result,
                                          &count),
           expected);
    EXPECT(count, expected == CUBLAS_STATUS_SUCCESS);
    return RIGHT;
}
static cublasStatus_t multiply(struct world *w, const cublasLtMatmulHeuristicResult_t *result,
                               size_t workspace_bytes) {
    return cublasLtMatmul(w->handle, w->operation, &w->p.alpha, w->a.device, w->a.layout,
                          w->b.device, w->b.layout, &w->p.beta, w->c.device, w->c.layout,
                          w->d.device, w->d.layout, result ? &result->algo : NULL, w->workspace,
                          workspace_bytes, NULL);
}
static int fetch(struct side *s, int32_t batch) {
    MUST(cudaMemcpy(s->host, s->device, s->stride * (size_t)batch * bytes_of(s->type),
                    cudaMemcpyDeviceToHost));
    return RIGHT;
}

// |found - expected| within the error of an f32 sum and of the rounding to `type`.
static bool near(double found, double expected, double terms, cudaDataType type) {
    const double sum = (K + 8) * ldexp(1, -24) * (terms + 1);
    const double unit = type == CUDA_R_32F ? 24 : type == CUDA_R_16F ? 11 : 8;
    return fabs(found - expected) <= sum + fabs(expected) * ldexp(1.001, -(int)unit);
}

// What the epilogue makes of sum y at (row, column), and its pre-activation.
static double expected_of(const struct world *w, const struct side *was, size_t matrix, size_t row,
                          size_t column, double *pre, double *terms) {
    double y = 0;
    *terms = 0;
    for (size_t k = 0; k < K; k++) {
        const double product =
            (w->p.ta ? at(&w->a, matrix, k, row) : at(&w->a, matrix, row, k)) *
            (w->p.tb ? at(&w->b, matrix, column, k) : at(&w->b, matrix, k, column));
        y += (double)w->p.alpha * product;
        *terms += fabs((double)w->p.alpha * product);
    }
    if (w->p.beta != 0) y += (double)w->p.beta * at(&w->c, matrix, row, column);
    if (has(w, 4)) y += at(&was[1], matrix, row, 0);
    *terms += fabs(y) + 1;
    *pre = y;
    if (has(w, 32)) return gelu(y);
    if (has(w, 2)) return y > 0 ? y : 0;
    if (has(w, 64)) return y * gelu_slope(at(&was[0], matrix, row, column));
    return y;
}

static int check_sums(struct world *w, const struct side *d) {
    for (size_t matrix = 0; matrix < (size_t)w->p.batch; matrix++)
        for (size_t i = 0; i < w->bias.rows; i++) {
            double sum = 0, terms = 0;
            const size_t count = has(w, 16) ? COLUMNS : K;
            for (size_t j = 0; j < count; j++) {
                const double x =
                    has(w, 16)    ? at(d, matrix, i, j)
                    : has(w, 256) ? (w->p.ta ? at(&w->a, matrix, j, i) : at(&w->a, matrix, i, j))
                                  : (w->p.tb ? at(&w->b, matrix, i, j) : at(&w->b, matrix, j, i));
                sum += x;
                terms += fabs(x);
            }
            // d itself was rounded before we could sum it
            const double slack = has(w, 16) ? terms * ldexp(1, -8) : 0;
            const double found = at(&w->bias, matrix, i, 0);
            if (!near(found, sum, terms, w->p.out) && fabs(found - sum) > slack) return WRONG_VALUE;
        }
    return RIGHT;
}

static struct world world;
static struct side was[2];  // aux and bias before the product

static int check_product(const struct problem *p) {
    struct world *w = &world;
    cublasLtMatmulHeuristicResult_t result;
    MUST(world_new(w, p));
    was[0] = w->aux;
    was[1] = w->bias;
    MUST(choose(w, &result, CUBLAS_STATUS_SUCCESS));
    MUST(multiply(w, &result, WORKSPACE));
    MUST(fetch(&w->d, p->batch));
    MUST(fetch(&w->aux, p->batch));
    MUST(fetch(&w->bias, p->batch));
    for (size_t matrix = 0; matrix < (size_t)p->batch; matrix++)
        for (size_t c = 0; c < COLUMNS; c++)
            for (size_t r = 0; r < M; r++) {
                double pre = 0, terms = 0;
                const double y = expected_of(w, was, matrix, r, c, &pre, &terms);
                if (!near(at(&w->d, matrix, r, c), y, terms, p->out)) return WRONG_VALUE;
                if (p->epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS ||
                    p->epilogue == CUBLASLT_EPILOGUE_GELU_AUX)
                    if (!near(at(&w->aux, matrix, r, c), pre, terms, p->out)) return WRONG_VALUE;
            }
    if (has(w, 16 | 256 | 512)) MUST(check_sums(w, &w->d));
    // rows between the matrix and its leading dimension stay
    uint32_t seed = 4;
    for (size_t i = 0; i < w->d.stride * (size_t)p->batch; i++) {
        const float before = rounded(p->out, drawn(&seed));
        if (i % w->d.stride % w->d.ld < M && i % w->d.stride < w->d.ld * COLUMNS) continue;
        if (get(w->d.host, p->out, i) != before) return WRONG_VALUE;
    }
    for (struct side *s = &w->a; s <= &w->bias; s++) MUST(cudaFree(s->device));
    return RIGHT;
}

static const struct {
    cudaDataType in, out;
} types[] = {
    {CUDA_R_32F, CUDA_R_32F},   {CUDA_R_16BF, CUDA_R_32F}, {CUDA_R_16F, CUDA_R_32F},
    {CUDA_R_16BF, CUDA_R_16BF}, {CUDA_R_16F, CUDA_R_16F},
};
static const uint32_t epilogues[] = {
    CUBLASLT_EPILOGUE_DEFAULT,       CUBLASLT_EPILOGUE_BIAS,      CUBLASLT_EPILOGUE_RELU,
    CUBLASLT_EPILOGUE_GELU,          CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX,
    CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_DGELU,     CUBLASLT_EPILOGUE_DGELU_BGRAD,
    CUBLASLT_EPILOGUE_BGRADA,        CUBLASLT_EPILOGUE_BGRADB,
};
// Every epilogue, type and transposition; batches and scalars vary along.
static int products(int epilogue) {
    for (size_t t = 0; t < PROTO_COUNT(types); t++)
        for (int transposed = 0; transposed < 4; transposed++) {
            const struct problem p = {.ta = transposed & 1,
                                      .tb = transposed >> 1,
                                      .in = types[t].in,
                                      .out = types[t].out,
                                      .epilogue = epilogues[epilogue],
                                      .batch = transposed == 1 ? 3 : 1,
                                      .alpha = t % 2 ? 1 : 0.5f,
                                      .beta = transposed == 2 ? 0 : -2};
            MUST(check_product(&p));
        }
    return RIGHT;
}
TEST(products_are_the_formula_of_the_manual) {
    char name[32];
    for (size_t i = 0; i < PROTO_COUNT(epilogues); i++) {
        snprintf(name, sizeof name, "epilogue %u", epilogues[i]);
        TEST_CASE(name);
        CHECK_RIGHT(run("GPUSIM_DELAY=2", products, (int)i));
    }
}

// With beta 0 the library does not read C, which may be NaN.
static int ignores_c(int unused) {
    (void)unused;
    const struct problem p = {
        .in = CUDA_R_32F, .out = CUDA_R_32F, .epilogue = 1, .batch = 1, .alpha = 1};
    struct world *w = &world;
    MUST(world_new(w, &p));
    MUST(cudaMemset(w->c.device, 0xff, 64));
    MUST(multiply(w, NULL, 0));
    MUST(fetch(&w->d, 1));
    return isnan(at(&w->d, 0, 0, 0)) ? WRONG_VALUE : RIGHT;
}
TEST(beta_zero_does_not_read_c) { CHECK_RIGHT(run("", ignores_c, 0)); }

// All values of both formats come through a product by one unchanged, and f32 results round as the
// compiler rounds. x = a b with a, b of 16 bits is exact in f32.
static int formats(int type) {
    const cudaDataType half = (cudaDataType)type;
    enum { COUNT = 1 << 16 };
    static uint16_t in[COUNT], out[COUNT];
    uint16_t scale[2] = {0};
    void *a = NULL, *b = NULL, *d = NULL;
    cublasLtHandle_t handle = NULL;
    cublasLtMatmulDesc_t operation = NULL;
    cublasLtMatrixLayout_t column = NULL, one = NULL;
    const float alpha = 1, beta = 0;
    MUST(cudaMalloc(&a, sizeof in));
    MUST(cudaMalloc(&b, 256));
    MUST(cudaMalloc(&d, sizeof out));
    MUST(cublasLtCreate(&handle));
    MUST(cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    MUST(cublasLtMatrixLayoutCreate(&column, half, COUNT, 1, COUNT));
    MUST(cublasLtMatrixLayoutCreate(&one, half, 1, 1, 1));
    for (uint32_t i = 0; i < COUNT; i++) in[i] = (uint16_t)i;
    const float scales[] = {1, 0.71f, 1.37f, 0.002f, 61};
    for (size_t s = 0; s < PROTO_COUNT(scales); s++) {
        put(scale, half, 0, scales[s]);
        MUST(cudaMemcpy(a, in, sizeof in, cudaMemcpyHostToDevice));
        MUST(cudaMemcpy(b, scale, 2, cudaMemcpyHostToDevice));
        MUST(cublasLtMatmul(handle, operation, &alpha, a, column, b, one, &beta, d, column, d,
                            column, NULL, NULL, 0, NULL));
        MUST(cudaMemcpy(out, d, sizeof out, cudaMemcpyDeviceToHost));
        for (size_t i = 0; i < COUNT; i++) {
            const float x = get(in, half, i) * get(scale, half, 0);
            const float expected = rounded(half, x), found = get(out, half, i);
            if (isnan(expected) ? !isnan(found) : found != expected) {
                fprintf(stderr, "%zu times %g is %g, not %g\n", i, (double)scales[s], (double)found,
                        (double)expected);
                return WRONG_VALUE;
            }
        }
    }
    return RIGHT;
}
TEST(halves_round_as_the_compiler_rounds) {
    TEST_CASE("f16");
    CHECK_RIGHT(run("", formats, CUDA_R_16F));
    TEST_CASE("bf16");
    CHECK_RIGHT(run("", formats, CUDA_R_16BF));
}

// ---- what is refused ----

static int refusals(int unused) {
    (void)unused;
    const struct problem p = {.ta = true,
                              .in = CUDA_R_16BF,
                              .out = CUDA_R_32F,
                              .epilogue = CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
                              .batch = 1,
                              .alpha = 1};
    struct world *w = &world;
    cublasLtMatmulHeuristicResult_t result, other;
    MUST(world_new(w, &p));
    MUST(choose(w, &result, CUBLAS_STATUS_SUCCESS));
    EXPECT(result.workspaceSize, WORKSPACE);
    EXPECT(multiply(w, &result, WORKSPACE - 1), CUBLAS_STATUS_INVALID_VALUE);

    // alignment that was promised and is not kept
    char *const d = w->d.device;
    w->d.device = d + 4;
    EXPECT(multiply(w, &result, WORKSPACE), CUBLAS_STATUS_INVALID_VALUE);
    w->d.device = d;

    // an attribute of another size, an AUX whose leading dimension is no multiple of 8
    int64_t odd = 13;
    EXPECT(
        cublasLtMatmulDescSetAttribute(w->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &odd, 4),
        CUBLAS_STATUS_INVALID_VALUE);
    MUST(cublasLtMatmulDescSetAttribute(w->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &odd,
                                        sizeof odd));
    MUST(choose(w, &other, CUBLAS_STATUS_INVALID_VALUE));
    odd = 16;
    MUST(cublasLtMatmulDescSetAttribute(w->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &odd,
                                        sizeof odd));

    // the algorithm of another problem
    const uint32_t plain = CUBLASLT_EPILOGUE_DEFAULT;
    MUST(cublasLtMatmulDescSetAttribute(w->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &plain,
                                        sizeof plain));
    EXPECT(multiply(w, &result, WORKSPACE), CUBLAS_STATUS_INVALID_VALUE);

    // shapes that do not fit, types that no kernel has, an order that is not ours
    const uint64_t rows = K - 1;
    const uint32_t f16 = CUDA_R_16F;
    const int32_t by_rows = CUBLASLT_ORDER_ROW;
    MUST(cublasLtMatrixLayoutSetAttribute(w->b.layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &rows, 8));
    MUST(choose(w, &other, CUBLAS_STATUS_INVALID_VALUE));
    const uint64_t right = K;
    MUST(cublasLtMatrixLayoutSetAttribute(w->b.layout, CUBLASLT_MATRIX_LAYOUT_ROWS, &right, 8));
    MUST(cublasLtMatrixLayoutSetAttribute(w->b.layout, CUBLASLT_MATRIX_LAYOUT_TYPE, &f16, 4));
    MUST(choose(w, &other, CUBLAS_STATUS_NOT_SUPPORTED));
    MUST(cublasLtMatrixLayoutSetAttribute(w->a.layout, CUBLASLT_MATRIX_LAYOUT_TYPE, &f16, 4));
    MUST(choose(w, &other, CUBLAS_STATUS_SUCCESS));
    MUST(cublasLtMatrixLayoutSetAttribute(w->a.layout, CUBLASLT_MATRIX_LAYOUT_ORDER, &by_rows, 4));
    MUST(choose(w, &other, CUBLAS_STATUS_NOT_SUPPORTED));
    return RIGHT;
}
TEST(what_the_library_refuses_is_refused) { CHECK_RIGHT(run("", refusals, 0)); }

// Memory of the host, or less of the device's than the layout says: an illegal address.
static int illegal(int host) {
    const struct problem p = {
        .in = CUDA_R_32F, .out = CUDA_R_32F, .epilogue = 1, .batch = 1, .alpha = 1};
    struct world *w = &world;
    MUST(world_new(w, &p));
    if (host)
        w->b.device = w->b.host;
    else
        MUST(cudaMalloc(&w->d.device, 13 * 4));
    EXPECT(multiply(w, NULL, 0), CUBLAS_STATUS_EXECUTION_FAILED);
    EXPECT(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    return RIGHT;
}
TEST(products_over_foreign_memory_lose_the_device) {
    CHECK_RIGHT(run("", illegal, 0));
    CHECK_HAS(said, "cublasLtMatmul: D is ");
    CHECK_RIGHT(run("", illegal, 1));
    CHECK_HAS(said, "cublasLtMatmul: B is ");
}

static int without(int expected) {
    cublasLtHandle_t handle = NULL;
    EXPECT(cublasLtCreate(&handle), expected);
    return RIGHT;
}
TEST(a_machine_without_a_driver_has_no_cublaslt) {
    CHECK_RIGHT(run("GPUSIM_DEVICES=0", without, CUBLAS_STATUS_NOT_INITIALIZED));
    CHECK_RIGHT(run("GPUSIM_FAULT=cublasLtCreate:1:3", without, CUBLAS_STATUS_ALLOC_FAILED));
}

TEST_MAIN(UNIT(products_are_the_formula_of_the_manual), UNIT(beta_zero_does_not_read_c),
          UNIT(halves_round_as_the_compiler_rounds), UNIT(what_the_library_refuses_is_refused),
          UNIT(products_over_foreign_memory_lose_the_device),
          UNIT(a_machine_without_a_driver_has_no_cublaslt))
