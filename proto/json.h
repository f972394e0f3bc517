// proto/json.h - JSON of our own files through jansson, with errors that name the place.
//
// proto_json_read refuses duplicate keys and anything over the cap; its errors carry
// "file: line:column". Getters put the key before what was found and expected, callers of getters
// put the file before it; numbers are range-checked. Objects keep insertion order.
#ifndef PROTO_JSON_H
#define PROTO_JSON_H

#include "proto/error.h"

#include <jansson.h>
#include <stdint.h>

// New reference; the caller calls json_decref.
PROTO_MUST_CHECK json_t *proto_json_read(const char *path, size_t size_max,
                                         struct proto_error *error);
PROTO_MUST_CHECK json_t *proto_json_parse(const char *text, size_t size_bytes,
                                          struct proto_error *error);
// Durable (proto_file_write), indented, numbers with %.17g.
PROTO_MUST_CHECK bool proto_json_write(const char *path, const json_t *json,
                                       struct proto_error *error);

// Getters: false with PROTO_DAMAGED naming the key when it is absent or of another type or range.
// Texts are borrowed from `object`.
PROTO_MUST_CHECK bool proto_json_text(const json_t *object, const char *key, const char **text,
                                      struct proto_error *error);
PROTO_MUST_CHECK bool proto_json_integer(const json_t *object, const char *key, int64_t min,
                                         int64_t max, int64_t *value, struct proto_error *error);
PROTO_MUST_CHECK bool proto_json_real(const json_t *object, const char *key, double *value,
                                      struct proto_error *error);
PROTO_MUST_CHECK bool proto_json_boolean(const json_t *object, const char *key, bool *value,
                                         struct proto_error *error);
PROTO_MUST_CHECK bool proto_json_array(const json_t *object, const char *key, size_t count_max,
                                       const json_t **array, struct proto_error *error);
PROTO_MUST_CHECK bool proto_json_object(const json_t *object, const char *key, const json_t **inner,
                                        struct proto_error *error);
// 64-bit hashes and seeds are texts of 16 hex digits, because JSON numbers are doubles elsewhere.
PROTO_MUST_CHECK bool proto_json_hex64(const json_t *object, const char *key, uint64_t *value,
                                       struct proto_error *error);
void proto_hex64(uint64_t value, char text[static 17]);
// A JSON text of any bytes: what is not UTF-8 becomes '?'. NULL: no memory. For names of files and
// errors, which json_string refuses when they hold other bytes.
json_t *proto_json_string(const char *text);

#endif
