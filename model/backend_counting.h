// model/backend_counting.h - a device that computes nothing and counts: how many floating point
// operations a pass over the network makes, how many bytes it moves, how much memory it takes. The
// network's own code runs over it unchanged, so that what is said before a run is what the run
// does.
//
// Its memory is address space that nobody may touch; downloads give zeros. Example:
//
//     const struct model_counting_settings settings = {.operand_bytes = 2, .see = add, .context =
//     t}; if (!model_backend_counting_open(&settings, &backend, error)) ...
//     ... model_rdt_open, model_rdt_train, trainer_optimizer_step ...
//     model_backend_counting_peak(backend)
#ifndef MODEL_BACKEND_COUNTING_H
#define MODEL_BACKEND_COUNTING_H

#include "model/backend.h"

enum model_counted_kind {
    MODEL_COUNTED_PRODUCT,  // matrix products, attention
    MODEL_COUNTED_MOVE,     // everything else on the device: its bytes are its cost
    MODEL_COUNTED_HOST,     // uploads and downloads
};
// One operation, as it was asked for. Bytes are those of its arrays, read and written, each once.
struct model_counted {
    enum model_counted_kind kind;
    const char *name;       // of the slot: "gemm", "norm_backward"; "upload" and so on
    double flop;            // multiplications and additions of products; 0 for all else
    double bytes;           // moved by the operation itself
    double rounding_bytes;  // moved before it, to round its operands
    // held while it runs, for the largest operation of its kind: a product's rounded operands, the
    // heads and scores of an attention
    double left_bytes, right_bytes, attention_bytes;
    const float *weight;  // gemm: the weight it reads, or whose gradient it adds to; else NULL
};
// The device that is stood for, as far as its attention differs: a GPU keeps two numbers of a query
// for the backward pass and makes the probabilities again, in parts of bounded size.
struct model_counting_settings {
    // of its model_ops; NULL: a GPU's
    size_t (*attention_saved)(size_t batch, size_t heads, size_t queries, size_t keys,
                              size_t head_width);
    bool keeps_probabilities;  // no product is made again
    size_t total_bytes;        // of its memory, which is never full; 0: not said
    void (*see)(void *context, const struct model_counted *counted);  // nullable
    void *context;
};
PROTO_MUST_CHECK bool model_backend_counting_open(const struct model_counting_settings *settings,
                                                  struct model_backend **backend,
                                                  struct proto_error *error);
// model_backend_precision takes any precision; model_backend_memory says what is held, by purpose.

#endif
