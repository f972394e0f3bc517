// tests/proto/wire_test.c - what a broken or hostile peer can send, and the words it gets back;
// what a good one sends arrives as it was. Oracle of content: the bytes that were sent.
#include "proto/files.h"
#include "proto/random.h"
#include "proto/wire.h"
#include "proto/wire_messages.h"
#include "tests/check.h"

#include <zmq.h>

#define SAMPLES 3

static const struct proto_codec codec = {
    .width = 8,
    .chunk = 4,
    .history = 2,
    .camera_count = 2,
    .image_height = 32,
    .image_width = 32,
    .task_count = 1,
};

struct pair {
    void *context, *router, *dealer;
    struct proto_identity peer;
    struct proto_batch *batch, *target;
};

// A router and a dealer that know each other.
static void pair_open(struct pair *pair, const char *endpoint) {
    struct proto_error error = {0};
    *pair = (struct pair){.context = zmq_ctx_new()};
    CHECK_OK(proto_batch_new(&codec, SAMPLES, &pair->batch, &error), error);
    CHECK_OK(proto_batch_new(&codec, SAMPLES, &pair->target, &error), error);
    struct proto_wire_settings settings = {
        .router = true, .send_max = 100, .receive_max = 100, .batch = pair->target};
    CHECK_OK(proto_wire_open(pair->context, &settings, &pair->router, &error), error);
    char bound[256];
    size_t bound_bytes = sizeof bound;
    CHECK(zmq_bind(pair->router, endpoint) == 0);
    CHECK(zmq_getsockopt(pair->router, ZMQ_LAST_ENDPOINT, bound, &bound_bytes) == 0);
    settings.router = false;
    CHECK_OK(proto_wire_open(pair->context, &settings, &pair->dealer, &error), error);
    CHECK(zmq_connect(pair->dealer, bound) == 0);
}

static void pair_close(struct pair *pair) {
    zmq_close(pair->router);
    zmq_close(pair->dealer);
    zmq_ctx_term(pair->context);
    proto_batch_free(&pair->batch);
    proto_batch_free(&pair->target);
}

static void batch_fill(struct proto_batch *batch, uint64_t seed) {
    struct proto_random random = proto_random_at(seed, PROTO_PURPOSE_DIFFUSION, 0);
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    for (size_t i = 0; i < count; i++) {
        struct proto_wire_tensor tensor;
        CHECK(proto_wire_part_describe(&parts[i], batch, batch->batch, &tensor));
        uint8_t *bytes = proto_wire_part_data(&parts[i], batch);
        // half of it smooth, so that lz4 has something to do
        for (size_t k = 0; k < tensor.bytes; k++)
            bytes[k] = k % 64 < 32 ? (uint8_t)(k / 64) : (uint8_t)proto_random_u32(&random);
    }
}

static bool batch_same(const struct proto_batch *a, const struct proto_batch *b, uint32_t samples) {
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    for (size_t i = 0; i < count; i++) {
        struct proto_wire_tensor tensor;
        CHECK(proto_wire_part_describe(&parts[i], a, samples, &tensor));
        if (memcmp(proto_wire_part_data(&parts[i], a), proto_wire_part_data(&parts[i], b),
                   tensor.bytes) != 0)
            return false;
    }
    return true;
}

static void send_now(void *socket, const struct proto_identity *to,
                     const struct proto_message *message, enum proto_packing packing) {
    struct proto_error error = {0};
    struct proto_wire_sent sent = {.delivery = PROTO_NO_ROOM};
    // a dealer has no room until it is connected, which the poll tells
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLOUT};
    CHECK(zmq_poll(&item, 1, 5000) == 1);
    CHECK_OK(proto_wire_send(socket, to, message, packing, &sent, &error), error);
    CHECK_INT(sent.delivery, PROTO_SENT);
}

static bool receive_now(void *socket, struct proto_identity *from, struct proto_batch *target,
                        struct proto_message *message, struct proto_error *error) {
    bool received = false;
    zmq_pollitem_t item = {.socket = socket, .events = ZMQ_POLLIN};
    CHECK(zmq_poll(&item, 1, 5000) == 1);
    const bool done = proto_wire_receive(socket, from, target, message, &received, error);
    CHECK(received);
    return done;
}

static struct proto_message batch_message(struct proto_batch *batch, uint32_t count) {
    struct proto_message message = {.kind = PROTO_KIND_BATCH};
    message.batch.ticket = 77;
    message.batch.build_us = 1234;
    message.batch.count = count;
    message.batch.batch = batch;
    return message;
}

TEST(wire_carries_every_kind_with_every_field) {
    struct pair pair;
    struct proto_message got;
    struct proto_error error = {0};
    pair_open(&pair, "inproc://kinds");
    struct proto_message ready = {.kind = PROTO_KIND_READY,
                                  .ready = {.build = "0.1.0",
                                            .index_hash = UINT64_MAX,
                                            .codec_hash = 1,
                                            .number = 3,
                                            .credits = 64}};
    send_now(pair.dealer, NULL, &ready, PROTO_RAW);
    CHECK_OK(receive_now(pair.router, &pair.peer, NULL, &got, &error), error);
    CHECK_INT(got.kind, PROTO_KIND_READY);
    CHECK(memcmp(&got.ready, &ready.ready, sizeof got.ready) == 0);

    struct proto_message tickets = {.kind = PROTO_KIND_TICKETS};
    for (uint32_t i = 0; i < PROTO_TICKETS_MAX; i++)
        tickets.tickets[i] = (struct proto_ticket){.id = (uint64_t)1 << 40 | i,
                                                   .validation = i % 2 == 1,
                                                   .first = UINT64_MAX - i,
                                                   .count = 1 + i};
    tickets.ticket_count = PROTO_TICKETS_MAX;
    send_now(pair.router, &pair.peer, &tickets, PROTO_RAW);
    CHECK_OK(receive_now(pair.dealer, NULL, NULL, &got, &error), error);
    CHECK_INT(got.ticket_count, PROTO_TICKETS_MAX);
    for (uint32_t i = 0; i < PROTO_TICKETS_MAX; i++) {
        CHECK(got.tickets[i].id == tickets.tickets[i].id);
        CHECK(got.tickets[i].validation == tickets.tickets[i].validation);
        CHECK(got.tickets[i].first == tickets.tickets[i].first);
        CHECK(got.tickets[i].count == tickets.tickets[i].count);
    }

    struct proto_message failed = {.kind = PROTO_KIND_FAILED, .failed = {.ticket = 9, .status = 3}};
    memset(failed.failed.text, 'x', sizeof failed.failed.text - 1);
    snprintf(failed.failed.where, sizeof failed.failed.where, "a.hdf5: data/demo_3/actions");
    send_now(pair.dealer, NULL, &failed, PROTO_RAW);
    CHECK_OK(receive_now(pair.router, &pair.peer, NULL, &got, &error), error);
    CHECK_INT(got.failed.status, 3);
    CHECK_TEXT(got.failed.text, failed.failed.text);
    CHECK_TEXT(got.failed.where, failed.failed.where);

    struct proto_message refused = {.kind = PROTO_KIND_REFUSED,
                                    .refused = {.final = true, .text = "no"}};
    send_now(pair.router, &pair.peer, &refused, PROTO_RAW);
    CHECK_OK(receive_now(pair.dealer, NULL, NULL, &got, &error), error);
    CHECK(got.refused.final);
    CHECK_TEXT(got.refused.text, "no");

    struct proto_message bye = {.kind = PROTO_KIND_BYE};
    send_now(pair.dealer, NULL, &bye, PROTO_RAW);
    CHECK_OK(receive_now(pair.router, &pair.peer, NULL, &got, &error), error);
    CHECK_INT(got.kind, PROTO_KIND_BYE);
    pair_close(&pair);
}

TEST(wire_batches_arrive_bit_for_bit_raw_and_packed_whole_and_in_part) {
    static const char *const endpoints[] = {"inproc://batches", "ipc://*", "tcp://127.0.0.1:*"};
    for (size_t e = 0; e < PROTO_COUNT(endpoints); e++) {
        struct pair pair;
        pair_open(&pair, endpoints[e]);
        for (uint32_t i = 0; i < 4; i++) {
            struct proto_message got;
            struct proto_error error = {0};
            const uint32_t count = i % 2 == 0 ? SAMPLES : 1;
            TEST_CASE(endpoints[e]);
            batch_fill(pair.batch, i);
            const struct proto_message message = batch_message(pair.batch, count);
            send_now(pair.dealer, NULL, &message, i < 2 ? PROTO_RAW : PROTO_LZ4);
            CHECK_OK(receive_now(pair.router, &pair.peer, pair.target, &got, &error), error);
            CHECK(got.batch.ticket == 77);
            CHECK_INT(got.batch.build_us, 1234);
            CHECK_INT(got.batch.count, count);
            CHECK(batch_same(pair.batch, pair.target, count));
        }
        pair_close(&pair);
    }
}

TEST(wire_lends_batches_and_gets_them_back) {
    struct pair pair;
    struct proto_pool *pool = NULL;
    struct proto_loan *loan = NULL, *none = NULL;
    struct proto_message got;
    struct proto_error error = {0};
    pair_open(&pair, "inproc://lend");
    CHECK_OK(proto_pool_new(&codec, 1, &pool, &error), error);
    for (uint64_t i = 0; i < 5; i++) {
        CHECK_OK(proto_pool_take(pool, SAMPLES, &loan, &error), error);
        CHECK(loan != NULL);
        batch_fill(proto_loan_batch(loan), i);
        struct proto_message message = batch_message(proto_loan_batch(loan), SAMPLES);
        message.batch.loan = loan;
        send_now(pair.dealer, NULL, &message, PROTO_RAW);
        proto_loan_drop(loan);
        // the images are still in the message, so the only batch is out
        CHECK_OK(proto_pool_take(pool, SAMPLES, &none, &error), error);
        CHECK(none == NULL);
        CHECK_OK(receive_now(pair.router, &pair.peer, pair.target, &got, &error), error);
        CHECK(batch_same(proto_loan_batch(loan), pair.target, SAMPLES));
        zmq_pollitem_t item = {.fd = proto_pool_descriptor(pool), .events = ZMQ_POLLIN};
        CHECK(zmq_poll(&item, 1, 5000) == 1);
        proto_pool_settle(pool);
    }
    CHECK_INT(proto_pool_out(pool), 0);
    pair_close(&pair);
    proto_pool_free(&pool);
}

TEST(wire_send_tells_a_vanished_peer_from_a_full_one) {
    struct pair pair;
    struct proto_error error = {0};
    struct proto_wire_sent sent;
    const struct proto_message ping = {.kind = PROTO_KIND_TICKETS};
    pair_open(&pair, "inproc://gone");
    const struct proto_identity nobody = {.bytes = "nobody", .size = 6};
    CHECK_OK(proto_wire_send(pair.router, &nobody, &ping, PROTO_RAW, &sent, &error), error);
    CHECK_INT(sent.delivery, PROTO_GONE);
    const struct proto_message bye = {.kind = PROTO_KIND_BYE};
    struct proto_message got;
    send_now(pair.dealer, NULL, &bye, PROTO_RAW);
    CHECK_OK(receive_now(pair.router, &pair.peer, NULL, &got, &error), error);
    uint32_t accepted = 0;
    do {
        CHECK_OK(proto_wire_send(pair.router, &pair.peer, &ping, PROTO_RAW, &sent, &error), error);
        accepted += sent.delivery == PROTO_SENT;
    } while (sent.delivery == PROTO_SENT && accepted < 1000);
    CHECK_INT(sent.delivery, PROTO_NO_ROOM);
    CHECK(accepted >= 100 && accepted <= 200);  // both ends' queues of 100 are one pipe inproc
    pair_close(&pair);
}

TEST(wire_refuses_lying_shapes_lengths_and_frames) {
    static struct {
        const char *name, *says;
    } const cases[] = {
        {"samples", "batch has 4 samples, must have 1..3"},
        {"bytes", "tensor state: bytes is 97, its shape needs 96"},
        {"shape", "tensor state: shape[1] is 9, must be 8"},
        {"dtype", "tensor state has another dtype"},
        {"name", "tensor \"stare\" stands where state must be"},
        {"hash", "tensor state: hash is"},
        {"count", "batch has 11 tensors, must have 12"},
        {"frame", "tensor state: frame has 95 bytes, must have 96"},
        {"missing", "message has 0 tensor frames, names 12"},
    };
    struct pair pair;
    pair_open(&pair, "inproc://lies");
    batch_fill(pair.batch, 1);
    size_t part_count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&part_count);
    for (size_t c = 0; c < PROTO_COUNT(cases); c++) {
        static struct proto_wire_header header;
        struct proto_error error = {0};
        TEST_CASE(cases[c].name);
        header = (struct proto_wire_header){.message = batch_message(pair.batch, SAMPLES)};
        header.tensor_count = (uint32_t)part_count;
        for (size_t i = 0; i < part_count; i++) {
            CHECK(proto_wire_part_describe(&parts[i], pair.batch, SAMPLES, &header.tensors[i]));
            header.tensors[i].hash =
                proto_hash(proto_wire_part_data(&parts[i], pair.batch), header.tensors[i].bytes);
        }
        struct proto_wire_tensor *first = &header.tensors[0];
        size_t first_bytes = first->bytes, frames = part_count;
        if (c == 0) first->shape[0] = 4;
        if (c == 1) first->bytes++;
        if (c == 2) first->shape[1] = 9;
        if (c == 3) first->dtype = PROTO_WIRE_U32;
        if (c == 4) first->name[3] = 'r';
        if (c == 5) first->hash ^= 1;
        if (c == 6) header.tensor_count--;
        if (c == 7) first_bytes--;
        if (c == 8) frames = 0;
        uint8_t bytes[8192];
        size_t size_bytes = 0;
        CHECK_OK(proto_wire_encode(&header, bytes, sizeof bytes, &size_bytes, &error), error);
        zmq_send(pair.dealer, bytes, size_bytes, frames > 0 ? ZMQ_SNDMORE : 0);
        for (size_t i = 0; i < frames; i++)
            zmq_send(pair.dealer, proto_wire_part_data(&parts[i], pair.batch),
                     i == 0 ? first_bytes : header.tensors[i].bytes,
                     i + 1 < frames ? ZMQ_SNDMORE : 0);
        struct proto_message got;
        CHECK(!receive_now(pair.router, &pair.peer, pair.target, &got, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, cases[c].says);
        CHECK_INT(got.kind, PROTO_KIND_BATCH);
        CHECK_INT(got.batch.ticket, 77);
        // it was consumed whole: the next message is read from its beginning
        const struct proto_message bye = {.kind = PROTO_KIND_BYE};
        send_now(pair.dealer, NULL, &bye, PROTO_RAW);
        CHECK_OK(receive_now(pair.router, &pair.peer, pair.target, &got, &error), error);
        CHECK_INT(got.kind, PROTO_KIND_BYE);
    }
    pair_close(&pair);
}

// 20,000 batches with 1 to 4 flipped bits, anywhere in the message; every second one with a header
// whose check was made right again, so that the fields behind it are reached. Nothing may crash,
// and what is accepted must be what was sent.
TEST(wire_survives_mutations_and_accepts_no_wrong_byte) {
    enum { ROUNDS = 20000 };
    struct pair pair;
    pair_open(&pair, "inproc://mutations");
    struct proto_random random = proto_random_at(11, PROTO_PURPOSE_DIFFUSION, 1);
    batch_fill(pair.batch, 2);
    const struct proto_message message = batch_message(pair.batch, SAMPLES);
    uint32_t accepted = 0, refused = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct proto_error error = {0};
        send_now(pair.dealer, NULL, &message, round % 4 < 2 ? PROTO_RAW : PROTO_LZ4);
        // through the router by hand, and on to it again, mutated
        zmq_msg_t frames[32];
        size_t count = 0, total = 0;
        do {
            zmq_msg_init(&frames[count]);
            CHECK(zmq_msg_recv(&frames[count], pair.router, 0) >= 0);
            count++;
        } while (zmq_msg_more(&frames[count - 1]));
        for (size_t i = 1; i < count; i++) total += zmq_msg_size(&frames[i]);
        const bool in_header = round % 2 == 0;
        const uint32_t flips = 1 + proto_random_below(&random, 4);
        for (uint32_t f = 0; f < flips; f++) {
            const size_t range = in_header ? zmq_msg_size(&frames[1]) - 8 : total;
            size_t at = proto_random_below(&random, (uint32_t)range), i = 1;
            while (at >= zmq_msg_size(&frames[i])) at -= zmq_msg_size(&frames[i++]);
            ((uint8_t *)zmq_msg_data(&frames[i]))[at] ^=
                (uint8_t)(1 << proto_random_below(&random, 8));
        }
        if (in_header) {
            uint8_t *bytes = zmq_msg_data(&frames[1]);
            const size_t body = zmq_msg_size(&frames[1]) - 8;
            const uint64_t check = proto_hash(bytes, body);
            for (size_t i = 0; i < 8; i++) bytes[body + i] = (uint8_t)(check >> (56 - 8 * i));
        }
        zmq_msg_close(&frames[0]);
        for (size_t i = 1; i < count; i++)
            CHECK(zmq_msg_send(&frames[i], pair.dealer, i + 1 < count ? ZMQ_SNDMORE : 0) >= 0);
        struct proto_message got;
        if (receive_now(pair.router, &pair.peer, pair.target, &got, &error)) {
            // a right check over a changed number is a right message: build_us, the ticket
            accepted++;
            if (got.kind == PROTO_KIND_BATCH)
                CHECK(batch_same(pair.batch, pair.target, got.batch.count));
            if (!in_header) CHECK(got.batch.ticket == 77 && got.batch.build_us == 1234);
        } else {
            CHECK_INT(error.status, PROTO_DAMAGED);
            CHECK(error.text[0] != '\0');
            refused++;
        }
    }
    print_message("%u mutated messages: %u refused by name, %u unharmed\n", ROUNDS, refused,
                  accepted);
    CHECK(refused > ROUNDS / 2);
    pair_close(&pair);
}

TEST_MAIN(UNIT(wire_carries_every_kind_with_every_field),
          UNIT(wire_batches_arrive_bit_for_bit_raw_and_packed_whole_and_in_part),
          UNIT(wire_lends_batches_and_gets_them_back),
          UNIT(wire_send_tells_a_vanished_peer_from_a_full_one),
          UNIT(wire_refuses_lying_shapes_lengths_and_frames),
          UNIT(wire_survives_mutations_and_accepts_no_wrong_byte))
