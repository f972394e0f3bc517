// tests/proto/codec_test.c - the mapping of channels: what is encoded comes back, scales follow
// from statistics, spreads that should make a person look are reported.
#include "tests/codec_fixture.h"

#include "proto/random.h"

#include <math.h>

static const enum proto_transform transforms[] = {PROTO_ZSCORE, PROTO_Q01Q99, PROTO_IDENTITY};

TEST(codec_unified_columns_are_slots_and_compact_ones_run) {
    struct proto_codec *unified = fixture_codec(PROTO_ZSCORE, false, 1);
    struct proto_codec *compact = fixture_codec(PROTO_ZSCORE, true, 1);
    CHECK_INT(unified->width, 128);
    CHECK_INT(compact->width, 18);
    CHECK_INT(unified->state_count, 18);
    CHECK_INT(unified->action_count, 7);
    CHECK_INT(unified->state[7].column, 10);   // first finger
    CHECK_INT(unified->state[9].column, 30);   // eef x
    CHECK_INT(unified->state[17].column, 38);  // last of 6-D
    CHECK_INT(unified->action[0].column, 39);
    CHECK_INT(unified->action[6].column, 10);  // gripper
    for (uint32_t i = 0; i < 18; i++) CHECK_INT(compact->state[i].column, i);
    for (uint32_t i = 0; i < 7; i++) CHECK_INT(compact->action[i].column, i);
    proto_codec_free(&unified);
    proto_codec_free(&compact);
    proto_codec_free(&compact);  // NULL is fine
}

TEST(codec_two_fields_in_one_slot_are_refused_by_name) {
    static const char *const names[] = {"gripper_opening", "gripper_qpos"};
    struct proto_codec codec = {.compact = true};
    struct proto_error error = {0};
    fixture_fields(&codec, names, 2, false);
    CHECK_OK(proto_codec_append(&codec, proto_field_find("gripper", true), "actions", &error),
             error);
    CHECK(!proto_codec_layout(&codec, &error));
    CHECK_TEXT(error.text, "gripper_opening and gripper_qpos both fill slot 10 of the state");
    CHECK_INT(error.status, PROTO_USAGE);
}

TEST(codec_too_many_channels_or_no_action_are_refused) {
    struct proto_codec codec = {0};
    struct proto_error error = {0};
    CHECK(!proto_codec_layout(&codec, &error));
    CHECK_HAS(error.text, "no action channel");
    bool room = true;
    for (int i = 0; i < 10 && room; i++)
        room = proto_codec_append(&codec, proto_field_find("joint_pos", false), "obs/x", &error);
    CHECK(!room);
    CHECK_TEXT(error.text, "with joint_pos the state has more than 64 channels");
    CHECK(codec.state_count <= PROTO_CHANNELS_MAX);
    char name[100];
    memset(name, 'x', sizeof name - 1);
    name[99] = '\0';
    CHECK(!proto_codec_append(&codec, proto_field_find("gripper", true), name, &error));
    CHECK_HAS(error.text, "longer than 63 bytes");
}

// Scales by the formulas of the header.
TEST(codec_scale_follows_from_the_statistics) {
    const struct proto_channel joint = {.field = proto_field_find("joint_pos", false)};
    const struct proto_channel gripper = {.field = proto_field_find("gripper", true)};
    const struct proto_statistics normal = {0.5, 0.2, -1, 2, -0.75, 1.25, 100};
    const struct proto_statistics narrow = {0.5, 2e-4, 0.499, 0.501, 0.4995, 0.5005, 100};
    const struct proto_statistics still = {0.5, 1e-7, 0.5, 0.5000005, 0.5, 0.5, 100};
    static const struct {
        const char *name;
        enum proto_transform transform;
        bool gripper;
        int which;
        double mean, scale;
        bool constant;
    } rows[] = {
        {"zscore", PROTO_ZSCORE, false, 0, 0.5, 0.2, false},
        {"zscore, std below the floor", PROTO_ZSCORE, false, 1, 0.5, 1e-3, false},
        {"zscore, constant", PROTO_ZSCORE, false, 2, 0.5, 1, true},
        {"q01q99", PROTO_Q01Q99, false, 0, 0.25, 1, false},
        {"q01q99 below the floor", PROTO_Q01Q99, false, 1, 0.5, 1e-3, false},
        {"q01q99, constant", PROTO_Q01Q99, false, 2, 0.5, 1, true},
        {"identity", PROTO_IDENTITY, false, 0, 0, 1, false},
        {"gripper under zscore", PROTO_ZSCORE, true, 0, 0, 1, false},
        {"gripper under q01q99", PROTO_Q01Q99, true, 0, 0, 1, false},
        {"gripper that never moves", PROTO_ZSCORE, true, 2, 0, 1, true},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        TEST_CASE(rows[i].name);
        const struct proto_statistics *all[] = {&normal, &narrow, &still};
        struct proto_codec_row row = {.statistics = *all[rows[i].which]};
        proto_codec_row_fit(&row, rows[i].gripper ? &gripper : &joint, rows[i].transform);
        CHECK_NEAR(row.mean, rows[i].mean, 1e-16);
        CHECK_NEAR(row.scale, rows[i].scale, 1e-16);
        CHECK_INT(row.constant, rows[i].constant);
    }
}

// |decoded - x| <= scale * |y| * 2^-24 (rounding y to float) + a few units of double.
static void check_round_trip(const struct proto_codec *codec, uint32_t task,
                             struct proto_random *random) {
    double x[PROTO_CHANNELS_MAX], back[PROTO_CHANNELS_MAX];
    float y[PROTO_UNIFIED_WIDTH], mask[PROTO_UNIFIED_WIDTH], used = 0;
    for (uint32_t i = 0; i < codec->state_count; i++) x[i] = 4 * proto_random_uniform(random) - 2;
    proto_codec_encode_state(codec, task, x, y, mask);
    proto_codec_decode_state(codec, task, y, back);
    for (uint32_t i = 0; i < codec->state_count; i++) {
        const struct proto_codec_row *row = &codec->tasks[task].state[i];
        const double encoded = (x[i] - row->mean) / row->scale;
        CHECK_NEAR(y[codec->state[i].column], encoded, fabs(encoded) * 0x1p-24);
        CHECK_NEAR(back[i], x[i], row->scale * fabs(encoded) * 0x1p-24 + 1e-15);
    }
    for (uint32_t k = 0; k < codec->width; k++) {
        CHECK(mask[k] == 0 || mask[k] == 1);
        CHECK(mask[k] == 1 || y[k] == 0);
        used += mask[k];
    }
    CHECK_NEAR(used, codec->state_count, 0);
    for (uint32_t i = 0; i < codec->action_count; i++) x[i] = 2 * proto_random_uniform(random) - 1;
    proto_codec_encode_action(codec, task, x, y, NULL);
    proto_codec_decode_action(codec, task, y, back);
    for (uint32_t i = 0; i < codec->action_count; i++) {
        const struct proto_codec_row *row = &codec->tasks[task].action[i];
        const double encoded = (x[i] - row->mean) / row->scale;
        CHECK_NEAR(back[i], x[i], row->scale * fabs(encoded) * 0x1p-24 + 1e-15);
    }
}

TEST(codec_what_is_encoded_comes_back) {
    struct proto_random random = proto_random_at(4, PROTO_PURPOSE_WORD, 0);
    for (size_t t = 0; t < PROTO_COUNT(transforms); t++)
        for (int compact = 0; compact < 2; compact++) {
            struct proto_codec *codec = fixture_codec(transforms[t], compact, 3);
            for (int n = 0; n < 50; n++)
                check_round_trip(codec, (uint32_t)n % codec->task_count, &random);
            proto_codec_free(&codec);
        }
}

TEST(codec_each_task_has_its_own_rows) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, true, 2);
    const double x[PROTO_CHANNELS_MAX] = {0};
    float first[PROTO_UNIFIED_WIDTH], second[PROTO_UNIFIED_WIDTH];
    proto_codec_encode_state(codec, 0, x, first, NULL);
    proto_codec_encode_state(codec, 1, x, second, NULL);
    CHECK_NEAR(first[0], 0.3 / 0.02, 1e-5);  // mean -0.3, std 0.02
    CHECK_NEAR(second[0], 0.25 / 0.03, 1e-5);
    proto_codec_free(&codec);
}

// Commands leave within the controller's range; an absolute target of 2 rad stays 2 rad. Encoding
// never clips.
TEST(codec_clips_decoded_commands_and_nothing_else) {
    struct proto_codec *codec = fixture_codec(PROTO_IDENTITY, true, 1);
    double x[PROTO_CHANNELS_MAX] = {1.5, -7, 0.25, 0, 0, 0, -1.1}, back[PROTO_CHANNELS_MAX];
    float y[PROTO_UNIFIED_WIDTH];
    proto_codec_encode_action(codec, 0, x, y, NULL);
    CHECK_NEAR(y[1], -7, 0);
    proto_codec_decode_action(codec, 0, y, back);
    CHECK_NEAR(back[0], 1, 0);
    CHECK_NEAR(back[1], -1, 0);
    CHECK_NEAR(back[2], 0.25, 0);
    CHECK_NEAR(back[6], -1, 0);
    codec->action_count = 0;
    fixture_fields(codec, (const char *const[]){"joint_pos", "gripper"}, 2, true);
    struct proto_error error = {0};
    CHECK_OK(proto_codec_layout(codec, &error), error);
    fixture_rows(codec->tasks[0].action, codec->action, codec->action_count, 0, PROTO_IDENTITY);
    for (int i = 0; i < 8; i++) y[i] = 2;
    proto_codec_decode_action(codec, 0, y, back);
    CHECK_NEAR(back[0], 2, 0);  // rad
    CHECK_NEAR(back[7], 1, 0);  // command
    proto_codec_free(&codec);
}

TEST(codec_rest_is_no_motion_and_the_last_grip) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 1);
    const double last[7] = {0.5, -0.5, 1, 0.1, 0.2, 0.3, 1};
    double x[7];
    proto_codec_rest_action(codec, last, x);
    for (int i = 0; i < 6; i++) CHECK_NEAR(x[i], 0, 0);
    CHECK_NEAR(x[6], 1, 0);
    proto_codec_free(&codec);
}

// Spreads.

struct lines {
    uint32_t count;
    char text[8][512];
};
static void keep_line(void *context, const char *text) {
    struct lines *lines = context;
    if (lines->count < 8) snprintf(lines->text[lines->count], 512, "%s", text);
    lines->count++;
}

TEST(codec_reports_spreads_over_ten_within_a_unit_and_between_tasks) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 2);
    struct lines lines = {0};
    CHECK_INT(proto_codec_spread_report(codec, keep_line, &lines), 0);
    // rotation in "command" 100 times wider than position within task 1, and 10.5x task 0's
    codec->tasks[1].action[0].statistics.std = 0.003;
    codec->tasks[1].action[5].statistics.std = 0.3;
    CHECK_INT(proto_codec_spread_report(codec, keep_line, &lines), 2);
    CHECK_TEXT(lines.text[0], "task_1: action channels in command: std of eef_delta_rot.2 is 0.3, "
                              "of eef_delta_pos.0 0.003: 100x apart");
    CHECK_HAS(lines.text[1], "action channel eef_delta_rot.2 (command): std is 0.3 in task task_1, "
                             "0.02 in task_0: 15x apart");
    // what is constant does not count
    codec->tasks[1].action[0].constant = true;
    codec->tasks[1].action[5].statistics.std = 0.1;
    CHECK_INT(proto_codec_spread_report(codec, keep_line, &lines), 0);
    proto_codec_free(&codec);
}

TEST_MAIN(UNIT(codec_unified_columns_are_slots_and_compact_ones_run),
          UNIT(codec_two_fields_in_one_slot_are_refused_by_name),
          UNIT(codec_too_many_channels_or_no_action_are_refused),
          UNIT(codec_scale_follows_from_the_statistics), UNIT(codec_what_is_encoded_comes_back),
          UNIT(codec_each_task_has_its_own_rows),
          UNIT(codec_clips_decoded_commands_and_nothing_else),
          UNIT(codec_rest_is_no_motion_and_the_last_grip),
          UNIT(codec_reports_spreads_over_ten_within_a_unit_and_between_tasks))
