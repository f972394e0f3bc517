// tests/proto/words_test.c - how the words behind a verb are read, and what is said about those
// that cannot be.
#include "tests/check.h"

#include "proto/words.h"

static const char *run;
static bool json;
static struct proto_texts sets;
static const char *set_items[8];
static const struct proto_word options[] = {{"--run", PROTO_WORD_TEXT, &run},
                                            {"--json", PROTO_WORD_FLAG, &json},
                                            {"--set", PROTO_WORD_TEXTS, &sets},
                                            {"-f", PROTO_WORD_FLAG, &json}};

static bool read_words(const char *const *words, const char **rest, size_t *rest_count,
                       struct proto_error *error) {
    int count = 0;
    run = NULL;
    json = false;
    sets = (struct proto_texts){.items = set_items};
    while (words[count]) count++;
    return proto_words_read(count, (char **)(uintptr_t)words, options, PROTO_COUNT(options), rest,
                            1, rest_count, error);
}

TEST(words_are_options_in_both_forms_and_the_rest) {
    const char *const words[] = {"up",        "--set",         "a.b=1",  "FILE",
                                 "--run=x=y", "--set=c.d=[2]", "--json", NULL};
    const char *file = NULL;
    size_t count = 0;
    struct proto_error error = {0};
    CHECK_OK(read_words(words, &file, &count, &error), error);
    CHECK_INT(count, 1);
    CHECK_TEXT(file, "FILE");
    CHECK_TEXT(run, "x=y");
    CHECK(json);
    CHECK_INT(sets.count, 2);
    CHECK_TEXT(sets.items[0], "a.b=1");
    CHECK_TEXT(sets.items[1], "c.d=[2]");
}

TEST(words_behind_two_dashes_are_no_options) {
    const char *const words[] = {"up", "--", "--run", NULL};
    const char *file = NULL;
    size_t count = 0;
    struct proto_error error = {0};
    CHECK_OK(read_words(words, &file, &count, &error), error);
    CHECK_TEXT(file, "--run");
}

TEST(words_that_cannot_be_meant_are_refused_by_name) {
    static const struct {
        const char *words[4], *says;
    } cases[] = {
        {{"up", "--rum", "x"}, "--rum is not an option; nearest known: --run"},
        {{"up", "--run"}, "--run needs a value"},
        {{"up", "--json=1"}, "--json takes no value"},
        {{"up", "a", "b"}, "\"b\" is one word too many"},
        {{"up", "-x"}, "-x is not an option"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        const char *file = NULL;
        size_t count = 0;
        struct proto_error error = {0};
        TEST_CASE(cases[i].says);
        CHECK(!read_words(cases[i].words, &file, &count, &error));
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_HAS(error.text, cases[i].says);
    }
    TEST_CASE("");
}

TEST(words_numbers_are_digits_within_a_limit) {
    static const char *const bad[] = {"", "-1", "8x", " 7", "256", "99999999999999999999999"};
    struct proto_error error = {0};
    uint64_t number = 5;
    CHECK_OK(proto_words_number("--row", "0", 255, &number, &error), error);
    CHECK_INT(number, 0);
    CHECK_OK(proto_words_number("--row", "255", 255, &number, &error), error);
    CHECK_INT(number, 255);
    for (size_t i = 0; i < PROTO_COUNT(bad); i++) {
        TEST_CASE(bad[i]);
        CHECK(!proto_words_number("--row", bad[i], 255, &number, &error));
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_HAS(error.text, "must be a number of 0..255");
        CHECK_INT(number, 255);
    }
    error = (struct proto_error){0};
    CHECK_OK(proto_words_number("--n", "18446744073709551615", UINT64_MAX, &number, &error), error);
    CHECK(number == UINT64_MAX);
    CHECK(!proto_words_number("--n", "18446744073709551616", UINT64_MAX, &number, &error));
}

TEST_MAIN(UNIT(words_numbers_are_digits_within_a_limit),
          UNIT(words_are_options_in_both_forms_and_the_rest),
          UNIT(words_behind_two_dashes_are_no_options),
          UNIT(words_that_cannot_be_meant_are_refused_by_name))
