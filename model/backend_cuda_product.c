// model/backend_cuda_product.c - products on cublasLt. The library counts columns first, so that a
// row-major d = op(a) op(b) is its D = op(B) op(A) with the same memory; its A is our b.
//
// What describes a product and the library's choice of an algorithm are made once per form and kept
// (a plan). Algorithms that add partial results in the order in which they come are not among the
// choices, so that bits repeat. Alignment is told up to 16 bytes only: a form's algorithm must not
// depend on where a buffer happens to lie.
#include "model/backend_cuda.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT_MAX 16

// What a plan is for. Compared as bytes: no gaps, made from zeros.
struct form {
    uint64_t m, n, k, items;
    uint64_t a_stride, b_stride, c_stride, d_stride, a_item, b_item, d_item;
    uint32_t transpose_a, transpose_b, precision, epilogue;
    uint32_t added, in_place;
    uint32_t a_alignment, b_alignment, c_alignment, d_alignment;
};
struct model_cuda_plan {
    struct model_cuda_plan *next;
    struct form form;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c, d;  // in the library's order
    cublasLtMatmulHeuristicResult_t choice;
    bool offered;
};

static bool has_bias(cublasLtEpilogue_t epilogue) {
    return (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
}
static bool has_aux(cublasLtEpilogue_t epilogue) {
    return epilogue == CUBLASLT_EPILOGUE_GELU_AUX || epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS ||
           epilogue == CUBLASLT_EPILOGUE_DGELU;
}

// ---- the library ----

bool model_cuda_plans_open(struct model_backend_cuda *cuda, struct proto_error *error) {
    struct model_cuda_plans *plans = &cuda->plans;
    const size_t workspace = MODEL_CUDA_WORKSPACE_BYTES;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    plans->workspace = model_cuda_take(cuda, workspace, "workspace of products", error);
    return plans->workspace && MODEL_CUDA_BLAS(cuda, cublasLtCreate, &plans->blas) &&
           MODEL_CUDA_BLAS(cuda, cublasLtMatmulPreferenceCreate, &plans->preference) &&
           MODEL_CUDA_BLAS(cuda, cublasLtMatmulPreferenceSetAttribute, plans->preference,
                           CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace,
                           sizeof workspace) &&
           MODEL_CUDA_BLAS(cuda, cublasLtMatmulPreferenceSetAttribute, plans->preference,
                           CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes);
}

static void free_plan(struct model_cuda_plan *plan) {
    cublasLtMatrixLayout_t const layouts[] = {plan->a, plan->b, plan->c, plan->d};
    for (size_t i = 0; i < PROTO_COUNT(layouts); i++)
        if (layouts[i]) (void)cublasLtMatrixLayoutDestroy(layouts[i]);
    if (plan->product) (void)cublasLtMatmulDescDestroy(plan->product);
    free(plan);
}
static void forget_plans(struct model_cuda_plans *plans) {
    for (size_t i = 0; i < MODEL_CUDA_PLAN_LISTS; i++)
        while (plans->lists[i]) {
            struct model_cuda_plan *plan = plans->lists[i];
            plans->lists[i] = plan->next;
            free_plan(plan);
        }
    plans->count = 0;
}
void model_cuda_plans_close(struct model_backend_cuda *cuda) {
    forget_plans(&cuda->plans);
    if (cuda->plans.preference) (void)cublasLtMatmulPreferenceDestroy(cuda->plans.preference);
    if (cuda->plans.blas) (void)cublasLtDestroy(cuda->plans.blas);
    model_cuda_give(cuda, cuda->plans.workspace);
}

// ---- plans ----

static uint32_t alignment_of(const void *memory, size_t item_bytes) {
    const uintptr_t bits = (uintptr_t)memory | item_bytes | ALIGNMENT_MAX;
    return (uint32_t)(bits & ~(bits - 1));
}

static struct form form_of(const struct model_cuda_product *p) {
    const size_t element = p->precision == MODEL_F32 ? sizeof(float) : sizeof(uint16_t);
    struct form form;
    memset(&form, 0, sizeof form);
    form.m = p->m, form.n = p->n, form.k = p->k, form.items = p->items;
    form.a_stride = p->a_stride, form.b_stride = p->b_stride, form.d_stride = p->d_stride;
    form.c_stride = p->c ? p->c_stride : p->d_stride;
    if (p->items > 1) form.a_item = p->a_item, form.b_item = p->b_item, form.d_item = p->d_item;
    form.transpose_a = p->transpose_a, form.transpose_b = p->transpose_b;
    form.precision = p->precision, form.epilogue = p->epilogue;
    form.added = p->c != NULL, form.in_place = p->c == p->d;
    form.a_alignment = alignment_of(p->a, form.a_item * element);
    form.b_alignment = alignment_of(p->b, form.b_item * element);
    form.d_alignment = alignment_of(p->d, form.d_item * sizeof(float));
    form.c_alignment = p->c ? alignment_of(p->c, 0) : form.d_alignment;
    return form;
}

static struct model_cuda_plan **list_of(struct model_cuda_plans *plans, const struct form *form) {
    uint64_t hash = 14695981039346656037u;
    const uint8_t *bytes = (const uint8_t *)form;
    for (size_t i = 0; i < sizeof *form; i++) hash = (hash ^ bytes[i]) * 1099511628211u;
    return &plans->lists[hash >> 32 & (MODEL_CUDA_PLAN_LISTS - 1)];
}

static bool make_layout(struct model_backend_cuda *cuda, cudaDataType_t type, uint64_t rows,
                        uint64_t columns, uint64_t stride, uint64_t items, uint64_t item,
                        cublasLtMatrixLayout_t *layout, struct proto_error *error) {
    const int32_t count = (int32_t)items;
    const int64_t step = (int64_t)item;
    return MODEL_CUDA_BLAS(cuda, cublasLtMatrixLayoutCreate, layout, type, rows, columns,
                           (int64_t)stride) &&
           (items == 1 ||
            (MODEL_CUDA_BLAS(cuda, cublasLtMatrixLayoutSetAttribute, *layout,
                             CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count) &&
             MODEL_CUDA_BLAS(cuda, cublasLtMatrixLayoutSetAttribute, *layout,
                             CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &step, sizeof step)));
}

static bool set(struct model_backend_cuda *cuda, struct model_cuda_plan *plan,
                cublasLtMatmulDescAttributes_t what, const void *value, size_t bytes,
                struct proto_error *error) {
    return MODEL_CUDA_BLAS(cuda, cublasLtMatmulDescSetAttribute, plan->product, what, value, bytes);
}

// What differs from call to call of one form.
static bool set_pointers(struct model_backend_cuda *cuda, struct model_cuda_plan *plan,
                         const struct model_cuda_product *p, struct proto_error *error) {
    return (!has_bias(p->epilogue) ||
            set(cuda, plan, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p->bias, sizeof p->bias, error)) &&
           (!has_aux(p->epilogue) || set(cuda, plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
                                         &p->aux, sizeof p->aux, error));
}

static bool describe(struct model_backend_cuda *cuda, struct model_cuda_plan *plan,
                     const struct model_cuda_product *p, struct proto_error *error) {
    static const cudaDataType_t types[] = {
        [MODEL_F32] = CUDA_R_32F, [MODEL_BF16] = CUDA_R_16BF, [MODEL_FP16] = CUDA_R_16F};
    const struct form *f = &plan->form;
    const int32_t first = p->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t second = p->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const int32_t epilogue = (int32_t)p->epilogue;
    const int64_t aux_stride = (int64_t)p->n;
    const cudaDataType_t type = types[p->precision];
    return MODEL_CUDA_BLAS(cuda, cublasLtMatmulDescCreate, &plan->product, CUBLAS_COMPUTE_32F,
                           CUDA_R_32F) &&
           set(cuda, plan, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first, error) &&
           set(cuda, plan, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second, error) &&
           set(cuda, plan, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue, error) &&
           (!has_aux(p->epilogue) || set(cuda, plan, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD,
                                         &aux_stride, sizeof aux_stride, error)) &&
           set_pointers(cuda, plan, p, error) &&
           make_layout(cuda, type, p->transpose_b ? f->k : f->n, p->transpose_b ? f->n : f->k,
                       f->b_stride, f->items, f->b_item, &plan->a, error) &&
           make_layout(cuda, type, p->transpose_a ? f->m : f->k, p->transpose_a ? f->k : f->m,
                       f->a_stride, f->items, f->a_item, &plan->b, error) &&
           make_layout(cuda, CUDA_R_32F, f->n, f->m, f->c_stride, f->items, f->d_item, &plan->c,
                       error) &&
           make_layout(cuda, CUDA_R_32F, f->n, f->m, f->d_stride, f->items, f->d_item, &plan->d,
                       error);
}

static bool choose(struct model_backend_cuda *cuda, struct model_cuda_plan *plan,
                   struct proto_error *error) {
    const struct form *f = &plan->form;
    const struct {
        cublasLtMatmulPreferenceAttributes_t what;
        uint32_t bytes;
    } rows[] = {
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, f->b_alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, f->a_alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, f->c_alignment},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, f->d_alignment},
    };
    int found = 0;
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (!MODEL_CUDA_BLAS(cuda, cublasLtMatmulPreferenceSetAttribute, cuda->plans.preference,
                             rows[i].what, &rows[i].bytes, sizeof rows[i].bytes))
            return false;
    const cublasStatus_t status =
        cublasLtMatmulAlgoGetHeuristic(cuda->plans.blas, plan->product, plan->a, plan->b, plan->c,
                                       plan->d, cuda->plans.preference, 1, &plan->choice, &found);
    plan->offered =
        status == CUBLAS_STATUS_SUCCESS && found > 0 && plan->choice.state == CUBLAS_STATUS_SUCCESS;
    // these two say that there is none; others, that something is wrong
    return status == CUBLAS_STATUS_NOT_SUPPORTED || status == CUBLAS_STATUS_INVALID_VALUE ||
           model_cuda_check_blas(cuda, status, "cublasLtMatmulAlgoGetHeuristic", error);
}

static struct model_cuda_plan *plan_of(struct model_backend_cuda *cuda,
                                       const struct model_cuda_product *p,
                                       struct proto_error *error) {
    struct model_cuda_plans *plans = &cuda->plans;
    const struct form form = form_of(p);
    struct model_cuda_plan **list = list_of(plans, &form);
    for (struct model_cuda_plan *plan = *list; plan; plan = plan->next)
        if (memcmp(&plan->form, &form, sizeof form) == 0) return plan;
    if (plans->count >= MODEL_CUDA_PLANS_MAX) forget_plans(plans);
    struct model_cuda_plan *plan = proto_alloc(sizeof *plan, error);
    if (!plan) return NULL;
    plan->form = form;
    if (!describe(cuda, plan, p, error) || !choose(cuda, plan, error)) {
        free_plan(plan);
        return NULL;
    }
    plan->next = *list;
    *list = plan;
    plans->count++;
    return plan;
}

bool model_cuda_product(struct model_backend_cuda *cuda, const struct model_cuda_product *p,
                        bool *offered, struct proto_error *error) {
    struct model_cuda_plan *plan = plan_of(cuda, p, error);
    if (!plan) return false;
    if (offered) *offered = plan->offered;
    if (!plan->offered)
        return offered || proto_fail(error, PROTO_FAILED,
                                     "cuda:%u (%s): cublasLt %zu has no algorithm for a product of "
                                     "[%zu, %zu] by [%zu, %zu]",
                                     cuda->number, cuda->device.name, cublasLtGetVersion(), p->m,
                                     p->k, p->k, p->n);
    const float alpha = 1, beta = p->c ? 1 : 0;
    return set_pointers(cuda, plan, p, error) &&
           MODEL_CUDA_BLAS(cuda, cublasLtMatmul, cuda->plans.blas, plan->product, &alpha, p->b,
                           plan->a, p->a, plan->b, &beta, p->c ? p->c : p->d, plan->c, p->d,
                           plan->d, &plan->choice.algo, cuda->plans.workspace,
                           plan->choice.workspaceSize, cuda->stream);
}
