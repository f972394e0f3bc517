// evaluator/serve.h - the evaluator of a run: finds checkpoints that are not evaluated yet, rolls
// them out, keeps the board of what came of it and the link to the best, until no more will come.
//
// Truth is the run folder; the lines of the supervisor only say when to look. Several evaluators of
// a run share the episodes of a checkpoint through its journal. One that is killed leaves nothing
// wrong behind: finished episodes are in the journal, results.json is renamed into place when all
// are, and only then comes the line of the board.
//
// A checkpoint is evaluated from two lists of start states: 0-9 choose the best (RUN/eval/
// checkpoint-<step>/selection), those from 10 on are reported (RUN/eval/checkpoint-<step>). What
// cannot be evaluated is given up with an event, for as long as this supervisor lives, and does not
// hold up the others.
#ifndef EVALUATOR_SERVE_H
#define EVALUATOR_SERVE_H

#include "proto/config.h"
#include "proto/link.h"

struct evaluator_serve_settings {
    const char *run;
    uint32_t number;  // of this evaluator; 0 tells which checkpoints were removed too early
    const struct proto_config *config;
    struct proto_link *link;
};
// Returns true when everything is done that will ever be. PROTO_RESUMABLE: told to stop. By hand,
// what is there is everything, and PROTO_FAILED says that some could not be evaluated; under a
// supervisor the events say that. PROTO_EXHAUSTED, PROTO_MISSING: this machine, not a checkpoint.
PROTO_MUST_CHECK bool evaluator_serve(const struct evaluator_serve_settings *settings,
                                      struct proto_error *error);

// Will there be something to evaluate with? The suite and its tasks, the simulator with the cameras
// and channels of the run's codec.json, a way to draw. PROTO_MISSING, PROTO_USAGE, PROTO_DAMAGED,
// PROTO_REFUSED with the reason.
PROTO_MUST_CHECK bool evaluator_serve_check(const char *run, const struct proto_config *config,
                                            struct proto_error *error);

#endif
