// stages/supervisor.h - `pipeline up` after its checks: starts, watches, restarts, scales and stops
// the stages of one run. It moves no data.
//
// One thread, one poll loop. In each turn it looks at the world once (signals, lines of the stages,
// deaths, requests on the control socket, clocks), hands every event to the table of policy.h
// (conduct.c), and then brings the processes towards what the phase of the run wants.
#ifndef STAGES_SUPERVISOR_H
#define STAGES_SUPERVISOR_H

#include "proto/config.h"
#include "proto/error.h"
#include "proto/run.h"
#include "stages/console.h"
#include "stages/control.h"
#include "stages/cost.h"
#include "stages/devices.h"
#include "stages/journal.h"
#include "stages/policy.h"
#include "stages/process.h"
#include "stages/scores.h"

#include <stdint.h>

#define STAGE_LOADERS_MAX 256
#define STAGE_TRAINERS_MAX 64
#define STAGE_EVALUATORS_MAX 64
// Attempt numbers are the upper 24 bits of ticket ids.
#define STAGE_ATTEMPT_MAX ((1u << 24) - 1)

#define STAGE_CHECKPOINT_GRACE_MS 120000  // to finish a step and write a checkpoint
#define STAGE_DRAIN_GRACE_MS 10000        // to finish what is begun
#define STAGE_NOW_GRACE_MS 5000           // to leave at once
#define STAGE_STARVED_MS 2000             // without any loader: a step that is begun never ends
#define STAGE_STUCK_MS 10000              // without progress while alive: named
#define STAGE_STUCK_EPISODE_MS 300000     // the same for evaluators, whose progress is episodes
#define STAGE_TURN_MS_MAX 100             // between two looks at the clocks

// What a run is made of; all borrowed for its length. The caller holds the run's lock.
struct stage_run {
    const struct proto_config *config;
    const char *folder;                // run folder, real path
    const char *programs;              // folder of the stage programs
    int output;                        // descriptor for people
    int64_t stuck_ms;                  // 0: STAGE_STUCK_MS
    const char *resumed;               // checkpoint that it goes on from, or NULL
    const struct proto_list *notices;  // lines to say first; may be NULL
    // Called once when every trainer said that it is ready; may be NULL.
    void (*started)(void *context);
    void *started_context;
};

// Runs to the end. *code is the exit code, also on success 75, 130 and 143; false: the error that
// ended the run.
PROTO_MUST_CHECK bool stage_supervise(const struct stage_run *run, int *code,
                                      struct proto_error *error);

// What follows is for the files that make up the supervisor.

enum stage_phase {
    STAGE_INDEXING,    // the index runs alone
    STAGE_CHECKING,    // the evaluator looks whether it will have what it needs
    STAGE_WORKING,     // trainers and loaders
    STAGE_REGROUPING,  // a trainer died: the others leave, then all start again
    STAGE_EVALUATING,  // training is complete: loaders leave, evaluators do what is left
    STAGE_STOPPING,    // evaluators and trainers leave, loaders still serve these
    STAGE_CLOSING,     // loaders leave
    STAGE_ENDED
};

enum stage_evaluation { STAGE_EVALUATION_OFF, STAGE_EVALUATION_DURING, STAGE_EVALUATION_AFTER };

struct stage_supervisor {
    const struct stage_run *run;
    struct stage_journal journal;
    struct stage_console console;
    struct stage_control *control;
    struct stage_devices *devices;  // GPUs; NULL: none
    int signals;                    // signalfd
    bool journal_failing;

    enum stage_phase phase;
    struct stage_process index;
    struct stage_process loaders[STAGE_LOADERS_MAX];
    struct stage_process trainers[STAGE_TRAINERS_MAX];
    uint32_t loader_target, trainer_count, threads;

    enum stage_evaluation evaluation;
    struct stage_process check;
    struct stage_process evaluators[STAGE_EVALUATORS_MAX];
    uint32_t evaluator_target;
    struct stage_scores scores;
    struct stage_cost cost;

    uint32_t attempt;
    struct stage_deaths group_deaths;
    int64_t group_wake_ms;
    uint64_t best_step;        // reached in any attempt: a group makes progress when it passes it
    uint64_t step_at_death;    // best_step when the group died last
    bool checkpointed;         // in this life of the supervisor
    uint64_t checkpoint_step;  // newest of them
    struct stage_faults faults;

    bool started, finished;  // all ranks were ready; training is complete
    bool failing;            // `error` ends the run
    struct proto_error error;
    bool asked;  // to stop, by a signal or `down`
    int asked_code;
    enum proto_stop asked_mode;
    unsigned interrupts;
    int64_t now_ms, started_ms;
    int64_t fed_ms;  // when a loader was last alive
};

// conduct.c - acts on events.
void stage_conduct(struct stage_supervisor *supervisor, struct stage_process *process,
                   enum stage_event event);
void stage_conduct_death(struct stage_supervisor *supervisor, struct stage_process *process,
                         bool signalled, int code, const char *place);
// Ends the run because of an error; the first one counts.
void stage_conduct_failure(struct stage_supervisor *supervisor, const struct proto_error *error);
// A signal or `down`. Asking again for the same is nothing, for more is more.
void stage_conduct_stop(struct stage_supervisor *supervisor, enum proto_stop mode, int code,
                        const char *reason);
// Brings processes towards the phase's aim, and the phase on when its aim is reached.
void stage_conduct_phase(struct stage_supervisor *supervisor);
// role: STAGE_LOADER or STAGE_EVALUATOR.
void stage_conduct_scale(struct stage_supervisor *supervisor, enum stage_role role, uint32_t count);

// evaluators.c - when there are evaluators, what they are told, what comes of their work.
// Reads what is known of the run's success so far.
PROTO_MUST_CHECK bool stage_evaluators_open(struct stage_supervisor *supervisor,
                                            struct proto_error *error);
void stage_evaluators_close(struct stage_supervisor *supervisor);
// Decides by evaluator.when when the run is evaluated, and says so where that is not plain.
void stage_evaluators_plan(struct stage_supervisor *supervisor);
// Brings them towards the phase's aim. stage_evaluators_settled: nothing is left to wait for.
void stage_evaluators_conduct(struct stage_supervisor *supervisor);
bool stage_evaluators_settled(const struct stage_supervisor *supervisor);
// There is a new checkpoint, or no more will come: which of both the phase says.
void stage_evaluators_tell(struct stage_supervisor *supervisor, struct stage_process *evaluator);
void stage_evaluators_tell_all(struct stage_supervisor *supervisor);
// True while one of them evaluates: the step of the checkpoint.
bool stage_evaluators_busy(const struct stage_supervisor *supervisor);
void stage_evaluators_event(struct stage_supervisor *supervisor, const char *name,
                            const json_t *event);
// The check said no.
void stage_evaluators_refuse(struct stage_supervisor *supervisor, const struct proto_error *why);
void stage_evaluators_give_up(struct stage_supervisor *supervisor, struct stage_process *evaluator,
                              const struct proto_error *why);
// The last lines of a run about its success. False: training is complete and checkpoints are not
// evaluated, which *error names.
PROTO_MUST_CHECK bool stage_evaluators_sum_up(struct stage_supervisor *supervisor,
                                              struct proto_error *error);
// {"when", "newest", "best"}, or null where the run is not evaluated.
json_t *stage_evaluators_report(const struct stage_supervisor *supervisor);

// launch.c - command lines and environments of the stages, attempt numbers.
PROTO_MUST_CHECK bool stage_launch(struct stage_supervisor *supervisor,
                                   struct stage_process *process, struct proto_error *error);
// RUN/logs/<stage>-<n>.log for appending; the caller closes it. -1: it cannot be written.
PROTO_MUST_CHECK int stage_log_open(const struct stage_supervisor *supervisor,
                                    const struct stage_process *process, struct proto_error *error);
PROTO_MUST_CHECK bool stage_attempt_next(struct stage_supervisor *supervisor,
                                         struct proto_error *error);
// Before every attempt but the first: what the next one resumes from, in RUN/pipeline.toml.
PROTO_MUST_CHECK bool stage_resume_write(struct stage_supervisor *supervisor,
                                         struct proto_error *error);

// hearing.c - what the stages say over their lines, and the clocks of those that say nothing.
// True: there may be more to hear at once.
bool stage_hear(struct stage_supervisor *supervisor, struct stage_process *process);
void stage_watch(struct stage_supervisor *supervisor, struct stage_process *process);

// report.c - answers to the control socket.
bool stage_report_answer(void *supervisor, const json_t *request, json_t **answer,
                         struct proto_error *error);

// supervisor.c - shared by them.
// A line for people that is an event too.
void stage_notice(struct stage_supervisor *supervisor, const char *line);
// Writes an event; steals `fields`.
void stage_event(struct stage_supervisor *supervisor, const char *name, json_t *fields);
// The same about one process: {"stage", "number", "pid"} come in front.
void stage_event_of(struct stage_supervisor *supervisor, const struct stage_process *process,
                    const char *name, json_t *fields);
// Walks the processes that there are or were: start with NULL; NULL at the end.
struct stage_process *stage_next(struct stage_supervisor *supervisor,
                                 struct stage_process *process);

#endif
