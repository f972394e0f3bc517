// tests/stages/launch_test.c - how stages are started: programs, words, environment, attempt
// numbers that are never used twice.
#include "tests/stages/world.h"

// The log of a stage.
static void check_log(const struct world *world, const char *label, const char *part) {
    struct proto_error error = {0};
    char path[1100];
    char *text = NULL;
    size_t size_bytes = 0;
    snprintf(path, sizeof path, "%s/logs/%s.log", world->run, label);
    CHECK_OK(proto_file_read(path, 1 << 20, PROTO_FAILED, &text, &size_bytes, &error), error);
    CHECK_HAS(text, part);
    free(text);
}

TEST(up_gives_each_stage_its_threads_and_trainers_their_environment) {
    struct world world;
    world_open(&world);
    world_set(&world, "trainer.threads=3");
    world_set(&world, "collective.env={NCCL_DEBUG=\"INFO\"}");
    world_order(&world, "steps", "3\n");
    setenv("OPENBLAS_NUM_THREADS", "17", 1);  // ours does not leak into theirs
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_log(&world, "trainer-1", "threads 3, NCCL_DEBUG INFO, words: --run ");
    check_log(&world, "trainer-1", " --rank 1 --attempt 1\n");
    check_log(&world, "loader-1", "threads 1, NCCL_DEBUG -, words: serve --run ");
    check_log(&world, "loader-1", " --number 1\n");
    check_log(&world, "index-0", "words: index --run ");
    world_close(&world);
}

TEST(up_numbers_its_attempts_on_over_lives) {
    struct world world;
    world_open(&world);
    world_order(&world, "../attempt", "41\n");
    world_order(&world, "steps", "3\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_log(&world, "trainer-0", " --rank 0 --attempt 42\n");
    world_close(&world);
}

TEST(up_refuses_a_damaged_attempt_file_instead_of_using_a_number_twice) {
    struct world world;
    world_open(&world);
    world_order(&world, "../attempt", "seven\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 3);
    world_says(&world, "/attempt: must hold one number");
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
    world_says(&world, "pipeline-trainer is needed");
    world_close(&world);
}

TEST_MAIN(UNIT(up_gives_each_stage_its_threads_and_trainers_their_environment),
          UNIT(up_numbers_its_attempts_on_over_lives),
          UNIT(up_refuses_a_damaged_attempt_file_instead_of_using_a_number_twice),
          UNIT(up_says_what_program_is_not_there))
