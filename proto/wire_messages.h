// proto/wire_messages.h - the header of a message as tables: a field is one row, and encoding,
// decoding, validation, the tests' seeds and docs/wire.md walk the rows.
//
// A header is one msgpack map. Four fields are in every header of every version, so that any two
// builds can at least refuse each other by name: `v` and `kind` first, `check` last. `check` is a
// msgpack uint 64 (0xcf and 8 bytes, big-endian): xxh64, seed 0, of the header's bytes before those
// 8. Between them stand the fields of the kind, all of them, in any order, and nothing else.
#ifndef PROTO_WIRE_MESSAGES_H
#define PROTO_WIRE_MESSAGES_H

#include "proto/wire.h"

#include <stdio.h>

#define PROTO_HEADER_LEVELS_MAX 8  // of msgpack maps and lists
#define PROTO_WIRE_SHAPE_MAX 6
#define PROTO_WIRE_TENSORS_MAX 16

enum proto_wire_dtype { PROTO_WIRE_F32, PROTO_WIRE_U8, PROTO_WIRE_U32, PROTO_WIRE_U64 };

// How one tensor frame is described in the header of a batch.
struct proto_wire_tensor {
    char name[24];
    uint32_t dtype;    // enum proto_wire_dtype
    uint32_t packing;  // enum proto_packing
    uint32_t dimensions, shape[PROTO_WIRE_SHAPE_MAX];
    uint64_t bytes, hash;  // of the unpacked tensor; xxh64, seed 0
};

// A message with what only the header knows.
struct proto_wire_header {
    struct proto_message message;
    struct proto_wire_tensor tensors[PROTO_WIRE_TENSORS_MAX];
    uint32_t tensor_count;
};

// X(type, member, name, min, max, choices, unit, help); member of struct proto_wire_header.
// For texts, lists and shapes min and max are those of the length.
#define PROTO_WIRE_READY(X)                                                                        \
    X(TEXT, message.ready.build, "build", 1, 31, "", "", "version of the program")                 \
    X(U64, message.ready.index_hash, "index_hash", 0, UINT64_MAX, "", "",                          \
      "of index.json: equal index, equal stream")                                                  \
    X(U64, message.ready.codec_hash, "codec_hash", 0, UINT64_MAX, "", "", "of codec.json")         \
    X(U32, message.ready.number, "number", 0, UINT32_MAX, "", "", "of the loader in its run")      \
    X(U32, message.ready.credits, "credits", 1, PROTO_TICKETS_MAX, "", "tickets",                  \
      "it takes from this rank at once")
#define PROTO_WIRE_TICKETS(X)                                                                      \
    X(TICKETS, message.tickets, "tickets", 0, PROTO_TICKETS_MAX, "", "tickets",                    \
      "leases; an empty list is a ping")
#define PROTO_WIRE_BATCH(X)                                                                        \
    X(U64, message.batch.ticket, "ticket", 1, UINT64_MAX, "", "", "that this is the answer to")    \
    X(U32, message.batch.build_us, "build_us", 0, UINT32_MAX, "", "us", "that building took")      \
    X(TENSORS, tensors, "tensors", 1, PROTO_WIRE_TENSORS_MAX, "", "tensors",                       \
      "one for each frame after the header, in their order")
#define PROTO_WIRE_FAILED(X)                                                                       \
    X(U64, message.failed.ticket, "ticket", 1, UINT64_MAX, "", "", "that cannot be built")         \
    X(I32, message.failed.status, "status", 1, 6, "", "", "exit code that the failure means")      \
    X(TEXT, message.failed.text, "text", 0, 767, "", "", "what was found, expected and to do")     \
    X(TEXT, message.failed.where, "where", 0, 511, "", "", "file and dataset")
#define PROTO_WIRE_REFUSED(X)                                                                      \
    X(BOOLEAN, message.refused.final, "final", 0, 1, "", "", "true: do not come back")             \
    X(TEXT, message.refused.text, "text", 0, 767, "", "", "why")
#define PROTO_WIRE_BYE(X)

// member of struct proto_ticket
#define PROTO_WIRE_TICKET(X)                                                                       \
    X(U64, id, "id", 1, UINT64_MAX, "", "", "attempt of the trainer << 40 | running number")       \
    X(CHOICE, validation, "kind", 0, 1, "train|validation", "", "which of the two streams")        \
    X(U64, first, "first", 0, UINT64_MAX, "", "", "position in the stream")                        \
    X(U32, count, "count", 1, PROTO_TICKET_SAMPLES_MAX, "", "samples", "positions from first on")

// member of struct proto_wire_tensor
#define PROTO_WIRE_TENSOR(X)                                                                       \
    X(TEXT, name, "name", 1, 23, "", "", "see the table of tensors")                               \
    X(CHOICE, dtype, "dtype", 0, 3, "f32|u8|u32|u64", "", "little-endian")                         \
    X(SHAPE, shape, "shape", 1, PROTO_WIRE_SHAPE_MAX, "", "", "outermost first")                   \
    X(CHOICE, packing, "packing", 0, 1, "raw|lz4", "",                                             \
      "of the frame: the bytes, or one lz4 frame of them")                                         \
    X(U64, bytes, "bytes", 0, UINT32_MAX, "", "bytes", "of the unpacked tensor")                   \
    X(U64, hash, "hash", 0, UINT64_MAX, "", "", "of the unpacked tensor: xxh64, seed 0")

// The tensors of a batch: X(member of struct proto_batch, dtype, shape, meaning). Letters of a
// shape: B samples, W width, C chunk, H history, K cameras, Y height, X width in pixels, 3 RGB.
#define PROTO_WIRE_BATCH_TENSORS(X)                                                                \
    X(state, F32, "BW", "encoded state")                                                           \
    X(state_mask, F32, "BW", "1 where the state has a channel")                                    \
    X(action_mask, F32, "BW", "1 where the action has a channel")                                  \
    X(action, F32, "BCW", "encoded actions from the current moment on")                            \
    X(images, U8, "BHKYX3", "RGB as recorded, oldest moment first")                                \
    X(image_mask, U8, "BHK", "1: seen; 0: absent or dropped")                                      \
    X(ctrl_freq, F32, "B", "Hz; 0: dropped")                                                       \
    X(task, U32, "B", "row of the tasks in index.json")                                            \
    X(language_kept, U8, "B", "0: dropped")                                                        \
    X(steps_valid, U32, "B", "real actions of the chunk; the rest is padding")                     \
    X(frame_ids, U64, "BHK", "content hash of each camera frame; 0: unknown")                      \
    X(samples, U64, "B", "sample ids")

enum proto_wire_type {
    PROTO_WIRE_TYPE_U32,
    PROTO_WIRE_TYPE_U64,
    PROTO_WIRE_TYPE_I32,
    PROTO_WIRE_TYPE_BOOLEAN,
    PROTO_WIRE_TYPE_TEXT,
    PROTO_WIRE_TYPE_CHOICE,  // a text; stored as its number among the choices
    PROTO_WIRE_TYPE_SHAPE,
    PROTO_WIRE_TYPE_TICKETS,
    PROTO_WIRE_TYPE_TENSORS,
};

struct proto_wire_field {
    const char *name, *choices, *unit, *help;
    enum proto_wire_type type;
    size_t offset, size_bytes;  // of the member
    uint64_t min, max;
};
struct proto_wire_schema {
    const char *name, *direction, *help;
    const struct proto_wire_field *fields;
    size_t count;
};
// NULL for a number that is no kind.
const struct proto_wire_schema *proto_wire_schema(enum proto_kind kind);

extern const struct proto_wire_schema proto_wire_ticket_schema, proto_wire_tensor_schema;
// The choice of that number as a piece of "a|b|c", not ended by a zero byte; NULL: none.
const char *proto_wire_choice(const char *choices, uint64_t number, size_t *length);
// Whether a field's value, or a text's or list's length, is in its row's range.
PROTO_MUST_CHECK bool proto_wire_range(const struct proto_wire_schema *schema,
                                       const struct proto_wire_field *field, uint64_t value,
                                       enum proto_status status, struct proto_error *error);

// One row of PROTO_WIRE_BATCH_TENSORS.
struct proto_wire_part {
    const char *name, *letters, *help;
    enum proto_wire_dtype dtype;
    size_t offset;  // of the pointer in struct proto_batch
};
const struct proto_wire_part *proto_wire_parts(size_t *count);
// How a row looks in a batch of `count` samples; name, packing raw and hash 0 set too. False: its
// sizes do not fit a frame.
PROTO_MUST_CHECK bool proto_wire_part_describe(const struct proto_wire_part *part,
                                               const struct proto_batch *batch, uint32_t count,
                                               struct proto_wire_tensor *tensor);
void *proto_wire_part_data(const struct proto_wire_part *part, const struct proto_batch *batch);

// Writes the header's bytes. PROTO_FAILED: a field is out of its row's range, which is our bug.
PROTO_MUST_CHECK bool proto_wire_encode(const struct proto_wire_header *header, uint8_t *bytes,
                                        size_t capacity, size_t *size_bytes,
                                        struct proto_error *error);
// Reads untrusted bytes. On PROTO_DAMAGED message.version, kind and the ticket are filled as far as
// they could be read.
PROTO_MUST_CHECK bool proto_wire_decode(const uint8_t *bytes, size_t size_bytes,
                                        struct proto_wire_header *header,
                                        struct proto_error *error);

// Prints docs/wire.md, made from the tables above. False: the stream failed.
bool proto_wire_docs(FILE *out);

#endif
