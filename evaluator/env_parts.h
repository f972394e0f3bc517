// evaluator/env_parts.h - the inside of an environment, for the files that move it: env.c steps,
// reset.c starts. Nobody else includes this.
#ifndef EVALUATOR_ENV_PARTS_H
#define EVALUATOR_ENV_PARTS_H

#include "evaluator/numpy_random.h"
#include "evaluator/observation.h"
#include "evaluator/placement.h"
#include "evaluator/predicates.h"
#include "evaluator/world.h"

// The world's model with arrays of its own where resets and steps write: fixture poses and colours.
// Everything else, meshes and textures above all, is the world's.
struct evaluator_own_model {
    mjModel model;
    double *body_pos, *body_quat;  // [nbody, 3], [nbody, 4]
    float *site_rgba, *geom_rgba;  // [nsite, 4], [ngeom, 4]
};

struct evaluator_env {
    struct evaluator_world *world;  // borrowed
    struct evaluator_own_model own;
    mjData *data;
    struct evaluator_controller controller;
    struct evaluator_observer observer;
    struct evaluator_numpy_random random;
    struct evaluator_placed *placed;  // scratch of resets
    uint32_t resets;                  // since the seed, those that found no room included
    bool *goals;                      // [goal_count] after the last step
    bool started, broken;             // a reset took place; physics blew up since
    // pictures: what drawing needs of the moment of the last observation
    bool keeps_pictures, has_picture;
    mjData *picture;
    mjModel picture_model;
    float *picture_rgba;  // [nsite, 4]
    void (*seen)(void *context, uint32_t substep);
    void *seen_context;
};

// Evaluates the goal, then what LIBERO does after it: the burner shows whether the stove is on.
void evaluator_env_judge(struct evaluator_env *env);
// Takes an observation when it is due, the picture with it.
void evaluator_env_observe(struct evaluator_env *env, uint32_t substep, bool force);
// The fixture poses and colours of the world again.
void evaluator_env_restore_model(struct evaluator_env *env);
// Runs one part of the work in a guard; a failure inside libmujoco breaks the environment.
PROTO_MUST_CHECK bool evaluator_env_guarded(struct evaluator_env *env, void (*work)(void *context),
                                            void *context, struct proto_error *error);

#endif
