// proto/wire_decode.c - reads a header that somebody else wrote.
//
// The bytes are walked first (one map, no count larger than what is left, few levels, no types that
// a header has no use for), before msgpack-c may allocate for them; then `check`; then version and
// kind; then each field against its row. Every failure names the field.
#include "proto/files.h"
#include "proto/wire_messages.h"

#include <inttypes.h>
#include <msgpack.h>
#include <string.h>

#define HEADER_CHECK_BYTES 15  // 0xa5 "check" 0xcf and 8 bytes
#define HEADER_FIELDS_MAX 16

// --- walking untrusted bytes ---

// What one msgpack item is: bytes of its own, and items inside it. False: not for a header.
static bool item_measure(const uint8_t *at, size_t left, size_t *own_bytes, size_t *inside) {
    static const uint8_t number_bytes[] = {2, 3, 5, 9};  // u8..u64, i8..i64 with their tag
    const uint8_t tag = at[0];
    *own_bytes = 1;
    *inside = 0;
    if (tag <= 0x7f || tag >= 0xe0) return true;  // small integers
    if (tag <= 0x8f) return *inside = 2 * (size_t)(tag & 0x0f), true;
    if (tag <= 0x9f) return *inside = tag & 0x0f, true;
    if (tag <= 0xbf) return *own_bytes = 1 + (size_t)(tag & 0x1f), true;
    if (tag == 0xc2 || tag == 0xc3) return true;
    if (tag >= 0xcc && tag <= 0xd3) return *own_bytes = number_bytes[(tag - 0xcc) % 4], true;
    size_t width = 0;  // of the length that follows the tag
    if (tag == 0xd9) width = 1;
    if (tag == 0xda || tag == 0xdc || tag == 0xde) width = 2;
    if (tag == 0xdb || tag == 0xdd || tag == 0xdf) width = 4;
    if (width == 0 || left < 1 + width) return false;  // nil, bin, ext, float; or cut off
    size_t length = 0;
    for (size_t i = 1; i <= width; i++) length = length << 8 | at[i];
    *own_bytes = 1 + width;
    if (tag <= 0xdb) return proto_add(*own_bytes, length, own_bytes);
    return proto_mul(length, tag >= 0xde ? 2 : 1, inside);
}

static bool header_walk(const uint8_t *bytes, size_t size_bytes, struct proto_error *error) {
    size_t waiting[PROTO_HEADER_LEVELS_MAX] = {1};  // items still to come at each level
    size_t level = 0, at = 0;
    while (waiting[level] > 0 || level > 0) {
        if (waiting[level] == 0) {
            level--;
            continue;
        }
        size_t own_bytes = 0, inside = 0;
        if (at >= size_bytes)
            return proto_fail(error, PROTO_DAMAGED, "header ends in the middle, after %zu bytes",
                              size_bytes);
        if (!item_measure(bytes + at, size_bytes - at, &own_bytes, &inside))
            return proto_fail(error, PROTO_DAMAGED,
                              "header has no use for the msgpack type 0x%02x at byte %zu",
                              bytes[at], at);
        if (own_bytes > size_bytes - at || inside > size_bytes - at - own_bytes)
            return proto_fail(error, PROTO_DAMAGED,
                              "header says more at byte %zu than its %zu bytes can hold", at,
                              size_bytes);
        waiting[level]--;
        at += own_bytes;
        if (inside == 0) continue;
        if (level + 1 == PROTO_HEADER_LEVELS_MAX)
            return proto_fail(error, PROTO_DAMAGED, "header nests deeper than %d levels",
                              PROTO_HEADER_LEVELS_MAX);
        waiting[++level] = inside;
    }
    if (at != size_bytes)
        return proto_fail(error, PROTO_DAMAGED, "header has %zu bytes behind its end",
                          size_bytes - at);
    return true;
}

static bool check_verify(const uint8_t *bytes, size_t size_bytes, struct proto_error *error) {
    static const uint8_t key[] = {0xa5, 'c', 'h', 'e', 'c', 'k', 0xcf};
    if (size_bytes < HEADER_CHECK_BYTES ||
        memcmp(bytes + size_bytes - HEADER_CHECK_BYTES, key, sizeof key) != 0)
        return proto_fail(error, PROTO_DAMAGED, "header does not end in its check");
    uint64_t check = 0;
    for (size_t i = size_bytes - 8; i < size_bytes; i++) check = check << 8 | bytes[i];
    if (check != proto_hash(bytes, size_bytes - 8))
        return proto_fail(error, PROTO_DAMAGED, "header's check disagrees with its bytes");
    return true;
}

// --- decoding ---

static bool text_is(const msgpack_object *object, const char *text, size_t length) {
    return object->type == MSGPACK_OBJECT_STR && object->via.str.size == length &&
           memcmp(object->via.str.ptr, text, length) == 0;
}

static bool type_fail(const struct proto_wire_schema *schema, const struct proto_wire_field *field,
                      const char *expected, struct proto_error *error) {
    return proto_fail(error, PROTO_DAMAGED, "%s.%s is not %s", schema->name, field->name, expected);
}

static bool decode_fields(const msgpack_object *map, const struct proto_wire_schema *schema,
                          size_t common, struct proto_wire_header *header, void *base,
                          struct proto_error *error);

static bool decode_text(const struct proto_wire_schema *schema,
                        const struct proto_wire_field *field, const msgpack_object *value,
                        char *member, struct proto_error *error) {
    if (value->type != MSGPACK_OBJECT_STR) return type_fail(schema, field, "a text", error);
    const size_t length = value->via.str.size;
    if (!proto_wire_range(schema, field, length, PROTO_DAMAGED, error)) return false;
    if (length > 0 && memchr(value->via.str.ptr, '\0', length))
        return type_fail(schema, field, "a text: there is a zero byte in it", error);
    if (length > 0) memcpy(member, value->via.str.ptr, length);
    member[length] = '\0';
    return true;
}

static bool decode_choice(const struct proto_wire_schema *schema,
                          const struct proto_wire_field *field, const msgpack_object *value,
                          char *member, struct proto_error *error) {
    size_t length = 0;
    for (uint64_t number = 0; number <= field->max; number++) {
        const char *text = proto_wire_choice(field->choices, number, &length);
        if (!text || !text_is(value, text, length)) continue;
        memcpy(member, &number, field->size_bytes);
        return true;
    }
    return proto_fail(error, PROTO_DAMAGED, "%s.%s is none of %s", schema->name, field->name,
                      field->choices);
}

static bool decode_number(const struct proto_wire_schema *schema,
                          const struct proto_wire_field *field, const msgpack_object *value,
                          char *member, struct proto_error *error) {
    if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return type_fail(schema, field, "a number of 0 or more", error);
    if (!proto_wire_range(schema, field, value->via.u64, PROTO_DAMAGED, error)) return false;
    memcpy(member, &value->via.u64, field->size_bytes);
    return true;
}

static bool decode_shape(const struct proto_wire_schema *schema,
                         const struct proto_wire_field *field, const msgpack_object *value,
                         struct proto_wire_tensor *tensor, struct proto_error *error) {
    if (value->type != MSGPACK_OBJECT_ARRAY) return type_fail(schema, field, "a list", error);
    if (!proto_wire_range(schema, field, value->via.array.size, PROTO_DAMAGED, error)) return false;
    tensor->dimensions = value->via.array.size;
    for (uint32_t i = 0; i < tensor->dimensions; i++) {
        const msgpack_object *extent = &value->via.array.ptr[i];
        if (extent->type != MSGPACK_OBJECT_POSITIVE_INTEGER || extent->via.u64 > UINT32_MAX)
            return type_fail(schema, field, "a list of 32-bit numbers", error);
        tensor->shape[i] = (uint32_t)extent->via.u64;
    }
    return true;
}

static bool decode_list(const struct proto_wire_schema *schema,
                        const struct proto_wire_field *field, const msgpack_object *value,
                        struct proto_wire_header *header, struct proto_error *error) {
    if (value->type != MSGPACK_OBJECT_ARRAY) return type_fail(schema, field, "a list", error);
    const uint32_t count = value->via.array.size;
    if (!proto_wire_range(schema, field, count, PROTO_DAMAGED, error)) return false;
    const bool tickets = field->type == PROTO_WIRE_TYPE_TICKETS;
    for (uint32_t i = 0; i < count; i++) {
        void *item = tickets ? (void *)&header->message.tickets[i] : (void *)&header->tensors[i];
        if (!decode_fields(&value->via.array.ptr[i],
                           tickets ? &proto_wire_ticket_schema : &proto_wire_tensor_schema, 0,
                           header, item, error))
            return proto_error_where(error, "%s[%u]", field->name, i);
    }
    if (tickets)
        header->message.ticket_count = count;
    else
        header->tensor_count = count;
    return true;
}

static bool decode_field(const struct proto_wire_schema *schema,
                         const struct proto_wire_field *field, const msgpack_object *value,
                         struct proto_wire_header *header, void *base, struct proto_error *error) {
    char *member = (char *)base + field->offset;
    switch (field->type) {
    case PROTO_WIRE_TYPE_TEXT:
        return decode_text(schema, field, value, member, error);
    case PROTO_WIRE_TYPE_CHOICE:
        return decode_choice(schema, field, value, member, error);
    case PROTO_WIRE_TYPE_SHAPE:
        return decode_shape(schema, field, value, base, error);
    case PROTO_WIRE_TYPE_TICKETS:
    case PROTO_WIRE_TYPE_TENSORS:
        return decode_list(schema, field, value, header, error);
    case PROTO_WIRE_TYPE_BOOLEAN:
        if (value->type != MSGPACK_OBJECT_BOOLEAN)
            return type_fail(schema, field, "true or false", error);
        memcpy(member, &value->via.boolean, sizeof(bool));
        return true;
    default:
        return decode_number(schema, field, value, member, error);
    }
}

// `common` entries of the map are those that every header has; they were read before. All fields
// are tried, so that a ticket's id is known even when something else is wrong; the first failure
// is the one reported.
static bool decode_fields(const msgpack_object *map, const struct proto_wire_schema *schema,
                          size_t common, struct proto_wire_header *header, void *base,
                          struct proto_error *error) {
    bool seen[HEADER_FIELDS_MAX] = {false}, done = true;
    struct proto_error later = {0};
    if (map->type != MSGPACK_OBJECT_MAP)
        return proto_fail(error, PROTO_DAMAGED, "%s is not a map", schema->name);
    for (size_t k = common > 0 ? common - 1 : 0; k + (common > 0) < map->via.map.size; k++) {
        const msgpack_object *key = &map->via.map.ptr[k].key;
        struct proto_error *report = done ? error : &later;
        size_t i = 0;
        while (i < schema->count &&
               !text_is(key, schema->fields[i].name, strlen(schema->fields[i].name)))
            i++;
        if (i == schema->count) {
            const bool text = key->type == MSGPACK_OBJECT_STR;
            done = proto_fail(report, PROTO_DAMAGED, "%s has no field \"%.*s\"", schema->name,
                              text ? (int)(key->via.str.size < 32 ? key->via.str.size : 32) : 10,
                              text ? key->via.str.ptr : "(no text) ");
        } else if (seen[i]) {
            done = proto_fail(report, PROTO_DAMAGED, "%s.%s is there twice", schema->name,
                              schema->fields[i].name);
        } else {
            seen[i] = true;
            if (!decode_field(schema, &schema->fields[i], &map->via.map.ptr[k].val, header, base,
                              report))
                done = false;
        }
    }
    for (size_t i = 0; done && i < schema->count; i++)
        if (!seen[i])
            done = proto_fail(error, PROTO_DAMAGED, "%s.%s is missing", schema->name,
                              schema->fields[i].name);
    return done;
}

static bool decode_map(const msgpack_object *map, struct proto_wire_header *header,
                       struct proto_error *error) {
    struct proto_message *message = &header->message;
    if (map->type != MSGPACK_OBJECT_MAP || map->via.map.size < 3)
        return proto_fail(error, PROTO_DAMAGED, "header is not a map of v, kind, ..., check");
    const msgpack_object_kv *version = &map->via.map.ptr[0], *kind = &map->via.map.ptr[1];
    if (!text_is(&version->key, "v", 1) || version->val.type != MSGPACK_OBJECT_POSITIVE_INTEGER ||
        version->val.via.u64 < 1 || version->val.via.u64 > UINT32_MAX)
        return proto_fail(error, PROTO_DAMAGED, "header does not begin with its version v");
    message->version = (uint32_t)version->val.via.u64;
    if (message->version != PROTO_VERSION)
        return proto_fail(error, PROTO_DAMAGED,
                          "protocol version %u, this build speaks %d: run the same version of "
                          "pipeline on both ends",
                          message->version, PROTO_VERSION);
    if (!text_is(&kind->key, "kind", 4) || kind->val.type != MSGPACK_OBJECT_STR)
        return proto_fail(error, PROTO_DAMAGED, "header's second field is not its kind");
    for (unsigned i = PROTO_KIND_READY; i <= PROTO_KIND_BYE; i++) {
        const char *name = proto_wire_schema(i)->name;
        if (text_is(&kind->val, name, strlen(name))) message->kind = i;
    }
    if (message->kind == 0) {
        const uint32_t length = kind->val.via.str.size;
        return proto_fail(error, PROTO_DAMAGED, "unknown kind \"%.*s\"",
                          (int)(length < 32 ? length : 32), kind->val.via.str.ptr);
    }
    return decode_fields(map, proto_wire_schema(message->kind), 3, header, header, error);
}

bool proto_wire_decode(const uint8_t *bytes, size_t size_bytes, struct proto_wire_header *header,
                       struct proto_error *error) {
    *header = (struct proto_wire_header){0};
    if (size_bytes == 0 || size_bytes > PROTO_HEADER_BYTES_MAX)
        return proto_fail(error, PROTO_DAMAGED, "header has %zu bytes, must have 1..%d", size_bytes,
                          PROTO_HEADER_BYTES_MAX);
    if (!header_walk(bytes, size_bytes, error)) return false;
    if (!check_verify(bytes, size_bytes, error)) return false;
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    size_t used = 0;
    bool done = false;
    if (msgpack_unpack_next(&unpacked, (const char *)bytes, size_bytes, &used) !=
        MSGPACK_UNPACK_SUCCESS)
        proto_fail(error, PROTO_DAMAGED, "header is not msgpack");
    else
        done = decode_map(&unpacked.data, header, error);
    msgpack_unpacked_destroy(&unpacked);
    return done;
}
