// evaluator/rollout.h - runs episodes of one task: several environments side by side, whose
// questions go to the policy together.
//
// An episode is (task, start state `row`). It begins with a reset under its seed, the first after
// construction, then the start state, then `settle_steps` of the open, motionless gripper, which do
// not count. History then starts empty. Every `exec_horizon` control steps the policy is asked for
// a chunk, of which so many actions are executed. The first success ends the episode; so does
// `max_steps`. Three pilots fly the same episodes:
//   policy     sees what the cameras see
//   blind      the same policy, all frames masked out (it sees the background instead)
//   open_loop  the mean action of the training episodes at each step, then no motion
#ifndef EVALUATOR_ROLLOUT_H
#define EVALUATOR_ROLLOUT_H

#include "evaluator/policy.h"

enum evaluator_pilot { EVALUATOR_POLICY, EVALUATOR_OPEN_LOOP, EVALUATOR_BLIND, EVALUATOR_PILOTS };
extern const char *const evaluator_pilot_names[EVALUATOR_PILOTS];  // "policy", "open_loop", "blind"

// What is to be done, and what came of it.
struct evaluator_episode {
    uint32_t task;  // of whoever plans; a rollout does not look at it
    enum evaluator_pilot pilot;
    uint32_t row, seed;
    bool success;
    uint32_t steps;        // control steps done: of a success, those it took
    uint64_t frames_hash;  // over every frame the policy saw, in order; 0: none
    char note[160];        // why it broke off; "" when it did not
};

// What a rollout needs of simulators; environments are numbered. Errors of status PROTO_FAILED end
// the episode as a failure with their text as note, others end the rollout.
struct evaluator_simulator {
    void *context;
    // Seed, reset, start state.
    bool (*begin)(void *context, uint32_t environment, uint32_t row, uint32_t seed,
                  struct proto_error *error);
    // One step of the open, motionless gripper.
    bool (*settle)(void *context, uint32_t environment, struct proto_error *error);
    // x [action_count]
    bool (*step)(void *context, uint32_t environment, const double *x, bool *success,
                 struct proto_error *error);
    // The present moment: state [state_count]; images[camera] [height, width, 3] in the codec's
    // order and orientation, or images NULL when nobody will see them.
    bool (*observe)(void *context, uint32_t environment, double *state, uint8_t *const *images,
                    struct proto_error *error);
};

enum evaluator_scene_end { EVALUATOR_RUNNING, EVALUATOR_SUCCEEDED, EVALUATOR_GAVE_UP };
// Who wants to see an episode (video). `frame` is called at step 0 and after every control step;
// it draws for itself what it wants of the environment.
struct evaluator_audience {
    void *context;
    bool (*wants)(void *context, const struct evaluator_episode *episode);
    bool (*frame)(void *context, const struct evaluator_episode *episode, uint32_t environment,
                  enum evaluator_scene_end end, struct proto_error *error);
};

struct evaluator_rollout {
    const struct proto_codec *codec;
    const char *task;      // name, key of the noise
    uint32_t policy_task;  // of evaluator_policy_task
    uint32_t environments, max_steps, exec_horizon, settle_steps;
    struct evaluator_simulator simulator;
    const struct evaluator_audience *audience;  // NULL: nobody
    const struct proto_open_loop *open_loop;    // NULL: no such pilot
    uint32_t open_loop_task;
    void *context;  // of the four below
    bool (*decide)(void *context, const struct evaluator_query *queries, uint32_t count,
                   struct proto_error *error);
    // The next episode to run; *any false: there is none left.
    bool (*next)(void *context, struct evaluator_episode *episode, bool *any,
                 struct proto_error *error);
    bool (*done)(void *context, const struct evaluator_episode *episode, struct proto_error *error);
    bool (*stop)(void *context);  // looked at in every round; may be NULL
};
// Runs until `next` has no more. PROTO_RESUMABLE: told to stop; episodes under way are lost.
PROTO_MUST_CHECK bool evaluator_rollout_run(const struct evaluator_rollout *rollout,
                                            struct proto_error *error);

#endif
