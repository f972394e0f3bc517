// tests/evaluator/world_test.c - a world knows where the things of its scene are, and a task that
// cannot be opened leaves nothing behind but words. Oracle: the names in the compiled model.
#include "tests/evaluator/task_env.h"

TEST(world_finds_every_thing_and_region) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    const mjModel *model = world->model;
    const int32_t stove = evaluator_world_thing(world, "flat_stove_1");
    const int32_t bowl = evaluator_world_thing(world, "akita_black_bowl_1");
    CHECK(stove >= 0 && bowl >= 0);
    CHECK_INT(evaluator_world_thing(world, "moon_1"), -1);
    CHECK_INT(evaluator_world_site(world, "moon"), -1);
    CHECK_TEXT(mj_id2name(model, mjOBJ_BODY, world->things[stove].body), "flat_stove_1_main");
    CHECK_TEXT(mj_id2name(model, mjOBJ_SITE, world->things[stove].burner), "flat_stove_1_burner");
    CHECK_INT(world->things[stove].free_qpos, -1);
    CHECK_INT(world->things[stove].joint_count, 1);
    const int joint = mj_name2id(model, mjOBJ_JOINT, "akita_black_bowl_1_joint0");
    CHECK_INT(world->things[bowl].free_qpos, model->jnt_qposadr[joint]);
    CHECK_INT(world->things[bowl].joint_count, 0);
    CHECK_INT(world->things[bowl].burner, -1);
    for (int i = 0; i < model->ngeom; i++) {  // contact geoms belong to bodies of their thing
        if (world->geom_things[i] < 0) continue;
        const char *name = world->scene->things[world->geom_things[i]].name;
        const char *body = mj_id2name(model, mjOBJ_BODY, model->geom_bodyid[i]);
        CHECK(strncmp(body, name, strlen(name)) == 0);
    }
    const int32_t region = evaluator_world_site(world, "wooden_cabinet_1_top_region");
    CHECK(region >= 0);
    CHECK_INT(world->sites[region].joint_count, 1);
    CHECK_TEXT(mj_id2name(model, mjOBJ_JOINT, world->sites[region].joints[0]),
               "wooden_cabinet_1_top_level");
    CHECK_INT(evaluator_world_state_width(world), 79);
    CHECK_TEXT(evaluator_mujoco_version(), "3.3.2");
    evaluator_world_close(&world);
    CHECK(!world);
    evaluator_world_close(&world);  // nothing there is fine
}

TEST(world_that_cannot_be_opened_says_why) {
    struct evaluator_libero libero;
    struct evaluator_world *world = NULL;
    struct proto_error error = {0};
    char path[2 * EVALUATOR_PATH_MAX];
    task_libero(&libero);
    CHECK(!evaluator_world_open(&libero, "/nowhere/task.bddl", 0, &world, &error));
    CHECK_HAS(error.where, "/nowhere/task.bddl");
    CHECK(!world);
    snprintf(path, sizeof path, "%s/%s.bddl", libero.bddl_files, TASK_STOVE);
    snprintf(libero.assets, sizeof libero.assets, "/nowhere");
    CHECK(!evaluator_world_open(&libero, path, 0, &world, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK(!world);
}

TEST_MAIN(UNIT(world_finds_every_thing_and_region), UNIT(world_that_cannot_be_opened_says_why))
