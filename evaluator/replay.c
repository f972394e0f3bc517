// evaluator/replay.c - sets the stage of a recorded, plays its actions, compares.
#include "evaluator/replay.h"

#include "evaluator/model_file.h"

#include <math.h>
#include <mujoco/mujoco.h>
#include <stdio.h>
#include <stdlib.h>

#define ACTION_WIDTH 7

static bool stage_set(const struct evaluator_world *world, struct evaluator_env *env,
                      const struct evaluator_recorded *recorded, const double *actions,
                      struct proto_error *error) {
    // the first finger closes downwards, the second upwards; a command of 0 moves neither
    const double grip = (actions[6] > 0) - (actions[6] < 0);
    evaluator_env_seed(env, 0);
    if (!evaluator_env_reset(env, error)) return false;
    if (!evaluator_model_file_place(recorded->model_file, world, env, error))
        return proto_error_where(error, "attribute model_file");
    if (!evaluator_env_set_state(env, recorded->states, recorded->state_width, error))
        return proto_error_where(error, "states: row 0");
    evaluator_env_restart_controller(env, (const double[2]){-grip, grip});
    return true;
}

// The largest difference of positions after action t, against the state before action t + 1.
static void compare(const struct evaluator_env *env, uint32_t position_count,
                    const struct evaluator_recorded *recorded, uint32_t t, double *state,
                    struct evaluator_replay *replay) {
    if (t + 1 >= recorded->steps) return;
    const double *then = recorded->states + (size_t)(t + 1) * recorded->state_width;
    evaluator_env_state(env, state);
    for (uint32_t i = 1; i <= position_count; i++) {
        const double off = fabs(state[i] - then[i]);
        if (off <= replay->off) continue;
        replay->off = off;
        replay->off_step = t;
    }
}

bool evaluator_replay_run(const struct evaluator_world *world, struct evaluator_env *env,
                          const struct evaluator_recorded *recorded, const double *actions,
                          struct evaluator_replay *replay, struct proto_error *error) {
    *replay = (struct evaluator_replay){.steps = 0};
    if (!stage_set(world, env, recorded, actions, error)) return false;
    double *state = proto_alloc_array(recorded->state_width, sizeof *state, error);
    if (!state) return false;
    const uint32_t position_count = (uint32_t)evaluator_env_model(env)->nq;
    for (uint32_t t = 0; t < recorded->steps; t++) {
        bool success = false;
        struct proto_error trouble = {0};
        if (!evaluator_env_step(env, actions + (size_t)t * ACTION_WIDTH, &success, &trouble)) {
            snprintf(replay->trouble, sizeof replay->trouble, "%.255s", trouble.text);
            break;
        }
        replay->steps = t + 1;
        if (success && !replay->success) {
            replay->success = true;
            replay->success_step = t;
        }
        compare(env, position_count, recorded, t, state, replay);
    }
    if (replay->trouble[0] != '\0') replay->success = false;
    free(state);
    return true;
}
