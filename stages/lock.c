// stages/lock.c - see lock.h.
#include "stages/lock.h"

#include "proto/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLDER_BYTES 320

// What the holder wrote, on one line; "" when nothing is there yet.
static void lock_holder(int descriptor, char text[static HOLDER_BYTES]) {
    const ssize_t count = pread(descriptor, text, HOLDER_BYTES - 1, 0);
    text[count > 0 ? count : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

bool stage_lock_take(const char *run, int *descriptor, struct proto_error *error) {
    char path[PROTO_PATH_MAX], holder[HOLDER_BYTES], host[256] = "";
    if (!proto_run_path(run, "lock", path, error)) return false;
    const int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file < 0) return proto_fail_errno(error, PROTO_FAILED, "%s cannot be opened", path);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(file, F_OFD_SETLK, &whole) != 0) {
        if (errno == EAGAIN || errno == EACCES) {
            lock_holder(file, holder);
            proto_fail(error, PROTO_FAILED,
                       "a run is at work in this folder: %s; stop it with `pipeline down --run %s` "
                       "or give another run.output_dir",
                       holder[0] ? holder : "pid unknown", run);
        } else {
            proto_fail_errno(error, PROTO_FAILED, "%s cannot be locked", path);
        }
        proto_error_where(error, "%s", run);
        close(file);
        return false;
    }
    gethostname(host, sizeof host - 1);
    const int length =
        snprintf(holder, sizeof holder, "pid %ld on host %s\n", (long)getpid(), host);
    if (ftruncate(file, 0) != 0 || pwrite(file, holder, (size_t)length, 0) != length) {
        proto_fail_errno(error, PROTO_FAILED, "%s cannot be written", path);
        close(file);
        return false;
    }
    *descriptor = file;
    return true;
}

bool stage_lock_held(const char *run, pid_t *pid) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX], holder[HOLDER_BYTES], host[256] = "";
    *pid = 0;
    if (!proto_run_path(run, "lock", path, &ignored)) return false;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    // asked without taking it, so that looking at a run never keeps one from starting
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    const bool held = fcntl(file, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    if (held) {
        lock_holder(file, holder);
        gethostname(host, sizeof host - 1);
        char *end = NULL;
        const long number = strncmp(holder, "pid ", 4) == 0 ? strtol(holder + 4, &end, 10) : 0;
        const char *word = " on host ";
        if (number > 0 && strncmp(end, word, strlen(word)) == 0 &&
            strcmp(end + strlen(word), host) == 0)
            *pid = (pid_t)number;
    }
    close(file);
    return held;
}
