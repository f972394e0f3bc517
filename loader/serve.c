// loader/serve.c - the loader's one loop: look at the world once, then act on it. Only the poll
// blocks, and building.
#include "loader/serve.h"

#include "proto/wire.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#define SERVE_ATTEMPT_BITS 40
#define SERVE_QUEUE_MESSAGES 256    // from one rank
#define SERVE_FAREWELL_MS 1000      // for what is still on its way when the loader leaves
#define SERVE_TURN_MESSAGES 64      // read from one rank in one turn
#define SERVE_REFUSED_SAY_MS 10000  // a rank's complaints are repeated to people this seldom

// One rank as the loader sees it.
struct serve_rank {
    const char *endpoint;
    void *socket;
    struct proto_pool *pool;
    struct proto_packing_choice packing;
    uint64_t attempt;                             // newest that a ticket named
    struct proto_ticket held[PROTO_TICKETS_MAX];  // oldest first
    uint32_t held_count;
    struct proto_loan *built;     // waits for room in the socket; NULL: none
    struct proto_message answer;  // with `built`, or a failure; kind 0: nothing waits
};

struct serve {
    const struct loader_serve_settings *settings;
    void *context;
    struct serve_rank *ranks;  // [settings->count]
    uint32_t next_rank;        // whose turn it is to be built for
    int64_t ready_ms, refused_ms;
    uint64_t samples, batches, build_us, bytes;
    uint32_t held_told;  // tickets held, as last reported
    bool changed;        // since the last progress
};

static int64_t clock_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

// --- open and close ---

static bool serve_rank_open(struct serve *serve, struct serve_rank *rank, const char *endpoint,
                            struct proto_error *error) {
    const struct proto_config *config = serve->settings->config;
    const uint32_t credits = (uint32_t)config->loader.batches_in_flight;
    const struct proto_wire_settings wire = {.send_max = credits + 8,
                                             .receive_max = SERVE_QUEUE_MESSAGES};
    rank->endpoint = endpoint;
    rank->packing = proto_packing_choose(config->loader.packing, endpoint);
    if (!proto_pool_new(serve->settings->codec, credits, &rank->pool, error)) return false;
    if (!proto_wire_open(serve->context, &wire, &rank->socket, error)) return false;
    if (zmq_connect(rank->socket, endpoint) == 0) return true;
    return proto_fail(error, PROTO_USAGE, "cannot connect to \"%s\": %s", endpoint,
                      zmq_strerror(zmq_errno()));
}

static bool serve_open(struct serve *serve, struct proto_error *error) {
    const struct loader_serve_settings *settings = serve->settings;
    if (settings->count < 1 || settings->count > LOADER_ENDPOINTS_MAX)
        return proto_fail(error, PROTO_USAGE, "%u ranks to serve, must be 1..%d", settings->count,
                          LOADER_ENDPOINTS_MAX);
    serve->ranks = proto_alloc_array(settings->count, sizeof *serve->ranks, error);
    if (!serve->ranks) return false;
    serve->context = zmq_ctx_new();
    if (!serve->context) return proto_fail(error, PROTO_EXHAUSTED, "no ZeroMQ context");
    for (uint32_t i = 0; i < settings->count; i++)
        if (!serve_rank_open(serve, &serve->ranks[i], settings->endpoints[i], error)) return false;
    return true;
}

// Batches still on their way have so long to leave; ZeroMQ holds no loan once its context is gone.
static void serve_close(struct serve *serve, int farewell_ms) {
    for (uint32_t i = 0; serve->ranks && i < serve->settings->count; i++) {
        struct serve_rank *rank = &serve->ranks[i];
        if (rank->built) proto_loan_drop(rank->built);
        if (!rank->socket) continue;
        zmq_setsockopt(rank->socket, ZMQ_LINGER, &farewell_ms, sizeof farewell_ms);
        zmq_close(rank->socket);
    }
    if (serve->context)
        while (zmq_ctx_term(serve->context) != 0 && zmq_errno() == EINTR) continue;
    for (uint32_t i = 0; serve->ranks && i < serve->settings->count; i++)
        proto_pool_free(&serve->ranks[i].pool);
    free(serve->ranks);
}

// --- sending ---

// Sends what waits for this rank, if there is room now.
static bool serve_flush(struct serve *serve, struct serve_rank *rank, struct proto_error *error) {
    struct proto_wire_sent sent;
    if (rank->answer.kind == 0) return true;
    if (!proto_wire_send(rank->socket, NULL, &rank->answer, rank->packing.packing, &sent, error))
        return false;
    if (sent.delivery != PROTO_SENT) return true;
    if (rank->built) {
        proto_packing_learn(&rank->packing, sent.unpacked_bytes, sent.packed_bytes);
        serve->samples += rank->answer.batch.count;
        serve->batches++;
        serve->build_us += rank->answer.batch.build_us;
        serve->bytes += sent.packed_bytes;
        serve->changed = true;
        proto_loan_drop(rank->built);
        rank->built = NULL;
    }
    rank->answer.kind = 0;
    return true;
}

static void serve_forget_answer(struct serve_rank *rank) {
    if (rank->built) proto_loan_drop(rank->built);
    rank->built = NULL;
    rank->answer.kind = 0;
}

// Who we are, to every rank that is there; whoever is not, hears it the next time.
static bool serve_introduce(struct serve *serve, int64_t now_ms, struct proto_error *error) {
    const struct loader_serve_settings *settings = serve->settings;
    if (now_ms - serve->ready_ms < PROTO_READY_MS) return true;
    serve->ready_ms = now_ms;
    struct proto_message message = {
        .kind = PROTO_KIND_READY,
        .ready = {.index_hash = settings->index->hash,
                  .codec_hash = settings->codec->hash,
                  .number = settings->number,
                  .credits = (uint32_t)settings->config->loader.batches_in_flight}};
    snprintf(message.ready.build, sizeof message.ready.build, "%s", PIPELINE_VERSION);
    for (uint32_t i = 0; i < settings->count; i++) {
        struct proto_wire_sent sent;
        if (!proto_wire_send(serve->ranks[i].socket, NULL, &message, PROTO_RAW, &sent, error))
            return false;
    }
    return true;
}

// Tickets that wait to be built. What is built and waits for a rank to take it is that rank's
// affair.
static uint32_t serve_held(const struct serve *serve) {
    uint32_t held = 0;
    for (uint32_t i = 0; i < serve->settings->count; i++)
        if (serve->ranks[i].answer.kind == 0) held += serve->ranks[i].held_count;
    return held;
}

static void serve_report(struct serve *serve) {
    const uint32_t held = serve_held(serve);
    if ((!serve->changed && held == serve->held_told) || !serve->settings->link) return;
    serve->changed = false;
    serve->held_told = held;
    proto_link_progress(serve->settings->link, serve->batches,
                        json_pack("{s:I, s:I, s:I, s:I, s:i}", "samples",
                                  (json_int_t)serve->samples, "batches", (json_int_t)serve->batches,
                                  "build_us", (json_int_t)serve->build_us, "bytes",
                                  (json_int_t)serve->bytes, "held", (int)held));
}

// --- receiving ---

static void serve_hold(struct serve_rank *rank, const struct proto_ticket *ticket) {
    const uint64_t attempt = ticket->id >> SERVE_ATTEMPT_BITS;
    if (attempt < rank->attempt) return;
    if (attempt > rank->attempt) {  // the rank began anew: nobody waits for the old tickets
        rank->attempt = attempt;
        rank->held_count = 0;
        serve_forget_answer(rank);
    }
    for (uint32_t i = 0; i < rank->held_count; i++)
        if (rank->held[i].id == ticket->id) return;
    if (rank->answer.kind == PROTO_KIND_BATCH && rank->answer.batch.ticket == ticket->id) return;
    // More than the credits allow: leases of a connection that broke. They are leased elsewhere.
    if (rank->held_count == PROTO_TICKETS_MAX)
        memmove(rank->held, rank->held + 1, --rank->held_count * sizeof *rank->held);
    rank->held[rank->held_count++] = *ticket;
}

static bool serve_refused(struct serve *serve, struct serve_rank *rank,
                          const struct proto_message *message, struct proto_error *error) {
    if (message->refused.final) {
        proto_fail(error, PROTO_USAGE, "the rank refuses this loader: %.700s",
                   message->refused.text);
        return proto_error_where(error, "%s", rank->endpoint);
    }
    const int64_t now_ms = clock_us() / 1000;
    if (!serve->settings->link || now_ms - serve->refused_ms < SERVE_REFUSED_SAY_MS) return true;
    serve->refused_ms = now_ms;
    proto_link_event(
        serve->settings->link, "message_refused",
        json_pack("{s:s, s:s}", "rank", rank->endpoint, "text", message->refused.text));
    return true;
}

static bool serve_receive(struct serve *serve, struct serve_rank *rank, struct proto_error *error) {
    struct proto_message message;
    for (int i = 0; i < SERVE_TURN_MESSAGES; i++) {
        struct proto_error damage = {0};
        bool received = false;
        if (!proto_wire_receive(rank->socket, NULL, NULL, &message, &received, &damage)) {
            const bool other = message.version != 0 && message.version != PROTO_VERSION;
            // A damaged message is as good as lost: what it leased is leased again in time.
            if (damage.status == PROTO_DAMAGED && !other) continue;
            *error = damage;
            if (other) error->status = PROTO_USAGE;
            return proto_error_where(error, "%s", rank->endpoint);
        }
        if (!received) return true;
        if (message.kind == PROTO_KIND_TICKETS)
            for (uint32_t t = 0; t < message.ticket_count; t++)
                serve_hold(rank, &message.tickets[t]);
        if (message.kind == PROTO_KIND_REFUSED && !serve_refused(serve, rank, &message, error))
            return false;
    }
    return true;
}

// --- building ---

// Builds the oldest ticket of a rank into a free batch. *built false: nothing to do for it now.
static bool serve_build(struct serve *serve, struct serve_rank *rank, bool *built,
                        struct proto_error *error) {
    struct proto_loan *loan = NULL;
    struct proto_error failure = {0};
    *built = false;
    if (rank->held_count == 0 || rank->answer.kind != 0) return true;
    const struct proto_ticket ticket = rank->held[0];
    if (!proto_pool_take(rank->pool, ticket.count, &loan, error)) return false;
    if (!loan) return true;
    memmove(rank->held, rank->held + 1, --rank->held_count * sizeof *rank->held);
    const int64_t begin_us = clock_us();
    if (loader_builder_build(serve->settings->builder, &ticket, proto_loan_batch(loan), &failure)) {
        const int64_t took_us = clock_us() - begin_us;
        rank->built = loan;
        rank->answer.kind = PROTO_KIND_BATCH;
        rank->answer.batch.ticket = ticket.id;
        rank->answer.batch.count = ticket.count;
        rank->answer.batch.build_us = took_us > UINT32_MAX ? UINT32_MAX : (uint32_t)took_us;
        rank->answer.batch.batch = proto_loan_batch(loan);
        rank->answer.batch.loan = loan;
    } else {
        proto_loan_drop(loan);
        if (failure.status != PROTO_DAMAGED) {
            *error = failure;
            return false;
        }
        rank->answer.kind = PROTO_KIND_FAILED;
        rank->answer.failed.ticket = ticket.id;
        rank->answer.failed.status = (int32_t)failure.status;
        memcpy(rank->answer.failed.text, failure.text, sizeof failure.text);
        memcpy(rank->answer.failed.where, failure.where, sizeof failure.where);
    }
    *built = true;
    return serve_flush(serve, rank, error);
}

// One ticket, of the rank whose turn it is, or of the next that has one.
static bool serve_build_next(struct serve *serve, bool *built, struct proto_error *error) {
    *built = false;
    for (uint32_t i = 0; !*built && i < serve->settings->count; i++) {
        struct serve_rank *rank = &serve->ranks[serve->next_rank];
        serve->next_rank = (serve->next_rank + 1) % serve->settings->count;
        if (!serve_build(serve, rank, built, error)) return false;
    }
    return true;
}

// --- the loop ---

// Waits for a message, a batch that came back, room for an answer, a stop, or the next ready.
static bool serve_wait(struct serve *serve, bool idle, int64_t now_ms, struct proto_error *error) {
    zmq_pollitem_t items[2 * LOADER_ENDPOINTS_MAX + 1];
    int count = 0;
    for (uint32_t i = 0; i < serve->settings->count; i++) {
        const struct serve_rank *rank = &serve->ranks[i];
        const bool waits = rank->answer.kind != 0;
        items[count++] = (zmq_pollitem_t){
            .socket = rank->socket, .events = (short)(ZMQ_POLLIN | (waits ? ZMQ_POLLOUT : 0))};
        items[count++] =
            (zmq_pollitem_t){.fd = proto_pool_descriptor(rank->pool), .events = ZMQ_POLLIN};
    }
    if (serve->settings->link)
        items[count++] = (zmq_pollitem_t){.fd = proto_link_descriptor(serve->settings->link),
                                          .events = ZMQ_POLLIN};
    const int64_t due_ms = serve->ready_ms + PROTO_READY_MS - now_ms;
    const long wait_ms = idle && due_ms > 0 ? (long)due_ms : 0;
    if (zmq_poll(items, count, wait_ms) < 0 && zmq_errno() != EINTR)
        return proto_fail(error, PROTO_FAILED, "ZeroMQ does not wait: %s",
                          zmq_strerror(zmq_errno()));
    for (uint32_t i = 0; i < serve->settings->count; i++)
        if (items[2 * i + 1].revents) proto_pool_settle(serve->ranks[i].pool);
    return true;
}

static bool serve_turn(struct serve *serve, bool *idle, struct proto_error *error) {
    const int64_t now_ms = clock_us() / 1000;
    bool built = false;
    if (now_ms - serve->ready_ms >= PROTO_READY_MS) serve_report(serve);
    if (!serve_wait(serve, *idle, now_ms, error)) return false;
    for (uint32_t i = 0; i < serve->settings->count; i++)
        if (!serve_receive(serve, &serve->ranks[i], error) ||
            !serve_flush(serve, &serve->ranks[i], error))
            return false;
    if (!serve_introduce(serve, clock_us() / 1000, error)) return false;
    // before building, which may never end: a loader that holds nothing is not expected to work
    if (serve->held_told == 0) serve_report(serve);
    if (!serve_build_next(serve, &built, error)) return false;
    *idle = !built;
    return true;
}

// Hands back what is not begun: a rank that hears it leases it to others at once.
static bool serve_leave(struct serve *serve, struct proto_error *error) {
    const struct proto_message bye = {.kind = PROTO_KIND_BYE};
    struct proto_wire_sent sent;
    for (uint32_t i = 0; i < serve->settings->count; i++)
        if (!proto_wire_send(serve->ranks[i].socket, NULL, &bye, PROTO_RAW, &sent, error))
            return false;
    serve->changed = true;
    serve_report(serve);
    return true;
}

bool loader_serve(const struct loader_serve_settings *settings, struct proto_error *error) {
    struct serve serve = {.settings = settings, .ready_ms = -PROTO_READY_MS, .changed = true};
    struct proto_link *link = settings->link;
    bool done = serve_open(&serve, error), idle = false;
    if (done && link) proto_link_ready(link);
    while (done && (!link || proto_link_stop(link) == PROTO_GO_ON))
        done = serve_turn(&serve, &idle, error);
    const bool now = link && proto_link_stop(link) == PROTO_STOP_NOW;
    if (done && !now) done = serve_leave(&serve, error);
    serve_close(&serve, done && !now ? SERVE_FAREWELL_MS : 0);
    return done;
}
