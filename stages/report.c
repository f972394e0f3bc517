// stages/report.c - answers of the supervisor to the requests that come over the control socket:
// {"verb": "status"}, {"verb": "scale", "stage": "loader", "count": 4}, {"verb": "down", "now": b}.
#include "proto/json.h"
#include "stages/supervisor.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *phase_name(enum stage_phase phase) {
    static const char *const names[] = {"indexing",   "checking the evaluator",
                                        "training",   "restarting trainers",
                                        "evaluating", "stopping",
                                        "closing",    "ended"};
    return names[phase];
}

// {"stage", "number", "pid", "state", "restarts", "rss_bytes", "cpu", ...its own counters}
static json_t *report_process(struct stage_supervisor *supervisor, struct stage_process *process) {
    stage_process_sample(process, supervisor->now_ms);
    json_t *object =
        json_pack("{s:s, s:i, s:i, s:s, s:i, s:I, s:f}", "stage", stage_role_name(process->role),
                  "number", (int)process->number, "pid", (int)process->pid, "state",
                  stage_state_name(process->state), "restarts", (int)process->restarts, "rss_bytes",
                  (json_int_t)process->rss_bytes, "cpu", process->cpu);
    if (!object) return NULL;
    if (process->done_known)
        json_object_set_new(object, "done", json_integer((json_int_t)process->done));
    if (process->counters) json_object_update_missing(object, process->counters);
    char note[64];
    const double still_s = (double)(supervisor->now_ms - process->done_grew_ms) / 1000;
    if (process->pid != 0 && process->stuck) {
        snprintf(note, sizeof note, "alive, no progress for %.0f s", still_s);
        json_object_set_new(object, "note", json_string(note));
    } else if (process->state == STAGE_FAILED && process->failed) {
        json_object_set_new(object, "note", proto_json_string(process->failure.text));
    }
    return object;
}

static json_t *report_supervisor(const struct stage_supervisor *supervisor) {
    uint64_t rss_bytes = 0;
    double cpu_s = 0;
    (void)stage_usage_read(getpid(), &rss_bytes, &cpu_s);
    const double up_s = (double)(supervisor->now_ms - supervisor->started_ms + 1) / 1000;
    return json_pack("{s:s, s:i, s:i, s:s, s:i, s:I, s:f}", "stage", "supervisor", "number", 0,
                     "pid", (int)getpid(), "state",
                     supervisor->phase < STAGE_STOPPING ? "running" : "draining", "restarts", 0,
                     "rss_bytes", (json_int_t)rss_bytes, "cpu", cpu_s / up_s);
}

static json_t *report_devices(const struct stage_supervisor *supervisor) {
    json_t *devices = json_array();
    for (uint32_t i = 0; i < supervisor->trainer_count; i++) {
        json_t *row = json_pack("{s:i, s:s, s:i}", "rank", (int)i, "device",
                                supervisor->run->config->trainer.devices.items[i], "threads",
                                (int)supervisor->threads);
        stage_devices_describe(supervisor->devices, i, row);
        json_array_append_new(devices, row);
    }
    return devices;
}

static json_t *report_status(struct stage_supervisor *supervisor) {
    json_t *processes = json_array();
    json_array_append_new(processes, report_supervisor(supervisor));
    for (struct stage_process *p = stage_next(supervisor, NULL); p; p = stage_next(supervisor, p)) {
        // who was scaled away or has said yes is history; the others stay in sight
        const bool passes = p->role == STAGE_LOADER || p->role == STAGE_CHECK ||
                            (p->role == STAGE_EVALUATOR && !p->finished && !p->given_up);
        if (passes && p->state == STAGE_DONE && p->pid == 0) continue;
        json_array_append_new(processes, report_process(supervisor, p));
    }
    return json_pack("{s:o, s:s, s:i, s:o, s:o, s:o}", "run",
                     proto_json_string(supervisor->run->folder), "phase",
                     phase_name(supervisor->phase), "attempt", (int)supervisor->attempt,
                     "processes", processes, "devices", report_devices(supervisor), "evaluation",
                     stage_evaluators_report(supervisor));
}

static bool answer_scale(struct stage_supervisor *supervisor, const json_t *request,
                         json_t **answer, struct proto_error *error) {
    const char *stage = json_string_value(json_object_get(request, "stage"));
    const json_t *count = json_object_get(request, "count");
    const json_int_t wanted = json_is_integer(count) ? json_integer_value(count) : 0;
    const bool evaluator = stage && strcmp(stage, "evaluator") == 0;
    if (!evaluator && (!stage || strcmp(stage, "loader") != 0))
        return proto_fail(error, PROTO_USAGE,
                          "only loader and evaluator can be scaled; the number of trainers is that "
                          "of trainer.devices");
    if (evaluator && supervisor->evaluation == STAGE_EVALUATION_OFF)
        return proto_fail(error, PROTO_USAGE, "this run is not evaluated: evaluator.when");
    const int most = evaluator ? STAGE_EVALUATORS_MAX : STAGE_LOADERS_MAX;
    if (wanted < 1 || wanted > most)
        return proto_fail(error, PROTO_USAGE, "%s is scaled to 1..%d", stage, most);
    if (supervisor->phase >= STAGE_STOPPING)
        return proto_fail(error, PROTO_FAILED, "the run is stopping");
    const uint32_t before = evaluator ? supervisor->evaluator_target : supervisor->loader_target;
    if (before != (uint32_t)wanted)
        stage_conduct_scale(supervisor, evaluator ? STAGE_EVALUATOR : STAGE_LOADER,
                            (uint32_t)wanted);
    *answer = json_pack("{s:b, s:i, s:I}", "ok", 1, "from", (int)before, "to", wanted);
    return *answer || proto_fail(error, PROTO_EXHAUSTED, "no memory for the answer");
}

bool stage_report_answer(void *context, const json_t *request, json_t **answer,
                         struct proto_error *error) {
    struct stage_supervisor *supervisor = context;
    const char *verb = json_string_value(json_object_get(request, "verb"));
    if (!verb) return proto_fail(error, PROTO_USAGE, "a request needs a text \"verb\"");
    if (strcmp(verb, "status") == 0) {
        json_t *status = report_status(supervisor);
        *answer = json_pack("{s:b, s:o}", "ok", 1, "status", status);
    } else if (strcmp(verb, "scale") == 0) {
        return answer_scale(supervisor, request, answer, error);
    } else if (strcmp(verb, "down") == 0) {
        const bool now = json_is_true(json_object_get(request, "now"));
        stage_conduct_stop(supervisor, now ? PROTO_STOP_NOW : PROTO_STOP_CHECKPOINT,
                           PROTO_RESUMABLE, now ? "down --now" : "down");
        *answer = json_pack("{s:b, s:i}", "ok", 1, "pid", (int)getpid());
    } else {
        return proto_fail(error, PROTO_USAGE, "%.40s is not a request; known: status, scale, down",
                          verb);
    }
    return *answer || proto_fail(error, PROTO_EXHAUSTED, "no memory for the answer");
}
