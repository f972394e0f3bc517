// proto/wire_docs.c - docs/wire.md, printed from the tables of wire_messages.h.
#include "proto/wire_messages.h"

#include <inttypes.h>
#include <string.h>

static const char *const dtype_names[] = {"f32", "u8", "u32", "u64"};

static void docs_fields(FILE *out, const struct proto_wire_schema *schema) {
    static const char *const types[] = {"u32",
                                        "u64",
                                        "i32",
                                        "boolean",
                                        "text",
                                        "text",
                                        "list of numbers",
                                        "list of ticket",
                                        "list of tensor"};
    fprintf(out, "| field | type | range | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < schema->count; i++) {
        const struct proto_wire_field *field = &schema->fields[i];
        fprintf(out, "| `%s` | %s | ", field->name, types[field->type]);
        if (field->type == PROTO_WIRE_TYPE_CHOICE) {
            for (const char *at = field->choices; *at; at++)
                *at == '|' ? fputs(" or ", out) : fputc(*at, out);
        } else if (field->type == PROTO_WIRE_TYPE_BOOLEAN) {
            fputs("true or false", out);
        } else if (field->max == UINT64_MAX) {
            fprintf(out, "%" PRIu64 "..2^64 - 1", field->min);
        } else {
            fprintf(out, "%" PRIu64 "..%" PRIu64 "%s%s", field->min, field->max,
                    field->unit[0] != '\0' ? " " : "", field->unit);
        }
        fprintf(out, "%s | %s |\n", field->type == PROTO_WIRE_TYPE_TEXT ? " bytes" : "",
                field->help);
    }
    fputc('\n', out);
}

bool proto_wire_docs(FILE *out) {
    fprintf(out,
            "# Messages between loaders and ranks\n\n"
            "Made from the tables in `proto/wire_messages.h`; protocol version %d.\n\n"
            "Each rank binds a ZeroMQ ROUTER, each loader connects a DEALER to every rank. A "
            "message is a multipart:\nframe 0 is the header, one msgpack map of at most %d bytes; "
            "a `batch` has one more frame for each of its\ntensors. A header begins with `v` (the "
            "version) and `kind` (the name of a section below), in this order,\nand ends with "
            "`check`: a msgpack uint 64, written as 0xcf and 8 bytes, the xxh64 (seed 0) of all "
            "header bytes\nbefore those 8. These three are the same in every version. Between them "
            "stand all fields of the kind, and no\nother. Only maps, lists, texts, booleans and "
            "integers are used, at most %d levels deep.\n\n"
            "What breaks a rule is refused by name, counted as damaged, and its ticket is leased "
            "again.\n\n",
            PROTO_VERSION, PROTO_HEADER_BYTES_MAX, PROTO_HEADER_LEVELS_MAX);
    for (unsigned i = PROTO_KIND_READY; i <= PROTO_KIND_BYE; i++) {
        const struct proto_wire_schema *schema = proto_wire_schema(i);
        fprintf(out, "## `%s` (%s)\n\n%s\n\n", schema->name, schema->direction, schema->help);
        if (schema->count > 0) docs_fields(out, schema);
    }
    fprintf(out, "## A ticket\n\n");
    docs_fields(out, &proto_wire_ticket_schema);
    fprintf(out,
            "## A tensor\n\nTensors under %d bytes, and those that lz4 does not shrink, "
            "travel raw.\n\n",
            PROTO_PACK_BYTES_MIN);
    docs_fields(out, &proto_wire_tensor_schema);
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    fprintf(out, "## The tensors of a batch\n\nAll of them, in this order. B samples, W width of "
                 "the network's vector, C chunk, H history, K cameras,\nY height and X width in "
                 "pixels.\n\n| tensor | dtype | shape | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < count; i++) {
        fprintf(out, "| `%s` | %s | ", parts[i].name, dtype_names[parts[i].dtype]);
        for (const char *letter = parts[i].letters; *letter; letter++)
            fprintf(out, "%s%c", letter == parts[i].letters ? "[" : ", ", *letter);
        fprintf(out, "] | %s |\n", parts[i].help);
    }
    fprintf(out,
            "\nThe frame ids are there so that a rank which has kept a frame's features could do "
            "without the bytes of the\nframe. That is not part of this version: all bytes "
            "travel.\n");
    return ferror(out) == 0;
}
