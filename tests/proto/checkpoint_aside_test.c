// tests/proto/checkpoint_aside_test.c - a run that goes back keeps what it goes back over, under
// names that neither resuming nor rotation take for checkpoints of the run.
#include "proto/checkpoint.h"
#include "proto/checkpoint_aside.h"
#include "proto/files.h"
#include "proto/json.h"
#include "tests/check.h"

#include <errno.h>
#include <unistd.h>

#include "tests/proto/checkpoint_case.h"

TEST(checkpoint_aside_is_what_comes_after_the_step_and_nothing_else) {
    struct proto_error error = {0};
    char *path = NULL;
    size_t count = 0;
    for (uint64_t step = 10; step <= 40; step += 10) put(step, 1);
    CHECK_OK(proto_checkpoint_set_aside(run, 40, &count, &error), error);
    CHECK_INT(count, 0);
    CHECK_OK(proto_checkpoint_set_aside(run, 20, &count, &error), error);
    CHECK_INT(count, 2);
    CHECK(proto_path_is_folder(in("checkpoint-30.aside")));
    CHECK(proto_path_is_folder(in("checkpoint-40.aside")));
    CHECK_OK(proto_checkpoint_resolve(run, "auto", &path, &error), error);
    CHECK_TEXT(path, in("checkpoint-20"));
    free(path);
    // as a folder of one's own it is still whole, and can be resumed from by name
    CHECK_OK(proto_checkpoint_check(in("checkpoint-40.aside"), &error), error);
}

TEST(checkpoint_aside_survives_rotation_and_does_not_count_for_it) {
    struct proto_error error = {0};
    size_t count = 0;
    put(10, 1);
    put(40, 1);
    CHECK_OK(proto_checkpoint_set_aside(run, 10, &count, &error), error);
    put(11, 1);
    CHECK_OK(proto_checkpoint_rotate(run, 1, &error), error);
    CHECK(proto_path_is_folder(in("checkpoint-11")));
    CHECK(proto_path_exists(in("checkpoint-11/optimizer.safetensors")));
    CHECK(!proto_path_exists(in("checkpoint-10")));
    CHECK(proto_path_is_folder(in("checkpoint-40.aside")));
}

TEST(checkpoint_aside_twice_keeps_both) {
    struct proto_error error = {0};
    size_t count = 0;
    for (int i = 0; i < 3; i++) {
        put(40, 1);
        CHECK_OK(proto_checkpoint_set_aside(run, 0, &count, &error), error);
        CHECK_INT(count, 1);
    }
    CHECK(proto_path_is_folder(in("checkpoint-40.aside")));
    CHECK(proto_path_is_folder(in("checkpoint-40.aside-2")));
    CHECK(proto_path_is_folder(in("checkpoint-40.aside-3")));
}

TEST(checkpoint_aside_takes_best_along) {
    struct proto_error error = {0};
    char target[256] = "";
    size_t count = 0;
    put(10, 1);
    put(40, 1);
    CHECK_INT(symlink("checkpoint-40", in("best")), 0);
    CHECK_OK(proto_checkpoint_set_aside(run, 10, &count, &error), error);
    CHECK(readlink(in("best"), target, sizeof target - 1) > 0);
    CHECK_TEXT(target, "checkpoint-40.aside");
    // one that points elsewhere stays
    put(20, 1);
    CHECK_INT(unlink(in("best")), 0);
    CHECK_INT(symlink("checkpoint-10", in("best")), 0);
    CHECK_OK(proto_checkpoint_set_aside(run, 10, &count, &error), error);
    memset(target, 0, sizeof target);
    CHECK(readlink(in("best"), target, sizeof target - 1) > 0);
    CHECK_TEXT(target, "checkpoint-10");
}

TEST_MAIN(CASE(checkpoint_aside_is_what_comes_after_the_step_and_nothing_else),
          CASE(checkpoint_aside_survives_rotation_and_does_not_count_for_it),
          CASE(checkpoint_aside_twice_keeps_both), CASE(checkpoint_aside_takes_best_along))
