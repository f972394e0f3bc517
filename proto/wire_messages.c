// proto/wire_messages.c - the tables of wire_messages.h as data, and the walk over them that makes
// a header's bytes. The walk back is in wire_decode.c.
#include "proto/wire_messages.h"

#include "proto/files.h"

#include <inttypes.h>
#include <msgpack.h>
#include <string.h>

#define DESCRIBE_IN(owner, type, member, name, min, max, choices, unit, help)                      \
    {name,                                                                                         \
     choices,                                                                                      \
     unit,                                                                                         \
     help,                                                                                         \
     PROTO_WIRE_TYPE_##type,                                                                       \
     offsetof(struct owner, member),                                                               \
     sizeof((struct owner *)0)->member,                                                            \
     min,                                                                                          \
     max},
#define DESCRIBE(...) DESCRIBE_IN(proto_wire_header, __VA_ARGS__)
#define DESCRIBE_TICKET(...) DESCRIBE_IN(proto_ticket, __VA_ARGS__)
#define DESCRIBE_TENSOR(...) DESCRIBE_IN(proto_wire_tensor, __VA_ARGS__)

static const struct proto_wire_field ready_fields[] = {PROTO_WIRE_READY(DESCRIBE)};
static const struct proto_wire_field tickets_fields[] = {PROTO_WIRE_TICKETS(DESCRIBE)};
static const struct proto_wire_field batch_fields[] = {PROTO_WIRE_BATCH(DESCRIBE)};
static const struct proto_wire_field failed_fields[] = {PROTO_WIRE_FAILED(DESCRIBE)};
static const struct proto_wire_field refused_fields[] = {PROTO_WIRE_REFUSED(DESCRIBE)};
static const struct proto_wire_field ticket_fields[] = {PROTO_WIRE_TICKET(DESCRIBE_TICKET)};
static const struct proto_wire_field tensor_fields[] = {PROTO_WIRE_TENSOR(DESCRIBE_TENSOR)};

// Indexed by enum proto_kind.
static const struct proto_wire_schema schemas[] = {
    [PROTO_KIND_READY] = {"ready", "loader to rank",
                          "Who the loader is and what it can take. Sent every 250 ms; silence "
                          "means that it is gone.",
                          ready_fields, PROTO_COUNT(ready_fields)},
    [PROTO_KIND_TICKETS] = {"tickets", "rank to loader",
                            "Leases: build these samples and send them back.", tickets_fields,
                            PROTO_COUNT(tickets_fields)},
    [PROTO_KIND_BATCH] = {"batch", "loader to rank", "The answer to one ticket.", batch_fields,
                          PROTO_COUNT(batch_fields)},
    [PROTO_KIND_FAILED] = {"failed", "loader to rank",
                           "A ticket that cannot be built, because the data is not what the "
                           "index says.",
                           failed_fields, PROTO_COUNT(failed_fields)},
    [PROTO_KIND_REFUSED] = {"refused", "rank to loader", "A message was not accepted.",
                            refused_fields, PROTO_COUNT(refused_fields)},
    [PROTO_KIND_BYE] = {"bye", "loader to rank", "The loader leaves; its leases go to others.",
                        NULL, 0},
};
const struct proto_wire_schema proto_wire_ticket_schema = {"ticket", "", "", ticket_fields,
                                                           PROTO_COUNT(ticket_fields)};
const struct proto_wire_schema proto_wire_tensor_schema = {"tensor", "", "", tensor_fields,
                                                           PROTO_COUNT(tensor_fields)};

#define DESCRIBE_PART(member, dtype, letters, help)                                                \
    {#member, letters, help, PROTO_WIRE_##dtype, offsetof(struct proto_batch, member)},
static const struct proto_wire_part parts[] = {PROTO_WIRE_BATCH_TENSORS(DESCRIBE_PART)};
_Static_assert(PROTO_COUNT(parts) <= PROTO_WIRE_TENSORS_MAX, "a batch has room for its tensors");
static const size_t dtype_bytes[] = {4, 1, 4, 8};

const struct proto_wire_schema *proto_wire_schema(enum proto_kind kind) {
    if ((unsigned)kind >= PROTO_COUNT(schemas) || !schemas[kind].name) return NULL;
    return &schemas[kind];
}

// --- tensors of a batch ---

const struct proto_wire_part *proto_wire_parts(size_t *count) {
    *count = PROTO_COUNT(parts);
    return parts;
}

void *proto_wire_part_data(const struct proto_wire_part *part, const struct proto_batch *batch) {
    void *data = NULL;  // copied, because a float * is not to be read as a void *
    memcpy(&data, (const char *)batch + part->offset, sizeof data);
    return data;
}

static uint32_t part_extent(char letter, const struct proto_batch *batch, uint32_t count) {
    switch (letter) {
    case 'B':
        return count;
    case 'W':
        return batch->width;
    case 'C':
        return batch->chunk;
    case 'H':
        return batch->history;
    case 'K':
        return batch->cameras;
    case 'Y':
        return batch->height;
    case 'X':
        return batch->width_px;
    default:
        return (uint32_t)(letter - '0');
    }
}

bool proto_wire_part_describe(const struct proto_wire_part *part, const struct proto_batch *batch,
                              uint32_t count, struct proto_wire_tensor *tensor) {
    size_t bytes = dtype_bytes[part->dtype];
    *tensor = (struct proto_wire_tensor){.dtype = part->dtype, .packing = PROTO_RAW};
    snprintf(tensor->name, sizeof tensor->name, "%s", part->name);
    for (const char *letter = part->letters; *letter; letter++) {
        const uint32_t extent = part_extent(*letter, batch, count);
        tensor->shape[tensor->dimensions++] = extent;
        if (!proto_mul(bytes, extent, &bytes) || bytes > UINT32_MAX) return false;
    }
    tensor->bytes = bytes;
    return true;
}

// --- encoding ---

struct header_writer {
    uint8_t *bytes;
    size_t used, capacity;
};

static int header_write(void *context, const char *bytes, size_t size_bytes) {
    struct header_writer *writer = context;
    if (size_bytes > writer->capacity - writer->used) return -1;
    memcpy(writer->bytes + writer->used, bytes, size_bytes);
    writer->used += size_bytes;
    return 0;
}

static bool pack_text(msgpack_packer *packer, const char *text, size_t length) {
    return msgpack_pack_str(packer, length) == 0 &&
           msgpack_pack_str_body(packer, text, length) == 0;
}

const char *proto_wire_choice(const char *choices, uint64_t number, size_t *length) {
    for (; number > 0; number--) {
        choices = strchr(choices, '|');
        if (!choices) return NULL;
        choices++;
    }
    *length = strcspn(choices, "|");
    return choices;
}

static uint64_t member_number(const void *member, size_t size_bytes) {
    uint64_t number = 0;  // little-endian, as all machines this is built for
    memcpy(&number, member, size_bytes);
    return number;
}

bool proto_wire_range(const struct proto_wire_schema *schema, const struct proto_wire_field *field,
                      uint64_t value, enum proto_status status, struct proto_error *error) {
    if (value >= field->min && value <= field->max) return true;
    const bool length = field->type == PROTO_WIRE_TYPE_TEXT || field->type == PROTO_WIRE_TYPE_SHAPE;
    const char *unit = length ? " long" : field->unit[0] != '\0' ? field->unit : "";
    return proto_fail(error, status, "%s.%s is %" PRIu64 "%s%s, must be %" PRIu64 "..%" PRIu64,
                      schema->name, field->name, value,
                      unit[0] != '\0' && unit[0] != ' ' ? " " : "", unit, field->min, field->max);
}

static bool encode_fields(msgpack_packer *packer, const struct proto_wire_schema *schema,
                          const struct proto_wire_header *header, const void *base,
                          struct proto_error *error);

static bool encode_list(msgpack_packer *packer, const struct proto_wire_field *field,
                        const struct proto_wire_header *header, const char *first, size_t count,
                        struct proto_error *error) {
    const bool tickets = field->type == PROTO_WIRE_TYPE_TICKETS;
    const struct proto_wire_schema *item =
        tickets ? &proto_wire_ticket_schema : &proto_wire_tensor_schema;
    const size_t stride = tickets ? sizeof(struct proto_ticket) : sizeof(struct proto_wire_tensor);
    if (msgpack_pack_array(packer, count) != 0) return false;
    for (size_t i = 0; i < count; i++) {
        if (msgpack_pack_map(packer, item->count) != 0) return false;
        if (!encode_fields(packer, item, header, first + i * stride, error)) return false;
    }
    return true;
}

static bool encode_shape(msgpack_packer *packer, const struct proto_wire_tensor *tensor) {
    if (msgpack_pack_array(packer, tensor->dimensions) != 0) return false;
    for (uint32_t i = 0; i < tensor->dimensions; i++)
        if (msgpack_pack_uint32(packer, tensor->shape[i]) != 0) return false;
    return true;
}

static bool encode_field(msgpack_packer *packer, const struct proto_wire_schema *schema,
                         const struct proto_wire_field *field,
                         const struct proto_wire_header *header, const void *base,
                         struct proto_error *error) {
    const char *member = (const char *)base + field->offset;
    uint64_t value = 0;
    switch (field->type) {
    case PROTO_WIRE_TYPE_TEXT:
        value = strnlen(member, field->size_bytes);
        break;
    case PROTO_WIRE_TYPE_SHAPE:
        value = ((const struct proto_wire_tensor *)base)->dimensions;
        break;
    case PROTO_WIRE_TYPE_TICKETS:
        value = header->message.ticket_count;
        break;
    case PROTO_WIRE_TYPE_TENSORS:
        value = header->tensor_count;
        break;
    default:
        value = member_number(member, field->size_bytes);
    }
    if (!proto_wire_range(schema, field, value, PROTO_FAILED, error)) return false;
    size_t length = 0;
    const char *choice = NULL;
    switch (field->type) {
    case PROTO_WIRE_TYPE_TEXT:
        return pack_text(packer, member, (size_t)value);
    case PROTO_WIRE_TYPE_SHAPE:
        return encode_shape(packer, base);
    case PROTO_WIRE_TYPE_TICKETS:
    case PROTO_WIRE_TYPE_TENSORS:
        return encode_list(packer, field, header, member, (size_t)value, error);
    case PROTO_WIRE_TYPE_BOOLEAN:
        return (value ? msgpack_pack_true(packer) : msgpack_pack_false(packer)) == 0;
    case PROTO_WIRE_TYPE_CHOICE:
        choice = proto_wire_choice(field->choices, value, &length);
        return choice && pack_text(packer, choice, length);
    default:
        return msgpack_pack_uint64(packer, value) == 0;
    }
}

static bool encode_fields(msgpack_packer *packer, const struct proto_wire_schema *schema,
                          const struct proto_wire_header *header, const void *base,
                          struct proto_error *error) {
    for (size_t i = 0; i < schema->count; i++) {
        const struct proto_wire_field *field = &schema->fields[i];
        if (!pack_text(packer, field->name, strlen(field->name))) return false;
        if (!encode_field(packer, schema, field, header, base, error)) return false;
    }
    return true;
}

bool proto_wire_encode(const struct proto_wire_header *header, uint8_t *bytes, size_t capacity,
                       size_t *size_bytes, struct proto_error *error) {
    const struct proto_wire_schema *schema = proto_wire_schema(header->message.kind);
    if (!schema)
        return proto_fail(error, PROTO_FAILED, "%d is no kind of message",
                          (int)header->message.kind);
    struct header_writer writer = {bytes, 0, capacity};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &writer, header_write);
    proto_fail(error, PROTO_FAILED, "the header of a %s does not fit %zu bytes", schema->name,
               capacity);  // what a full writer means; ranges say their own
    if (msgpack_pack_map(&packer, schema->count + 3) != 0) return false;
    if (!pack_text(&packer, "v", 1) || msgpack_pack_uint32(&packer, PROTO_VERSION) != 0)
        return false;
    if (!pack_text(&packer, "kind", 4) || !pack_text(&packer, schema->name, strlen(schema->name)))
        return false;
    if (!encode_fields(&packer, schema, header, header, error)) return false;
    if (!pack_text(&packer, "check", 5) || header_write(&writer, "\xcf", 1) != 0) return false;
    const uint64_t check = proto_hash(bytes, writer.used);
    char big[8];
    for (size_t i = 0; i < sizeof big; i++) big[i] = (char)(check >> (56 - 8 * i) & 0xff);
    if (header_write(&writer, big, sizeof big) != 0) return false;
    *size_bytes = writer.used;
    *error = (struct proto_error){0};
    return true;
}
