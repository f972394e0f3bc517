// trainer/loop.h - the training loop of one rank.
//
// An optimiser step: micro steps (take a batch in order, noise, forward, backward), gradients to
// their mean over the ranks, a small exchange (losses, waits, who was told to stop), clipping,
// AdamW, average, one line of metrics.jsonl. Then, when due, a checkpoint and validation. All ranks
// decide the same from the same exchanged numbers, so they stop at the same step.
#ifndef TRAINER_LOOP_H
#define TRAINER_LOOP_H

#include "trainer/session.h"

// Trains until run.max_train_steps (*stopped false) or until a rank was told to stop, with a
// checkpoint written (*stopped true).
PROTO_MUST_CHECK bool trainer_loop(struct trainer_session *session, bool *stopped,
                                   struct proto_error *error);

#endif
