// trainer/state.h - what is trained and what a resume must bring back bit for bit: weights, AdamW's
// moments, the averaged weights, the counters, the cursor of the stream.
#ifndef TRAINER_STATE_H
#define TRAINER_STATE_H

#include "model/rdt.h"
#include "proto/checkpoint.h"
#include "trainer/collective.h"
#include "trainer/optimizer.h"
#include "trainer/plan.h"
#include "trainer/scale.h"

struct trainer_state {
    struct model_backend *backend;         // borrowed
    const struct model_parameters *table;  // borrowed
    float *weights, *gradients;            // device [table->elements]
    struct trainer_optimizer *optimizer;
    uint64_t step, cursor;  // steps done, also those that were skipped; next position
    struct trainer_scale scale;
};

// The state as it was between two steps, on the host: what a checkpoint is written from.
struct trainer_snapshot {
    uint64_t step, cursor, ema_counter;
    struct trainer_scale scale;
    float *weights, *m, *v, *ema;  // [elements]
};

// Takes the memory. Close also after a failure.
PROTO_MUST_CHECK bool trainer_state_open(const struct trainer_plan *plan,
                                         struct model_backend *backend,
                                         const struct model_parameters *table,
                                         struct trainer_state *state, struct proto_error *error);
void trainer_state_close(struct trainer_state *state);

// Step 0: random weights of the run's seed, or those of model.pretrained.
PROTO_MUST_CHECK bool trainer_state_start(struct trainer_state *state,
                                          const struct trainer_plan *plan,
                                          struct proto_error *error);
// Step of a checkpoint. PROTO_USAGE: it belongs to another configuration, index or codec, named;
// PROTO_DAMAGED: a file of it is not whole. *header is its trainer_state.json.
PROTO_MUST_CHECK bool trainer_state_resume(struct trainer_state *state,
                                           const struct trainer_plan *plan, const char *checkpoint,
                                           struct proto_trainer_state *header,
                                           struct proto_error *error);

PROTO_MUST_CHECK bool trainer_snapshot_new(size_t elements, bool whole,
                                           struct trainer_snapshot *snapshot,
                                           struct proto_error *error);  // not whole: weights only
void trainer_snapshot_free(struct trainer_snapshot *snapshot);
// Copies the weights, and the rest when the snapshot has room for it.
PROTO_MUST_CHECK bool trainer_snapshot_take(struct trainer_snapshot *snapshot,
                                            struct trainer_state *state, struct proto_error *error);
// Fails with PROTO_FAILED, naming the rank, unless every rank has the same step, cursor and
// weights as this one.
PROTO_MUST_CHECK bool trainer_snapshot_agree(const struct trainer_snapshot *snapshot,
                                             size_t elements, struct trainer_collective *collective,
                                             uint32_t ranks, struct proto_error *error);

#endif
