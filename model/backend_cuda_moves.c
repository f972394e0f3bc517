// model/backend_cuda_moves.c - between host and device. An upload is copied into memory that the
// device reads by itself, crosses the bus on a stream of its own while operations run, and takes
// its turn only for the last step, from device to device; the caller may go on at once.
#include "model/backend_cuda.h"

#include <string.h>

bool model_cuda_slots_open(struct model_backend_cuda *cuda, struct proto_error *error) {
    for (size_t i = 0; i < MODEL_CUDA_SLOTS; i++) {
        struct model_cuda_slot *slot = &cuda->slots[i];
        if (!MODEL_CUDA(cuda, cudaEventCreateWithFlags, &slot->moved,
                        cudaEventDisableTiming | cudaEventBlockingSync) ||
            !MODEL_CUDA(cuda, cudaEventCreateWithFlags, &slot->taken, cudaEventDisableTiming))
            return false;
    }
    return true;
}

void model_cuda_slots_close(struct model_backend_cuda *cuda) {
    for (size_t i = 0; i < MODEL_CUDA_SLOTS; i++) {
        struct model_cuda_slot *slot = &cuda->slots[i];
        if (slot->host) (void)cudaFreeHost(slot->host);
        model_cuda_give(cuda, slot->device);
        if (slot->moved) (void)cudaEventDestroy(slot->moved);
        if (slot->taken) (void)cudaEventDestroy(slot->taken);
    }
}

// The next slot, with room for a piece of `bytes` on both sides, its host memory free to write.
static struct model_cuda_slot *next_slot(struct model_backend_cuda *cuda, size_t bytes,
                                         struct proto_error *error) {
    struct model_cuda_slot *slot = &cuda->slots[cuda->slot];
    cuda->slot = (cuda->slot + 1) % MODEL_CUDA_SLOTS;
    if (!MODEL_CUDA(cuda, cudaEventSynchronize, slot->moved)) return NULL;
    if (bytes <= slot->bytes) return slot;
    size_t room = 4096;
    while (room < bytes) room *= 2;
    if (slot->host) (void)cudaFreeHost(slot->host);
    model_cuda_give(cuda, slot->device);
    slot->host = slot->device = NULL;
    slot->bytes = 0;
    if (!MODEL_CUDA(cuda, cudaHostAlloc, &slot->host, room, cudaHostAllocDefault)) {
        slot->host = NULL;
        return NULL;
    }
    slot->device = model_cuda_take(cuda, room, "uploads under way", error);
    if (!slot->device) return NULL;
    slot->bytes = room;
    return slot;
}

static size_t piece_of(size_t left_bytes) {
    return left_bytes < MODEL_CUDA_PIECE_BYTES ? left_bytes : MODEL_CUDA_PIECE_BYTES;
}

bool model_cuda_upload(struct model_backend *backend, void *device, const void *host,
                       size_t size_bytes, struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    if (!model_cuda_enter(cuda, error)) return false;
    for (size_t at = 0, n = 0; at < size_bytes; at += n) {
        n = piece_of(size_bytes - at);
        struct model_cuda_slot *slot = next_slot(cuda, n, error);
        if (!slot) return false;
        memcpy(slot->host, (const uint8_t *)host + at, n);
        if (!MODEL_CUDA(cuda, cudaStreamWaitEvent, cuda->bus, slot->taken, 0) ||
            !MODEL_CUDA(cuda, cudaMemcpyAsync, slot->device, slot->host, n, cudaMemcpyHostToDevice,
                        cuda->bus) ||
            !MODEL_CUDA(cuda, cudaEventRecord, slot->moved, cuda->bus) ||
            !MODEL_CUDA(cuda, cudaStreamWaitEvent, cuda->stream, slot->moved, 0) ||
            !MODEL_CUDA(cuda, cudaMemcpyAsync, (uint8_t *)device + at, slot->device, n,
                        cudaMemcpyDeviceToDevice, cuda->stream) ||
            !MODEL_CUDA(cuda, cudaEventRecord, slot->taken, cuda->stream))
            return false;
    }
    return model_cuda_renew(cuda, device, size_bytes, error);
}

// The next piece crosses the bus while the host takes the one before out of its slot.
bool model_cuda_download(struct model_backend *backend, void *host, const void *device,
                         size_t size_bytes, struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    struct model_cuda_slot *before = NULL;
    size_t before_at = 0, before_n = 0;
    if (!model_cuda_enter(cuda, error)) return false;
    for (size_t at = 0, n = 0; at < size_bytes || before; at += n) {
        struct model_cuda_slot *slot = NULL;
        n = piece_of(size_bytes - at);
        if (n > 0) {
            slot = next_slot(cuda, n, error);
            if (!slot ||
                !MODEL_CUDA(cuda, cudaMemcpyAsync, slot->host, (const uint8_t *)device + at, n,
                            cudaMemcpyDeviceToHost, cuda->stream) ||
                !MODEL_CUDA(cuda, cudaEventRecord, slot->moved, cuda->stream))
                return false;
        }
        if (before) {
            if (!MODEL_CUDA(cuda, cudaEventSynchronize, before->moved)) return false;
            memcpy((uint8_t *)host + before_at, before->host, before_n);
        }
        before = slot;
        before_at = at;
        before_n = n;
    }
    return true;
}

bool model_cuda_copy(struct model_backend *backend, void *to, const void *from, size_t size_bytes,
                     struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    if (size_bytes == 0) return true;
    return model_cuda_enter(cuda, error) &&
           MODEL_CUDA(cuda, cudaMemcpyAsync, to, from, size_bytes, cudaMemcpyDeviceToDevice,
                      cuda->stream) &&
           model_cuda_renew(cuda, to, size_bytes, error);
}
bool model_cuda_fill(struct model_backend *backend, void *device, uint8_t value, size_t size_bytes,
                     struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    if (size_bytes == 0) return true;
    return model_cuda_enter(cuda, error) &&
           MODEL_CUDA(cuda, cudaMemsetAsync, device, value, size_bytes, cuda->stream) &&
           model_cuda_renew(cuda, device, size_bytes, error);
}

// The thread sleeps meanwhile: a spinning one would take a core from the loaders.
bool model_cuda_wait(struct model_backend *backend, struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    return model_cuda_enter(cuda, error) &&
           MODEL_CUDA(cuda, cudaEventRecord, cuda->reached, cuda->stream) &&
           MODEL_CUDA(cuda, cudaEventSynchronize, cuda->reached) &&
           model_cuda_check(cuda, cudaGetLastError(), "the work before", error);
}
bool model_cuda_last(struct model_backend *backend, struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    if (!model_cuda_enter(cuda, error)) return false;
    const cudaError_t status = cudaStreamQuery(cuda->stream);
    if (status == cudaErrorNotReady) (void)cudaGetLastError();  // it would stay as an error
    return status == cudaErrorNotReady || model_cuda_check(cuda, status, "cudaStreamQuery", error);
}
