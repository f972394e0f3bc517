// model/copies.c - the door to a device's copies beside its queue, and those of a cpu.
#include "model/copies.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

bool model_copies_open(struct model_backend *backend, struct model_copies **copies,
                       struct proto_error *error) {
    return backend->ops->copies_open(backend, copies, error);
}
void model_copies_close(struct model_copies **copies) {
    if (!*copies) return;
    (*copies)->ops->close(*copies);
    *copies = NULL;
}
bool model_copies_pin(struct model_copies *copies, void *host, size_t size_bytes,
                      struct proto_error *error) {
    return copies->ops->pin(copies, host, size_bytes, error);
}
bool model_copies_mark(struct model_copies *copies, uint32_t mark, struct proto_error *error) {
    assert(mark < MODEL_COPIES_MARKS);
    return copies->ops->mark(copies, mark, error);
}
bool model_copies_after(struct model_copies *copies, uint32_t mark, struct proto_error *error) {
    assert(mark < MODEL_COPIES_MARKS);
    return copies->ops->after(copies, mark, error);
}
bool model_copies_download(struct model_copies *copies, void *host, const void *device,
                           size_t size_bytes, struct proto_error *error) {
    return copies->ops->move(copies, host, device, size_bytes, false, error);
}
bool model_copies_upload(struct model_copies *copies, void *device, const void *host,
                         size_t size_bytes, struct proto_error *error) {
    return copies->ops->move(copies, device, host, size_bytes, true, error);
}
bool model_copies_done(struct model_copies *copies, bool *done, struct proto_error *error) {
    return copies->ops->done(copies, done, error);
}

// ---- a cpu's ----

static void cpu_close(struct model_copies *copies) { free(copies); }
static bool cpu_pin(struct model_copies *copies, void *host, size_t size_bytes,
                    struct proto_error *error) {
    (void)copies, (void)host, (void)size_bytes, (void)error;
    return true;
}
static bool cpu_mark(struct model_copies *copies, uint32_t mark, struct proto_error *error) {
    (void)copies, (void)mark, (void)error;
    return true;  // the queue is empty at any time
}
static bool cpu_move(struct model_copies *copies, void *to, const void *from, size_t size_bytes,
                     bool upload, struct proto_error *error) {
    (void)copies, (void)upload, (void)error;
    memcpy(to, from, size_bytes);
    return true;
}
static bool cpu_done(struct model_copies *copies, bool *done, struct proto_error *error) {
    (void)copies, (void)error;
    *done = true;
    return true;
}

static const struct model_copies_ops copies_ops_cpu = {.close = cpu_close,
                                                       .pin = cpu_pin,
                                                       .mark = cpu_mark,
                                                       .after = cpu_mark,
                                                       .move = cpu_move,
                                                       .done = cpu_done};

bool model_copies_cpu_open(struct model_backend *backend, struct model_copies **copies,
                           struct proto_error *error) {
    (void)backend;
    struct model_copies *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->ops = &copies_ops_cpu;
    *copies = opened;
    return true;
}
