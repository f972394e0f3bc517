// evaluator/results.h - results.json: what episodes came to, under which protocol, and what may be
// said of it. docs/results.md describes the file.
//
// Results are a set of outcomes, one per (task, pilot, start state). Partial ones are merged by
// union; two outcomes of the same episode that disagree are an error, never a double.
#ifndef EVALUATOR_RESULTS_H
#define EVALUATOR_RESULTS_H

#include "evaluator/rollout.h"

#include <jansson.h>
#include <stdio.h>

#define EVALUATOR_EPISODES_MAX 1000000

// Texts are owned by the results.
struct evaluator_results_task {
    char *task, *language;
    bool seen;     // trained on
    char *reason;  // why it was not evaluated; NULL: it was
};
struct evaluator_results {
    // protocol: equal for all that may be compared
    uint64_t seed;
    uint32_t max_steps, exec_horizon, settle_steps;
    char mujoco[32];
    uint64_t assets_hash;
    // what was evaluated, and how its pictures were drawn
    char *checkpoint, *benchmark, *renderer;
    uint64_t step, checkpoint_hash, codec_hash;
    struct evaluator_results_task *tasks;
    uint32_t task_count;
    struct evaluator_episode *episodes;  // `task` is a row of tasks; sorted by task, pilot, row
    uint32_t episode_count;
};
void evaluator_results_free(struct evaluator_results **results);  // accepts NULL

PROTO_MUST_CHECK bool evaluator_results_new(struct evaluator_results **results,
                                            struct proto_error *error);
// Copies the texts; reason may be NULL. *task: its row.
PROTO_MUST_CHECK bool evaluator_results_add_task(struct evaluator_results *results,
                                                 const char *task, const char *language, bool seen,
                                                 const char *reason, uint32_t *row,
                                                 struct proto_error *error);
// PROTO_DAMAGED: the same episode is there with another outcome. An equal one is passed over.
PROTO_MUST_CHECK bool evaluator_results_add(struct evaluator_results *results,
                                            const struct evaluator_episode *episode,
                                            struct proto_error *error);
// Whether there is an outcome of this task, pilot and start state.
bool evaluator_results_have(const struct evaluator_results *results,
                            const struct evaluator_episode *episode);
// Adds all of `from`. PROTO_USAGE: another protocol or checkpoint, naming what differs.
PROTO_MUST_CHECK bool evaluator_results_merge(struct evaluator_results *results,
                                              const struct evaluator_results *from,
                                              struct proto_error *error);
// PROTO_USAGE naming the first number of the protocol that differs.
PROTO_MUST_CHECK bool evaluator_results_comparable(const struct evaluator_results *a,
                                                   const struct evaluator_results *b,
                                                   struct proto_error *error);

// Successes among the episodes of a task (UINT32_MAX: of all) and pilot.
struct evaluator_tally {
    uint32_t episodes, successes;
    double interval95[2];
    double steps_mean;  // of the successes; 0: none
};
struct evaluator_tally evaluator_results_tally(const struct evaluator_results *results,
                                               uint32_t task, enum evaluator_pilot pilot);

// What a result must hold to count as proof: in every task at least `policy_min` successes of the
// policy, and at most `control_max` of open loop and of blind, which must be there. UINT32_MAX:
// not asked. PROTO_FAILED names the first row that fails.
PROTO_MUST_CHECK bool evaluator_results_prove(const struct evaluator_results *results,
                                              uint32_t policy_min, uint32_t control_max,
                                              struct proto_error *error);

// The file, durable; strict when read.
PROTO_MUST_CHECK bool evaluator_results_write(const char *path,
                                              const struct evaluator_results *results,
                                              struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_results_read(const char *path, struct evaluator_results **results,
                                             struct proto_error *error);
json_t *evaluator_results_json(const struct evaluator_results *results);  // NULL: no memory

// For people.
// Why the policy's rate is no proof that it sees, or NULL when the controls leave no doubt.
const char *evaluator_results_doubt(const struct evaluator_results *results);
void evaluator_results_table(const struct evaluator_results *results, FILE *out);
// The two paired on the same starts. PROTO_USAGE: not comparable, or nothing in common.
PROTO_MUST_CHECK bool evaluator_results_diff(const struct evaluator_results *a,
                                             const struct evaluator_results *b, FILE *out,
                                             struct proto_error *error);

#endif
