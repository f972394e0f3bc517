// proto/open_loop.h - open_loop.json: what a robot does that sees nothing. Row t of a task is the
// mean of action t over its training episodes that are that long, in recorded units. Written by the
// index, kept in every checkpoint, and rolled out as a control beside the policy: a task that this
// solves proves nothing about a policy.
//
// {"format": "pipeline-open-loop", "version": 1, "channels": ["eef_delta_pos.0", ...],
//  "tasks": [{"name": "...", "episodes": 48, "actions": [[7 numbers]...]}...]}
#ifndef PROTO_OPEN_LOOP_H
#define PROTO_OPEN_LOOP_H

#include "proto/codec.h"

#define PROTO_OPEN_LOOP_STEPS_MAX 1000000

struct proto_open_loop_task {
    uint32_t steps;     // of the longest training episode
    uint32_t episodes;  // that the first mean was taken over
    double *actions;    // [steps, action_count], owned
};
struct proto_open_loop {
    struct proto_open_loop_task *tasks;  // [task_count], in the codec's order
    uint32_t task_count, action_count;
};

// Durable. Names of tasks and channels are the codec's.
PROTO_MUST_CHECK bool proto_open_loop_write(const char *path, const struct proto_codec *codec,
                                            const struct proto_open_loop *open_loop,
                                            struct proto_error *error);
// Strict; tasks and channels must be the codec's, in its order. PROTO_DAMAGED naming the place.
PROTO_MUST_CHECK bool proto_open_loop_read(const char *path, const struct proto_codec *codec,
                                           struct proto_open_loop **open_loop,
                                           struct proto_error *error);
void proto_open_loop_free(struct proto_open_loop **open_loop);  // accepts NULL; leaves NULL behind

// The action of control step t, [action_count]: row t, and behind the last row no motion.
void proto_open_loop_action(const struct proto_open_loop *open_loop,
                            const struct proto_codec *codec, uint32_t task, uint32_t t, double *x);

#endif
