// stages/launch.c - how each stage is started: program, words, environment, log; and the attempt
// numbers of the trainer group, which are used once only, whatever is killed when.
#include "proto/files.h"
#include "stages/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 12
#define ENVIRONMENT_MAX 128

// RUN/attempt holds the highest number used. It is raised durably before the group starts.
bool stage_attempt_next(struct stage_supervisor *supervisor, struct proto_error *error) {
    char path[PROTO_PATH_MAX], text[32];
    char *data = NULL;
    size_t size_bytes = 0;
    unsigned long used = 0;
    if (!proto_run_path(supervisor->run->folder, "attempt", path, error)) return false;
    if (proto_path_exists(path)) {
        if (!proto_file_read(path, sizeof text - 1, PROTO_DAMAGED, &data, &size_bytes, error))
            return proto_error_where(error, "%s", path);
        char *end = NULL;
        errno = 0;
        used = strtoul(data, &end, 10);
        const bool whole = end != data && *end == '\n' && end[1] == '\0' && errno == 0;
        free(data);
        if (!whole || used >= STAGE_ATTEMPT_MAX) {
            proto_fail(error, PROTO_DAMAGED,
                       "must hold one number below %u, the highest attempt used; "
                       "metrics.jsonl tells it",
                       STAGE_ATTEMPT_MAX);
            return proto_error_where(error, "%s", path);
        }
    }
    supervisor->attempt = (uint32_t)used + 1;
    const int length = snprintf(text, sizeof text, "%u\n", supervisor->attempt);
    return proto_file_write(path, text, (size_t)length, error);
}

// "auto" is the newest checkpoint of the folder, always right. Where an older one was named, there
// may be newer ones that this run has left behind: the next attempt goes on from what this one
// wrote, or else from the named one again.
bool stage_resume_write(struct stage_supervisor *supervisor, struct proto_error *error) {
    const struct stage_run *run = supervisor->run;
    if (strcmp(run->config->run.resume, "auto") == 0 || !supervisor->checkpointed) return true;
    char name[48], path[PROTO_PATH_MAX], resolved[PROTO_PATH_MAX];
    char *toml = NULL;
    struct proto_config next = *run->config;  // borrows everything but what is changed
    snprintf(name, sizeof name, "checkpoint-%" PRIu64, supervisor->checkpoint_step);
    if (!proto_run_path(run->folder, name, path, error)) return false;
    if (!proto_run_path(run->folder, "pipeline.toml", resolved, error)) return false;
    next.run.resume = path;
    if (!proto_config_print(&next, &toml, error)) return false;
    const bool done = proto_file_write(resolved, toml, strlen(toml), error);
    free(toml);
    return done;
}

// collective.env and the number of threads.
static bool trainer_environment(const struct stage_supervisor *supervisor, char *threads,
                                size_t threads_bytes, const char **environment,
                                struct proto_error *error) {
    const struct proto_list *more = &supervisor->run->config->collective.env;
    if (more->count > ENVIRONMENT_MAX - 2)
        return proto_fail(error, PROTO_USAGE,
                          "collective.env has %zu entries, at most %d are "
                          "passed on",
                          more->count, ENVIRONMENT_MAX - 2);
    snprintf(threads, threads_bytes, "OPENBLAS_NUM_THREADS=%u", supervisor->threads);
    size_t count = 0;
    environment[count++] = threads;
    for (size_t i = 0; i < more->count; i++) environment[count++] = more->items[i];
    environment[count] = NULL;
    return true;
}

int stage_log_open(const struct stage_supervisor *supervisor, const struct stage_process *process,
                   struct proto_error *error) {
    char label[32], name[64], path[PROTO_PATH_MAX];
    stage_process_label(process, label);
    snprintf(name, sizeof name, "logs/%s.log", label);
    if (!proto_run_path(supervisor->run->folder, name, path, error)) return -1;
    const int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (log < 0) proto_fail_errno(error, PROTO_FAILED, "%s cannot be written", path);
    return log;
}

bool stage_launch(struct stage_supervisor *supervisor, struct stage_process *process,
                  struct proto_error *error) {
    const struct stage_run *run = supervisor->run;
    const bool trainer = process->role == STAGE_TRAINER;
    static const char *const programs[STAGE_ROLES] = {"pipeline-loader", "pipeline-loader",
                                                      "pipeline-trainer", "pipeline-evaluator",
                                                      "pipeline-evaluator"};
    const char *name = programs[process->role];
    char program[PROTO_PATH_MAX];
    char number[16], attempt[16], threads[48];
    const char *environment[ENVIRONMENT_MAX] = {"OPENBLAS_NUM_THREADS=1", NULL};
    if (!proto_run_path(run->programs, name, program, error)) return false;
    if (trainer && !trainer_environment(supervisor, threads, sizeof threads, environment, error))
        return false;
    snprintf(number, sizeof number, "%u", process->number);
    snprintf(attempt, sizeof attempt, "%u", supervisor->attempt);
    const char *words[STAGE_ROLES][WORDS_MAX] = {
        [STAGE_INDEX] = {name, "index", "--run", run->folder, NULL},
        [STAGE_LOADER] = {name, "serve", "--run", run->folder, "--number", number, NULL},
        [STAGE_TRAINER] = {name, "--run", run->folder, "--rank", number, "--attempt", attempt,
                           NULL},
        [STAGE_CHECK] = {name, "serve", "--run", run->folder, "--number", number, "--check", NULL},
        [STAGE_EVALUATOR] = {name, "serve", "--run", run->folder, "--number", number, NULL},
    };
    const bool reads_data = process->role == STAGE_INDEX || process->role == STAGE_LOADER;
    const int log = stage_log_open(supervisor, process, error);
    if (log < 0) return false;
    const struct stage_launch launch = {.program = program,
                                        .words = words[process->role],
                                        .environment = environment,
                                        .log = log,
                                        .place = reads_data};
    const bool done = stage_process_spawn(process, &launch, supervisor->now_ms, error);
    close(log);
    return done;
}
