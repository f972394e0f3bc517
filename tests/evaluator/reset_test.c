// tests/evaluator/reset_test.c - a reset is cheap, and leaves what loading everything anew leaves;
// it draws what LIBERO draws. Oracles: a second world compiled from the same files, compared with
// memcmp; numpy's stream of the same seed; recorded official states are in libero_golden.
#include "tests/evaluator/task_env.h"

#include <math.h>
#include <time.h>

static const double reset_seconds_max = 0.050;

static double cpu_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void run(struct evaluator_env *env, uint32_t from, uint32_t steps) {
    struct proto_error error = {0};
    for (uint32_t step = from; step < from + steps; step++) {
        double action[7];
        bool success;
        task_action(step, action);
        CHECK_OK(evaluator_env_step(env, action, &success, &error), error);
    }
}

TEST(reset_equals_loading_everything_anew) {
    static const char *const tasks[] = {TASK_BOWL, TASK_MOKA};
    for (size_t i = 0; i < PROTO_COUNT(tasks); i++) {
        struct evaluator_world *world = task_world(tasks[i]), *anew = task_world(tasks[i]);
        struct evaluator_env *used = task_env(world, 9), *fresh;
        struct proto_error error = {0};
        TEST_CASE(tasks[i]);
        run(used, 0, 12);
        evaluator_env_seed(used, 5);
        CHECK_OK(evaluator_env_reset(used, &error), error);
        fresh = task_env(anew, 5);
        CHECK(task_same(used, fresh));
        const size_t bodies = (size_t)world->model->nbody, sites = (size_t)world->model->nsite;
        CHECK(memcmp(used->own.body_pos, fresh->own.body_pos, bodies * 3 * sizeof(double)) == 0);
        CHECK(memcmp(used->own.body_quat, fresh->own.body_quat, bodies * 4 * sizeof(double)) == 0);
        CHECK(memcmp(used->own.site_rgba, fresh->own.site_rgba, sites * 4 * sizeof(float)) == 0);
        CHECK(memcmp(&used->random, &fresh->random, sizeof used->random) == 0);
        run(used, 3, 4);  // nothing that steps read is left over
        run(fresh, 3, 4);
        CHECK(task_same(used, fresh));
        evaluator_env_free(&used);
        evaluator_env_free(&fresh);
        evaluator_world_close(&world);
        evaluator_world_close(&anew);
    }
}

TEST(reset_costs_less_than_50_ms) {
    struct evaluator_world *world = task_world(TASK_BOWL);
    struct evaluator_env *env = task_env(world, 0);
    struct proto_error error = {0};
    double best = INFINITY;
    for (int i = 0; i < 5; i++) {
        const double start = cpu_seconds();
        CHECK_OK(evaluator_env_reset(env, &error), error);
        best = fmin(best, cpu_seconds() - start);
    }
    if (!(best < reset_seconds_max)) fail_msg("the quickest of 5 resets took %.1f ms", best * 1e3);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

// At the n-th reset every joint of :init is drawn n + 1 times, after the arm's seven; the last
// counts.
TEST(reset_draws_joints_once_more_each_time) {
    struct evaluator_world *world = task_world(TASK_MOKA);
    struct proto_error error = {0};
    const int joint = mj_name2id(world->model, mjOBJ_JOINT, "flat_stove_1_button");
    CHECK_INT(world->plan->articulation_count, 1);
    CHECK(joint >= 0);
    for (uint32_t n = 1; n <= 3; n++) {
        struct evaluator_env *env = task_env(world, 0);
        struct evaluator_numpy_random random;
        evaluator_env_seed_after(env, 77, n - 1);
        CHECK_OK(evaluator_env_reset(env, &error), error);
        evaluator_numpy_seed(&random, 77);
        double drawn = 0;
        for (int i = 0; i < 7; i++) (void)evaluator_numpy_normal(&random);
        for (uint32_t i = 0; i < n + 1; i++) drawn = evaluator_numpy_uniform(&random, 0.5, 2.1);
        CHECK(env->data->qpos[world->model->jnt_qposadr[joint]] == drawn);
        evaluator_env_free(&env);
    }
    evaluator_world_close(&world);
}

TEST(reset_first_substep_acts_on_the_snapshot_of_the_reset) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 0);
    struct evaluator_rows rows;
    task_rows(TASK_STOVE, &rows);
    task_start(env, rows.values, rows.width);
    CHECK(!env->controller.outdated);
    for (int i = 0; i < EVALUATOR_ARM_JOINTS; i++)
        CHECK(env->controller.joints[i] == evaluator_arm_start[i]);
    run(env, 0, 1);
    CHECK(env->controller.outdated);
    CHECK(env->controller.joints[1] != evaluator_arm_start[1]);
    evaluator_rows_free(&rows);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

TEST(reset_hides_the_marks_of_the_hand) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 0);
    const int site = mj_name2id(world->model, mjOBJ_SITE, "gripper0_grip_site");
    CHECK(env->own.site_rgba[4 * site + 3] <= 0);
    CHECK(env->own.site_rgba[4 * site + 3] == -world->model->site_rgba[4 * site + 3]);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

TEST(reset_states_that_do_not_fit_are_refused) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = NULL;
    struct evaluator_rows rows;
    struct proto_error error = {0};
    const double pos[3] = {0}, flat[4] = {0}, unit[4] = {1, 0, 0, 0};
    task_rows(TASK_STOVE, &rows);
    CHECK_OK(evaluator_env_new(world, &env, &error), error);
    CHECK(!evaluator_env_set_state(env, rows.values, rows.width, &error));
    CHECK_HAS(error.text, "before the first reset");
    CHECK_OK(evaluator_env_reset(env, &error), error);
    CHECK(!evaluator_env_set_state(env, rows.values, rows.width - 1, &error));
    CHECK_TEXT(error.text, "a state has 78 numbers, must be 79: time, 41 qpos, 37 qvel");
    CHECK_INT(error.status, PROTO_DAMAGED);
    rows.values[3] = NAN;
    CHECK(!evaluator_env_set_state(env, rows.values, rows.width, &error));
    CHECK_TEXT(error.text, "number 3 of the state is nan");
    CHECK(!evaluator_env_place_fixture(env, "plate_1", pos, unit, &error));
    CHECK_TEXT(error.text, "\"plate_1\" is no fixture of this scene");
    CHECK(!evaluator_env_place_fixture(env, "flat_stove_1", pos, flat, &error));
    CHECK_HAS(error.text, "must be 1");
    evaluator_rows_free(&rows);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

TEST_MAIN(UNIT(reset_equals_loading_everything_anew), UNIT(reset_costs_less_than_50_ms),
          UNIT(reset_draws_joints_once_more_each_time),
          UNIT(reset_first_substep_acts_on_the_snapshot_of_the_reset),
          UNIT(reset_hides_the_marks_of_the_hand), UNIT(reset_states_that_do_not_fit_are_refused))
