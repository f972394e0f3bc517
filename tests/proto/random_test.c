// tests/proto/random_test.c - the published generator, and draws that depend on nothing but
// (seed, purpose, position).
#include "proto/error.h"
#include "proto/random.h"
#include "tests/check.h"

#include <math.h>

// Oracle: kat_vectors of Random123 1.09, rows "philox4x32 10".
TEST(random_philox_gives_the_published_answers) {
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        uint32_t out[4];
        proto_philox4x32(cases[i].counter, cases[i].key, out);
        for (int j = 0; j < 4; j++) CHECK_INT(out[j], cases[i].out[j]);
    }
}

TEST(random_seed_purpose_and_position_are_the_key_and_the_counter) {
    const uint64_t seed = 0x299f31d0a4093822u, position = 0x0370734413198a2eu;
    struct proto_random random = proto_random_at(seed, PROTO_PURPOSE_DROPOUT, position);
    for (uint32_t block = 0; block < 3; block++) {
        const uint32_t counter[4] = {block, PROTO_PURPOSE_DROPOUT, 0x13198a2e, 0x03707344};
        const uint32_t key[2] = {0xa4093822, 0x299f31d0};
        uint32_t out[4];
        proto_philox4x32(counter, key, out);
        for (int j = 0; j < 4; j++) CHECK_INT(proto_random_u32(&random), out[j]);
    }
}

// 2 x 4000 numbers of 32 bits: two equal pairs by chance happen once in 10^12 tries.
TEST(random_purposes_positions_and_seeds_share_no_numbers) {
    uint64_t seen[4000];
    size_t count = 0;
    for (uint64_t seed = 0; seed < 10; seed++)
        for (int purpose = 1; purpose <= 10; purpose++)
            for (uint64_t position = 0; position < 40; position++) {
                struct proto_random random =
                    proto_random_at(seed, (enum proto_purpose)purpose, position << 20);
                const uint64_t high = proto_random_u32(&random);
                seen[count++] = high << 32 | proto_random_u32(&random);
            }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++) CHECK(seen[i] != seen[j]);
}

TEST(random_uniform_numbers_fill_the_interval_evenly) {
    enum { DRAWS = 100000, BINS = 16 };
    struct proto_random random = proto_random_at(1, PROTO_PURPOSE_DROPOUT, 2);
    double bins[BINS] = {0}, chi = 0;
    for (int i = 0; i < DRAWS; i++) {
        const double u = proto_random_uniform(&random);
        CHECK(u >= 0 && u < 1);
        bins[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++) {
        const double expected = (double)DRAWS / BINS;
        chi += (bins[i] - expected) * (bins[i] - expected) / expected;
    }
    CHECK(chi < 44.3);  // chi square, 15 degrees of freedom, p = 0.0001
}

TEST(random_below_is_even_and_in_range) {
    static const uint32_t limits[] = {1, 2, 3, 5, 1000, 0x80000001u, UINT32_MAX};
    for (size_t i = 0; i < PROTO_COUNT(limits); i++) {
        struct proto_random random = proto_random_at(3, PROTO_PURPOSE_TIMESTEP, i);
        double low = 0;
        for (int draw = 0; draw < 20000; draw++) {
            const uint32_t x = proto_random_below(&random, limits[i]);
            CHECK(x < limits[i]);
            low += x < limits[i] / 2;
        }
        // five standard deviations of a fair count of 20000; plain modulo misses it at 2^31 + 1
        const double share = (double)(limits[i] / 2) / limits[i];
        CHECK_NEAR(low / 20000, share, 5 * 0.5 / sqrt(20000));
    }
}

TEST(random_normals_have_the_moments_of_a_normal) {
    enum { DRAWS = 200001 };  // odd: the last pair gives one number
    float *x = malloc(DRAWS * sizeof *x);
    double sum[5] = {0};
    struct proto_random random = proto_random_at(42, PROTO_PURPOSE_DIFFUSION, 7);
    proto_random_normal(&random, x, DRAWS);
    for (int i = 0; i < DRAWS; i++) {
        CHECK(isfinite(x[i]));
        double power = 1;
        for (int k = 1; k < 5; k++) sum[k] += power *= (double)x[i];
    }
    // moments 0, 1, 0, 3; variances of their estimates 1, 2, 15, 96 over the count; 5 deviations
    const double unit = 5 / sqrt(DRAWS);
    CHECK_NEAR(sum[1] / DRAWS, 0, unit);
    CHECK_NEAR(sum[2] / DRAWS, 1, unit * sqrt(2));
    CHECK_NEAR(sum[3] / DRAWS, 0, unit * sqrt(15));
    CHECK_NEAR(sum[4] / DRAWS, 3, unit * sqrt(96));
    free(x);
}

TEST(random_normals_consume_two_numbers_a_pair) {
    struct proto_random whole = proto_random_at(1, PROTO_PURPOSE_SAMPLING, 0), parts = whole;
    float a[6], b[6], odd[3];
    proto_random_normal(&whole, a, 6);
    proto_random_normal(&parts, b, 2);
    proto_random_normal(&parts, b + 2, 4);
    CHECK(memcmp(a, b, sizeof a) == 0);
    struct proto_random again = proto_random_at(1, PROTO_PURPOSE_SAMPLING, 0);
    proto_random_normal(&again, odd, 3);
    CHECK(memcmp(a, odd, sizeof odd) == 0);
}

TEST_MAIN(UNIT(random_philox_gives_the_published_answers),
          UNIT(random_seed_purpose_and_position_are_the_key_and_the_counter),
          UNIT(random_purposes_positions_and_seeds_share_no_numbers),
          UNIT(random_uniform_numbers_fill_the_interval_evenly),
          UNIT(random_below_is_even_and_in_range),
          UNIT(random_normals_have_the_moments_of_a_normal),
          UNIT(random_normals_consume_two_numbers_a_pair))
