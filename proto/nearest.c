// proto/nearest.c - edit distance between short names.
#include "proto/nearest.h"

#include <string.h>

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t length(const char *name) { return strnlen(name, PROTO_NEAREST_BYTES_MAX); }

size_t proto_edit_distance(const char *a, const char *b) {
    // rows[r] holds distances of the prefixes of `a` up to i - r to each prefix of `b`
    size_t rows[3][PROTO_NEAREST_BYTES_MAX + 1];
    size_t *two_before = rows[0], *before = rows[1], *now = rows[2];
    const size_t a_bytes = length(a), b_bytes = length(b);
    for (size_t j = 0; j <= b_bytes; j++) before[j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        now[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            const size_t replaced = before[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(replaced, least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], two_before[j - 2] + 1);
        }
        size_t *oldest = two_before;
        two_before = before;
        before = now;
        now = oldest;
    }
    return before[b_bytes];
}

void proto_nearest_offer(struct proto_nearest *nearest, const char *known) {
    const size_t distance = proto_edit_distance(nearest->wrong, known);
    const size_t longer =
        length(known) > length(nearest->wrong) ? length(known) : length(nearest->wrong);
    if (distance * 2 > longer) return;
    if (nearest->best && distance >= nearest->distance) return;
    nearest->best = known;
    nearest->distance = distance;
}
