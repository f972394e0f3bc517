// proto/link.h - the line between the supervisor and one stage: an inherited socket (its number in
// PIPELINE_LINK), JSON objects, one a line, both ways.
//
// A line is an object of at most PROTO_LINK_LINE_MAX bytes with its newline:
//
//   stage -> supervisor
//     {"kind": "ready", "stage": "loader", "number": 0, "pid": 123}
//     {"kind": "progress", "done": 17, "counters": {...}}    every PROTO_PROGRESS_MS: the heartbeat
//     {"kind": "say", "text": "..."}                         for people: terminal and training.log
//     {"kind": "event", "event": {"event": "name", ...}}     the object is for events.jsonl
//     {"kind": "failed", "status": 3, "where": "...", "text": "...", "source": "file.c:12"}
//   supervisor -> stage
//     {"kind": "stop", "mode": "drain" | "checkpoint" | "now"}
//     {"kind": "checkpoints", "last": false}                 to an evaluator: look at the run again
//
// Lines that are malformed, too long or of an unknown kind are passed over, and an event
// "link_refused" says so. A full outgoing buffer never blocks the stage: what does not fit is
// counted and reported as event "link_dropped" {count}.
//
// End of file on the line means the supervisor is gone: the stage must leave at once, without a
// checkpoint; a thread ends the process PROTO_ORPHAN_MS after end of file, whatever the stage does.
// A supervised stage ignores SIGINT: Ctrl-C reaches the whole terminal, and the supervisor decides.
// Without PIPELINE_LINK a stage runs by hand: `say` prints on stdout, `failed` on stderr, the rest
// goes nowhere, and SIGINT / SIGTERM are the only stops (a second SIGINT means PROTO_STOP_NOW).
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include "proto/error.h"

#include <jansson.h>
#include <stdint.h>

#define PROTO_PROGRESS_MS 250
#define PROTO_ORPHAN_MS 2000
#define PROTO_LINK_LINE_MAX 65536  // bytes

enum proto_stop {
    PROTO_GO_ON = 0,
    PROTO_STOP_DRAIN,       // finish what is begun, hand back the rest, exit 0
    PROTO_STOP_CHECKPOINT,  // trainer: finish the step, write a checkpoint, leave with 75 (130 or
                            // 143 when it runs by hand and a signal said so)
    PROTO_STOP_NOW,         // leave at once, no checkpoint (supervisor gone, `down --now`,
                            // another rank died)
};

struct proto_link;

// Opens the line (or the by-hand form), installs SIGINT and SIGTERM handlers that only set a flag
// and wake the descriptor. Starts the link's thread (reads, writes, heartbeat) and the watchdog.
// Call it early in main: it takes PIPELINE_LINK out of the environment. One link per process.
// stage: "loader", number: 0..
PROTO_MUST_CHECK bool proto_link_open(const char *stage, uint32_t number, struct proto_link **link,
                                      struct proto_error *error);
void proto_link_close(struct proto_link **link);

// The strongest stop asked for so far; thread-safe, cheap: look at it in every turn.
enum proto_stop proto_link_stop(const struct proto_link *link);
// What a signal asks for: PROTO_STOP_DRAIN unless set, PROTO_STOP_CHECKPOINT in a trainer.
void proto_link_signal_means(struct proto_link *link, enum proto_stop stop);
// The signal that asked for a stop (SIGINT or SIGTERM), or 0: for the exit code 130 or 143.
int proto_link_signal(const struct proto_link *link);
// True when there is a supervisor.
bool proto_link_supervised(const struct proto_link *link);
// Becomes readable when a stop was asked for, and stays so; and when a "checkpoints" line came,
// until proto_link_checkpoints is called. Put it into poll sets, never read it.
int proto_link_descriptor(const struct proto_link *link);
// How many "checkpoints" lines have come so far. *last: of the newest one, true when training is
// over and no more checkpoints will be written; by hand always true, before the first line false.
// The line is a hint, the run folder is the truth: call this first and look at the folder then, and
// nothing is missed. Thread-safe.
uint64_t proto_link_checkpoints(struct proto_link *link, bool *last);
// Calls `on_stop` from the link's thread once when PROTO_STOP_NOW arrives (to abort a collective);
// at once when it has arrived already. NULL ends that: once this returns, the callback does not run
// any more, and what it was given may be freed. Never called from the callback.
void proto_link_on_stop_now(struct proto_link *link, void (*on_stop)(void *context), void *context);

void proto_link_ready(struct proto_link *link);
// Counters of this stage for `pipeline status` ("step", "samples", ...). Steals the reference.
// Thread-safe. The link repeats the newest ones as heartbeat; `done` is any number that grows with
// work done: a stage whose `done` stands still while it should work is named as stuck.
void proto_link_progress(struct proto_link *link, uint64_t done, json_t *counters);
void proto_link_say(struct proto_link *link, const char *format, ...) PROTO_PRINTF(2, 3);
// One line for events.jsonl: {"event": name, ...fields}. Steals the reference; may be NULL.
void proto_link_event(struct proto_link *link, const char *name, json_t *fields);
// The error that ends this stage: the supervisor prints it, or stderr by hand.
void proto_link_failed(struct proto_link *link, const struct proto_error *error);

// The supervisor's side. ends[0] is the supervisor's end, not blocking and close-on-exec; ends[1]
// is for the stage, inherited over exec: close it right after the fork.
PROTO_MUST_CHECK bool proto_link_pair(int ends[2], struct proto_error *error);
// PROTO_FAILED when the stage is gone or does not read.
PROTO_MUST_CHECK bool proto_link_send_stop(int end, enum proto_stop stop,
                                           struct proto_error *error);
// Tells an evaluator to look at the run's checkpoints again; a stage that does not ask for these
// lines must not be sent any. PROTO_FAILED as above. A stage that has not read the one before needs
// no second: it is safe to send one for every change.
PROTO_MUST_CHECK bool proto_link_send_checkpoints(int end, bool last, struct proto_error *error);
const char *proto_stop_name(enum proto_stop stop);  // "drain"; "" for PROTO_GO_ON

// Cuts a stream of bytes into messages. Feed what was read, in any pieces; complete lines are
// handed to the sink one by one. A message is an object with a text "kind", borrowed for the call.
// Damaged and overlong lines are handed to `refused` (may be NULL), once each, and passed over.
struct proto_link_sink {
    void (*message)(void *context, const char *kind, const json_t *message);
    void (*refused)(void *context, const struct proto_error *error);
    void *context;
};
struct proto_link_reader;
PROTO_MUST_CHECK bool proto_link_reader_new(struct proto_link_reader **reader,
                                            struct proto_error *error);
void proto_link_reader_free(struct proto_link_reader **reader);
void proto_link_reader_feed(struct proto_link_reader *reader, const char *bytes, size_t count,
                            const struct proto_link_sink *sink);

#endif
