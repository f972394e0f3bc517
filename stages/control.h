// stages/control.h - the control socket of a run: a unix stream socket (0600, in a 0700 folder)
// that takes one JSON object a line and answers each with one. No thread; the supervisor's loop
// polls it.
//
// Whoever can connect is the same user, but may be anything: every size and the number of clients
// are bounded, a line that is no request is answered with an error, a client that does not read is
// closed.
#ifndef STAGES_CONTROL_H
#define STAGES_CONTROL_H

#include "proto/error.h"

#include <jansson.h>
#include <poll.h>

#define STAGE_CONTROL_CLIENTS_MAX 16
#define STAGE_CONTROL_REQUEST_BYTES_MAX 4096
#define STAGE_CONTROL_ANSWER_BYTES_MAX (1u << 20)
#define STAGE_CONTROL_POLLS (STAGE_CONTROL_CLIENTS_MAX + 1)

struct stage_control;

// Answers one request: fills *answer with a new object, or fails with what the client is told.
typedef bool stage_control_answer(void *context, const json_t *request, json_t **answer,
                                  struct proto_error *error);

// Binds `path`, replacing a socket that a killed supervisor left: the caller holds the run's lock,
// so nobody lives behind it.
PROTO_MUST_CHECK bool stage_control_open(const char *path, stage_control_answer *answer,
                                         void *context, struct stage_control **control,
                                         struct proto_error *error);
// Writes STAGE_CONTROL_POLLS entries for poll(); unused ones have descriptor -1.
void stage_control_polls(const struct stage_control *control, struct pollfd *polls);
// Takes and answers what has come, given the same entries after poll().
void stage_control_turn(struct stage_control *control, const struct pollfd *polls);
// Sends what is left to send without waiting, removes the socket; accepts NULL, leaves NULL behind.
void stage_control_close(struct stage_control **control);

#endif
