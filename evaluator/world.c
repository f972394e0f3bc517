// evaluator/world.c - a task, composed and compiled once; its environments share the result.
#include "evaluator/world.h"

#include "evaluator/placement.h"
#include "evaluator/predicates.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *evaluator_mujoco_version(void) { return mj_versionString(); }

int32_t evaluator_world_thing(const struct evaluator_world *world, const char *name) {
    for (uint32_t i = 0; i < world->scene->thing_count; i++) {
        if (strcmp(world->scene->things[i].name, name) == 0) return (int32_t)i;
    }
    return -1;
}

int32_t evaluator_world_site(const struct evaluator_world *world, const char *name) {
    for (uint32_t i = 0; i < world->scene->site_count; i++) {
        if (strcmp(world->scene->sites[i].name, name) == 0) return (int32_t)i;
    }
    return -1;
}

// ---- where things are ---------------------------------------------------------------------------

static bool lacks(const char *kind, const char *name, struct proto_error *error) {
    return proto_fail(error, PROTO_DAMAGED, "the compiled scene has no %s \"%s\"", kind, name);
}

// Ids of named joints but free ones, appended to world->joints.
static bool find_joints(struct evaluator_world *world, char *const *names, uint32_t name_count,
                        int32_t **joints, uint32_t *joint_count, uint32_t *used,
                        struct proto_error *error) {
    *joints = world->joints + *used;
    *joint_count = 0;
    for (uint32_t i = 0; i < name_count; i++) {
        const int id = mj_name2id(world->model, mjOBJ_JOINT, names[i]);
        if (id < 0) return lacks("joint", names[i], error);
        if (world->model->jnt_type[id] == mjJNT_FREE) continue;
        (*joints)[(*joint_count)++] = id;
    }
    *used += *joint_count;
    return true;
}

static bool find_thing(struct evaluator_world *world, uint32_t index, uint32_t *used,
                       struct proto_error *error) {
    const mjModel *model = world->model;
    const struct evaluator_thing *thing = &world->scene->things[index];
    struct evaluator_thing_place *place = &world->things[index];
    char name[256];
    snprintf(name, sizeof name, "%s_main", thing->name);
    place->body = mj_name2id(model, mjOBJ_BODY, name);
    if (place->body < 0) return lacks("body", name, error);
    place->free_qpos = -1;
    for (int i = 0; i < model->body_jntnum[place->body]; i++) {
        const int joint = model->body_jntadr[place->body] + i;
        if (model->jnt_type[joint] == mjJNT_FREE) place->free_qpos = model->jnt_qposadr[joint];
    }
    if (!thing->fixture && place->free_qpos < 0) return lacks("free joint of", name, error);
    snprintf(name, sizeof name, "%s_burner", thing->name);
    place->burner = mj_name2id(model, mjOBJ_SITE, name);
    for (uint32_t i = 0; i < thing->contact_geom_count; i++) {
        const int geom = mj_name2id(model, mjOBJ_GEOM, thing->contact_geoms[i]);
        if (geom < 0) return lacks("geom", thing->contact_geoms[i], error);
        world->geom_things[geom] = (int32_t)index;
    }
    return find_joints(world, thing->joints, thing->joint_count, &place->joints,
                       &place->joint_count, used, error);
}

static bool find_places(struct evaluator_world *world, struct proto_error *error) {
    const struct evaluator_scene *scene = world->scene;
    size_t joints = 0;
    for (uint32_t i = 0; i < scene->thing_count; i++) joints += scene->things[i].joint_count;
    for (uint32_t i = 0; i < scene->site_count; i++) joints += scene->sites[i].joint_count;
    const size_t geoms = (size_t)world->model->ngeom;
    world->joints = proto_alloc_array(joints, sizeof *world->joints, error);
    world->things = proto_alloc_array(scene->thing_count, sizeof *world->things, error);
    world->sites = proto_alloc_array(scene->site_count, sizeof *world->sites, error);
    world->geom_things = proto_alloc_array(geoms, sizeof *world->geom_things, error);
    if (!world->joints || !world->things || !world->sites || !world->geom_things) return false;
    for (size_t i = 0; i < geoms; i++) world->geom_things[i] = -1;
    uint32_t used = 0;
    for (uint32_t i = 0; i < scene->thing_count; i++) {
        if (!find_thing(world, i, &used, error)) return false;
    }
    for (uint32_t i = 0; i < scene->site_count; i++) {
        const struct evaluator_site *site = &scene->sites[i];
        struct evaluator_site_place *place = &world->sites[i];
        place->site = mj_name2id(world->model, mjOBJ_SITE, site->name);
        if (place->site < 0) return lacks("site", site->name, error);
        if (!find_joints(world, site->joints, site->joint_count, &place->joints,
                         &place->joint_count, &used, error))
            return false;
    }
    return true;
}

static bool find_goals(struct evaluator_world *world, struct proto_error *error) {
    const struct evaluator_bddl *bddl = world->scene->bddl;
    world->goals = proto_alloc_array(bddl->goal_count, sizeof *world->goals, error);
    if (!world->goals) return false;
    for (uint32_t i = 0; i < bddl->goal_count; i++) {
        const struct evaluator_clause *clause = &bddl->goal[i];
        if (!evaluator_fact_resolve(world, clause->predicate, clause->arguments[0],
                                    clause->arguments[1], &world->goals[i], error)) {
            error->status = PROTO_DAMAGED;
            return proto_error_where(error, "line %u: :goal", clause->line);
        }
    }
    return true;
}

// ---- open, close --------------------------------------------------------------------------------

bool evaluator_world_open(const struct evaluator_libero *libero, const char *bddl_path,
                          unsigned flags, struct evaluator_world **world,
                          struct proto_error *error) {
    *world = NULL;
    if (mj_version() != mjVERSION_HEADER && !(flags & EVALUATOR_ANY_MUJOCO))
        return proto_fail(error, PROTO_MISSING,
                          "libmujoco is %s, must be 3.3.2: success rates of other versions are not "
                          "comparable; scripts/setup.sh fetches it, --any-mujoco takes yours",
                          mj_versionString());
    struct evaluator_world *made = proto_alloc(sizeof *made, error);
    if (!made) return false;
    const bool composed = evaluator_scene_compose(libero, bddl_path, &made->scene, error);
    const bool done = composed && evaluator_scene_compile(made->scene, &made->model, error) &&
                      evaluator_robot_find(made->model, &made->robot, error) &&
                      find_places(made, error) && find_goals(made, error) &&
                      evaluator_plan_new(made, &made->plan, error);
    if (!done) {
        if (composed) proto_error_where(error, "%s", bddl_path);
        evaluator_world_close(&made);
        return false;
    }
    *world = made;
    return true;
}

void evaluator_world_close(struct evaluator_world **world) {
    if (!*world) return;
    evaluator_plan_free(&(*world)->plan);
    free((*world)->goals);
    free((*world)->geom_things);
    free((*world)->sites);
    free((*world)->things);
    free((*world)->joints);
    if ((*world)->model) mj_deleteModel((*world)->model);
    evaluator_scene_free(&(*world)->scene);
    free(*world);
    *world = NULL;
}

const struct evaluator_scene *evaluator_world_scene(const struct evaluator_world *world) {
    return world->scene;
}

uint32_t evaluator_world_state_width(const struct evaluator_world *world) {
    return (uint32_t)(1 + world->model->nq + world->model->nv);
}
