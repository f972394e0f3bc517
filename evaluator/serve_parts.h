// evaluator/serve_parts.h - what the sources of evaluator/serve share. Not for others.
#ifndef EVALUATOR_SERVE_PARTS_H
#define EVALUATOR_SERVE_PARTS_H

#include "evaluator/announced.h"
#include "evaluator/scoreboard.h"
#include "evaluator/serve.h"
#include "evaluator/serve_queue.h"
#include "proto/run.h"

// Of the evaluation under way and of the run, for `pipeline status`.
struct evaluator_serve_counters {
    bool evaluating;
    uint64_t step;               // being evaluated
    uint32_t episode, episodes;  // done and planned, both lists of start states
    uint32_t before;             // planned in the list that is through
    uint32_t waiting;            // checkpoints left
    uint64_t flown;              // episodes seen to finish by this process
    double eta_s;                // < 0: not known
    double checkpoint_s;         // that the last one took; 0: not known
};

struct evaluator_serve {
    const char *run;
    uint32_t number;
    const struct proto_config *config;
    struct proto_link *link;
    // the run as it was looked at last
    struct evaluator_serve_item *items;  // [count], ascending by step
    struct evaluator_present *present;   // [count]; a hash that cannot be read is 0
    size_t count;
    struct evaluator_scoreboard board;
    struct evaluator_announced announced;
    uint64_t *left;  // [left_count] steps whose episodes were all with others
    size_t left_count;
    uint32_t failed;  // given up by this process
    bool pause;       // what was found changes by itself: wait a moment before the next look
    struct evaluator_serve_counters counters;
};

// serve_look.c - reads the run folder into items, present and board.
PROTO_MUST_CHECK bool evaluator_serve_look(struct evaluator_serve *serve,
                                           struct proto_error *error);
// The content of a checkpoint's weights by its own list. False: there is no such checkpoint, or it
// cannot say.
bool evaluator_serve_hash(const char *run, uint64_t step, uint64_t *hash);
// RUN/checkpoint-<step>.
PROTO_MUST_CHECK bool evaluator_serve_checkpoint(const char *run, uint64_t step,
                                                 char path[static PROTO_PATH_MAX],
                                                 struct proto_error *error);
// Who is at work on a checkpoint holds a lock that dies with its process. *alone: nobody else does.
PROTO_MUST_CHECK bool evaluator_serve_join(const char *run, uint64_t step, int *descriptor,
                                           bool *alone, struct proto_error *error);
bool evaluator_serve_others(const char *run, uint64_t step);
// Gives a checkpoint up in RUN/eval/checkpoint-<step>/failed.json, for this supervisor's life.
// *told false: somebody did already.
PROTO_MUST_CHECK bool evaluator_serve_give_up(struct evaluator_serve *serve, uint64_t step,
                                              uint64_t hash, const struct proto_error *why,
                                              bool *told, struct proto_error *error);

// serve_checkpoint.c - one checkpoint, as far as there are episodes to take. Only this machine's
// failures and stops return false; what is wrong with a checkpoint is told and noted.
PROTO_MUST_CHECK bool evaluator_serve_evaluate(struct evaluator_serve *serve, uint64_t step,
                                               bool controls, struct proto_error *error);
// Brings RUN/best up to date, under the board's lock.
PROTO_MUST_CHECK bool evaluator_serve_best(struct evaluator_serve *serve,
                                           struct proto_error *error);
// Tells the counters.
void evaluator_serve_tell(struct evaluator_serve *serve);

#endif
