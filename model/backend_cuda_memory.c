// model/backend_cuda_memory.c - memory of the device, with an account of what it is for, so that a
// full device can say what holds it.
#include "model/backend_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- the account ----

static bool note(struct model_backend_cuda *cuda, void *memory, size_t bytes, const char *purpose,
                 struct proto_error *error) {
    struct model_cuda_holdings *all = &cuda->holdings;
    if (all->count == all->room) {
        const size_t room = all->room > 0 ? 2 * all->room : 64;
        struct model_cuda_holding *items = proto_alloc_array(room, sizeof *items, error);
        if (!items) return false;
        if (all->count > 0) memcpy(items, all->items, all->count * sizeof *items);
        free(all->items);
        all->items = items;
        all->room = room;
    }
    all->items[all->count++] = (struct model_cuda_holding){memory, bytes, purpose};
    return true;
}

// Sums by purpose, largest first; what finds no row goes to the last.
static void add_up(const struct model_cuda_holdings *all, struct model_backend_memory *memory) {
    for (size_t i = 0; i < all->count; i++) {
        const struct model_cuda_holding *one = &all->items[i];
        size_t at = 0;
        while (at < memory->count && strcmp(memory->held[at].purpose, one->purpose) != 0) at++;
        if (at == memory->count && at == MODEL_PURPOSES_MAX) at--;
        if (at == memory->count) memory->held[memory->count++].purpose = one->purpose;
        memory->held[at].bytes += one->bytes;
        memory->held_bytes += one->bytes;
    }
    for (size_t i = 1; i < memory->count; i++)
        for (size_t j = i; j > 0 && memory->held[j].bytes > memory->held[j - 1].bytes; j--) {
            const struct model_backend_held swap = memory->held[j];
            memory->held[j] = memory->held[j - 1];
            memory->held[j - 1] = swap;
        }
}

bool model_cuda_memory(struct model_backend *backend, struct model_backend_memory *memory,
                       struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    add_up(&cuda->holdings, memory);
    return model_cuda_enter(cuda, error) &&
           MODEL_CUDA(cuda, cudaMemGetInfo, &memory->free_bytes, &memory->total_bytes);
}

// "4.58 GiB", "17.2 MiB", "300 bytes".
static const char *size_text(size_t bytes, char text[static 32]) {
    const double n = (double)bytes;
    if (bytes >= (size_t)1 << 30)
        snprintf(text, 32, "%.2f GiB", n / 0x1p30);
    else if (bytes >= (size_t)1 << 20)
        snprintf(text, 32, "%.1f MiB", n / 0x1p20);
    else
        snprintf(text, 32, "%zu bytes", bytes);
    return text;
}

static void fail_full(struct model_backend_cuda *cuda, size_t bytes, const char *purpose,
                      struct proto_error *error) {
    struct model_backend_memory now = {0};
    struct proto_error ignored = {0};
    char asked[32], left[32], total[32], held[32], part[32], list[320] = "";
    size_t used = 0;
    if (!model_cuda_memory(&cuda->base, &now, &ignored)) now.free_bytes = now.total_bytes = 0;
    for (size_t i = 0; i < now.count && used < sizeof list - 64; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%.28s %s", i > 0 ? ", " : ": ",
                                 now.held[i].purpose, size_text(now.held[i].bytes, part));
    (void)proto_fail(error, PROTO_EXHAUSTED,
                     "cuda:%u (%s) is full: %s asked for %s, %s of %s are free. This process holds "
                     "%s%s%s",
                     cuda->number, cuda->device.name, size_text(bytes, asked), purpose,
                     size_text(now.free_bytes, left), size_text(now.total_bytes, total),
                     size_text(now.held_bytes, held), list,
                     now.total_bytes - now.free_bytes > now.held_bytes + ((size_t)1 << 30)
                         ? ". Others hold memory there too (nvidia-smi lists them)"
                         : "");
}

void *model_cuda_take(struct model_backend_cuda *cuda, size_t bytes, const char *purpose,
                      struct proto_error *error) {
    void *memory = NULL;
    if (!model_cuda_enter(cuda, error)) return NULL;
    const cudaError_t status = cudaMalloc(&memory, bytes > 0 ? bytes : 1);
    if (status == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();  // it does not stay: the next call would meet it
        fail_full(cuda, bytes, purpose, error);
        return NULL;
    }
    if (!model_cuda_check(cuda, status, "cudaMalloc", error)) return NULL;
    if (note(cuda, memory, bytes, purpose, error)) return memory;
    (void)cudaFree(memory);
    return NULL;
}

// Waits for what was put on the streams: it may use the memory.
void model_cuda_give(struct model_backend_cuda *cuda, void *memory) {
    struct model_cuda_holdings *all = &cuda->holdings;
    for (size_t i = 0; memory && i < all->count; i++) {
        if (all->items[i].memory != memory) continue;
        model_cuda_parameters_forget(cuda, memory, all->items[i].bytes);
        for (i = 0; all->items[i].memory != memory;) i++;  // forgetting may have moved it
        all->items[i] = all->items[--all->count];
        (void)cudaSetDevice((int)cuda->number);
        (void)cudaStreamSynchronize(cuda->bus);
        (void)cudaStreamSynchronize(cuda->stream);
        (void)cudaFree(memory);
        return;
    }
}

void *model_cuda_alloc(struct model_backend *backend, size_t size_bytes,
                       struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    void *memory =
        model_cuda_take(cuda, size_bytes, backend->purpose ? backend->purpose : "other", error);
    if (!memory) return NULL;
    if (MODEL_CUDA(cuda, cudaMemsetAsync, memory, 0, size_bytes, cuda->stream)) return memory;
    model_cuda_give(cuda, memory);
    return NULL;
}
void model_cuda_free(struct model_backend *backend, void *memory) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    cuda->left.x = NULL;
    model_cuda_give(cuda, memory);
}

void *model_cuda_scratch(struct model_backend_cuda *cuda, enum model_cuda_scratch kind,
                         size_t bytes, struct proto_error *error) {
    static const char *const purposes[MODEL_CUDA_SCRATCHES] = {
        [MODEL_CUDA_LEFT] = "rounded operands",
        [MODEL_CUDA_RIGHT] = "rounded operands",
        [MODEL_CUDA_PARTIAL] = "partial sums",
        [MODEL_CUDA_ATTENTION] = "scores of attention",
    };
    if (bytes <= cuda->scratch[kind].bytes && cuda->scratch[kind].memory)
        return cuda->scratch[kind].memory;
    model_cuda_give(cuda, cuda->scratch[kind].memory);
    cuda->scratch[kind].bytes = 0;
    cuda->scratch[kind].memory = model_cuda_take(cuda, bytes, purposes[kind], error);
    if (cuda->scratch[kind].memory) cuda->scratch[kind].bytes = bytes;
    return cuda->scratch[kind].memory;
}
