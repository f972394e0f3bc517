// tests/proto/checkpoint_test.c - what a folder named checkpoint-<step> promises: it is whole, it
// is what was written, and it goes only when nobody needs it. Crashes: checkpoint_crash_test.c.
#include "proto/checkpoint.h"
#include "proto/files.h"
#include "proto/json.h"
#include "tests/check.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/proto/checkpoint_case.h"

TEST(checkpoint_what_was_written_is_read_back) {
    struct proto_error error = {0};
    struct proto_trainer_state found;
    struct proto_safetensors *file = NULL;
    char *path = NULL;
    put(100, 1);
    CHECK_OK(proto_checkpoint_resolve(run, "auto", &path, &error), error);
    CHECK_TEXT(path, in("checkpoint-100"));
    CHECK_OK(proto_checkpoint_check(path, &error), error);
    CHECK_OK(proto_checkpoint_state_read(path, &found, &error), error);
    const struct proto_trainer_state expected = case_state(100);
    CHECK_INT(found.step, 100);
    CHECK_INT(found.cursor, expected.cursor);
    CHECK_INT(found.ema_counter, expected.ema_counter);
    CHECK(found.seed == expected.seed && found.config_hash == expected.config_hash);
    CHECK(found.index_hash == expected.index_hash && found.codec_hash == expected.codec_hash);
    CHECK(found.attempt == expected.attempt && found.ranks == 2 && found.threads == 1);
    CHECK_INT(found.train_batch_size, 16);
    CHECK_INT(found.gradient_accumulation_steps, 3);
    CHECK_TEXT(found.kernels, "Haswell + avx2");
    free(path);
    CHECK_OK(proto_safetensors_open(in("checkpoint-100/ema/model.safetensors"), &file, &error),
             error);
    CHECK_TEXT(proto_safetensors_metadata(file, "format"), "pt");
    CHECK(proto_safetensors_find(file, "model.weight") != NULL);
    proto_safetensors_close(&file);
    CHECK(!proto_path_exists(in("checkpoint-100.partial")));
}

TEST(checkpoint_each_damage_is_found_and_named) {
    static const struct {
        const char *file, *says;
        long truncate_to, flip_at;  // -1: not
        bool remove;
    } cases[] = {
        {"config.json", "is missing", -1, -1, true},
        {"model.safetensors", "is missing", -1, -1, true},
        {"ema/model.safetensors", "is missing", -1, -1, true},
        {"optimizer.safetensors", "too old to resume from", -1, -1, true},
        {"language.safetensors", "is missing", -1, -1, true},
        {"codec.json", "is missing", -1, -1, true},
        {"dataset_statistics.json", "is missing", -1, -1, true},
        {"open_loop.json", "is missing", -1, -1, true},
        {"trainer_state.json", "No such file", -1, -1, true},
        {"optimizer.safetensors", "has 100 bytes", 100, -1, false},
        {"model.safetensors", "has 0 bytes", 0, -1, false},
        {"trainer_state.json", "JSON", 100, -1, false},
        {"model.safetensors", "content is not what was written", -1, 200, false},
        {"ema/model.safetensors", "content is not what was written", -1, 300, false},
        {"config.json", "content is not what was written", -1, 4, false},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        char path[400];
        uint64_t listed = 0, found = 1;
        TEST_CASE(cases[i].file);
        put(7, 1);
        CHECK_OK(proto_checkpoint_check(in("checkpoint-7"), &error), error);
        snprintf(path, sizeof path, "%s/checkpoint-7/%s", run, cases[i].file);
        const bool is_listed = strcmp(cases[i].file, "trainer_state.json") != 0;
        if (is_listed) {
            CHECK_OK(
                proto_checkpoint_check_file(in("checkpoint-7"), cases[i].file, &listed, &error),
                error);
            CHECK_OK(proto_file_hash(path, &found, &error), error);
            CHECK(listed == found);
        }
        if (cases[i].remove) CHECK_INT(unlink(path), 0);
        if (cases[i].truncate_to >= 0) CHECK_INT(truncate(path, cases[i].truncate_to), 0);
        if (cases[i].flip_at >= 0) {
            FILE *file = fopen(path, "r+b");
            CHECK(file && fseek(file, cases[i].flip_at, SEEK_SET) == 0);
            const int byte = fgetc(file);
            fseek(file, cases[i].flip_at, SEEK_SET);
            fputc(byte ^ 1, file);
            fclose(file);
        }
        CHECK(!proto_checkpoint_check(in("checkpoint-7"), &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.where, cases[i].file);
        CHECK_HAS(error.text, cases[i].says);
        CHECK(!proto_checkpoint_check_file(in("checkpoint-7"), cases[i].file, NULL, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.where, cases[i].file);
    }
    TEST_CASE("");
}

TEST(checkpoint_state_of_another_format_or_out_of_range_is_refused) {
    static const struct {
        const char *key, *value;
    } cases[] = {
        {"format", "2"},
        {"step", "-1"},
        {"step", "1.5"},
        {"seed", "\"12\""},
        {"ranks", "4294967296"},
        {"kernels", "7"},
        {"cursor", "null"},
        {"config_hash", "\"00000000DEADBEEF\""},
        {"kernels", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        struct proto_trainer_state found = {.step = 77};
        TEST_CASE(cases[i].key);
        put(7, 1);
        json_t *json = proto_json_read(in("checkpoint-7/trainer_state.json"), 100000, &error);
        CHECK(json);
        json_object_set_new(json, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        CHECK_OK(proto_json_write(in("checkpoint-7/trainer_state.json"), json, &error), error);
        json_decref(json);
        CHECK(!proto_checkpoint_state_read(in("checkpoint-7"), &found, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.where, "trainer_state.json");
        char said[1400];
        snprintf(said, sizeof said, "%s: %s", error.where, error.text);
        CHECK_HAS(said, cases[i].key);
        CHECK_INT(found.step, 77);  // untouched
    }
    TEST_CASE("");
}

TEST(checkpoint_resume_means_what_it_says) {
    struct proto_error error = {0};
    char *path = NULL;
    CHECK_OK(proto_checkpoint_resolve(in("never"), "auto", &path, &error), error);
    CHECK(path == NULL);
    CHECK_OK(proto_checkpoint_resolve(run, "auto", &path, &error), error);
    CHECK(path == NULL);
    CHECK_OK(proto_checkpoint_resolve(run, "no", &path, &error), error);
    CHECK(path == NULL);
    put(9, 1);
    put(10, 1);
    // folders that only look like checkpoints
    CHECK_OK(proto_folder_make(in("checkpoint-0100"), 0700, &error), error);
    CHECK_OK(proto_folder_make(in("checkpoint-99999999999999999999"), 0700, &error), error);
    CHECK_OK(proto_folder_make(in("checkpoint-11.partial"), 0700, &error), error);
    CHECK_OK(proto_folder_make(in("checkpoint-12.removing"), 0700, &error), error);
    CHECK_OK(proto_folder_make(in("checkpoint-"), 0700, &error), error);
    CHECK_OK(proto_checkpoint_resolve(run, "auto", &path, &error), error);
    CHECK_TEXT(path, in("checkpoint-10"));  // by number, not by name
    free(path);
    CHECK(!proto_checkpoint_resolve(run, "no", &path, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "checkpoint-10");
    CHECK_OK(proto_checkpoint_resolve(run, in("checkpoint-9"), &path, &error), error);
    CHECK_TEXT(path, in("checkpoint-9"));
    free(path);
    CHECK_OK(proto_checkpoint_resolve(run, "checkpoint-9", &path, &error), error);
    CHECK_TEXT(path, in("checkpoint-9"));
    free(path);
    CHECK(!proto_checkpoint_resolve(run, "/nonexistent", &path, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_TEXT(error.where, "/nonexistent");
    CHECK(!proto_checkpoint_check("/nonexistent", &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
}

// The names left in the run folder, "1 2 5", in order of steps.
static const char *left(void) {
    static char text[300];
    struct proto_error error = {0};
    uint64_t *steps = NULL;
    size_t count = 0, used = 0;
    CHECK_OK(proto_checkpoint_list(run, &steps, &count, &error), error);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i > 0 ? " " : "",
                                 (int)steps[i]);
    free(steps);
    return text;
}

TEST(checkpoint_rotation_keeps_the_newest_the_best_and_the_pinned) {
    struct proto_error error = {0};
    int pin = -1;
    for (uint64_t step = 1; step <= 7; step++) put(step, 1);
    CHECK_INT(symlink("checkpoint-2", in("best")), 0);
    // an evaluator is another process; flock tells open files apart, so this one will do
    CHECK_OK(proto_checkpoint_pin(in("checkpoint-3"), &pin, &error), error);
    CHECK_OK(proto_folder_make(in("checkpoint-8.partial/ema"), 0700, &error), error);
    CHECK_OK(proto_folder_make(in("checkpoint-1.removing"), 0700, &error), error);
    CHECK_OK(proto_checkpoint_rotate(run, 3, &error), error);
    CHECK_TEXT(left(), "2 3 5 6 7");
    CHECK(!proto_path_exists(in("checkpoint-8.partial")));
    CHECK(!proto_path_exists(in("checkpoint-1.removing")));
    CHECK(!proto_path_exists(in("checkpoint-2/optimizer.safetensors")));
    CHECK(!proto_path_exists(in("checkpoint-5/optimizer.safetensors")));
    CHECK(proto_path_exists(in("checkpoint-6/optimizer.safetensors")));
    CHECK_OK(proto_checkpoint_check(in("checkpoint-7"), &error), error);
    CHECK_OK(proto_checkpoint_check(in("checkpoint-6"), &error), error);
    CHECK(!proto_checkpoint_check(in("checkpoint-5"), &error));
    CHECK_HAS(error.text, "too old");
    close(pin);
    CHECK_OK(proto_checkpoint_rotate(run, 3, &error), error);
    CHECK_TEXT(left(), "2 5 6 7");
    CHECK_OK(proto_checkpoint_rotate(run, 1, &error), error);
    CHECK_TEXT(left(), "2 7");
    CHECK_OK(proto_checkpoint_rotate(run, 0, &error), error);  // the newest stays, always
    CHECK_TEXT(left(), "2 7");
}

TEST(checkpoint_best_is_kept_however_the_link_is_written) {
    static char absolute[400];
    snprintf(absolute, sizeof absolute, "%s/checkpoint-1/", run);
    const char *const targets[] = {"checkpoint-1", "./checkpoint-1", "checkpoint-1///", absolute};
    struct proto_error error = {0};
    put(1, 1);
    put(2, 1);
    for (size_t i = 0; i < PROTO_COUNT(targets); i++) {
        CHECK_INT(symlink(targets[i], in("best")), 0);
        CHECK_OK(proto_checkpoint_rotate(run, 1, &error), error);
        CHECK_TEXT(left(), "1 2");
        CHECK_INT(unlink(in("best")), 0);
    }
    // what cannot be read must not cost a checkpoint
    CHECK_OK(proto_file_write(in("best"), "checkpoint-1", 12, &error), error);
    CHECK(!proto_checkpoint_rotate(run, 1, &error));
    CHECK_HAS(error.where, "best");
    CHECK_TEXT(left(), "1 2");
}

TEST(checkpoint_a_pin_on_what_is_being_removed_is_refused) {
    struct proto_error error = {0};
    int pin = -1;
    CHECK(!proto_checkpoint_pin(in("checkpoint-1"), &pin, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_INT(pin, -1);
    put(1, 1);
    CHECK_OK(proto_checkpoint_pin(in("checkpoint-1"), &pin, &error), error);
    // a rewrite does not disturb the one who reads, but a new pin sees the new one
    put(1, 2);
    int second = -1;
    CHECK_OK(proto_checkpoint_pin(in("checkpoint-1"), &second, &error), error);
    close(pin);
    close(second);
}

TEST(checkpoint_a_step_written_again_is_replaced_at_once) {
    struct proto_error error = {0};
    put(5, 1);
    CHECK_INT(version_of(5), 1);
    put(5, 2);
    CHECK_INT(version_of(5), 2);
    CHECK_OK(proto_checkpoint_check(in("checkpoint-5"), &error), error);
    CHECK(!proto_path_exists(in("checkpoint-5.partial")));
}

static int exchange_refuses(const char *a, const char *b) {
    (void)a;
    (void)b;
    errno = EINVAL;
    return -1;
}

TEST(checkpoint_a_step_is_replaced_also_where_names_cannot_be_exchanged) {
    struct proto_error error = {0};
    struct proto_disk disk = proto_disk_real;
    char *path = NULL;
    disk.exchange = exchange_refuses;
    proto_disk_replace(&disk);
    put(5, 1);
    put(5, 2);
    CHECK_INT(version_of(5), 2);
    CHECK(!proto_path_exists(in("checkpoint-5.old")));
    // the moment between the two names, as a crash leaves it
    CHECK_INT(rename(in("checkpoint-5"), in("checkpoint-5.old")), 0);
    CHECK_OK(proto_checkpoint_resolve(run, "auto", &path, &error), error);
    CHECK_TEXT(path, in("checkpoint-5"));
    CHECK_OK(proto_checkpoint_check(path, &error), error);
    free(path);
}

TEST(checkpoint_sources_that_are_missing_fail_by_name_and_leave_nothing) {
    struct proto_error error = {0};
    struct proto_checkpoint checkpoint = case_checkpoint(3, 1);
    checkpoint.codec_path = "/nonexistent/codec.json";
    CHECK(!proto_checkpoint_write(run, &checkpoint, &error));
    CHECK_TEXT(error.where, "/nonexistent/codec.json");
    CHECK(!proto_path_exists(in("checkpoint-3")));
    CHECK(!proto_path_exists(in("checkpoint-3.partial")));
}

TEST_MAIN(CASE(checkpoint_what_was_written_is_read_back),
          CASE(checkpoint_each_damage_is_found_and_named),
          CASE(checkpoint_state_of_another_format_or_out_of_range_is_refused),
          CASE(checkpoint_resume_means_what_it_says),
          CASE(checkpoint_rotation_keeps_the_newest_the_best_and_the_pinned),
          CASE(checkpoint_best_is_kept_however_the_link_is_written),
          CASE(checkpoint_a_pin_on_what_is_being_removed_is_refused),
          CASE(checkpoint_a_step_written_again_is_replaced_at_once),
          CASE(checkpoint_a_step_is_replaced_also_where_names_cannot_be_exchanged),
          CASE(checkpoint_sources_that_are_missing_fail_by_name_and_leave_nothing))
