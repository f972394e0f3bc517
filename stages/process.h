// stages/process.h - one stage process as the supervisor holds it: its start, its line, its death,
// and what it uses of the machine. What to do about any of it is in policy.h.
//
// A process is leader of its own group, so that what it starts dies with it; PR_SET_PDEATHSIG kills
// it when the supervisor is killed, beside the watchdog that proto_link gives every stage.
#ifndef STAGES_PROCESS_H
#define STAGES_PROCESS_H

#include "proto/error.h"
#include "proto/link.h"
#include "stages/policy.h"

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

// What to start: all borrowed for the call.
struct stage_launch {
    const char *program;             // path
    const char *const *words;        // argv, ends in NULL
    const char *const *environment;  // "KEY=value" on top of ours, ends in NULL
    int log;                         // descriptor that takes stdout and stderr
    bool place;                      // give it a page for proto_place
};

struct stage_process {
    enum stage_role role;
    uint32_t number;
    enum stage_state state;
    pid_t pid;   // 0: no process
    int handle;  // pidfd, -1
    int line;    // our end of the link, -1
    struct proto_link_reader *reader;
    int place;  // -1, or the page that says where it is in somebody's data

    bool failed;  // it said why, in `failure`
    struct proto_error failure;
    json_t *counters;  // newest, NULL before the first
    uint64_t done, done_at_first;
    bool done_known;
    int64_t started_ms, heard_ms, done_grew_ms;
    int64_t idle_ms;  // when it was last not expected to make progress
    bool stuck;       // alive without progress, and said so

    bool finished;  // its work is complete
    bool given_up;  // it is not started again in this life of the supervisor
    int exit_code;  // of the last death

    enum proto_stop asked;
    int64_t deadline_ms;  // when what was asked must have happened
    struct stage_deaths deaths;
    uint32_t restarts;
    int64_t wake_ms;  // not started again before

    uint64_t rss_bytes;
    double cpu;  // cores in use between the last two samples
    int64_t sampled_ms;
    double sampled_cpu_s;
};

void stage_process_init(struct stage_process *process, enum stage_role role, uint32_t number);
PROTO_MUST_CHECK bool stage_process_spawn(struct stage_process *process,
                                          const struct stage_launch *launch, int64_t now_ms,
                                          struct proto_error *error);
// Asks for a stop over the line; what was asked for is never weakened. grace_ms: until the
// deadline.
void stage_process_ask(struct stage_process *process, enum proto_stop mode, int64_t now_ms,
                       int64_t grace_ms);
// SIGKILL to the whole group.
void stage_process_kill(const struct stage_process *process);
// True when it is dead: how, and where in the data it was (place may be ""). The line is still open
// for what it said last; stage_process_bury closes it.
bool stage_process_dead(struct stage_process *process, bool *signalled, int *code,
                        char place[static STAGE_PLACE_BYTES]);
void stage_process_bury(struct stage_process *process);
// Reads rss_bytes and cpu from /proc; zeros for a process that is gone.
void stage_process_sample(struct stage_process *process, int64_t now_ms);
// "loader 2", "index".
void stage_process_name(const struct stage_process *process, char text[static 32]);
// "loader-2": of its log file.
void stage_process_label(const struct stage_process *process, char text[static 32]);

// rss and cpu time of any process.
bool stage_usage_read(pid_t pid, uint64_t *rss_bytes, double *cpu_s);

#endif
