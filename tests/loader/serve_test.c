// tests/loader/serve_test.c - the loader's loop against a rank made by hand: what it answers, what
// it forgets, how it leaves. What both ends do together is in tests/trainer/feed_loaders_test.c.
#include "loader/serve.h"
#include "proto/wire.h"
#include "tests/check.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#define SAMPLES 4
#define ATTEMPT(n) ((uint64_t)(n) << 40)

static const struct proto_codec codec = {
    .width = 8,
    .chunk = 4,
    .history = 1,
    .camera_count = 2,
    .image_height = 32,
    .image_width = 32,
    .task_count = 1,
    .hash = 5,
};

// Stands in for the builder that reads files: slow, and short of memory at one position.
static atomic_int build_ms;
static atomic_uint built;
bool loader_builder_build(struct loader_builder *builder, const struct proto_ticket *ticket,
                          struct proto_batch *batch, struct proto_error *error) {
    (void)builder;
    const struct timespec time = {.tv_nsec = atomic_load(&build_ms) * 1000000L};
    nanosleep(&time, NULL);
    atomic_fetch_add(&built, 1);
    if (ticket->first == 666) return proto_fail(error, PROTO_EXHAUSTED, "no memory for it");
    for (uint32_t i = 0; i < ticket->count; i++) batch->samples[i] = ticket->first + i;
    memset(batch->images, (int)ticket->first, (size_t)ticket->count * 2 * 32 * 32 * 3);
    return true;
}

struct world {
    char endpoints[2][300];
    struct proto_config config;
    struct proto_index index;
    struct proto_link *link;
    pthread_t thread;
    bool served;
    struct proto_error error;
    void *context, *router;
    struct proto_identity loader;
    struct proto_batch *target;
};

static void *serve_run(void *argument) {
    struct world *world = argument;
    const char *const endpoints[] = {world->endpoints[0], world->endpoints[1]};
    const struct loader_serve_settings settings = {.config = &world->config,
                                                   .index = &world->index,
                                                   .codec = &codec,
                                                   .endpoints = endpoints,
                                                   .count = 2,
                                                   .number = 7,
                                                   .link = world->link};
    world->served = loader_serve(&settings, &world->error);
    return NULL;
}

static void receive(struct world *world, struct proto_message *message) {
    struct proto_error error = {0};
    bool received = false;
    zmq_pollitem_t item = {.socket = world->router, .events = ZMQ_POLLIN};
    if (zmq_poll(&item, 1, 10000) != 1) fail_msg("the loader says nothing for 10 s");
    CHECK_OK(proto_wire_receive(world->router, &world->loader, world->target, message, &received,
                                &error),
             error);
}

// The next message that is no heartbeat.
static void answer(struct world *world, struct proto_message *message) {
    do receive(world, message);
    while (message->kind == PROTO_KIND_READY);
}

static void lease(struct world *world, uint64_t id, uint64_t first) {
    struct proto_message message = {.kind = PROTO_KIND_TICKETS, .ticket_count = 1};
    struct proto_wire_sent sent;
    struct proto_error error = {0};
    message.tickets[0] = (struct proto_ticket){.id = id, .first = first, .count = SAMPLES};
    CHECK_OK(proto_wire_send(world->router, &world->loader, &message, PROTO_RAW, &sent, &error),
             error);
    CHECK_INT(sent.delivery, PROTO_SENT);
}

// A loader for two ranks, of which only the first ever comes, and after the loader.
static void world_open(struct world *world, char *packing) {
    static struct proto_message message;
    struct proto_error error = {0};
    char folder[256];
    *world = (struct world){.index.hash = 9,
                            .config.loader = {.batches_in_flight = 2, .packing = packing}};
    check_folder(folder);
    for (int i = 0; i < 2; i++)
        snprintf(world->endpoints[i], sizeof world->endpoints[i], "ipc://%s/rank-%d", folder, i);
    CHECK_OK(proto_link_open("loader", 7, &world->link, &error), error);
    CHECK(pthread_create(&world->thread, NULL, serve_run, world) == 0);
    world->context = zmq_ctx_new();
    CHECK_OK(proto_batch_new(&codec, SAMPLES, &world->target, &error), error);
    const struct proto_wire_settings wire = {
        .router = true, .send_max = 100, .receive_max = 100, .batch = world->target};
    CHECK_OK(proto_wire_open(world->context, &wire, &world->router, &error), error);
    CHECK(zmq_bind(world->router, world->endpoints[0]) == 0);
    receive(world, &message);
    CHECK_INT(message.kind, PROTO_KIND_READY);
    CHECK_TEXT(message.ready.build, PIPELINE_VERSION);
    CHECK(message.ready.index_hash == 9 && message.ready.codec_hash == 5);
    CHECK(message.ready.number == 7 && message.ready.credits == 2);
}

static void world_close(struct world *world) {
    zmq_close(world->router);
    zmq_ctx_term(world->context);
    proto_batch_free(&world->target);
    proto_link_close(&world->link);
}

// SIGTERM is how a loader that runs by hand is told to leave.
static void stop(struct world *world) {
    kill(getpid(), SIGTERM);
    pthread_join(world->thread, NULL);
    CHECK_OK(world->served, world->error);
}

TEST(serve_answers_each_ticket_raw_and_packed_and_says_bye) {
    char packings[][8] = {"auto", "lz4"};
    for (size_t p = 0; p < PROTO_COUNT(packings); p++) {
        static struct proto_message message;
        struct world world;
        TEST_CASE(packings[p]);
        world_open(&world, packings[p]);
        for (uint64_t i = 1; i <= 20; i++) {
            lease(&world, ATTEMPT(1) | i, i * 10);
            answer(&world, &message);
            CHECK_INT(message.kind, PROTO_KIND_BATCH);
            CHECK(message.batch.ticket == (ATTEMPT(1) | i));
            CHECK_INT(message.batch.count, SAMPLES);
            CHECK(world.target->samples[3] == i * 10 + 3);
            CHECK_INT(world.target->images[SAMPLES * 2 * 32 * 32 * 3 - 1], i * 10);
        }
        stop(&world);
        answer(&world, &message);
        CHECK_INT(message.kind, PROTO_KIND_BYE);
        world_close(&world);
    }
}

TEST(serve_builds_a_ticket_once_however_often_it_is_leased) {
    char packing[] = "raw";
    static struct proto_message message;
    struct world world;
    world_open(&world, packing);
    atomic_store(&build_ms, 100);
    lease(&world, ATTEMPT(1) | 1, 0);
    for (int i = 0; i < 5; i++) lease(&world, ATTEMPT(1) | 2, 10);
    answer(&world, &message);
    CHECK(message.batch.ticket == (ATTEMPT(1) | 1));
    answer(&world, &message);
    CHECK(message.batch.ticket == (ATTEMPT(1) | 2));
    atomic_store(&build_ms, 0);
    lease(&world, ATTEMPT(1) | 3, 20);
    answer(&world, &message);
    CHECK(message.batch.ticket == (ATTEMPT(1) | 3));  // no second answer to 2
    stop(&world);
    world_close(&world);
}

TEST(serve_forgets_the_tickets_of_a_rank_that_began_anew) {
    char packing[] = "raw";
    static struct proto_message message;
    struct world world;
    world_open(&world, packing);
    atomic_store(&build_ms, 100);
    for (uint64_t i = 1; i <= 8; i++) lease(&world, ATTEMPT(1) | i, i);
    lease(&world, ATTEMPT(2) | 1, 50);
    lease(&world, ATTEMPT(1) | 9, 9);  // late, from the old one
    uint32_t old = 0;
    for (answer(&world, &message); message.batch.ticket != (ATTEMPT(2) | 1); old++)
        answer(&world, &message);
    CHECK(old <= 1);  // the one that was being built
    atomic_store(&build_ms, 0);
    lease(&world, ATTEMPT(2) | 2, 60);
    answer(&world, &message);
    CHECK(message.batch.ticket == (ATTEMPT(2) | 2));
    stop(&world);
    world_close(&world);
}

// Waits until the supervisor's end of the link hears of so many held tickets.
static void hear_held(int line, int held) {
    static char heard[1 << 16];
    char wanted[32];
    size_t used = 0;
    snprintf(wanted, sizeof wanted, "\"held\":%d", held);
    for (;;) {
        struct pollfd set = {.fd = line, .events = POLLIN};
        if (poll(&set, 1, 10000) != 1) fail_msg("no word of %d held tickets for 10 s", held);
        const ssize_t count = read(line, heard + used, sizeof heard - 1 - used);
        CHECK(count > 0);
        used += (size_t)count;
        heard[used] = '\0';
        if (strstr(heard, wanted)) return;
    }
}

// Also before the first ticket is built, which may take for ever.
TEST(serve_tells_how_many_tickets_it_holds) {
    char packing[] = "raw", number[16];
    static struct proto_message message;
    struct proto_error error = {0};
    struct world world;
    int ends[2];
    CHECK_OK(proto_link_pair(ends, &error), error);
    snprintf(number, sizeof number, "%d", ends[1]);
    CHECK(setenv("PIPELINE_LINK", number, 1) == 0);
    world_open(&world, packing);
    hear_held(ends[0], 0);  // also before it was ever asked for anything
    atomic_store(&build_ms, 900);
    lease(&world, ATTEMPT(1) | 1, 0);
    hear_held(ends[0], 1);
    CHECK_INT(atomic_exchange(&build_ms, 0), 900);
    answer(&world, &message);
    hear_held(ends[0], 0);
    CHECK_OK(proto_link_send_stop(ends[0], PROTO_STOP_DRAIN, &error), error);
    pthread_join(world.thread, NULL);
    CHECK_OK(world.served, world.error);
    world_close(&world);
    close(ends[0]);
}

TEST(serve_ends_with_the_error_when_the_fault_is_not_in_the_data) {
    char packing[] = "raw";
    struct world world;
    world_open(&world, packing);
    lease(&world, ATTEMPT(1) | 1, 666);
    pthread_join(world.thread, NULL);
    CHECK(!world.served);
    CHECK_INT(world.error.status, PROTO_EXHAUSTED);
    CHECK_TEXT(world.error.text, "no memory for it");
    world_close(&world);
}

TEST(serve_survives_what_is_no_message_and_leaves_when_refused_for_good) {
    char packing[] = "raw";
    static struct proto_message message;
    struct proto_wire_sent sent;
    struct proto_error error = {0};
    struct world world;
    world_open(&world, packing);
    zmq_send(world.router, world.loader.bytes, world.loader.size, ZMQ_SNDMORE);
    zmq_send(world.router, "\xdf\x0f\xff\xff\xff", 5, 0);
    lease(&world, ATTEMPT(1) | 1, 1);
    answer(&world, &message);
    CHECK_INT(message.kind, PROTO_KIND_BATCH);
    struct proto_message refusal = {.kind = PROTO_KIND_REFUSED, .refused = {.text = "try again"}};
    CHECK_OK(proto_wire_send(world.router, &world.loader, &refusal, PROTO_RAW, &sent, &error),
             error);
    lease(&world, ATTEMPT(1) | 2, 1);
    answer(&world, &message);  // a refusal that is not final changes nothing
    CHECK_INT(message.kind, PROTO_KIND_BATCH);
    refusal.refused.final = true;
    CHECK_OK(proto_wire_send(world.router, &world.loader, &refusal, PROTO_RAW, &sent, &error),
             error);
    pthread_join(world.thread, NULL);
    CHECK(!world.served);
    CHECK_INT(world.error.status, PROTO_USAGE);
    CHECK_TEXT(world.error.text, "the rank refuses this loader: try again");
    CHECK_TEXT(world.error.where, world.endpoints[0]);
    world_close(&world);
}

TEST_MAIN(UNIT(serve_answers_each_ticket_raw_and_packed_and_says_bye),
          UNIT(serve_builds_a_ticket_once_however_often_it_is_leased),
          UNIT(serve_forgets_the_tickets_of_a_rank_that_began_anew),
          UNIT(serve_tells_how_many_tickets_it_holds),
          UNIT(serve_ends_with_the_error_when_the_fault_is_not_in_the_data),
          UNIT(serve_survives_what_is_no_message_and_leaves_when_refused_for_good))
