// proto/evaluated.h - which checkpoints of a run are evaluated, and which are done: the rule that
// evaluators work by and `pipeline up` says by what is missing.
#ifndef PROTO_EVALUATED_H
#define PROTO_EVALUATED_H

#include "proto/error.h"
#include "proto/run.h"

#include <stdint.h>

// Every `every`-th checkpoint, counted in checkpointing periods, so that the answer does not depend
// on how often the run was stopped; and `newest`, the last one that there will be (0: not known
// yet).
bool proto_evaluated_wanted(uint64_t step, uint64_t newest, uint64_t period, uint64_t every);

// RUN/eval/checkpoint-<step>, or name in it ("selection", "results.json"; NULL: the folder).
PROTO_MUST_CHECK bool proto_evaluated_path(const char *run, uint64_t step, const char *name,
                                           char path[static PROTO_PATH_MAX],
                                           struct proto_error *error);
// True when its results.json is there: it is renamed into place when all its episodes are done.
bool proto_evaluated_done(const char *run, uint64_t step);

#endif
