// tests/trainer/feed_test.c - whatever loaders do to a rank over real sockets, it takes every
// wanted ticket once, in order, with the right bytes. Oracle: contents that follow from the ticket.
#include "proto/random.h"
#include "tests/check.h"
#include "tests/trainer/feed_world.h"
#include "trainer/feed.h"

#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

// A loader made of one thread, with bad manners.
struct rogue {
    const char *endpoint;
    uint32_t number;
    atomic_bool stop;
    pthread_t thread;
};

static void rogue_send(void *socket, const struct proto_message *message) {
    struct proto_wire_sent sent;
    struct proto_error error = {0};
    if (!proto_wire_send(socket, NULL, message, PROTO_RAW, &sent, &error))
        fail_msg("%s", error.text);
}

static struct proto_message rogue_ready(uint32_t number) {
    return (struct proto_message){.kind = PROTO_KIND_READY,
                                  .ready = {.build = PIPELINE_VERSION,
                                            .index_hash = WORLD_INDEX_HASH,
                                            .codec_hash = world_codec.hash,
                                            .number = number,
                                            .credits = 1 + number % 4}};
}

static void *rogue_connect(void *context, const char *endpoint) {
    struct proto_error error = {0};
    void *socket = NULL;
    const struct proto_wire_settings settings = {.send_max = 100, .receive_max = 100};
    if (!proto_wire_open(context, &settings, &socket, &error)) fail_msg("%s", error.text);
    CHECK(zmq_connect(socket, endpoint) == 0);
    return socket;
}

// Answers one ticket in one of many ways.
static void rogue_answer(struct proto_random *random, void *socket,
                         const struct proto_ticket *ticket, struct proto_batch *batch) {
    struct proto_message answer = {.kind = PROTO_KIND_BATCH};
    const uint32_t fate = proto_random_below(random, 100);
    answer.batch.ticket = ticket->id;
    answer.batch.count = ticket->count;
    answer.batch.batch = batch;
    world_fill(ticket, batch);
    if (fate < 2) return;                // never
    if (fate < 4) batch->task[0] = 999;  // damaged: would index past a table
    if (fate < 6)
        answer.batch.count = ticket->count % WORLD_BATCH_MAX + 1;           // damaged: another size
    if (fate < 8) zmq_send(socket, "\xdf\x0f\xff\xff\xff", 5, 0);           // garbage before it
    if (fate < 10) answer.batch.ticket += 1000;                             // nobody's
    if (fate < 12) answer.batch.ticket = ticket->id - ((uint64_t)1 << 40);  // of an old attempt
    if (fate >= 12 && fate < 15) world_work(10);                            // late
    rogue_send(socket, &answer);
    if (fate >= 15 && fate < 25) rogue_send(socket, &answer);  // twice
}

static void *rogue_run(void *argument) {
    struct rogue *rogue = argument;
    struct proto_random random =
        proto_random_at(rogue->number, PROTO_PURPOSE_SHUFFLE, rogue->number);
    struct proto_batch *batch = NULL;
    struct proto_error error = {0};
    void *context = zmq_ctx_new(), *socket = rogue_connect(context, rogue->endpoint);
    int64_t ready_ms = 0;
    if (!proto_batch_new(&world_codec, WORLD_BATCH_MAX, &batch, &error)) fail_msg("%s", error.text);
    while (!atomic_load(&rogue->stop)) {
        if (world_ms() - ready_ms > PROTO_READY_MS) {
            const struct proto_message ready = rogue_ready(rogue->number);
            rogue_send(socket, &ready);
            ready_ms = world_ms();
        }
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 20);
        struct proto_message message;
        bool received = false;
        if (!proto_wire_receive(socket, NULL, NULL, &message, &received, &error) || !received)
            continue;
        for (uint32_t i = 0; message.kind == PROTO_KIND_TICKETS && i < message.ticket_count; i++)
            rogue_answer(&random, socket, &message.tickets[i], batch);
        if (message.kind == PROTO_KIND_TICKETS && proto_random_below(&random, 100) == 0) {
            // leaves without a word and is back at once, as somebody else
            zmq_close(socket);
            socket = rogue_connect(context, rogue->endpoint);
            ready_ms = 0;
        }
    }
    zmq_close(socket);
    zmq_ctx_term(context);
    proto_batch_free(&batch);
    return NULL;
}

static struct trainer_feed *feed_of(const char *endpoint, uint32_t attempt, double timeout_s) {
    struct trainer_feed *feed = NULL;
    struct proto_error error = {0};
    const struct trainer_feed_settings settings = {.endpoint = endpoint,
                                                   .codec = &world_codec,
                                                   .index_hash = WORLD_INDEX_HASH,
                                                   .attempt = attempt,
                                                   .batch_max = WORLD_BATCH_MAX,
                                                   .window = 12,
                                                   .lease_timeout_s = timeout_s};
    CHECK_OK(trainer_feed_open(&settings, &feed, &error), error);
    return feed;
}

static void endpoint_make(char endpoint[static 300]) {
    char folder[256];
    check_folder(folder);
    snprintf(endpoint, 300, "ipc://%s/rank-0", folder);
}

TEST(feed_property_each_ticket_once_in_order_from_rogue_loaders) {
    enum { ROGUES = 4, TICKETS = 500 };
    char endpoint[300];
    struct rogue rogues[ROGUES];
    struct trainer_feed_counters counters;
    uint64_t wanted = 0;
    endpoint_make(endpoint);
    struct trainer_feed *feed = feed_of(endpoint, 3, 0.1);
    for (uint32_t i = 0; i < ROGUES; i++) {
        rogues[i].endpoint = endpoint;
        rogues[i].number = i;
        atomic_init(&rogues[i].stop, false);
        CHECK(pthread_create(&rogues[i].thread, NULL, rogue_run, &rogues[i]) == 0);
    }
    world_consume(feed, &wanted, 0, TICKETS);
    for (uint32_t i = 0; i < ROGUES; i++) {
        atomic_store(&rogues[i].stop, true);
        pthread_join(rogues[i].thread, NULL);
    }
    trainer_feed_counters(feed, &counters);
    print_message("leased %u answered %u released %u duplicates %u damaged %u\n",
                  (unsigned)counters.leased, (unsigned)counters.answered,
                  (unsigned)counters.released, (unsigned)counters.duplicates,
                  (unsigned)counters.damaged);
    CHECK_INT(counters.answered, TICKETS);
    CHECK(counters.leased > TICKETS && counters.released > 0);
    CHECK(counters.duplicates > 0 && counters.damaged > 0);
    trainer_feed_close(&feed);
    CHECK(feed == NULL);
}

TEST(feed_take_waits_no_longer_than_asked_and_wakes) {
    char endpoint[300];
    const struct proto_batch *batch = NULL;
    struct proto_error error = {0};
    endpoint_make(endpoint);
    struct trainer_feed *feed = feed_of(endpoint, 1, 10);
    CHECK(trainer_feed_room(feed));
    for (uint64_t n = 0; n < 12; n++) trainer_feed_want(feed, false, n, 1);
    CHECK(!trainer_feed_room(feed));
    int64_t begin_ms = world_ms();
    CHECK_OK(trainer_feed_take(feed, 60, &batch, &error), error);
    CHECK(batch == NULL);
    CHECK(world_ms() - begin_ms >= 59 && world_ms() - begin_ms < 2000);
    trainer_feed_wake(feed);  // before the wait: the next take sees it
    begin_ms = world_ms();
    CHECK_OK(trainer_feed_take(feed, 20000, &batch, &error), error);
    CHECK(batch == NULL);
    CHECK(world_ms() - begin_ms < 2000);
    trainer_feed_close(&feed);
}

// What a loader gets to hear when it does not belong to the run.
TEST(feed_refuses_strangers_by_name_and_for_good) {
    static const struct {
        const char *name, *says;
    } cases[] = {
        {"build", "build 9.9.9 cannot serve a trainer of build " PIPELINE_VERSION},
        {"index", "index 0000000000000007 is not the run's 000000001234abcd"},
        {"codec", "codec 0000000000000007 is not the run's 00000000000c0dec"},
        {"version", "protocol version 2, this build speaks 1"},
    };
    char endpoint[300];
    endpoint_make(endpoint);
    struct trainer_feed *feed = feed_of(endpoint, 1, 10);
    void *context = zmq_ctx_new();
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        struct proto_message ready = rogue_ready(0), answer;
        bool received = false;
        TEST_CASE(cases[i].name);
        void *socket = rogue_connect(context, endpoint);
        zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT};
        CHECK(zmq_poll(&item, 1, 5000) == 1);
        if (i == 0) snprintf(ready.ready.build, sizeof ready.ready.build, "9.9.9");
        if (i == 1) ready.ready.index_hash = 7;
        if (i == 2) ready.ready.codec_hash = 7;
        if (i < 3) rogue_send(socket, &ready);
        // {"v": 2, "kind": "x", "check": xxh64 of the bytes before it}
        else
            zmq_send(socket,
                     "\x83\xa1v\x02\xa4kind\xa1x\xa5"
                     "check\xcf\x98\xa5\xcd\x1e\xd6\xc7\x53\xfd",
                     26, 0);
        item.events = ZMQ_POLLIN;
        CHECK(zmq_poll(&item, 1, 5000) == 1);
        CHECK_OK(proto_wire_receive(socket, NULL, NULL, &answer, &received, &error), error);
        CHECK_INT(answer.kind, PROTO_KIND_REFUSED);
        CHECK(answer.refused.final);
        CHECK_HAS(answer.refused.text, cases[i].says);
        zmq_close(socket);
    }
    struct trainer_feed_counters counters;
    trainer_feed_counters(feed, &counters);
    CHECK_INT(counters.loaders, 0);
    zmq_ctx_term(context);
    trainer_feed_close(&feed);
}

TEST(feed_second_rank_on_an_endpoint_that_cannot_be_is_named) {
    struct trainer_feed *feed = NULL;
    struct proto_error error = {0};
    const struct trainer_feed_settings settings = {.endpoint = "ipc:///nowhere/at/all/rank-0",
                                                   .codec = &world_codec,
                                                   .batch_max = 1,
                                                   .window = 1,
                                                   .lease_timeout_s = 1};
    CHECK(!trainer_feed_open(&settings, &feed, &error));
    CHECK_HAS(error.text, "cannot listen on ipc:///nowhere/at/all/rank-0");
    CHECK(feed == NULL);
}

TEST_MAIN(UNIT(feed_property_each_ticket_once_in_order_from_rogue_loaders),
          UNIT(feed_take_waits_no_longer_than_asked_and_wakes),
          UNIT(feed_refuses_strangers_by_name_and_for_good),
          UNIT(feed_second_rank_on_an_endpoint_that_cannot_be_is_named))
