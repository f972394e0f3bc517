// model/copies.h - copies between host and device beside the queue of operations, so that data can
// leave or arrive while a device computes.
//
// The thread that owns the backend marks places of its queue; another thread, the copies' own, puts
// its copies behind a mark and looks when they are done. No call waits for the device. On a cpu
// operations are done when they return, so everything is done at once.
//
//     backend's thread: ... gradients are in the queue; model_copies_mark(copies, 3, error)
//     copies' thread:   model_copies_after(copies, 3, error)
//                       model_copies_download(copies, host, device, size_bytes, error)
//                       until done: model_copies_done(copies, &done, error)
#ifndef MODEL_COPIES_H
#define MODEL_COPIES_H

#include "model/backend.h"

#define MODEL_COPIES_MARKS 64

struct model_copies;

// What a device fills in; no slot is NULL.
struct model_copies_ops {
    void (*close)(struct model_copies *copies);
    bool (*pin)(struct model_copies *copies, void *host, size_t size_bytes,
                struct proto_error *error);
    bool (*mark)(struct model_copies *copies, uint32_t mark, struct proto_error *error);
    bool (*after)(struct model_copies *copies, uint32_t mark, struct proto_error *error);
    bool (*move)(struct model_copies *copies, void *to, const void *from, size_t size_bytes,
                 bool upload, struct proto_error *error);
    bool (*done)(struct model_copies *copies, bool *done, struct proto_error *error);
};
struct model_copies {  // what every device's own struct begins with
    const struct model_copies_ops *ops;
};

// The slots of model_ops.
PROTO_MUST_CHECK bool model_copies_cpu_open(struct model_backend *backend,
                                            struct model_copies **copies,
                                            struct proto_error *error);

// The backend is borrowed until close, which waits for copies under way.
PROTO_MUST_CHECK bool model_copies_open(struct model_backend *backend, struct model_copies **copies,
                                        struct proto_error *error);
void model_copies_close(struct model_copies **copies);  // accepts NULL; leaves NULL behind

// Lets the device reach this memory of the host itself, until close: copies with other memory are
// slower, and hold the calling thread. It is the caller's, and must outlive the copies.
PROTO_MUST_CHECK bool model_copies_pin(struct model_copies *copies, void *host, size_t size_bytes,
                                       struct proto_error *error);

// The backend's thread: this is mark `mark`, 0 .. MODEL_COPIES_MARKS - 1; it may be set again once
// copies were put behind it.
PROTO_MUST_CHECK bool model_copies_mark(struct model_copies *copies, uint32_t mark,
                                        struct proto_error *error);

// The copies' thread: copies from here on come behind the mark; they start in order.
PROTO_MUST_CHECK bool model_copies_after(struct model_copies *copies, uint32_t mark,
                                         struct proto_error *error);
PROTO_MUST_CHECK bool model_copies_download(struct model_copies *copies, void *host,
                                            const void *device, size_t size_bytes,
                                            struct proto_error *error);
PROTO_MUST_CHECK bool model_copies_upload(struct model_copies *copies, void *device,
                                          const void *host, size_t size_bytes,
                                          struct proto_error *error);
// Is everything so far copied? Also fails when the device does.
PROTO_MUST_CHECK bool model_copies_done(struct model_copies *copies, bool *done,
                                        struct proto_error *error);

#endif
