// model/backend_cuda.h - inside the CUDA module: the backend's state, and what its parts offer each
// other. One GPU, one stream; every operation puts its work there and returns.
//
// Products go to cublasLt, everything else to the kernels of model/kernels.h. Nothing here depends
// on timing: the same shapes give the same launches, and sums have a fixed order.
#ifndef MODEL_BACKEND_CUDA_H
#define MODEL_BACKEND_CUDA_H

#include "model/backend_cuda_module.h"
#include "model/kernels.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>

struct model_backend_cuda;

// ---- errors ----

// PROTO_FAILED unless status is cudaSuccess, naming the device, the call and what the library says.
PROTO_MUST_CHECK bool model_cuda_check(const struct model_backend_cuda *cuda, cudaError_t status,
                                       const char *call, struct proto_error *error);
PROTO_MUST_CHECK bool model_cuda_check_blas(const struct model_backend_cuda *cuda,
                                            cublasStatus_t status, const char *call,
                                            struct proto_error *error);
// cudaMemcpyAsync(...): its name is in the text.
#define MODEL_CUDA(cuda, call, ...) model_cuda_check(cuda, call(__VA_ARGS__), #call, error)
#define MODEL_CUDA_BLAS(cuda, call, ...)                                                           \
    model_cuda_check_blas(cuda, call(__VA_ARGS__), #call, error)

// PROTO_MISSING, saying what is wrong with driver or devices; backend_cuda_device.c.
PROTO_MUST_CHECK bool model_cuda_describe(struct model_cuda_devices *devices,
                                          struct proto_error *error);
// The same for one number, which is of a device that these kernels run on.
PROTO_MUST_CHECK bool model_cuda_choose(uint32_t number, struct model_cuda_devices *devices,
                                        struct proto_error *error);

// ---- memory: backend_cuda_memory.c ----

struct model_cuda_holding {
    void *memory;
    size_t bytes;
    const char *purpose;
};
struct model_cuda_holdings {
    struct model_cuda_holding *items;
    size_t count, room;
};
// Device memory that is in the account; PROTO_EXHAUSTED with what holds the rest.
PROTO_MUST_CHECK void *model_cuda_take(struct model_backend_cuda *cuda, size_t bytes,
                                       const char *purpose, struct proto_error *error);
void model_cuda_give(struct model_backend_cuda *cuda, void *memory);  // accepts NULL

// Scratch of one kind of use, which grows when a shape needs more than any before. What is in it
// lasts until the next operation.
enum model_cuda_scratch {
    MODEL_CUDA_LEFT,       // a product's a, rounded
    MODEL_CUDA_RIGHT,      // its b
    MODEL_CUDA_PARTIAL,    // partial sums
    MODEL_CUDA_ATTENTION,  // heads and scores of a part of an attention
    MODEL_CUDA_SCRATCHES,
};
PROTO_MUST_CHECK void *model_cuda_scratch(struct model_backend_cuda *cuda,
                                          enum model_cuda_scratch kind, size_t bytes,
                                          struct proto_error *error);

bool model_cuda_memory(struct model_backend *backend, struct model_backend_memory *memory,
                       struct proto_error *error);
void *model_cuda_alloc(struct model_backend *backend, size_t size_bytes, struct proto_error *error);
void model_cuda_free(struct model_backend *backend, void *memory);

// ---- moving: backend_cuda_moves.c ----

// A piece on its way: host memory that the device reads by itself, and its place on the device, so
// that the way over the bus needs no turn in the stream.
#define MODEL_CUDA_SLOTS 16
#define MODEL_CUDA_PIECE_BYTES ((size_t)4 << 20)
struct model_cuda_slot {
    void *host, *device;
    size_t bytes;
    cudaEvent_t moved;  // host may be written again
    cudaEvent_t taken;  // device may be written again
};
PROTO_MUST_CHECK bool model_cuda_slots_open(struct model_backend_cuda *cuda,
                                            struct proto_error *error);
void model_cuda_slots_close(struct model_backend_cuda *cuda);
bool model_cuda_upload(struct model_backend *backend, void *device, const void *host,
                       size_t size_bytes, struct proto_error *error);
bool model_cuda_download(struct model_backend *backend, void *host, const void *device,
                         size_t size_bytes, struct proto_error *error);
bool model_cuda_copy(struct model_backend *backend, void *to, const void *from, size_t size_bytes,
                     struct proto_error *error);
bool model_cuda_fill(struct model_backend *backend, void *device, uint8_t value, size_t size_bytes,
                     struct proto_error *error);
bool model_cuda_wait(struct model_backend *backend, struct proto_error *error);
bool model_cuda_last(struct model_backend *backend, struct proto_error *error);

// ---- copies beside the stream, of another thread: backend_cuda_copies.c ----

bool model_cuda_copies_open(struct model_backend *backend, struct model_copies **copies,
                            struct proto_error *error);

// ---- numbers of 16 bits: backend_cuda_rounding.c ----

struct model_cuda_parameters {
    const float *memory;
    size_t elements;
    uint16_t *rounded;  // NULL in MODEL_F32
};
#define MODEL_CUDA_PARAMETERS_MAX 8
// The rows that MODEL_CUDA_LEFT holds: a gradient is read by two products, one after the other.
struct model_cuda_rounded {
    const float *x;
    size_t rows, columns, stride;
};
// A matrix of a product in the backend's precision: its parameters' copy, or rounded into scratch.
struct model_cuda_operand {
    const void *x;
    size_t stride;
};
PROTO_MUST_CHECK bool model_cuda_operand(struct model_backend_cuda *cuda,
                                         enum model_cuda_scratch kind,
                                         const struct model_cuda_rounded *from, float *sums,
                                         struct model_cuda_operand *operand,
                                         struct proto_error *error);
// Where parameters at `memory`[elements] have their copy; NULL: they have none.
uint16_t *model_cuda_copy_of(const struct model_backend_cuda *cuda, const float *memory,
                             size_t elements);
// After something was written to bytes of memory: the copies of parameters there.
PROTO_MUST_CHECK bool model_cuda_renew(struct model_backend_cuda *cuda, const void *memory,
                                       size_t bytes, struct proto_error *error);
void model_cuda_parameters_forget(struct model_backend_cuda *cuda, const void *memory,
                                  size_t bytes);
bool model_cuda_precision(struct model_backend *backend, enum model_precision precision,
                          struct proto_error *error);
bool model_cuda_parameters(struct model_backend *backend, const float *memory, size_t elements,
                           struct proto_error *error);

// ---- products: backend_cuda_product.c ----

// d = epilogue(op(a) op(b) + c), row-major, `items` of them.
struct model_cuda_product {
    bool transpose_a, transpose_b;
    enum model_precision precision;  // of a and b
    size_t m, n, k, items;
    const void *a, *b;
    size_t a_stride, b_stride;  // in elements, as all here
    size_t a_item, b_item;      // from one to the next
    const float *c;             // nullable; for one item
    size_t c_stride;
    float *d;
    size_t d_stride, d_item;
    cublasLtEpilogue_t epilogue;
    const float *bias;  // nullable [n]
    float *aux;         // nullable [m, n]
};
struct model_cuda_plan;
#define MODEL_CUDA_PLAN_LISTS 256
#define MODEL_CUDA_PLANS_MAX 4096
struct model_cuda_plans {
    cublasLtHandle_t blas;
    cublasLtMatmulPreference_t preference;
    void *workspace;
    struct model_cuda_plan *lists[MODEL_CUDA_PLAN_LISTS];
    size_t count;
};
#define MODEL_CUDA_WORKSPACE_BYTES ((size_t)32 << 20)
PROTO_MUST_CHECK bool model_cuda_plans_open(struct model_backend_cuda *cuda,
                                            struct proto_error *error);
void model_cuda_plans_close(struct model_backend_cuda *cuda);
// *offered false: the library has no algorithm for this form, and nothing was done. NULL: that is
// an error.
PROTO_MUST_CHECK bool model_cuda_product(struct model_backend_cuda *cuda,
                                         const struct model_cuda_product *p, bool *offered,
                                         struct proto_error *error);

// ---- operations ----

bool model_cuda_gemm(struct model_backend *backend, const struct model_gemm *a,
                     struct proto_error *error);
// Whether the library's fused GELU is ours; sets gelu_fused. Of the backend's precision.
PROTO_MUST_CHECK bool model_cuda_gelu_check(struct model_backend_cuda *cuda,
                                            struct proto_error *error);
size_t model_cuda_attention_saved(size_t batch, size_t heads, size_t queries, size_t keys,
                                  size_t head_width);
bool model_cuda_attention(struct model_backend *backend, const struct model_attention *a,
                          struct proto_error *error);
bool model_cuda_attention_backward(struct model_backend *backend,
                                   const struct model_attention_backward *a,
                                   struct proto_error *error);

// ---- the backend ----

struct model_backend_cuda {
    struct model_backend base;
    uint32_t number;
    struct model_cuda_device device;
    cudaStream_t stream;  // every operation
    cudaStream_t bus;     // uploads, until they are on the device
    cudaEvent_t reached;  // of wait
    struct model_cuda_holdings holdings;
    struct {
        void *memory;
        size_t bytes;
    } scratch[MODEL_CUDA_SCRATCHES];
    struct model_cuda_slot slots[MODEL_CUDA_SLOTS];
    size_t slot;  // the next
    struct model_cuda_plans plans;
    struct model_cuda_parameters parameters[MODEL_CUDA_PARAMETERS_MAX];
    struct model_cuda_rounded left;  // x NULL: nothing that may be used again
    bool gelu_fused;
    size_t left_bytes_max;    // a product's a is rounded in parts of this
    size_t scores_bytes_max;  // an attention's scores are made in parts of this
};
static inline struct model_backend_cuda *model_cuda_of(struct model_backend *backend) {
    return (struct model_backend_cuda *)backend;
}
// Begins an operation: on this thread the device is this one, and left is forgotten.
PROTO_MUST_CHECK bool model_cuda_enter(struct model_backend_cuda *cuda, struct proto_error *error);
// Ends one: its launches were accepted.
PROTO_MUST_CHECK bool model_cuda_launched(struct model_backend_cuda *cuda, const char *operation,
                                          struct proto_error *error);

#endif
