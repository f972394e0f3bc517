// proto/files.c - reading with a limit, writing that survives a crash, and folders.
//
// Whatever changes a disk goes through the table proto_disk(), so that tests stop it anywhere.
#include "proto/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define NAMES_MAX 1000000
#define FOLDER_DEPTH_MAX 32
#define WRITE_BYTES_MAX ((size_t)1 << 30)
#define HASH_BYTES ((size_t)1 << 20)

static int disk_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }
static int disk_exchange(const char *a, const char *b) {
    return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);
}
const struct proto_disk proto_disk_real = {
    disk_open, write, fsync, rename, disk_exchange, mkdir, unlink, rmdir,
};
static const struct proto_disk *disk_now = &proto_disk_real;

const struct proto_disk *proto_disk(void) { return disk_now; }
void proto_disk_replace(const struct proto_disk *disk) {
    disk_now = disk ? disk : &proto_disk_real;
}

// Reads until the end or until `limit` bytes are there; the buffer grows as the file shows itself.
static bool read_whole(int descriptor, size_t first, size_t limit, char **data, size_t *size_bytes,
                       struct proto_error *error) {
    size_t room = first < limit ? first : limit, used = 0;
    char *buffer = proto_alloc(room + 1, error);
    if (!buffer) return false;
    for (;;) {
        // one byte of room always stays, for the end of the text
        const ssize_t got = read(descriptor, buffer + used, room + 1 - used);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            free(buffer);
            return proto_fail_errno(error, PROTO_FAILED, "cannot be read");
        }
        if (got == 0) break;
        used += (size_t)got;
        if (used <= room) continue;
        if (room == limit) {
            free(buffer);
            return proto_fail(error, PROTO_DAMAGED, "is larger than the %zu bytes it may have",
                              limit);
        }
        room = room > limit / 2 ? limit : 2 * room + 1;
        char *more = realloc(buffer, room + 1);
        if (!more) {
            free(buffer);
            return proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu bytes", room);
        }
        buffer = more;
    }
    buffer[used] = '\0';
    *data = buffer;
    *size_bytes = used;
    return true;
}

bool proto_file_read(const char *path, size_t size_max, enum proto_status missing, char **data,
                     size_t *size_bytes, struct proto_error *error) {
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        proto_fail_errno(error, errno == ENOENT ? missing : PROTO_FAILED, "cannot be opened");
        return proto_error_where(error, "%s", path);
    }
    struct stat status;
    bool done = false;
    if (fstat(descriptor, &status) != 0)
        proto_fail_errno(error, PROTO_FAILED, "cannot be read");
    else
        done = read_whole(descriptor, status.st_size > 0 ? (size_t)status.st_size : 4096, size_max,
                          data, size_bytes, error);
    close(descriptor);
    return done ? true : proto_error_where(error, "%s", path);
}

bool proto_writer_open(struct proto_writer *writer, const char *path, struct proto_error *error) {
    *writer = (struct proto_writer){.path = path, .descriptor = -1};
    XXH64_state_t *hasher = XXH64_createState();
    if (!hasher) return proto_fail(error, PROTO_EXHAUSTED, "no memory to write %s", path);
    XXH64_reset(hasher, 0);
    writer->descriptor = proto_disk()->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (writer->descriptor < 0) {
        proto_fail_errno(error, PROTO_FAILED, "cannot be written");
        XXH64_freeState(hasher);
        return proto_error_where(error, "%s", path);
    }
    writer->hasher = hasher;
    return true;
}

bool proto_writer_add(struct proto_writer *writer, const void *data, size_t size_bytes,
                      struct proto_error *error) {
    const char *next = data;
    if (size_bytes == 0) return true;
    XXH64_update(writer->hasher, data, size_bytes);
    writer->size_bytes += size_bytes;
    while (size_bytes > 0) {
        const size_t part = size_bytes < WRITE_BYTES_MAX ? size_bytes : WRITE_BYTES_MAX;
        const ssize_t put = proto_disk()->write(writer->descriptor, next, part);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            proto_fail_errno(error, PROTO_FAILED, "cannot be written");
            return proto_error_where(error, "%s", writer->path);
        }
        next += put;
        size_bytes -= (size_t)put;
    }
    return true;
}

void proto_writer_abandon(struct proto_writer *writer) {
    if (writer->descriptor >= 0) close(writer->descriptor);
    writer->descriptor = -1;
    XXH64_freeState(writer->hasher);
    writer->hasher = NULL;
}

bool proto_writer_finish(struct proto_writer *writer, struct proto_error *error) {
    writer->hash = XXH64_digest(writer->hasher);
    bool done = proto_disk()->fsync(writer->descriptor) == 0;
    if (!done) proto_fail_errno(error, PROTO_FAILED, "cannot be made durable");
    // some network disks tell of a lack of room only here
    if (close(writer->descriptor) != 0 && done && errno != EINTR)
        done = proto_fail_errno(error, PROTO_FAILED, "cannot be written");
    writer->descriptor = -1;
    proto_writer_abandon(writer);
    return done ? true : proto_error_where(error, "%s", writer->path);
}

bool proto_file_write(const char *path, const void *data, size_t size_bytes,
                      struct proto_error *error) {
    struct proto_writer writer;
    char *partial = proto_format(error, "%s.partial", path);
    if (!partial) return false;
    bool done = proto_writer_open(&writer, partial, error);
    if (!done) goto end;
    done = proto_writer_add(&writer, data, size_bytes, error);
    if (done)
        done = proto_writer_finish(&writer, error);
    else
        proto_writer_abandon(&writer);
    if (done) done = proto_path_rename(partial, path, error);
    if (!done) proto_disk()->unlink(partial);
    if (done) done = proto_folder_sync_above(path, error);
end:
    free(partial);
    return done;
}

bool proto_path_rename(const char *from, const char *to, struct proto_error *error) {
    if (proto_disk()->rename(from, to) == 0) return true;
    proto_fail_errno(error, PROTO_FAILED, "cannot be renamed to %s", to);
    return proto_error_where(error, "%s", from);
}

bool proto_folder_sync(const char *path, struct proto_error *error) {
    const int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = descriptor >= 0 && proto_disk()->fsync(descriptor) == 0;
    // file systems that cannot sync a folder say EINVAL; there is nothing more to be had from them
    if (!done && descriptor >= 0 && errno == EINVAL) done = true;
    if (!done) {
        proto_fail_errno(error, PROTO_FAILED, "the folder cannot be made durable");
        proto_error_where(error, "%s", path);
    }
    if (descriptor >= 0) close(descriptor);
    return done;
}

bool proto_folder_sync_above(const char *path, struct proto_error *error) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    while (length > 0 && path[length - 1] != '/') length--;
    while (length > 1 && path[length - 1] == '/') length--;
    if (length == 0) return proto_folder_sync(".", error);
    char *above = proto_format(error, "%.*s", (int)length, path);
    if (!above) return false;
    const bool done = proto_folder_sync(above, error);
    free(above);
    return done;
}

// One level; a new one is made durable in the folder above it.
static bool folder_make_one(const char *path, unsigned mode, struct proto_error *error) {
    if (proto_disk()->mkdir(path, (mode_t)mode) == 0) return proto_folder_sync_above(path, error);
    const int number = errno;
    if (proto_path_is_folder(path)) return true;
    errno = number == EEXIST ? ENOTDIR : number;
    proto_fail_errno(error, PROTO_FAILED, "the folder cannot be made");
    return proto_error_where(error, "%s", path);
}

bool proto_folder_make(const char *path, unsigned mode, struct proto_error *error) {
    if (proto_path_is_folder(path)) return true;
    char *part = proto_format(error, "%s", path);
    if (!part) return false;
    bool done = true;
    for (char *slash = strchr(part + (*part != '\0'), '/'); done && slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (!proto_path_is_folder(part)) done = folder_make_one(part, mode, error);
        *slash = '/';
    }
    if (done) done = folder_make_one(path, mode, error);
    free(part);
    return done;
}

static bool tree_remove(const char *path, unsigned depth, struct proto_error *error) {
    struct stat status;
    if (lstat(path, &status) != 0) {
        if (errno == ENOENT) return true;
        proto_fail_errno(error, PROTO_FAILED, "cannot be removed");
        return proto_error_where(error, "%s", path);
    }
    const bool folder = S_ISDIR(status.st_mode);
    if (folder) {
        if (depth == 0) {
            proto_fail(error, PROTO_FAILED, "has more than %d levels of folders: not removed",
                       FOLDER_DEPTH_MAX);
            return proto_error_where(error, "%s", path);
        }
        struct proto_names names = {0};
        bool done = proto_folder_list(path, &names, error);
        for (size_t i = 0; done && i < names.count; i++) {
            char *inner = proto_format(error, "%s/%s", path, names.items[i]);
            done = inner && tree_remove(inner, depth - 1, error);
            free(inner);
        }
        proto_names_free(&names);
        if (!done) return false;
    }
    if ((folder ? proto_disk()->rmdir(path) : proto_disk()->unlink(path)) == 0 || errno == ENOENT)
        return true;
    proto_fail_errno(error, PROTO_FAILED, "cannot be removed");
    return proto_error_where(error, "%s", path);
}

bool proto_folder_remove(const char *path, struct proto_error *error) {
    return tree_remove(path, FOLDER_DEPTH_MAX, error);
}

bool proto_path_exists(const char *path) { return access(path, F_OK) == 0; }

bool proto_path_is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

uint64_t proto_hash(const void *data, size_t size_bytes) { return XXH64(data, size_bytes, 0); }

static bool hash_all(int descriptor, XXH64_state_t *hasher, char *buffer) {
    for (;;) {
        const ssize_t got = read(descriptor, buffer, HASH_BYTES);
        if (got == 0) return true;
        if (got < 0 && errno != EINTR) return false;
        if (got > 0) XXH64_update(hasher, buffer, (size_t)got);
    }
}

bool proto_file_hash(const char *path, uint64_t *hash, struct proto_error *error) {
    bool done = false;
    int descriptor = -1;
    char *buffer = proto_alloc(HASH_BYTES, error);
    XXH64_state_t *hasher = XXH64_createState();
    if (!buffer || !hasher) {
        proto_fail(error, PROTO_EXHAUSTED, "no memory to read it");
        goto end;
    }
    XXH64_reset(hasher, 0);
    descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || !hash_all(descriptor, hasher, buffer)) {
        proto_fail_errno(error, PROTO_DAMAGED, "cannot be read");
        goto end;
    }
    *hash = XXH64_digest(hasher);
    done = true;
end:
    if (descriptor >= 0) close(descriptor);
    XXH64_freeState(hasher);
    free(buffer);
    return done ? true : proto_error_where(error, "%s", path);
}

static int name_order(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Puts one more name into the list, which doubles when it is full.
static bool names_add(struct proto_names *names, size_t *room, const char *name,
                      struct proto_error *error) {
    if (names->count == NAMES_MAX)
        return proto_fail(error, PROTO_EXHAUSTED, "has more than %d names", NAMES_MAX);
    if (names->count == *room) {
        const size_t more = *room > 0 ? 2 * *room : 64;
        char **items = realloc(names->items, more * sizeof *items);
        if (!items) return proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu names", more);
        names->items = items;
        *room = more;
    }
    char *copy = proto_format(error, "%s", name);
    if (!copy) return false;
    names->items[names->count++] = copy;
    return true;
}

bool proto_folder_list(const char *path, struct proto_names *names, struct proto_error *error) {
    *names = (struct proto_names){0};
    DIR *folder = opendir(path);
    if (!folder) {
        proto_fail_errno(error, PROTO_FAILED, "the folder cannot be listed");
        return proto_error_where(error, "%s", path);
    }
    size_t room = 0;
    bool done = true;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno != 0)
                done = proto_fail_errno(error, PROTO_FAILED, "the folder cannot be listed");
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        done = names_add(names, &room, entry->d_name, error);
        if (!done) break;
    }
    closedir(folder);
    if (!done) {
        proto_names_free(names);
        return proto_error_where(error, "%s", path);
    }
    if (names->count > 0) qsort(names->items, names->count, sizeof *names->items, name_order);
    return true;
}

void proto_names_free(struct proto_names *names) {
    for (size_t i = 0; i < names->count; i++) free(names->items[i]);
    free(names->items);
    *names = (struct proto_names){0};
}
