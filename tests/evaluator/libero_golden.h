// tests/evaluator/libero_golden.h - what the parts of libero_golden share: the task folder under
// test and the table of deviations it prints.
#ifndef TESTS_EVALUATOR_LIBERO_GOLDEN_H
#define TESTS_EVALUATOR_LIBERO_GOLDEN_H

#include "evaluator/env.h"
#include "evaluator/libero.h"

#include <jansson.h>
#include <mujoco/mujoco.h>

struct golden_task {
    const struct evaluator_libero *libero;
    const char *links;  // folder with the links libero and robosuite: what model.xml is relative to
    const char *folder;  // of the task
    json_t *info;        // info.json or predicates.json
    struct evaluator_world *world;
    struct evaluator_env *env;  // seeded with 0 and reset
    bool failed;
};

// One line of the report: the largest deviation of `what` beside its limit. NaN fails.
void golden_report(struct golden_task *task, const char *what, double deviation, double limit,
                   const char *place);
// Counts that must be zero: "12 of 3000 differ".
void golden_report_count(struct golden_task *task, const char *what, size_t differing, size_t of,
                         const char *first);

// Doubles of folder/name.f64; PROTO_DAMAGED unless there are `count` of them. The caller frees.
PROTO_MUST_CHECK double *golden_doubles(const struct golden_task *task, const char *name,
                                        size_t count, struct proto_error *error);
// Largest |a - b|; infinite when one is not a number.
double golden_deviation(const double *a, const double *b, size_t count);

// Our composition, compiled, against the recorded model.xml.
PROTO_MUST_CHECK bool golden_scene(struct golden_task *task, struct proto_error *error);
// Poses of a JSON object of fixtures against the environment's; or into it.
PROTO_MUST_CHECK bool golden_fixtures_compare(struct golden_task *task, const json_t *fixtures,
                                              struct proto_error *error);
PROTO_MUST_CHECK bool golden_fixtures_place(struct golden_task *task, const json_t *fixtures,
                                            struct proto_error *error);
// A folder with info.json: controller, torques, trace, observations, goals, frames.
PROTO_MUST_CHECK bool golden_trace(struct golden_task *task, struct proto_error *error);
// A folder with predicates.json: every predicate of every state.
PROTO_MUST_CHECK bool golden_predicates(struct golden_task *task, struct proto_error *error);

// Frames of a recorded trace: the names that the folder has, drawn and compared as they come up.
struct golden_frames;
PROTO_MUST_CHECK bool golden_frames_open(struct golden_task *task, struct golden_frames **frames,
                                         struct proto_error *error);
PROTO_MUST_CHECK bool golden_frames_step(struct golden_frames *frames, uint32_t step,
                                         struct proto_error *error);
void golden_frames_close(struct golden_frames **frames);  // reports

#endif
