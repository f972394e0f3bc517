// proto/files.h - files and folders so that a crash at any moment leaves the old or the new, never
// half. Order everywhere: write, fsync, rename, fsync of the folder. Errors carry the path as their
// place; callers need not add it.
#ifndef PROTO_FILES_H
#define PROTO_FILES_H

#include "proto/error.h"

#include <stdint.h>
#include <sys/types.h>

// The whole file, NUL-terminated behind its end; PROTO_DAMAGED when it is larger than size_max.
// The caller frees *data. status is what a missing file means here (PROTO_USAGE, PROTO_DAMAGED...).
PROTO_MUST_CHECK
bool proto_file_read(const char *path, size_t size_max, enum proto_status missing, char **data,
                     size_t *size_bytes, struct proto_error *error);

// Replaces or creates the file durably: path.partial, fsync, rename, fsync of the folder.
PROTO_MUST_CHECK
bool proto_file_write(const char *path, const void *data, size_t size_bytes,
                      struct proto_error *error);

// A file written piece by piece, durable once finished, hashed on the way. No rename: for files in
// a folder that is itself renamed into place. `path` is borrowed until finish or abandon; exactly
// one of the two ends it, and a failed finish needs no abandon.
struct proto_writer {
    const char *path;
    int descriptor;
    uint64_t size_bytes, hash;  // of all that was written; hash (xxh64, seed 0) is set by finish
    void *hasher;
};
PROTO_MUST_CHECK bool proto_writer_open(struct proto_writer *writer, const char *path,
                                        struct proto_error *error);
PROTO_MUST_CHECK bool proto_writer_add(struct proto_writer *writer, const void *data,
                                       size_t size_bytes, struct proto_error *error);
PROTO_MUST_CHECK bool proto_writer_finish(struct proto_writer *writer, struct proto_error *error);
void proto_writer_abandon(struct proto_writer *writer);  // closes; the half file stays

PROTO_MUST_CHECK bool proto_folder_make(const char *path, unsigned mode,
                                        struct proto_error *error);  // parents too; ok if there
PROTO_MUST_CHECK bool proto_folder_sync(const char *path, struct proto_error *error);
// Makes a new, moved or removed name durable: fsync of the folder that holds `path`.
PROTO_MUST_CHECK bool proto_folder_sync_above(const char *path, struct proto_error *error);
PROTO_MUST_CHECK bool proto_path_rename(const char *from, const char *to,
                                        struct proto_error *error);
// A whole tree, or a file; links are removed, not followed. Nothing there is fine.
PROTO_MUST_CHECK bool proto_folder_remove(const char *path, struct proto_error *error);
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

// Every call by which this library changes a disk, so that a test can end the process or answer
// ENOSPC at the n-th. Not for anything else.
struct proto_disk {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int descriptor, const void *data, size_t size_bytes);
    int (*fsync)(int descriptor);
    int (*rename)(const char *from, const char *to);
    int (*exchange)(const char *a, const char *b);  // swaps two names at once
    int (*mkdir)(const char *path, mode_t mode);
    int (*unlink)(const char *path);
    int (*rmdir)(const char *path);
};
extern const struct proto_disk proto_disk_real;
const struct proto_disk *proto_disk(void);
void proto_disk_replace(const struct proto_disk *disk);  // NULL: the real one again

#endif
