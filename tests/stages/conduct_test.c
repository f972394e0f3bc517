// tests/stages/conduct_test.c - what a run makes of deaths: restarts, their limit, damaged data,
// the group of trainers, failures that end it. Oracle: the promises of policy.h; stages are fakes
// (fake_stage_program.c), everything else is real.
#include "tests/stages/world.h"

TEST(up_restarts_a_killed_loader_and_nothing_else) {
    struct world world;
    pid_t loaders[2] = {0};
    world_open(&world);
    world_order(&world, "loader-1", "child\n");
    world_running(&world);
    CHECK_INT(world_count(&world, "loader", "running", loaders, 2), 2);
    // what it started itself ends with it: nobody is left in its process group
    CHECK(kill(loaders[1], SIGKILL) == 0);
    const int64_t end_ms = stage_now_ms() + WORLD_DEADLINE_MS;
    while (world_group_lives(loaders[1])) {
        CHECK(stage_now_ms() < end_ms);
        poll(NULL, 0, 5);
    }
    json_t *death = world_event(&world, "death", 1);
    CHECK_TEXT(json_string_value(json_object_get(death, "stage")), "loader");
    CHECK_INT(integer_of(death, "number"), 1);
    CHECK_INT(integer_of(death, "signal"), SIGKILL);
    json_decref(death);
    world_seen(&world, "ready", 5);
    // index, 2 trainers, 2 loaders, and one again
    json_t *starts = world_events(&world, "start");
    CHECK_INT(json_array_size(starts), 6);
    json_decref(starts);
    CHECK(kill(world.up, SIGINT) == 0);
    CHECK_INT(world_wait(&world), 130);
    world_close(&world);
}

TEST(up_gives_up_on_a_loader_that_dies_without_progress) {
    struct world world;
    world_open(&world);
    world_set(&world, "supervisor.restart_limit=2");
    world_order(&world, "loader-0", "exit 1\nexit 1\nfail 1 the disk is on fire\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 1);
    world_says(&world, "the disk is on fire");
    world_says(&world, "3 deaths in a row");
    json_t *restarts = world_events(&world, "restart");
    CHECK_INT(json_array_size(restarts), 2);
    CHECK_INT(integer_of(json_array_get(restarts, 0), "wait_ms"), 0);
    CHECK_INT(integer_of(json_array_get(restarts, 1), "wait_ms"), 100);
    json_decref(restarts);
    world_close(&world);
}

TEST(up_forgives_deaths_after_progress) {
    struct world world;
    world_open(&world);
    world_set(&world, "supervisor.restart_limit=1");
    // 120 ticks of 5 ms: two heartbeats of 250 ms see `done` grow before each death
    world_order(&world, "loader-0", "signal 9 120\nsignal 9 120\nsignal 9 120\n");
    world_running(&world);
    world_seen(&world, "ready", 7);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(up_names_the_data_that_crashes_a_loader_twice) {
    struct world world;
    world_open(&world);
    world_order(&world, "loader-0", "place 11 a.hdf5: data/demo_1/actions\n");
    world_order(&world, "loader-1",
                "place 6 b.hdf5: data/demo_1/actions\nplace 7 a.hdf5: data/demo_1/actions\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 3);
    world_says(&world, "a.hdf5: data/demo_1/actions: reading this crashes");
    world_close(&world);
}

TEST(up_takes_kills_in_the_data_for_ordinary_deaths) {
    struct world world;
    world_open(&world);
    world_order(&world, "loader-0",
                "place 9 a.hdf5: data/demo_1/actions\nplace 9 a.hdf5: data/demo_1/actions\n");
    world_up(&world);
    world_seen(&world, "restart", 2);
    world_seen(&world, "ready", 4);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(up_ends_with_the_status_of_a_stage_that_cannot_go_on) {
    static const struct {
        const char *name, *label, *order, *says;
        int code;
    } cases[] = {
        {"index", "index-0", "fail 3 a.hdf5: truncated\n", "a.hdf5: truncated", 3},
        {"index, exit only", "index-0", "exit 1\n", "index: left with exit code 1", 1},
        {"loader", "loader-1", "fail 3 b.hdf5: changed\n", "b.hdf5: changed", 3},
        {"trainer", "trainer-1", "fail 5 no space left\n", "no space left", 5},
        {"trainer, usage", "trainer-0", "fail 2 warm-up\n", "warm-up", 2},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct world world;
        TEST_CASE(cases[i].name);
        world_open(&world);
        world_order(&world, cases[i].label, cases[i].order);
        world_up(&world);
        CHECK_INT(world_wait(&world), cases[i].code);
        world_says(&world, cases[i].says);
        json_t *restarts = world_events(&world, "restart");
        CHECK_INT(json_array_size(restarts), 0);
        json_decref(restarts);
        world_close(&world);
    }
    TEST_CASE("");
}

TEST(up_names_an_index_that_crashes_twice_at_one_place) {
    struct world world;
    world_open(&world);
    world_order(&world, "index-0",
                "place 11 a.hdf5: data/demo_0/obs\nplace 11 a.hdf5: "
                "data/demo_0/obs\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 3);
    world_says(&world, "a.hdf5: data/demo_0/obs");
    world_close(&world);
}

TEST(up_restarts_all_trainers_when_one_dies) {
    struct world world;
    pid_t trainers[2] = {0}, again[2] = {0}, loaders[2] = {0}, still[2] = {0};
    world_open(&world);
    world_running(&world);
    CHECK_INT(world_count(&world, "trainer", "running", trainers, 2), 2);
    CHECK_INT(world_count(&world, "loader", "running", loaders, 2), 2);
    CHECK(kill(trainers[1], SIGKILL) == 0);
    world_seen(&world, "ready", 6);
    CHECK_INT(world_count(&world, "trainer", "running", again, 2), 2);
    CHECK_INT(world_count(&world, "loader", "running", still, 2), 2);
    CHECK(again[0] != trainers[0] && again[1] != trainers[1]);
    CHECK(still[0] == loaders[0] && still[1] == loaders[1]);
    json_t *status = world_status(&world);
    CHECK_INT(integer_of(status, "attempt"), 2);
    json_decref(status);
    world_finishes(&world);
    world_close(&world);
}

TEST(up_gives_up_on_trainers_that_die_without_progress) {
    struct world world;
    world_open(&world);
    world_set(&world, "supervisor.restart_limit=1");
    world_order(&world, "trainer-0", "stuck\nstuck\n");  // ranks step together
    world_order(&world, "trainer-1", "exit 1\nexit 1\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 1);
    world_says(&world, "trainer 1");
    world_says(&world, "2 deaths of a trainer in a row");
    world_close(&world);
}

TEST(up_tells_a_trainer_that_died_instead_of_its_checkpoint) {
    struct world world;
    pid_t trainers[2] = {0};
    world_open(&world);
    world_order(&world, "trainer-1", "deaf\n");
    world_running(&world);
    CHECK_INT(world_count(&world, "trainer", "running", trainers, 2), 2);
    CHECK(kill(world.up, SIGTERM) == 0);
    world_seen(&world, "stop", 1);
    CHECK(kill(trainers[1], SIGKILL) == 0);
    CHECK_INT(world_wait(&world), 1);
    world_says(&world, "while it was asked to write a checkpoint");
    world_close(&world);
}

TEST(up_does_not_wait_for_a_checkpoint_that_no_loader_can_feed) {
    struct world world;
    world_open(&world);
    world_set(&world, "loader.workers=1");
    world_order(&world, "loader-0", "fail 3 a.hdf5: damaged\n");
    world_order(&world, "trainer-0", "hungry\n");
    world_order(&world, "trainer-1", "hungry\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 3);
    world_says(&world, "no loader is left to finish the step");
    world_says(&world, "a.hdf5: damaged");
    world_close(&world);
}

TEST_MAIN(UNIT(up_restarts_a_killed_loader_and_nothing_else),
          UNIT(up_gives_up_on_a_loader_that_dies_without_progress),
          UNIT(up_forgives_deaths_after_progress),
          UNIT(up_names_the_data_that_crashes_a_loader_twice),
          UNIT(up_takes_kills_in_the_data_for_ordinary_deaths),
          UNIT(up_ends_with_the_status_of_a_stage_that_cannot_go_on),
          UNIT(up_names_an_index_that_crashes_twice_at_one_place),
          UNIT(up_restarts_all_trainers_when_one_dies),
          UNIT(up_gives_up_on_trainers_that_die_without_progress),
          UNIT(up_tells_a_trainer_that_died_instead_of_its_checkpoint),
          UNIT(up_does_not_wait_for_a_checkpoint_that_no_loader_can_feed))
