// proto/files.h - files and folders so that a crash at any moment leaves the old or the new, never
// half. Order everywhere: write, fsync, rename, fsync of the folder.
#ifndef PROTO_FILES_H
#define PROTO_FILES_H

#include "proto/error.h"

#include <stdint.h>

// The whole file, NUL-terminated behind its end; PROTO_DAMAGED when it is larger than size_max.
// The caller frees *data. status is what a missing file means here (PROTO_USAGE, PROTO_DAMAGED...).
PROTO_MUST_CHECK
bool proto_file_read(const char *path, size_t size_max, enum proto_status missing, char **data,
                     size_t *size_bytes, struct proto_error *error);

// Replaces or creates the file durably: path.partial, fsync, rename, fsync of the folder.
PROTO_MUST_CHECK
bool proto_file_write(const char *path, const void *data, size_t size_bytes,
                      struct proto_error *error);

PROTO_MUST_CHECK bool proto_folder_make(const char *path, unsigned mode,
                                        struct proto_error *error);  // parents too; ok if there
PROTO_MUST_CHECK bool proto_folder_sync(const char *path, struct proto_error *error);
PROTO_MUST_CHECK bool proto_folder_remove(const char *path, struct proto_error *error);  // a tree
bool proto_path_exists(const char *path);
bool proto_path_is_folder(const char *path);

// xxh64 (seed 0) of a file's content, streamed.
PROTO_MUST_CHECK bool proto_file_hash(const char *path, uint64_t *hash, struct proto_error *error);
uint64_t proto_hash(const void *data, size_t size_bytes);  // xxh64, seed 0

// Lists the names (not paths) in a folder, sorted bytewise, "." and ".." left out. The caller
// frees with proto_names_free.
struct proto_names {
    char **items;
    size_t count;
};
PROTO_MUST_CHECK bool proto_folder_list(const char *path, struct proto_names *names,
                                        struct proto_error *error);
void proto_names_free(struct proto_names *names);

#endif
