// tests/proto/json_test.c - what a damaged JSON file can hold, and the words it gets back.
#include "proto/files.h"
#include "proto/json.h"
#include "tests/check.h"

#include <math.h>
#include <unistd.h>

TEST(json_damaged_texts_are_refused_with_line_and_column) {
    static const struct {
        const char *name, *text, *where, *says;
    } cases[] = {
        {"duplicate key", "{\"a\": 1,\n \"a\": 2}", "2:", "duplicate"},
        {"tail", "{} {}", "1:", "end of file expected"},
        {"number past 64 bit", "{\"a\": 9223372036854775808}", "1:", "too big"},
        {"real past double", "[1e999]", "1:", "real number overflow"},
        {"NaN", "[NaN]", "1:", "invalid token"},
        {"cut short", "{\"a\": [1, 2", "1:", "near"},
        {"not UTF-8", "[\"\xff\"]", "1:", "byte 0xff"},
        {"NUL in a text", "[\"a\\u0000b\"]", "1:", "\\u0000"},
        {"empty", "", "1:", "near end of file"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        TEST_CASE(cases[i].name);
        CHECK(!proto_json_parse(cases[i].text, strlen(cases[i].text), &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.where, cases[i].where);
        CHECK_HAS(error.text, cases[i].says);
    }
    TEST_CASE("");
}

TEST(json_a_hundred_thousand_levels_do_not_use_up_the_stack) {
    struct proto_error error = {0};
    char *text = malloc(100000);
    memset(text, '[', 100000);
    CHECK(!proto_json_parse(text, 100000, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "depth");
    free(text);
}

TEST(json_getters_name_the_key_and_both_sides) {
    struct proto_error error = {0};
    const char *text = NULL;
    const json_t *array = NULL;
    int64_t integer = -5;
    double real = -5;
    bool boolean = false;
    uint64_t hash = 0;
    static const char source[] = "{\"text\": \"t\", \"integer\": 7, \"real\": 0.5, \"yes\": true, "
                                 "\"array\": [1, 2], \"hash\": \"00000000deadbeef\", "
                                 "\"bad\": \"00000000DEADBEEF\", \"long\": \"00000000deadbeef0\"}";
    json_t *json = proto_json_parse(source, strlen(source), &error);
    CHECK(json);
    CHECK_OK(proto_json_text(json, "text", &text, &error), error);
    CHECK_TEXT(text, "t");
    CHECK_OK(proto_json_integer(json, "integer", 0, 7, &integer, &error), error);
    CHECK_INT(integer, 7);
    CHECK_OK(proto_json_real(json, "real", &real, &error), error);
    CHECK_NEAR(real, 0.5, 0);
    CHECK_OK(proto_json_real(json, "integer", &real, &error), error);
    CHECK_NEAR(real, 7, 0);
    CHECK_OK(proto_json_boolean(json, "yes", &boolean, &error), error);
    CHECK(boolean);
    CHECK_OK(proto_json_array(json, "array", 2, &array, &error), error);
    CHECK_INT(json_array_size(array), 2);
    CHECK_OK(proto_json_hex64(json, "hash", &hash, &error), error);
    CHECK(hash == 0xdeadbeef);

    CHECK(!proto_json_text(json, "none", &text, &error));
    CHECK_TEXT(error.where, "none");
    CHECK_TEXT(error.text, "is missing, must be a text");
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK(!proto_json_integer(json, "real", 0, 7, &integer, &error));
    CHECK_TEXT(error.text, "is a real number, must be an integer");
    CHECK(!proto_json_integer(json, "integer", 0, 6, &integer, &error));
    CHECK_TEXT(error.text, "is 7, must be 0..6");
    CHECK(!proto_json_integer(json, "integer", 8, 9, &integer, &error));
    CHECK(!proto_json_real(json, "text", &real, &error));
    CHECK(!proto_json_boolean(json, "integer", &boolean, &error));
    CHECK(!proto_json_array(json, "array", 1, &array, &error));
    CHECK_TEXT(error.text, "has 2 items, must have at most 1");
    CHECK(!proto_json_object(json, "array", &array, &error));
    CHECK(!proto_json_hex64(json, "bad", &hash, &error));
    CHECK_HAS(error.text, "16 digits");
    CHECK(!proto_json_hex64(json, "long", &hash, &error));
    CHECK(!proto_json_text(json_object_get(json, "array"), "key", &text, &error));
    CHECK_HAS(error.text, "is an array, must be an object");
    CHECK(!proto_json_text(NULL, "key", &text, &error));
    CHECK_HAS(error.text, "is missing");
    json_decref(json);
}

TEST(json_every_double_comes_back_with_its_bits) {
    static const double numbers[] = {0.1,
                                     1.0 / 3,
                                     1e-308,
                                     5e-324,
                                     1.7976931348623157e308,
                                     -0.0,
                                     3,
                                     2e22,
                                     123456789012345678.0,
                                     1 + 0x1p-52};
    char folder[256], path[300];
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/numbers.json", folder);
    json_t *json = json_object(), *array = json_array();
    json_object_set_new(json, "z", json_true());
    json_object_set_new(json, "numbers", array);
    json_object_set_new(json, "a", json_integer(INT64_MIN));
    for (size_t i = 0; i < PROTO_COUNT(numbers); i++)
        json_array_append_new(array, json_real(numbers[i]));
    CHECK_OK(proto_json_write(path, json, &error), error);
    json_t *back = proto_json_read(path, 10000, &error);
    CHECK(back);
    CHECK_TEXT(json_object_iter_key(json_object_iter(back)), "z");  // order is kept
    CHECK(json_integer_value(json_object_get(back, "a")) == INT64_MIN);
    for (size_t i = 0; i < PROTO_COUNT(numbers); i++) {
        const double found = json_real_value(json_array_get(json_object_get(back, "numbers"), i));
        CHECK(memcmp(&found, &numbers[i], sizeof found) == 0);
    }
    json_decref(back);
    CHECK(!proto_json_read(path, 10, &error));
    CHECK_HAS(error.where, "numbers.json");
    CHECK_HAS(error.text, "larger than the 10 bytes");
    json_decref(json);
    CHECK_OK(proto_file_write(path, "{\n  \"a\" 1}", 10, &error), error);
    CHECK(!proto_json_read(path, 100, &error));
    CHECK_HAS(error.where, "numbers.json: 2:");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(json_texts_of_any_bytes_become_valid) {
    static const struct {
        const char *bytes, *text;
    } cases[] = {
        {"plain", "plain"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
        {"a\xff\xfe z", "a?? z"},
        {"cut \xe2\x82", "cut ??"},
        {"over \xc0\xaf", "over ??"},
        {"half \xed\xa0\x80", "half ???"},
        {"high \xf4\x90\x80\x80", "high ????"},
        {"\xe2\x82\xac \xf0\x9f\x98\x80 \x80", "\xe2\x82\xac \xf0\x9f\x98\x80 ?"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        json_t *json = proto_json_string(cases[i].bytes);
        CHECK(json);
        CHECK_TEXT(json_string_value(json), cases[i].text);
        json_decref(json);
    }
}

TEST(json_hex64_is_sixteen_digits) {
    char text[17];
    proto_hex64(0, text);
    CHECK_TEXT(text, "0000000000000000");
    proto_hex64(0xfedcba9876543210u, text);
    CHECK_TEXT(text, "fedcba9876543210");
}

// Every allocation of jansson fails in turn: never a crash, never half a value. Most failures are
// PROTO_EXHAUSTED; those inside its lexer cannot be told from a damaged token.
static size_t allocations, allocation_fails;
static void *counted_malloc(size_t size) {
    return ++allocations == allocation_fails ? NULL : malloc(size);
}
TEST(json_without_memory_is_refused) {
    static const char source[] = "{\"a\": [1, 2.5, \"three\"], \"b\": {\"c\": null}}";
    json_t *json = NULL;
    int exhausted = 0;
    json_set_alloc_funcs(counted_malloc, free);
    for (allocation_fails = 1; !json && allocation_fails < 1000; allocation_fails++) {
        struct proto_error error = {0};
        allocations = 0;
        json = proto_json_parse(source, strlen(source), &error);
        if (!json) exhausted += error.status == PROTO_EXHAUSTED;
    }
    CHECK(json && allocation_fails > 10 && exhausted > 5);
    json_decref(json);
    json_set_alloc_funcs(malloc, free);
}

TEST_MAIN(UNIT(json_damaged_texts_are_refused_with_line_and_column),
          UNIT(json_a_hundred_thousand_levels_do_not_use_up_the_stack),
          UNIT(json_getters_name_the_key_and_both_sides),
          UNIT(json_every_double_comes_back_with_its_bits),
          UNIT(json_texts_of_any_bytes_become_valid), UNIT(json_hex64_is_sixteen_digits),
          UNIT(json_without_memory_is_refused))
