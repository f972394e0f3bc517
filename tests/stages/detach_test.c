// tests/stages/detach_test.c - `up --detach` returns when the run has started or failed to start,
// and what it left in the background is in a session of its own.
#include "tests/stages/world.h"

#include "stages/detach.h"

static int work(const struct stage_up_settings *settings) {
    struct proto_error error = {0};
    int code = 0;
    if (!stage_up_run(settings, &code, &error)) proto_error_print("pipeline up", &error);
    return code;
}

// In a child: what it prints goes to the world's output. The exit code of the verb.
static int detach(struct world *world) {
    fflush(NULL);
    world->up = fork();
    CHECK(world->up >= 0);
    if (world->up == 0) {
        const int output = open(world->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        const struct stage_up_settings settings = {.file = TESTS_ROOT "/pipelines/1task.toml",
                                                   .sets = world->sets,
                                                   .set_count = world->set_count,
                                                   .programs = world->programs,
                                                   .output = STDOUT_FILENO};
        const int code = stage_detach(&settings, work);
        fflush(NULL);
        _exit(code);
    }
    return world_wait(world);
}

TEST(detach_leaves_a_run_in_the_background) {
    struct world world;
    struct proto_error error = {0};
    json_t *answer = NULL;
    world_open(&world);
    CHECK_INT(detach(&world), 0);
    world_says(&world, "The run goes on in the background, process ");
    world_says(&world, "pipeline down --run ");
    CHECK_INT(world_count(&world, "trainer", "running", NULL, 0), 2);
    json_t *up = world_event(&world, "up", 1);
    const pid_t pid = (pid_t)integer_of(up, "pid");
    json_decref(up);
    CHECK_INT(getsid(pid), pid);
    CHECK_OK(stage_client_call(world.run, json_pack("{s:s}", "verb", "down"), &answer, &error),
             error);
    json_decref(answer);
    json_t *end = world_event(&world, "end", 1);
    CHECK_INT(integer_of(end, "exit_code"), 75);
    json_decref(end);
    const int64_t end_ms = stage_now_ms() + WORLD_DEADLINE_MS;
    while (world_lives(pid)) {
        CHECK(stage_now_ms() < end_ms);
        poll(NULL, 0, 5);
    }
    world_close(&world);
}

TEST(detach_gives_the_exit_code_of_a_start_that_failed) {
    struct world world;
    world_open(&world);
    world_order(&world, "index-0", "fail 3 a.hdf5: truncated\n");
    CHECK_INT(detach(&world), 3);
    world_says(&world, "a.hdf5: truncated");
    world_close(&world);
}

TEST_MAIN(UNIT(detach_leaves_a_run_in_the_background),
          UNIT(detach_gives_the_exit_code_of_a_start_that_failed))
