// tests/mutate.h - inputs near given ones, for readers of files from outside: the same bytes for
// the same seed, in blocks of their exact size, so that the address sanitizer sees a read behind
// the end.
#ifndef TESTS_MUTATE_H
#define TESTS_MUTATE_H

#include "proto/files.h"
#include "tests/check.h"

#define MUTATE_GROWTH_MAX 64  // bytes that one mutant is longer than its parent

struct seeds {
    struct {
        char *name;
        uint8_t *bytes;
        size_t size;
    } items[128];
    size_t count;
};

// Every file of a folder, in the order of their names.
static inline void seeds_read(const char *folder, struct seeds *seeds) {
    struct proto_names names;
    struct proto_error error = {0};
    seeds->count = 0;
    CHECK_OK(proto_folder_list(folder, &names, &error), error);
    CHECK(names.count > 0 && names.count <= PROTO_COUNT(seeds->items));
    for (size_t i = 0; i < names.count; i++) {
        char path[1024];
        char *bytes;
        size_t size;
        snprintf(path, sizeof path, "%s/%s", folder, names.items[i]);
        CHECK_OK(proto_file_read(path, 1 << 20, PROTO_DAMAGED, &bytes, &size, &error), error);
        seeds->items[i].name = strdup(names.items[i]);
        seeds->items[i].size = size;
        seeds->items[i].bytes = malloc(size + 1);  // without the NUL of proto_file_read
        CHECK(seeds->items[i].name && seeds->items[i].bytes);
        memcpy(seeds->items[i].bytes, bytes, size);
        free(bytes);
        seeds->count++;
    }
    proto_names_free(&names);
}

static inline void seeds_free(struct seeds *seeds) {
    for (size_t i = 0; i < seeds->count; i++) {
        free(seeds->items[i].name);
        free(seeds->items[i].bytes);
    }
    seeds->count = 0;
}

// SplitMix64 (Steele, Lea, Flood 2014).
static inline uint64_t mutate_draw(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
static inline size_t mutate_below(uint64_t *state, size_t limit) {
    return limit > 0 ? (size_t)(mutate_draw(state) % limit) : 0;
}

// One change: a bit, a byte, an extreme, a byte of another place, a piece cut out or doubled, the
// end cut off. Returns the new size.
static inline size_t mutate_once(uint8_t *bytes, size_t size, size_t room, uint64_t *state) {
    static const uint8_t extremes[] = {0, 1, 0x7f, 0x80, 0xff, '(', ')', '.', ' ', '-', '\n'};
    if (size == 0) {
        if (room > 0) bytes[0] = (uint8_t)mutate_draw(state);
        return room > 0;
    }
    const size_t at = mutate_below(state, size);
    const size_t piece = 1 + mutate_below(state, size - at < 16 ? size - at : 16);
    switch (mutate_below(state, 8)) {
    case 0:
        bytes[at] ^= (uint8_t)(1 << mutate_below(state, 8));
        return size;
    case 1:
        bytes[at] = (uint8_t)mutate_draw(state);
        return size;
    case 2:
        bytes[at] = extremes[mutate_below(state, sizeof extremes)];
        return size;
    case 3:
        bytes[at] = bytes[mutate_below(state, size)];
        return size;
    case 4:  // cut out
        memmove(bytes + at, bytes + at + piece, size - at - piece);
        return size - piece;
    case 5:  // doubled
        if (piece > room - size) return size;
        memmove(bytes + at + piece, bytes + at, size - at);
        return size + piece;
    case 6:  // exchanged with the piece behind it
        if (at + 2 * piece > size) return size;
        for (size_t i = 0; i < piece; i++) {
            const uint8_t kept = bytes[at + i];
            bytes[at + i] = bytes[at + piece + i];
            bytes[at + piece + i] = kept;
        }
        return size;
    default:
        return mutate_below(state, 8) == 0 ? at : size;
    }
}

// A mutant of 1 to 4 changes in a block of exactly *size bytes (one more when empty).
static inline uint8_t *mutate(const uint8_t *parent, size_t parent_bytes, uint64_t seed,
                              size_t *size) {
    uint64_t state = seed;
    const size_t room = parent_bytes + MUTATE_GROWTH_MAX;
    uint8_t *work = malloc(room);
    CHECK(work);
    memcpy(work, parent, parent_bytes);
    *size = parent_bytes;
    for (size_t i = 1 + mutate_below(&state, 4); i > 0; i--)
        *size = mutate_once(work, *size, room, &state);
    uint8_t *exact = malloc(*size > 0 ? *size : 1);
    CHECK(exact);
    memcpy(exact, work, *size);
    free(work);
    return exact;
}

#endif
