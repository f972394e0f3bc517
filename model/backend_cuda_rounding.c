// model/backend_cuda_rounding.c - what products read when the precision is bf16 or fp16: copies of
// parameters, renewed by whatever writes them, and activations, rounded right before the product.
#include "model/backend_cuda.h"

#include <string.h>

#define ROW_MULTIPLE 8  // elements: 16 bytes, what the matrix units load at once

// ---- parameters ----

static uintptr_t address(const void *memory) { return (uintptr_t)memory; }

// The part [*first, *first + *count) of the parameters that lies in bytes of memory.
static bool overlap(const struct model_cuda_parameters *p, const void *memory, size_t bytes,
                    size_t *first, size_t *count) {
    const uintptr_t from = address(p->memory), to = from + p->elements * sizeof(float);
    const uintptr_t begin = address(memory), end = begin + bytes;
    if (!p->memory || begin >= to || end <= from) return false;
    *first = begin > from ? (begin - from) / sizeof(float) : 0;
    const size_t last = end < to ? (end - from + sizeof(float) - 1) / sizeof(float) : p->elements;
    *count = last - *first;
    return true;
}

static bool round_part(struct model_backend_cuda *cuda, const struct model_cuda_parameters *p,
                       size_t first, size_t count, struct proto_error *error) {
    const struct model_kernel_round round = {.precision = cuda->base.precision,
                                             .rows = 1,
                                             .columns = count,
                                             .x = p->memory + first,
                                             .x_stride = count,
                                             .y = p->rounded + first,
                                             .y_stride = count};
    model_kernel_round(cuda->stream, &round, NULL);
    return model_cuda_launched(cuda, "rounding of parameters", error);
}

bool model_cuda_renew(struct model_backend_cuda *cuda, const void *memory, size_t bytes,
                      struct proto_error *error) {
    for (size_t i = 0; i < MODEL_CUDA_PARAMETERS_MAX; i++) {
        const struct model_cuda_parameters *p = &cuda->parameters[i];
        size_t first = 0, count = 0;
        if (p->rounded && overlap(p, memory, bytes, &first, &count) &&
            !round_part(cuda, p, first, count, error))
            return false;
    }
    return true;
}

uint16_t *model_cuda_copy_of(const struct model_backend_cuda *cuda, const float *memory,
                             size_t elements) {
    for (size_t i = 0; i < MODEL_CUDA_PARAMETERS_MAX; i++) {
        const struct model_cuda_parameters *p = &cuda->parameters[i];
        size_t first = 0, count = 0;
        if (p->rounded && overlap(p, memory, elements * sizeof(float), &first, &count) &&
            count == elements)
            return p->rounded + first;
    }
    return NULL;
}

void model_cuda_parameters_forget(struct model_backend_cuda *cuda, const void *memory,
                                  size_t bytes) {
    for (size_t i = 0; i < MODEL_CUDA_PARAMETERS_MAX; i++) {
        struct model_cuda_parameters *p = &cuda->parameters[i];
        size_t first = 0, count = 0;
        if (!overlap(p, memory, bytes, &first, &count)) continue;
        uint16_t *rounded = p->rounded;
        *p = (struct model_cuda_parameters){0};
        model_cuda_give(cuda, rounded);
    }
}

bool model_cuda_parameters(struct model_backend *backend, const float *memory, size_t elements,
                           struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    struct model_cuda_parameters *p = NULL;
    if (elements < 1) return proto_fail(error, PROTO_FAILED, "no parameters were named");
    if (!model_cuda_enter(cuda, error)) return false;
    for (size_t i = 0; i < MODEL_CUDA_PARAMETERS_MAX && !p; i++)
        if (cuda->parameters[i].memory == memory && cuda->parameters[i].elements == elements)
            p = &cuda->parameters[i];
    for (size_t i = 0; i < MODEL_CUDA_PARAMETERS_MAX && !p; i++)
        if (!cuda->parameters[i].memory) p = &cuda->parameters[i];
    if (!p)
        return proto_fail(error, PROTO_FAILED, "parameters in more than %d places",
                          MODEL_CUDA_PARAMETERS_MAX);
    if (backend->precision != MODEL_F32 && !p->rounded) {
        p->rounded = model_cuda_take(cuda, elements * sizeof *p->rounded, "rounded weights", error);
        if (!p->rounded) return false;
    }
    p->memory = memory;
    p->elements = elements;
    return !p->rounded || round_part(cuda, p, 0, elements, error);
}

bool model_cuda_precision(struct model_backend *backend, enum model_precision precision,
                          struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    const enum model_precision before = backend->precision;
    for (size_t i = 0; i < MODEL_CUDA_PARAMETERS_MAX; i++)
        if (cuda->parameters[i].memory && precision != before)
            return proto_fail(error, PROTO_FAILED,
                              "the precision must be set before parameters are declared");
    backend->precision = precision;
    if (precision == before || model_cuda_gelu_check(cuda, error)) return true;
    backend->precision = before;
    return false;
}

// ---- operands ----

static bool same_rows(const struct model_cuda_rounded *a, const struct model_cuda_rounded *b) {
    return a->x == b->x && a->rows == b->rows && a->columns == b->columns && a->stride == b->stride;
}

bool model_cuda_operand(struct model_backend_cuda *cuda, enum model_cuda_scratch kind,
                        const struct model_cuda_rounded *from, float *sums,
                        struct model_cuda_operand *operand, struct proto_error *error) {
    const size_t elements = (from->rows - 1) * from->stride + from->columns;
    *operand = (struct model_cuda_operand){from->x, from->stride};
    if (cuda->base.precision == MODEL_F32) return true;
    const uint16_t *copy = sums ? NULL : model_cuda_copy_of(cuda, from->x, elements);
    if (copy) {
        operand->x = copy;
        return true;
    }
    const size_t stride = (from->columns + ROW_MULTIPLE - 1) / ROW_MULTIPLE * ROW_MULTIPLE;
    operand->stride = stride;
    if (kind == MODEL_CUDA_LEFT && !sums && same_rows(&cuda->left, from)) {
        operand->x = cuda->scratch[kind].memory;
        return true;
    }
    uint16_t *rounded =
        model_cuda_scratch(cuda, kind, from->rows * stride * sizeof *rounded, error);
    if (!rounded) return false;
    const struct model_kernel_round round = {.precision = cuda->base.precision,
                                             .rows = from->rows,
                                             .columns = from->columns,
                                             .x = from->x,
                                             .x_stride = from->stride,
                                             .y = rounded,
                                             .y_stride = stride,
                                             .sums = sums};
    const size_t bytes = model_kernel_round_partial(&round) * sizeof(float);
    float *partial = NULL;
    if (bytes > 0 && !(partial = model_cuda_scratch(cuda, MODEL_CUDA_PARTIAL, bytes, error)))
        return false;
    model_kernel_round(cuda->stream, &round, partial);
    operand->x = rounded;
    if (kind == MODEL_CUDA_LEFT) cuda->left = *from;
    return model_cuda_launched(cuda, "rounding of an operand", error);
}
