// tests/stages/supervisor_test.c - the life of a run: to its end, stopped, interrupted, scaled, and
// what is left when the supervisor itself is killed. Oracle: the promises of the table of processes
// in docs/architecture.md; stages are fakes (fake_stage_program.c), everything else is real.
#include "tests/stages/world.h"

TEST(up_trains_to_the_end_and_drains_its_loaders) {
    struct world world;
    world_open(&world);
    world_set(&world, "run.max_train_steps=300");
    world_order(&world, "steps", "60\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    world_says(&world, "loader 1 is ready");
    world_says(&world, "Steps: 60/60");
    world_says(&world, "Training finished");
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
    world_finishes(&world);
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
    world_says(&world, pid);
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

TEST_MAIN(UNIT(up_trains_to_the_end_and_drains_its_loaders),
          UNIT(up_interrupted_waits_for_a_checkpoint_first),
          UNIT(up_interrupted_twice_leaves_at_once),
          UNIT(up_interrupted_while_it_indexes_ends_at_once),
          UNIT(up_killed_leaves_no_child_and_its_next_life_goes_on),
          UNIT(up_refuses_a_folder_that_another_run_holds),
          UNIT(up_scales_its_loaders_within_two_seconds))
