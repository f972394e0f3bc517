// evaluator/announced.h - which checkpoints a run has had, whether or not they are still there, and
// what became of each: events.jsonl of the run, read on as it grows.
//
// This is how one is found that rotation removed before it was evaluated. The same file says that
// this was told already, by whom ever.
#ifndef EVALUATOR_ANNOUNCED_H
#define EVALUATOR_ANNOUNCED_H

#include "proto/error.h"

#include <stdint.h>
#include <sys/types.h>

enum evaluator_fate { EVALUATOR_WRITTEN, EVALUATOR_FINISHED, EVALUATOR_FAILED, EVALUATOR_SKIPPED };
struct evaluator_announced {
    struct checkpoint_fate {
        uint64_t step;
        enum evaluator_fate fate;  // a checkpoint that is written again begins anew
        bool finished_once;        // by an event, of this checkpoint or one that it replaced
    } * items;
    size_t count;
    off_t read;  // bytes of whole lines taken so far
};
// Reads what was appended since. No file is no events. Lines that make no sense are passed over.
PROTO_MUST_CHECK bool evaluator_announced_read(struct evaluator_announced *announced,
                                               const char *run, struct proto_error *error);
// One that was seen on the disk, in case its event is not there yet: WRITTEN if it was not known.
PROTO_MUST_CHECK bool evaluator_announced_see(struct evaluator_announced *announced, uint64_t step,
                                              struct proto_error *error);
// What became of a known one, as this process found or told.
void evaluator_announced_set(struct evaluator_announced *announced, uint64_t step,
                             enum evaluator_fate fate);
void evaluator_announced_free(struct evaluator_announced *announced);

#endif
