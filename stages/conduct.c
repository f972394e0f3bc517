// stages/conduct.c - acts on events: looks the rule up, changes the state, does the action, and
// brings the processes towards what the phase of the run wants.
#include "proto/json.h"
#include "stages/supervisor.h"

#include <stdio.h>

// How a process died; NULL pointers to it mean that nobody did.
struct death {
    enum stage_event event;
    const char *text;   // "was killed by SIGSEGV"
    const char *place;  // "" when it was not in anybody's data
};

static void say(struct stage_supervisor *supervisor, const char *line) {
    stage_console_say(&supervisor->console, "supervisor", "%s", line);
}

// The error that a dead stage left behind, or that its death is.
static void death_error(const struct stage_supervisor *supervisor,
                        const struct stage_process *process, const struct death *death,
                        const char *more, struct proto_error *error) {
    char name[32], label[32];
    stage_process_name(process, name);
    stage_process_label(process, label);
    if (process->failed) {
        *error = process->failure;
        if (more[0] != '\0') proto_error_where(error, "%s, %s", name, more);
        return;
    }
    proto_fail(error, PROTO_FAILED, "%s%s%s; its last words are in %s/logs/%s.log", death->text,
               more[0] != '\0' ? ", " : "", more, supervisor->run->folder, label);
    proto_error_where(error, "%s", name);
}

void stage_conduct_failure(struct stage_supervisor *supervisor, const struct proto_error *error) {
    if (!supervisor->failing) {
        supervisor->failing = true;
        supervisor->error = *error;
        stage_event(supervisor, "failure",
                    json_pack("{s:i, s:o, s:o}", "status", (int)error->status, "where",
                              proto_json_string(error->where), "text",
                              proto_json_string(error->text)));
    }
    if (supervisor->phase <= STAGE_CHECKING) supervisor->phase = STAGE_CLOSING;
    if (supervisor->phase < STAGE_STOPPING) supervisor->phase = STAGE_STOPPING;
    if (supervisor->asked_mode < PROTO_STOP_CHECKPOINT)
        supervisor->asked_mode = PROTO_STOP_CHECKPOINT;
}

void stage_conduct_stop(struct stage_supervisor *supervisor, enum proto_stop mode, int code,
                        const char *reason) {
    if (!supervisor->asked) {
        supervisor->asked = true;
        supervisor->asked_code = code;
    }
    if (mode <= supervisor->asked_mode) return;
    supervisor->asked_mode = mode;
    stage_event(supervisor, "stop",
                json_pack("{s:s, s:s}", "reason", reason, "mode", proto_stop_name(mode)));
    stage_console_say(&supervisor->console, "supervisor", "%s: %s", reason,
                      supervisor->phase == STAGE_EVALUATING
                          ? "evaluators leave; the episodes that they finished are kept"
                      : mode == PROTO_STOP_NOW ? "everything leaves at once, without a checkpoint"
                      : code == PROTO_INTERRUPTED
                          ? "finishing the step and writing a checkpoint; once more: at once"
                          : "finishing the step and writing a checkpoint");
    if (supervisor->phase <= STAGE_CHECKING) supervisor->phase = STAGE_CLOSING;
    if (supervisor->phase < STAGE_STOPPING) supervisor->phase = STAGE_STOPPING;
}

void stage_conduct_scale(struct stage_supervisor *supervisor, enum stage_role role,
                         uint32_t count) {
    const char *name = stage_role_name(role);
    uint32_t *target =
        role == STAGE_LOADER ? &supervisor->loader_target : &supervisor->evaluator_target;
    stage_event(
        supervisor, "scale",
        json_pack("{s:s, s:i, s:i}", "stage", name, "from", (int)*target, "to", (int)count));
    stage_console_say(&supervisor->console, "supervisor", "%ss: %u -> %u", name, *target, count);
    *target = count;
}

// Counts a death of anybody but a trainer and plans its restart, or ends the run; an evaluator is
// given up instead.
static void act_restart(struct stage_supervisor *supervisor, struct stage_process *process,
                        const struct death *death) {
    const uint64_t limit = (uint64_t)supervisor->run->config->supervisor.restart_limit;
    const bool progressed = process->done_known && process->done > process->done_at_first;
    struct proto_error error = {0};
    char name[32], more[96], line[1536];
    uint32_t wait_ms = 0;
    stage_process_name(process, name);
    if (death->event == STAGE_FAULTED && stage_faults_note(&supervisor->faults, death->place)) {
        proto_fail(&error, PROTO_DAMAGED,
                   "reading this crashes: %s %s, the second crash at the same place; the file is "
                   "damaged or made to break the HDF5 library: repair it or take it out of "
                   "data.path",
                   name, death->text);
        proto_error_where(&error, "%s", death->place);
        stage_conduct_failure(supervisor, &error);
        return;
    }
    if (!stage_deaths_note(&process->deaths, progressed, limit, &wait_ms)) {
        snprintf(more, sizeof more, "%u deaths in a row without progress", process->deaths.in_row);
        death_error(supervisor, process, death, more, &error);
        if (process->role == STAGE_EVALUATOR)
            stage_evaluators_give_up(supervisor, process, &error);
        else
            stage_conduct_failure(supervisor, &error);
        return;
    }
    process->wake_ms = supervisor->now_ms + wait_ms;
    snprintf(line, sizeof line, "%s %s%s%s%s%s; it is started again%s", name, death->text,
             process->failed ? ": " : "", process->failed ? process->failure.text : "",
             death->place[0] ? " while reading " : "", death->place,
             wait_ms > 0 ? " after a pause" : "");
    say(supervisor, line);
    stage_event_of(supervisor, process, "restart",
                   json_pack("{s:i, s:i}", "wait_ms", (int)wait_ms, "deaths_in_row",
                             (int)process->deaths.in_row));
}

// The death of one rank ends the attempt of all.
static void act_restart_group(struct stage_supervisor *supervisor, struct stage_process *process,
                              const struct death *death) {
    const uint64_t limit = (uint64_t)supervisor->run->config->supervisor.restart_limit;
    struct proto_error error = {0};
    char name[32], more[96];
    uint32_t wait_ms = 0;
    stage_process_name(process, name);
    if (supervisor->phase == STAGE_STOPPING && process->asked < PROTO_STOP_NOW) {
        // it died instead of writing its checkpoint: the other ranks wait for it in vain
        death_error(supervisor, process, death, "while it was asked to write a checkpoint", &error);
        stage_conduct_failure(supervisor, &error);
        supervisor->asked_mode = PROTO_STOP_NOW;
    }
    if (supervisor->phase != STAGE_WORKING) return;
    const bool progressed = supervisor->best_step > supervisor->step_at_death;
    supervisor->step_at_death = supervisor->best_step;
    if (!stage_deaths_note(&supervisor->group_deaths, progressed, limit, &wait_ms)) {
        snprintf(more, sizeof more, "%u deaths of a trainer in a row without progress",
                 supervisor->group_deaths.in_row);
        death_error(supervisor, process, death, more, &error);
        stage_conduct_failure(supervisor, &error);
        supervisor->asked_mode = PROTO_STOP_NOW;
        return;
    }
    supervisor->phase = STAGE_REGROUPING;
    supervisor->group_wake_ms = supervisor->now_ms + wait_ms;
    stage_console_say(&supervisor->console, "supervisor",
                      "%s %s%s%s; all trainers start again from the newest checkpoint", name,
                      death->text, process->failed ? ": " : "",
                      process->failed ? process->failure.text : "");
    stage_event_of(supervisor, process, "restart_group",
                   json_pack("{s:i, s:i, s:i}", "wait_ms", (int)wait_ms, "deaths_in_row",
                             (int)supervisor->group_deaths.in_row, "attempt",
                             (int)supervisor->attempt));
}

static void act_spawn(struct stage_supervisor *supervisor, struct stage_process *process) {
    struct proto_error error = {0};
    char name[32];
    const bool again = process->started_ms != 0;
    if (stage_launch(supervisor, process, &error)) {
        if (again) process->restarts++;
        stage_event_of(supervisor, process, "start",
                       process->role == STAGE_TRAINER
                           ? json_pack("{s:i}", "attempt", (int)supervisor->attempt)
                           : NULL);
        // it looks at the run when it starts; whether more will come it must be told
        if (process->role == STAGE_EVALUATOR && supervisor->phase == STAGE_EVALUATING)
            stage_evaluators_tell(supervisor, process);
        return;
    }
    process->state = STAGE_FAILED;
    stage_process_name(process, name);
    uint32_t wait_ms = 0;
    const uint64_t limit = (uint64_t)supervisor->run->config->supervisor.restart_limit;
    // a machine that is out of processes now may have some in a moment; a missing program is final
    const bool again_later = (process->role == STAGE_LOADER || process->role == STAGE_EVALUATOR) &&
                             error.status == PROTO_EXHAUSTED &&
                             stage_deaths_note(&process->deaths, false, limit, &wait_ms);
    if (!again_later) {
        proto_error_where(&error, "%s", name);
        if (process->role == STAGE_EVALUATOR)
            stage_evaluators_give_up(supervisor, process, &error);
        else if (process->role == STAGE_CHECK)
            stage_evaluators_refuse(supervisor, &error);
        else
            stage_conduct_failure(supervisor, &error);
        return;
    }
    process->wake_ms = supervisor->now_ms + (wait_ms > 0 ? wait_ms : STAGE_RESTART_WAIT_MS_MIN);
}

// What a stop means for this process now.
static void act_ask(struct stage_supervisor *supervisor, struct stage_process *process) {
    enum proto_stop mode = PROTO_STOP_DRAIN;
    if (process->role == STAGE_TRAINER)
        mode = supervisor->phase == STAGE_STOPPING ? supervisor->asked_mode : PROTO_STOP_NOW;
    if (process->role == STAGE_INDEX || process->role == STAGE_CHECK ||
        process->role == STAGE_EVALUATOR || supervisor->asked_mode == PROTO_STOP_NOW)
        mode = PROTO_STOP_NOW;
    const int64_t grace_ms = mode == PROTO_STOP_CHECKPOINT ? STAGE_CHECKPOINT_GRACE_MS
                             : mode == PROTO_STOP_DRAIN    ? STAGE_DRAIN_GRACE_MS
                                                           : STAGE_NOW_GRACE_MS;
    stage_process_ask(process, mode, supervisor->now_ms, grace_ms);
}

static void act(struct stage_supervisor *supervisor, struct stage_process *process,
                enum stage_action action, const struct death *death) {
    struct proto_error error = {0};
    switch (action) {
    case STAGE_NOTHING:
        return;
    case STAGE_SPAWN:
        act_spawn(supervisor, process);
        return;
    case STAGE_ASK:
        act_ask(supervisor, process);
        return;
    case STAGE_KILL:
        stage_process_kill(process);
        return;
    case STAGE_RESTART:
        act_restart(supervisor, process, death);
        return;
    case STAGE_RESTART_GROUP:
        act_restart_group(supervisor, process, death);
        return;
    case STAGE_FINISH:
        process->finished = process->asked != PROTO_STOP_NOW;
        return;
    case STAGE_FAIL_RUN:
        death_error(supervisor, process, death, "", &error);
        if (!process->failed) error.status = (enum proto_status)process->exit_code;
        stage_conduct_failure(supervisor, &error);
        if (process->role == STAGE_TRAINER) supervisor->asked_mode = PROTO_STOP_NOW;
        return;
    case STAGE_REFUSE:
        death_error(supervisor, process, death, "", &error);
        if (!process->failed) error.status = (enum proto_status)process->exit_code;
        stage_evaluators_refuse(supervisor, &error);
        return;
    case STAGE_GIVE_UP:
        death_error(supervisor, process, death, "", &error);
        if (process->failed) proto_error_where(&error, "evaluator %u", process->number);
        stage_evaluators_give_up(supervisor, process, &error);
        return;
    }
}

void stage_conduct(struct stage_supervisor *supervisor, struct stage_process *process,
                   enum stage_event event) {
    const struct stage_rule rule = stage_rule(process->role, process->state, event);
    process->state = rule.next;
    act(supervisor, process, rule.action, NULL);
}

void stage_conduct_death(struct stage_supervisor *supervisor, struct stage_process *process,
                         bool signalled, int code, const char *place) {
    char text[128];
    // what it said about its end counts more than the number it left with
    if (!signalled && code != 0 && process->failed) code = (int)process->failure.status;
    process->exit_code = signalled ? PROTO_FAILED : code;
    stage_death_text(signalled, code, text, sizeof text);
    enum stage_event event = stage_death(process->role, signalled, code);
    // an evaluator is through when training is: before that, leaving is a death like any other
    if (event == STAGE_LEFT && process->role == STAGE_EVALUATOR &&
        supervisor->phase < STAGE_EVALUATING)
        event = STAGE_STOPPED;
    const struct death death = {event, text, place};
    const struct stage_rule rule = stage_rule(process->role, process->state, death.event);
    const bool expected = process->state == STAGE_DRAINING || death.event == STAGE_LEFT;
    stage_event_of(supervisor, process, expected ? "exit" : "death",
                   json_pack("{s:i, s:s, s:o}", signalled ? "signal" : "exit_code", code, "meaning",
                             text, "place", proto_json_string(place)));
    stage_process_bury(process);
    process->state = rule.next;
    act(supervisor, process, rule.action, &death);
}

// Everything that concerns one process: deadlines of what it was asked for.
static void conduct_deadline(struct stage_supervisor *supervisor, struct stage_process *process) {
    if (process->pid == 0 || process->asked == PROTO_GO_ON ||
        supervisor->now_ms < process->deadline_ms)
        return;
    char name[32];
    stage_process_name(process, name);
    if (process->asked == PROTO_STOP_CHECKPOINT) {
        stage_console_say(&supervisor->console, "supervisor",
                          "%s: no checkpoint within %d s, it must leave now", name,
                          STAGE_CHECKPOINT_GRACE_MS / 1000);
        stage_process_ask(process, PROTO_STOP_NOW, supervisor->now_ms, STAGE_NOW_GRACE_MS);
        return;
    }
    stage_event_of(supervisor, process, "killed", json_pack("{s:s}", "reason", "did not leave"));
    stage_process_kill(process);
    process->deadline_ms = supervisor->now_ms + STAGE_NOW_GRACE_MS;
}

static void conduct_loaders(struct stage_supervisor *supervisor) {
    const bool any = supervisor->phase == STAGE_WORKING || supervisor->phase == STAGE_REGROUPING ||
                     supervisor->phase == STAGE_STOPPING;
    for (uint32_t i = 0; i < STAGE_LOADERS_MAX; i++) {
        struct stage_process *loader = &supervisor->loaders[i];
        const bool dead = loader->state == STAGE_DONE || loader->state == STAGE_FAILED;
        if (loader->pid != 0) supervisor->fed_ms = supervisor->now_ms;
        if (!any || i >= supervisor->loader_target) {
            if (loader->state == STAGE_DRAINING)
                act_ask(supervisor, loader);  // perhaps for more than before
            else if (loader->state != STAGE_DONE)
                stage_conduct(supervisor, loader, STAGE_UNWANTED);
        } else if (dead && !supervisor->failing && supervisor->now_ms >= loader->wake_ms) {
            stage_conduct(supervisor, loader, STAGE_WANTED);
        }
    }
}

static bool conduct_trainers_gone(struct stage_supervisor *supervisor) {
    bool gone = true;
    for (uint32_t i = 0; i < supervisor->trainer_count; i++) {
        struct stage_process *trainer = &supervisor->trainers[i];
        if (trainer->pid == 0) continue;
        gone = false;
        if (trainer->state == STAGE_DRAINING)
            act_ask(supervisor, trainer);
        else
            stage_conduct(supervisor, trainer, STAGE_UNWANTED);
    }
    return gone;
}

// Trainers need loaders to finish a step. When a failure took the last one, they cannot get to
// their checkpoint, and the newest one stands.
static void conduct_starved(struct stage_supervisor *supervisor) {
    if (!supervisor->failing || supervisor->asked_mode == PROTO_STOP_NOW ||
        supervisor->now_ms - supervisor->fed_ms < STAGE_STARVED_MS)
        return;
    say(supervisor,
        "no loader is left to finish the step: the trainers leave without a checkpoint");
    supervisor->asked_mode = PROTO_STOP_NOW;
}

// A new attempt of all ranks.
static void conduct_start(struct stage_supervisor *supervisor) {
    struct proto_error error = {0};
    supervisor->phase = STAGE_WORKING;
    if (!stage_attempt_next(supervisor, &error) || !stage_resume_write(supervisor, &error)) {
        stage_conduct_failure(supervisor, &error);
        return;
    }
    for (uint32_t i = 0; i < supervisor->trainer_count && !supervisor->failing; i++) {
        supervisor->trainers[i].finished = false;
        supervisor->trainers[i].state = STAGE_DONE;
        stage_conduct(supervisor, &supervisor->trainers[i], STAGE_WANTED);
    }
}

static void conduct_working(struct stage_supervisor *supervisor) {
    uint32_t ready = 0, finished = 0;
    for (uint32_t i = 0; i < supervisor->trainer_count; i++) {
        ready += supervisor->trainers[i].state == STAGE_RUNNING;
        finished += supervisor->trainers[i].finished;
    }
    if (ready == supervisor->trainer_count && !supervisor->started) {
        supervisor->started = true;
        if (supervisor->run->started) supervisor->run->started(supervisor->run->started_context);
    }
    if (finished < supervisor->trainer_count) return;
    supervisor->phase = STAGE_EVALUATING;
    stage_evaluators_tell_all(supervisor);
}

static void conduct_checking(struct stage_supervisor *supervisor) {
    struct stage_process *check = &supervisor->check;
    if (check->finished || supervisor->evaluation == STAGE_EVALUATION_OFF)
        conduct_start(supervisor);
    else if (check->started_ms == 0 && check->state == STAGE_DONE)
        stage_conduct(supervisor, check, STAGE_WANTED);
}

void stage_conduct_phase(struct stage_supervisor *supervisor) {
    struct stage_process *index = &supervisor->index;
    switch (supervisor->phase) {
    case STAGE_INDEXING:
        if (index->finished)
            supervisor->phase = STAGE_CHECKING;
        else if (index->pid == 0 && supervisor->now_ms >= index->wake_ms)
            stage_conduct(supervisor, index, STAGE_WANTED);
        break;
    case STAGE_CHECKING:
        conduct_checking(supervisor);
        break;
    case STAGE_WORKING:
        conduct_working(supervisor);
        break;
    case STAGE_REGROUPING:
        if (conduct_trainers_gone(supervisor) && supervisor->now_ms >= supervisor->group_wake_ms)
            conduct_start(supervisor);
        break;
    case STAGE_EVALUATING:
        if (stage_evaluators_settled(supervisor)) supervisor->phase = STAGE_CLOSING;
        break;
    case STAGE_STOPPING:
        conduct_starved(supervisor);
        if (conduct_trainers_gone(supervisor)) supervisor->phase = STAGE_CLOSING;
        break;
    case STAGE_CLOSING:
    case STAGE_ENDED:
        break;
    }
    conduct_loaders(supervisor);
    stage_evaluators_conduct(supervisor);
    bool alive = false;
    for (struct stage_process *p = stage_next(supervisor, NULL); p; p = stage_next(supervisor, p)) {
        conduct_deadline(supervisor, p);
        if (p->pid != 0) alive = true;
    }
    struct stage_process *first[] = {index, &supervisor->check};
    for (size_t i = 0; supervisor->phase == STAGE_CLOSING && i < PROTO_COUNT(first); i++)
        if (first[i]->pid != 0) stage_conduct(supervisor, first[i], STAGE_UNWANTED);
    if (supervisor->phase == STAGE_CLOSING && !alive) supervisor->phase = STAGE_ENDED;
}
