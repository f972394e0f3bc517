// tests/loader/augment_test.c - noise and dropout: the same for the same position, different for
// others, with the promised size and frequency, and with exactly the promised effect.
#include "tests/codec_fixture.h"

#include "loader/augment.h"

#include <math.h>

#define PIXELS (4 * 6 * 3)

struct fixture {
    struct proto_codec *codec;
    struct proto_batch *batch;
};
static void fixture_new(struct fixture *f) {
    struct proto_error error = {0};
    f->codec = fixture_codec(PROTO_ZSCORE, false, 2);
    CHECK_OK(proto_batch_new(f->codec, 2, &f->batch, &error), error);
}
static void fixture_free(struct fixture *f) {
    proto_batch_free(&f->batch);
    proto_codec_free(&f->codec);
}

// Row 1 of the batch, whole: history there, both cameras.
static void build(struct fixture *f) {
    static const double numbers[PROTO_CHANNELS_MAX] = {0.5, 0.25};
    static uint8_t pixels[PIXELS];
    struct proto_error error = {0};
    memset(pixels, 9, sizeof pixels);
    const struct proto_observation now = {
        .state = numbers, .images = {pixels, pixels}, .frame_ids = {41, 42}};
    const struct proto_observation *history[] = {&now, &now};
    CHECK_OK(proto_sample_build(f->codec, 1, history, numbers, 1, f->batch, 1, &error), error);
}

TEST(augment_state_noise_is_a_function_of_seed_and_position) {
    struct fixture f;
    fixture_new(&f);
    struct loader_augment augment = {.seed = 42, .state_noise_snr = 40};
    double a[PROTO_CHANNELS_MAX] = {0}, b[PROTO_CHANNELS_MAX] = {0}, c[PROTO_CHANNELS_MAX] = {0};
    loader_augment_state(&augment, f.codec, 0, 7, a);
    loader_augment_state(&augment, f.codec, 0, 7, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    loader_augment_state(&augment, f.codec, 0, 8, c);
    for (uint32_t i = 0; i < 18; i++) CHECK(a[i] != c[i] && a[i] != 0);
    CHECK(a[18] == 0);  // behind the last channel
    augment.seed = 43;
    memset(c, 0, sizeof c);
    loader_augment_state(&augment, f.codec, 0, 7, c);
    CHECK(a[0] != c[0]);
    augment.state_noise_snr = 0;
    loader_augment_state(&augment, f.codec, 0, 7, b);
    CHECK(memcmp(a, b, sizeof a) == 0);
    fixture_free(&f);
}

// std of n = 20000 draws has a standard error of 1 / sqrt(2 n) = 0.5 %, the mean one of 0.7 % of
// std; 4 of them.
TEST(augment_state_noise_has_the_size_of_its_snr) {
    static const double snrs[] = {40, 20, 6};
    struct fixture f;
    fixture_new(&f);
    for (size_t s = 0; s < PROTO_COUNT(snrs); s++) {
        const struct loader_augment augment = {.seed = 1, .state_noise_snr = snrs[s]};
        double sum[18] = {0}, squares[18] = {0};
        const int n = 20000;
        for (int g = 0; g < n; g++) {
            double x[PROTO_CHANNELS_MAX] = {0};
            loader_augment_state(&augment, f.codec, 1, (uint64_t)g, x);
            for (int i = 0; i < 18; i++) {
                sum[i] += x[i];
                squares[i] += x[i] * x[i];
            }
        }
        for (int i = 0; i < 18; i++) {
            const double std = f.codec->tasks[1].state[i].statistics.std * pow(10, -snrs[s] / 20);
            CHECK_NEAR(sqrt(squares[i] / n), std, 0.02 * std);
            CHECK_NEAR(sum[i] / n, 0, 0.03 * std);
        }
    }
    fixture_free(&f);
}

// What each drop does, by which draw: with probability 0.999 all are dropped at most positions.
TEST(augment_everything_dropped_looks_as_promised) {
    struct fixture f;
    fixture_new(&f);
    const struct loader_augment augment = {.seed = 3, .cond_mask_prob = 0.999};
    struct proto_batch *b = f.batch;
    build(&f);
    float action[8 * 128];
    memcpy(action, b->action + 8 * 128, sizeof action);
    loader_augment_conditions(&augment, f.codec, 1, 0, b, 1);
    CHECK_NEAR(b->ctrl_freq[1], 0, 0);
    CHECK_INT(b->language_kept[1], 0);
    for (int i = 0; i < 128; i++) {
        CHECK(b->state_mask[128 + i] == 0 && b->action_mask[128 + i] == 0);
        CHECK_NEAR(b->state[128 + i], 0, 0);  // the mean, z-scored
    }
    for (int i = 0; i < 4; i++) {
        CHECK_INT(b->image_mask[4 + i], 0);
        CHECK_INT(b->frame_ids[4 + i], 0);
        for (int k = 0; k < PIXELS; k++) CHECK_INT(b->images[(4 + i) * PIXELS + k], 127);
    }
    CHECK(memcmp(action, b->action + 8 * 128, sizeof action) == 0);  // what is learnt stays
    CHECK_INT(b->steps_valid[1], 1);
    CHECK_INT(b->task[1], 1);
    fixture_free(&f);
}

// With another transform the mean is no zero: it must be what encoding the mean gives.
TEST(augment_dropped_state_is_the_encoded_mean) {
    struct fixture f;
    struct proto_error error = {0};
    f.codec = fixture_codec(PROTO_Q01Q99, false, 2);
    CHECK_OK(proto_batch_new(f.codec, 2, &f.batch, &error), error);
    const struct loader_augment augment = {.seed = 3, .cond_mask_prob = 0.999};
    build(&f);
    loader_augment_conditions(&augment, f.codec, 1, 0, f.batch, 1);
    for (uint32_t i = 0; i < 18; i++) {
        const struct proto_codec_row *row = &f.codec->tasks[1].state[i];
        const double expected = (row->statistics.mean - row->mean) / row->scale;
        CHECK(fabs(expected) > 0.01);
        CHECK_NEAR(f.batch->state[128 + f.codec->state[i].column], expected, 1e-7);
    }
    fixture_free(&f);
}

// n = 20000 draws at p = 0.1: standard error 0.0021; 4.5 of them. Draws are independent: the share
// of two together is p^2 = 0.01 +- 0.0007.
TEST(augment_drops_each_condition_alone_with_its_probability) {
    struct fixture f;
    fixture_new(&f);
    const struct loader_augment augment = {.seed = 4, .cond_mask_prob = 0.1};
    const int n = 20000;
    int dropped[7] = {0}, both = 0;
    for (int g = 0; g < n; g++) {
        build(&f);
        loader_augment_conditions(&augment, f.codec, 1, (uint64_t)g, f.batch, 1);
        const bool state_dropped = f.batch->state_mask[128] == 0;
        CHECK(state_dropped == (f.batch->action_mask[128 + 39] == 0));
        const bool drops[7] = {f.batch->ctrl_freq[1] == 0, state_dropped,
                               !f.batch->image_mask[4],    !f.batch->image_mask[5],
                               !f.batch->image_mask[6],    !f.batch->image_mask[7],
                               !f.batch->language_kept[1]};
        for (int i = 0; i < 7; i++) dropped[i] += drops[i];
        both += drops[1] && drops[6];
    }
    for (int i = 0; i < 7; i++) CHECK_NEAR((double)dropped[i] / n, 0.1, 0.0095);
    CHECK_NEAR((double)both / n, 0.01, 0.0032);
    fixture_free(&f);
}

TEST(augment_with_probability_0_changes_nothing) {
    struct fixture f;
    fixture_new(&f);
    const struct loader_augment augment = {.seed = 4};
    build(&f);
    for (uint64_t g = 0; g < 1000; g++)
        loader_augment_conditions(&augment, f.codec, 1, g, f.batch, 1);
    CHECK_NEAR(f.batch->ctrl_freq[1], 20, 0);
    CHECK(f.batch->state_mask[128] == 1 && f.batch->action_mask[128 + 39] == 1);
    CHECK_INT(f.batch->images[4 * PIXELS], 9);
    CHECK_INT(f.batch->frame_ids[5], 42);
    fixture_free(&f);
}

TEST_MAIN(UNIT(augment_state_noise_is_a_function_of_seed_and_position),
          UNIT(augment_state_noise_has_the_size_of_its_snr),
          UNIT(augment_everything_dropped_looks_as_promised),
          UNIT(augment_dropped_state_is_the_encoded_mean),
          UNIT(augment_drops_each_condition_alone_with_its_probability),
          UNIT(augment_with_probability_0_changes_nothing))
