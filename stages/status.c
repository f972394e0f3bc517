// stages/status.c - `pipeline status`: what the supervisor reports, as JSON or as a table; for a
// run that is not alive, what its files tell.
#include "proto/checkpoint.h"
#include "proto/json.h"
#include "proto/words.h"
#include "stages/client.h"
#include "stages/clock.h"
#include "stages/console.h"
#include "stages/devices.h"
#include "stages/lock.h"
#include "stages/verb.h"
#include "stages/verdict.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WATCH_MS 1000
#define TAIL_BYTES 65536

// The last whole line of a file as JSON, or NULL.
static json_t *last_line(const char *run, const char *name) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    struct stat info;
    json_t *object = NULL;
    if (!proto_run_path(run, name, path, &ignored)) return NULL;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info) != 0) {
        if (file >= 0) close(file);
        return NULL;
    }
    const off_t begin = info.st_size > TAIL_BYTES ? info.st_size - TAIL_BYTES : 0;
    char *tail = malloc(TAIL_BYTES + 1);
    const ssize_t count = tail ? pread(file, tail, TAIL_BYTES, begin) : -1;
    close(file);
    const char *end = count > 0 ? memrchr(tail, '\n', (size_t)count) : NULL;
    if (end) {
        const char *before = memrchr(tail, '\n', (size_t)(end - tail));
        const char *line = before ? before + 1 : tail;
        object = json_loadb(line, (size_t)(end - line), 0, NULL);
    }
    free(tail);
    return object;
}

// What is known of a run that nobody runs: {"run", "phase": "dead", "processes": [], ...}.
static json_t *status_of_dead(const char *run) {
    struct proto_error ignored = {0};
    uint64_t *steps = NULL;
    size_t count = 0;
    json_t *status = json_pack("{s:o, s:s, s:[], s:[]}", "run", proto_json_string(run), "phase",
                               "dead", "processes", "devices");
    if (proto_checkpoint_list(run, &steps, &count, &ignored) && count > 0)
        json_object_set_new(status, "checkpoint_step", json_integer((json_int_t)steps[count - 1]));
    free(steps);
    json_t *metrics = last_line(run, "metrics.jsonl");
    json_t *event = last_line(run, "events.jsonl");
    if (metrics) json_object_set_new(status, "last_step", metrics);
    if (event) json_object_set_new(status, "last_event", event);
    return status;
}

static void print_dead(const json_t *status) {
    const json_t *step = json_object_get(status, "checkpoint_step");
    const json_t *last = json_object_get(json_object_get(status, "last_step"), "step");
    const json_t *event = json_object_get(status, "last_event");
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *time = json_string_value(json_object_get(event, "time"));
    const json_t *code = json_object_get(event, "exit_code");
    printf("run %s: nothing runs\n", json_string_value(json_object_get(status, "run")));
    if (name && strcmp(name, "end") == 0 && json_is_integer(code))
        printf("  ended %s with exit code %lld (%s)\n", time ? time : "",
               (long long)json_integer_value(code),
               proto_status_meaning((int)json_integer_value(code)));
    else if (name)
        printf("  its supervisor was killed; last event: %s %s\n", time ? time : "", name);
    if (last) printf("  last step: %lld\n", (long long)json_integer_value(last));
    if (step)
        printf("  newest checkpoint: checkpoint-%lld; `pipeline up` goes on from it\n",
               (long long)json_integer_value(step));
    else
        printf("  no checkpoint\n");
}

// Counters that have columns of their own, or are in the progress line.
static bool has_column(const char *key) {
    static const char *const known[] = {
        "stage", "number", "pid", "state", "restarts", "rss_bytes", "cpu", "done", "note",
        "max_steps", "eta_s", "samples_per_s", "step", "step_s", "loss", "learning_rate", "idle",
        // of an evaluator
        "evaluating", "episode", "episodes", "waiting", "success_step", "success_rate", "successes",
        "success_episodes", "best_step"};
    for (size_t i = 0; i < PROTO_COUNT(known); i++)
        if (strcmp(known[i], key) == 0) return true;
    return false;
}

static long long integer_of(const json_t *object, const char *key) {
    return (long long)json_integer_value(json_object_get(object, key));
}

static void print_counters(const json_t *process) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)process, key, value) {
        if (has_column(key)) continue;
        if (json_is_integer(value))
            printf(" %s=%lld", key, (long long)json_integer_value(value));
        else if (json_is_real(value))
            printf(" %s=%.4g", key, json_real_value(value));
        else if (json_is_string(value))
            printf(" %s=%s", key, json_string_value(value));
    }
}

// The line below a process that says how far its work is.
static void print_work(const json_t *process, const char *success) {
    struct stage_progress progress;
    char text[256];
    const char *stage = json_string_value(json_object_get(process, "stage"));
    if (stage && strcmp(stage, "trainer") == 0 && integer_of(process, "number") == 0 &&
        stage_progress_read(process, &progress)) {
        snprintf(progress.success, sizeof progress.success, "%s", success);
        stage_progress_text(&progress, 0, text);
        printf("  %s\n", text);
    }
    if (stage && strcmp(stage, "evaluator") == 0 && stage_evaluation_text(process, "", 0, text))
        printf("  %s\n", text);
}

// What holds the run up, if anything does.
static void print_waits(const json_t *status) {
    struct stage_waits waits;
    char text[STAGE_VERDICT_TEXT_BYTES];
    const char *run = json_string_value(json_object_get(status, "run"));
    if (run && stage_waits_read(run, &waits) && stage_verdict(&waits, text)) printf("%s\n", text);
}

static void print_live(const json_t *status) {
    struct stage_score newest, best;
    const json_t *evaluation = json_object_get(status, "evaluation");
    const bool known = stage_score_read(json_object_get(evaluation, "newest"), &newest);
    const bool best_known = stage_score_read(json_object_get(evaluation, "best"), &best);
    char success[STAGE_SCORES_TEXT_BYTES];
    size_t i;
    json_t *process;
    stage_scores_text(known ? &newest : NULL, best_known ? &best : NULL, success);
    printf("run %s: %s, attempt %lld\n", json_string_value(json_object_get(status, "run")),
           json_string_value(json_object_get(status, "phase")), integer_of(status, "attempt"));
    printf("%-13s %8s %-9s %8s %9s %6s %10s\n", "process", "pid", "state", "restarts", "memory",
           "cores", "done");
    json_array_foreach(json_object_get(status, "processes"), i, process) {
        const char *stage = json_string_value(json_object_get(process, "stage"));
        const char *state = json_string_value(json_object_get(process, "state"));
        const char *note = json_string_value(json_object_get(process, "note"));
        char name[32];
        snprintf(name, sizeof name, "%s-%lld", stage ? stage : "", integer_of(process, "number"));
        printf("%-13s %8lld %-9s %8lld %5.0f MiB %6.2f", name, integer_of(process, "pid"),
               state ? state : "", integer_of(process, "restarts"),
               (double)integer_of(process, "rss_bytes") / 1048576,
               json_number_value(json_object_get(process, "cpu")));
        if (json_object_get(process, "done")) printf(" %10lld ", integer_of(process, "done"));
        print_counters(process);
        printf("%s%s\n", note ? "  " : "", note ? note : "");
        print_work(process, success);
    }
    stage_devices_print(json_object_get(status, "devices"));
    print_waits(status);
}

// One look; *live says whether somebody answered.
static bool status_show(const char *run, bool as_json, bool *live, struct proto_error *error) {
    json_t *answer = NULL, *status = NULL;
    struct proto_error nobody = {0};
    pid_t pid = 0;
    *live = stage_client_call(run, json_pack("{s:s}", "verb", "status"), &answer, &nobody);
    // somebody holds the run: it is not dead, whatever became of the answer
    if (!*live && stage_lock_held(run, &pid)) {
        *error = nobody;
        return false;
    }
    status = *live ? json_incref(json_object_get(answer, "status")) : status_of_dead(run);
    json_decref(answer);
    if (!status) return proto_fail(error, PROTO_FAILED, "the supervisor's answer has no status");
    if (as_json)
        json_dumpf(status, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    else if (*live)
        print_live(status);
    else
        print_dead(status);
    if (as_json) putchar('\n');
    json_decref(status);
    if (fflush(stdout) != 0) return proto_fail_errno(error, PROTO_FAILED, "standard output");
    return true;
}

int stage_status(int count, char **words) {
    struct proto_error error = {0};
    bool as_json = false, watch = false, live = false;
    const char *given = NULL;
    char run[PROTO_PATH_MAX];
    size_t rest = 0;
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &as_json},
                                         {"--watch", PROTO_WORD_FLAG, &watch},
                                         {"--run", PROTO_WORD_TEXT, &given}};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), NULL, 0, &rest, &error) ||
        !stage_run_find(given, run, &error))
        return proto_error_print("pipeline status", &error);
    const bool redraw = watch && !as_json && isatty(STDOUT_FILENO);
    do {
        if (redraw) fputs("\033[H\033[J", stdout);
        if (!status_show(run, as_json, &live, &error))
            return proto_error_print("pipeline status", &error);
    } while (watch && live && poll(NULL, 0, WATCH_MS) == 0);
    return live ? PROTO_DONE : PROTO_FAILED;
}
