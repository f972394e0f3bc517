// trainer/feed_thread.h - the inside of a feed: what its thread and the loop share. Included by
// feed.c and feed_thread.c only.
#ifndef TRAINER_FEED_THREAD_H
#define TRAINER_FEED_THREAD_H

#include "trainer/feed.h"
#include "trainer/lease.h"

#include <pthread.h>

struct trainer_feed {
    struct trainer_feed_settings settings;
    char *endpoint;          // settings.endpoint, our copy
    void *context, *socket;  // the socket is the thread's
    struct proto_batch *spare;
    int64_t ping_ms;
    int turn;  // event descriptor that ends the thread's wait
    pthread_t thread;
    bool started;

    pthread_mutex_t lock;  // guards all below
    pthread_cond_t changed;
    struct trainer_lease *lease;
    struct proto_error broken;  // the thread's own end, status PROTO_DONE while it lives
    uint64_t damaged;
    bool woken, closing, borrowed;
};

// The thread: leases, receives, answers, until `closing`. Its own failure is left in `broken`.
void *trainer_feed_run(void *feed);

#endif
