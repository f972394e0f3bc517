// stages/policy.h - what is done when something happens to a process: a table of state x event for
// each kind of stage, and the books kept over deaths. Pure: no clock, no process, no file.
//
// A loader's death costs nothing: it is started again, paced. A trainer's death ends the attempt of
// the whole group. What can never work again (damaged data, wrong configuration) ends the run. A
// fault (SIGSEGV and its like) twice at the same place of somebody's data is damaged data. Whatever
// becomes of an evaluator, training goes on; so whether there is anything that can be evaluated at
// all is looked at by a check of its own before training starts.
#ifndef STAGES_POLICY_H
#define STAGES_POLICY_H

#include "proto/error.h"

#include <stdint.h>

#define STAGE_RESTART_WAIT_MS_MIN 100
#define STAGE_RESTART_WAIT_MS_MAX 5000
#define STAGE_FAULT_PLACES_MAX 64
#define STAGE_PLACE_BYTES 1024

enum stage_role {
    STAGE_INDEX,
    STAGE_LOADER,
    STAGE_TRAINER,
    STAGE_CHECK,  // of the evaluator, once, between index and training
    STAGE_EVALUATOR,
    STAGE_ROLES
};
enum stage_state {
    STAGE_STARTING,
    STAGE_RUNNING,
    STAGE_DRAINING,
    STAGE_DONE,    // left as it should, or not started yet
    STAGE_FAILED,  // dead; waits for its restart or for the end of the run
    STAGE_STATES
};
enum stage_event {
    STAGE_WANTED,    // the run wants it to be there, and its pacing allows it
    STAGE_READY,     // it said so
    STAGE_SILENT,    // no heartbeat for too long
    STAGE_UNWANTED,  // the run wants it gone: scaled down, stopping
    STAGE_LEFT,      // death: exit 0
    STAGE_STOPPED,   // death: exit 75, 130 or 143, stopped early and resumable
    STAGE_KILLED,    // death: any other signal or exit code
    STAGE_FAULTED,   // death: a signal that says the program or its input is broken
    STAGE_FINAL,     // death: with a status that no restart can change
    STAGE_EVENTS
};
enum stage_action {
    STAGE_NOTHING,
    STAGE_SPAWN,          // start it
    STAGE_ASK,            // ask it over the link to stop
    STAGE_KILL,           // SIGKILL to its process group
    STAGE_RESTART,        // count the death; start again after the pause, or give up at the limit
    STAGE_RESTART_GROUP,  // the same for all trainers together, as a new attempt
    STAGE_FINISH,         // its work is complete
    STAGE_FAIL_RUN,       // the run ends with its error
    STAGE_REFUSE,         // there is nothing to evaluate with: evaluator.when says what that means
    STAGE_GIVE_UP,        // not started again; the run goes on without it
};
struct stage_rule {
    enum stage_state next;
    enum stage_action action;
};
struct stage_rule stage_rule(enum stage_role role, enum stage_state state, enum stage_event event);

// Which event a death is. code: exit code, or signal number when `signalled`.
enum stage_event stage_death(enum stage_role role, bool signalled, int code);
bool stage_signal_is_fault(int signal_number);
// "was killed by SIGKILL", "left with exit code 5 (out of a resource (disk, memory))".
void stage_death_text(bool signalled, int code, char *text, size_t size_bytes);

const char *stage_role_name(enum stage_role role);
const char *stage_state_name(enum stage_state state);

// Deaths of one stage (or of the trainer group) in a row without progress in between.
struct stage_deaths {
    uint32_t in_row, total;
};
// Counts a death. False: it was the one after `limit` restarts without progress; else *wait_ms is
// the pause before the next start: 0, 100, 200, 400 .. 5000 ms.
bool stage_deaths_note(struct stage_deaths *deaths, bool progressed, uint64_t limit,
                       uint32_t *wait_ms);

// Places (file and dataset) at which faults happened.
struct stage_faults {
    char places[STAGE_FAULT_PLACES_MAX][STAGE_PLACE_BYTES];
    uint32_t count;
};
// True: this place has been seen before. An empty place is never the same as another.
bool stage_faults_note(struct stage_faults *faults, const char *place);

#endif
