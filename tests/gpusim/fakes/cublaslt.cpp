// tests/gpusim/fakes/cublaslt.cpp - descriptors of cublasLt, what it accepts, and its one function
// that puts work on a stream.
//
// It refuses what the library refuses: an algorithm of another problem, less workspace or alignment
// than the algorithm was chosen for, layouts that do not fit each other.
#include "gpusim/fakes/call.hpp"
#include "gpusim/fakes/product.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

struct cublasLtContext {
    int device;
};

namespace gpusim {

static constexpr size_t workspace_wanted_bytes = size_t(4) << 20;
static constexpr size_t spoilt_bytes = 64 << 10;  // of it, so that nothing else may lie there

struct preference {
    uint64_t workspace_bytes_max;
    uint32_t alignment[4];  // of a, b, c and d
    uint32_t search, reductions;
};
struct algorithm {
    uint64_t problem, workspace_bytes;
    uint32_t alignment[4];
};
static_assert(sizeof(layout) <= sizeof(cublasLtMatrixLayoutOpaque_t), "a layout fits");
static_assert(sizeof(operation) <= sizeof(cublasLtMatmulDescOpaque_t), "an operation fits");
static_assert(sizeof(preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t), "it fits");
static_assert(sizeof(algorithm) <= sizeof(cublasLtMatmulAlgo_t), "an algorithm fits");

// ---- attributes: where each lies in its struct ----

struct attribute {
    int name;
    size_t at, size_bytes;
};
#define AT(name, type, member)                                                                     \
    { name, offsetof(type, member), sizeof(type::member) }

static const attribute operation_attributes[] = {
    AT(CUBLASLT_MATMUL_DESC_COMPUTE_TYPE, operation, compute),
    AT(CUBLASLT_MATMUL_DESC_SCALE_TYPE, operation, scale),
    AT(CUBLASLT_MATMUL_DESC_POINTER_MODE, operation, pointer_mode),
    AT(CUBLASLT_MATMUL_DESC_TRANSA, operation, transpose_a),
    AT(CUBLASLT_MATMUL_DESC_TRANSB, operation, transpose_b),
    AT(CUBLASLT_MATMUL_DESC_TRANSC, operation, transpose_c),
    AT(CUBLASLT_MATMUL_DESC_EPILOGUE, operation, epilogue),
    AT(CUBLASLT_MATMUL_DESC_BIAS_POINTER, operation, bias),
    AT(CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE, operation, bias_stride),
    AT(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operation, aux),
    AT(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, operation, aux_ld),
    AT(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, operation, aux_stride),
    AT(CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET, operation, sm_count),
    AT(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, operation, aux_type),
    AT(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, operation, bias_type),
};
static const attribute layout_attributes[] = {
    AT(CUBLASLT_MATRIX_LAYOUT_TYPE, layout, type),
    AT(CUBLASLT_MATRIX_LAYOUT_ORDER, layout, order),
    AT(CUBLASLT_MATRIX_LAYOUT_ROWS, layout, rows),
    AT(CUBLASLT_MATRIX_LAYOUT_COLS, layout, columns),
    AT(CUBLASLT_MATRIX_LAYOUT_LD, layout, ld),
    AT(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, layout, batch),
    AT(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, layout, stride),
};
static const attribute preference_attributes[] = {
    AT(CUBLASLT_MATMUL_PREF_SEARCH_MODE, preference, search),
    AT(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, preference, workspace_bytes_max),
    AT(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, preference, reductions),
    AT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, preference, alignment[0]),
    AT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, preference, alignment[1]),
    AT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, preference, alignment[2]),
    AT(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, preference, alignment[3]),
};

template <size_t N>
static cublasStatus_t set(const attribute (&rows)[N], void *object, int name, const void *value,
                          size_t size_bytes) {
    if (!object || !value) return CUBLAS_STATUS_INVALID_VALUE;
    for (const attribute &row : rows) {
        if (row.name != name) continue;
        if (row.size_bytes != size_bytes) return CUBLAS_STATUS_INVALID_VALUE;
        memcpy(static_cast<char *>(object) + row.at, value, size_bytes);
        return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

template <typename Opaque, typename Inside>
static cublasStatus_t create(Opaque **object, const Inside &inside) {
    if (!object) return CUBLAS_STATUS_INVALID_VALUE;
    *object = new Opaque{};
    memcpy(*object, &inside, sizeof inside);
    return CUBLAS_STATUS_SUCCESS;
}
template <typename Inside, typename Opaque> static Inside inside_of(const Opaque *object) {
    Inside inside = {};
    memcpy(&inside, object, sizeof inside);
    return inside;
}

// ---- what is accepted ----

static bool is_epilogue(uint32_t epilogue) {
    static const uint32_t all[] = {
        CUBLASLT_EPILOGUE_DEFAULT,       CUBLASLT_EPILOGUE_RELU,        CUBLASLT_EPILOGUE_BIAS,
        CUBLASLT_EPILOGUE_RELU_BIAS,     CUBLASLT_EPILOGUE_GELU,        CUBLASLT_EPILOGUE_GELU_BIAS,
        CUBLASLT_EPILOGUE_GELU_AUX,      CUBLASLT_EPILOGUE_DGELU,       CUBLASLT_EPILOGUE_BGRADA,
        CUBLASLT_EPILOGUE_GELU_AUX_BIAS, CUBLASLT_EPILOGUE_DGELU_BGRAD, CUBLASLT_EPILOGUE_BGRADB,
    };
    for (const uint32_t e : all)
        if (e == epilogue) return true;
    return false;
}

static bool types_fit(const product &p) {
    const int32_t a = p.a_layout.type, d = p.d_layout.type;
    if (p.b_layout.type != a || p.c_layout.type != d) return false;
    if (a != CUDA_R_32F && a != CUDA_R_16F && a != CUDA_R_16BF) return false;
    if (d != CUDA_R_32F && d != a) return false;
    const bool plain =
        p.op.compute == CUBLAS_COMPUTE_32F || p.op.compute == CUBLAS_COMPUTE_32F_PEDANTIC;
    const bool fast = p.op.compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                      p.op.compute == CUBLAS_COMPUTE_32F_FAST_16F ||
                      p.op.compute == CUBLAS_COMPUTE_32F_FAST_16BF;
    return p.op.scale == CUDA_R_32F && (plain || (fast && a == CUDA_R_32F));
}

static bool is_layout(const layout &l, int32_t batch) {
    return l.rows > 0 && l.columns > 0 && l.ld >= int64_t(l.rows) && l.batch == batch &&
           l.stride >= 0;
}
static bool shapes_fit(const product &p) {
    const layout &a = p.a_layout, &b = p.b_layout, &c = p.c_layout, &d = p.d_layout;
    for (const layout *l : {&a, &b, &c, &d})
        if (!is_layout(*l, d.batch)) return false;
    const bool ta = p.op.transpose_a != CUBLAS_OP_N, tb = p.op.transpose_b != CUBLAS_OP_N;
    return (ta ? a.columns : a.rows) == d.rows && (tb ? b.rows : b.columns) == d.columns &&
           (ta ? a.rows : a.columns) == (tb ? b.columns : b.rows) && c.rows == d.rows &&
           c.columns == d.columns && (d.batch == 1 || size_t(d.stride) >= d.rows);
}

static cublasStatus_t judge(const product &p) {
    if (!shapes_fit(p)) return CUBLAS_STATUS_INVALID_VALUE;
    for (const layout *l : {&p.a_layout, &p.b_layout, &p.c_layout, &p.d_layout})
        if (l->order != CUBLASLT_ORDER_COL) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (!types_fit(p) || !is_epilogue(p.op.epilogue)) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (p.op.pointer_mode != CUBLASLT_POINTER_MODE_HOST || p.op.transpose_c != CUBLAS_OP_N)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    const bool aux = (p.op.epilogue & 128) != 0;
    if (aux && (p.op.aux_ld % 8 != 0 || p.op.aux_ld < int64_t(p.d_layout.rows) ||
                p.op.aux_stride % 8 != 0))
        return CUBLAS_STATUS_INVALID_VALUE;
    if (aux && aux_type_of(p) != p.d_layout.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (bias_type_of(p) != p.d_layout.type) return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
}

// A number that differs between problems that an algorithm could be told apart by.
static uint64_t problem_of(const product &p) {
    uint64_t hash = 14695981039346656037u;
    const auto add = [&](uint64_t value) { hash = (hash ^ value) * 1099511628211u; };
    for (const layout *l : {&p.a_layout, &p.b_layout, &p.c_layout, &p.d_layout}) {
        add(uint64_t(l->type));
        add(l->rows);
        add(l->columns);
        add(uint64_t(l->ld));
        add(uint64_t(l->batch));
    }
    add(uint64_t(p.op.compute));
    add(uint64_t(p.op.transpose_a) * 4 + uint64_t(p.op.transpose_b));
    add(p.op.epilogue);
    return hash;
}

static bool aligned(const void *address, uint32_t bytes) {
    return bytes == 0 || reinterpret_cast<uintptr_t>(address) % bytes == 0;
}

static cublasStatus_t check_algorithm(const product &p, const algorithm &algo, void *workspace,
                                      size_t workspace_bytes) {
    if (algo.problem != problem_of(p)) return CUBLAS_STATUS_INVALID_VALUE;
    if (workspace_bytes < algo.workspace_bytes) return CUBLAS_STATUS_INVALID_VALUE;
    if (algo.workspace_bytes > 0 && (!workspace || !aligned(workspace, 256)))
        return CUBLAS_STATUS_INVALID_VALUE;
    const void *operands[] = {p.a, p.b, p.c, p.d};
    for (int i = 0; i < 4; i++)
        if (!aligned(operands[i], algo.alignment[i])) return CUBLAS_STATUS_INVALID_VALUE;
    return CUBLAS_STATUS_SUCCESS;
}

// Everything that the product reads or writes is memory of this device, or pinned.
static bool reachable(const char *name, const void *address, size_t size_bytes, int device) {
    const allocation *a = device_find(address);
    if (!a && pinned_find(address)) return true;
    if (a && a->device == device && device_holds(address, size_bytes)) return true;
    fprintf(stderr, "gpusim: cublasLtMatmul: %s is %zu bytes at %p: not all memory of device %d\n",
            name, size_bytes, address, device);
    return false;
}
static bool all_reachable(const product &p, int device) {
    const layout &d = p.d_layout;
    const auto batches = size_t(d.batch - 1);
    bool all = reachable("A", p.a, layout_bytes(p.a_layout), device) &&
               reachable("B", p.b, layout_bytes(p.b_layout), device) &&
               reachable("D", p.d, layout_bytes(d), device);
    if (p.beta != 0) all = all && reachable("C", p.c, layout_bytes(p.c_layout), device);
    const size_t bias = bias_elements(p);
    if (bias > 0)
        all = all && reachable("the bias", p.op.bias,
                               (batches * size_t(p.op.bias_stride) + bias) *
                                   element_bytes(bias_type_of(p)),
                               device);
    const size_t aux =
        batches * size_t(p.op.aux_stride) + size_t(p.op.aux_ld) * (d.columns - 1) + d.rows;
    if ((p.op.epilogue & 128) != 0)
        all = all && reachable("AUX", p.op.aux, aux * element_bytes(aux_type_of(p)), device);
    return all;
}

template <typename Body> static cublasStatus_t lt_called(const char *function, Body body) {
    if (in_host_function()) return CUBLAS_STATUS_INTERNAL_ERROR;
    world_lock lock = take_world();
    if (obstacle() != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
    const int fault = planned_fault(function, current_device());
    if (fault != 0) return cublasStatus_t(fault);
    if (device_lost(current_device()) != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
    return body();
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *lightHandle) {
    return lt_called("cublasLtCreate", [&] {
        if (!lightHandle) return CUBLAS_STATUS_INVALID_VALUE;
        *lightHandle = new cublasLtContext{current_device()};
        return CUBLAS_STATUS_SUCCESS;
    });
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t lightHandle) {
    delete lightHandle;
    return CUBLAS_STATUS_SUCCESS;
}
size_t cublasLtGetVersion(void) { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion(void) { return CUDART_VERSION; }

static const struct {
    cublasStatus_t status;
    const char *name, *text;
} statuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED",
     "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE",
     "an invalid value was used as an argument"},
    {CUBLAS_STATUS_ARCH_MISMATCH, "CUBLAS_STATUS_ARCH_MISMATCH",
     "an absent device architectural feature is required"},
    {CUBLAS_STATUS_MAPPING_ERROR, "CUBLAS_STATUS_MAPPING_ERROR",
     "an access to GPU memory space failed"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED",
     "the function failed to launch on the GPU"},
    {CUBLAS_STATUS_INTERNAL_ERROR, "CUBLAS_STATUS_INTERNAL_ERROR", "an internal operation failed"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED",
     "the functionality requested is not supported"},
    {CUBLAS_STATUS_LICENSE_ERROR, "CUBLAS_STATUS_LICENSE_ERROR", "an error occurred"},
};
const char *cublasLtGetStatusName(cublasStatus_t status) {
    for (const auto &row : statuses)
        if (row.status == status) return row.name;
    return "UNKNOWN";
}
const char *cublasLtGetStatusString(cublasStatus_t status) {
    for (const auto &row : statuses)
        if (row.status == status) return row.text;
    return "unknown";
}

// ---- descriptors ----

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *matmulDesc,
                                        cublasComputeType_t computeType, cudaDataType_t scaleType) {
    operation op = {};
    op.compute = computeType;
    op.scale = scaleType;
    op.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    op.aux_type = op.bias_type = -1;
    return create(matmulDesc, op);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t matmulDesc) {
    delete matmulDesc;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t matmulDesc,
                                              cublasLtMatmulDescAttributes_t attr, const void *buf,
                                              size_t sizeInBytes) {
    return set(operation_attributes, matmulDesc, attr, buf, sizeInBytes);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *matLayout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t ld) {
    return create(matLayout, layout{type, CUBLASLT_ORDER_COL, rows, cols, ld, 1, 0});
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t matLayout) {
    delete matLayout;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t matLayout,
                                                cublasLtMatrixLayoutAttribute_t attr,
                                                const void *buf, size_t sizeInBytes) {
    return set(layout_attributes, matLayout, attr, buf, sizeInBytes);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *pref) {
    return create(pref, preference{0, {256, 256, 256, 256}, 0, 7});
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t pref) {
    delete pref;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref,
                                                    cublasLtMatmulPreferenceAttributes_t attr,
                                                    const void *buf, size_t sizeInBytes) {
    return set(preference_attributes, pref, attr, buf, sizeInBytes);
}

// ---- products ----

static product read_product(cublasLtMatmulDesc_t op, cublasLtMatrixLayout_t a,
                            cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                            cublasLtMatrixLayout_t d) {
    product p = {};
    p.op = inside_of<operation>(op);
    p.a_layout = inside_of<layout>(a);
    p.b_layout = inside_of<layout>(b);
    p.c_layout = inside_of<layout>(c);
    p.d_layout = inside_of<layout>(d);
    return p;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t operationDesc, cublasLtMatrixLayout_t Adesc,
    cublasLtMatrixLayout_t Bdesc, cublasLtMatrixLayout_t Cdesc, cublasLtMatrixLayout_t Ddesc,
    cublasLtMatmulPreference_t pref, int requestedAlgoCount,
    cublasLtMatmulHeuristicResult_t heuristicResultsArray[], int *returnAlgoCount) {
    if (returnAlgoCount) *returnAlgoCount = 0;
    return lt_called("cublasLtMatmulAlgoGetHeuristic", [&] {
        if (!lightHandle || !operationDesc || !Adesc || !Bdesc || !Cdesc || !Ddesc || !pref)
            return CUBLAS_STATUS_INVALID_VALUE;
        if (requestedAlgoCount < 1 || !heuristicResultsArray || !returnAlgoCount)
            return CUBLAS_STATUS_INVALID_VALUE;
        const product p = read_product(operationDesc, Adesc, Bdesc, Cdesc, Ddesc);
        const cublasStatus_t status = judge(p);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
        const auto wishes = inside_of<preference>(pref);
        algorithm algo = {problem_of(p), workspace_wanted_bytes, {}};
        if (algo.workspace_bytes > wishes.workspace_bytes_max)
            algo.workspace_bytes = wishes.workspace_bytes_max;
        memcpy(algo.alignment, wishes.alignment, sizeof algo.alignment);
        cublasLtMatmulHeuristicResult_t &result = heuristicResultsArray[0];
        result = {};
        memcpy(&result.algo, &algo, sizeof algo);
        result.workspaceSize = algo.workspace_bytes;
        result.state = CUBLAS_STATUS_SUCCESS;
        result.wavesCount = 1;
        *returnAlgoCount = 1;
        return CUBLAS_STATUS_SUCCESS;
    });
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t lightHandle, cublasLtMatmulDesc_t computeDesc,
                              const void *alpha, const void *A, cublasLtMatrixLayout_t Adesc,
                              const void *B, cublasLtMatrixLayout_t Bdesc, const void *beta,
                              const void *C, cublasLtMatrixLayout_t Cdesc, void *D,
                              cublasLtMatrixLayout_t Ddesc, const cublasLtMatmulAlgo_t *algo,
                              void *workspace, size_t workspaceSizeInBytes, cudaStream_t handle) {
    return lt_called("cublasLtMatmul", [&] {
        if (!lightHandle || !computeDesc || !alpha || !beta || !A || !B || !C || !D || !Adesc ||
            !Bdesc || !Cdesc || !Ddesc)
            return CUBLAS_STATUS_INVALID_VALUE;
        CUstream_st *stream = stream_find(handle, current_device());
        if (!stream || lightHandle->device != stream_device(stream))
            return CUBLAS_STATUS_INVALID_VALUE;
        product p = read_product(computeDesc, Adesc, Bdesc, Cdesc, Ddesc);
        p.a = A;
        p.b = B;
        p.c = C;
        p.d = D;
        memcpy(&p.alpha, alpha, sizeof p.alpha);
        memcpy(&p.beta, beta, sizeof p.beta);
        cublasStatus_t status = judge(p);
        const size_t scratch = algo ? inside_of<algorithm>(algo).workspace_bytes : 0;
        if (status == CUBLAS_STATUS_SUCCESS && algo)
            status =
                check_algorithm(p, inside_of<algorithm>(algo), workspace, workspaceSizeInBytes);
        if (status != CUBLAS_STATUS_SUCCESS) return status;
        const int device = stream_device(stream);
        if (!all_reachable(p, device) ||
            (scratch > 0 && !reachable("the workspace", workspace, scratch, device))) {
            device_lose(device, cudaErrorIllegalAddress);
            return CUBLAS_STATUS_EXECUTION_FAILED;
        }
        stream_put(stream, "cublasLtMatmul", [=] {
            if (scratch > 0) memset(workspace, 0xff, std::min(scratch, spoilt_bytes));
            make(p);
            return true;
        });
        return CUBLAS_STATUS_SUCCESS;
    });
}

}  // extern "C"
