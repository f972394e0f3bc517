// evaluator/serve_queue.h - what an evaluator of a run does next, decided from what lies on the
// disk and nothing else.
//
// The newest checkpoint first: people want to know where training stands. In the end every one that
// evaluator.every wants, then the controls of those that shall have them. A checkpoint whose
// episodes are all with other evaluators is theirs as long as they live.
#ifndef EVALUATOR_SERVE_QUEUE_H
#define EVALUATOR_SERVE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct evaluator_serve_item {
    uint64_t step;
    bool done;      // results.json and its line in metrics.jsonl are those of this checkpoint
    bool controls;  // the same for the controls
    bool failed;    // given up
    bool others;    // what is left is with others who are at it
};
enum evaluator_serve_controls { EVALUATOR_NEVER, EVALUATOR_BEST, EVALUATOR_ALL };
struct evaluator_serve_run {
    const struct evaluator_serve_item *items;  // ascending by step
    size_t count;
    bool last;               // no more checkpoints will come
    uint64_t period, every;  // trainer.checkpointing_period, evaluator.every
    enum evaluator_serve_controls controls;
    bool best_known;
    uint64_t best_step;
};

enum evaluator_serve_action {
    EVALUATOR_SERVE_EVALUATE,  // `step`, with controls if so set for all
    EVALUATOR_SERVE_CONTROLS,  // of `step`, which is done else
    EVALUATOR_SERVE_LOOK,      // others are still at work, who may die
    EVALUATOR_SERVE_WAIT,      // for a word that there is something new
    EVALUATOR_SERVE_LEAVE,
};
struct evaluator_serve_next {
    enum evaluator_serve_action action;
    uint64_t step;
    uint32_t waiting;  // checkpoints that are still to do behind this one
};
struct evaluator_serve_next evaluator_serve_next(const struct evaluator_serve_run *run);

#endif
