// tests/stages/report_test.c - what a live run answers: its status in the documented form, and ends
// that are asked for over the control socket. Oracle: docs/architecture.md.
#include "tests/stages/world.h"

TEST(report_down_ends_the_run_with_75) {
    struct world world;
    struct proto_error error = {0};
    json_t *answer = NULL;
    world_open(&world);
    world_running(&world);
    CHECK_OK(stage_client_call(world.run, json_pack("{s:s}", "verb", "down"), &answer, &error),
             error);
    json_decref(answer);
    CHECK_INT(world_wait(&world), 75);
    world_seen(&world, "checkpoint", 2);
    world_close(&world);
}

TEST(report_down_now_takes_no_checkpoint) {
    struct world world;
    struct proto_error error = {0};
    json_t *answer = NULL;
    world_open(&world);
    world_running(&world);
    CHECK_OK(stage_client_call(world.run, json_pack("{s:s, s:b}", "verb", "down", "now", 1),
                               &answer, &error),
             error);
    json_decref(answer);
    CHECK_INT(world_wait(&world), 75);
    json_t *checkpoints = world_events(&world, "checkpoint");
    CHECK_INT(json_array_size(checkpoints), 0);
    json_decref(checkpoints);
    world_close(&world);
}

TEST(report_status_has_the_documented_form) {
    static const char *const keys[] = {"stage", "number", "pid", "state", "restarts"};
    struct world world;
    world_open(&world);
    world_set(&world, "trainer.threads=1");
    world_running(&world);
    json_t *status = world_status(&world), *process, *device;
    size_t i;
    CHECK_TEXT(json_string_value(json_object_get(status, "run")), world.run);
    CHECK_INT(json_array_size(json_object_get(status, "processes")), 6);
    json_array_foreach(json_object_get(status, "processes"), i, process) {
        for (size_t k = 0; k < PROTO_COUNT(keys); k++)
            CHECK(json_object_get(process, keys[k]) != NULL);
        CHECK(json_is_integer(json_object_get(process, "rss_bytes")));
        CHECK(json_is_real(json_object_get(process, "cpu")));
        const char *stage = json_string_value(json_object_get(process, "stage"));
        if (strcmp(stage, "index") != 0)
            CHECK(json_integer_value(json_object_get(process, "rss_bytes")) > 0);
    }
    CHECK_INT(json_array_size(json_object_get(status, "devices")), 2);
    json_array_foreach(json_object_get(status, "devices"), i, device) {
        CHECK_INT(json_integer_value(json_object_get(device, "rank")), i);
        CHECK_TEXT(json_string_value(json_object_get(device, "device")), "cpu");
        CHECK_INT(json_integer_value(json_object_get(device, "threads")), 1);
    }
    json_decref(status);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST_MAIN(UNIT(report_down_ends_the_run_with_75), UNIT(report_down_now_takes_no_checkpoint),
          UNIT(report_status_has_the_documented_form))
