// stages/journal.h - events.jsonl: starts, deaths, restarts, scaling, checkpoints, stops, each one
// JSON object a line with its time. The supervisor is its only writer.
#ifndef STAGES_JOURNAL_H
#define STAGES_JOURNAL_H

#include "proto/error.h"

#include <jansson.h>

struct stage_journal {
    int descriptor;
};

// Opens for appending; a half line that a crash left at the end is cut off.
PROTO_MUST_CHECK bool stage_journal_open(struct stage_journal *journal, const char *path,
                                         struct proto_error *error);
// Writes {"time", "event": name, ...fields}; `fields` may be NULL. Steals the reference.
PROTO_MUST_CHECK bool stage_journal_write(struct stage_journal *journal, const char *name,
                                          json_t *fields, struct proto_error *error);
void stage_journal_close(struct stage_journal *journal);

#endif
