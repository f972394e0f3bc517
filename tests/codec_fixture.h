// tests/codec_fixture.h - a codec like LIBERO's for tests: 18 state channels, 7 action channels,
// two cameras, made-up but plausible statistics that differ per channel and per task.
#ifndef TESTS_CODEC_FIXTURE_H
#define TESTS_CODEC_FIXTURE_H

#include "tests/check.h"

#include "proto/codec.h"

static inline void fixture_fields(struct proto_codec *codec, const char *const *names, size_t count,
                                  bool action) {
    struct proto_error error = {0};
    for (size_t i = 0; i < count; i++) {
        const struct proto_field *field = proto_field_find(names[i], action);
        CHECK(field);
        CHECK_OK(proto_codec_append(codec, field, action ? "actions" : field->sources[0], &error),
                 error);
    }
}

static inline void fixture_rows(struct proto_codec_row *rows, const struct proto_channel *channels,
                                uint32_t count, uint32_t task, enum proto_transform transform) {
    for (uint32_t i = 0; i < count; i++) {
        const double mean = 0.1 * i - 0.3 + 0.05 * task, std = 0.02 * (i % 5 + 1) + 0.01 * task;
        rows[i].statistics = (struct proto_statistics){.mean = mean,
                                                       .std = std,
                                                       .min = mean - 3 * std,
                                                       .max = mean + 4 * std,
                                                       .q01 = mean - 2 * std,
                                                       .q99 = mean + 2.5 * std,
                                                       .count = 1000 + i};
        proto_codec_row_fit(&rows[i], &channels[i], transform);
    }
}

// Freed with proto_codec_free. Tasks are "task_0", "task_1", ... "do thing 0.", ...
static inline struct proto_codec *fixture_codec(enum proto_transform transform, bool compact,
                                                uint32_t tasks) {
    static const char *const state[] = {"joint_pos", "gripper_qpos", "eef_pos", "eef_rot6d"};
    static const char *const action[] = {"eef_delta_pos", "eef_delta_rot", "gripper"};
    struct proto_error error = {0};
    struct proto_codec *codec = proto_alloc(sizeof *codec, &error);
    CHECK_OK(codec, error);
    *codec = (struct proto_codec){.transform = transform,
                                  .compact = compact,
                                  .action_min = -1,
                                  .action_max = 1,
                                  .control_freq_hz = 20,
                                  .action_stride = 1,
                                  .after = true,
                                  .chunk = 8,
                                  .history = 2,
                                  .cameras = {"agentview", "eye_in_hand"},
                                  .camera_count = 2,
                                  .image_height = 4,
                                  .image_width = 6,
                                  .image_orientation = "opengl",
                                  .image_mean = {0.4f, 0.45f, 0.5f},
                                  .image_std = 0.22f,
                                  .task_count = tasks};
    fixture_fields(codec, state, PROTO_COUNT(state), false);
    fixture_fields(codec, action, PROTO_COUNT(action), true);
    CHECK_OK(proto_codec_layout(codec, &error), error);
    codec->tasks = proto_alloc_array(tasks, sizeof *codec->tasks, &error);
    CHECK_OK(codec->tasks, error);
    for (uint32_t t = 0; t < tasks; t++) {
        codec->tasks[t].name = proto_format(&error, "task_%u", t);
        codec->tasks[t].instruction = proto_format(&error, "do thing %u.", t);
        CHECK(codec->tasks[t].name && codec->tasks[t].instruction);
        fixture_rows(codec->tasks[t].state, codec->state, codec->state_count, t, transform);
        fixture_rows(codec->tasks[t].action, codec->action, codec->action_count, t, transform);
    }
    return codec;
}

#endif
