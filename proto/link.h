// proto/link.h - the line between the supervisor and one stage: an inherited socket (its number in
// PIPELINE_LINK), JSON objects, one a line, both ways.
//
// The stage says: ready; progress with its counters (every PROTO_PROGRESS_MS, the heartbeat); say
// (a line for people: terminal and training.log); event (for events.jsonl); failed (its error).
// The supervisor says: stop {mode}, scale-free facts {key: value}. End of file on the line means
// the supervisor is gone: the stage must leave at once, without a checkpoint; proto_link enforces
// it with a thread that ends the process PROTO_ORPHAN_MS after end of file, whatever the stage
// does. Without PIPELINE_LINK a stage runs by hand: `say` prints on stdout, the rest goes nowhere,
// and SIGINT / SIGTERM are the only stops.
#ifndef PROTO_LINK_H
#define PROTO_LINK_H

#include "proto/error.h"

#include <jansson.h>
#include <stdint.h>

#define PROTO_PROGRESS_MS 250
#define PROTO_ORPHAN_MS 2000

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
// and wake the descriptor. Starts one thread that reads the line. stage: "loader", number: 0..
PROTO_MUST_CHECK bool proto_link_open(const char *stage, uint32_t number, struct proto_link **link,
                                      struct proto_error *error);
void proto_link_close(struct proto_link **link);

// The strongest stop asked for so far; thread-safe, cheap: look at it in every turn.
enum proto_stop proto_link_stop(const struct proto_link *link);
// True when there is a supervisor.
bool proto_link_supervised(const struct proto_link *link);
// Becomes readable when a stop was asked for: put it into poll sets. Never read it.
int proto_link_descriptor(const struct proto_link *link);
// Calls `on_stop` from the link's thread once when PROTO_STOP_NOW arrives (to abort a collective).
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

#endif
