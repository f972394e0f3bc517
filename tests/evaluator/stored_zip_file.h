// tests/evaluator/stored_zip_file.h - an archive of one stored member with the right CRC, so that
// damage behind the CRC can be tried too. Written from APPNOTE.TXT, not from the reader.
#ifndef TESTS_EVALUATOR_STORED_ZIP_FILE_H
#define TESTS_EVALUATOR_STORED_ZIP_FILE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline uint8_t *stored_zip_put(uint8_t *to, uint32_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) *to++ = (uint8_t)(value >> 8 * i);
    return to;
}

// CRC, both sizes, length of the name, of the extra field: the same in both headers.
static inline uint8_t *stored_zip_facts(uint8_t *to, uint32_t crc, uint32_t size, uint32_t name) {
    to = stored_zip_put(to, crc, 4);
    to = stored_zip_put(to, size, 4);
    to = stored_zip_put(to, size, 4);
    to = stored_zip_put(to, name, 2);
    return stored_zip_put(to, 0, 2);
}

// The caller frees; NULL: no memory.
static inline uint8_t *stored_zip_file(const char *name, const uint8_t *data, size_t data_bytes,
                                       size_t *size) {
    const uint32_t name_bytes = (uint32_t)strlen(name), bytes = (uint32_t)data_bytes;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < data_bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    *size = 30 + 46 + 22 + 2 * (size_t)name_bytes + data_bytes;
    uint8_t *file = calloc(1, *size), *to = file;
    if (!file) return NULL;
    to = stored_zip_put(to, 0x04034b50, 4) + 10;
    to = stored_zip_facts(to, ~crc, bytes, name_bytes);
    memcpy(to, name, name_bytes);
    if (data_bytes > 0) memcpy(to + name_bytes, data, data_bytes);
    to += name_bytes + data_bytes;
    const uint32_t directory = (uint32_t)(to - file);
    to = stored_zip_put(to, 0x02014b50, 4) + 12;
    to = stored_zip_facts(to, ~crc, bytes, name_bytes) + 12;
    memcpy(to, name, name_bytes);
    to += name_bytes;
    const uint32_t end = (uint32_t)(to - file);
    to = stored_zip_put(to, 0x06054b50, 4) + 4;
    to = stored_zip_put(stored_zip_put(to, 1, 2), 1, 2);
    (void)stored_zip_put(stored_zip_put(to, end - directory, 4), directory, 4);
    return file;
}

#endif
