// model/backend_cuda_copies.c - copies beside a GPU's queue: a stream of their own, ordered behind
// the queue's by events.
#include "model/backend_cuda.h"
#include "model/copies.h"

#include <stdlib.h>

#define PINNED_MAX 8

struct cuda_copies {
    struct model_copies base;
    struct model_backend_cuda *cuda;  // borrowed
    cudaStream_t stream;
    cudaEvent_t marks[MODEL_COPIES_MARKS], last;
    void *pinned[PINNED_MAX];
    uint32_t pinned_count;
};

static struct cuda_copies *copies_of(struct model_copies *copies) {
    return (struct cuda_copies *)copies;
}

static void copies_close(struct model_copies *copies) {
    struct cuda_copies *own = copies_of(copies);
    (void)cudaSetDevice((int)own->cuda->number);
    if (own->stream) (void)cudaStreamSynchronize(own->stream);
    for (uint32_t i = 0; i < own->pinned_count; i++) (void)cudaHostUnregister(own->pinned[i]);
    for (uint32_t i = 0; i < MODEL_COPIES_MARKS; i++)
        if (own->marks[i]) (void)cudaEventDestroy(own->marks[i]);
    if (own->last) (void)cudaEventDestroy(own->last);
    if (own->stream) (void)cudaStreamDestroy(own->stream);
    free(own);
}

static bool copies_pin(struct model_copies *copies, void *host, size_t size_bytes,
                       struct proto_error *error) {
    struct cuda_copies *own = copies_of(copies);
    if (own->pinned_count == PINNED_MAX)
        return proto_fail(error, PROTO_FAILED, "more than %d pieces of pinned memory", PINNED_MAX);
    // portable: pinned for every thread's and device's copies
    if (!model_cuda_enter(own->cuda, error) ||
        !MODEL_CUDA(own->cuda, cudaHostRegister, host, size_bytes, cudaHostRegisterPortable))
        return false;
    own->pinned[own->pinned_count++] = host;
    return true;
}

static bool copies_mark(struct model_copies *copies, uint32_t mark, struct proto_error *error) {
    struct cuda_copies *own = copies_of(copies);
    return MODEL_CUDA(own->cuda, cudaEventRecord, own->marks[mark], own->cuda->stream);
}

static bool copies_after(struct model_copies *copies, uint32_t mark, struct proto_error *error) {
    struct cuda_copies *own = copies_of(copies);
    // the device is a setting of each thread
    return MODEL_CUDA(own->cuda, cudaSetDevice, (int)own->cuda->number) &&
           MODEL_CUDA(own->cuda, cudaStreamWaitEvent, own->stream, own->marks[mark], 0);
}

static bool copies_move(struct model_copies *copies, void *to, const void *from, size_t size_bytes,
                        bool upload, struct proto_error *error) {
    struct cuda_copies *own = copies_of(copies);
    const enum cudaMemcpyKind kind = upload ? cudaMemcpyHostToDevice : cudaMemcpyDeviceToHost;
    return MODEL_CUDA(own->cuda, cudaMemcpyAsync, to, from, size_bytes, kind, own->stream) &&
           MODEL_CUDA(own->cuda, cudaEventRecord, own->last, own->stream);
}

static bool copies_done(struct model_copies *copies, bool *done, struct proto_error *error) {
    struct cuda_copies *own = copies_of(copies);
    const cudaError_t status = cudaEventQuery(own->last);
    if (status == cudaErrorNotReady) (void)cudaGetLastError();  // it counts as an error otherwise
    *done = status == cudaSuccess;
    return status == cudaErrorNotReady ||
           model_cuda_check(own->cuda, status, "cudaEventQuery", error);
}

static const struct model_copies_ops copies_ops_cuda = {.close = copies_close,
                                                        .pin = copies_pin,
                                                        .mark = copies_mark,
                                                        .after = copies_after,
                                                        .move = copies_move,
                                                        .done = copies_done};

bool model_cuda_copies_open(struct model_backend *backend, struct model_copies **copies,
                            struct proto_error *error) {
    struct model_backend_cuda *cuda = model_cuda_of(backend);
    struct cuda_copies *own = proto_alloc(sizeof *own, error);
    if (!own) return false;
    own->base.ops = &copies_ops_cuda;
    own->cuda = cuda;
    bool done = model_cuda_enter(cuda, error) &&
                MODEL_CUDA(cuda, cudaStreamCreateWithFlags, &own->stream, cudaStreamNonBlocking) &&
                MODEL_CUDA(cuda, cudaEventCreateWithFlags, &own->last, cudaEventDisableTiming);
    for (uint32_t i = 0; done && i < MODEL_COPIES_MARKS; i++)
        done = MODEL_CUDA(cuda, cudaEventCreateWithFlags, &own->marks[i], cudaEventDisableTiming);
    if (!done) {
        copies_close(&own->base);
        return false;
    }
    *copies = &own->base;
    return true;
}
