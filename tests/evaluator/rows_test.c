// tests/evaluator/rows_test.c - start states of a file are its numbers, bit for bit; what a hostile
// or damaged file can hold is refused by name, and nothing is ever executed.
// Oracles: a matrix put into a file by hand; LIBERO's own 130 files; files of
// tests/fuzz/corpus/rows, whose names begin with ok or no.
#include "evaluator/libero.h"

#include "evaluator/pickle.h"
#include "evaluator/stored_zip.h"
#include "tests/evaluator/stored_zip_file.h"
#include "tests/mutate.h"

#define CORPUS TESTS_ROOT "/tests/fuzz/corpus/rows"
#define MUTANTS 30000  // each of archives, of pickles in a sound archive: 60000 inputs

static const double six[] = {0.0, 0.5, -1.25, 1e-300, 2.5e10, -0.161037389};

static void read_named(const struct seeds *seeds, const char *name, const uint8_t **bytes,
                       size_t *size) {
    *bytes = NULL, *size = 0;
    for (size_t i = 0; i < seeds->count; i++)
        if (strcmp(seeds->items[i].name, name) == 0) {
            *bytes = seeds->items[i].bytes;
            *size = seeds->items[i].size;
        }
    CHECK(*bytes);
}

TEST(rows_of_sound_files_are_the_numbers_and_others_are_refused) {
    static struct seeds seeds;
    size_t sound = 0;
    seeds_read(CORPUS, &seeds);
    for (size_t i = 0; i < seeds.count; i++) {
        struct evaluator_rows rows = {0};
        struct proto_error error = {0};
        TEST_CASE(seeds.items[i].name);
        const bool done =
            evaluator_rows_parse(seeds.items[i].bytes, seeds.items[i].size, &rows, &error);
        CHECK_INT(done, strncmp(seeds.items[i].name, "ok-", 3) == 0);
        if (!done) {
            CHECK_INT(error.status, PROTO_DAMAGED);
            CHECK(error.text[0] != '\0' && rows.values == NULL);
            continue;
        }
        sound++;
        CHECK_INT(rows.count, 2);
        CHECK_INT(rows.width, 3);
        CHECK(memcmp(rows.values, six, sizeof six) == 0);
        evaluator_rows_free(&rows);
        CHECK(rows.values == NULL);
    }
    TEST_CASE("");
    CHECK_INT(sound, 4);
    seeds_free(&seeds);
}

// What people read about each kind of bad file.
static const struct {
    const char *name, *where, *says;
} refused[] = {
    {"no-system", "data.pkl: byte 2", "asks for os.system, which start states do not need"},
    {"no-posix_in_place", "data.pkl: byte 2", "asks for posix.system"},
    {"no-inst", "data.pkl: byte 9", "opcode 0x69 'i'"},
    {"no-persistent", "data.pkl: byte 8", "opcode 0x51 'Q'"},
    {"no-huge_text", "data.pkl: byte 2", "needs 4294967295 bytes, 4 are left"},
    {"no-deep_stack", "data.pkl: byte 66", "more than 64 values on the stack"},
    {"no-memo_absent", "data.pkl: byte 2", "BINGET of memo 7, which is empty"},
    {"no-long_memo", "data.pkl: byte 3", "opcode 0x72 'r'"},
    {"no-f4", "data.pkl: byte 152", "dtype is f4, expected f8"},
    {"no-big_endian", "data.pkl: byte 184", "not little-endian"},
    {"no-fortran", "data.pkl: byte 269", "Fortran order"},
    {"no-shape_lies", "", "[3, 3] numbers need 72 bytes, their text has 63"},
    {"no-shape_huge", "data.pkl: byte 275", "the array is [2147483647, 2147483647]"},
    {"no-one_dimension", "data.pkl: byte 267", "1 dimensions, expected 2"},
    {"no-nan", "", "number 2 of row 1 is nan"},
    {"no-cut_pickle", "data.pkl: byte 188", "needs 63 bytes, 7 are left"},
    {"no-cut_file", "", "no zip archive, or cut off"},
    {"no-compressed", "data.pkl", "is compressed (method 8), expected stored"},
    {"no-zip64", "data.pkl", "has zip64 sizes"},
    {"no-size_lies", "data.pkl", "ends at byte 1073741874, but members end at byte 404"},
    {"no-two_sizes", "data.pkl", "is stored but has two sizes, 271 and 5 bytes"},
    {"no-crc", "data.pkl", "CRC is b8d27829, expected 00000001"},
    {"no-two_members", "", "several members named data.pkl"},
    {"no-no_member", "", "no member named data.pkl among its 1"},
};
TEST(rows_of_bad_files_are_refused_by_name_and_place) {
    static struct seeds seeds;
    seeds_read(CORPUS, &seeds);
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        const uint8_t *bytes;
        size_t size = 0;
        struct evaluator_rows rows = {0};
        struct proto_error error = {0};
        TEST_CASE(refused[i].name);
        read_named(&seeds, refused[i].name, &bytes, &size);
        CHECK(!evaluator_rows_parse(bytes, size, &rows, &error));
        CHECK_HAS(error.text, refused[i].says);
        CHECK_TEXT(error.where, refused[i].where);
    }
    seeds_free(&seeds);
}

TEST(rows_of_another_length_than_the_models_are_refused_with_both) {
    const struct evaluator_rows rows = {.count = 50, .width = 79};
    struct proto_error error = {0};
    CHECK_OK(evaluator_rows_fit(&rows, 41, 37, &error), error);
    CHECK(!evaluator_rows_fit(&rows, 43, 37, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "rows have 79 numbers, this task's model has 81 (time, 43 of qpos, 37");
    CHECK(!evaluator_rows_fit(&rows, UINT32_MAX, UINT32_MAX, &error));  // the sum does not wrap
}

TEST(rows_errors_name_the_file) {
    struct evaluator_rows rows;
    struct proto_error error = {0};
    CHECK(!evaluator_rows_read("/nonexistent/a.pruned_init", &rows, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.where, "/nonexistent/a.pruned_init");
    CHECK(!evaluator_rows_read(CORPUS "/no-system", &rows, &error));
    CHECK_TEXT(error.where, CORPUS "/no-system: data.pkl: byte 2");
}

// Whatever comes in, out comes a matrix of finite numbers or an error with words.
static void check_rows(const uint8_t *bytes, size_t size, size_t *sound) {
    struct evaluator_rows rows = {0};
    struct proto_error error = {0};
    if (!evaluator_rows_parse(bytes, size, &rows, &error)) {
        CHECK(error.status == PROTO_DAMAGED && error.text[0] != '\0' && !rows.values);
        return;
    }
    ++*sound;
    CHECK(rows.count >= 1 && rows.width >= 2);
    double sum = 0;
    for (size_t i = 0; i < (size_t)rows.count * rows.width; i++) sum += rows.values[i] * 0;
    CHECK(sum == 0);  // false for NaN, which an infinity times 0 is too
    evaluator_rows_free(&rows);
}

TEST(rows_reader_survives_mutants) {
    static struct seeds seeds;
    size_t sound = 0, refused_count = 0;
    seeds_read(CORPUS, &seeds);
    for (uint64_t seed = 0; seed < MUTANTS; seed++) {
        const size_t parent = (size_t)(seed % seeds.count);
        const uint8_t *bytes = seeds.items[parent].bytes;
        size_t size = 0, before = sound;
        struct evaluator_member member;
        struct proto_error error = {0};
        uint8_t *mutant = mutate(bytes, seeds.items[parent].size, seed, &size);
        check_rows(mutant, size, &sound);
        free(mutant);
        if (!evaluator_stored_zip_find(bytes, seeds.items[parent].size, "data.pkl", &member,
                                       &error))
            continue;
        mutant = mutate(member.data, member.size, seed, &size);
        size_t file_bytes;
        uint8_t *file = stored_zip_file("archive/data.pkl", mutant, size, &file_bytes);
        CHECK(file);
        check_rows(file, file_bytes, &sound);
        refused_count += sound == before;
        free(file);
        free(mutant);
    }
    // the mutants reach both ends: changed numbers are still numbers, most else is refused
    CHECK(sound > MUTANTS / 200 && refused_count > MUTANTS / 4);
    seeds_free(&seeds);
}

TEST(rows_of_all_tasks_of_libero_are_fifty) {
    const char *root = getenv("LIBERO_ROOT");
    if (!root || !proto_path_is_folder(root)) {
        if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not a folder");
        print_message("needs LIBERO's unpacked files (LIBERO_ROOT)\n");
        skip();
    }
    size_t count;
    const struct evaluator_task *tasks = evaluator_tasks(&count);
    for (size_t i = 0; i < count; i++) {
        char path[1024];
        struct evaluator_rows rows;
        struct proto_error error = {0};
        TEST_CASE(tasks[i].name);
        snprintf(path, sizeof path, "%s/init_files/%s/%s.pruned_init", root, tasks[i].suite,
                 tasks[i].name);
        CHECK_OK(evaluator_rows_read(path, &rows, &error), error);
        CHECK_INT(rows.count, 50);
        CHECK(rows.width > 40 && rows.width < 130);  // 1 + nq + nv, nq 23..65
        for (uint32_t row = 0; row < rows.count; row++) {
            const double *values = rows.values + (size_t)row * rows.width;
            CHECK(values[0] == 0);                     // time
            CHECK_NEAR(values[4], -2.44459747, 0.15);  // the elbow: start pose, noise of 0.02
            CHECK_NEAR(values[8], 0.020833, 1e-12);    // a finger
            CHECK_NEAR(values[9], -0.020833, 1e-12);
        }
        evaluator_rows_free(&rows);
    }
}

TEST_MAIN(UNIT(rows_of_sound_files_are_the_numbers_and_others_are_refused),
          UNIT(rows_of_bad_files_are_refused_by_name_and_place),
          UNIT(rows_of_another_length_than_the_models_are_refused_with_both),
          UNIT(rows_errors_name_the_file), UNIT(rows_reader_survives_mutants),
          UNIT(rows_of_all_tasks_of_libero_are_fifty))
