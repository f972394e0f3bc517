// trainer/feed_thread.c - the thread between the loaders' socket and the window of tickets. It owns
// the socket; the window (trainer/lease) is shared with the loop under one lock. A batch comes into
// the spare memory without the lock and then changes places with the empty memory of its ticket.
#include "trainer/feed_thread.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define FEED_TURN_MS 50        // looks at clocks and pings this often
#define FEED_TURN_MESSAGES 64  // read in one turn

static int64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// --- what comes in ---

static bool feed_refuse(struct trainer_feed *feed, const struct proto_identity *to, bool final,
                        const char *text, struct proto_error *error) {
    struct proto_message refusal = {.kind = PROTO_KIND_REFUSED, .refused.final = final};
    struct proto_wire_sent sent;  // whoever is gone or full need not hear it
    snprintf(refusal.refused.text, sizeof refusal.refused.text, "%s", text);
    if (to->size == 0) return true;
    return proto_wire_send(feed->socket, to, &refusal, PROTO_RAW, &sent, error);
}

static bool feed_ready(struct trainer_feed *feed, const struct proto_identity *from,
                       const struct proto_ready *ready, struct proto_error *error) {
    char text[256] = "";
    const struct trainer_feed_settings *ours = &feed->settings;
    if (strcmp(ready->build, PIPELINE_VERSION) != 0)
        snprintf(text, sizeof text,
                 "build %s cannot serve a trainer of build %s: run the same version everywhere",
                 ready->build, PIPELINE_VERSION);
    else if (ready->index_hash != ours->index_hash)
        snprintf(text, sizeof text,
                 "index %016" PRIx64 " is not the run's %016" PRIx64
                 ": the loader must use the run's index.json",
                 ready->index_hash, ours->index_hash);
    else if (ready->codec_hash != ours->codec->hash)
        snprintf(text, sizeof text,
                 "codec %016" PRIx64 " is not the run's %016" PRIx64
                 ": the loader must use the run's codec.json",
                 ready->codec_hash, ours->codec->hash);
    if (text[0] != '\0') return feed_refuse(feed, from, true, text, error);
    pthread_mutex_lock(&feed->lock);
    const bool known = trainer_lease_hear(feed->lease, from, ready, clock_ms()) != NULL;
    pthread_mutex_unlock(&feed->lock);
    if (known) return true;
    snprintf(text, sizeof text, "%d loaders are known already, the limit", TRAINER_LOADERS_MAX);
    return feed_refuse(feed, from, false, text, error);
}

// What indexes tables in the trainer must be in range, whatever a loader says.
static bool feed_batch_check(const struct trainer_feed *feed, const struct proto_batch *batch,
                             uint32_t count, struct proto_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        if (batch->task[i] >= feed->settings.codec->task_count)
            return proto_fail(error, PROTO_DAMAGED, "task[%u] is %u, the codec has %u", i,
                              batch->task[i], feed->settings.codec->task_count);
        if (batch->steps_valid[i] > batch->chunk)
            return proto_fail(error, PROTO_DAMAGED, "steps_valid[%u] is %u, the chunk has %u", i,
                              batch->steps_valid[i], batch->chunk);
    }
    return true;
}

static void feed_damage(struct trainer_feed *feed, const struct proto_identity *from,
                        uint64_t ticket, const struct proto_error *damage) {
    pthread_mutex_lock(&feed->lock);
    feed->damaged++;
    trainer_lease_damage(feed->lease, from, ticket, damage);
    pthread_cond_broadcast(&feed->changed);  // once too often makes a ticket fail
    pthread_mutex_unlock(&feed->lock);
}

static bool feed_batch(struct trainer_feed *feed, const struct proto_identity *from,
                       const struct proto_message *message, struct proto_error *error) {
    struct proto_error damage = {0};
    bool good = feed_batch_check(feed, feed->spare, message->batch.count, &damage);
    pthread_mutex_lock(&feed->lock);
    struct trainer_ticket *ticket = trainer_lease_open(feed->lease, message->batch.ticket);
    if (good && ticket && ticket->ticket.count != message->batch.count)
        good = proto_fail(&damage, PROTO_DAMAGED, "batch has %u samples, its ticket %u",
                          message->batch.count, ticket->ticket.count);
    if (good && ticket) {
        struct proto_batch *empty = ticket->batch;
        ticket->batch = feed->spare;
        ticket->batch->batch = message->batch.count;
        feed->spare = empty;
        trainer_lease_answer(feed->lease, from, ticket, TRAINER_TICKET_READY,
                             message->batch.build_us, clock_ms());
        pthread_cond_broadcast(&feed->changed);
    } else if (good) {
        feed->lease->counters.duplicates++;
    }
    pthread_mutex_unlock(&feed->lock);
    if (good) return true;
    feed_damage(feed, from, message->batch.ticket, &damage);
    return feed_refuse(feed, from, false, damage.text, error);
}

static void feed_failed(struct trainer_feed *feed, const struct proto_identity *from,
                        const struct proto_message *message) {
    pthread_mutex_lock(&feed->lock);
    struct trainer_ticket *ticket = trainer_lease_open(feed->lease, message->failed.ticket);
    if (ticket) {
        proto_fail(&ticket->failure, (enum proto_status)message->failed.status, "%s",
                   message->failed.text);
        proto_error_where(&ticket->failure, "%s", message->failed.where);
        trainer_lease_answer(feed->lease, from, ticket, TRAINER_TICKET_FAILED, 0, clock_ms());
        pthread_cond_broadcast(&feed->changed);
    } else {
        feed->lease->counters.duplicates++;
    }
    pthread_mutex_unlock(&feed->lock);
}

static void feed_bye(struct trainer_feed *feed, const struct proto_identity *from) {
    pthread_mutex_lock(&feed->lock);
    struct trainer_loader *loader = trainer_lease_loader(feed->lease, from);
    if (loader) trainer_lease_lose(feed->lease, loader);
    pthread_mutex_unlock(&feed->lock);
}

static bool feed_accept(struct trainer_feed *feed, const struct proto_identity *from,
                        const struct proto_message *message, struct proto_error *error) {
    struct proto_error damage = {0};
    switch (message->kind) {
    case PROTO_KIND_READY:
        return feed_ready(feed, from, &message->ready, error);
    case PROTO_KIND_BATCH:
        return feed_batch(feed, from, message, error);
    case PROTO_KIND_FAILED:
        feed_failed(feed, from, message);
        return true;
    case PROTO_KIND_BYE:
        feed_bye(feed, from);
        return true;
    default:
        proto_fail(&damage, PROTO_DAMAGED, "a rank takes ready, batch, failed and bye");
        feed_damage(feed, from, 0, &damage);
        return feed_refuse(feed, from, false, damage.text, error);
    }
}

// Reads what waits, so many messages at most.
static bool feed_receive(struct trainer_feed *feed, struct proto_error *error) {
    struct proto_message message;
    for (int i = 0; i < FEED_TURN_MESSAGES; i++) {
        struct proto_identity from = {.size = 0};
        struct proto_error damage = {0};
        bool received = false;
        feed->spare->batch = feed->settings.batch_max;
        if (proto_wire_receive(feed->socket, &from, feed->spare, &message, &received, &damage)) {
            if (!received) return true;
            if (!feed_accept(feed, &from, &message, error)) return false;
            continue;
        }
        if (damage.status != PROTO_DAMAGED) {
            *error = damage;
            return false;
        }
        // Its sender's problem: say why, lease the ticket again, go on.
        feed_damage(feed, &from, message.kind == PROTO_KIND_BATCH ? message.batch.ticket : 0,
                    &damage);
        const bool final = message.version != 0 && message.version != PROTO_VERSION;
        if (!feed_refuse(feed, &from, final, damage.text, error)) return false;
    }
    return true;
}

// --- what goes out ---

static bool feed_lease(struct trainer_feed *feed, int64_t now_ms, struct proto_error *error) {
    struct trainer_ticket *ticket = NULL;
    struct trainer_loader *loader = NULL;
    // Ends: each turn grants a ticket, or takes a loader out of the choice.
    while (trainer_lease_next(feed->lease, &ticket, &loader)) {
        struct proto_message message = {.kind = PROTO_KIND_TICKETS, .ticket_count = 1};
        struct proto_wire_sent sent;
        message.tickets[0] = ticket->ticket;
        if (!proto_wire_send(feed->socket, &loader->identity, &message, PROTO_RAW, &sent, error))
            return false;
        if (sent.delivery == PROTO_SENT)
            trainer_lease_grant(feed->lease, ticket, loader, now_ms);
        else if (sent.delivery == PROTO_NO_ROOM)
            loader->full = true;
        else
            trainer_lease_lose(feed->lease, loader);
    }
    return true;
}

// An empty list of tickets to all that hold leases: a killed loader's is refused by ZeroMQ at once.
static bool feed_ping(struct trainer_feed *feed, int64_t now_ms, struct proto_error *error) {
    if (now_ms - feed->ping_ms < FEED_TURN_MS) return true;
    feed->ping_ms = now_ms;
    for (size_t i = 0; i < TRAINER_LOADERS_MAX; i++) {
        struct trainer_loader *loader = &feed->lease->loaders[i];
        const struct proto_message ping = {.kind = PROTO_KIND_TICKETS};
        struct proto_wire_sent sent;
        if (loader->serial == 0 || loader->outstanding == 0) continue;
        if (!proto_wire_send(feed->socket, &loader->identity, &ping, PROTO_RAW, &sent, error))
            return false;
        if (sent.delivery == PROTO_GONE) trainer_lease_lose(feed->lease, loader);
    }
    return true;
}

static bool feed_send(struct trainer_feed *feed, bool *closing, struct proto_error *error) {
    const int64_t now_ms = clock_ms();
    pthread_mutex_lock(&feed->lock);
    *closing = feed->closing;
    trainer_lease_expire(feed->lease, now_ms);
    const bool done = feed_ping(feed, now_ms, error) && feed_lease(feed, now_ms, error);
    pthread_mutex_unlock(&feed->lock);
    return done;
}

static bool feed_wait(struct trainer_feed *feed, struct proto_error *error) {
    zmq_pollitem_t items[] = {{.socket = feed->socket, .events = ZMQ_POLLIN},
                              {.fd = feed->turn, .events = ZMQ_POLLIN}};
    uint64_t turns = 0;
    if (zmq_poll(items, (int)PROTO_COUNT(items), FEED_TURN_MS) < 0 && zmq_errno() != EINTR)
        return proto_fail(error, PROTO_FAILED, "ZeroMQ does not wait: %s",
                          zmq_strerror(zmq_errno()));
    const ssize_t got = read(feed->turn, &turns, sizeof turns);
    (void)got;  // not blocking; nothing there is fine
    return true;
}

void *trainer_feed_run(void *context) {
    struct trainer_feed *feed = context;
    struct proto_error error = {0};
    bool closing = false;
    while (!closing) {
        if (feed_send(feed, &closing, &error) && !closing && feed_wait(feed, &error) &&
            feed_receive(feed, &error))
            continue;
        if (closing) break;
        pthread_mutex_lock(&feed->lock);
        proto_error_where(&error, "%s", feed->settings.endpoint);
        feed->broken = error;
        pthread_cond_broadcast(&feed->changed);
        pthread_mutex_unlock(&feed->lock);
        break;
    }
    return NULL;
}
