// tests/stages/world.h - a run of the real supervisor over fake stages, in a folder of its own,
// watched through what users have: events.jsonl, the control socket, exit codes. Every wait ends on
// an event and has a deadline.
#ifndef TESTS_STAGES_WORLD_H
#define TESTS_STAGES_WORLD_H

#include "tests/check.h"

#include "proto/files.h"
#include "proto/json.h"
#include "stages/client.h"
#include "stages/clock.h"
#include "stages/up.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORLD_DEADLINE_MS 20000
#define WORLD_SETS_MAX 12

struct world {
    char root[256], run[512], programs[512], output[512];
    const char *sets[WORLD_SETS_MAX];
    size_t set_count;
    char output_dir[600];
    int64_t stuck_ms;
    pid_t up;
};

static inline void world_set(struct world *world, const char *set) {
    if (world->set_count == WORLD_SETS_MAX) fail_msg("too many settings");
    world->sets[world->set_count++] = set;
}

// The fake program lies beside the test.
static inline void world_open(struct world *world) {
    struct proto_error error = {0};
    char here[512], path[1100], fake[1100];
    *world = (struct world){.up = -1};
    check_folder(world->root);
    // sockets of this test's runs in a folder of their own: "the newest run" is one of them
    setenv("XDG_RUNTIME_DIR", world->root, 1);
    snprintf(world->run, sizeof world->run, "%s/run", world->root);
    snprintf(world->programs, sizeof world->programs, "%s/bin", world->root);
    snprintf(world->output, sizeof world->output, "%s/output", world->root);
    snprintf(path, sizeof path, "%s/fake", world->run);
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    CHECK_OK(proto_folder_make(world->programs, 0755, &error), error);
    const ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    CHECK(length > 0);
    here[length] = '\0';
    *strrchr(here, '/') = '\0';
    snprintf(fake, sizeof fake, "%s/fake_stage_program", here);
    snprintf(path, sizeof path, "%s/pipeline-loader", world->programs);
    CHECK(symlink(fake, path) == 0);
    snprintf(path, sizeof path, "%s/pipeline-trainer", world->programs);
    CHECK(symlink(fake, path) == 0);
    snprintf(path, sizeof path, "%s/pipeline-evaluator", world->programs);
    CHECK(symlink(fake, path) == 0);
    snprintf(world->output_dir, sizeof world->output_dir, "run.output_dir=%s", world->run);
    world_set(world, world->output_dir);
    world_set(world, "data.path=/nonexistent");
    world_set(world, "loader.workers=2");
    world_set(world, "evaluator.when=never");  // unless a test says otherwise later
}

// Orders of a stage's lives, one a line.
static inline void world_order(const struct world *world, const char *label, const char *orders) {
    char path[1100];
    snprintf(path, sizeof path, "%s/fake/%s", world->run, label);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs(orders, file) >= 0);
    CHECK(fclose(file) == 0);
}

static inline void world_up(struct world *world) {
    fflush(NULL);
    world->up = fork();
    CHECK(world->up >= 0);
    if (world->up > 0) return;
    const int output = open(world->output, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    dup2(output, STDERR_FILENO);
    struct proto_error error = {0};
    int code = 0;
    const struct stage_up_settings settings = {.file = TESTS_ROOT "/pipelines/1task.toml",
                                               .sets = world->sets,
                                               .set_count = world->set_count,
                                               .programs = world->programs,
                                               .output = output,
                                               .stuck_ms = world->stuck_ms};
    if (!stage_up_run(&settings, &code, &error)) proto_error_print("pipeline up", &error);
    _exit(code);
}

static inline void world_text(const struct world *world, char *text, size_t size_bytes) {
    const int file = open(world->output, O_RDONLY | O_CLOEXEC);
    const ssize_t count = file >= 0 ? read(file, text, size_bytes - 1) : 0;
    text[count > 0 ? count : 0] = '\0';
    if (file >= 0) close(file);
}

#define WORLD_FAIL(world, ...)                                                                     \
    do {                                                                                           \
        static char world_said[16384];                                                             \
        world_text((world), world_said, sizeof world_said);                                        \
        print_message("%s\n", world_said);                                                         \
        fail_msg(__VA_ARGS__);                                                                     \
    } while (0)

// What `up` has printed holds `part`.
static inline void world_says(const struct world *world, const char *part) {
    static char text[65536];
    world_text(world, text, sizeof text);
    CHECK_HAS(text, part);
}

// The exit code of `up`.
static inline int world_wait(struct world *world) {
    const int64_t end_ms = stage_now_ms() + WORLD_DEADLINE_MS;
    int status = 0;
    while (waitpid(world->up, &status, WNOHANG) == 0) {
        if (stage_now_ms() > end_ms) {
            kill(world->up, SIGKILL);
            WORLD_FAIL(world, "`up` does not end");
        }
        poll(NULL, 0, 5);
    }
    world->up = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// The events of a name (NULL: all) as an array, whole lines only.
static inline json_t *world_events(const struct world *world, const char *name) {
    char path[1100];
    json_t *events = json_array();
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    snprintf(path, sizeof path, "%s/events.jsonl", world->run);
    FILE *file = fopen(path, "r");
    if (!file) return events;
    while ((length = getline(&line, &room, file)) > 0 && line[length - 1] == '\n') {
        json_t *event = json_loads(line, 0, NULL);
        CHECK(event != NULL);
        const char *found = json_string_value(json_object_get(event, "event"));
        CHECK(found != NULL);
        if (!name || strcmp(found, name) == 0)
            json_array_append_new(events, event);
        else
            json_decref(event);
    }
    free(line);
    fclose(file);
    return events;
}

// Waits for the count-th event of a name and gives it; the caller frees it.
static inline json_t *world_event(struct world *world, const char *name, size_t count) {
    const int64_t end_ms = stage_now_ms() + WORLD_DEADLINE_MS;
    for (;;) {
        json_t *events = world_events(world, name);
        if (json_array_size(events) >= count) {
            json_t *event = json_incref(json_array_get(events, count - 1));
            json_decref(events);
            return event;
        }
        json_decref(events);
        if (stage_now_ms() > end_ms || (world->up > 0 && waitpid(world->up, NULL, WNOHANG) != 0))
            WORLD_FAIL(world, "event %s was not seen %zu times", name, count);
        poll(NULL, 0, 5);
    }
}
static inline void world_seen(struct world *world, const char *name, size_t count) {
    json_decref(world_event(world, name, count));
}

// The newest status; the caller frees it.
static inline json_t *world_status(const struct world *world) {
    struct proto_error error = {0};
    json_t *answer = NULL;
    CHECK_OK(stage_client_call(world->run, json_pack("{s:s}", "verb", "status"), &answer, &error),
             error);
    json_t *status = json_incref(json_object_get(answer, "status"));
    json_decref(answer);
    CHECK(json_is_object(status));
    return status;
}

// Processes of a stage in a state; `pids` (may be NULL) takes as many as `room`.
static inline size_t world_count(const struct world *world, const char *stage, const char *state,
                                 pid_t *pids, size_t room) {
    json_t *status = world_status(world), *process;
    size_t i, count = 0;
    json_array_foreach(json_object_get(status, "processes"), i, process) {
        if (strcmp(json_string_value(json_object_get(process, "stage")), stage) != 0) continue;
        if (strcmp(json_string_value(json_object_get(process, "state")), state) != 0) continue;
        if (pids && count < room)
            pids[count] = (pid_t)json_integer_value(json_object_get(process, "pid"));
        count++;
    }
    json_decref(status);
    return count;
}
static inline void world_reach(struct world *world, const char *stage, const char *state,
                               size_t count, int64_t within_ms) {
    const int64_t end_ms = stage_now_ms() + within_ms;
    while (world_count(world, stage, state, NULL, 0) != count) {
        if (stage_now_ms() > end_ms)
            WORLD_FAIL(world, "not %zu %s %s within %lld ms", count, state, stage,
                       (long long)within_ms);
        poll(NULL, 0, 5);
    }
}
// Up, both ranks and both loaders running.
static inline void world_running(struct world *world) {
    world_up(world);
    world_seen(world, "ready", 4);
}

// Lets the trainers finish.
static inline void world_finishes(struct world *world) {
    world_order(world, "steps", "1\n");
    const int code = world_wait(world);
    if (code != 0) WORLD_FAIL(world, "exit %d", code);
}

static inline int64_t integer_of(const json_t *object, const char *key) {
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static inline void world_close(struct world *world) {
    struct proto_error error = {0};
    if (world->up > 0) {
        kill(world->up, SIGKILL);
        waitpid(world->up, NULL, 0);
    }
    (void)!proto_folder_remove(world->root, &error);
}

// False once it is gone or a zombie.
static inline bool world_lives(pid_t pid) {
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    const char *state = count > 0 ? strrchr(text, ')') : NULL;
    return state && state[2] != 'Z';
}

// True while a process of the group is there that is no zombie.
static inline bool world_group_lives(pid_t group) {
    struct proto_error error = {0};
    struct proto_names names = {0};
    bool lives = false;
    CHECK_OK(proto_folder_list("/proc", &names, &error), error);
    for (size_t i = 0; i < names.count && !lives; i++) {
        const pid_t pid = (pid_t)strtol(names.items[i], NULL, 10);
        lives = pid > 0 && getpgid(pid) == group && world_lives(pid);
    }
    proto_names_free(&names);
    return lives;
}

#endif
