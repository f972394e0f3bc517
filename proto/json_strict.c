// proto/json_strict.c - strict reading of our own JSON: no unknown keys, no numbers out of order.
#include "proto/json_strict.h"

#include "proto/files.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

bool proto_json_only(const json_t *object, const char *const *keys, size_t count,
                     struct proto_error *error) {
    if (!json_is_object(object))
        return proto_fail(error, PROTO_DAMAGED, "is no object; expected {...}");
    const char *key = NULL;
    json_t *value = NULL;
    // jansson's iteration takes a mutable object but does not change it
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        bool known = false;
        for (size_t i = 0; i < count && !known; i++) known = strcmp(key, keys[i]) == 0;
        if (!known) return proto_fail(error, PROTO_DAMAGED, "unknown key \"%.64s\"", key);
    }
    return true;
}

bool proto_json_reals(const json_t *object, const char *key, size_t count, double *out,
                      struct proto_error *error) {
    const json_t *array = NULL;
    if (!proto_json_array(object, key, count, &array, error)) return false;
    if (json_array_size(array) != count)
        return proto_fail(error, PROTO_DAMAGED, "%s has %zu numbers, expected %zu", key,
                          json_array_size(array), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(array, i);
        if (!json_is_number(item))
            return proto_fail(error, PROTO_DAMAGED, "%s[%zu] is no number", key, i);
        out[i] = json_number_value(item);
    }
    return true;
}

bool proto_json_format(const json_t *object, const char *format, int64_t version,
                       struct proto_error *error) {
    const char *found = NULL;
    int64_t number = 0;
    if (!proto_json_text(object, "format", &found, error)) return false;
    if (strcmp(found, format) != 0)
        return proto_fail(error, PROTO_DAMAGED, "format is \"%.64s\", expected \"%s\"", found,
                          format);
    if (!proto_json_integer(object, "version", INT64_MIN, INT64_MAX, &number, error)) return false;
    if (number != version)
        return proto_fail(error, PROTO_DAMAGED,
                          "version is %lld, this build reads %lld: it was written by another "
                          "release",
                          (long long)number, (long long)version);
    return true;
}

bool proto_json_text_copy(const json_t *object, const char *key, char **text,
                          struct proto_error *error) {
    const char *borrowed = NULL;
    if (!proto_json_text(object, key, &borrowed, error)) return false;
    *text = proto_format(error, "%s", borrowed);
    return *text != NULL;
}

// In the order of struct proto_statistics.
static const struct {
    const char *key;
    size_t offset;
} numbers[] = {
    {"mean", offsetof(struct proto_statistics, mean)},
    {"std", offsetof(struct proto_statistics, std)},
    {"min", offsetof(struct proto_statistics, min)},
    {"max", offsetof(struct proto_statistics, max)},
    {"q01", offsetof(struct proto_statistics, q01)},
    {"q99", offsetof(struct proto_statistics, q99)},
};

static double number_of(const struct proto_statistics *statistics, size_t i) {
    double number;
    memcpy(&number, (const char *)statistics + numbers[i].offset, sizeof number);
    return number;
}

bool proto_statistics_store(json_t *object, const struct proto_statistics *statistics) {
    for (size_t i = 0; i < PROTO_COUNT(numbers); i++)
        if (json_object_set_new(object, numbers[i].key, json_real(number_of(statistics, i))) != 0)
            return false;
    return statistics->count <= INT64_MAX &&
           json_object_set_new(object, "count", json_integer((json_int_t)statistics->count)) == 0;
}

bool proto_statistics_load(const json_t *object, struct proto_statistics *statistics,
                           struct proto_error *error) {
    int64_t count = 0;
    for (size_t i = 0; i < PROTO_COUNT(numbers); i++) {
        double number = 0;
        if (!proto_json_real(object, numbers[i].key, &number, error)) return false;
        memcpy((char *)statistics + numbers[i].offset, &number, sizeof number);
    }
    if (!proto_json_integer(object, "count", 0, INT64_MAX, &count, error)) return false;
    statistics->count = (uint64_t)count;
    return proto_statistics_check(statistics, error);
}

bool proto_statistics_check(const struct proto_statistics *statistics, struct proto_error *error) {
    const struct proto_statistics *s = statistics;
    for (size_t i = 0; i < PROTO_COUNT(numbers); i++)
        if (!isfinite(number_of(s, i)))
            return proto_fail(error, PROTO_DAMAGED, "%s is %g, expected a finite number",
                              numbers[i].key, number_of(s, i));
    if (s->count < 1) return proto_fail(error, PROTO_DAMAGED, "count is 0, expected at least 1");
    if (s->std < 0) return proto_fail(error, PROTO_DAMAGED, "std is %g, below 0", s->std);
    if (s->min > s->max)
        return proto_fail(error, PROTO_DAMAGED, "min %g is above max %g", s->min, s->max);
    if (s->q01 > s->q99 || s->q01 < s->min || s->q99 > s->max)
        return proto_fail(error, PROTO_DAMAGED,
                          "q01 %g and q99 %g do not lie in order between min %g and max %g", s->q01,
                          s->q99, s->min, s->max);
    // a mean of equal numbers may be off by rounding
    const double slack = 1e-12 * fmax(fabs(s->min), fabs(s->max));
    if (s->mean < s->min - slack || s->mean > s->max + slack)
        return proto_fail(error, PROTO_DAMAGED, "mean %g is not between min %g and max %g", s->mean,
                          s->min, s->max);
    return true;
}

uint64_t proto_json_hash(const json_t *json) {
    if (!json) return 0;
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    const uint64_t hash = text ? proto_hash(text, strlen(text)) : 0;
    free(text);
    return hash;
}

bool proto_json_hash_agrees(uint64_t found, uint64_t written, const char *cure,
                            struct proto_error *error) {
    if (found == 0) return proto_fail(error, PROTO_EXHAUSTED, "no memory to hash its content");
    return found == written ||
           proto_fail(error, PROTO_DAMAGED,
                      "the content does not have the hash that it was written with: the file was "
                      "edited or damaged; %s",
                      cure);
}
