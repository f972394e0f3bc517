// proto/run.c - names in the run folder and the private folder of its sockets.
//
// Sockets are not in the run folder: their names must fit 107 bytes, and a network disk holds none.
// Their folder's name is a hash of the run folder's real path, so that every process of a run finds
// it, however the run folder was named on its command line.
#include "proto/run.h"
#include "proto/files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET_PATH_MAX (sizeof((struct sockaddr_un *)0)->sun_path)
#define SOCKET_NAME_BYTES sizeof "/0123456789abcdef"

bool proto_run_path(const char *run, const char *name, char path[static PROTO_PATH_MAX],
                    struct proto_error *error) {
    const int length = snprintf(path, PROTO_PATH_MAX, "%s/%s", run, name);
    if (length >= 0 && length < PROTO_PATH_MAX) return true;
    path[0] = '\0';
    return proto_fail(error, PROTO_USAGE, "the path %.200s.../%s is over %d bytes long", run, name,
                      PROTO_PATH_MAX - 1);
}

// Makes or accepts a folder that is ours alone: anything else there may be another user's trap.
static bool private_folder(const char *path, struct proto_error *error) {
    struct stat status;
    if (mkdir(path, 0700) != 0 && errno != EEXIST) {
        proto_fail_errno(error, PROTO_FAILED, "the folder for sockets cannot be made");
        return proto_error_where(error, "%s", path);
    }
    if (lstat(path, &status) != 0)
        proto_fail_errno(error, PROTO_FAILED, "the folder for sockets cannot be read");
    else if (!S_ISDIR(status.st_mode))
        proto_fail(error, PROTO_FAILED, "is not a folder; sockets must lie in it: remove it");
    else if (status.st_uid != geteuid())
        proto_fail(error, PROTO_FAILED,
                   "belongs to user %ld, must belong to user %ld: set XDG_RUNTIME_DIR to a folder "
                   "of your own",
                   (long)status.st_uid, (long)geteuid());
    else if ((status.st_mode & 0777) != 0700)
        proto_fail(error, PROTO_FAILED, "has mode %04o, must be 0700: chmod 700 it",
                   (unsigned)(status.st_mode & 07777));
    else
        return true;
    return proto_error_where(error, "%s", path);
}

bool proto_run_sockets_root(char base[static PROTO_PATH_MAX], struct proto_error *error) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    // an unusable XDG_RUNTIME_DIR (left over from another session, or too long) is passed over
    const bool use =
        runtime && runtime[0] == '/' && proto_path_is_folder(runtime) &&
        strlen(runtime) + sizeof "/pipeline/0123456789abcdef/rank-4294967295" < SOCKET_PATH_MAX &&
        access(runtime, W_OK | X_OK) == 0;
    if (use)
        snprintf(base, PROTO_PATH_MAX, "%s/pipeline", runtime);
    else
        snprintf(base, PROTO_PATH_MAX, "/tmp/pipeline-%ld", (long)geteuid());
    return private_folder(base, error);
}

// "/" and the hash of the run folder's real path: what its socket folder is called.
static bool socket_folder_name(const char *run, char name[static SOCKET_NAME_BYTES],
                               struct proto_error *error) {
    char *real = realpath(run, NULL);
    if (!real) {
        proto_fail_errno(error, PROTO_USAGE, "the run folder cannot be found");
        return proto_error_where(error, "%s", run);
    }
    snprintf(name, SOCKET_NAME_BYTES, "/%016" PRIx64, proto_hash(real, strlen(real)));
    free(real);
    return true;
}

bool proto_run_sockets_choose(const char *run, char folder[static PROTO_PATH_MAX],
                              struct proto_error *error) {
    char name[SOCKET_NAME_BYTES];
    folder[0] = '\0';
    if (!socket_folder_name(run, name, error) || !proto_run_sockets_root(folder, error))
        return false;
    const size_t used = strlen(folder);
    if (used + SOCKET_NAME_BYTES > PROTO_PATH_MAX)
        return proto_fail(error, PROTO_FAILED, "the path %.100s... is too long", folder);
    memcpy(folder + used, name, SOCKET_NAME_BYTES);
    return private_folder(folder, error);
}

// Takes the folder that RUN/address names, when it has this run's name and is ours alone.
static bool address_read(const char *run, const char *name, char folder[static PROTO_PATH_MAX]) {
    struct proto_error ignored;
    char path[PROTO_PATH_MAX];
    char *data = NULL;
    size_t size_bytes = 0;
    struct stat status;
    if (!proto_run_path(run, "address", path, &ignored) || !proto_path_exists(path) ||
        !proto_file_read(path, PROTO_PATH_MAX - 1, PROTO_DAMAGED, &data, &size_bytes, &ignored))
        return false;
    data[strcspn(data, "\n")] = '\0';
    const size_t length = strlen(data), tail = SOCKET_NAME_BYTES - 1;
    const bool ours = length > tail && strcmp(data + length - tail, name) == 0 &&
                      lstat(data, &status) == 0 && S_ISDIR(status.st_mode) &&
                      status.st_uid == geteuid() && (status.st_mode & 0777) == 0700;
    if (ours) memcpy(folder, data, length + 1);
    free(data);
    return ours;
}

bool proto_run_sockets(const char *run, char folder[static PROTO_PATH_MAX],
                       struct proto_error *error) {
    char name[SOCKET_NAME_BYTES];
    folder[0] = '\0';
    if (!socket_folder_name(run, name, error)) return false;
    return address_read(run, name, folder) || proto_run_sockets_choose(run, folder, error);
}

// folder + "/" + name behind a prefix, short enough for a socket.
static bool socket_path(const char *prefix, const char *folder, const char *name,
                        char path[static PROTO_PATH_MAX], struct proto_error *error) {
    const int length = snprintf(path, PROTO_PATH_MAX, "%s%s/%s", prefix, folder, name);
    if (length > 0 && (size_t)length < SOCKET_PATH_MAX + strlen(prefix) && length < PROTO_PATH_MAX)
        return true;
    path[0] = '\0';
    return proto_fail(error, PROTO_FAILED,
                      "the socket %.200s/%s has a name of over %zu bytes: set XDG_RUNTIME_DIR to a "
                      "folder with a shorter name",
                      folder, name, SOCKET_PATH_MAX - 1);
}

bool proto_run_rank_endpoint(const char *run, uint32_t rank, char endpoint[static PROTO_PATH_MAX],
                             struct proto_error *error) {
    char folder[PROTO_PATH_MAX], name[32];
    if (!proto_run_sockets(run, folder, error)) return false;
    snprintf(name, sizeof name, "rank-%" PRIu32, rank);
    return socket_path("ipc://", folder, name, endpoint, error);
}

bool proto_run_control(const char *run, char path[static PROTO_PATH_MAX],
                       struct proto_error *error) {
    char folder[PROTO_PATH_MAX];
    if (!proto_run_sockets(run, folder, error)) return false;
    return socket_path("", folder, "control", path, error);
}
