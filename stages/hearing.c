// stages/hearing.c - what the stages say over their lines, and what is made of their silence.
#include "proto/json.h"
#include "stages/clock.h"
#include "stages/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

// A stage that floods its line is heard in portions, so that the others are heard too.
#define PORTION_BYTES (256u << 10)

struct hearing {
    struct stage_supervisor *supervisor;
    struct stage_process *process;
};

static const char *text_of(const json_t *message, const char *key) {
    const char *text = json_string_value(json_object_get(message, key));
    return text ? text : "";
}

// What evaluation costs is seen in the trainer's steps; what evaluators do is shown when these are
// done.
static void hear_counters(struct stage_supervisor *supervisor, const struct stage_process *process,
                          const json_t *counters) {
    struct proto_error ignored = {0};
    char metrics[PROTO_PATH_MAX];
    struct stage_progress progress;
    if (process->role == STAGE_EVALUATOR && supervisor->phase == STAGE_EVALUATING)
        stage_console_evaluation(&supervisor->console, counters, supervisor->now_ms);
    if (process->role != STAGE_TRAINER || process->number != 0) return;
    if (!stage_progress_read(counters, &progress)) return;
    if (progress.step > supervisor->best_step) supervisor->best_step = progress.step;
    if (supervisor->evaluation == STAGE_EVALUATION_DURING &&
        proto_run_path(supervisor->run->folder, "metrics.jsonl", metrics, &ignored))
        stage_cost_look(&supervisor->cost, metrics, stage_evaluators_busy(supervisor));
    stage_console_progress(&supervisor->console, counters, supervisor->now_ms);
}

static void hear_progress(struct stage_supervisor *supervisor, struct stage_process *process,
                          const json_t *message) {
    const json_t *done = json_object_get(message, "done");
    json_t *counters = json_object_get(message, "counters");
    if (json_is_integer(done) && json_integer_value(done) >= 0) {
        const uint64_t now = (uint64_t)json_integer_value(done);
        if (!process->done_known) process->done_at_first = now;
        if (!process->done_known || now > process->done) process->done_grew_ms = supervisor->now_ms;
        process->done_known = true;
        process->done = now;
    }
    if (!json_is_object(counters)) return;
    json_decref(process->counters);
    process->counters = json_incref(counters);
    hear_counters(supervisor, process, counters);
}

// An event of a stage gets who said it in front; a checkpoint is also remembered, and
// evaluators are told.
static void hear_event(struct stage_supervisor *supervisor, struct stage_process *process,
                       const json_t *message) {
    const json_t *event = json_object_get(message, "event");
    const char *name = text_of(event, "event");
    if (name[0] == '\0') return;
    const json_t *step = json_object_get(event, "step");
    const bool checkpoint = process->role == STAGE_TRAINER && strcmp(name, "checkpoint") == 0;
    if (checkpoint && json_is_integer(step) && json_integer_value(step) >= 0) {
        supervisor->checkpointed = true;
        supervisor->checkpoint_step = (uint64_t)json_integer_value(step);
    }
    json_t *fields = json_copy((json_t *)(uintptr_t)event);
    if (fields) json_object_del(fields, "event");
    stage_event_of(supervisor, process, name, fields);
    // told when it stands in events.jsonl: what rotation takes away then was announced
    if (checkpoint) stage_evaluators_tell_all(supervisor);
    if (process->role == STAGE_EVALUATOR) stage_evaluators_event(supervisor, name, event);
}

// What a stage says over its line stands in its own log too, among what it printed.
static void log_line(const struct stage_supervisor *supervisor, const struct stage_process *process,
                     const char *text) {
    char time_text[32];
    struct proto_error ignored = {0};
    const int log = stage_log_open(supervisor, process, &ignored);
    if (log < 0) return;
    stage_time_text(time_text);
    dprintf(log, "%s %s\n", time_text, text);
    close(log);
}

static void hear_failed(struct stage_supervisor *supervisor, struct stage_process *process,
                        const json_t *message) {
    const json_t *status = json_object_get(message, "status");
    const json_int_t code = json_is_integer(status) ? json_integer_value(status) : PROTO_FAILED;
    char name[32];
    stage_process_name(process, name);
    proto_fail(&process->failure, code > 0 && code < 256 ? (enum proto_status)code : PROTO_FAILED,
               "%s", text_of(message, "text"));
    proto_error_where(&process->failure, "%s", text_of(message, "where"));
    process->failed = true;
    log_line(supervisor, process, process->failure.text);
    // the error itself is told with the death that follows
    stage_event_of(supervisor, process, "failed",
                   json_pack("{s:i, s:o, s:o}", "status", (int)process->failure.status, "where",
                             proto_json_string(process->failure.where), "text",
                             proto_json_string(process->failure.text)));
}

static void hear_message(void *context, const char *kind, const json_t *message) {
    const struct hearing *hearing = context;
    struct stage_supervisor *supervisor = hearing->supervisor;
    struct stage_process *process = hearing->process;
    process->heard_ms = supervisor->now_ms;
    char label[32];
    if (strcmp(kind, "ready") == 0) {
        if (process->state == STAGE_STARTING) stage_event_of(supervisor, process, "ready", NULL);
        stage_conduct(supervisor, process, STAGE_READY);
    } else if (strcmp(kind, "progress") == 0) {
        hear_progress(supervisor, process, message);
    } else if (strcmp(kind, "say") == 0) {
        stage_process_label(process, label);
        stage_console_say(&supervisor->console, label, "%s", text_of(message, "text"));
        log_line(supervisor, process, text_of(message, "text"));
    } else if (strcmp(kind, "event") == 0) {
        hear_event(supervisor, process, message);
    } else if (strcmp(kind, "failed") == 0) {
        hear_failed(supervisor, process, message);
    } else {
        stage_event_of(supervisor, process, "line_refused",
                       json_pack("{s:s}", "text", "a message of unknown kind"));
    }
}

static void hear_refused(void *context, const struct proto_error *error) {
    const struct hearing *hearing = context;
    stage_event_of(hearing->supervisor, hearing->process, "line_refused",
                   json_pack("{s:o}", "text", proto_json_string(error->text)));
}

bool stage_hear(struct stage_supervisor *supervisor, struct stage_process *process) {
    struct hearing hearing = {supervisor, process};
    const struct proto_link_sink sink = {
        .message = hear_message, .refused = hear_refused, .context = &hearing};
    char block[16384];
    for (size_t heard = 0; process->line >= 0 && heard < PORTION_BYTES;) {
        const ssize_t count = read(process->line, block, sizeof block);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0 && errno == EAGAIN) return false;
        if (count <= 0) {
            // it closed its end: what happens next is told by its death
            close(process->line);
            process->line = -1;
            return false;
        }
        proto_link_reader_feed(process->reader, block, (size_t)count, &sink);
        heard += (size_t)count;
    }
    return process->line >= 0;
}

// Should it be making progress? A loader builds what trainers ask for: it is expected to while it
// holds tickets and another loader does, or a trainer waits.
static bool should_work(const struct stage_supervisor *supervisor,
                        const struct stage_process *process) {
    if (process->state != STAGE_RUNNING || !process->done_known) return false;
    if (process->role == STAGE_EVALUATOR)
        return json_is_integer(json_object_get(process->counters, "evaluating"));
    if (process->role != STAGE_LOADER) return true;
    if (supervisor->phase != STAGE_WORKING) return false;
    const json_t *held = json_object_get(process->counters, "held");
    if (json_is_integer(held) && json_integer_value(held) == 0) return false;
    const struct stage_process *trainer = &supervisor->trainers[0];
    const int64_t since_ms = process->done_grew_ms;
    bool others = trainer->done_known && trainer->done_grew_ms <= since_ms;
    for (uint32_t i = 0; i < STAGE_LOADERS_MAX && !others; i++)
        others = supervisor->loaders[i].pid != 0 && supervisor->loaders[i].done_grew_ms > since_ms;
    return others;
}

// With long steps everybody gets the time of several of them, a loader that of as many as there are
// loaders to share the work.
static int64_t stuck_after_ms(const struct stage_supervisor *supervisor,
                              const struct stage_process *process) {
    const int64_t least_ms =
        supervisor->run->stuck_ms > 0 ? supervisor->run->stuck_ms : STAGE_STUCK_MS;
    if (process->role == STAGE_EVALUATOR && supervisor->run->stuck_ms == 0)
        return STAGE_STUCK_EPISODE_MS;
    const struct stage_process *trainer = &supervisor->trainers[0];
    const json_t *step_s = json_object_get(trainer->counters, "step_s");
    const double steps = process->role == STAGE_LOADER ? 5.0 * supervisor->loader_target : 5.0;
    const double long_ms = json_is_number(step_s) ? json_number_value(step_s) * 1000 * steps : 0;
    return long_ms > (double)least_ms && long_ms < 1e9 ? (int64_t)long_ms : least_ms;
}

void stage_watch(struct stage_supervisor *supervisor, struct stage_process *process) {
    if (process->pid == 0) return;
    char name[32], label[32];
    const int64_t now_ms = supervisor->now_ms;
    stage_process_name(process, name);
    stage_process_label(process, label);
    const double limit_s = supervisor->run->config->supervisor.heartbeat_timeout_s;
    if ((double)(now_ms - process->heard_ms) > limit_s * 1000) {
        const double silent_s = (double)(now_ms - process->heard_ms) / 1000;
        process->heard_ms = now_ms;
        stage_console_say(&supervisor->console, "supervisor", "%s: silent for %.1f s, it is killed",
                          name, silent_s);
        stage_event_of(supervisor, process, "silent", json_pack("{s:f}", "silent_s", silent_s));
        stage_conduct(supervisor, process, STAGE_SILENT);
        return;
    }
    const int64_t since_ms =
        process->idle_ms > process->done_grew_ms ? process->idle_ms : process->done_grew_ms;
    const int64_t still_ms = now_ms - since_ms;
    if (!should_work(supervisor, process)) {
        process->idle_ms = now_ms;
        process->stuck = false;
    } else if (still_ms < stuck_after_ms(supervisor, process)) {
        if (process->stuck) stage_event_of(supervisor, process, "progress", NULL);
        process->stuck = false;
    } else if (!process->stuck) {
        process->stuck = true;
        stage_console_say(&supervisor->console, "supervisor", "%s: alive, no progress for %lld s",
                          name, (long long)still_ms / 1000);
        stage_event_of(supervisor, process, "stuck",
                       json_pack("{s:f}", "still_s", (double)still_ms / 1000));
    }
}
