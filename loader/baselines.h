// loader/baselines.h - how well predictors that need no training do on the fixed validation set: a
// policy that is not better than these has learned nothing.
//
//   mean_action        the mean of all training actions of the task, at every step
//   time_mean          action[i] = mean of action[i] over the task's training episodes that are
//                      that long; beyond the longest, its last value
//   nearest_neighbour  the action chunk of the training sample of the same task whose encoded
//                      state is nearest (Euclid; the first in order on a tie), padded with the
//                      action of no motion where its episode ends
// Errors are proto_action_error of each sample, averaged over the samples, so that they compare
// with what the trainer prints for the policy.
#ifndef LOADER_BASELINES_H
#define LOADER_BASELINES_H

#include "loader/numbers.h"
#include "proto/codec.h"
#include "proto/index.h"

// The validation set is positions 0 .. index->validation_set - 1 of the validation stream: purpose
// PROTO_PURPOSE_VALIDATION, run's seed, n = index->validation_samples. numbers [episode_count] in
// the index's order. All three are NaN when there is no validation set. PROTO_DAMAGED: a task
// with validation samples has no training sample.
PROTO_MUST_CHECK bool loader_baselines_measure(const struct proto_codec *codec,
                                               const struct proto_index *index,
                                               const struct loader_episode_numbers *numbers,
                                               uint64_t seed, struct proto_index_baselines *out,
                                               struct proto_error *error);

#endif
