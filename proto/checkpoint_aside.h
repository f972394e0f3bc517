// proto/checkpoint_aside.h - going back over steps that a run has done already.
//
// A run that resumes an older checkpoint trains the steps behind it anew. The checkpoints of those
// steps are of another history: the newest of them would be resumed from next, and rotation would
// count them as newer than what is being written. They are not removed, because somebody trained
// them: checkpoint-<step> becomes checkpoint-<step>.aside (.aside-2 and so on), which nothing here
// counts as a checkpoint any more.
#ifndef PROTO_CHECKPOINT_ASIDE_H
#define PROTO_CHECKPOINT_ASIDE_H

#include "proto/error.h"

#include <stdint.h>

// Sets aside the whole checkpoints of steps after `step`; *count of them. `best` follows its
// target. Only rank 0 calls it, before it writes. A death in between leaves some of them set aside.
PROTO_MUST_CHECK bool proto_checkpoint_set_aside(const char *run, uint64_t step, size_t *count,
                                                 struct proto_error *error);

#endif
