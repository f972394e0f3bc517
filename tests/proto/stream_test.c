// tests/proto/stream_test.c - every sample once per epoch, in an order that only the seed decides.
#include "proto/stream.h"
#include "tests/check.h"

#include <math.h>

static const uint64_t sizes[] = {1,    2,     3,     4,     7,     15,    16,   17,
                                 64,   65,    255,   256,   257,   1000,  1024, 4095,
                                 4097, 16384, 65535, 65536, 65537, 100003};

TEST(stream_visits_every_sample_once_per_epoch) {
    uint8_t *seen = malloc(100003);
    for (size_t i = 0; i < PROTO_COUNT(sizes); i++)
        for (uint64_t epoch = 0; epoch < 3; epoch++) {
            const struct proto_stream stream = {42, sizes[i], PROTO_PURPOSE_SHUFFLE};
            memset(seen, 0, 100003);
            for (uint64_t j = 0; j < sizes[i]; j++) {
                const uint64_t sample = proto_stream_sample(&stream, epoch * sizes[i] + j);
                CHECK(sample < sizes[i]);
                CHECK_INT(seen[sample]++, 0);
            }
        }
    free(seen);
}

TEST(stream_large_epochs_are_permuted_too) {
    // 2^40 and its neighbours cannot be visited whole; equal samples in 5000 would show a fault
    static const uint64_t large[] = {(1ull << 40) - 1, 1ull << 40, (1ull << 33) + 1};
    for (size_t i = 0; i < PROTO_COUNT(large); i++) {
        const struct proto_stream stream = {7, large[i], PROTO_PURPOSE_SHUFFLE};
        static uint64_t samples[5000];
        for (uint64_t j = 0; j < 5000; j++) {
            samples[j] = proto_stream_sample(&stream, j);
            CHECK(samples[j] < large[i]);
            for (uint64_t k = 0; k < j; k++) CHECK(samples[j] != samples[k]);
        }
    }
}

// Shares of positions with equal samples: about 1 of n between independent permutations.
static uint64_t equal_places(const struct proto_stream *a, uint64_t from_a,
                             const struct proto_stream *b, uint64_t from_b) {
    uint64_t equal = 0;
    for (uint64_t j = 0; j < a->n; j++)
        equal += proto_stream_sample(a, from_a + j) == proto_stream_sample(b, from_b + j);
    return equal;
}

TEST(stream_differs_between_epochs_seeds_and_purposes) {
    const uint64_t n = 1000;
    const struct proto_stream a = {42, n, PROTO_PURPOSE_SHUFFLE},
                              b = {43, n, PROTO_PURPOSE_SHUFFLE},
                              c = {42, n, PROTO_PURPOSE_VALIDATION},
                              d = {42 + (1ull << 32), n, PROTO_PURPOSE_SHUFFLE};
    // fixed points are Poisson with mean 1: more than 10 happen once in 10^8
    CHECK(equal_places(&a, 0, &a, n) <= 10);
    CHECK(equal_places(&a, 0, &b, 0) <= 10);
    CHECK(equal_places(&a, 0, &c, 0) <= 10);
    CHECK(equal_places(&a, 0, &d, 0) <= 10);
    CHECK_INT(equal_places(&a, 5 * n, &a, 5 * n), n);
}

TEST(stream_each_place_gets_every_sample_alike) {
    // sample at a fixed place over 6000 epochs of n = 12: chi square, 11 degrees of freedom
    const struct proto_stream stream = {5, 12, PROTO_PURPOSE_SHUFFLE};
    for (uint64_t place = 0; place < 12; place++) {
        double counts[12] = {0}, chi = 0;
        for (uint64_t epoch = 0; epoch < 6000; epoch++)
            counts[proto_stream_sample(&stream, epoch * 12 + place)]++;
        for (int i = 0; i < 12; i++) chi += (counts[i] - 500) * (counts[i] - 500) / 500;
        CHECK(chi < 41);  // p = 0.00002, twelve tries
    }
}

TEST(stream_small_epochs_reach_every_order) {
    // the 24 orders of four samples over 4800 epochs: chi square, 23 degrees of freedom
    const struct proto_stream stream = {9, 4, PROTO_PURPOSE_SHUFFLE};
    double counts[256] = {0}, chi = 0;
    int orders = 0;
    for (uint64_t epoch = 0; epoch < 4800; epoch++) {
        unsigned order = 0;
        for (uint64_t j = 0; j < 4; j++)
            order = order << 2 | (unsigned)proto_stream_sample(&stream, 4 * epoch + j);
        counts[order & 255]++;
    }
    for (int i = 0; i < 256; i++) {
        if (counts[i] <= 0) continue;
        orders++;
        chi += (counts[i] - 200) * (counts[i] - 200) / 200;
    }
    CHECK_INT(orders, 24);
    CHECK(chi < 58.6);  // p = 0.00006
}

TEST(stream_neighbours_are_not_correlated) {
    // correlation of sample g and g + 1 over an epoch of 10000: deviation 1 / sqrt(n)
    const struct proto_stream stream = {11, 10000, PROTO_PURPOSE_SHUFFLE};
    double sum = 0;
    for (uint64_t g = 0; g + 1 < 10000; g++)
        sum += ((double)proto_stream_sample(&stream, g) - 4999.5) *
               ((double)proto_stream_sample(&stream, g + 1) - 4999.5);
    CHECK_NEAR(sum / 10000 / (1e8 / 12), 0, 5 / sqrt(10000));
}

TEST(ledger_is_a_sum_in_any_order_that_notices_loss_doubling_and_exchange) {
    uint64_t forward = 0, backward = 0, lost = 0, doubled = 0, exchanged = 0;
    for (uint64_t g = 0; g < 1000; g++) {
        forward += proto_ledger_entry(g, 3 * g);
        backward += proto_ledger_entry(999 - g, 3 * (999 - g));
        if (g != 500) lost += proto_ledger_entry(g, 3 * g);
        doubled += proto_ledger_entry(g, 3 * g) * (g == 500 ? 2 : 1);
        exchanged += proto_ledger_entry(g, g == 10 ? 33 : g == 11 ? 30 : 3 * g);
    }
    CHECK(forward == backward);
    CHECK(forward != lost && forward != doubled && forward != exchanged);
    // oracle: xxh64 of the 16 little-endian bytes of (1, 2), from the algorithm written out in
    // Python
    CHECK(proto_ledger_entry(1, 2) == 0x4b180fec3ef3d4acu);
}

TEST(slices_of_the_ranks_partition_each_micro_step) {
    static const struct { uint32_t batch, ranks; } cases[] = {{16, 2}, {16, 1}, {6, 3}, {4096, 8}};
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        uint64_t next = 1000;
        for (uint64_t micro = 0; micro < 3; micro++)
            for (uint32_t rank = 0; rank < cases[i].ranks; rank++) {
                const struct proto_slice slice =
                    proto_stream_slice(1000, micro, cases[i].batch, cases[i].ranks, rank);
                CHECK_INT(slice.first, next);
                CHECK_INT(slice.count, cases[i].batch / cases[i].ranks);
                next += slice.count;
            }
        CHECK_INT(next, 1000 + 3 * cases[i].batch);
    }
}

TEST_MAIN(UNIT(stream_visits_every_sample_once_per_epoch),
          UNIT(stream_large_epochs_are_permuted_too),
          UNIT(stream_differs_between_epochs_seeds_and_purposes),
          UNIT(stream_each_place_gets_every_sample_alike),
          UNIT(stream_small_epochs_reach_every_order), UNIT(stream_neighbours_are_not_correlated),
          UNIT(ledger_is_a_sum_in_any_order_that_notices_loss_doubling_and_exchange),
          UNIT(slices_of_the_ranks_partition_each_micro_step))
