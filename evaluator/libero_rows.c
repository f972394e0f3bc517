// evaluator/libero_rows.c - start states of a task: the archive, the pickle in it, and the text in
// that, whose code points are the bytes of the numbers.
#include "evaluator/libero.h"

#include "evaluator/pickle.h"
#include "evaluator/stored_zip.h"
#include "proto/files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FILE_BYTES_MAX (64u << 20)  // the largest of LIBERO has 60 KB

// Code points below 256 of UTF-8 text, one byte each; false: another code point, or no UTF-8, or
// not exactly `size` of them.
static bool decode_latin1(const uint8_t *text, size_t text_bytes, uint8_t *bytes, size_t size) {
    size_t at = 0, count = 0;
    while (at < text_bytes && count < size) {
        if (text[at] < 0x80) {
            bytes[count++] = text[at++];
            continue;
        }
        // two bytes hold the code points 0x80..0xff: 110000xx 10xxxxxx, xx being 10 or 11
        if ((text[at] & 0xfe) != 0xc2 || at + 1 == text_bytes || (text[at + 1] & 0xc0) != 0x80)
            return false;
        bytes[count++] = (uint8_t)((text[at] & 3) << 6 | (text[at + 1] & 0x3f));
        at += 2;
    }
    return at == text_bytes && count == size;
}

static double get_double(const uint8_t *at) {
    uint64_t bits = 0;
    double value;
    for (size_t i = 0; i < 8; i++) bits |= (uint64_t)at[i] << 8 * i;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// bytes: count * width float64, little-endian; overwritten by the numbers of this machine.
static bool decode_numbers(struct evaluator_rows *rows, struct proto_error *error) {
    const size_t count = (size_t)rows->count * rows->width;
    const uint8_t *bytes = (const uint8_t *)rows->values;
    for (size_t i = 0; i < count; i++) {
        const double value = get_double(bytes + 8 * i);
        if (!isfinite(value))
            return proto_fail(error, PROTO_DAMAGED, "number %zu of row %zu is %g, expected finite",
                              i % rows->width, i / rows->width, value);
        rows->values[i] = value;
    }
    return true;
}

bool evaluator_rows_parse(const uint8_t *bytes, size_t size, struct evaluator_rows *rows,
                          struct proto_error *error) {
    struct evaluator_member member;
    struct evaluator_pickle pickle;
    if (!evaluator_stored_zip_find(bytes, size, "data.pkl", &member, error)) return false;
    if (!evaluator_pickle_read(member.data, member.size, &pickle, error))
        return proto_error_where(error, "data.pkl");
    const size_t size_bytes = (size_t)pickle.rows * pickle.columns * sizeof(double);
    // a code point has one or two bytes
    if (pickle.text_bytes < size_bytes || pickle.text_bytes > 2 * size_bytes)
        return proto_fail(error, PROTO_DAMAGED,
                          "[%u, %u] numbers need %zu bytes, their text has %zu: the shape lies",
                          pickle.rows, pickle.columns, size_bytes, pickle.text_bytes);
    struct evaluator_rows made = {
        .values = proto_alloc(size_bytes, error), .count = pickle.rows, .width = pickle.columns};
    if (!made.values) return false;
    if (!decode_latin1(pickle.text, pickle.text_bytes, (uint8_t *)made.values, size_bytes))
        proto_fail(error, PROTO_DAMAGED,
                   "the text of the array is not %zu code points below 256: damaged", size_bytes);
    else if (decode_numbers(&made, error)) {
        *rows = made;
        return true;
    }
    evaluator_rows_free(&made);
    return false;
}

bool evaluator_rows_read(const char *path, struct evaluator_rows *rows, struct proto_error *error) {
    char *bytes = NULL;
    size_t size_bytes = 0;
    if (!proto_file_read(path, FILE_BYTES_MAX, PROTO_MISSING, &bytes, &size_bytes, error))
        return false;
    const bool done = evaluator_rows_parse((const uint8_t *)bytes, size_bytes, rows, error) ||
                      proto_error_where(error, "%s", path);
    free(bytes);
    return done;
}

bool evaluator_rows_fit(const struct evaluator_rows *rows, uint32_t nq, uint32_t nv,
                        struct proto_error *error) {
    if (rows->width == (uint64_t)1 + nq + nv) return true;
    return proto_fail(error, PROTO_DAMAGED,
                      "rows have %u numbers, this task's model has %llu (time, %u of qpos, %u of "
                      "qvel): the start states belong to another task or another scene",
                      rows->width, (unsigned long long)1 + nq + nv, nq, nv);
}

void evaluator_rows_free(struct evaluator_rows *rows) {
    free(rows->values);
    *rows = (struct evaluator_rows){0};
}
