// tests/proto/codec_file_test.c - codec.json: what is stored comes back bit for bit, what was
// damaged is refused by name.
#include "tests/codec_fixture.h"
#include "tests/damage.h"
#include "tests/memory.h"

#include "proto/random.h"

#include <math.h>

static const enum proto_transform transforms[] = {PROTO_ZSCORE, PROTO_Q01Q99, PROTO_IDENTITY};

static struct proto_codec *write_and_read(struct proto_codec *codec, const char *path) {
    struct proto_codec *back = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_codec_write(path, codec, &error), error);
    CHECK_OK(proto_codec_read(path, &back, &error), error);
    return back;
}

TEST(codec_file_gives_every_number_back) {
    char folder[256], path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/codec.json", folder);
    for (size_t t = 0; t < PROTO_COUNT(transforms); t++) {
        struct proto_codec *codec = fixture_codec(transforms[t], t == 1, 2);
        // numbers with no short decimal form, subnormal, negative zero
        codec->tasks[1].state[3].statistics.std = 0x1.fffffffffffffp-2;
        codec->tasks[1].state[3].mean = 1.0 / 3;
        codec->tasks[0].state[0].mean = -0.0;
        codec->tasks[0].action[2].mean = 0x1p-1070;
        codec->control_freq_hz = 29.97;
        struct proto_codec *back = write_and_read(codec, path);
        CHECK(back->hash == codec->hash && back->hash == proto_codec_hash(back));
        CHECK_INT(back->task_count, 2);
        for (uint32_t k = 0; k < 2; k++) {
            const struct proto_codec_task *a = &codec->tasks[k], *b = &back->tasks[k];
            CHECK_TEXT(b->name, a->name);
            CHECK_TEXT(b->instruction, a->instruction);
            CHECK(memcmp(a->state, b->state, sizeof a->state) == 0);
            CHECK(memcmp(a->action, b->action, sizeof a->action) == 0);
        }
        // all else, bit for bit: both were made from zeroed memory
        struct proto_codec a = *codec, b = *back;
        a.tasks = b.tasks = NULL;
        CHECK(memcmp(&a, &b, sizeof a) == 0);
        proto_codec_free(&codec);
        proto_codec_free(&back);
    }
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(codec_hash_changes_with_every_part) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 1);
    const uint64_t hash = proto_codec_hash(codec);
    codec->tasks[0].action[6].statistics.max =
        nextafter(codec->tasks[0].action[6].statistics.max, 9);
    CHECK(proto_codec_hash(codec) != hash);
    codec->tasks[0].action[6].statistics.max =
        nextafter(codec->tasks[0].action[6].statistics.max, 0);
    CHECK(proto_codec_hash(codec) == hash);
    codec->after = false;
    CHECK(proto_codec_hash(codec) != hash);
    codec->after = true;
    codec->image_std = nextafterf(codec->image_std, 1);
    CHECK(proto_codec_hash(codec) != hash);
    proto_codec_free(&codec);
}

TEST(codec_file_that_was_damaged_is_refused_by_name) {
    static const struct {
        const char *from, *to, *says;
    } damage[] = {
        {"\"zscore\"", "\"zsore\"", "transform is \"zsore\", no name that is known"},
        {"\"width\": 128", "\"width\": 64", "width is 64, the layout has 128"},
        {"\"chunk\": 8", "\"chunk\": 257", "chunk"},
        {"\"chunk\": 8", "\"chunk\": 0", "chunk is 0, must be 1..256"},
        {"\"history\": 2,", "", "history"},
        {"\"history\": 2", "\"history\": \"2\"", "history"},
        {"\"slot\": 11", "\"slot\": 10", "state[8]: slot is 10, gripper_qpos.1 is in 11"},
        {"\"slot\": 11", "\"slot\": -1", "state[8]"},
        {"\"column\": 11", "\"column\": 4000000000", "state[8]"},
        {"\"component\": 6", "\"component\": 7", "component is 7, joint_pos has 7"},
        {"\"joint_pos\"", "\"joint_pose\"", "field \"joint_pose\" is not known"},
        {"\"rad\"", "\"deg\"", "joint_pos is deg, absolute, continuous there"},
        {"obs/joint_states", "obs/ee_pos", "source \"obs/ee_pos\" cannot serve joint_pos"},
        {"\"eye_in_hand\"", "\"agentview\"", "camera \"agentview\" is there twice"},
        {"\"opengl\"", "\"sideways\"", "must be opengl or opencv"},
        {"\"task_1\"", "\"task_0\"", "tasks[1]: task \"task_0\" is there twice"},
        {"\"do thing 0.\"", "\"do thing 9.\"", "does not have the hash"},
        {"\"std\": 0.02", "\"std\": -0.02", "std is -0.02, below 0"},
        {"\"count\": 1000", "\"count\": 0", "count is 0"},
        {"\"count\": 1000", "\"count\": 1e999", "not valid JSON"},
        {"\"constant\": false", "\"constant\": 0", "constant"},
        {"\"version\": 1", "\"version\": 2", "version is 2, this build reads 1"},
        {"\"pipeline-codec\"", "\"pipeline-index\"", "expected \"pipeline-codec\""},
        {"\"layout\"", "\"extra\": 1, \"layout\"", "unknown key \"extra\""},
        {"\"layout\"", "\"width\": 128, \"layout\"", "not valid JSON"},  // a key twice
        {"\"hash\": \"", "\"hash\": \"x", "hash"},
    };
    char folder[256], path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/codec.json", folder);
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 2);
    struct proto_codec *back = write_and_read(codec, path);
    proto_codec_free(&back);
    for (size_t i = 0; i < PROTO_COUNT(damage); i++) {
        TEST_CASE(damage[i].to);
        struct proto_error error = {0};
        struct damage done = damage_do(path, damage[i].from, damage[i].to);
        CHECK(!proto_codec_read(path, &back, &error));
        CHECK(!back);
        CHECK_INT(error.status, PROTO_DAMAGED);
        damage_says(&error, path, damage[i].says);
        damage_undo(&done);
    }
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
    CHECK(!proto_codec_read(path, &back, &error));  // a missing file
    CHECK_INT(error.status, PROTO_DAMAGED);
    proto_codec_free(&codec);
}

// One byte anywhere replaced by any other: refused, or the very same content (a blank for a blank).
TEST(codec_file_with_any_one_byte_wrong_is_refused_or_the_same) {
    char folder[256], path[300], *text = NULL;
    size_t size_bytes = 0, refused = 0;
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/codec.json", folder);
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, true, 1), *back = NULL;
    CHECK_OK(proto_codec_write(path, codec, &error), error);
    CHECK_OK(proto_file_read(path, 1 << 24, PROTO_DAMAGED, &text, &size_bytes, &error), error);
    struct proto_random random = proto_random_at(7, PROTO_PURPOSE_WORD, 0);
    for (int n = 0; n < 1000; n++) {
        const uint32_t at = proto_random_below(&random, (uint32_t)size_bytes);
        const char kept = text[at];
        text[at] = (char)proto_random_below(&random, 256);
        FILE *file = fopen(path, "wb");  // no fsync: a thousand of them
        CHECK(file && fwrite(text, 1, size_bytes, file) == size_bytes && fclose(file) == 0);
        if (proto_codec_read(path, &back, &error)) {
            CHECK(back->hash == codec->hash && proto_codec_hash(back) == codec->hash);
            proto_codec_free(&back);
        } else {
            CHECK_INT(error.status, PROTO_DAMAGED);
            refused++;
        }
        text[at] = kept;
    }
    CHECK(refused > 300);
    free(text);
    proto_codec_free(&codec);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(codec_that_cannot_be_is_not_written) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, false, 1);
    struct proto_error error = {0};
    codec->tasks[0].state[4].scale = 0;
    CHECK(!proto_codec_write("/nonexistent/codec.json", codec, &error));
    CHECK_HAS(error.text, "scale is 0, must be above 0");
    CHECK_HAS(error.where, "tasks[0]: state[4]");
    codec->tasks[0].state[4].scale = NAN;
    CHECK(!proto_codec_check(codec, &error));
    codec->tasks[0].state[4].scale = 1;
    codec->tasks[0].state[4].statistics.q99 = INFINITY;
    CHECK(!proto_codec_check(codec, &error));
    CHECK_HAS(error.text, "q99 is inf");
    codec->tasks[0].state[4].statistics.q99 = codec->tasks[0].state[4].statistics.max;
    CHECK_OK(proto_codec_check(codec, &error), error);
    free(codec->tasks[0].name);
    codec->tasks[0].name = strdup("\xff\xfe");
    CHECK(!proto_codec_write("/nonexistent/codec.json", codec, &error));
    CHECK_HAS(error.text, "UTF-8");
    proto_codec_free(&codec);
}

TEST(codec_file_without_memory_is_an_error_not_a_crash) {
    char folder[256], path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/codec.json", folder);
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, true, 1), *back = NULL;
    struct proto_error error = {0};
    bool done = false;
    for (size_t count = 0; !done; count = memory_next(count)) {
        CHECK(count < 1000000);
        memory_allow(count);
        done = proto_codec_write(path, codec, &error);
        memory_restore();
        CHECK(done || error.status == PROTO_EXHAUSTED);
        CHECK(done || !proto_path_exists(path));
    }
    done = false;
    for (size_t count = 0; !done; count = memory_next(count)) {
        CHECK(count < 1000000);
        memory_allow(count);
        done = proto_codec_read(path, &back, &error);
        memory_restore();
        // jansson calls some of its own failed allocations an invalid token
        CHECK(done || error.status == PROTO_EXHAUSTED || error.status == PROTO_DAMAGED);
        CHECK(done == (back != NULL));
    }
    CHECK(back->hash == codec->hash);
    proto_codec_free(&back);
    proto_codec_free(&codec);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(codec_file_without_memory_is_an_error_not_a_crash),
          UNIT(codec_file_gives_every_number_back), UNIT(codec_hash_changes_with_every_part),
          UNIT(codec_file_that_was_damaged_is_refused_by_name),
          UNIT(codec_file_with_any_one_byte_wrong_is_refused_or_the_same),
          UNIT(codec_that_cannot_be_is_not_written))
