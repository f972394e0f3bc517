// tests/fuzz/rows_fuzz.c - any bytes as a file of start states, and as the pickle in a sound one,
// which a CRC would keep a fuzzer from reaching.
#include "evaluator/libero.h"

#include "tests/evaluator/stored_zip_file.h"

#include <math.h>

static void read_rows(const uint8_t *bytes, size_t size) {
    struct evaluator_rows rows = {0};
    struct proto_error error = {0};
    if (!evaluator_rows_parse(bytes, size, &rows, &error)) {
        if (error.text[0] == '\0' || rows.values) abort();
        return;
    }
    for (size_t i = 0; i < (size_t)rows.count * rows.width; i++)
        if (!isfinite(rows.values[i])) abort();
    evaluator_rows_free(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    size_t file_bytes;
    read_rows(bytes, size);
    uint8_t *file = stored_zip_file("archive/data.pkl", bytes, size, &file_bytes);
    if (file) read_rows(file, file_bytes);
    free(file);
    return 0;
}
