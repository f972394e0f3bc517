// stages/client.h - how `status`, `scale` and `down` find a run and talk to its supervisor.
#ifndef STAGES_CLIENT_H
#define STAGES_CLIENT_H

#include "proto/error.h"
#include "proto/run.h"

#include <jansson.h>

// `up` leaves a note of its run beside its sockets, so that the newest run of a user can be found.
PROTO_MUST_CHECK bool stage_run_note(const char *run, struct proto_error *error);
// The run folder a verb means: the one given, or the newest noted one, live ones before dead ones.
// PROTO_USAGE: there is none.
PROTO_MUST_CHECK bool stage_run_find(const char *given, char run[static PROTO_PATH_MAX],
                                     struct proto_error *error);

// Connects to the control socket of a live run. PROTO_FAILED: nobody answers there.
PROTO_MUST_CHECK bool stage_client_open(const char *run, int *descriptor,
                                        struct proto_error *error);
// One request, one answer; waits at most 10 s. Steals `request`. The caller frees *answer. What
// the supervisor refuses comes back as its own error.
PROTO_MUST_CHECK bool stage_client_ask(int descriptor, json_t *request, json_t **answer,
                                       struct proto_error *error);
// All three in one.
PROTO_MUST_CHECK bool stage_client_call(const char *run, json_t *request, json_t **answer,
                                        struct proto_error *error);

#endif
