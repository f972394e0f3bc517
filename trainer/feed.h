// trainer/feed.h - the rank's end of the data plane: leases tickets to loaders, takes their batches
// back in order.
//
// The loop says which tickets it will want, in order, some way ahead (trainer_feed_want); one
// thread owns the ROUTER socket, leases wanted tickets to loaders that have credits, leases again
// what is late or was held by a loader that vanished, discards second answers by ticket id, and
// keeps finished batches in a bounded reorder window; trainer_feed_take hands them out strictly in
// the order wanted. Memory: window * one batch, allocated at open.
#ifndef TRAINER_FEED_H
#define TRAINER_FEED_H

#include "proto/codec.h"
#include "proto/config.h"
#include "proto/sample.h"
#include "proto/wire.h"

struct trainer_feed;

struct trainer_feed_settings {
    const char *endpoint;  // ipc://... or tcp://...; bound
    const struct proto_codec *codec;
    uint64_t index_hash;
    uint32_t attempt;    // high bits of ticket ids
    uint32_t batch_max;  // samples of the largest ticket
    uint32_t window;     // tickets in flight or waiting to be taken
    double lease_timeout_s;
};

struct trainer_feed_counters {
    uint64_t leased, answered, released, duplicates, damaged;
    uint32_t loaders, waiting;  // loaders known now; batches ready in the window
};

PROTO_MUST_CHECK bool trainer_feed_open(const struct trainer_feed_settings *settings,
                                        struct trainer_feed **feed, struct proto_error *error);
void trainer_feed_close(struct trainer_feed **feed);

// Room for another wanted ticket?
bool trainer_feed_room(const struct trainer_feed *feed);
// Appends to the order. Only with room.
void trainer_feed_want(struct trainer_feed *feed, bool validation, uint64_t first, uint32_t count);
// The next batch in order; waits at most timeout_ms, *batch NULL when none came. Borrowed until
// trainer_feed_release. An error is final: a ticket failed for a reason of the data (status and
// place are the loader's).
PROTO_MUST_CHECK bool trainer_feed_take(struct trainer_feed *feed, uint32_t timeout_ms,
                                        const struct proto_batch **batch,
                                        struct proto_error *error);
void trainer_feed_release(struct trainer_feed *feed);
// Wakes a waiting take, which then returns no batch. Thread-safe.
void trainer_feed_wake(struct trainer_feed *feed);
void trainer_feed_counters(struct trainer_feed *feed, struct trainer_feed_counters *out);

#endif
