// stages/supervisor.c - the loop: one look at the world per turn, then acting on it.
#include "stages/supervisor.h"

#include "proto/checkpoint.h"
#include "proto/files.h"
#include "proto/json.h"
#include "stages/clock.h"
#include "stages/verdict.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

// In the order of stage_next: index, check, trainers, loaders, evaluators.
#define FIRST_TRAINER 2
#define FIRST_LOADER (FIRST_TRAINER + STAGE_TRAINERS_MAX)
#define FIRST_EVALUATOR (FIRST_LOADER + STAGE_LOADERS_MAX)
#define PROCESSES_MAX (FIRST_EVALUATOR + STAGE_EVALUATORS_MAX)
// signals, control socket, two descriptors of every process
#define POLLS_MAX (1 + STAGE_CONTROL_POLLS + 2 * PROCESSES_MAX)

static uint32_t position(const struct stage_process *process) {
    switch (process->role) {
    case STAGE_INDEX:
        return 0;
    case STAGE_CHECK:
        return 1;
    case STAGE_TRAINER:
        return FIRST_TRAINER + process->number;
    case STAGE_LOADER:
        return FIRST_LOADER + process->number;
    default:
        return FIRST_EVALUATOR + process->number;
    }
}

struct stage_process *stage_next(struct stage_supervisor *supervisor,
                                 struct stage_process *process) {
    if (!process) return &supervisor->index;
    for (uint32_t at = position(process) + 1; at < PROCESSES_MAX; at++) {
        struct stage_process *next =
            at >= FIRST_EVALUATOR ? &supervisor->evaluators[at - FIRST_EVALUATOR]
            : at >= FIRST_LOADER  ? &supervisor->loaders[at - FIRST_LOADER]
            : at >= FIRST_TRAINER ? &supervisor->trainers[at - FIRST_TRAINER]
                                  : &supervisor->check;
        if (next->role == STAGE_TRAINER ? next->number < supervisor->trainer_count
                                        : next->started_ms != 0)
            return next;
    }
    return NULL;
}

void stage_event(struct stage_supervisor *supervisor, const char *name, json_t *fields) {
    struct proto_error error = {0};
    const bool done = stage_journal_write(&supervisor->journal, name, fields, &error);
    if (!done && !supervisor->journal_failing)
        stage_console_say(&supervisor->console, "supervisor", "%s", error.text);
    supervisor->journal_failing = !done;
}

void stage_notice(struct stage_supervisor *supervisor, const char *line) {
    stage_console_say(&supervisor->console, "supervisor", "%s", line);
    stage_event(supervisor, "notice", json_pack("{s:o}", "text", proto_json_string(line)));
}

void stage_event_of(struct stage_supervisor *supervisor, const struct stage_process *process,
                    const char *name, json_t *fields) {
    json_t *all = json_pack("{s:s, s:i, s:i}", "stage", stage_role_name(process->role), "number",
                            (int)process->number, "pid", (int)process->pid);
    if (all && fields) json_object_update_missing(all, fields);
    json_decref(fields);
    stage_event(supervisor, name, all);
}

static bool signals_open(struct stage_supervisor *supervisor, struct proto_error *error) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    supervisor->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (supervisor->signals >= 0) return true;
    return proto_fail_errno(error, PROTO_FAILED, "signalfd");
}

// Threads of a cpu rank: as configured, or its share of the cores that we may use.
static uint32_t threads_of_rank(const struct proto_config *config, uint32_t ranks) {
    if (config->trainer.threads > 0) return (uint32_t)config->trainer.threads;
    cpu_set_t cores;
    CPU_ZERO(&cores);
    const int count = sched_getaffinity(0, sizeof cores, &cores) == 0
                          ? CPU_COUNT(&cores)
                          : (int)sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t share = count > 0 ? (uint32_t)count / ranks : 1;
    return share > 0 ? share : 1;
}

static bool supervisor_open(struct stage_supervisor *supervisor, struct proto_error *error) {
    const struct stage_run *run = supervisor->run;
    char path[PROTO_PATH_MAX];
    supervisor->signals = supervisor->journal.descriptor = -1;
    supervisor->now_ms = supervisor->started_ms = stage_now_ms();
    if (run->config->trainer.devices.count < 1 ||
        run->config->trainer.devices.count > STAGE_TRAINERS_MAX)
        return proto_fail(error, PROTO_USAGE, "trainer.devices has %zu entries, must be 1..%d",
                          run->config->trainer.devices.count, STAGE_TRAINERS_MAX);
    supervisor->trainer_count = (uint32_t)run->config->trainer.devices.count;
    supervisor->threads = threads_of_rank(run->config, supervisor->trainer_count);
    supervisor->loader_target = (uint32_t)run->config->loader.workers;
    stage_process_init(&supervisor->index, STAGE_INDEX, 0);
    stage_process_init(&supervisor->check, STAGE_CHECK, 0);
    for (uint32_t i = 0; i < STAGE_EVALUATORS_MAX; i++)
        stage_process_init(&supervisor->evaluators[i], STAGE_EVALUATOR, i);
    for (uint32_t i = 0; i < STAGE_TRAINERS_MAX; i++)
        stage_process_init(&supervisor->trainers[i], STAGE_TRAINER, i);
    for (uint32_t i = 0; i < STAGE_LOADERS_MAX; i++)
        stage_process_init(&supervisor->loaders[i], STAGE_LOADER, i);
    if (!proto_run_path(run->folder, "logs", path, error)) return false;
    if (!proto_folder_make(path, 0755, error)) return false;
    if (!proto_run_path(run->folder, "training.log", path, error)) return false;
    if (!stage_console_open(&supervisor->console, run->output, path, error)) return false;
    if (!proto_run_path(run->folder, "events.jsonl", path, error)) return false;
    if (!stage_journal_open(&supervisor->journal, path, error)) return false;
    if (!stage_evaluators_open(supervisor, error)) return false;
    supervisor->devices = stage_devices_open(&run->config->trainer.devices);
    if (!signals_open(supervisor, error)) return false;
    if (!proto_run_control(run->folder, path, error)) return false;
    return stage_control_open(path, stage_report_answer, supervisor, &supervisor->control, error);
}

static void supervisor_close(struct stage_supervisor *supervisor) {
    for (struct stage_process *p = stage_next(supervisor, NULL); p; p = stage_next(supervisor, p)) {
        if (p->pid != 0) stage_process_kill(p);
        stage_process_bury(p);
        json_decref(p->counters);
        p->counters = NULL;
    }
    stage_evaluators_close(supervisor);
    stage_devices_close(&supervisor->devices);
    stage_control_close(&supervisor->control);
    stage_journal_close(&supervisor->journal);
    stage_console_close(&supervisor->console);
    if (supervisor->signals >= 0) close(supervisor->signals);
}

// Ctrl-C: a checkpoint; twice: at once; three times: killed.
static void take_signals(struct stage_supervisor *supervisor) {
    struct signalfd_siginfo info;
    while (read(supervisor->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        const bool interrupt = info.ssi_signo == SIGINT;
        const char *reason = interrupt                  ? "interrupted"
                             : info.ssi_signo == SIGHUP ? "the terminal is gone"
                                                        : "terminated";
        supervisor->interrupts++;
        stage_conduct_stop(supervisor,
                           supervisor->interrupts > 1 && interrupt ? PROTO_STOP_NOW
                                                                   : PROTO_STOP_CHECKPOINT,
                           interrupt ? PROTO_INTERRUPTED : PROTO_TERMINATED, reason);
        if (!interrupt || supervisor->interrupts < 3) continue;
        for (struct stage_process *p = stage_next(supervisor, NULL); p;
             p = stage_next(supervisor, p))
            stage_process_kill(p);
    }
}

static void take_deaths(struct stage_supervisor *supervisor) {
    char place[STAGE_PLACE_BYTES];
    for (struct stage_process *p = stage_next(supervisor, NULL); p; p = stage_next(supervisor, p)) {
        bool signalled = false;
        int code = 0;
        if (p->pid == 0 || !stage_process_dead(p, &signalled, &code, place)) continue;
        while (stage_hear(supervisor, p)) continue;  // its last words
        stage_conduct_death(supervisor, p, signalled, code, place);
    }
}

// Waits for anything to happen, at most until the clocks must be looked at again.
static bool wait_turn(struct stage_supervisor *supervisor, struct pollfd *polls,
                      struct proto_error *error) {
    nfds_t count = 0;
    polls[count++] = (struct pollfd){.fd = supervisor->signals, .events = POLLIN};
    stage_control_polls(supervisor->control, polls + count);
    count += STAGE_CONTROL_POLLS;
    for (struct stage_process *p = stage_next(supervisor, NULL); p; p = stage_next(supervisor, p)) {
        if (p->pid == 0) continue;
        polls[count++] = (struct pollfd){.fd = p->handle, .events = POLLIN};
        polls[count++] = (struct pollfd){.fd = p->line, .events = POLLIN};
    }
    if (poll(polls, count, STAGE_TURN_MS_MAX) >= 0) return true;
    for (nfds_t i = 0; i < count; i++) polls[i].revents = 0;
    return errno == EINTR || proto_fail_errno(error, PROTO_FAILED, "poll");
}

static bool supervisor_loop(struct stage_supervisor *supervisor, struct proto_error *error) {
    struct pollfd *polls = proto_alloc_array(POLLS_MAX, sizeof *polls, error);
    if (!polls) return false;
    bool going = true;
    while (going && supervisor->phase != STAGE_ENDED) {
        stage_conduct_phase(supervisor);
        if (supervisor->phase == STAGE_ENDED) break;
        going = wait_turn(supervisor, polls, error);
        supervisor->now_ms = stage_now_ms();
        take_signals(supervisor);
        for (struct stage_process *p = stage_next(supervisor, NULL); p;
             p = stage_next(supervisor, p))
            (void)stage_hear(supervisor, p);
        take_deaths(supervisor);
        for (struct stage_process *p = stage_next(supervisor, NULL); p;
             p = stage_next(supervisor, p))
            stage_watch(supervisor, p);
        stage_control_turn(supervisor->control, polls + 1);
    }
    free(polls);
    return going;
}

// What the newest steps waited for, in words.
static void say_waits(struct stage_supervisor *supervisor) {
    struct stage_waits waits;
    char text[STAGE_VERDICT_TEXT_BYTES];
    if (!supervisor->started || !stage_waits_read(supervisor->run->folder, &waits)) return;
    (void)stage_verdict(&waits, text);
    stage_console_say(&supervisor->console, "supervisor", "%s", text);
}

// The last lines: what is there now, and how to go on.
static void say_end(struct stage_supervisor *supervisor) {
    struct proto_error ignored = {0};
    const struct stage_run *run = supervisor->run;
    char duration[32], checkpoint[PROTO_PATH_MAX + 48] = "no checkpoint yet";
    uint64_t *steps = NULL, newest = 0;
    size_t count = 0;
    if (proto_checkpoint_list(run->folder, &steps, &count, &ignored) && count > 0) {
        newest = steps[count - 1];
        snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint-%" PRIu64, run->folder, newest);
    }
    free(steps);
    stage_duration_text((double)(stage_now_ms() - supervisor->started_ms) / 1000, duration);
    stage_console_flush(&supervisor->console);
    say_waits(supervisor);
    if (supervisor->finished)
        stage_console_say(&supervisor->console, "supervisor",
                          "Training finished: %" PRIu64 "/%" PRId64 " steps, %s; checkpoint: %s",
                          newest, run->config->run.max_train_steps, duration, checkpoint);
    else if (!supervisor->failing)
        stage_console_say(&supervisor->console, "supervisor",
                          "Stopped after %s; checkpoint: %s; `pipeline up` goes on from there",
                          duration, checkpoint);
    else
        stage_console_say(&supervisor->console, "supervisor",
                          "The run ended with an error after %s; checkpoint: %s", duration,
                          checkpoint);
}

// What the run came to, when its processes are gone.
static void supervisor_judge(struct stage_supervisor *supervisor) {
    uint32_t finished = 0;
    for (uint32_t i = 0; i < supervisor->trainer_count; i++)
        finished += supervisor->trainers[i].finished;
    supervisor->finished = finished == supervisor->trainer_count;
    if (!supervisor->finished) return;
    supervisor->failing = false;
    if (stage_evaluators_settled(supervisor)) supervisor->asked = false;
}

static void supervisor_begin(struct stage_supervisor *supervisor) {
    const struct stage_run *run = supervisor->run;
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    stage_event(supervisor, "up",
                json_pack("{s:i, s:o, s:o, s:o?}", "pid", (int)getpid(), "host",
                          proto_json_string(host), "run", proto_json_string(run->folder), "resumed",
                          run->resumed ? proto_json_string(run->resumed) : NULL));
    for (size_t i = 0; run->notices && i < run->notices->count; i++)
        stage_notice(supervisor, run->notices->items[i]);
}

bool stage_supervise(const struct stage_run *run, int *code, struct proto_error *error) {
    struct stage_supervisor *supervisor = proto_alloc(sizeof *supervisor, error);
    if (!supervisor) return false;
    supervisor->run = run;
    supervisor->console.log = supervisor->console.output = -1;
    bool done = supervisor_open(supervisor, error);
    if (done) {
        supervisor_begin(supervisor);
        stage_evaluators_plan(supervisor);
        done = supervisor_loop(supervisor, error);
        supervisor_judge(supervisor);
        say_end(supervisor);
        struct proto_error missing = {0};
        if (!stage_evaluators_sum_up(supervisor, &missing))
            stage_conduct_failure(supervisor, &missing);
        *code = supervisor->failing ? (int)supervisor->error.status
                : supervisor->asked ? supervisor->asked_code
                                    : PROTO_DONE;
        if (done && supervisor->failing) {
            *error = supervisor->error;
            done = false;
        }
        stage_event(supervisor, "end", json_pack("{s:i}", "exit_code", *code));
    }
    supervisor_close(supervisor);
    free(supervisor);
    return done;
}
