// evaluator/scoreboard.h - RUN/eval/metrics.jsonl: a line for each checkpoint whose evaluation is
// finished, and RUN/best, the link to the one that selection prefers.
//
// A line is appended after results.json is in place, under the lock of RUN/eval/lock, by whichever
// evaluator got there first: so each evaluation is told once, however many took part. A later line
// of the same step replaces the one before it: the controls were added, or another checkpoint of
// that step was evaluated.
#ifndef EVALUATOR_SCOREBOARD_H
#define EVALUATOR_SCOREBOARD_H

#include "proto/error.h"

#include <jansson.h>
#include <stdint.h>

struct evaluator_count {
    uint32_t successes, episodes;
};
struct evaluator_score {
    uint64_t step, checkpoint_hash;
    struct evaluator_count policy, selection;
    bool controls;  // the two below were flown
    struct evaluator_count open_loop, blind;
    double interval95[2];    // of the policy's rate
    uint32_t not_evaluated;  // tasks that could not be
    double wall_s;           // of the evaluator that finished it
};
struct evaluator_scoreboard {
    struct evaluator_score *scores;  // the newest of each step, ascending by step
    size_t count;
};

// The lock is held until its descriptor is closed. Makes RUN/eval.
PROTO_MUST_CHECK bool evaluator_scoreboard_lock(const char *run, int *descriptor,
                                                struct proto_error *error);
// No file is an empty board. Lines that are cut short or make no sense are passed over: what lacks
// a line is told again.
PROTO_MUST_CHECK bool evaluator_scoreboard_read(const char *run, struct evaluator_scoreboard *board,
                                                struct proto_error *error);
void evaluator_scoreboard_free(struct evaluator_scoreboard *board);
// Durable. PROTO_EXHAUSTED: disk full.
PROTO_MUST_CHECK bool evaluator_scoreboard_append(const char *run,
                                                  const struct evaluator_score *score,
                                                  struct proto_error *error);
// NULL: that checkpoint has none.
const struct evaluator_score *evaluator_scoreboard_find(const struct evaluator_scoreboard *board,
                                                        uint64_t step, uint64_t checkpoint_hash);
// {"step", "success_rate", "interval95", ...} as in the file, but without its time. NULL: no
// memory.
json_t *evaluator_score_json(const struct evaluator_score *score);

// A checkpoint that is there.
struct evaluator_present {
    uint64_t step, checkpoint_hash;
};
// The best of those present: most successes of the selection, the later of equals. NULL: none of
// them has a score.
const struct evaluator_score *evaluator_best_choose(const struct evaluator_scoreboard *board,
                                                    const struct evaluator_present *present,
                                                    size_t count);
// RUN/best -> checkpoint-<step>, replaced at once. *changed false: it was that already.
PROTO_MUST_CHECK bool evaluator_best_link(const char *run, uint64_t step, bool *changed,
                                          struct proto_error *error);

#endif
