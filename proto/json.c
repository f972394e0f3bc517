// proto/json.c - jansson behind limits and errors that name file, line and key.
#include "proto/json.h"
#include "proto/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// 17 significant digits give every double back exactly.
#define REAL_DIGITS 17

json_t *proto_json_parse(const char *text, size_t size_bytes, struct proto_error *error) {
    json_error_t found;
    json_t *json = json_loadb(text, size_bytes, JSON_REJECT_DUPLICATES, &found);
    if (json) return json;
    // jansson says nothing, or only where it was, when an allocation failed
    const bool memory =
        found.text[0] == '\0' || json_error_code(&found) == json_error_out_of_memory;
    proto_fail(error, memory ? PROTO_EXHAUSTED : PROTO_DAMAGED, "is not valid JSON: %s",
               found.text);
    proto_error_where(error, "%d:%d", found.line, found.column);
    return NULL;
}

json_t *proto_json_read(const char *path, size_t size_max, struct proto_error *error) {
    char *text = NULL;
    size_t size_bytes = 0;
    if (!proto_file_read(path, size_max, PROTO_DAMAGED, &text, &size_bytes, error)) return NULL;
    json_t *json = proto_json_parse(text, size_bytes, error);
    free(text);
    if (!json) proto_error_where(error, "%s", path);
    return json;
}

bool proto_json_write(const char *path, const json_t *json, struct proto_error *error) {
    char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(REAL_DIGITS));
    if (!text) {
        proto_fail(error, PROTO_EXHAUSTED, "no memory to write it as JSON");
        return proto_error_where(error, "%s", path);
    }
    // the newline takes the place of the terminating NUL
    const size_t length = strlen(text);
    text[length] = '\n';
    const bool done = proto_file_write(path, text, length + 1, error);
    free(text);
    return done;
}

static const char *type_name(const json_t *value) {
    if (!value) return "missing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a real number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "null";
    }
}

// Says what was found at the key; returns false.
static bool refuse(const json_t *object, const char *key, const char *expected,
                   struct proto_error *error) {
    if (!json_is_object(object)) {
        proto_fail(error, PROTO_DAMAGED, "is %s, must be an object with the key \"%s\"",
                   type_name(object), key);
        return false;
    }
    proto_fail(error, PROTO_DAMAGED, "is %s, must be %s", type_name(json_object_get(object, key)),
               expected);
    return proto_error_where(error, "%s", key);
}

bool proto_json_text(const json_t *object, const char *key, const char **text,
                     struct proto_error *error) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) return refuse(object, key, "a text", error);
    *text = json_string_value(value);
    return true;
}

bool proto_json_integer(const json_t *object, const char *key, int64_t min, int64_t max,
                        int64_t *value, struct proto_error *error) {
    const json_t *found = json_object_get(object, key);
    if (!json_is_integer(found)) return refuse(object, key, "an integer", error);
    const int64_t number = json_integer_value(found);
    if (number < min || number > max) {
        proto_fail(error, PROTO_DAMAGED, "is %" PRId64 ", must be %" PRId64 "..%" PRId64, number,
                   min, max);
        return proto_error_where(error, "%s", key);
    }
    *value = number;
    return true;
}

bool proto_json_real(const json_t *object, const char *key, double *value,
                     struct proto_error *error) {
    const json_t *found = json_object_get(object, key);
    if (!json_is_number(found)) return refuse(object, key, "a number", error);
    *value = json_number_value(found);
    return true;
}

bool proto_json_boolean(const json_t *object, const char *key, bool *value,
                        struct proto_error *error) {
    const json_t *found = json_object_get(object, key);
    if (!json_is_boolean(found)) return refuse(object, key, "true or false", error);
    *value = json_is_true(found);
    return true;
}

bool proto_json_array(const json_t *object, const char *key, size_t count_max, const json_t **array,
                      struct proto_error *error) {
    const json_t *found = json_object_get(object, key);
    if (!json_is_array(found)) return refuse(object, key, "an array", error);
    if (json_array_size(found) > count_max) {
        proto_fail(error, PROTO_DAMAGED, "has %zu items, must have at most %zu",
                   json_array_size(found), count_max);
        return proto_error_where(error, "%s", key);
    }
    *array = found;
    return true;
}

bool proto_json_object(const json_t *object, const char *key, const json_t **inner,
                       struct proto_error *error) {
    const json_t *found = json_object_get(object, key);
    if (!json_is_object(found)) return refuse(object, key, "an object", error);
    *inner = found;
    return true;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool proto_json_hex64(const json_t *object, const char *key, uint64_t *value,
                      struct proto_error *error) {
    const char *text = NULL;
    if (!proto_json_text(object, key, &text, error)) return false;
    uint64_t number = 0;
    size_t i = 0;
    for (; i < 16 && hex_digit(text[i]) >= 0; i++)
        number = number << 4 | (uint64_t)hex_digit(text[i]);
    if (i != 16 || text[16] != '\0') {
        proto_fail(error, PROTO_DAMAGED, "is \"%.40s\", must be 16 digits 0-9a-f", text);
        return proto_error_where(error, "%s", key);
    }
    *value = number;
    return true;
}

void proto_hex64(uint64_t value, char text[static 17]) { snprintf(text, 17, "%016" PRIx64, value); }

// Bytes of the UTF-8 sequence at the start of `text`, 0 when there is none: overlong forms,
// surrogates and numbers past U+10FFFF are none.
static size_t utf8_length(const unsigned char *text) {
    const unsigned char first = text[0];
    if (first < 0x80) return 1;
    if (first < 0xc2 || first > 0xf4) return 0;
    const size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    unsigned char low = 0x80, high = 0xbf;  // of the second byte
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
    if (text[1] < low || text[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if (text[i] < 0x80 || text[i] > 0xbf) return 0;
    return length;
}

json_t *proto_json_string(const char *text) {
    json_t *json = json_string(text);  // NULL also when it is not UTF-8
    if (json) return json;
    char *copy = strdup(text);
    if (!copy) return NULL;
    for (size_t i = 0; copy[i] != '\0';) {
        const size_t length = utf8_length((const unsigned char *)copy + i);
        if (length == 0) copy[i] = '?';
        i += length > 0 ? length : 1;
    }
    json = json_string(copy);
    free(copy);
    return json;
}
