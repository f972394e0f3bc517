// tests/trainer/metrics_test.c - metrics.jsonl: what is written reads back bit for bit, and a
// resume leaves exactly the lines up to its checkpoint. Oracle: a JSON reader of others (jansson).
#include "tests/check.h"

#include "proto/files.h"
#include "proto/json.h"
#include "trainer/metrics.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static const double waits[] = {0.1, 1e-9};
static const uint64_t ids[] = {7, 0, (1ull << 40) - 1};

static struct trainer_metrics_line line_of(uint64_t step) {
    return (struct trainer_metrics_line){.step = step,
                                         .cursor = step * 3,
                                         .attempt = 2,
                                         .loss = 1.0 / 3 / (double)step,
                                         .learning_rate = 1e-4,
                                         .grad_norm = 1e300,
                                         .step_s = 0.25,
                                         .samples_per_s = 12,
                                         .data_wait_s = waits,
                                         .collective_wait_s = waits,
                                         .ranks = 2,
                                         .ledger = 0xfedcba9876543210 + step,
                                         .samples = ids,
                                         .sample_count = 3};
}

static void path_of(char path[static 300]) {
    char folder[256];
    check_folder(folder);
    snprintf(path, 300, "%s/metrics.jsonl", folder);
}

static struct trainer_metrics *metrics_open(const char *path, uint64_t step, uint64_t kept) {
    struct trainer_metrics *metrics = NULL;
    struct proto_error error = {0};
    uint64_t lines = 99;
    CHECK_OK(trainer_metrics_open(path, step, 2, 3, &metrics, &lines, &error), error);
    CHECK_INT(lines, kept);
    return metrics;
}

static void metrics_fill(const char *path, uint64_t first, uint64_t last) {
    struct proto_error error = {0};
    struct trainer_metrics *metrics = metrics_open(path, first - 1, first - 1);
    for (uint64_t step = first; step <= last; step++) {
        const struct trainer_metrics_line line = line_of(step);
        CHECK_OK(trainer_metrics_append(metrics, &line, &error), error);
    }
    CHECK_OK(trainer_metrics_sync(metrics, &error), error);
    trainer_metrics_close(&metrics);
}

static char *text_of(const char *path, size_t *size) {
    char *text = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_file_read(path, 1 << 20, PROTO_FAILED, &text, size, &error), error);
    return text;
}

TEST(metrics_numbers_read_back_bit_for_bit) {
    char path[300];
    size_t size = 0;
    struct proto_error error = {0};
    path_of(path);
    metrics_fill(path, 1, 3);
    char *text = text_of(path, &size), *line = text;
    for (uint64_t step = 1; step <= 3; step++) {
        char *end = strchr(line, '\n');
        CHECK(end);
        json_t *object = proto_json_parse(line, (size_t)(end - line), &error);
        CHECK_OK(object, error);
        const struct trainer_metrics_line expected = line_of(step);
        uint64_t ledger = 0;
        CHECK_OK(proto_json_hex64(object, "ledger", &ledger, &error), error);
        CHECK(ledger == expected.ledger);
        CHECK(json_number_value(json_object_get(object, "loss")) == expected.loss);
        CHECK(json_number_value(json_object_get(object, "grad_norm")) == 1e300);
        CHECK_INT(json_integer_value(json_object_get(object, "step")), step);
        CHECK_INT(json_integer_value(json_object_get(object, "cursor")), 3 * step);
        CHECK_INT(json_integer_value(json_object_get(object, "attempt")), 2);
        const json_t *samples = json_object_get(object, "samples");
        CHECK_INT(json_array_size(samples), 3);
        CHECK(json_integer_value(json_array_get(samples, 2)) == (1ll << 40) - 1);
        const json_t *wait = json_object_get(object, "collective_wait_s");
        CHECK(json_number_value(json_array_get(wait, 1)) == 1e-9);
        json_decref(object);
        line = end + 1;
    }
    CHECK(*line == '\0');
    free(text);
}

// A step that fp16 skipped: its line is JSON all the same.
TEST(metrics_of_a_skipped_step_are_null) {
    char path[300];
    size_t size = 0;
    struct proto_error error = {0};
    path_of(path);
    struct trainer_metrics *metrics = metrics_open(path, 0, 0);
    struct trainer_metrics_line line = line_of(1);
    line.grad_norm = INFINITY;
    line.loss = NAN;
    line.loss_scale = 32768;
    line.skipped = 2;
    CHECK_OK(trainer_metrics_append(metrics, &line, &error), error);
    trainer_metrics_close(&metrics);
    char *text = text_of(path, &size);
    json_t *object = proto_json_parse(text, size, &error);
    CHECK_OK(object, error);
    CHECK(json_is_null(json_object_get(object, "grad_norm")));
    CHECK(json_is_null(json_object_get(object, "loss")));
    CHECK(json_number_value(json_object_get(object, "loss_scale")) == 32768);
    CHECK_INT(json_integer_value(json_object_get(object, "skipped_steps")), 2);
    json_decref(object);
    free(text);
}

// A kill can leave lines behind the checkpoint, and half a line.
TEST(metrics_are_cut_back_to_the_checkpoint) {
    for (uint64_t step = 0; step <= 5; step++)
        for (int torn = 0; torn < 2; torn++) {
            char path[300], whole[300];
            size_t size = 0, whole_size = 0;
            path_of(path);
            metrics_fill(path, 1, 5);
            if (torn) {
                FILE *file = fopen(path, "a");
                CHECK(file);
                fputs("{\"step\": 6, \"att", file);
                fclose(file);
            }
            struct trainer_metrics *metrics = metrics_open(path, step, step);
            trainer_metrics_close(&metrics);
            path_of(whole);
            if (step > 0)
                metrics_fill(whole, 1, step);
            else
                metrics_fill(whole, 1, 0);
            char *text = text_of(path, &size), *expected = text_of(whole, &whole_size);
            CHECK_TEXT(text, expected);
            free(text);
            free(expected);
            if (step == 0) continue;
            metrics_fill(path, step + 1, step + 2);  // and the run goes on
        }
}

TEST(metrics_refuse_a_damaged_line_by_name) {
    char path[300];
    struct trainer_metrics *metrics = NULL;
    struct proto_error error = {0};
    uint64_t lines = 0;
    path_of(path);
    CHECK_OK(proto_file_write(path, "{\"step\": 1}\n{\"st\n{\"step\": 3}\n", 30, &error), error);
    CHECK(!trainer_metrics_open(path, 3, 2, 0, &metrics, &lines, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.where, "metrics.jsonl: line 2");
    CHECK(!metrics);
}

// A limit on the file's size stands for a full disk: the write comes back short.
TEST(metrics_end_with_a_whole_line_when_the_disk_is_full) {
    char path[300];
    size_t size = 0;
    struct proto_error error = {0};
    struct rlimit before, limit;
    path_of(path);
    metrics_fill(path, 1, 1);
    char *text = text_of(path, &size);
    struct trainer_metrics *metrics = metrics_open(path, 1, 1);
    const struct trainer_metrics_line line = line_of(2);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = size + 40;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const bool appended = trainer_metrics_append(metrics, &line, &error);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK(!appended);
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    CHECK_HAS(error.text, "step 2");
    size_t now = 0;
    char *left = text_of(path, &now);
    CHECK_TEXT(left, text);
    CHECK_OK(trainer_metrics_append(metrics, &line, &error), error);  // room again
    trainer_metrics_close(&metrics);
    free(text);
    free(left);
    metrics_fill(path, 3, 3);
}

TEST_MAIN(UNIT(metrics_numbers_read_back_bit_for_bit), UNIT(metrics_of_a_skipped_step_are_null),
          UNIT(metrics_are_cut_back_to_the_checkpoint), UNIT(metrics_refuse_a_damaged_line_by_name),
          UNIT(metrics_end_with_a_whole_line_when_the_disk_is_full))
