// tests/fuzz/replay.c - a fuzz target run over the recorded inputs of a folder, by any compiler:
//
//     fuzz_rows tests/fuzz/corpus/rows
#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static bool replay(const char *folder, const char *name, struct proto_error *error) {
    char *path = proto_format(error, "%s/%s", folder, name), *bytes = NULL;
    size_t size = 0;
    bool done = path && proto_file_read(path, 1 << 20, PROTO_MISSING, &bytes, &size, error);
    // a block of the exact size, so that the address sanitizer sees a read behind the end
    uint8_t *exact = done ? malloc(size > 0 ? size : 1) : NULL;
    if (done && !exact) done = proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu bytes", size);
    if (done) {
        memcpy(exact, bytes, size);
        (void)LLVMFuzzerTestOneInput(exact, size);
    }
    free(exact);
    free(bytes);
    free(path);
    return done;
}

int main(int count, char **words) {
    struct proto_names names = {0};
    struct proto_error error = {0};
    if (count != 2) {
        proto_fail(&error, PROTO_USAGE, "expected one folder of inputs");
        return proto_error_print("replay", &error);
    }
    bool done = proto_folder_list(words[1], &names, &error);
    if (done && names.count == 0) done = proto_fail(&error, PROTO_MISSING, "%s is empty", words[1]);
    for (size_t i = 0; done && i < names.count; i++)
        done = replay(words[1], names.items[i], &error);
    if (done) printf("%zu inputs\n", names.count);
    proto_names_free(&names);
    return done ? PROTO_DONE : proto_error_print("replay", &error);
}
