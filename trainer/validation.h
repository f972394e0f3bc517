// trainer/validation.h - how well the policy predicts demonstrations that it is never trained on:
// full sampling over the fixed validation set, measured as the baselines of index.json are.
//
// The error is proto_action_error of each sample, averaged over the samples: mean square over the
// valid steps and action channels, in the codec's units. Sums are made in the order of the ranks.
#ifndef TRAINER_VALIDATION_H
#define TRAINER_VALIDATION_H

#include "trainer/session.h"

struct trainer_validation {
    double policy;  // of the averaged weights: what an evaluator runs
    double raw;     // of the weights as trained
    uint64_t samples;
    double seconds;
};

// Takes the validation batches that are next in order. Every rank calls it at the same step and
// gets the same numbers.
PROTO_MUST_CHECK bool trainer_validation_run(struct trainer_session *session,
                                             struct trainer_validation *result,
                                             struct proto_error *error);
// One line and one event.
void trainer_validation_say(struct trainer_session *session,
                            const struct trainer_validation *result);
// The last lines of a run: the policy beside predictors that need no training.
void trainer_validation_table(struct trainer_session *session,
                              const struct trainer_validation *result);

#endif
