// tests/evaluator/task_env.h - a LIBERO task opened for a test of the simulator's parts, its start
// rows, and actions that bring the hand into contact.
#ifndef TESTS_EVALUATOR_TASK_ENV_H
#define TESTS_EVALUATOR_TASK_ENV_H

#include "evaluator/env_parts.h"
#include "proto/files.h"
#include "tests/check.h"

#define TASK_BOWL                                                                                  \
    "libero_spatial/pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_" \
    "plate"
#define TASK_STOVE "libero_goal/turn_on_the_stove"
#define TASK_MOKA "libero_10/KITCHEN_SCENE8_put_both_moka_pots_on_the_stove"
#define TASK_SOUP "libero_object/pick_up_the_alphabet_soup_and_place_it_in_the_basket"

// LIBERO's files; skips the test without them, or fails it where they are required.
static inline void task_libero(struct evaluator_libero *libero) {
    const char *root = getenv("LIBERO_ROOT");
    struct proto_error error = {0};
    if (!root || !proto_path_is_folder(root)) {
        if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not a folder");
        print_message("needs LIBERO's unpacked assets (LIBERO_ROOT)\n");
        skip();
    }
    CHECK_OK(evaluator_libero_find(root, libero, &error), error);
}

static inline struct evaluator_world *task_world(const char *task) {
    struct evaluator_libero libero;
    struct evaluator_world *world = NULL;
    struct proto_error error = {0};
    char path[EVALUATOR_PATH_MAX * 2];
    task_libero(&libero);
    snprintf(path, sizeof path, "%s/%s.bddl", libero.bddl_files, task);
    CHECK_OK(evaluator_world_open(&libero, path, 0, &world, &error), error);
    return world;
}

static inline struct evaluator_env *task_env(struct evaluator_world *world, uint32_t seed) {
    struct evaluator_env *env = NULL;
    struct proto_error error = {0};
    CHECK_OK(evaluator_env_new(world, &env, &error), error);
    evaluator_env_seed(env, seed);
    CHECK_OK(evaluator_env_reset(env, &error), error);
    return env;
}

static inline void task_rows(const char *task, struct evaluator_rows *rows) {
    struct evaluator_libero libero;
    struct proto_error error = {0};
    char path[EVALUATOR_PATH_MAX * 2];
    task_libero(&libero);
    snprintf(path, sizeof path, "%s/%s.pruned_init", libero.init_files, task);
    CHECK_OK(evaluator_rows_read(path, rows, &error), error);
}

static inline void task_start(struct evaluator_env *env, const double *row, uint32_t width) {
    struct proto_error error = {0};
    CHECK_OK(evaluator_env_set_state(env, row, width, &error), error);
}

// Down onto what lies there, turning and closing: within 30 steps the hand pushes on something.
static inline void task_action(uint32_t step, double action[7]) {
    const double steer[4] = {0.3, -0.4, 0.1, 0.25};
    for (int i = 0; i < 7; i++) action[i] = 0;
    action[step % 2] = steer[step % 4];
    action[2] = -1.2;
    action[3 + step % 3] = steer[(step + 1) % 4];
    action[6] = step % 20 < 10 ? -1 : 1;
}

// Every number of the data that a later step reads.
static inline bool task_same(const struct evaluator_env *a, const struct evaluator_env *b) {
    const mjModel *model = a->world->model;
    const size_t nq = (size_t)model->nq, nv = (size_t)model->nv, nu = (size_t)model->nu;
    return a->data->time == b->data->time &&
           memcmp(a->data->qpos, b->data->qpos, nq * sizeof(double)) == 0 &&
           memcmp(a->data->qvel, b->data->qvel, nv * sizeof(double)) == 0 &&
           memcmp(a->data->qacc_warmstart, b->data->qacc_warmstart, nv * sizeof(double)) == 0 &&
           memcmp(a->data->ctrl, b->data->ctrl, nu * sizeof(double)) == 0 &&
           memcmp(&a->observer, &b->observer, sizeof a->observer) == 0;
}

#endif
