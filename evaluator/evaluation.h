// evaluator/evaluation.h - a whole evaluation: a checkpoint, tasks, start states, controls; out
// come results.json and a journal that makes it restartable. The verb and the stage both run this.
#ifndef EVALUATOR_EVALUATION_H
#define EVALUATOR_EVALUATION_H

#include "evaluator/results.h"
#include "evaluator/simulation.h"

// Start states 0 .. 9 choose the best checkpoint; what is reported comes from later ones.
#define EVALUATOR_SELECTION_ROWS 10

struct evaluator_progress {
    uint32_t done, total;                  // episodes, of all processes
    uint32_t successes, successes_of;      // of the policy so far
    double elapsed_s, left_s;              // left_s < 0: not known yet
    const struct evaluator_episode *last;  // NULL at the start
    const char *task;
};
// Makes who watches the episodes of a task (video); *audience NULL: nobody. Kept until `leave`.
struct evaluator_cinema {
    void *context;
    bool (*enter)(void *context, const struct evaluator_results_task *task,
                  struct evaluator_simulation *simulation, struct evaluator_audience **audience,
                  struct proto_error *error);
    void (*leave)(void *context);
};

struct evaluator_evaluation {
    const char *checkpoint;    // as evaluator_policy_open takes it
    const char *folder;        // output; made when it is not there
    bool restart;              // throw away what the folder's journal has
    bool renew;                // the same, where it is of another checkpoint or protocol
    const char *libero;        // root, "" by the rule
    const char *benchmark;     // suite
    const char *const *tasks;  // names, or one "trained" or "first:N"
    size_t task_count;
    uint32_t row_first, row_count;  // start states
    uint32_t environments, max_steps, settle_steps;
    uint32_t exec_horizon;  // 0: 16, or the chunk where that is shorter
    uint64_t seed;
    bool controls;  // open loop and blind beside the policy
    bool raw;
    const char *device, *render;
    uint32_t threads, batch;
    const struct evaluator_cinema *cinema;  // NULL: no video
    void *context;                          // of the three below; each may be NULL
    void (*say)(void *context, const char *line);
    void (*progress)(void *context, const struct evaluator_progress *progress);
    bool (*stop)(void *context);
    // sees the policy's facts before anything runs and may refuse
    bool (*accept)(void *context, const struct evaluator_policy_facts *facts,
                   struct proto_error *error);
};
// *complete: every planned episode has an outcome and folder/results.json is written; false: other
// processes still have some, the last of them writes it. PROTO_RESUMABLE: told to stop; what was
// finished is kept, and the same call goes on.
PROTO_MUST_CHECK bool evaluator_evaluation_run(const struct evaluator_evaluation *evaluation,
                                               struct evaluator_results **results, bool *complete,
                                               struct proto_error *error);

#endif
