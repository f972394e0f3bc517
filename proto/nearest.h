// proto/nearest.h - which known name a wrong one most likely meant, for error messages.
//
//     struct proto_nearest nearest = {.wrong = "learning_rat"};
//     for (...) proto_nearest_offer(&nearest, known[i]);
//     if (nearest.best) ... "nearest known: %s"
#ifndef PROTO_NEAREST_H
#define PROTO_NEAREST_H

#include <stddef.h>

#define PROTO_NEAREST_BYTES_MAX 64  // of a name; longer ones are compared by their first 64 bytes

// Letters to insert, delete, replace or swap with their neighbour to turn one into the other
// (optimal string alignment).
size_t proto_edit_distance(const char *a, const char *b);

struct proto_nearest {
    const char *wrong;  // what was written
    const char *best;   // borrowed from the offers; NULL while none shares enough with `wrong`
    size_t distance;    // of best
};

// Takes `known` when it is nearer than what was offered before. A name counts only when at most
// half of its letters would have to change.
void proto_nearest_offer(struct proto_nearest *nearest, const char *known);

#endif
