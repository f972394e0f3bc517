// stages/policy.c - the tables of policy.h.
#include "stages/policy.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

// clang-format off
// Rows: states; columns in the order of enum stage_event:
//   WANTED, READY, SILENT, UNWANTED, LEFT, STOPPED, KILLED, FAULTED, FINAL
#define SAME(state, action) {STAGE_##state, STAGE_##action}
static const struct stage_rule rules[STAGE_ROLES][STAGE_STATES][STAGE_EVENTS] = {
    [STAGE_INDEX] = {
        [STAGE_STARTING] = {SAME(STARTING, NOTHING), SAME(RUNNING, NOTHING), SAME(STARTING, KILL),
                            SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, RESTART),
                            SAME(FAILED, RESTART), SAME(FAILED, RESTART), SAME(FAILED, FAIL_RUN)},
        [STAGE_RUNNING] = {SAME(RUNNING, NOTHING), SAME(RUNNING, NOTHING), SAME(RUNNING, KILL),
                           SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, RESTART),
                           SAME(FAILED, RESTART), SAME(FAILED, RESTART), SAME(FAILED, FAIL_RUN)},
        [STAGE_DRAINING] = {SAME(DRAINING, NOTHING), SAME(DRAINING, NOTHING), SAME(DRAINING, KILL),
                            SAME(DRAINING, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                            SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(FAILED, NOTHING)},
        [STAGE_DONE] = {SAME(STARTING, SPAWN), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_FAILED] = {SAME(STARTING, SPAWN), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(DONE, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING)},
    },
    // A loader that leaves without being asked is a death like any other; while it drains, however
    // it ends is the end: its tickets are leased to the others.
    [STAGE_LOADER] = {
        [STAGE_STARTING] = {SAME(STARTING, NOTHING), SAME(RUNNING, NOTHING), SAME(STARTING, KILL),
                            SAME(DRAINING, ASK), SAME(FAILED, RESTART), SAME(FAILED, RESTART),
                            SAME(FAILED, RESTART), SAME(FAILED, RESTART), SAME(FAILED, FAIL_RUN)},
        [STAGE_RUNNING] = {SAME(RUNNING, NOTHING), SAME(RUNNING, NOTHING), SAME(RUNNING, KILL),
                           SAME(DRAINING, ASK), SAME(FAILED, RESTART), SAME(FAILED, RESTART),
                           SAME(FAILED, RESTART), SAME(FAILED, RESTART), SAME(FAILED, FAIL_RUN)},
        [STAGE_DRAINING] = {SAME(DRAINING, NOTHING), SAME(DRAINING, NOTHING), SAME(DRAINING, KILL),
                            SAME(DRAINING, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                            SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_DONE] = {SAME(STARTING, SPAWN), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_FAILED] = {SAME(STARTING, SPAWN), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(DONE, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING)},
    },
    // Exit 0 of a trainer is the end of training. Asked to stop, 0 and 75 are both well; any other
    // end means that the checkpoint may be missing: the group is told, whose phase says what then.
    [STAGE_TRAINER] = {
        [STAGE_STARTING] = {SAME(STARTING, NOTHING), SAME(RUNNING, NOTHING), SAME(STARTING, KILL),
                            SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, RESTART_GROUP),
                            SAME(FAILED, RESTART_GROUP), SAME(FAILED, RESTART_GROUP),
                            SAME(FAILED, FAIL_RUN)},
        [STAGE_RUNNING] = {SAME(RUNNING, NOTHING), SAME(RUNNING, NOTHING), SAME(RUNNING, KILL),
                           SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, RESTART_GROUP),
                           SAME(FAILED, RESTART_GROUP), SAME(FAILED, RESTART_GROUP),
                           SAME(FAILED, FAIL_RUN)},
        [STAGE_DRAINING] = {SAME(DRAINING, NOTHING), SAME(DRAINING, NOTHING), SAME(DRAINING, KILL),
                            SAME(DRAINING, NOTHING), SAME(DONE, FINISH), SAME(DONE, NOTHING),
                            SAME(FAILED, RESTART_GROUP), SAME(FAILED, RESTART_GROUP),
                            SAME(FAILED, FAIL_RUN)},
        [STAGE_DONE] = {SAME(STARTING, SPAWN), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_FAILED] = {SAME(STARTING, SPAWN), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING)},
    },
    // The check says its answer once: nothing is tried again.
    [STAGE_CHECK] = {
        [STAGE_STARTING] = {SAME(STARTING, NOTHING), SAME(RUNNING, NOTHING), SAME(STARTING, KILL),
                            SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, REFUSE),
                            SAME(FAILED, REFUSE), SAME(FAILED, REFUSE), SAME(FAILED, REFUSE)},
        [STAGE_RUNNING] = {SAME(RUNNING, NOTHING), SAME(RUNNING, NOTHING), SAME(RUNNING, KILL),
                           SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, REFUSE),
                           SAME(FAILED, REFUSE), SAME(FAILED, REFUSE), SAME(FAILED, REFUSE)},
        [STAGE_DRAINING] = {SAME(DRAINING, NOTHING), SAME(DRAINING, NOTHING), SAME(DRAINING, KILL),
                            SAME(DRAINING, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                            SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_DONE] = {SAME(STARTING, SPAWN), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_FAILED] = {SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(DONE, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING)},
    },
    // Exit 0 of an evaluator is the end of its work. Nothing that it does ends the run.
    [STAGE_EVALUATOR] = {
        [STAGE_STARTING] = {SAME(STARTING, NOTHING), SAME(RUNNING, NOTHING), SAME(STARTING, KILL),
                            SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, RESTART),
                            SAME(FAILED, RESTART), SAME(FAILED, RESTART), SAME(DONE, GIVE_UP)},
        [STAGE_RUNNING] = {SAME(RUNNING, NOTHING), SAME(RUNNING, NOTHING), SAME(RUNNING, KILL),
                           SAME(DRAINING, ASK), SAME(DONE, FINISH), SAME(FAILED, RESTART),
                           SAME(FAILED, RESTART), SAME(FAILED, RESTART), SAME(DONE, GIVE_UP)},
        [STAGE_DRAINING] = {SAME(DRAINING, NOTHING), SAME(DRAINING, NOTHING), SAME(DRAINING, KILL),
                            SAME(DRAINING, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                            SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_DONE] = {SAME(STARTING, SPAWN), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING),
                        SAME(DONE, NOTHING), SAME(DONE, NOTHING), SAME(DONE, NOTHING)},
        [STAGE_FAILED] = {SAME(STARTING, SPAWN), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(DONE, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING),
                          SAME(FAILED, NOTHING), SAME(FAILED, NOTHING), SAME(FAILED, NOTHING)},
    },
};
#undef SAME
// clang-format on

struct stage_rule stage_rule(enum stage_role role, enum stage_state state, enum stage_event event) {
    return rules[role][state][event];
}

// Exit codes that no restart changes. A loader or evaluator out of memory may find some the next
// time; a trainer out of disk would lose the same steps again and again. The index runs once:
// whatever it says is the answer.
enum stage_event stage_death(enum stage_role role, bool signalled, int code) {
    if (signalled) return stage_signal_is_fault(code) ? STAGE_FAULTED : STAGE_KILLED;
    switch (code) {
    case PROTO_DONE:
        return STAGE_LEFT;
    case PROTO_RESUMABLE:
    case PROTO_INTERRUPTED:
    case PROTO_TERMINATED:
        return STAGE_STOPPED;
    case PROTO_USAGE:
    case PROTO_DAMAGED:
    case PROTO_MISSING:
    case PROTO_REFUSED:
        return STAGE_FINAL;
    case PROTO_EXHAUSTED:
        return role == STAGE_LOADER || role == STAGE_EVALUATOR ? STAGE_KILLED : STAGE_FINAL;
    default:
        return role == STAGE_INDEX ? STAGE_FINAL : STAGE_KILLED;
    }
}

bool stage_signal_is_fault(int signal_number) {
    return signal_number == SIGSEGV || signal_number == SIGBUS || signal_number == SIGABRT ||
           signal_number == SIGILL || signal_number == SIGFPE;
}

void stage_death_text(bool signalled, int code, char *text, size_t size_bytes) {
    if (!signalled) {
        snprintf(text, size_bytes, "left with exit code %d (%s)", code, proto_status_meaning(code));
        return;
    }
    const char *name = sigabbrev_np(code);
    if (name)
        snprintf(text, size_bytes, "was killed by SIG%s", name);
    else
        snprintf(text, size_bytes, "was killed by signal %d", code);
}

const char *stage_role_name(enum stage_role role) {
    static const char *const names[STAGE_ROLES] = {"index", "loader", "trainer", "evaluator-check",
                                                   "evaluator"};
    return names[role];
}

const char *stage_state_name(enum stage_state state) {
    static const char *const names[STAGE_STATES] = {"starting", "running", "draining", "done",
                                                    "failed"};
    return names[state];
}

bool stage_deaths_note(struct stage_deaths *deaths, bool progressed, uint64_t limit,
                       uint32_t *wait_ms) {
    if (progressed) deaths->in_row = 0;
    deaths->in_row++;
    deaths->total++;
    if (deaths->in_row > limit) return false;
    uint32_t wait = 0;
    for (uint32_t i = 1; i < deaths->in_row && wait < STAGE_RESTART_WAIT_MS_MAX; i++)
        wait = wait == 0 ? STAGE_RESTART_WAIT_MS_MIN : wait * 2;
    *wait_ms = wait < STAGE_RESTART_WAIT_MS_MAX ? wait : STAGE_RESTART_WAIT_MS_MAX;
    return true;
}

bool stage_faults_note(struct stage_faults *faults, const char *place) {
    if (place[0] == '\0') return false;
    for (uint32_t i = 0; i < faults->count; i++)
        if (strncmp(faults->places[i], place, STAGE_PLACE_BYTES - 1) == 0) return true;
    // Full: the oldest is forgotten, a run with that many different faults ends by its limit.
    if (faults->count == STAGE_FAULT_PLACES_MAX) {
        memmove(faults->places[0], faults->places[1],
                sizeof faults->places - sizeof faults->places[0]);
        faults->count--;
    }
    snprintf(faults->places[faults->count++], STAGE_PLACE_BYTES, "%s", place);
    return false;
}
