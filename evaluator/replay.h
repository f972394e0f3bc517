// evaluator/replay.h - plays a recorded demonstration back, open loop, and says how far the states
// went from the recorded ones and whether the task was solved. A wrong sign, frame, unit or clip
// anywhere between file and controller shows here.
#ifndef EVALUATOR_REPLAY_H
#define EVALUATOR_REPLAY_H

#include "evaluator/env.h"
#include "evaluator/recorded.h"

struct evaluator_replay {
    bool success;           // the goal was true after some step
    uint32_t success_step;  // the first of them
    double off;             // largest |difference| of a position (m, rad, quaternion), all steps
    uint32_t off_step;      // after which action
    uint32_t steps;         // that were played
    char trouble[256];      // why it ended early; "" if it did not
};

// Fixtures as in the recording's model, its first state, a fresh controller there, the gripper as
// the first action holds it (LIBERO drops the five steps in which it got there), then `actions`
// [steps, 7]. The same input gives the same result whatever the environment did before.
// PROTO_DAMAGED: the recording is of another scene.
PROTO_MUST_CHECK bool evaluator_replay_run(const struct evaluator_world *world,
                                           struct evaluator_env *env,
                                           const struct evaluator_recorded *recorded,
                                           const double *actions, struct evaluator_replay *replay,
                                           struct proto_error *error);

#endif
