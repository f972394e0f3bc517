// evaluator/env.h - LIBERO environments: one compiled model shared by many, each with its own
// state.
//
//     struct evaluator_world *world = NULL;   // once per task: compose, compile (a second or so)
//     struct evaluator_env *env = NULL;       // cheap: a state over the world's model
//     struct evaluator_rows rows;             // start states of the task
//     if (!evaluator_world_open(&libero, "libero_90", task, &world, error)) ...
//     if (!evaluator_env_new(world, &env, error)) ...
//     evaluator_env_seed(env, 7);             // as numpy.random.seed(7)
//     if (!evaluator_env_reset(env, error)) ...
//     if (!evaluator_env_set_state(env, row, width, error)) ...
//     for (step...) {
//         bool success;
//         if (!evaluator_env_step(env, action, &success, error)) ...   // 50 ms of the robot's time
//         const struct evaluator_observation *seen = evaluator_env_observation(env);
//     }
//
// Physics, controller (OSC_POSE), observations, staleness and predicates are those of robosuite
// 1.4.0 with LIBERO on libmujoco 3.3.2; docs/simulator.md says what is equal to how many digits.
// No global state: environments of one world may be stepped in threads of their own.
#ifndef EVALUATOR_ENV_H
#define EVALUATOR_ENV_H

#include "evaluator/libero.h"
#include "evaluator/scene.h"
#include "proto/error.h"

#include <stdint.h>

struct evaluator_world;
struct evaluator_env;
struct mjModel_;  // of libmujoco
struct mjData_;

// PROTO_MISSING: another libmujoco than 3.3.2 (unless EVALUATOR_ANY_MUJOCO is given as flag), files
// of the scene lack (named). PROTO_DAMAGED: BDDL, mesh or texture is broken.
enum evaluator_world_flag { EVALUATOR_ANY_MUJOCO = 1 };
PROTO_MUST_CHECK bool evaluator_world_open(const struct evaluator_libero *libero,
                                           const char *bddl_path, unsigned flags,
                                           struct evaluator_world **world,
                                           struct proto_error *error);
void evaluator_world_close(struct evaluator_world **world);  // after its environments
const struct evaluator_scene *evaluator_world_scene(const struct evaluator_world *world);
uint32_t evaluator_world_state_width(const struct evaluator_world *world);  // 1 + nq + nv
const char *evaluator_mujoco_version(void);                                 // "3.3.2"

PROTO_MUST_CHECK bool evaluator_env_new(struct evaluator_world *world, struct evaluator_env **env,
                                        struct proto_error *error);
void evaluator_env_free(struct evaluator_env **env);

// numpy.random.seed: what the next reset draws from. Also makes the next reset the first after
// construction (LIBERO draws more at each further one).
void evaluator_env_seed(struct evaluator_env *env, uint32_t seed);
// The same for a recording of one process: the next reset is the one after `resets` others.
void evaluator_env_seed_after(struct evaluator_env *env, uint32_t seed, uint32_t resets);
PROTO_MUST_CHECK bool evaluator_env_reset(struct evaluator_env *env, struct proto_error *error);
// set_init_state: time, qpos, qvel; controller goal, gripper and warm start stay as they are.
PROTO_MUST_CHECK bool evaluator_env_set_state(struct evaluator_env *env, const double *state,
                                              uint32_t width, struct proto_error *error);
void evaluator_env_state(const struct evaluator_env *env, double *state);  // [state_width]
// Fixture poses, for replays whose seed is unknown: pos[3], quat[4] wxyz of fixture's body. Takes
// effect with the next state that is set, and lasts until the next reset.
PROTO_MUST_CHECK bool evaluator_env_place_fixture(struct evaluator_env *env, const char *name,
                                                  const double pos[3], const double quat[4],
                                                  struct proto_error *error);
// A replay of a recorded demonstration starts with its own controller snapshot and gripper state:
// takes the snapshot here and now, sets the gripper integrator and the observation timer.
void evaluator_env_restart_controller(struct evaluator_env *env, const double gripper[2]);

// One control step of 25 substeps. action: dx dy dz, rx ry rz, gripper; clipped to [-1, 1].
// *success: the goal is true now. PROTO_FAILED "physics blew up" when a state is not finite or
// MuJoCo warns so; the episode counts as failure.
PROTO_MUST_CHECK bool evaluator_env_step(struct evaluator_env *env, const double action[7],
                                         bool *success, struct proto_error *error);

// What the official step returned (taken one substep before the end after set_state). Valid until
// the next step or reset.
struct evaluator_observation {
    double joint_pos[7], joint_vel[7];
    double eef_pos[3], eef_quat[4];  // quat xyzw
    double gripper_qpos[2], gripper_qvel[2];
    double ee_ori[3];  // axis-angle, as the datasets store it
    uint32_t substep;  // at which it was taken
};
const struct evaluator_observation *evaluator_env_observation(const struct evaluator_env *env);

// Goal conjuncts as they stand after the last step (old contacts, new joints, as official).
uint32_t evaluator_env_goal_count(const struct evaluator_env *env);
bool evaluator_env_goal(const struct evaluator_env *env, uint32_t conjunct);
// Any predicate on the present state.
PROTO_MUST_CHECK bool evaluator_env_predicate(const struct evaluator_env *env,
                                              enum evaluator_predicate predicate, const char *first,
                                              const char *second, bool *truth,
                                              struct proto_error *error);

// Cameras take their picture of the state at which the observation was taken (evaluator/camera.h);
// the environment keeps a copy of what drawing needs only while this is on.
void evaluator_env_keep_pictures(struct evaluator_env *env, bool on);
// For drawing and tests: the model (with this environment's fixture poses and colours) and data.
struct mjModel_ *evaluator_env_model(struct evaluator_env *env);
struct mjData_ *evaluator_env_data(struct evaluator_env *env);
// Model and data as drawing should see them for the last observation (colours change after it was
// taken); the present ones while pictures are not kept.
const struct mjModel_ *evaluator_env_picture_model(const struct evaluator_env *env);
struct mjData_ *evaluator_env_picture(struct evaluator_env *env);
// Calls seen(context, substep) after each substep, for traces; NULL: no more.
void evaluator_env_watch(struct evaluator_env *env, void (*seen)(void *context, uint32_t substep),
                         void *context);

#endif
