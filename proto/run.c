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

bool proto_run_sockets(const char *run, char folder[static PROTO_PATH_MAX],
                       struct proto_error *error) {
    char base[PROTO_PATH_MAX];
    folder[0] = '\0';
    char *real = realpath(run, NULL);
    if (!real) {
        proto_fail_errno(error, PROTO_USAGE, "the run folder cannot be found");
        return proto_error_where(error, "%s", run);
    }
    const uint64_t hash = proto_hash(real, strlen(real));
    free(real);
    if (!proto_run_sockets_root(base, error)) return false;
    const int length = snprintf(folder, PROTO_PATH_MAX, "%s/%016" PRIx64, base, hash);
    if (length < 0 || length >= PROTO_PATH_MAX)
        return proto_fail(error, PROTO_FAILED, "the path %.100s... is too long", base);
    return private_folder(folder, error);
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
