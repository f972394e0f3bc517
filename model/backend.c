// model/backend.c - opening a device, and the launchers: one per operation, for every backend. They
// check shapes, because past them a device writes where it is told.
#include "model/backend_cpu.h"
#include "model/backend_cuda_module.h"
#include "proto/module.h"

#include <assert.h>
#include <string.h>

bool model_cuda_module_open(const struct model_cuda_module **module, struct proto_error *error) {
    void *found = NULL;
    if (!proto_module_open("cuda", MODEL_CUDA_MODULE_SYMBOL, &found, error)) return false;
    model_cuda_module_entry *entry = NULL;
    static_assert(sizeof entry == sizeof found, "a function's address fits a pointer");
    memcpy(&entry, &found, sizeof entry);
    *module = entry();
    if ((*module)->version == MODEL_CUDA_MODULE_VERSION &&
        (*module)->ops_bytes == sizeof(struct model_ops))
        return true;
    return proto_fail(error, PROTO_MISSING,
                      "the CUDA module is of another build (version %u of its interface, this "
                      "program has %d): build and install both together",
                      (*module)->version, MODEL_CUDA_MODULE_VERSION);
}

// The N of "cuda:N".
static bool cuda_number(const char *device, uint32_t *number) {
    static const char prefix[] = "cuda:";
    if (strncmp(device, prefix, sizeof prefix - 1) != 0) return false;
    const char *digits = device + sizeof prefix - 1;
    const size_t length = strspn(digits, "0123456789");
    if (length < 1 || length > 3 || digits[length]) return false;
    *number = 0;
    for (size_t i = 0; i < length; i++) *number = *number * 10 + (uint32_t)(digits[i] - '0');
    return true;
}

bool model_backend_open(const char *device, uint32_t threads, struct model_backend **backend,
                        struct proto_error *error) {
    if (strcmp(device, "cpu") == 0) return model_backend_cpu_open(threads, backend, error);
    const struct model_cuda_module *module = NULL;
    uint32_t number = 0;
    if (!cuda_number(device, &number))
        return proto_fail(error, PROTO_MISSING,
                          "there is no kind of device \"%s\": use \"cpu\" or \"cuda:N\"", device);
    if (!model_cuda_module_open(&module, error) || !module->open(number, backend, error))
        return proto_error_where(error, "device \"%s\"", device);
    return true;
}

void model_backend_close(struct model_backend **backend) {
    if (!*backend) return;
    (*backend)->ops->close(*backend);
    *backend = NULL;
}

uint32_t model_backend_threads(const struct model_backend *backend) { return backend->threads; }
const char *model_backend_kernels(const struct model_backend *backend) { return backend->kernels; }

void *model_backend_alloc(struct model_backend *backend, size_t size_bytes,
                          struct proto_error *error) {
    return backend->ops->alloc(backend, size_bytes, error);
}
void model_backend_free(struct model_backend *backend, void *memory) {
    if (memory) backend->ops->free(backend, memory);
}
bool model_backend_upload(struct model_backend *backend, void *device, const void *host,
                          size_t size_bytes, struct proto_error *error) {
    return backend->ops->upload(backend, device, host, size_bytes, error);
}
bool model_backend_download(struct model_backend *backend, void *host, const void *device,
                            size_t size_bytes, struct proto_error *error) {
    return backend->ops->download(backend, host, device, size_bytes, error);
}
bool model_backend_copy(struct model_backend *backend, void *to, const void *from,
                        size_t size_bytes, struct proto_error *error) {
    return backend->ops->copy(backend, to, from, size_bytes, error);
}
bool model_backend_fill(struct model_backend *backend, void *device, uint8_t value,
                        size_t size_bytes, struct proto_error *error) {
    return backend->ops->fill(backend, device, value, size_bytes, error);
}
bool model_backend_wait(struct model_backend *backend, struct proto_error *error) {
    return backend->ops->wait(backend, error);
}
bool model_backend_last(struct model_backend *backend, struct proto_error *error) {
    return backend->ops->last(backend, error);
}
void model_backend_purpose(struct model_backend *backend, const char *purpose) {
    backend->purpose = purpose;
}
bool model_backend_memory(struct model_backend *backend, struct model_backend_memory *memory,
                          struct proto_error *error) {
    *memory = (struct model_backend_memory){0};
    return backend->ops->memory(backend, memory, error);
}
bool model_backend_precision(struct model_backend *backend, enum model_precision precision,
                             struct proto_error *error) {
    return backend->ops->precision(backend, precision, error);
}
enum model_precision model_backend_precision_of(const struct model_backend *backend) {
    return backend->precision;
}
bool model_backend_parameters(struct model_backend *backend, const float *memory, size_t elements,
                              struct proto_error *error) {
    return backend->ops->parameters(backend, memory, elements, error);
}
struct CUstream_st *model_backend_stream(struct model_backend *backend) {
    return backend->ops->stream(backend);
}
size_t model_attention_saved(const struct model_backend *backend, size_t batch, size_t heads,
                             size_t queries, size_t keys, size_t head_width) {
    return backend->ops->attention_saved(batch, heads, queries, keys, head_width);
}

// ---- launchers ----

// What is wrong with the arguments, or NULL.
static const char *check_gemm(const struct model_gemm *a) {
    if (a->m < 1 || a->n < 1 || a->k < 1) return "a side of a product is 0";
    if (a->a_stride < (a->transpose_a ? a->m : a->k)) return "a's rows overlap";
    if (a->b_stride < (a->transpose_b ? a->k : a->n)) return "b's rows overlap";
    if (a->d_stride < a->n) return "d's rows overlap";
    if (!a->a || !a->b || !a->d) return "a, b or d is missing";
    if (a->c && a->c_stride < a->n) return "c's rows overlap";
    if (a->c && a->c == a->d && (a->c_stride != a->d_stride || a->c_rows))
        return "c is d with another layout";
    if (a->activation >= MODEL_GELU_BACKWARD && !a->aux) return "the backward activation needs aux";
    if (a->a_sums && !a->transpose_a) return "a_sums needs a transposed a";
    return NULL;
}
static const char *check_norm(const struct model_norm *a) {
    if (a->groups < 1 || a->width < 1 || a->group_rows <= a->skip) return "nothing to normalise";
    if (a->stat == MODEL_VARIANCE && a->width < 2) return "a variance needs two numbers";
    return a->x && a->gain && a->rows ? NULL : "x, gain or rows is missing";
}
static const char *check_norm_backward(const struct model_norm_backward *a) {
    if (!a->dy || !a->dx || !a->dgain) return "dy, dx or dgain is missing";
    return check_norm(&a->forward);
}
static const char *check_attention(const struct model_attention *a) {
    if (a->batch < 1 || a->heads < 1 || a->queries < 1 || a->keys < 1)
        return "no sample, head, query or key";
    if (a->head_width < (a->stat == MODEL_VARIANCE ? 2u : 1u)) return "a head is too narrow";
    if (a->q_stride < a->heads * a->head_width || a->kv_stride < a->heads * a->head_width)
        return "rows overlap";
    return a->q && a->k && a->v && a->q_gain && a->k_gain ? NULL : "an array is missing";
}
static const char *check_attention_backward(const struct model_attention_backward *a) {
    if (!a->forward.saved) return "the forward pass saved nothing";
    if (!a->dy || !a->dq || !a->dk || !a->dv || !a->dq_gain || !a->dk_gain)
        return "an array is missing";
    return check_attention(&a->forward);
}
static const char *check_sinusoid(const struct model_sinusoid *a) {
    return a->rows < 1 || a->width < 2 || a->width % 2 ? "width must be even, rows not 0" : NULL;
}
static const char *check_tokens(const struct model_tokens *a) {
    if (a->batch < 1 || a->chunk < 1 || a->width < 1) return "a side is 0";
    return a->noise && (!a->signal || !a->grain) ? "noise needs signal and grain" : NULL;
}
static const char *check_concat(const struct model_concat *a) {
    return a->batch < 1 || a->rest_rows < 1 || a->width < 1 ? "a side is 0" : NULL;
}
static const char *check_concat_backward(const struct model_concat_backward *a) {
    return a->batch < 1 || a->rest_rows < 1 || a->width < 1 ? "a side is 0" : NULL;
}
static const char *check_sum_batch(const struct model_sum_batch *a) {
    return a->batch < 1 || a->n < 1 ? "a side is 0" : NULL;
}
static const char *check_mse(const struct model_mse *a) {
    return a->n < 1 ? "nothing to compare" : NULL;
}
static const char *check_adamw(const struct model_adamw *a) {
    if (a->n < 1) return "nothing to update";
    return a->correction1 > 0 && a->correction2 > 0 ? NULL : "the corrections must be above 0";
}
static const char *check_sum_squares(const struct model_sum_squares *a) {
    return a->n < 1 ? "nothing to sum" : NULL;
}
static const char *check_axpby(const struct model_axpby *a) {
    return a->n < 1 ? "nothing to add" : NULL;
}
static const char *check_combine(const struct model_combine *a) {
    if (a->n < 1) return "nothing to combine";
    return a->c1 != 0 && !a->m1 ? "m1 is missing" : NULL;
}
static const char *check_mask_rows(const struct model_mask_rows *a) {
    return a->batch < 1 || a->rows < 1 || a->width < 1 ? "a side is 0" : NULL;
}
static const char *check_patches(const struct model_patches *a) {
    if (a->images < 1 || a->height < 1 || a->width < 1) return "no image";
    if (a->grid < 1 || a->patch < 1) return "no patch";
    return a->deviation > 0 ? NULL : "the deviation must be above 0";
}

#define DEFINE_LAUNCHER(name, args)                                                                \
    bool model_##name(struct model_backend *backend, const struct args *a,                         \
                      struct proto_error *error) {                                                 \
        const char *wrong = check_##name(a);                                                       \
        if (wrong) return proto_fail(error, PROTO_FAILED, #name ": %s", wrong);                    \
        return backend->ops->name(backend, a, error);                                              \
    }
MODEL_OPERATIONS(DEFINE_LAUNCHER)
