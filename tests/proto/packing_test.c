// tests/proto/packing_test.c - lz4 frames come back as they were or not at all.
#include "proto/packing.h"
#include "proto/random.h"
#include "tests/check.h"

#define BYTES 20000

static void content(uint8_t bytes[static BYTES]) {
    struct proto_random random = proto_random_at(3, PROTO_PURPOSE_DIFFUSION, 0);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = i % 100 < 50 ? (uint8_t)(i / 100) : (uint8_t)proto_random_below(&random, 8);
}

TEST(packing_round_trips_and_shrinks) {
    static uint8_t in[BYTES], out[BYTES], frame[2 * BYTES];
    struct proto_error error = {0};
    size_t packed = 0;
    content(in);
    CHECK(proto_pack_bound(BYTES) <= sizeof frame);
    CHECK_OK(proto_pack(in, BYTES, frame, sizeof frame, &packed, &error), error);
    CHECK(packed < BYTES / 2);
    CHECK_OK(proto_unpack(frame, packed, out, BYTES, &error), error);
    CHECK(memcmp(in, out, BYTES) == 0);
}

// Each bit flip must give an error or the very bytes that went in: the frame carries a checksum of
// its content, and lz4's own result is not enough (a damaged frame may return "more, please").
TEST(packing_bit_flips_give_an_error_or_the_right_bytes) {
    enum { ROUNDS = 20000 };
    static uint8_t in[BYTES], out[BYTES + 64], frame[2 * BYTES];
    struct proto_random random = proto_random_at(4, PROTO_PURPOSE_DIFFUSION, 0);
    struct proto_error error = {0};
    size_t packed = 0;
    uint32_t refused = 0;
    content(in);
    CHECK_OK(proto_pack(in, BYTES, frame, sizeof frame, &packed, &error), error);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        const uint32_t bit = proto_random_below(&random, (uint32_t)(8 * packed));
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memset(out + BYTES, 0xa5, 64);
        if (proto_unpack(frame, packed, out, BYTES, &error))
            CHECK(memcmp(in, out, BYTES) == 0);
        else {
            CHECK_INT(error.status, PROTO_DAMAGED);
            refused++;
        }
        for (size_t i = 0; i < 64; i++) CHECK(out[BYTES + i] == 0xa5);
        frame[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK(refused > ROUNDS * 9 / 10);
}

TEST(packing_refuses_frames_of_another_size) {
    static uint8_t in[BYTES], out[2 * BYTES], frame[2 * BYTES];
    struct proto_error error = {0};
    size_t packed = 0;
    content(in);
    CHECK_OK(proto_pack(in, BYTES, frame, sizeof frame, &packed, &error), error);
    CHECK(!proto_unpack(frame, packed, out, BYTES + 1, &error));
    CHECK_HAS(error.text, "lz4 frame holds 20000 bytes, must be 20001");
    CHECK(!proto_unpack(frame, packed, out, BYTES - 1, &error));
    CHECK(!proto_unpack(frame, packed - 1, out, BYTES, &error));
    CHECK_HAS(error.text, "does not end where its 20000 bytes do");
    frame[packed] = 0;
    CHECK(!proto_unpack(frame, packed + 1, out, BYTES, &error));
    CHECK(!proto_unpack(frame, 0, out, BYTES, &error));
    // two frames, one behind the other
    memcpy(frame + packed, frame, packed);
    CHECK(!proto_unpack(frame, 2 * packed, out, 2 * BYTES, &error));
    CHECK_HAS(error.text, "lz4 frame ends after");
}

TEST(packing_auto_is_raw_on_this_host_and_measures_elsewhere) {
    CHECK(proto_packing_choose("auto", "ipc:///run/x").packing == PROTO_RAW);
    CHECK(proto_packing_choose("auto", "tcp://127.0.0.1:9").packing == PROTO_RAW);
    CHECK(proto_packing_choose("raw", "tcp://node7:9").packing == PROTO_RAW);
    CHECK(proto_packing_choose("lz4", "ipc:///run/x").packing == PROTO_LZ4);
    static const struct {
        const char *name;
        uint64_t packed;
        enum proto_packing expected;
    } cases[] = {{"frames of a simulator", 40, PROTO_LZ4},
                 {"frames of a camera", 95, PROTO_RAW},
                 {"at the limit", 81, PROTO_RAW}};
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_packing_choice choice = proto_packing_choose("auto", "tcp://node7:9");
        TEST_CASE(cases[i].name);
        CHECK(choice.measuring && choice.packing == PROTO_LZ4);
        for (int batch = 0; batch < PROTO_PACK_MEASURE_BATCHES; batch++)
            proto_packing_learn(&choice, 100000, cases[i].packed * 1000);
        CHECK(!choice.measuring);
        CHECK_INT(choice.packing, cases[i].expected);
    }
}

TEST_MAIN(UNIT(packing_round_trips_and_shrinks),
          UNIT(packing_bit_flips_give_an_error_or_the_right_bytes),
          UNIT(packing_refuses_frames_of_another_size),
          UNIT(packing_auto_is_raw_on_this_host_and_measures_elsewhere))
