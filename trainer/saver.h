// trainer/saver.h - writes checkpoints beside the training, on rank 0: the loop copies the state
// into a snapshot and goes on; one thread writes it, gives it its name and clears older ones away.
//
// The queue has one place, the snapshot itself: a checkpoint that is due while the one before is
// still being written waits for it. A failed write is final: the run ends with its error, and the
// checkpoints before it stay.
#ifndef TRAINER_SAVER_H
#define TRAINER_SAVER_H

#include "proto/link.h"
#include "trainer/instructions.h"
#include "trainer/metrics.h"
#include "trainer/state.h"

struct trainer_saver;
struct trainer_saver_settings {
    const struct trainer_plan *plan;
    const struct model_parameters *table;
    const struct trainer_instructions *instructions;
    struct trainer_metrics *metrics;  // synced before a checkpoint gets its name
    struct proto_link *link;          // is told of every checkpoint; NULL: nobody
    const char *kernels;
};
// Borrows all it is given until close.
PROTO_MUST_CHECK bool trainer_saver_open(const struct trainer_saver_settings *settings,
                                         struct trainer_saver **saver, struct proto_error *error);
// Ends the thread, after what it is writing.
void trainer_saver_close(struct trainer_saver **saver);  // accepts NULL

// Waits until nothing is being written and hands out the snapshot to be filled. Fails with the
// error of an earlier write.
PROTO_MUST_CHECK bool trainer_saver_snapshot(struct trainer_saver *saver,
                                             struct trainer_snapshot **snapshot,
                                             struct proto_error *error);
// Starts writing the snapshot. stall_s is what the loop has spent on it so far.
void trainer_saver_write(struct trainer_saver *saver, double stall_s);
// False, with its error, when a write has failed; never waits.
PROTO_MUST_CHECK bool trainer_saver_check(struct trainer_saver *saver, struct proto_error *error);
// Waits until everything is written.
PROTO_MUST_CHECK bool trainer_saver_finish(struct trainer_saver *saver, struct proto_error *error);

#endif
