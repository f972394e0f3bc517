// evaluator/placement.h - where a reset puts things: the draws that LIBERO's samplers make, in
// their order. Order matters as much as the formulas: one stream of random numbers feeds them all.
//
// Joints first, in :init order. Then things on regions of the workspace in :init order, then those
// on sites of other things, then those in sites, then those on other objects.
#ifndef EVALUATOR_PLACEMENT_H
#define EVALUATOR_PLACEMENT_H

#include "evaluator/numpy_random.h"
#include "evaluator/world.h"

enum evaluator_placement_kind {
    EVALUATOR_FIXTURE_ON_WORKSPACE,
    EVALUATOR_OBJECT_ON_WORKSPACE,
    EVALUATOR_OBJECT_ON_SITE,
    EVALUATOR_OBJECT_IN_SITE,
    EVALUATOR_OBJECT_ON_OBJECT,
};
struct evaluator_placement {
    enum evaluator_placement_kind kind;
    int32_t thing;
    int32_t reference;                      // thing below or around it; -1: workspace
    int32_t site;                           // index into scene->sites; -1: none
    const struct evaluator_region *region;  // of the workspace; NULL: none
};
struct evaluator_articulation {
    const int32_t *joints;  // ids; all get the same value
    uint32_t joint_count;
    double low, high;
};
struct evaluator_plan {
    struct evaluator_placement *placements;
    struct evaluator_articulation *articulations;
    uint32_t placement_count, articulation_count;
};
struct evaluator_placed {
    int32_t thing;
    double pos[3], quat[4];  // quat as MuJoCo reads it, wxyz
};

// Reads :init. PROTO_DAMAGED, with the line, when a placement cannot be carried out.
PROTO_MUST_CHECK bool evaluator_plan_new(const struct evaluator_world *world,
                                         struct evaluator_plan **plan, struct proto_error *error);
void evaluator_plan_free(struct evaluator_plan **plan);

// Draws one articulation after the other into data->qpos, the whole list `times` times.
void evaluator_plan_articulate(const struct evaluator_plan *plan, const mjModel *model,
                               mjData *data, uint32_t times, struct evaluator_numpy_random *random);
// Fills placed [placement_count]. `data` has site frames of the scene with fixtures at their XML
// pose. False when a thing found no free place in 5000 tries: the reset starts over.
PROTO_MUST_CHECK bool evaluator_plan_place(const struct evaluator_plan *plan,
                                           const struct evaluator_world *world, const mjData *data,
                                           struct evaluator_numpy_random *random,
                                           struct evaluator_placed *placed);

#endif
