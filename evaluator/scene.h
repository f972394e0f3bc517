// evaluator/scene.h - composes the MuJoCo model of a task from its BDDL file and the asset files,
// tree edit by tree edit as robosuite 1.4.0 and LIBERO do it, so that every id, name and number of
// the compiled model equals theirs.
//
// The composed text has absolute asset paths; fixtures stand at their XML pose (placing them is the
// reset's work).
#ifndef EVALUATOR_SCENE_H
#define EVALUATOR_SCENE_H

#include "evaluator/bddl.h"
#include "evaluator/libero.h"

#include <stdint.h>

// What is known of a category of objects or fixtures besides its XML: one row of a table.
struct evaluator_category {
    const char *name;    // "wooden_cabinet"
    const char *folder;  // below assets: "articulated_objects", ...
    const char *file;    // stem of the XML when it is not the name; else NULL
    // joint thresholds and what reset samples, rotations at placement: see scene_categories.c
    struct {
        double low, high;
    } open, close, on, off;  // sampled at reset; NaN: has no such state
    double open_above, open_below, close_above, close_below, on_above, off_below;  // NaN: not used
    struct {
        double low, high;
        char axis;
    } rotation[2];  // axis 0: unused
};
const struct evaluator_category *evaluator_category_find(const char *name);  // NULL: unknown
const struct evaluator_category *evaluator_categories(size_t *count);        // the whole table
// Where the XML of a category lies. PROTO_MISSING, naming it: it is not there.
PROTO_MUST_CHECK bool evaluator_category_path(const struct evaluator_libero *libero,
                                              const struct evaluator_category *category,
                                              char path[EVALUATOR_PATH_MAX],
                                              struct proto_error *error);

// An object or fixture of the scene, with what placement and predicates need of its XML.
struct evaluator_thing {
    char *name;  // instance, prefix of its bodies: "<name>_main"
    const struct evaluator_category *category;
    bool fixture;
    double bottom_z, top_z, radius;  // of its three metadata sites
    uint32_t joint_count;            // names below, in document order
    char **joints;
    char **contact_geoms;  // full names of the geoms that count for contact()
    uint32_t contact_geom_count;
};
// A named box that On and In refer to: a workspace region or a site of a thing.
struct evaluator_site {
    char *name;     // full name = region full name
    int32_t thing;  // index of the parent; -1: workspace
    char **joints;  // of the body that holds it
    uint32_t joint_count;
};
struct evaluator_scene {
    struct evaluator_bddl *bddl;  // owned
    char *xml;                    // composed MJCF
    size_t xml_size;
    struct evaluator_thing
        *things;  // objects, then fixtures: the order of the official dictionaries
    struct evaluator_site *sites;
    uint32_t thing_count, site_count;
    double workspace[3];      // reference offset of placements
    double fixture_z_offset;  // of the arena table
    bool shrinks_ranges;      // movable objects' ranges are shrunk by their radius
};
PROTO_MUST_CHECK bool evaluator_scene_compose(const struct evaluator_libero *libero,
                                              const char *bddl_path, struct evaluator_scene **scene,
                                              struct proto_error *error);
// Compiles the scene: a second or so, most of it reading meshes. The caller frees *model with
// mj_deleteModel. PROTO_MISSING, naming them: asset files are not there. PROTO_DAMAGED, naming the
// file where that is known: a mesh, texture or element that libmujoco does not take.
struct mjModel_;
PROTO_MUST_CHECK bool evaluator_scene_compile(const struct evaluator_scene *scene,
                                              struct mjModel_ **model, struct proto_error *error);
void evaluator_scene_free(struct evaluator_scene **scene);

#endif
