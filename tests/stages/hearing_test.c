// tests/stages/hearing_test.c - what a run makes of silence and of life without progress. Oracle:
// heartbeats come every PROTO_PROGRESS_MS, so a timeout of 1 s and a patience of 700 ms are several
// of them.
#include "tests/stages/world.h"

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
    world_says(&world, "loader 1: silent for");
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

// A loader without tickets is well, however busy the others are. The end of the wait is an event of
// another loader that lives without progress and does hold some.
TEST(up_does_not_name_a_loader_that_holds_no_tickets) {
    struct world world;
    world_open(&world);
    world.stuck_ms = 700;
    world_set(&world, "loader.workers=3");
    world_order(&world, "loader-1", "idle\n");
    world_order(&world, "loader-2", "stuck\n");
    world_running(&world);
    json_t *stuck = world_event(&world, "stuck", 1);
    CHECK_INT(integer_of(stuck, "number"), 2);
    json_decref(stuck);
    json_t *status = world_status(&world);
    char *text = json_dumps(status, JSON_COMPACT);
    const char *first = strstr(text, "alive, no progress for ");
    CHECK(first && !strstr(first + 1, "alive, no progress for "));
    free(text);
    json_decref(status);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST_MAIN(UNIT(up_does_not_name_a_loader_that_holds_no_tickets),
          UNIT(up_kills_and_restarts_a_silent_stage),
          UNIT(up_names_a_stage_that_lives_without_progress))
