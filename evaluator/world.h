// evaluator/world.h - what the parts of an environment share inside this folder: the compiled
// model, and where in it the things of the scene are. Users include evaluator/env.h.
#ifndef EVALUATOR_WORLD_H
#define EVALUATOR_WORLD_H

#include "evaluator/controller.h"
#include "evaluator/env.h"

#include <mujoco/mujoco.h>

#define EVALUATOR_CONTROL_SUBSTEPS 25

// Where an object or fixture is; same index as in scene->things.
struct evaluator_thing_place {
    int32_t body;       // "<name>_main"
    int32_t free_qpos;  // of its free joint; -1: none
    int32_t burner;     // site that shows whether it is on; -1: none
    int32_t *joints;    // ids, [joint_count]: of its joints without the free one
    uint32_t joint_count;
};
// Where a region is; same index as in scene->sites.
struct evaluator_site_place {
    int32_t site;
    int32_t *joints;
    uint32_t joint_count;
};
struct evaluator_plan;
struct evaluator_fact;
struct evaluator_world {
    struct evaluator_scene *scene;
    mjModel *model;  // never changed after open
    struct evaluator_robot robot;
    struct evaluator_thing_place *things;
    struct evaluator_site_place *sites;
    int32_t *geom_things;          // [ngeom] thing whose contact geom it is; -1: none
    int32_t *joints;               // backing of the lists above
    struct evaluator_plan *plan;   // how resets place things
    struct evaluator_fact *goals;  // [scene->bddl->goal_count]
};

// Index of a thing or region by name; -1: none.
int32_t evaluator_world_thing(const struct evaluator_world *world, const char *name);
int32_t evaluator_world_site(const struct evaluator_world *world, const char *name);

#endif
