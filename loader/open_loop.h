// loader/open_loop.h - the mean action of each control step over a task's training episodes: the
// time-indexed baseline, and what open_loop.json holds for rollouts.
#ifndef LOADER_OPEN_LOOP_H
#define LOADER_OPEN_LOOP_H

#include "loader/numbers.h"
#include "proto/index.h"
#include "proto/open_loop.h"

// numbers [episode_count] in the index's order. A task without training episodes has no rows.
PROTO_MUST_CHECK bool loader_open_loop_new(const struct proto_codec *codec,
                                           const struct proto_index *index,
                                           const struct loader_episode_numbers *numbers,
                                           struct proto_open_loop **open_loop,
                                           struct proto_error *error);

#endif
