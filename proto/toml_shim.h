// proto/toml_shim.h - TOML as a flat list of values that C can walk: the C++ parser stays behind it
// and lets no exception out, lack of memory included.
//
// A document is an array of nodes, parents before their children and children in the order in which
// they were written. Node 0 is the document itself, a table without a key.
#ifndef PROTO_TOML_SHIM_H
#define PROTO_TOML_SHIM_H

#include "proto/error.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PROTO_TOML_BYTES_MAX (1u << 20)  // of a document
#define PROTO_TOML_NODES_MAX 65536

enum proto_toml_type {
    PROTO_TOML_TABLE,
    PROTO_TOML_ARRAY,
    PROTO_TOML_TEXT,
    PROTO_TOML_INTEGER,
    PROTO_TOML_REAL,
    PROTO_TOML_BOOLEAN,
    PROTO_TOML_TIME,  // date, time or both; its value is not kept
};
const char *proto_toml_type_name(enum proto_toml_type type);  // "an integer"

struct proto_toml_node {
    enum proto_toml_type type;
    uint32_t parent;        // node number; 0 for those at the top
    uint32_t children;      // TABLE, ARRAY: how many
    uint32_t line, column;  // of the key, or of the value in an array; from 1
    const char *key;        // "" in an array
    const char *text;       // TEXT, without NUL inside; else ""
    int64_t integer;        // INTEGER
    double real;            // REAL, may be infinite or NaN
    bool boolean;           // BOOLEAN
};

struct proto_toml {
    struct proto_toml_node *nodes;
    uint32_t count;
    char *texts;  // what keys and texts point into
};

// Parses `size_bytes` of UTF-8. PROTO_USAGE with the parser's words when it is no TOML, too large,
// or has a NUL in a text; *at then says where (from 1; 0: nowhere in particular). On success the
// caller frees *toml.
struct proto_toml_place {
    uint32_t line, column;
};
PROTO_MUST_CHECK bool proto_toml_parse(const char *text, size_t size_bytes,
                                       struct proto_toml **toml, struct proto_toml_place *at,
                                       struct proto_error *error);
void proto_toml_free(struct proto_toml **toml);  // accepts NULL; leaves NULL behind

// The text as a TOML string with its quotes; the caller frees. NULL and *error on lack of memory.
PROTO_MUST_CHECK char *proto_toml_quote(const char *text, struct proto_error *error);

const char *proto_toml_version(void);  // of the parser: "3.3.0"

#ifdef __cplusplus
}
#endif

#endif
