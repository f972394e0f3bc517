// tests/proto/index_test.c - index.json comes back whole, says no to what cannot be, and finds
// every sample.
#include "tests/check.h"
#include "tests/damage.h"
#include "tests/memory.h"

#include "proto/index.h"
#include "proto/random.h"

#include <math.h>

// Three files, two tasks, episodes of various lengths, every fourth for validation; freed with
// proto_index_free. Episode 2 has one step: no sample under `after`.
static struct proto_index *new_index(bool after, uint32_t episodes) {
    struct proto_error error = {0};
    struct proto_index *index = proto_alloc(sizeof *index, &error);
    CHECK_OK(index, error);
    *index = (struct proto_index){.file_count = 3,
                                  .task_count = 2,
                                  .episode_count = episodes,
                                  .after = after,
                                  .validation_set = 16,
                                  .baselines = {1.5, 1.0 / 3, 0.25}};
    index->files = proto_alloc_array(3, sizeof *index->files, &error);
    index->tasks = proto_alloc_array(2, sizeof *index->tasks, &error);
    index->episodes = proto_alloc_array(episodes, sizeof *index->episodes, &error);
    CHECK(index->files && index->tasks && index->episodes);
    for (uint32_t i = 0; i < 3; i++)
        index->files[i] =
            (struct proto_index_file){.path = proto_format(&error, "/data/set/file_%u.hdf5", i),
                                      .size_bytes = 1000000007ULL * (i + 1),
                                      .hash = 0xfedcba9876543210ULL - i,
                                      .mtime_ns = 1764000000123456789LL + i};
    for (uint32_t i = 0; i < 2; i++)
        index->tasks[i] =
            (struct proto_index_task){.name = proto_format(&error, "KITCHEN_%u", i),
                                      .instruction = proto_format(&error, "Close \"it\" %u.", i)};
    uint64_t next[2] = {0, 0};
    for (uint32_t i = 0; i < episodes; i++) {
        struct proto_index_episode *e = &index->episodes[i];
        e->file = i * 3 / episodes;
        e->task = e->file == 2;
        e->group = proto_format(&error, "data/demo_%u", i);
        e->steps = i == 2 ? 1 : 5 + i * 7 % 11;
        e->validation = i % 4 == 3;
        e->sample_count = after ? e->steps - 1 : e->steps;
        e->sample_first = next[e->validation];
        next[e->validation] += e->sample_count;
    }
    index->train_samples = next[0];
    index->validation_samples = next[1];
    return index;
}

static struct proto_index *write_and_read(const struct proto_index *index, const char *path) {
    struct proto_index *back = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_index_write(path, index, &error), error);
    CHECK_OK(proto_index_read(path, &back, &error), error);
    return back;
}

TEST(index_file_gives_everything_back) {
    char folder[256], path[300];
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/index.json", folder);
    for (int after = 0; after < 2; after++) {
        struct proto_index *index = new_index(after, 20);
        if (after) index->baselines = (struct proto_index_baselines){NAN, NAN, NAN};
        struct proto_index *back = write_and_read(index, path);
        CHECK(back->hash == proto_index_hash(index));
        CHECK_INT(back->after, after);
        CHECK_INT(back->file_count, 3);
        CHECK_INT(back->episode_count, 20);
        CHECK_INT(back->train_samples, index->train_samples);
        CHECK_INT(back->validation_samples, index->validation_samples);
        CHECK_INT(back->validation_set, 16);
        CHECK(after ? isnan(back->baselines.time_mean) : back->baselines.time_mean == 1.0 / 3);
        for (uint32_t i = 0; i < 3; i++) {
            CHECK_TEXT(back->files[i].path, index->files[i].path);
            CHECK(back->files[i].hash == index->files[i].hash);
            CHECK(back->files[i].size_bytes == index->files[i].size_bytes);
            CHECK(back->files[i].mtime_ns == index->files[i].mtime_ns);
        }
        CHECK_TEXT(back->tasks[1].name, "KITCHEN_1");
        CHECK_TEXT(back->tasks[1].instruction, "Close \"it\" 1.");
        for (uint32_t i = 0; i < 20; i++) {
            struct proto_index_episode a = index->episodes[i], b = back->episodes[i];
            CHECK_TEXT(b.group, a.group);
            CHECK(a.file == b.file && a.task == b.task && a.steps == b.steps &&
                  a.validation == b.validation && a.sample_count == b.sample_count &&
                  a.sample_first == b.sample_first);
        }
        proto_index_free(&index);
        proto_index_free(&back);
        proto_index_free(&back);  // NULL is fine
    }
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(index_hash_is_over_contents_not_places) {
    struct proto_index *index = new_index(true, 20);
    const uint64_t hash = proto_index_hash(index);
    index->files[0].path[1] = 'D';
    index->files[1].mtime_ns++;
    index->baselines.mean_action = 9;
    CHECK(proto_index_hash(index) == hash);  // moved and measured again: the same data
    index->files[2].hash++;
    CHECK(proto_index_hash(index) != hash);
    index->files[2].hash--;
    index->episodes[3].validation = false;
    CHECK(proto_index_hash(index) != hash);
    index->episodes[3].validation = true;
    index->after = false;
    CHECK(proto_index_hash(index) != hash);
    index->after = true;
    index->tasks[0].instruction[0] = 'c';
    CHECK(proto_index_hash(index) != hash);
    proto_index_free(&index);
}

// Oracle: walking all episodes in order.
TEST(index_finds_every_sample_of_both_splits) {
    static const uint32_t sizes[] = {1, 2, 3, 4, 5, 20, 257};
    for (size_t s = 0; s < PROTO_COUNT(sizes); s++)
        for (int after = 0; after < 2; after++) {
            struct proto_index *index = new_index(after, sizes[s]);
            uint64_t id[2] = {0, 0};
            for (uint32_t e = 0; e < index->episode_count; e++)
                for (uint32_t j = 0; j < index->episodes[e].sample_count; j++) {
                    const bool validation = index->episodes[e].validation;
                    const struct proto_place place =
                        proto_index_place(index, validation, id[validation]++);
                    CHECK_INT(place.episode, e);
                    CHECK_INT(place.j, j);
                }
            CHECK_INT(id[0], index->train_samples);
            CHECK_INT(id[1], index->validation_samples);
            proto_index_free(&index);
        }
}

// As most sets are: validation episodes at one end, found past long runs of the other split.
TEST(index_finds_samples_of_a_split_that_lies_at_one_end) {
    for (int front = 0; front < 2; front++) {
        struct proto_index *index = new_index(true, 60);
        uint64_t next[2] = {0, 0};
        for (uint32_t e = 0; e < 60; e++) {
            struct proto_index_episode *at = &index->episodes[e];
            at->validation = front ? e < 2 : e >= 58;
            at->sample_first = next[at->validation];
            next[at->validation] += at->sample_count;
        }
        index->train_samples = next[0];
        index->validation_samples = next[1];
        for (int split = 0; split < 2; split++)
            for (uint64_t id = 0; id < next[split]; id++) {
                const struct proto_place place = proto_index_place(index, split, id);
                const struct proto_index_episode *e = &index->episodes[place.episode];
                CHECK_INT(e->validation, split);
                CHECK_INT(e->sample_first + place.j, id);
                CHECK(place.j < e->sample_count);
            }
        proto_index_free(&index);
    }
}

TEST(index_file_that_was_damaged_is_refused_by_name) {
    static const struct {
        const char *from, *to, *says;
    } damage[] = {
        {"\"file\": 2", "\"file\": 3", "file is 3, there are 3"},
        {"\"file\": 2", "\"file\": 0", "not in the order of their files"},
        {"\"file\": 2", "\"file\": -1", "episodes["},
        {"\"file\": 2", "\"file\": 18446744073709551616", "not valid JSON"},
        {"\"task\": 1", "\"task\": 2", "task is 2, there are 2"},
        {"\"steps\": 5", "\"steps\": 6", "episodes[0]: sample_count is 4, 6 steps give 5"},
        {"\"steps\": 5", "\"steps\": 0", "episodes[0]: steps is 0, must be 1..10000000"},
        {"\"steps\": 5", "\"steps\": 5.0", "steps"},
        {"\"sample_first\": 4", "\"sample_first\": 5", "the next free id is 4"},
        {"\"train_samples\": ", "\"train_samples\": 1", "the episodes have"},
        {"\"validation\": true", "\"validation\": false", "sample_first is 0, the next free id is"},
        {"\"validation\": true", "\"validation\": 1", "validation"},
        {"\"KITCHEN_1\"", "\"KITCHEN_0\"", "tasks[1]: task \"KITCHEN_0\" is there twice"},
        {"\"Close ", "\"Open ", "does not have the hash"},
        {"\"data/demo_0\"", "\"\"", "group is empty"},
        {"\"/data/set/file_0.hdf5\"", "\"file_0.hdf5\"", "files[0]: path is not absolute"},
        {"\"hash\": \"fedc", "\"hash\": \"ffdc", "does not have the hash"},
        {"\"hash\": \"fedc", "\"hash\": \"zzzz", "files[0]"},
        {"\"mean_action\": 1.5", "\"mean_action\": -1.5", "mean_action is -1.5"},
        {"\"mean_action\": 1.5,", "", "mean_action"},
        {"\"alignment\": \"after\"", "\"alignment\": \"during\"", "must be after or before"},
        {"\"alignment\": \"after\"", "\"alignment\": \"before\"", "sample_count"},
        {"\"version\": 1", "\"version\": 7", "version is 7, this build reads 1"},
        {"\"tasks\": [", "\"tasks\": 5, \"more\": [", "unknown key \"more\""},
        {"{", "[", "not valid JSON"},
    };
    char folder[256], path[300];
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/index.json", folder);
    struct proto_index *index = new_index(true, 20);
    struct proto_index *back = write_and_read(index, path);
    proto_index_free(&back);
    for (size_t i = 0; i < PROTO_COUNT(damage); i++) {
        TEST_CASE(damage[i].to);
        struct damage done = damage_do(path, damage[i].from, damage[i].to);
        CHECK(!proto_index_read(path, &back, &error));
        CHECK(!back);
        CHECK_INT(error.status, PROTO_DAMAGED);
        damage_says(&error, path, damage[i].says);
        damage_undo(&done);
    }
    TEST_CASE("");
    CHECK_OK(proto_file_write(path, "[]", 2, &error), error);
    CHECK(!proto_index_read(path, &back, &error));
    CHECK_OK(proto_file_write(path, "", 0, &error), error);
    CHECK(!proto_index_read(path, &back, &error));
    CHECK_OK(proto_folder_remove(folder, &error), error);
    proto_index_free(&index);
}

TEST(index_that_cannot_be_is_not_written) {
    struct proto_index *index = new_index(true, 20);
    struct proto_error error = {0};
    index->episodes[5].task = 9;
    CHECK(!proto_index_write("/nonexistent/index.json", index, &error));
    CHECK_TEXT(error.text, "task is 9, there are 2");
    CHECK_HAS(error.where, "episodes[5]");
    index->episodes[5].task = 0;
    index->validation_samples = 0;
    CHECK(!proto_index_write("/nonexistent/index.json", index, &error));
    proto_index_free(&index);
}

TEST(index_file_without_memory_is_an_error_not_a_crash) {
    char folder[256], path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/index.json", folder);
    struct proto_index *index = new_index(true, 20), *back = NULL;
    struct proto_error error = {0};
    bool done = false;
    for (size_t count = 0; !done; count = memory_next(count)) {
        CHECK(count < 1000000);
        memory_allow(count);
        done = proto_index_write(path, index, &error);
        memory_restore();
        CHECK(done || error.status == PROTO_EXHAUSTED);
        CHECK(done || !proto_path_exists(path));
    }
    done = false;
    for (size_t count = 0; !done; count = memory_next(count)) {
        CHECK(count < 1000000);
        memory_allow(count);
        done = proto_index_read(path, &back, &error);
        memory_restore();
        // jansson calls some of its own failed allocations an invalid token
        CHECK(done || error.status == PROTO_EXHAUSTED || error.status == PROTO_DAMAGED);
        CHECK(done == (back != NULL));
    }
    CHECK(back->hash == proto_index_hash(index));
    proto_index_free(&back);
    proto_index_free(&index);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(index_file_without_memory_is_an_error_not_a_crash),
          UNIT(index_file_gives_everything_back), UNIT(index_hash_is_over_contents_not_places),
          UNIT(index_finds_every_sample_of_both_splits),
          UNIT(index_finds_samples_of_a_split_that_lies_at_one_end),
          UNIT(index_file_that_was_damaged_is_refused_by_name),
          UNIT(index_that_cannot_be_is_not_written))
