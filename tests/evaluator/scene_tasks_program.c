// tests/evaluator/scene_tasks_program.c - scene_tasks_program ROOT RECORDED CHUNK CHUNKS: composes,
// compiles and starts every task of its share of LIBERO's 130. Each must have as many coordinates
// as its start states, a body for each thing and a site for each region; reset, put into its first
// start state and stepped, its goal must be false; where a task's model was recorded below RECORDED
// ("" for none), ours must equal it in every field. Exit 1 on any that does not.
#include "evaluator/env.h"
#include "evaluator/scene.h"
#include "proto/files.h"
#include "tests/evaluator/model_compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool check_names(const struct evaluator_scene *scene, const mjModel *model,
                        struct proto_error *error) {
    char body[256];
    for (uint32_t i = 0; i < scene->thing_count; i++) {
        const struct evaluator_thing *thing = &scene->things[i];
        snprintf(body, sizeof body, "%s_main", thing->name);
        if (mj_name2id(model, mjOBJ_BODY, body) < 0)
            return proto_fail(error, PROTO_FAILED, "no body %s", body);
        for (uint32_t j = 0; j < thing->joint_count; j++)
            if (mj_name2id(model, mjOBJ_JOINT, thing->joints[j]) < 0)
                return proto_fail(error, PROTO_FAILED, "no joint %s", thing->joints[j]);
        for (uint32_t j = 0; j < thing->contact_geom_count; j++)
            if (mj_name2id(model, mjOBJ_GEOM, thing->contact_geoms[j]) < 0)
                return proto_fail(error, PROTO_FAILED, "no geom %s", thing->contact_geoms[j]);
        if (thing->contact_geom_count == 0)
            return proto_fail(error, PROTO_FAILED, "%s has no contact geom", thing->name);
    }
    for (uint32_t i = 0; i < scene->site_count; i++)
        if (mj_name2id(model, mjOBJ_SITE, scene->sites[i].name) < 0)
            return proto_fail(error, PROTO_FAILED, "no site %s", scene->sites[i].name);
    return true;
}

// Reset, first start state, one step that holds still: no task begins solved.
static bool check_start(const struct evaluator_libero *libero, const struct evaluator_task *task,
                        struct evaluator_env *env, struct proto_error *error) {
    static const double still[7] = {0};
    char path[2 * EVALUATOR_PATH_MAX];
    struct evaluator_rows rows;
    snprintf(path, sizeof path, "%s/%s/%s.pruned_init", libero->init_files, task->suite,
             task->name);
    if (!evaluator_rows_read(path, &rows, error)) return false;
    const mjModel *model = evaluator_env_model(env);
    bool success = true, whole = true;
    const bool done = evaluator_rows_fit(&rows, (uint32_t)model->nq, (uint32_t)model->nv, error) &&
                      evaluator_env_reset(env, error) &&
                      evaluator_env_set_state(env, rows.values, rows.width, error);
    for (uint32_t i = 0; done && i < evaluator_env_goal_count(env); i++)
        whole = whole && evaluator_env_goal(env, i);
    evaluator_rows_free(&rows);
    if (!done || !evaluator_env_step(env, still, &success, error)) return false;
    return (!whole && !success) || proto_fail(error, PROTO_FAILED, "the goal is true at the start");
}

static bool check_recorded(const char *recorded, const char *root,
                           const struct evaluator_task *task, const mjModel *model,
                           uint32_t *compared, struct proto_error *error) {
    static const char *const kinds[] = {"goldens", "predicates", "episodes"};
    for (size_t i = 0; i < PROTO_COUNT(kinds); i++) {
        char path[2 * EVALUATOR_PATH_MAX], words[512] = "";
        snprintf(path, sizeof path, "%s/%s/%s/model.xml", recorded, kinds[i], task->name);
        if (!*recorded || !proto_path_exists(path)) continue;
        mjModel *theirs = model_read(path, root, words, sizeof words);
        if (!theirs) return proto_fail(error, PROTO_FAILED, "%s: %s", path, words);
        struct model_difference difference;
        model_compare(model, theirs, &difference);
        mj_deleteModel(theirs);
        if (difference.differing > 0 || difference.largest > 0)
            return proto_fail(error, PROTO_FAILED, "%s: %u of %u fields differ, first %s", path,
                              difference.differing, difference.fields, difference.first);
        ++*compared;
    }
    return true;
}

static bool check_task(const struct evaluator_libero *libero, const char *root,
                       const char *recorded, const struct evaluator_task *task, uint32_t *compared,
                       struct proto_error *error) {
    char path[2 * EVALUATOR_PATH_MAX];
    struct evaluator_world *world = NULL;
    struct evaluator_env *env = NULL;
    snprintf(path, sizeof path, "%s/%s/%s.bddl", libero->bddl_files, task->suite, task->name);
    bool done = evaluator_world_open(libero, path, 0, &world, error) &&
                evaluator_env_new(world, &env, error);
    if (done) {
        const mjModel *model = evaluator_env_model(env);
        done = check_names(evaluator_world_scene(world), model, error) &&
               check_recorded(recorded, root, task, model, compared, error) &&
               check_start(libero, task, env, error);
    }
    evaluator_env_free(&env);
    evaluator_world_close(&world);
    return done;
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    const char *root = arguments[1], *recorded = arguments[2];
    const size_t chunk = strtoul(arguments[3], NULL, 10), chunks = strtoul(arguments[4], NULL, 10);
    struct evaluator_libero libero;
    struct proto_error error = {0};
    if (chunks == 0 || !evaluator_libero_find(root, &libero, &error))
        return proto_error_print("scene_tasks", &error);
    size_t task_count;
    const struct evaluator_task *tasks = evaluator_tasks(&task_count);
    uint32_t passed = 0, failed = 0, compared = 0;
    for (size_t i = chunk; i < task_count; i += chunks) {
        if (check_task(&libero, root, recorded, &tasks[i], &compared, &error)) {
            passed++;
            continue;
        }
        failed++;
        printf("%s %s: %s: %s\n", tasks[i].suite, tasks[i].name, error.where, error.text);
        error = (struct proto_error){0};
    }
    printf("%u passed, %u failed, %u recorded models equal\n", passed, failed, compared);
    return failed > 0 || passed == 0;
}
