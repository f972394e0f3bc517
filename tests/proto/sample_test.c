// tests/proto/sample_test.c - what the network sees: masked history, padded tails, order of
// cameras, and the refusal of what is not a number.
#include "tests/codec_fixture.h"

#include "proto/sample.h"

#include <math.h>

// An episode of made-up observations: pixel values tell moment and camera.
#define MOMENTS 4
#define PIXELS (4 * 6 * 3)
struct episode {
    double states[MOMENTS][PROTO_CHANNELS_MAX];
    double actions[MOMENTS][7];
    uint8_t images[MOMENTS][2][PIXELS];
    struct proto_observation observations[MOMENTS];
};

static void episode_fill(struct episode *e) {
    for (int t = 0; t < MOMENTS; t++) {
        for (int i = 0; i < PROTO_CHANNELS_MAX; i++) e->states[t][i] = 0.01 * i + 0.1 * t;
        for (int i = 0; i < 7; i++) e->actions[t][i] = 0.1 * t + 0.01 * i;
        e->actions[t][6] = t % 2 ? 1 : -1;
        e->observations[t] = (struct proto_observation){.state = e->states[t]};
        for (int c = 0; c < 2; c++) {
            memset(e->images[t][c], 10 * t + c + 1, PIXELS);
            e->observations[t].images[c] = e->images[t][c];
            e->observations[t].frame_ids[c] = (uint64_t)(1000 + 10 * t + c);
        }
    }
}

struct fixture {
    struct proto_codec *codec;
    struct proto_batch *batch;
    struct episode episode;
};
static void fixture_new(struct fixture *f, bool compact) {
    struct proto_error error = {0};
    f->codec = fixture_codec(PROTO_ZSCORE, compact, 2);
    CHECK_OK(proto_batch_new(f->codec, 3, &f->batch, &error), error);
    episode_fill(&f->episode);
}
static void fixture_free(struct fixture *f) {
    proto_batch_free(&f->batch);
    proto_codec_free(&f->codec);
}

TEST(sample_batch_is_one_aligned_zeroed_allocation) {
    struct fixture f;
    fixture_new(&f, false);
    const struct proto_batch *b = f.batch;
    const void *tensors[] = {b->state,         b->state_mask,  b->action_mask, b->action,
                             b->images,        b->image_mask,  b->ctrl_freq,   b->task,
                             b->language_kept, b->steps_valid, b->frame_ids,   b->samples};
    for (size_t i = 0; i < PROTO_COUNT(tensors); i++) {
        CHECK(tensors[i]);
        CHECK_INT((uintptr_t)tensors[i] % 64, 0);
        // behind one another: no tensor reaches into the next
        CHECK(i == 0 || (const char *)tensors[i] > (const char *)tensors[i - 1]);
    }
    for (size_t i = 0; i < 3 * 8 * 128; i++) CHECK(b->action[i] == 0);
    CHECK((const char *)b->images - (const char *)b->action >= 3 * 8 * 128 * 4);
    CHECK((const char *)b->image_mask - (const char *)b->images >= 3 * 2 * 2 * PIXELS);
    fixture_free(&f);
    proto_batch_free(&f.batch);  // NULL is fine
}

TEST(sample_batch_sizes_out_of_range_are_refused) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 1);
    struct proto_batch *batch = NULL;
    struct proto_error error = {0};
    CHECK(!proto_batch_new(codec, 0, &batch, &error));
    CHECK_TEXT(error.text, "a batch of 0 samples, must be 1..65536");
    CHECK(!proto_batch_new(codec, 65537, &batch, &error));
    codec->width = 4000000;
    CHECK(!proto_batch_new(codec, 1, &batch, &error));
    CHECK_HAS(error.text, "out of range");
    codec->width = 128;
    codec->image_height = codec->image_width = PROTO_IMAGE_SIDE_MAX;
    CHECK(!proto_batch_new(codec, 65536, &batch, &error));  // 13 TB
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    CHECK(!batch);
    proto_codec_free(&codec);
}

TEST(sample_in_the_middle_is_encoded_whole) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, false);
    struct proto_batch *b = f.batch;
    const struct proto_observation *history[] = {&f.episode.observations[1],
                                                 &f.episode.observations[2]};
    CHECK_OK(proto_sample_build(f.codec, 1, history, f.episode.actions[2], 2, b, 1, &error), error);
    float y[128], mask[128];
    proto_codec_encode_state(f.codec, 1, f.episode.states[2], y, mask);
    CHECK(memcmp(b->state + 128, y, sizeof y) == 0);  // the current moment, not the older
    CHECK(memcmp(b->state_mask + 128, mask, sizeof mask) == 0);
    proto_codec_encode_action(f.codec, 1, f.episode.actions[2], y, mask);
    CHECK(memcmp(b->action + 8 * 128, y, sizeof y) == 0);
    CHECK(memcmp(b->action_mask + 128, mask, sizeof mask) == 0);
    CHECK_NEAR(b->ctrl_freq[1], 20, 0);
    CHECK_INT(b->task[1], 1);
    CHECK_INT(b->language_kept[1], 1);
    CHECK_INT(b->steps_valid[1], 2);
    // oldest first, cameras in the codec's order
    for (int h = 0; h < 2; h++)
        for (int c = 0; c < 2; c++) {
            const int i = 4 + 2 * h + c;
            CHECK_INT(b->image_mask[i], 1);
            CHECK_INT(b->frame_ids[i], 1000 + 10 * (h + 1) + c);
            CHECK(memcmp(b->images + i * PIXELS, f.episode.images[h + 1][c], PIXELS) == 0);
        }
    for (int i = 0; i < 128; i++) CHECK(b->state[i] == 0 && b->state[256 + i] == 0);  // other rows
    fixture_free(&f);
}

TEST(sample_at_step_0_has_masked_history) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, false);
    const struct proto_observation *history[] = {NULL, &f.episode.observations[0]};
    CHECK_OK(proto_sample_build(f.codec, 0, history, f.episode.actions[0], 4, f.batch, 0, &error),
             error);
    for (int c = 0; c < 2; c++) {
        CHECK_INT(f.batch->image_mask[c], 0);
        CHECK_INT(f.batch->frame_ids[c], 0);
        for (int k = 0; k < PIXELS; k++) CHECK_INT(f.batch->images[c * PIXELS + k], 127);
        CHECK_INT(f.batch->image_mask[2 + c], 1);
        CHECK_INT(f.batch->images[(2 + c) * PIXELS], c + 1);
    }
    fixture_free(&f);
}

TEST(sample_without_one_camera_is_masked_there) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, true);
    f.episode.observations[1].images[1] = NULL;
    const struct proto_observation *history[] = {&f.episode.observations[0],
                                                 &f.episode.observations[1]};
    CHECK_OK(proto_sample_build(f.codec, 0, history, f.episode.actions[0], 1, f.batch, 2, &error),
             error);
    static const uint8_t mask[] = {1, 1, 1, 0};
    CHECK(memcmp(f.batch->image_mask + 8, mask, 4) == 0);
    CHECK_INT(f.batch->frame_ids[8 + 3], 0);
    CHECK_INT(f.batch->images[(8 + 3) * PIXELS], 127);
    fixture_free(&f);
}

// Oracle: decoding the padded steps gives no motion and the last grip.
TEST(sample_tail_is_padded_with_rest) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, false);
    const struct proto_observation *history[] = {&f.episode.observations[0],
                                                 &f.episode.observations[1]};
    for (uint32_t rows = 1; rows <= 3; rows++) {
        CHECK_OK(
            proto_sample_build(f.codec, 1, history, f.episode.actions[0], rows, f.batch, 0, &error),
            error);
        CHECK_INT(f.batch->steps_valid[0], rows);
        for (uint32_t i = 0; i < 8; i++) {
            double x[7];
            proto_codec_decode_action(f.codec, 1, f.batch->action + i * 128, x);
            for (int k = 0; k < 6; k++)
                CHECK_NEAR(x[k], i < rows ? f.episode.actions[i][k] : 0, 1e-7);
            CHECK_NEAR(x[6], f.episode.actions[i < rows ? i : rows - 1][6], 0);
        }
    }
    fixture_free(&f);
}

TEST(sample_of_more_actions_than_the_chunk_takes_the_first) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, true);
    double many[40][7] = {{0}};
    for (int i = 0; i < 40; i++) many[i][0] = 0.02 * i;
    const struct proto_observation *history[] = {NULL, &f.episode.observations[1]};
    CHECK_OK(proto_sample_build(f.codec, 0, history, many[0], 40, f.batch, 0, &error), error);
    CHECK_INT(f.batch->steps_valid[0], 8);
    double x[7];
    proto_codec_decode_action(f.codec, 0, f.batch->action + 7 * f.codec->width, x);
    CHECK_NEAR(x[0], 0.14, 1e-7);
    CHECK(f.batch->action[8 * f.codec->width] == 0);  // the next row is untouched
    fixture_free(&f);
}

TEST(sample_of_a_rollout_has_masks_but_no_actions) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, false);
    const struct proto_observation *history[] = {NULL, &f.episode.observations[1]};
    f.batch->action[5] = 7;  // left over from an earlier sample
    CHECK_OK(proto_sample_build(f.codec, 0, history, NULL, 0, f.batch, 0, &error), error);
    CHECK_INT(f.batch->steps_valid[0], 0);
    for (int i = 0; i < 8 * 128; i++) CHECK(f.batch->action[i] == 0);
    CHECK(f.batch->action_mask[39] == 1 && f.batch->action_mask[10] == 1);
    CHECK(f.batch->action_mask[30] == 0 && f.batch->state_mask[30] == 1);
    fixture_free(&f);
}

TEST(sample_that_is_not_finite_is_refused_by_channel) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f, false);
    const struct proto_observation *history[] = {NULL, &f.episode.observations[1]};
    f.episode.states[1][9] = NAN;
    CHECK(!proto_sample_build(f.codec, 0, history, f.episode.actions[0], 2, f.batch, 0, &error));
    CHECK_TEXT(error.text, "state channel eef_pos.0 (obs/ee_pos) is nan, not a finite number");
    CHECK_INT(error.status, PROTO_DAMAGED);
    f.episode.states[1][9] = 0;
    f.episode.actions[1][6] = INFINITY;
    CHECK(!proto_sample_build(f.codec, 0, history, f.episode.actions[0], 2, f.batch, 0, &error));
    CHECK_TEXT(error.text, "action channel gripper (actions) is inf, not a finite number");
    CHECK_TEXT(error.where, "action 1 of the chunk");
    // beyond what is used it does not matter
    CHECK_OK(proto_sample_build(f.codec, 0, history, f.episode.actions[0], 1, f.batch, 0, &error),
             error);
    CHECK(!proto_sample_build(f.codec, 2, history, f.episode.actions[0], 1, f.batch, 0, &error));
    CHECK_TEXT(error.text, "task 2, the codec has 2");
    fixture_free(&f);
}

TEST(sample_action_error_counts_valid_steps_and_action_channels_only) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 1);
    float predicted[8 * 128] = {0}, target[8 * 128] = {0};
    predicted[39] = 2;          // step 0, dx: 4
    predicted[128 + 10] = 1;    // step 1, gripper: 1
    target[128 + 44] = -3;      // step 1, last rotation: 9
    predicted[128 + 50] = 99;   // no action channel
    target[2 * 128 + 39] = 99;  // padding
    CHECK_NEAR(proto_action_error(codec, predicted, target, 1), 4.0 / 7, 1e-15);
    CHECK_NEAR(proto_action_error(codec, predicted, target, 2), 14.0 / 14, 1e-15);
    CHECK(isnan(proto_action_error(codec, predicted, target, 0)));
    proto_codec_free(&codec);
}

TEST_MAIN(UNIT(sample_batch_is_one_aligned_zeroed_allocation),
          UNIT(sample_batch_sizes_out_of_range_are_refused),
          UNIT(sample_in_the_middle_is_encoded_whole), UNIT(sample_at_step_0_has_masked_history),
          UNIT(sample_without_one_camera_is_masked_there), UNIT(sample_tail_is_padded_with_rest),
          UNIT(sample_of_more_actions_than_the_chunk_takes_the_first),
          UNIT(sample_of_a_rollout_has_masks_but_no_actions),
          UNIT(sample_that_is_not_finite_is_refused_by_channel),
          UNIT(sample_action_error_counts_valid_steps_and_action_channels_only))
