// tests/evaluator/env_test.c - a control step is the official one to the last bit at a third of its
// cost; environments do not feel each other; physics that blows up is an error, not a crash.
// Oracle of the physics: the official order of calls, two whole mj_forward and a mj_step in each
// substep, run beside ours and compared with memcmp.
#include "tests/evaluator/task_env.h"

#include <math.h>
#include <pthread.h>

enum { STEPS = 40 };

// One control step as robosuite orders it, on the same controller.
static void official_step(struct evaluator_env *env, const double action[7]) {
    const struct evaluator_robot *robot = &env->world->robot;
    const mjModel *model = &env->own.model;
    for (uint32_t substep = 0; substep < EVALUATOR_CONTROL_SUBSTEPS; substep++) {
        mj_forward(model, env->data);
        if (env->controller.outdated) {
            mj_forward(model, env->data);
            evaluator_controller_snapshot(&env->controller, robot, model, env->data);
        }
        if (substep == 0) evaluator_controller_aim(&env->controller, action);
        evaluator_controller_drive(&env->controller, robot, model, env->data, action);
        mj_step(model, env->data);
        evaluator_env_observe(env, substep, false);
    }
    evaluator_env_judge(env);
}

static bool robot_touches(const struct evaluator_env *env) {
    const mjModel *model = &env->own.model;
    for (int i = 0; i < env->data->ncon; i++) {
        for (int side = 0; side < 2; side++) {
            const int body = model->geom_bodyid[env->data->contact[i].geom[side]];
            if (strncmp(mj_id2name(model, mjOBJ_BODY, body), "gripper0_", 9) == 0) return true;
        }
    }
    return false;
}

TEST(env_step_equals_the_official_sequence_in_contact) {
    static const char *const tasks[] = {TASK_BOWL, TASK_STOVE, TASK_SOUP, TASK_MOKA};
    uint32_t touching = 0;
    for (size_t i = 0; i < PROTO_COUNT(tasks); i++) {
        struct evaluator_world *world = task_world(tasks[i]);
        struct evaluator_env *ours = task_env(world, 3), *official = task_env(world, 3);
        struct evaluator_rows rows;
        struct proto_error error = {0};
        TEST_CASE(tasks[i]);
        task_rows(tasks[i], &rows);
        task_start(ours, rows.values, rows.width);
        task_start(official, rows.values, rows.width);
        for (uint32_t step = 0; step < STEPS; step++) {
            double action[7];
            bool success;
            task_action(step, action);
            CHECK_OK(evaluator_env_step(ours, action, &success, &error), error);
            official_step(official, action);
            if (!task_same(ours, official)) fail_msg("%s: step %u differs", tasks[i], step);
            CHECK_INT(ours->data->ncon, official->data->ncon);
            CHECK(memcmp(ours->data->xpos, official->data->xpos,
                         (size_t)world->model->nbody * 3 * sizeof(double)) == 0);
            touching += robot_touches(ours);
        }
        evaluator_rows_free(&rows);
        evaluator_env_free(&ours);
        evaluator_env_free(&official);
        evaluator_world_close(&world);
    }
    CHECK(touching > 20);  // the traces are rich in contact, or the test says little
}

// ---- side by side
// --------------------------------------------------------------------------------

struct lane {
    struct evaluator_env *env;
    const double *row;
    uint32_t width, seed;
    bool done;
};
static void *drive(void *context) {
    struct lane *lane = context;
    struct proto_error error;
    evaluator_env_seed(lane->env, lane->seed);
    lane->done = evaluator_env_reset(lane->env, &error) &&
                 evaluator_env_set_state(lane->env, lane->row, lane->width, &error);
    for (uint32_t step = 0; lane->done && step < 15; step++) {
        double action[7];
        bool success;
        task_action(step + lane->seed, action);
        lane->done = evaluator_env_step(lane->env, action, &success, &error);
    }
    return NULL;
}

TEST(env_two_in_threads_equal_one_after_the_other) {
    struct evaluator_world *world = task_world(TASK_BOWL);
    struct evaluator_rows rows;
    struct evaluator_env *alone[2], *together[2];
    struct lane lanes[2];
    pthread_t threads[2];
    task_rows(TASK_BOWL, &rows);
    for (uint32_t i = 0; i < 2; i++) {
        alone[i] = task_env(world, 0);
        together[i] = task_env(world, 0);
        lanes[i] = (struct lane){alone[i], rows.values + i * rows.width, rows.width, 11 + i, false};
        drive(&lanes[i]);
        CHECK(lanes[i].done);
        lanes[i].env = together[i];
    }
    for (size_t i = 0; i < 2; i++) CHECK(pthread_create(&threads[i], NULL, drive, &lanes[i]) == 0);
    for (size_t i = 0; i < 2; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    for (size_t i = 0; i < 2; i++) CHECK(lanes[i].done && task_same(alone[i], together[i]));
    CHECK(!task_same(alone[0], alone[1]));
    for (size_t i = 0; i < 2; i++) {
        evaluator_env_free(&alone[i]);
        evaluator_env_free(&together[i]);
    }
    evaluator_rows_free(&rows);
    evaluator_world_close(&world);
}

TEST(env_never_writes_the_shared_model) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct proto_error error = {0};
    const size_t size = (size_t)mj_sizeModel(world->model);
    void *before = malloc(size), *after = malloc(size);
    const double pos[3] = {0.1, 0.2, 0.9}, quat[4] = {1, 0, 0, 0}, action[7] = {0};
    bool success;
    CHECK(before && after);
    mj_saveModel(world->model, NULL, before, (int)size);
    struct evaluator_env *env = task_env(world, 5);
    CHECK_OK(evaluator_env_place_fixture(env, "flat_stove_1", pos, quat, &error), error);
    CHECK_OK(evaluator_env_step(env, action, &success, &error), error);
    mj_saveModel(world->model, NULL, after, (int)size);
    CHECK(memcmp(before, after, size) == 0);
    free(before);
    free(after);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

// ---- what goes wrong
// -----------------------------------------------------------------------------

TEST(env_blow_up_fails_the_step_and_a_reset_heals) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 2), *fresh = task_env(world, 2);
    struct proto_error error = {0};
    const double action[7] = {0};
    bool success = true;
    env->data->qvel[world->robot.arm_dof[3]] = 9e9;  // rad/s
    CHECK(!evaluator_env_step(env, action, &success, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    CHECK_HAS(error.text, "physics blew up");
    CHECK(!success);
    CHECK(!evaluator_env_step(env, action, &success, &error));
    CHECK_HAS(error.text, "reset the environment");
    evaluator_env_seed(env, 2);
    CHECK_OK(evaluator_env_reset(env, &error), error);
    CHECK(task_same(env, fresh));
    evaluator_env_free(&env);
    evaluator_env_free(&fresh);
    evaluator_world_close(&world);
}

TEST(env_step_refuses_what_makes_no_sense) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = NULL;
    struct proto_error error = {0};
    double action[7] = {0};
    bool success = true;
    CHECK_OK(evaluator_env_new(world, &env, &error), error);
    CHECK(!evaluator_env_step(env, action, &success, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_OK(evaluator_env_reset(env, &error), error);
    action[4] = NAN;
    CHECK(!evaluator_env_step(env, action, &success, &error));
    CHECK_HAS(error.text, "action[4] is nan");
    action[4] = 1e300;  // clipped
    CHECK_OK(evaluator_env_step(env, action, &success, &error), error);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

// ---- pictures
// ------------------------------------------------------------------------------------

TEST(env_picture_is_of_the_observation_not_of_the_end) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 1);
    struct evaluator_rows rows;
    struct proto_error error = {0};
    const double action[7] = {1, 0, -1, 0, 0, 0, 1};
    bool success;
    task_rows(TASK_STOVE, &rows);
    task_start(env, rows.values, rows.width);
    CHECK(evaluator_env_picture(env) == env->data);
    evaluator_env_keep_pictures(env, true);
    CHECK_OK(evaluator_env_step(env, action, &success, &error), error);
    const mjData *picture = evaluator_env_picture(env);
    const struct evaluator_observation *seen = evaluator_env_observation(env);
    CHECK(picture != env->data);
    CHECK(picture->time < env->data->time);
    CHECK(memcmp(picture->site_xpos + 3 * world->robot.grip_site, seen->eef_pos,
                 sizeof seen->eef_pos) == 0);
    // the stove is turned on after the picture was taken: its burner shows only in the next one
    const int burner = world->things[evaluator_world_thing(world, "flat_stove_1")].burner;
    const int joint = mj_name2id(world->model, mjOBJ_JOINT, "flat_stove_1_button");
    env->data->qpos[world->model->jnt_qposadr[joint]] = 1;
    evaluator_env_judge(env);
    CHECK(env->goals[0]);
    CHECK(env->own.model.site_rgba[4 * burner + 3] == 1);
    CHECK(evaluator_env_picture_model(env)->site_rgba[4 * burner + 3] == 0);
    evaluator_env_keep_pictures(env, false);
    evaluator_rows_free(&rows);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

TEST_MAIN(UNIT(env_step_equals_the_official_sequence_in_contact),
          UNIT(env_two_in_threads_equal_one_after_the_other),
          UNIT(env_never_writes_the_shared_model),
          UNIT(env_blow_up_fails_the_step_and_a_reset_heals),
          UNIT(env_step_refuses_what_makes_no_sense),
          UNIT(env_picture_is_of_the_observation_not_of_the_end))
