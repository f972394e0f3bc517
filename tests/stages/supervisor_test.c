// tests/stages/supervisor_test.c - the life of a run with stages that die, hang, crash and fail,
// and what is left when the supervisor itself is killed. Oracle: the promises of the table of
// processes in docs/architecture.md; stages are fakes (fake_stage_program.c), everything else is
// real.
#include "tests/stages/world.h"

static int64_t integer_of(const json_t *object, const char *key) {
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static void check_output(const struct world *world, const char *part) {
    static char text[65536];
    world_text(world, text, sizeof text);
    CHECK_HAS(text, part);
}

static void check_finishes(struct world *world) {
    world_order(world, "steps", "1\n");
    const int code = world_wait(world);
    if (code != 0) WORLD_FAIL(world, "exit %d", code);
}

TEST(up_trains_to_the_end_and_drains_its_loaders) {
    struct world world;
    world_open(&world);
    world_set(&world, "run.max_train_steps=300");
    world_order(&world, "steps", "60\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_output(&world, "loader 1 is ready");
    check_output(&world, "Steps: 60/60");
    check_output(&world, "Training finished");
    // index, two trainers, two loaders: each started once and left as it should
    json_t *starts = world_events(&world, "start"), *exits = world_events(&world, "exit");
    json_t *deaths = world_events(&world, "death"), *end = world_event(&world, "end", 1);
    CHECK_INT(json_array_size(starts), 5);
    CHECK_INT(json_array_size(exits), 5);
    CHECK_INT(json_array_size(deaths), 0);
    CHECK_INT(integer_of(end, "exit_code"), 0);
    json_decref(starts);
    json_decref(exits);
    json_decref(deaths);
    json_decref(end);
    world_close(&world);
}

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
    check_output(&world, "the disk is on fire");
    check_output(&world, "3 deaths in a row");
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
    check_output(&world, "a.hdf5: data/demo_1/actions: reading this crashes");
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
        check_output(&world, cases[i].says);
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
    check_output(&world, "a.hdf5: data/demo_0/obs");
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
    check_finishes(&world);
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
    check_output(&world, "trainer 1");
    check_output(&world, "2 deaths of a trainer in a row");
    world_close(&world);
}

TEST(up_kills_and_restarts_a_silent_stage) {
    struct world world;
    world_open(&world);
    world_set(&world, "supervisor.heartbeat_timeout_s=1");
    world_order(&world, "loader-1", "silent\n");
    world_up(&world);
    json_t *silent = world_event(&world, "silent", 1);
    CHECK_INT(integer_of(silent, "number"), 1);
    json_decref(silent);
    world_seen(&world, "ready", 4);
    check_output(&world, "loader 1: silent for");
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(up_names_a_stage_that_lives_without_progress) {
    struct world world;
    world_open(&world);
    world.stuck_ms = 700;
    world_order(&world, "loader-1", "stuck\n");
    world_running(&world);
    json_t *stuck = world_event(&world, "stuck", 1);
    CHECK_INT(integer_of(stuck, "number"), 1);
    json_decref(stuck);
    json_t *status = world_status(&world);
    char *text = json_dumps(status, JSON_COMPACT);
    CHECK_HAS(text, "alive, no progress for ");
    free(text);
    json_decref(status);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(up_interrupted_waits_for_a_checkpoint_first) {
    struct world world;
    world_open(&world);
    world_running(&world);
    CHECK(kill(world.up, SIGINT) == 0);
    CHECK_INT(world_wait(&world), 130);
    json_t *stop = world_event(&world, "stop", 1), *exits = world_events(&world, "exit");
    CHECK_TEXT(json_string_value(json_object_get(stop, "mode")), "checkpoint");
    world_seen(&world, "checkpoint", 2);  // one of each rank
    // index, then both trainers, and only then the loaders that served them
    CHECK_INT(json_array_size(exits), 5);
    CHECK_TEXT(json_string_value(json_object_get(json_array_get(exits, 1), "stage")), "trainer");
    CHECK_TEXT(json_string_value(json_object_get(json_array_get(exits, 2), "stage")), "trainer");
    CHECK_INT(integer_of(json_array_get(exits, 1), "exit_code"), 75);
    json_decref(stop);
    json_decref(exits);
    world_close(&world);
}

TEST(up_interrupted_twice_leaves_at_once) {
    struct world world;
    world_open(&world);
    world_order(&world, "trainer-0", "deaf\n");  // a checkpoint that never comes
    world_running(&world);
    CHECK(kill(world.up, SIGINT) == 0);
    world_seen(&world, "stop", 1);
    CHECK(kill(world.up, SIGINT) == 0);
    world_seen(&world, "stop", 2);
    CHECK(kill(world.up, SIGINT) == 0);  // and a third time: killed
    CHECK_INT(world_wait(&world), 130);
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
    check_output(&world, "while it was asked to write a checkpoint");
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
    check_output(&world, "no loader is left to finish the step");
    check_output(&world, "a.hdf5: damaged");
    world_close(&world);
}

TEST(up_interrupted_while_it_indexes_ends_at_once) {
    struct world world;
    world_open(&world);
    world_order(&world, "index-0", "stuck\n");
    world_up(&world);
    world_seen(&world, "ready", 1);
    CHECK(kill(world.up, SIGINT) == 0);
    CHECK_INT(world_wait(&world), 130);
    json_t *starts = world_events(&world, "start");
    CHECK_INT(json_array_size(starts), 1);
    json_decref(starts);
    world_close(&world);
}

TEST(up_killed_leaves_no_child_and_its_next_life_goes_on) {
    struct world world;
    pid_t trainers[2] = {0}, loaders[2] = {0};
    world_open(&world);
    world_running(&world);
    CHECK_INT(world_count(&world, "trainer", "running", trainers, 2), 2);
    CHECK_INT(world_count(&world, "loader", "running", loaders, 2), 2);
    CHECK(kill(world.up, SIGKILL) == 0);
    CHECK_INT(world_wait(&world), 1000 + SIGKILL);
    const int64_t end_ms = stage_now_ms() + 5000;
    while (world_lives(trainers[0]) || world_lives(trainers[1]) || world_lives(loaders[0]) ||
           world_lives(loaders[1])) {
        CHECK(stage_now_ms() < end_ms);
        poll(NULL, 0, 5);
    }
    // the lock is free, the stale socket is replaced, the attempt is a new one
    world_up(&world);
    world_seen(&world, "ready", 8);
    json_t *status = world_status(&world);
    CHECK_INT(integer_of(status, "attempt"), 2);
    json_decref(status);
    check_finishes(&world);
    world_close(&world);
}

TEST(up_refuses_a_folder_that_another_run_holds) {
    struct world world;
    char pid[32];
    world_open(&world);
    world_running(&world);
    const pid_t first = world.up;
    snprintf(pid, sizeof pid, "pid %ld on host", (long)first);
    world_up(&world);
    CHECK_INT(world_wait(&world), 1);
    check_output(&world, pid);
    world.up = first;
    CHECK(kill(first, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(up_scales_its_loaders_within_two_seconds) {
    struct world world;
    static const int counts[] = {6, 1, 3};
    world_open(&world);
    world_running(&world);
    for (size_t i = 0; i < PROTO_COUNT(counts); i++) {
        struct proto_error error = {0};
        json_t *answer = NULL;
        CHECK_OK(stage_client_call(world.run,
                                   json_pack("{s:s, s:s, s:i}", "verb", "scale", "stage", "loader",
                                             "count", counts[i]),
                                   &answer, &error),
                 error);
        CHECK_INT(integer_of(answer, "to"), counts[i]);
        json_decref(answer);
        world_reach(&world, "loader", "running", (size_t)counts[i], 2000);
        world_reach(&world, "loader", "draining", 0, 2000);
    }
    world_seen(&world, "scale", 3);
    json_t *deaths = world_events(&world, "death");
    CHECK_INT(json_array_size(deaths), 0);
    json_decref(deaths);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(up_refuses_a_damaged_attempt_file_instead_of_using_a_number_twice) {
    struct world world;
    world_open(&world);
    world_order(&world, "../attempt", "seven\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 3);
    check_output(&world, "/attempt: must hold one number");
    world_close(&world);
}

TEST(up_says_what_program_is_not_there) {
    struct world world;
    char path[1100];
    world_open(&world);
    snprintf(path, sizeof path, "%s/pipeline-trainer", world.programs);
    CHECK(unlink(path) == 0);
    world_up(&world);
    CHECK_INT(world_wait(&world), 4);
    check_output(&world, "pipeline-trainer is needed");
    world_close(&world);
}

TEST_MAIN(UNIT(up_trains_to_the_end_and_drains_its_loaders),
          UNIT(up_restarts_a_killed_loader_and_nothing_else),
          UNIT(up_gives_up_on_a_loader_that_dies_without_progress),
          UNIT(up_forgives_deaths_after_progress),
          UNIT(up_names_the_data_that_crashes_a_loader_twice),
          UNIT(up_takes_kills_in_the_data_for_ordinary_deaths),
          UNIT(up_ends_with_the_status_of_a_stage_that_cannot_go_on),
          UNIT(up_names_an_index_that_crashes_twice_at_one_place),
          UNIT(up_restarts_all_trainers_when_one_dies),
          UNIT(up_gives_up_on_trainers_that_die_without_progress),
          UNIT(up_kills_and_restarts_a_silent_stage),
          UNIT(up_names_a_stage_that_lives_without_progress),
          UNIT(up_interrupted_waits_for_a_checkpoint_first),
          UNIT(up_interrupted_twice_leaves_at_once),
          UNIT(up_tells_a_trainer_that_died_instead_of_its_checkpoint),
          UNIT(up_does_not_wait_for_a_checkpoint_that_no_loader_can_feed),
          UNIT(up_interrupted_while_it_indexes_ends_at_once),
          UNIT(up_killed_leaves_no_child_and_its_next_life_goes_on),
          UNIT(up_refuses_a_folder_that_another_run_holds),
          UNIT(up_scales_its_loaders_within_two_seconds),
          UNIT(up_refuses_a_damaged_attempt_file_instead_of_using_a_number_twice),
          UNIT(up_says_what_program_is_not_there))
