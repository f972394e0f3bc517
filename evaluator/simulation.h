// evaluator/simulation.h - LIBERO as a rollout sees it: the environments of one task, their start
// states and cameras, behind the table of evaluator/rollout.h.
#ifndef EVALUATOR_SIMULATION_H
#define EVALUATOR_SIMULATION_H

#include "evaluator/camera.h"
#include "evaluator/env.h"
#include "evaluator/rollout.h"

struct evaluator_simulation_settings {
    const struct evaluator_libero *libero;
    const char *bddl_path, *init_path;  // init_path "": start states of the suite `demo`
    const struct proto_codec *codec;    // cameras, sizes, orientation; its sources
    uint32_t environments;
    const char *render;  // of evaluator_camera_open
    bool pictures;       // false: nobody looks (controls without a policy)
};
struct evaluator_simulation;
// PROTO_MISSING and PROTO_DAMAGED are about the task's files; PROTO_REFUSED: the codec names a
// camera that the scene lacks.
PROTO_MUST_CHECK bool
evaluator_simulation_open(const struct evaluator_simulation_settings *settings,
                          struct evaluator_simulation **simulation, struct proto_error *error);
void evaluator_simulation_close(struct evaluator_simulation **simulation);  // accepts NULL

uint32_t evaluator_simulation_rows(const struct evaluator_simulation *simulation);
const char *evaluator_simulation_renderer(const struct evaluator_simulation *simulation);
struct evaluator_world *evaluator_simulation_world(struct evaluator_simulation *simulation);
struct evaluator_env *evaluator_simulation_env(struct evaluator_simulation *simulation,
                                               uint32_t environment);
struct evaluator_simulator evaluator_simulation_table(struct evaluator_simulation *simulation);

#endif
