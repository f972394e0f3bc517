// evaluator/suite.c - see suite.h.
#include "evaluator/suite.h"

#include "evaluator/numpy_random.h"
#include "evaluator/world.h"
#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Seeds of resets and of the arm's noise, far from those that people give to episodes.
#define RESET_SEED 1000000u
#define NOISE_SEED 2000000u
static const double joint_noise_rad = 0.02;  // standard deviation

static const struct evaluator_task tasks[] = {
    {EVALUATOR_SUITE, "pick_up_the_cube_and_place_it_on_the_plate"},
    {EVALUATOR_SUITE, "press_the_button"},
    {EVALUATOR_SUITE, "close_the_drawer"},
};

const struct evaluator_task *evaluator_suite_tasks(size_t *count) {
    *count = PROTO_COUNT(tasks);
    return tasks;
}

// share/pipeline/suite of the tree that the program lies in; installed and build trees are alike.
static bool find_own(struct evaluator_libero *libero, struct proto_error *error) {
    char program[EVALUATOR_PATH_MAX], path[2 * EVALUATOR_PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length < 0) return proto_fail_errno(error, PROTO_MISSING, "/proc/self/exe cannot be read");
    program[length] = '\0';
    char *slash = strrchr(program, '/');
    if (slash) *slash = '\0';
    snprintf(path, sizeof path, "%s/../share/pipeline/suite", program);
    char *real = realpath(path, NULL);
    if (!real || strlen(real) + sizeof "/bddl_files" > EVALUATOR_PATH_MAX) {
        free(real);
        return proto_fail(error, PROTO_MISSING,
                          "%s is not there: the suite's files belong beside the program", path);
    }
    snprintf(libero->assets, sizeof libero->assets, "%s", real);
    snprintf(libero->bddl_files, sizeof libero->bddl_files, "%.1000s/bddl_files", real);
    libero->init_files[0] = '\0';
    free(real);
    return true;
}

bool evaluator_suite_find(const char *suite, const char *root, struct evaluator_libero *libero,
                          struct proto_error *error) {
    if (strcmp(suite, EVALUATOR_SUITE) != 0) return evaluator_libero_find(root, libero, error);
    struct proto_error lacks = {0};  // LIBERO may lack, but not the robot
    if (!evaluator_libero_find(root, libero, &lacks) && libero->robosuite[0] == '\0')
        return proto_fail(error, PROTO_MISSING,
                          "the robot's files of robosuite are not there: scripts/setup.sh fetches "
                          "them; a robosuite 1.4.0 of this machine is taken too");
    return find_own(libero, error);
}

// One row: what a reset gives, with the arm moved a little.
static bool make_row(struct evaluator_env *env, const struct evaluator_robot *robot, uint32_t row,
                     double *values, struct proto_error *error) {
    struct evaluator_numpy_random noise;
    evaluator_env_seed(env, RESET_SEED + row);
    if (!evaluator_env_reset(env, error)) return false;
    evaluator_env_state(env, values);
    evaluator_numpy_seed(&noise, NOISE_SEED + row);
    for (int i = 0; i < EVALUATOR_ARM_JOINTS; i++)
        values[1 + robot->arm_qpos[i]] += joint_noise_rad * evaluator_numpy_normal(&noise);
    return true;
}

bool evaluator_suite_rows_make(struct evaluator_world *world, struct evaluator_rows *rows,
                               struct proto_error *error) {
    struct evaluator_env *env = NULL;
    struct evaluator_rows made = {.width = evaluator_world_state_width(world)};
    *rows = (struct evaluator_rows){0};
    if (!evaluator_env_new(world, &env, error)) return false;
    made.values =
        proto_alloc_array((size_t)EVALUATOR_SUITE_ROWS * made.width, sizeof *made.values, error);
    bool done = made.values != NULL;
    for (; done && made.count < EVALUATOR_SUITE_ROWS; made.count++)
        done = make_row(env, &world->robot, made.count,
                        made.values + (size_t)made.count * made.width, error);
    evaluator_env_free(&env);
    if (done)
        *rows = made;
    else
        evaluator_rows_free(&made);
    return done;
}

bool evaluator_suite_rows(const struct evaluator_libero *libero, const struct evaluator_task *task,
                          struct evaluator_world *world, struct evaluator_rows *rows,
                          struct proto_error *error) {
    char path[EVALUATOR_PATH_MAX];
    if (strcmp(task->suite, EVALUATOR_SUITE) == 0)
        return evaluator_suite_rows_make(world, rows, error);
    if (snprintf(path, sizeof path, "%s/%s/%s.pruned_init", libero->init_files, task->suite,
                 task->name) >= (int)sizeof path)
        return proto_fail(error, PROTO_USAGE, "the path of LIBERO's files is too long");
    return evaluator_rows_read(path, rows, error) || proto_error_where(error, "%s", path);
}
