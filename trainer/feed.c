// trainer/feed.c - the loop's side of the feed: opens it, asks, takes in order, lets go.
#include "trainer/feed_thread.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define FEED_QUEUE_MESSAGES 256  // from, and to, one loader

// Ends the thread's wait.
static void feed_turn(const struct trainer_feed *feed) {
    const uint64_t one = 1;
    ssize_t written = 0;
    do written = write(feed->turn, &one, sizeof one);
    while (written < 0 && errno == EINTR);  // EAGAIN: it is readable already
}

// --- open and close ---

static bool feed_listen(struct trainer_feed *feed, struct proto_error *error) {
    const struct proto_wire_settings wire = {.router = true,
                                             .send_max = FEED_QUEUE_MESSAGES,
                                             .receive_max = FEED_QUEUE_MESSAGES,
                                             .batch = feed->spare};
    feed->context = zmq_ctx_new();
    if (!feed->context) return proto_fail(error, PROTO_EXHAUSTED, "no ZeroMQ context");
    if (!proto_wire_open(feed->context, &wire, &feed->socket, error)) return false;
    if (zmq_bind(feed->socket, feed->settings.endpoint) == 0) return true;
    return proto_fail(error, PROTO_FAILED, "cannot listen on %s: %s", feed->settings.endpoint,
                      zmq_strerror(zmq_errno()));
}

static bool feed_start(struct trainer_feed *feed, struct proto_error *error) {
    sigset_t all, before;
    sigfillset(&all);  // signals are for the thread that knows what they mean
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&feed->thread, NULL, trainer_feed_run, feed);
    feed->started = errno == 0;
    const int failure = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failure;
    if (feed->started) return true;
    return proto_fail_errno(error, PROTO_EXHAUSTED, "no thread for the feed");
}

bool trainer_feed_open(const struct trainer_feed_settings *settings, struct trainer_feed **feed,
                       struct proto_error *error) {
    if (settings->window < 1 || settings->window > TRAINER_WINDOW_MAX || settings->batch_max < 1 ||
        settings->batch_max > PROTO_TICKET_SAMPLES_MAX)
        return proto_fail(
            error, PROTO_USAGE, "a window of %u tickets of %u samples, must be 1..%d and 1..%d",
            settings->window, settings->batch_max, TRAINER_WINDOW_MAX, PROTO_TICKET_SAMPLES_MAX);
    struct trainer_feed *made = proto_alloc(sizeof *made, error);
    if (!made) return false;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&made->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&made->lock, NULL);
    made->settings = *settings;
    made->settings.endpoint = made->endpoint = proto_format(error, "%s", settings->endpoint);
    made->turn = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool done = made->endpoint != NULL;
    done =
        done && (made->turn >= 0 || proto_fail_errno(error, PROTO_FAILED, "no event descriptor"));
    done =
        done && trainer_lease_new(settings->attempt, settings->window,
                                  (int64_t)(settings->lease_timeout_s * 1000), &made->lease, error);
    done = done && proto_batch_new(settings->codec, settings->batch_max, &made->spare, error);
    for (uint32_t i = 0; done && i < settings->window; i++)
        done = proto_batch_new(settings->codec, settings->batch_max, &made->lease->tickets[i].batch,
                               error);
    done = done && feed_listen(made, error) && feed_start(made, error);
    if (done)
        *feed = made;
    else
        trainer_feed_close(&made);
    return done;
}

void trainer_feed_close(struct trainer_feed **feed) {
    struct trainer_feed *old = *feed;
    if (!old) return;
    if (old->started) {
        pthread_mutex_lock(&old->lock);
        old->closing = true;
        pthread_mutex_unlock(&old->lock);
        feed_turn(old);
        pthread_join(old->thread, NULL);
    }
    if (old->socket) zmq_close(old->socket);
    if (old->context) zmq_ctx_term(old->context);
    for (uint32_t i = 0; old->lease && i < old->settings.window; i++)
        proto_batch_free(&old->lease->tickets[i].batch);
    proto_batch_free(&old->spare);
    free(old->lease);
    free(old->endpoint);
    if (old->turn >= 0) close(old->turn);
    pthread_cond_destroy(&old->changed);
    pthread_mutex_destroy(&old->lock);
    free(old);
    *feed = NULL;
}

// --- the loop's side ---

// head and tail are written by the loop's own calls only, so that it reads them without the lock.
bool trainer_feed_room(const struct trainer_feed *feed) {
    return feed->lease->tail - feed->lease->head < feed->settings.window;
}

void trainer_feed_want(struct trainer_feed *feed, bool validation, uint64_t first, uint32_t count) {
    assert(count > 0 && count <= feed->settings.batch_max);
    pthread_mutex_lock(&feed->lock);
    trainer_lease_want(feed->lease, validation, first, count);
    pthread_mutex_unlock(&feed->lock);
    feed_turn(feed);
}

bool trainer_feed_take(struct trainer_feed *feed, uint32_t timeout_ms,
                       const struct proto_batch **batch, struct proto_error *error) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    bool done = true, waiting = true;
    *batch = NULL;
    pthread_mutex_lock(&feed->lock);
    assert(!feed->borrowed);
    while (waiting) {
        const bool any = feed->lease->head < feed->lease->tail;
        const struct trainer_ticket *next = trainer_lease_at(feed->lease, feed->lease->head);
        waiting = false;
        if (any && next->state == TRAINER_TICKET_READY) {
            feed->borrowed = true;
            *batch = next->batch;
        } else if (any && next->state == TRAINER_TICKET_FAILED) {
            *error = next->failure;
            done = false;
        } else if (feed->broken.status != PROTO_DONE) {
            *error = feed->broken;
            done = false;
        } else if (feed->woken) {
            feed->woken = false;
        } else {
            waiting = pthread_cond_timedwait(&feed->changed, &feed->lock, &until) == 0;
        }
    }
    pthread_mutex_unlock(&feed->lock);
    return done;
}

void trainer_feed_release(struct trainer_feed *feed) {
    pthread_mutex_lock(&feed->lock);
    assert(feed->borrowed);
    feed->borrowed = false;
    feed->lease->head++;
    pthread_mutex_unlock(&feed->lock);
}

void trainer_feed_wake(struct trainer_feed *feed) {
    pthread_mutex_lock(&feed->lock);
    feed->woken = true;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

void trainer_feed_counters(struct trainer_feed *feed, struct trainer_feed_counters *out) {
    pthread_mutex_lock(&feed->lock);
    struct trainer_lease *lease = feed->lease;
    *out = (struct trainer_feed_counters){.leased = lease->counters.leased,
                                          .answered = lease->counters.answered,
                                          .released = lease->counters.released,
                                          .duplicates = lease->counters.duplicates,
                                          .damaged = feed->damaged};
    for (size_t i = 0; i < TRAINER_LOADERS_MAX; i++)
        out->loaders += lease->loaders[i].serial > 0 && !lease->loaders[i].silent;
    for (uint64_t n = lease->head; n < lease->tail; n++)
        out->waiting += trainer_lease_at(lease, n)->state == TRAINER_TICKET_READY;
    pthread_mutex_unlock(&feed->lock);
}
