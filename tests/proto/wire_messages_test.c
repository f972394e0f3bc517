// tests/proto/wire_messages_test.c - headers made by hand, field by field: what is refused, and in
// which words; that our own are never wrong, and that the page names all there is.
#include "proto/files.h"
#include "proto/wire_messages.h"
#include "tests/check.h"

struct crafted {
    uint8_t bytes[PROTO_HEADER_BYTES_MAX + 16];
    size_t size_bytes;
};
static void craft(struct crafted *out, const void *bytes, size_t size_bytes) {
    memcpy(out->bytes + out->size_bytes, bytes, size_bytes);
    out->size_bytes += size_bytes;
}
static void craft_text(struct crafted *out, const char *text) {
    const uint8_t tag[] = {0xd9, (uint8_t)strlen(text)};
    craft(out, tag, 2);
    craft(out, text, strlen(text));
}
static void craft_number(struct crafted *out, uint64_t value) {
    uint8_t big[9] = {0xcf};
    for (int i = 0; i < 8; i++) big[1 + i] = (uint8_t)(value >> (56 - 8 * i));
    craft(out, big, 9);
}
// Ends a header with a check that is right.
static void craft_check(struct crafted *out) {
    craft(out,
          "\xa5"
          "check\xcf",
          7);
    const uint64_t check = proto_hash(out->bytes, out->size_bytes);
    for (int i = 0; i < 8; i++) out->bytes[out->size_bytes++] = (uint8_t)(check >> (56 - 8 * i));
}
static void craft_begin(struct crafted *out, uint8_t fields, uint64_t version, const char *kind) {
    const uint8_t map = (uint8_t)(0x80 + fields + 3);
    out->size_bytes = 0;
    craft(out, &map, 1);
    craft_text(out, "v");
    craft_number(out, version);
    craft_text(out, "kind");
    craft_text(out, kind);
}

static void decode_refuses(const struct crafted *crafted, const char *says) {
    static struct proto_wire_header header;
    struct proto_error error = {0};
    CHECK(!proto_wire_decode(crafted->bytes, crafted->size_bytes, &header, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, says);
}

TEST(wire_refuses_unknown_versions_and_kinds_by_name) {
    static struct proto_wire_header header;
    struct proto_error error = {0};
    struct crafted crafted;
    craft_begin(&crafted, 0, 2, "hello");
    craft_check(&crafted);
    decode_refuses(&crafted, "protocol version 2, this build speaks 1");
    CHECK(!proto_wire_decode(crafted.bytes, crafted.size_bytes, &header, &error));
    CHECK_INT(header.message.version, 2);
    craft_begin(&crafted, 0, 1, "hello");
    craft_check(&crafted);
    decode_refuses(&crafted, "unknown kind \"hello\"");
    craft_begin(&crafted, 0, 1, "bye");
    craft_check(&crafted);
    CHECK_OK(proto_wire_decode(crafted.bytes, crafted.size_bytes, &header, &error), error);
}

TEST(wire_refuses_each_limit_by_name) {
    static const struct {
        const char *field;
        uint64_t value;
        const char *says;
    } refused[] = {
        {"credits", 0, "ready.credits is 0 tickets, must be 1..64"},
        {"credits", 65, "ready.credits is 65 tickets, must be 1..64"},
        {"number", 1ULL << 32, "ready.number is 4294967296, must be 0..4294967295"},
        {"build", 7, "ready.build is not a text"},
        {"colour", 7, "ready has no field \"colour\""},
        {"index_hash", 7, "ready.index_hash is there twice"},
    };
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        struct crafted crafted;
        TEST_CASE(refused[i].field);
        craft_begin(&crafted, 2, 1, "ready");
        craft_text(&crafted, "index_hash");
        craft_number(&crafted, 1);
        craft_text(&crafted, refused[i].field);
        craft_number(&crafted, refused[i].value);
        craft_check(&crafted);
        decode_refuses(&crafted, refused[i].says);
    }
    struct crafted crafted;
    TEST_CASE("missing");
    craft_begin(&crafted, 1, 1, "ready");
    craft_text(&crafted, "number");
    craft_number(&crafted, 1);
    craft_check(&crafted);
    decode_refuses(&crafted, "ready.build is missing");
}

TEST(wire_refuses_count_bombs_nesting_and_oversize_before_allocating) {
    static struct crafted crafted;
    static uint8_t nest[100000];
    static struct proto_wire_header header;
    struct proto_error error = {0};
    static const uint8_t map_bomb[] = {0xdf, 0x0f, 0xff, 0xff, 0xff};
    static const uint8_t array_bomb[] = {0xdd, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t text_bomb[] = {0xdb, 0xff, 0xff, 0xff, 0xff};
    crafted.size_bytes = 0;
    craft(&crafted, map_bomb, 5);
    decode_refuses(&crafted, "says more at byte 0 than its 5 bytes can hold");
    crafted.size_bytes = 0;
    craft(&crafted, array_bomb, 5);
    decode_refuses(&crafted, "says more");
    crafted.size_bytes = 0;
    craft(&crafted, text_bomb, 5);
    decode_refuses(&crafted, "says more");
    memset(nest, 0x91, sizeof nest);  // a list in a list in a list
    CHECK(!proto_wire_decode(nest, 60000, &header, &error));
    CHECK_HAS(error.text, "header nests deeper than 8 levels");
    CHECK(!proto_wire_decode(nest, sizeof nest, &header, &error));
    CHECK_HAS(error.text, "header has 100000 bytes, must have 1..65536");
    CHECK(!proto_wire_decode(nest, 0, &header, &error));
    CHECK_HAS(error.text, "header has 0 bytes");
    crafted.size_bytes = 0;
    craft(&crafted, "\xcb........", 9);  // a float
    decode_refuses(&crafted, "no use for the msgpack type 0xcb");
    craft_begin(&crafted, 0, 1, "bye");
    craft_check(&crafted);
    craft(&crafted, "\x01", 1);
    decode_refuses(&crafted, "1 bytes behind its end");
    crafted.size_bytes -= 3;
    decode_refuses(&crafted, "header says more");
}

// A header refused for one byte of its 1 KiB, wherever the byte is.
TEST(wire_header_check_sees_every_flipped_bit) {
    static struct proto_wire_header header, decoded;
    struct proto_error error = {0};
    uint8_t bytes[4096];
    size_t size_bytes = 0;
    header.message = (struct proto_message){.kind = PROTO_KIND_TICKETS, .ticket_count = 2};
    header.message.tickets[0] = (struct proto_ticket){.id = 5, .first = 1, .count = 8};
    header.message.tickets[1] = (struct proto_ticket){.id = 6, .first = 9, .count = 8};
    CHECK_OK(proto_wire_encode(&header, bytes, sizeof bytes, &size_bytes, &error), error);
    for (size_t bit = 0; bit < 8 * size_bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK(!proto_wire_decode(bytes, size_bytes, &decoded, &error));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    CHECK_OK(proto_wire_decode(bytes, size_bytes, &decoded, &error), error);
}

TEST(wire_encode_refuses_what_our_own_tables_forbid) {
    static struct proto_wire_header header;
    struct proto_error error = {0};
    uint8_t bytes[4096];
    size_t size_bytes = 0;
    header.message = (struct proto_message){.kind = PROTO_KIND_TICKETS, .ticket_count = 1};
    header.message.tickets[0] = (struct proto_ticket){.id = 5, .first = 1, .count = 4097};
    CHECK(!proto_wire_encode(&header, bytes, sizeof bytes, &size_bytes, &error));
    CHECK_TEXT(error.text, "ticket.count is 4097 samples, must be 1..4096");
    header.message.tickets[0].count = 1;
    CHECK(!proto_wire_encode(&header, bytes, 20, &size_bytes, &error));
    CHECK_HAS(error.text, "does not fit 20 bytes");
}

TEST(wire_page_names_every_field_of_every_table) {
    char *text = NULL;
    size_t size_bytes = 0;
    FILE *out = open_memstream(&text, &size_bytes);
    CHECK(proto_wire_docs(out));
    fclose(out);
    for (unsigned kind = PROTO_KIND_READY; kind <= PROTO_KIND_BYE; kind++) {
        const struct proto_wire_schema *schema = proto_wire_schema(kind);
        for (size_t i = 0; i < schema->count; i++) {
            char row[64];
            snprintf(row, sizeof row, "| `%s` |", schema->fields[i].name);
            CHECK_HAS(text, row);
        }
    }
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    for (size_t i = 0; i < count; i++) CHECK_HAS(text, parts[i].name);
    free(text);
}

TEST_MAIN(UNIT(wire_refuses_unknown_versions_and_kinds_by_name),
          UNIT(wire_refuses_each_limit_by_name),
          UNIT(wire_refuses_count_bombs_nesting_and_oversize_before_allocating),
          UNIT(wire_header_check_sees_every_flipped_bit),
          UNIT(wire_encode_refuses_what_our_own_tables_forbid),
          UNIT(wire_page_names_every_field_of_every_table))
