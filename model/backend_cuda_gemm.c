// model/backend_cuda_gemm.c - the table's gemm: operands in the precision of products, and as much
// of what follows the product as the library does in the same pass. What it does not offer for a
// form is done by kernels around a plain product.
//
// Sums of the rows of op(a), a bias's gradient, are not the library's: the kernel that rounds a
// makes them in its one pass, from values not yet rounded.
#include "model/backend_cuda.h"

#include <math.h>
#include <string.h>

#define ALIGNMENT 16  // bytes, of vectors and rows that an epilogue reads

static bool aligned(const void *memory) { return (uintptr_t)memory % ALIGNMENT == 0; }

// ---- the product and what follows it ----

static cublasLtEpilogue_t gelu_epilogue(const struct model_gemm *a) {
    if (a->activation == MODEL_GELU_BACKWARD) return CUBLASLT_EPILOGUE_DGELU;
    if (a->aux) return a->bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    return a->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

// Whether the rules of the library allow it to do all of `a` in one pass.
static bool may_fuse_gelu(const struct model_backend_cuda *cuda, const struct model_gemm *a) {
    if (!cuda->gelu_fused) return false;
    if (a->activation != MODEL_GELU && a->activation != MODEL_GELU_BACKWARD) return false;
    if (a->activation == MODEL_GELU_BACKWARD && a->bias) return false;
    // aux's rule, with and without it: inference then has the bits of training
    if (a->n % (ALIGNMENT / 2) != 0 || (a->aux && !aligned(a->aux))) return false;
    return !a->bias || aligned(a->bias);
}

static bool finish(struct model_backend_cuda *cuda, const struct model_gemm *a,
                   struct proto_error *error) {
    if (a->activation != MODEL_LINEAR) model_kernel_activate(cuda->stream, a);
    return model_cuda_launched(cuda, "gemm", error);
}

// `a` with its operands in `p`; c has m rows or is NULL.
static bool multiply(struct model_backend_cuda *cuda, const struct model_gemm *a,
                     struct model_cuda_product p, struct proto_error *error) {
    bool offered = false;
    p.c = a->c;
    p.c_stride = a->c_stride;
    p.d = a->d;
    p.d_stride = a->d_stride;
    p.bias = a->bias;
    if (may_fuse_gelu(cuda, a)) {
        p.epilogue = gelu_epilogue(a);
        p.aux = a->aux;
        if (!model_cuda_product(cuda, &p, &offered, error)) return false;
        if (offered) return true;
        p.aux = NULL;
    }
    if (!a->bias || aligned(a->bias)) {
        p.epilogue = a->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
        if (!model_cuda_product(cuda, &p, &offered, error)) return false;
        if (offered) return finish(cuda, a, error);
    }
    if ((a->c && a->c != a->d) || a->bias) {
        model_kernel_prefill(cuda->stream, a);
        p.c = a->d;
        p.c_stride = a->d_stride;
    }
    p.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    p.bias = NULL;
    return model_cuda_product(cuda, &p, NULL, error) && finish(cuda, a, error);
}

// ---- operands ----

// Rows begin..end of a product as a product of its own; c has m rows or is NULL.
static struct model_gemm rows_of(const struct model_gemm *a, size_t begin, size_t end) {
    struct model_gemm part = *a;
    part.m = end - begin;
    part.a += a->transpose_a ? begin : begin * a->a_stride;
    part.d += begin * a->d_stride;
    if (a->c) part.c += begin * a->c_stride;
    if (a->aux) part.aux += begin * a->n;
    if (a->a_sums) part.a_sums += begin;
    return part;
}

// Rows of d whose part of a is rounded at once.
static size_t rows_at_once(const struct model_backend_cuda *cuda, const struct model_gemm *a) {
    const size_t row_bytes = (a->k + 8) * sizeof(uint16_t);
    size_t rows = cuda->left_bytes_max / row_bytes / 8 * 8;
    if (rows < 8) rows = 8;
    return cuda->base.precision == MODEL_F32 || rows > a->m ? a->m : rows;
}

static bool row_sums(struct model_backend_cuda *cuda, const struct model_gemm *a,
                     struct proto_error *error) {
    const size_t bytes = model_kernel_row_sums_partial(a) * sizeof(float);
    float *partial = model_cuda_scratch(cuda, MODEL_CUDA_PARTIAL, bytes, error);
    if (!partial) return false;
    model_kernel_row_sums(cuda->stream, a, partial);
    return model_cuda_launched(cuda, "gemm", error);
}

static bool overlaps(const float *memory, size_t elements, const struct model_cuda_rounded *rows) {
    const uintptr_t begin = (uintptr_t)memory, from = (uintptr_t)rows->x;
    return begin < from + ((rows->rows - 1) * rows->stride + rows->columns) * sizeof(float) &&
           from < begin + elements * sizeof(float);
}

bool model_cuda_gemm(struct model_backend *backend, const struct model_gemm *whole,
                     struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    const struct model_cuda_rounded left = cuda->left;
    struct model_cuda_operand a, b;
    struct model_gemm g = *whole;
    if (!model_cuda_enter(cuda, error)) return false;
    cuda->left = left;
    if (g.c && g.c_rows) {  // a table that repeats is written first
        model_kernel_prefill(cuda->stream, &g);
        g.c = g.d, g.c_stride = g.d_stride, g.c_rows = 0, g.bias = NULL;
    }
    const struct model_cuda_rounded right = {g.b, g.transpose_b ? g.n : g.k,
                                             g.transpose_b ? g.k : g.n, g.b_stride};
    if (!model_cuda_operand(cuda, MODEL_CUDA_RIGHT, &right, NULL, &b, error)) return false;
    const size_t step = rows_at_once(cuda, &g);
    for (size_t row = 0; row < g.m; row += step) {
        const struct model_gemm part = rows_of(&g, row, row + step < g.m ? row + step : g.m);
        const struct model_cuda_rounded rows = {part.a, part.transpose_a ? part.k : part.m,
                                                part.transpose_a ? part.m : part.k, part.a_stride};
        if (!model_cuda_operand(cuda, MODEL_CUDA_LEFT, &rows, part.a_sums, &a, error)) return false;
        const struct model_cuda_product p = {.transpose_a = part.transpose_a,
                                             .transpose_b = part.transpose_b,
                                             .precision = backend->precision,
                                             .m = part.m,
                                             .n = part.n,
                                             .k = part.k,
                                             .items = 1,
                                             .a = a.x,
                                             .b = b.x,
                                             .a_stride = a.stride,
                                             .b_stride = b.stride};
        if (!multiply(cuda, &part, p, error)) return false;
        if (part.a_sums && backend->precision == MODEL_F32 && !row_sums(cuda, &part, error))
            return false;
    }
    // what was written may be what left was made of
    if (cuda->left.x && (overlaps(g.d, (g.m - 1) * g.d_stride + g.n, &cuda->left) ||
                         (g.aux && overlaps(g.aux, g.m * g.n, &cuda->left)) ||
                         (g.a_sums && overlaps(g.a_sums, g.m, &cuda->left))))
        cuda->left.x = NULL;
    return true;
}

// ---- the library's GELU ----

#define CHECK_ROWS 16
#define CHECK_COLUMNS 32
#define CHECK_DEPTH 16
#define CHECK_ELEMENTS (CHECK_ROWS * CHECK_COLUMNS)

// One small product with GELU forward, and one backward, from inputs in device memory `at`; y and
// aux, then dx, to host `out` [3, CHECK_ELEMENTS].
static bool gelu_sample(struct model_backend_cuda *cuda, float *at, float *out,
                        struct proto_error *error) {
    float *x = at, *w = x + CHECK_ROWS * CHECK_DEPTH, *bias = w + CHECK_COLUMNS * CHECK_DEPTH;
    float *y = bias + CHECK_COLUMNS, *aux = y + CHECK_ELEMENTS, *dx = aux + CHECK_ELEMENTS;
    struct model_gemm g = {.transpose_b = true,
                           .m = CHECK_ROWS,
                           .n = CHECK_COLUMNS,
                           .k = CHECK_DEPTH,
                           .a = x,
                           .a_stride = CHECK_DEPTH,
                           .b = w,
                           .b_stride = CHECK_DEPTH,
                           .d = y,
                           .d_stride = CHECK_COLUMNS,
                           .bias = bias,
                           .activation = MODEL_GELU,
                           .aux = aux};
    if (!model_cuda_gemm(&cuda->base, &g, error)) return false;
    g.d = dx;
    g.bias = NULL;
    g.activation = MODEL_GELU_BACKWARD;
    return model_cuda_gemm(&cuda->base, &g, error) &&
           model_cuda_download(&cuda->base, out, y, 3 * CHECK_ELEMENTS * sizeof *out, error);
}

// Between the tanh form, which is ours, and the exact one lie up to 4.7e-4. A library may compute
// tanh by an instruction good for 11 bits: fine where operands have 8 or 11, not in f32.
bool model_cuda_gelu_check(struct model_backend_cuda *cuda, struct proto_error *error) {
    enum { INPUTS = (CHECK_ROWS + CHECK_COLUMNS) * CHECK_DEPTH + CHECK_COLUMNS };
    const double limit = cuda->base.precision == MODEL_F32 ? 1e-5 : 2e-4;
    float inputs[INPUTS], found[2][3 * CHECK_ELEMENTS];
    const size_t bytes = (INPUTS + 3 * CHECK_ELEMENTS) * sizeof(float);
    // exact in every format; sums reach from -6 to 6
    for (size_t i = 0; i < INPUTS; i++) inputs[i] = (float)((int)(i * 37 % 64) - 32) / 32;
    float *at = model_cuda_take(cuda, bytes, "other", error);
    if (!at) return false;
    cuda->gelu_fused = true;
    bool done = model_cuda_upload(&cuda->base, at, inputs, sizeof inputs, error) &&
                gelu_sample(cuda, at, found[0], error);
    cuda->gelu_fused = false;
    done = done && gelu_sample(cuda, at, found[1], error);
    model_cuda_give(cuda, at);
    if (!done) return false;
    cuda->gelu_fused = true;
    for (size_t i = 0; i < 3 * CHECK_ELEMENTS; i++) {
        const double off = fabs((double)found[0][i] - (double)found[1][i]);
        if (!(off <= limit * fmax(1, fabs((double)found[1][i])))) cuda->gelu_fused = false;
    }
    return true;
}
