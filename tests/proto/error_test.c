// tests/proto/error_test.c - what an error carries to the person who reads it.
#include "proto/error.h"
#include "tests/check.h"

#include <errno.h>

TEST(error_places_stack_from_the_inside_out) {
    struct proto_error error = {0};
    CHECK(!proto_fail(&error, PROTO_DAMAGED, "is %d, must be 1..%d", 9, 4));
    CHECK_TEXT(error.where, "");
    CHECK(!proto_error_where(&error, "episodes[%d]", 3));
    CHECK(!proto_error_where(&error, "run/index.json"));
    CHECK_TEXT(error.where, "run/index.json: episodes[3]");
    CHECK_TEXT(error.text, "is 9, must be 1..4");
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.source_file, "error_test.c");
}

TEST(error_a_later_failure_replaces_text_and_place) {
    struct proto_error error = {0};
    proto_fail(&error, PROTO_DAMAGED, "first");
    proto_error_where(&error, "somewhere");
    proto_fail(&error, PROTO_USAGE, "second");
    CHECK_TEXT(error.text, "second");
    CHECK_TEXT(error.where, "");
    CHECK_INT(error.status, PROTO_USAGE);
}

TEST(error_a_full_disk_is_exhausted_whatever_the_caller_says) {
    static const struct {
        int number;
        enum proto_status status;
        const char *name;
    } cases[] = {
        {ENOSPC, PROTO_EXHAUSTED, "ENOSPC"}, {EDQUOT, PROTO_EXHAUSTED, "EDQUOT"},
        {ENOMEM, PROTO_EXHAUSTED, "ENOMEM"}, {EMFILE, PROTO_EXHAUSTED, "EMFILE"},
        {EFBIG, PROTO_EXHAUSTED, "EFBIG"},   {ENFILE, PROTO_EXHAUSTED, "ENFILE"},
        {EACCES, PROTO_DAMAGED, "EACCES"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        TEST_CASE(cases[i].name);
        errno = cases[i].number;
        CHECK(!proto_fail_errno(&error, PROTO_DAMAGED, "cannot write %s", "x"));
        CHECK_INT(error.status, cases[i].status);
        CHECK_HAS(error.text, "cannot write x: ");
        CHECK_HAS(error.text, strerror(cases[i].number));
    }
    TEST_CASE("");
}

TEST(error_overlong_texts_and_places_are_cut_and_terminated) {
    struct proto_error error = {0};
    char text[2000];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    proto_fail(&error, PROTO_FAILED, "%s", text);
    CHECK_INT(strlen(error.text), sizeof error.text - 1);
    proto_error_where(&error, "inner");
    proto_error_where(&error, "%s", text);
    CHECK_INT(strlen(error.where), sizeof error.where - 1);
    // the outermost place is what is kept
    CHECK(error.where[0] == 'a');
    for (size_t length = sizeof error.where - 12; length < sizeof error.where + 2; length++) {
        proto_fail(&error, PROTO_FAILED, "x");
        proto_error_where(&error, "inner");
        proto_error_where(&error, "%.*s", (int)length, text);
        CHECK(strlen(error.where) < sizeof error.where);
    }
}

TEST(error_sizes_from_outside_do_not_wrap) {
    struct proto_error error = {0};
    size_t size = 7;
    CHECK(proto_mul(3, 5, &size) && size == 15);
    CHECK(!proto_mul(SIZE_MAX / 2, 3, &size));
    CHECK(proto_add(3, 5, &size) && size == 8);
    CHECK(!proto_add(SIZE_MAX, 1, &size));
    CHECK(proto_alloc_array(SIZE_MAX / 4, 8, &error) == NULL);
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    CHECK_HAS(error.text, "items of 8 bytes");
    void *none = proto_alloc(0, &error);
    CHECK(none != NULL);
    free(none);
}

TEST(error_memory_is_zeroed) {
    struct proto_error error = {0};
    unsigned char *memory = proto_alloc(4096, &error);
    for (size_t i = 0; i < 4096; i++) CHECK_INT(memory[i], 0);
    free(memory);
}

TEST(error_every_exit_code_has_its_own_phrase) {
    static const int codes[] = {0, 1, 2, 3, 4, 5, 6, 75, 130, 143};
    for (size_t i = 0; i < PROTO_COUNT(codes); i++) {
        CHECK(strcmp(proto_status_meaning(codes[i]), "unknown") != 0);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(proto_status_meaning(codes[i]), proto_status_meaning(codes[j])) != 0);
    }
    CHECK_TEXT(proto_status_meaning(77), "unknown");
}

TEST_MAIN(UNIT(error_places_stack_from_the_inside_out),
          UNIT(error_a_later_failure_replaces_text_and_place),
          UNIT(error_a_full_disk_is_exhausted_whatever_the_caller_says),
          UNIT(error_overlong_texts_and_places_are_cut_and_terminated),
          UNIT(error_sizes_from_outside_do_not_wrap), UNIT(error_memory_is_zeroed),
          UNIT(error_every_exit_code_has_its_own_phrase))
