// tests/proto/toml_shim_test.c - TOML becomes a flat list in the order of the file; what is no TOML
// is refused at its place. Oracle: the TOML 1.0 specification and counting by hand.
#include "proto/toml_shim.h"

#include "tests/check.h"

#include <math.h>

static struct proto_toml *parse(const char *text) {
    struct proto_toml *toml = NULL;
    struct proto_toml_place at;
    struct proto_error error = {0};
    CHECK_OK(proto_toml_parse(text, strlen(text), &toml, &at, &error), error);
    return toml;
}

TEST(toml_keeps_the_order_of_the_file_and_the_place_of_each_key) {
    struct proto_toml *toml = parse("[zebra]\nb = 1\n  a = [true, \"x\"]\n[ant]\nlast = 2.5\n");
    const struct {
        const char *key;
        enum proto_toml_type type;
        uint32_t parent, children, line, column;
    } expected[] = {
        {"", PROTO_TOML_TABLE, 0, 2, 1, 1},    {"zebra", PROTO_TOML_TABLE, 0, 2, 1, 2},
        {"b", PROTO_TOML_INTEGER, 1, 0, 2, 1}, {"a", PROTO_TOML_ARRAY, 1, 2, 3, 3},
        {"", PROTO_TOML_BOOLEAN, 3, 0, 3, 8},  {"", PROTO_TOML_TEXT, 3, 0, 3, 14},
        {"ant", PROTO_TOML_TABLE, 0, 1, 4, 2}, {"last", PROTO_TOML_REAL, 6, 0, 5, 1},
    };
    CHECK_INT(toml->count, PROTO_COUNT(expected));
    for (uint32_t i = 0; i < toml->count; i++) {
        char name[16];
        snprintf(name, sizeof name, "node %u", i);
        TEST_CASE(name);
        CHECK_TEXT(toml->nodes[i].key, expected[i].key);
        CHECK_INT(toml->nodes[i].type, expected[i].type);
        CHECK_INT(toml->nodes[i].parent, expected[i].parent);
        CHECK_INT(toml->nodes[i].children, expected[i].children);
        CHECK_INT(toml->nodes[i].line, expected[i].line);
        CHECK_INT(toml->nodes[i].column, expected[i].column);
    }
    TEST_CASE("");
    CHECK(toml->nodes[4].boolean);
    CHECK_TEXT(toml->nodes[5].text, "x");
    CHECK_NEAR(toml->nodes[7].real, 2.5, 0);
    proto_toml_free(&toml);
    CHECK(toml == NULL);
    proto_toml_free(&toml);
}

TEST(toml_reads_each_kind_of_value) {
    struct proto_toml *toml = parse("a = -9223372036854775808\nb = inf\nc = nan\nd = 1979-05-27\n"
                                    "e.f = \"\\u00e4\"\ng = {h = 0x10}\ni = []\nj = ''\n");
    CHECK(toml->nodes[1].integer == INT64_MIN);
    CHECK(isinf(toml->nodes[2].real));
    CHECK(isnan(toml->nodes[3].real));
    CHECK_INT(toml->nodes[4].type, PROTO_TOML_TIME);
    CHECK_INT(toml->nodes[5].type, PROTO_TOML_TABLE);
    CHECK_TEXT(toml->nodes[6].text, "\xc3\xa4");
    CHECK_INT(toml->nodes[8].integer, 16);
    CHECK_INT(toml->nodes[9].children, 0);
    CHECK_TEXT(toml->nodes[10].text, "");
    proto_toml_free(&toml);
    toml = parse("");
    CHECK_INT(toml->count, 1);
    proto_toml_free(&toml);
}

TEST(toml_refuses_at_the_place_of_the_mistake) {
    static const struct {
        const char *name, *text;
        uint32_t line, column;  // 0: anywhere in the line
        const char *says;
    } refused[] = {
        {"no value", "a = 1\nb =\n", 2, 0, "value"},
        {"key twice", "[a]\nx = 1\nx = 2\n", 3, 0, "x"},
        {"section twice", "[a]\nx = 1\n[a]\n", 3, 0, "a"},
        {"open text", "a = \"x\n", 1, 0, "string"},
        {"no UTF-8", "a = \"\xff\"\n", 1, 0, ""},
        {"NUL in a text", "a = 1\n  b = \"x\\u0000y\"\n", 2, 3, "NUL"},
        {"two keys a line", "a = 1; b = 2\n", 1, 0, ""},
        {"integer too large", "a = 9223372036854775808\n", 1, 0, ""},
    };
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        struct proto_toml *toml = NULL;
        struct proto_toml_place at = {0};
        struct proto_error error = {0};
        TEST_CASE(refused[i].name);
        CHECK(!proto_toml_parse(refused[i].text, strlen(refused[i].text), &toml, &at, &error));
        CHECK(toml == NULL);
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_HAS(error.text, refused[i].says);
        CHECK_INT(at.line, refused[i].line);
        CHECK(refused[i].column == 0 || at.column == refused[i].column);
    }
}

// Nesting and size have limits, so that no file can exhaust the stack or the memory.
TEST(toml_refuses_what_is_too_deep_or_too_large) {
    struct proto_toml *toml = NULL;
    struct proto_toml_place at;
    struct proto_error error = {0};
    const size_t size_bytes = 100000;
    char *text = malloc(size_bytes);
    CHECK(text);
    memset(text, '[', size_bytes);
    memcpy(text, "a =", 3);
    CHECK(!proto_toml_parse(text, size_bytes, &toml, &at, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    // 70,000 items of an array
    size_t used = (size_t)snprintf(text, size_bytes, "a = [");
    while (used + 2 < size_bytes) {
        text[used++] = '1';
        text[used++] = ',';
    }
    text[used++] = ']';
    CHECK_OK(proto_toml_parse(text, used, &toml, &at, &error), error);
    proto_toml_free(&toml);
    free(text);
    text = malloc(200000);
    CHECK(text);
    used = (size_t)snprintf(text, 200000, "a = [");
    while (used + 2 < 200000) {
        text[used++] = '1';
        text[used++] = ',';
    }
    text[used++] = ']';
    CHECK(!proto_toml_parse(text, used, &toml, &at, &error));
    CHECK_HAS(error.text, "65536");
    free(text);
    CHECK(!proto_toml_parse("", PROTO_TOML_BYTES_MAX + 1, &toml, &at, &error));
    CHECK_HAS(error.text, "1048577 bytes");
}

TEST(toml_quote_reads_back_as_the_same_text) {
    static const char *const texts[] = {"",          "plain",        "a \"b\" \\c",
                                        "tab\there", "\x01\x1f\x7f", "\xc3\xa4\xe2\x82\xac\n"};
    for (size_t i = 0; i < PROTO_COUNT(texts); i++) {
        struct proto_error error = {0};
        char document[256];
        TEST_CASE(texts[i]);
        char *quoted = proto_toml_quote(texts[i], &error);
        CHECK(quoted);
        snprintf(document, sizeof document, "a = %s\n", quoted);
        struct proto_toml *toml = parse(document);
        CHECK_TEXT(toml->nodes[1].text, texts[i]);
        proto_toml_free(&toml);
        free(quoted);
    }
}

TEST_MAIN(UNIT(toml_keeps_the_order_of_the_file_and_the_place_of_each_key),
          UNIT(toml_reads_each_kind_of_value), UNIT(toml_refuses_at_the_place_of_the_mistake),
          UNIT(toml_refuses_what_is_too_deep_or_too_large),
          UNIT(toml_quote_reads_back_as_the_same_text))
