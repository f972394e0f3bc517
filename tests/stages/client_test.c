// tests/stages/client_test.c - which run a verb means when none is named.
#include "tests/stages/world.h"

TEST(client_finds_the_newest_live_run) {
    struct world world;
    struct proto_error error = {0};
    char found[PROTO_PATH_MAX], later[600];
    world_open(&world);
    CHECK(!stage_run_find(NULL, found, &error));
    CHECK_HAS(error.text, "--run DIR");
    world_running(&world);
    // noted later, but nobody lives there
    snprintf(later, sizeof later, "%s/later", world.root);
    CHECK_OK(proto_folder_make(later, 0755, &error), error);
    CHECK_OK(stage_run_note(later, &error), error);
    CHECK_OK(stage_run_find(NULL, found, &error), error);
    CHECK_TEXT(found, world.run);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    CHECK_OK(stage_run_find(NULL, found, &error), error);
    CHECK_TEXT(found, later);
    CHECK(!stage_run_find("/nonexistent", found, &error));
    world_close(&world);
}

TEST_MAIN(UNIT(client_finds_the_newest_live_run))
