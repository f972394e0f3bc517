// proto/probe.h - asks a stage program beside this one a question and reads its JSON answer.
#ifndef PROTO_PROBE_H
#define PROTO_PROBE_H

#include "proto/error.h"

#include <jansson.h>

#define PROTO_PROBE_MS 5000        // a program that takes longer is killed
#define PROTO_PROBE_LONG_MS 60000  // for one that starts work of its own
#define PROTO_PROBE_WORDS_MAX 8

// Runs `program verb --json` and parses what it prints, at most 64 KiB. NULL and *error: it is not
// there (PROTO_MISSING), ended with another code than 0, took too long, or printed something else.
PROTO_MUST_CHECK json_t *proto_probe(const char *program, const char *verb,
                                     struct proto_error *error);

// The same with more words, as {"--libero=ROOT", NULL}, and another deadline.
PROTO_MUST_CHECK json_t *proto_probe_with(const char *program, const char *verb,
                                          const char *const *words, int deadline_ms,
                                          struct proto_error *error);

#endif
