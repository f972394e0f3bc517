// proto/json_strict.h - what our own JSON files need beyond the getters of proto/json.h: objects
// that hold the named keys and no others, lists of numbers, and statistics of a channel.
#ifndef PROTO_JSON_STRICT_H
#define PROTO_JSON_STRICT_H

#include "proto/codec.h"
#include "proto/json.h"

// PROTO_DAMAGED naming the first key of `object` that is none of `keys`, or that it is no object.
PROTO_MUST_CHECK bool proto_json_only(const json_t *object, const char *const *keys, size_t count,
                                      struct proto_error *error);
// object[key] is a list of exactly `count` numbers, into out.
PROTO_MUST_CHECK bool proto_json_reals(const json_t *object, const char *key, size_t count,
                                       double *out, struct proto_error *error);
// object[key] is "format", object["version"] is `version`; else PROTO_DAMAGED with both.
PROTO_MUST_CHECK bool proto_json_format(const json_t *object, const char *format, int64_t version,
                                        struct proto_error *error);
// A copy of object[key], which the caller frees.
PROTO_MUST_CHECK bool proto_json_text_copy(const json_t *object, const char *key, char **text,
                                           struct proto_error *error);

// Statistics as keys of an object: mean, std, min, max, q01, q99, count. False: no memory, or a
// number that is not finite, which JSON cannot hold.
#define PROTO_STATISTICS_KEYS "mean", "std", "min", "max", "q01", "q99", "count"
PROTO_MUST_CHECK bool proto_statistics_store(json_t *object,
                                             const struct proto_statistics *statistics);
PROTO_MUST_CHECK bool proto_statistics_load(const json_t *object,
                                            struct proto_statistics *statistics,
                                            struct proto_error *error);
// Finite, ordered (min <= q01 <= q99 <= max, mean between the extremes but for rounding), std and
// count possible. PROTO_DAMAGED naming the number.
PROTO_MUST_CHECK bool proto_statistics_check(const struct proto_statistics *statistics,
                                             struct proto_error *error);

// xxh64 of a canonical dump (keys sorted, no blanks, %.17g); 0 when json is NULL or memory lacks.
uint64_t proto_json_hash(const json_t *json);
// Is what was read what was written? Otherwise PROTO_DAMAGED, saying what makes it again ("make it
// again from the data"); PROTO_EXHAUSTED when there was no memory for `found`.
PROTO_MUST_CHECK bool proto_json_hash_agrees(uint64_t found, uint64_t written, const char *cure,
                                             struct proto_error *error);

#endif
