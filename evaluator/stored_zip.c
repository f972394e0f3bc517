// evaluator/stored_zip.c - end record, central directory, local header: each offset and size is
// checked against what is there before it is used (APPNOTE.TXT 6.3.10, sections 4.3.7, .12, .16).
#include "evaluator/stored_zip.h"

#include <string.h>

#define END_BYTES 22
#define COMMENT_BYTES_MAX 65535
#define ENTRY_BYTES 46
#define LOCAL_BYTES 30
#define MEMBERS_MAX 64
#define FLAG_ENCRYPTED 1u

static const uint8_t end_mark[4] = {'P', 'K', 5, 6}, entry_mark[4] = {'P', 'K', 1, 2},
                     local_mark[4] = {'P', 'K', 3, 4};

static uint32_t get16(const uint8_t *at) { return (uint32_t)(at[0] | at[1] << 8); }
static uint32_t get32(const uint8_t *at) { return get16(at) | get16(at + 2) << 16; }

static uint32_t crc32_of(const uint8_t *bytes, size_t size) {
    uint32_t table[256], crc = UINT32_MAX;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < size; i++) crc = crc >> 8 ^ table[(crc ^ bytes[i]) & 255];
    return ~crc;
}

// One entry of the central directory, its sizes not yet compared with the file.
struct entry {
    const uint8_t *name;
    uint32_t name_bytes, flags, method, crc, packed_bytes, plain_bytes, offset;
    size_t whole_bytes;  // of the entry
};

static bool find_end(const uint8_t *bytes, size_t size, size_t *end, struct proto_error *error) {
    for (size_t back = END_BYTES; back <= size && back <= END_BYTES + COMMENT_BYTES_MAX; back++) {
        const uint8_t *at = bytes + (size - back);
        if (memcmp(at, end_mark, 4) != 0 || get16(at + 20) != back - END_BYTES) continue;
        *end = size - back;
        return true;
    }
    return proto_fail(error, PROTO_DAMAGED,
                      "no zip archive, or cut off: its end record is not there");
}

static bool read_entry(const uint8_t *at, size_t left, struct entry *entry,
                       struct proto_error *error) {
    if (left < ENTRY_BYTES || memcmp(at, entry_mark, 4) != 0)
        return proto_fail(error, PROTO_DAMAGED, "the central directory ends early");
    *entry = (struct entry){.name = at + ENTRY_BYTES,
                            .name_bytes = get16(at + 28),
                            .flags = get16(at + 8),
                            .method = get16(at + 10),
                            .crc = get32(at + 16),
                            .packed_bytes = get32(at + 20),
                            .plain_bytes = get32(at + 24),
                            .offset = get32(at + 42)};
    entry->whole_bytes = (size_t)ENTRY_BYTES + entry->name_bytes + get16(at + 30) + get16(at + 32);
    if (entry->whole_bytes > left)
        return proto_fail(error, PROTO_DAMAGED, "a name in the central directory is cut off");
    return true;
}

// "folder/name" with one folder, or the bare name.
static bool is_named(const struct entry *entry, const char *name) {
    const size_t bytes = strlen(name);
    if (entry->name_bytes < bytes) return false;
    const size_t folder = entry->name_bytes - bytes;
    if (memcmp(entry->name + folder, name, bytes) != 0) return false;
    const uint8_t *slash = memchr(entry->name, '/', folder);
    return folder == 0 || slash == entry->name + folder - 1;
}

// Bytes below `limit` belong to members.
static bool open_entry(const uint8_t *bytes, size_t limit, const struct entry *entry,
                       struct evaluator_member *member, struct proto_error *error) {
    if (entry->flags & FLAG_ENCRYPTED) return proto_fail(error, PROTO_DAMAGED, "is encrypted");
    if (entry->packed_bytes == UINT32_MAX || entry->plain_bytes == UINT32_MAX ||
        entry->offset == UINT32_MAX)
        return proto_fail(error, PROTO_DAMAGED,
                          "has zip64 sizes, start states of a task are some 40 KB");
    if (entry->method != 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "is compressed (method %u), expected stored as torch.save does",
                          entry->method);
    if (entry->packed_bytes != entry->plain_bytes)
        return proto_fail(error, PROTO_DAMAGED, "is stored but has two sizes, %u and %u bytes",
                          entry->packed_bytes, entry->plain_bytes);
    if (limit < LOCAL_BYTES || entry->offset > limit - LOCAL_BYTES ||
        memcmp(bytes + entry->offset, local_mark, 4) != 0)
        return proto_fail(error, PROTO_DAMAGED, "does not begin at byte %u", entry->offset);
    const uint8_t *local = bytes + entry->offset;
    const size_t before = (size_t)entry->offset + LOCAL_BYTES + get16(local + 26);
    const size_t begin = before + get16(local + 28);
    if (begin > limit || entry->plain_bytes > limit - begin)
        return proto_fail(
            error, PROTO_DAMAGED,
            "ends at byte %zu, but members end at byte %zu: cut off, or its size lies",
            begin + entry->plain_bytes, limit);
    if (get16(local + 26) != entry->name_bytes ||
        memcmp(local + LOCAL_BYTES, entry->name, entry->name_bytes) != 0)
        return proto_fail(error, PROTO_DAMAGED, "has another name at byte %u", entry->offset);
    const uint32_t crc = crc32_of(bytes + begin, entry->plain_bytes);
    if (crc != entry->crc)
        return proto_fail(error, PROTO_DAMAGED, "CRC is %08x, expected %08x: the file is damaged",
                          crc, entry->crc);
    *member = (struct evaluator_member){bytes + begin, entry->plain_bytes};
    return true;
}

bool evaluator_stored_zip_find(const uint8_t *bytes, size_t size, const char *name,
                               struct evaluator_member *member, struct proto_error *error) {
    size_t end = 0;
    struct entry chosen = {0};
    if (!find_end(bytes, size, &end, error)) return false;
    const uint32_t count = get16(bytes + end + 10);
    const size_t directory = get32(bytes + end + 16);
    if (count > MEMBERS_MAX)
        return proto_fail(error, PROTO_DAMAGED, "%u members, or zip64; at most %d are taken", count,
                          MEMBERS_MAX);
    if (directory > end)
        return proto_fail(error, PROTO_DAMAGED,
                          "the central directory is said to be at byte %zu of %zu", directory,
                          size);
    size_t at = directory;
    for (uint32_t i = 0; i < count; i++) {
        struct entry entry;
        if (!read_entry(bytes + at, end - at, &entry, error)) return false;
        at += entry.whole_bytes;
        if (!is_named(&entry, name)) continue;
        if (chosen.name) return proto_fail(error, PROTO_DAMAGED, "several members named %s", name);
        chosen = entry;
    }
    if (!chosen.name)
        return proto_fail(error, PROTO_DAMAGED, "no member named %s among its %u", name, count);
    return open_entry(bytes, directory, &chosen, member, error) ||
           proto_error_where(error, "%s", name);
}
