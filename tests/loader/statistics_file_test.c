// tests/loader/statistics_file_test.c - dataset_statistics.json gives every number back to the
// codec it fits, and refuses by name one it does not fit.
#include "tests/codec_fixture.h"
#include "tests/damage.h"

#include "loader/statistics_file.h"
#include "proto/json.h"

struct fixture {
    char folder[256], path[300];
    struct proto_codec *codec;
    struct proto_statistics pooled[PROTO_CHANNELS_MAX];
};

static void fixture_new(struct fixture *f) {
    struct proto_error error = {0};
    check_folder(f->folder);
    snprintf(f->path, sizeof f->path, "%s/dataset_statistics.json", f->folder);
    f->codec = fixture_codec(PROTO_ZSCORE, false, 2);
    f->codec->tasks[1].state[2].statistics.mean = -1.0 / 3;
    f->codec->tasks[1].state[2].statistics.min = -2.0 / 3;
    for (uint32_t i = 0; i < PROTO_CHANNELS_MAX; i++)
        f->pooled[i] = f->codec->tasks[0].state[0].statistics;
    CHECK_OK(loader_statistics_file_write(f->path, f->codec, f->pooled, f->pooled, &error), error);
}

static void fixture_free(struct fixture *f) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(f->folder, &error), error);
    proto_codec_free(&f->codec);
}

TEST(statistics_file_gives_every_number_back) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f);
    struct proto_codec *other = fixture_codec(PROTO_ZSCORE, false, 2);
    for (uint32_t t = 0; t < 2; t++)
        for (uint32_t i = 0; i < 18; i++) other->tasks[t].state[i] = (struct proto_codec_row){0};
    CHECK_OK(loader_statistics_file_apply(f.path, other, &error), error);
    for (uint32_t t = 0; t < 2; t++) {
        for (uint32_t i = 0; i < 18; i++) {
            struct proto_codec_row expected = f.codec->tasks[t].state[i];
            proto_codec_row_fit(&expected, &other->state[i], PROTO_ZSCORE);
            CHECK(memcmp(&other->tasks[t].state[i], &expected, sizeof expected) == 0);
        }
        CHECK(memcmp(other->tasks[t].action, f.codec->tasks[t].action,
                     7 * sizeof *other->tasks[t].action) == 0);
    }
    proto_codec_free(&other);
    fixture_free(&f);
}

// Other programs read it too: names, units, order, the pooled part.
TEST(statistics_file_names_channels_and_units) {
    struct fixture f;
    struct proto_error error = {0};
    fixture_new(&f);
    json_t *json = proto_json_read(f.path, 1 << 24, &error);
    CHECK_OK(json, error);
    const json_t *task = json_array_get(json_object_get(json, "tasks"), 1);
    CHECK_TEXT(json_string_value(json_object_get(task, "name")), "task_1");
    const json_t *row = json_array_get(json_object_get(task, "state"), 2);
    CHECK_TEXT(json_string_value(json_object_get(row, "channel")), "joint_pos.2");
    CHECK_TEXT(json_string_value(json_object_get(row, "source")), "obs/joint_states");
    CHECK_TEXT(json_string_value(json_object_get(row, "unit")), "rad");
    CHECK_NEAR(json_number_value(json_object_get(row, "mean")), -1.0 / 3, 0);
    CHECK_INT(json_integer_value(json_object_get(row, "count")), 1002);
    row = json_array_get(json_object_get(json_object_get(json, "pooled"), "action"), 6);
    CHECK_TEXT(json_string_value(json_object_get(row, "channel")), "gripper");
    CHECK_TEXT(json_string_value(json_object_get(row, "unit")), "command");
    json_decref(json);
    fixture_free(&f);
}

TEST(statistics_file_that_does_not_fit_is_refused_by_name) {
    static const struct {
        const char *from, *to, *says;
        int status;
    } damage[] = {
        {"\"task_1\"", "\"task_9\"", "task task_1 is not there; it has: task_0, task_9",
         PROTO_USAGE},
        {"\"task_1\"", "\"task_0\"", "task task_0 is there twice", PROTO_DAMAGED},
        {"\"joint_pos.3\"", "\"joint_pos.33\"", "channel joint_pos.3 is not there", PROTO_USAGE},
        {"\"joint_pos.3\"", "\"joint_pos.2\"", "channel joint_pos.2 is there twice", PROTO_DAMAGED},
        {"\"rad\"", "\"deg\"", "joint_pos.0 is in \"deg\" there, in \"rad\" here", PROTO_USAGE},
        {"\"unit\": \"m\"", "\"unit\": \"cm\"", "is in \"cm\" there, in \"m\" here", PROTO_USAGE},
        {"\"std\": 0.02", "\"std\": -0.02", "joint_pos.0: std is -0.02, below 0", PROTO_DAMAGED},
        {"\"std\": 0.02,", "", "std", PROTO_DAMAGED},
        {"\"pooled\"", "\"poled\"", "unknown key \"poled\"", PROTO_DAMAGED},
        {"\"source\"", "\"sauce\"", "unknown key \"sauce\"", PROTO_DAMAGED},
        {"\"version\": 1", "\"version\": 0", "version is 0", PROTO_DAMAGED},
    };
    struct fixture f;
    fixture_new(&f);
    for (size_t i = 0; i < PROTO_COUNT(damage); i++) {
        TEST_CASE(damage[i].to);
        struct proto_error error = {0};
        struct damage done = damage_do(f.path, damage[i].from, damage[i].to);
        const struct proto_codec_task before = f.codec->tasks[0];
        CHECK(!loader_statistics_file_apply(f.path, f.codec, &error));
        CHECK(memcmp(&before, &f.codec->tasks[0], sizeof before) == 0);
        CHECK_INT(error.status, damage[i].status);
        damage_says(&error, f.path, damage[i].says);
        damage_undo(&done);
    }
    TEST_CASE("");
    fixture_free(&f);
}

TEST_MAIN(UNIT(statistics_file_gives_every_number_back),
          UNIT(statistics_file_names_channels_and_units),
          UNIT(statistics_file_that_does_not_fit_is_refused_by_name))
