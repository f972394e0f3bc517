// evaluator/scene_parts.h - the steps that a scene is composed in; scene.c takes them in the order
// that fixes all ids: arena, robot, objects, fixtures.
#ifndef EVALUATOR_SCENE_PARTS_H
#define EVALUATOR_SCENE_PARTS_H

#include "evaluator/scene.h"
#include "evaluator/scene_xml.h"

// A camera that LIBERO sets: an existing one is moved, another is appended. Name NULL ends a list.
struct evaluator_view {
    const char *name, *pos, *quat;
};
// What is known of a problem class besides its scene file: one row of a table.
struct evaluator_arena {
    const char *problem;    // lower case, as in (define (problem ...))
    const char *scene;      // file below assets/scenes
    const char *workspace;  // name of the fixture that is the arena itself
    const char *type;       // and its category
    const char *robot_pos;
    bool mounted;              // on a Rethink mount; otherwise on the ground
    double workspace_ref[3];   // placements are relative to it
    const char *floor, *wall;  // files that replace those of textures texplane and tex-wall
    double fixture_z_offset;
    bool plain_robot;  // drawn by its collision meshes: ten times as fast
    bool shrinks_ranges;
    const char *table_friction;  // NULL: no table to be sized
    const char *region_body;     // that region sites are appended to
    double region_pos[3];        // what a region's centre is added to there
    struct evaluator_view views[5];
};
const struct evaluator_arena *evaluator_arena_find(const char *problem);  // NULL: unknown
const char *evaluator_arena_names(void);                                  // for messages
bool evaluator_arena_is_itself(const struct evaluator_arena *arena,
                               const struct evaluator_item *fixture);

struct evaluator_composer {
    const struct evaluator_libero *libero;
    const char *bddl_path;  // for messages
    const struct evaluator_bddl *bddl;
    const struct evaluator_arena *arena;
    struct evaluator_scene *scene;
    struct evaluator_tree tree;  // of base.xml, grows into the scene
};
PROTO_MUST_CHECK bool evaluator_compose_arena(struct evaluator_composer *composer,
                                              struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_compose_robot(struct evaluator_composer *composer,
                                              struct proto_error *error);
// Adds the thing to the tree and fills things[index] and the sites that its XML has.
PROTO_MUST_CHECK bool evaluator_compose_thing(struct evaluator_composer *composer,
                                              const struct evaluator_item *item, bool fixture,
                                              uint32_t index, struct proto_error *error);

#endif
