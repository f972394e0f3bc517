// tests/stages/verbs_test.c - the command line: help of one screen for every verb, misspelt verbs,
// verbs that another program owns, verbs on runs that are alive, dead and unknown.
#include "tests/stages/world.h"

#include "stages/lock.h"
#include "stages/verb.h"

#define SCREEN_LINES 24
#define SCREEN_COLUMNS 100

// Runs `pipeline WORDS...` in a child; what it printed comes back, errors too.
static int command(char *text, size_t size_bytes, const char *const *words) {
    int ends[2], status = 0, count = 1;
    char *line[16] = {(char *)(uintptr_t) "pipeline"};
    while (words[count - 1]) {
        line[count] = (char *)(uintptr_t)words[count - 1];
        count++;
    }
    fflush(NULL);
    CHECK(pipe(ends) == 0);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        const int code = stage_command_line(count, line);
        fflush(NULL);
        _exit(code);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t got;
    while (used < size_bytes - 1 && (got = read(ends[0], text + used, size_bytes - 1 - used)) > 0)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}
#define COMMAND(text, ...) command((text), sizeof(text), (const char *const[]){__VA_ARGS__, NULL})

static void check_screen(const char *text) {
    size_t lines = 0, columns = 0;
    for (; *text; text++) {
        columns = *text == '\n' ? 0 : columns + 1;
        lines += *text == '\n';
        CHECK(columns <= SCREEN_COLUMNS);
    }
    CHECK(lines > 0 && lines <= SCREEN_LINES);
}

TEST(verbs_of_ours_have_a_screen_of_help) {
    static char text[16384];
    for (const struct stage_verb *verb = stage_verbs(); verb->name; verb++) {
        if (verb->program) continue;
        TEST_CASE(verb->name);
        CHECK_INT(COMMAND(text, verb->name, "--help"), 0);
        CHECK_HAS(text, verb->name);
        check_screen(text);
        CHECK_INT(COMMAND(text, "help", verb->name), 0);
        check_screen(text);
    }
    TEST_CASE("");
    CHECK_INT(COMMAND(text, "help"), 0);
    for (const struct stage_verb *verb = stage_verbs(); verb->name; verb++)
        CHECK_HAS(text, verb->name);
}

TEST(verbs_that_are_wrong_are_refused_with_2) {
    static char text[16384];
    CHECK_INT(COMMAND(text, "staus"), 2);
    CHECK_HAS(text, "nearest known: status");
    CHECK_INT(COMMAND(text, "help", "nonsense"), 2);
    CHECK_INT(COMMAND(text, "up"), 2);
    CHECK_HAS(text, "which configuration?");
    CHECK_INT(COMMAND(text, "up", "--detatch", "x.toml"), 2);
    CHECK_HAS(text, "nearest known: --detach");
    CHECK_INT(COMMAND(text, "up", "/nonexistent.toml"), 2);
    CHECK_HAS(text, "/nonexistent.toml");
    CHECK_INT(COMMAND(text, "scale", "loader=many"), 2);
    CHECK_HAS(text, "as in loader=4");
    CHECK_INT(COMMAND(text, "status", "--run", "/nonexistent"), 2);
}

TEST(verbs_of_other_programs_name_the_program_that_is_not_there) {
    static char text[16384];
    // beside this test there is no pipeline-loader
    CHECK_INT(COMMAND(text, "check", "x.toml"), 4);
    CHECK_HAS(text, "/pipeline-loader cannot be executed");
    CHECK_INT(COMMAND(text, "ledger", "verify", "run"), 4);
    CHECK_HAS(text, "/pipeline-trainer cannot be executed");
}

TEST(verbs_on_a_live_run_find_it_by_themselves) {
    static char text[65536];
    struct world world;
    world_open(&world);
    world_running(&world);
    CHECK_INT(COMMAND(text, "status"), 0);
    CHECK_HAS(text, "trainer-1");
    CHECK_HAS(text, "loader-0");
    CHECK_INT(COMMAND(text, "status", "--json"), 0);
    json_t *status = json_loads(text, 0, NULL);
    CHECK(status != NULL);
    json_decref(status);
    CHECK_INT(COMMAND(text, "scale", "loader=3"), 0);
    CHECK_HAS(text, "loader: 2 -> 3");
    world_reach(&world, "loader", "running", 3, 2000);
    CHECK_INT(COMMAND(text, "scale", "loader=0", "--run", world.run), 2);
    CHECK_INT(COMMAND(text, "logs", "trainer-1"), 0);
    CHECK_HAS(text, "trainer-1   | started as trainer 1");
    CHECK_INT(COMMAND(text, "logs", "evaluator"), 2);
    CHECK_INT(COMMAND(text, "down"), 0);
    CHECK_INT(world_wait(&world), 75);
    CHECK_INT(COMMAND(text, "status"), 1);
    CHECK_HAS(text, "nothing runs");
    CHECK_HAS(text, "exit code 75");
    CHECK_INT(COMMAND(text, "down"), 1);
    CHECK_HAS(text, "no run is at work here");
    // a log that nobody writes any more is not waited for
    CHECK_INT(COMMAND(text, "logs", "-f"), 0);
    CHECK_HAS(text, "loader-0    | ");
    world_close(&world);
}

// Two terminals rarely have the same environment; RUN/address leads to the sockets.
TEST(verbs_find_a_run_from_another_environment) {
    static char text[65536];
    struct world world;
    char before[256];
    world_open(&world);
    world_running(&world);
    snprintf(before, sizeof before, "%s", getenv("XDG_RUNTIME_DIR"));
    CHECK(setenv("XDG_RUNTIME_DIR", world.run, 1) == 0);
    CHECK_INT(COMMAND(text, "status", "--run", world.run), 0);
    CHECK_HAS(text, "trainer-1");
    CHECK_INT(COMMAND(text, "down", "--run", world.run), 0);
    CHECK_INT(world_wait(&world), 75);
    CHECK(setenv("XDG_RUNTIME_DIR", before, 1) == 0);
    world_close(&world);
}

// Whoever holds the lock is alive, also when nobody answers on the socket.
TEST(verbs_never_call_a_run_dead_that_somebody_holds) {
    static char text[65536];
    struct proto_error error = {0};
    char folder[256];
    int lock = -1;
    check_folder(folder);
    CHECK_OK(stage_lock_take(folder, &lock, &error), error);
    CHECK_INT(COMMAND(text, "status", "--run", folder), 1);
    CHECK_HAS(text, "holds this run and cannot be reached");
    CHECK_INT(COMMAND(text, "status", "--json", "--run", folder), 1);
    CHECK_HAS(text, "cannot be reached");
    CHECK(strstr(text, "dead") == NULL);
    close(lock);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(verbs_tell_what_the_files_of_a_killed_run_know) {
    static char text[65536];
    struct world world;
    world_open(&world);
    world_running(&world);
    CHECK(kill(world.up, SIGKILL) == 0);
    CHECK_INT(world_wait(&world), 1000 + SIGKILL);
    CHECK_INT(COMMAND(text, "status"), 1);
    CHECK_HAS(text, "its supervisor was killed");
    CHECK_INT(COMMAND(text, "status", "--json"), 1);
    json_t *status = json_loads(text, 0, NULL);
    CHECK_TEXT(json_string_value(json_object_get(status, "phase")), "dead");
    json_decref(status);
    world_close(&world);
}

TEST_MAIN(UNIT(verbs_of_ours_have_a_screen_of_help), UNIT(verbs_that_are_wrong_are_refused_with_2),
          UNIT(verbs_of_other_programs_name_the_program_that_is_not_there),
          UNIT(verbs_on_a_live_run_find_it_by_themselves),
          UNIT(verbs_find_a_run_from_another_environment),
          UNIT(verbs_never_call_a_run_dead_that_somebody_holds),
          UNIT(verbs_tell_what_the_files_of_a_killed_run_know))
