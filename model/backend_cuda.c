// model/backend_cuda.c - opening a GPU, the table, and the operations that are a kernel or two. The
// CUDA module's one exported function is here.
#include "model/backend_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEFT_BYTES_MAX ((size_t)256 << 20)
// Scores of a part should still be in the cache (50 MB on an H100) when the next kernel reads them.
#define SCORES_BYTES_MAX ((size_t)64 << 20)

// ---- begin and end of an operation ----

bool model_cuda_enter(struct model_backend_cuda *cuda, struct proto_error *error) {
    cuda->left.x = NULL;
    return MODEL_CUDA(cuda, cudaSetDevice, (int)cuda->number);
}
bool model_cuda_launched(struct model_backend_cuda *cuda, const char *operation,
                         struct proto_error *error) {
    return model_cuda_check(cuda, cudaGetLastError(), operation, error);
}

// ---- operations ----

#define DEFINE_KERNEL(name)                                                                        \
    static bool cuda_##name(struct model_backend *backend, const struct model_##name *a,           \
                            struct proto_error *error) {                                           \
        struct model_backend_cuda *cuda = model_cuda_of(backend);                                  \
        if (!model_cuda_enter(cuda, error)) return false;                                          \
        model_kernel_##name(cuda->stream, a);                                                      \
        return model_cuda_launched(cuda, #name, error);                                            \
    }
DEFINE_KERNEL(norm)
DEFINE_KERNEL(sinusoid)
DEFINE_KERNEL(tokens)
DEFINE_KERNEL(concat)
DEFINE_KERNEL(concat_backward)
DEFINE_KERNEL(sum_batch)
DEFINE_KERNEL(axpby)
DEFINE_KERNEL(combine)
DEFINE_KERNEL(mask_rows)
DEFINE_KERNEL(patches)

#define DEFINE_SUM(name, type, count)                                                              \
    static bool cuda_##name(struct model_backend *backend, const struct model_##name *a,           \
                            struct proto_error *error) {                                           \
        struct model_backend_cuda *cuda = model_cuda_of(backend);                                  \
        type *partial =                                                                            \
            model_cuda_scratch(cuda, MODEL_CUDA_PARTIAL, (count) * sizeof *partial, error);        \
        if (!partial || !model_cuda_enter(cuda, error)) return false;                              \
        model_kernel_##name(cuda->stream, a, partial);                                             \
        return model_cuda_launched(cuda, #name, error);                                            \
    }
DEFINE_SUM(norm_backward, float, model_kernel_norm_backward_partial(a))
DEFINE_SUM(mse, double, model_kernel_sums_partial(a->n))
DEFINE_SUM(sum_squares, double, model_kernel_sums_partial(a->n))

// Parameters and their rounded copy in one pass.
static bool cuda_adamw(struct model_backend *backend, const struct model_adamw *a,
                       struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    const size_t bytes = a->n * sizeof(float);
    if (!model_cuda_enter(cuda, error)) return false;
    uint16_t *rounded = model_cuda_copy_of(cuda, a->p, a->n);
    model_kernel_adamw(cuda->stream, a, backend->precision, rounded);
    return model_cuda_launched(cuda, "adamw", error) &&
           (rounded || model_cuda_renew(cuda, a->p, bytes, error)) &&
           (!a->ema || model_cuda_renew(cuda, a->ema, bytes, error));
}

// ---- open and close ----

static struct CUstream_st *cuda_stream(struct model_backend *backend) {
    return model_cuda_of(backend)->stream;
}

static void cuda_close(struct model_backend *backend) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    (void)cudaSetDevice((int)cuda->number);
    if (cuda->bus) (void)cudaStreamSynchronize(cuda->bus);
    if (cuda->stream) (void)cudaStreamSynchronize(cuda->stream);
    model_cuda_slots_close(cuda);
    model_cuda_plans_close(cuda);
    while (cuda->holdings.count > 0)
        model_cuda_give(cuda, cuda->holdings.items[cuda->holdings.count - 1].memory);
    free(cuda->holdings.items);
    if (cuda->reached) (void)cudaEventDestroy(cuda->reached);
    if (cuda->bus) (void)cudaStreamDestroy(cuda->bus);
    if (cuda->stream) (void)cudaStreamDestroy(cuda->stream);
    free(cuda);
}

static const struct model_ops model_ops_cuda = {
    .name = "cuda",
    .close = cuda_close,
    .alloc = model_cuda_alloc,
    .free = model_cuda_free,
    .upload = model_cuda_upload,
    .download = model_cuda_download,
    .copy = model_cuda_copy,
    .fill = model_cuda_fill,
    .wait = model_cuda_wait,
    .last = model_cuda_last,
    .memory = model_cuda_memory,
    .precision = model_cuda_precision,
    .parameters = model_cuda_parameters,
    .stream = cuda_stream,
    .copies_open = model_cuda_copies_open,
    .attention_saved = model_cuda_attention_saved,
    .gemm = model_cuda_gemm,
    .norm = cuda_norm,
    .norm_backward = cuda_norm_backward,
    .attention = model_cuda_attention,
    .attention_backward = model_cuda_attention_backward,
    .sinusoid = cuda_sinusoid,
    .tokens = cuda_tokens,
    .concat = cuda_concat,
    .concat_backward = cuda_concat_backward,
    .sum_batch = cuda_sum_batch,
    .mse = cuda_mse,
    .adamw = cuda_adamw,
    .sum_squares = cuda_sum_squares,
    .axpby = cuda_axpby,
    .combine = cuda_combine,
    .mask_rows = cuda_mask_rows,
    .patches = cuda_patches,
};

static bool start(struct model_backend_cuda *cuda, struct proto_error *error) {
    return model_cuda_enter(cuda, error) &&
           MODEL_CUDA(cuda, cudaStreamCreateWithFlags, &cuda->stream, cudaStreamNonBlocking) &&
           MODEL_CUDA(cuda, cudaStreamCreateWithFlags, &cuda->bus, cudaStreamNonBlocking) &&
           MODEL_CUDA(cuda, cudaEventCreateWithFlags, &cuda->reached,
                      cudaEventDisableTiming | cudaEventBlockingSync) &&
           model_cuda_slots_open(cuda, error) && model_cuda_plans_open(cuda, error) &&
           model_cuda_gelu_check(cuda, error);
}

static bool cuda_open(uint32_t number, struct model_backend **backend, struct proto_error *error) {
    struct model_cuda_devices *devices = proto_alloc(sizeof *devices, error);
    struct model_backend_cuda *cuda = proto_alloc(sizeof *cuda, error);
    if (!devices || !cuda || !model_cuda_choose(number, devices, error)) {
        free(devices);
        free(cuda);
        return false;
    }
    cuda->base.ops = &model_ops_cuda;
    cuda->base.threads = 1;  // on the host
    cuda->number = number;
    cuda->device = devices->items[number];
    cuda->left_bytes_max = LEFT_BYTES_MAX;
    cuda->scores_bytes_max = SCORES_BYTES_MAX;
    const unsigned major = (unsigned)(devices->cublas / 10000);
    const unsigned minor = (unsigned)(devices->cublas / 100 % 100);
    snprintf(cuda->base.kernels, sizeof cuda->base.kernels, "%.44s+cublas%u.%u", cuda->device.name,
             major, minor);
    free(devices);
    if (!start(cuda, error)) {
        cuda_close(&cuda->base);
        return false;
    }
    *backend = &cuda->base;
    return true;
}

// ---- the module ----

static const struct model_cuda_module cuda_module = {.version = MODEL_CUDA_MODULE_VERSION,
                                                     .ops_bytes = sizeof(struct model_ops),
                                                     .built = PIPELINE_VERSION,
                                                     .describe = model_cuda_describe,
                                                     .open = cuda_open};

__attribute__((visibility("default"))) const struct model_cuda_module *pipeline_cuda_module(void) {
    return &cuda_module;
}
