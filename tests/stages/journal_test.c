// tests/stages/journal_test.c - events.jsonl holds whole lines, whatever killed its writer.
#include "tests/check.h"

#include "proto/files.h"
#include "stages/journal.h"

static void check_content(const char *path, const char *after_repair) {
    struct proto_error error = {0};
    struct stage_journal journal;
    CHECK_OK(stage_journal_open(&journal, path, &error), error);
    stage_journal_close(&journal);
    char *data = NULL;
    size_t size_bytes = 0;
    CHECK_OK(proto_file_read(path, 1 << 20, PROTO_FAILED, &data, &size_bytes, &error), error);
    CHECK_TEXT(data, after_repair);
    free(data);
}

TEST(journal_cuts_the_half_line_that_a_crash_left) {
    static const struct {
        const char *name, *before, *after;
    } cases[] = {
        {"empty", "", ""},
        {"whole", "{\"event\": \"a\"}\n", "{\"event\": \"a\"}\n"},
        {"half", "{\"event\": \"a\"}\n{\"eve", "{\"event\": \"a\"}\n"},
        {"half alone", "{\"eve", ""},
    };
    char folder[256], path[300];
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/events.jsonl", folder);
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].name);
        CHECK_OK(proto_file_write(path, cases[i].before, strlen(cases[i].before), &error), error);
        check_content(path, cases[i].after);
    }
    // longer than the blocks in which the end is looked for
    TEST_CASE("long half");
    static char long_line[20001];
    memset(long_line, 'x', sizeof long_line - 1);
    memcpy(long_line, "{}\n", 3);
    CHECK_OK(proto_file_write(path, long_line, strlen(long_line), &error), error);
    check_content(path, "{}\n");
    TEST_CASE("");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(journal_writes_one_object_a_line_with_its_time_first) {
    char folder[256], path[300];
    struct proto_error error = {0};
    struct stage_journal journal;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/events.jsonl", folder);
    CHECK_OK(stage_journal_open(&journal, path, &error), error);
    // a field of a stage cannot replace time or name
    CHECK_OK(stage_journal_write(&journal, "scale",
                                 json_pack("{s:i, s:s, s:s}", "to", 4, "event", "lie", "time", ""),
                                 &error),
             error);
    CHECK_OK(
        stage_journal_write(&journal, "line", json_pack("{s:s}", "text", "two\nlines"), &error),
        error);
    CHECK_OK(stage_journal_write(&journal, "bare", NULL, &error), error);
    stage_journal_close(&journal);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    static const char *const names[] = {"scale", "line", "bare"};
    char line[512];
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        CHECK(fgets(line, sizeof line, file) != NULL);
        json_t *object = json_loads(line, 0, NULL);
        CHECK(object != NULL);
        CHECK_TEXT(json_string_value(json_object_get(object, "event")), names[i]);
        CHECK_INT(strlen(json_string_value(json_object_get(object, "time"))), 24);
        if (i == 0) CHECK_INT(json_integer_value(json_object_get(object, "to")), 4);
        json_decref(object);
    }
    CHECK(fgets(line, sizeof line, file) == NULL);
    fclose(file);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(journal_says_when_the_disk_takes_nothing) {
    struct proto_error error = {0};
    struct stage_journal journal;
    CHECK_OK(stage_journal_open(&journal, "/dev/full", &error), error);
    CHECK(!stage_journal_write(&journal, "up", NULL, &error));
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    stage_journal_close(&journal);
}

TEST_MAIN(UNIT(journal_cuts_the_half_line_that_a_crash_left),
          UNIT(journal_writes_one_object_a_line_with_its_time_first),
          UNIT(journal_says_when_the_disk_takes_nothing))
