// proto/programs.c - see programs.h.
#include "proto/programs.h"

#include <string.h>
#include <unistd.h>

bool proto_programs_folder(char folder[static PROTO_PATH_MAX], struct proto_error *error) {
    const ssize_t length = readlink("/proc/self/exe", folder, PROTO_PATH_MAX - 1);
    if (length < 0) return proto_fail_errno(error, PROTO_MISSING, "/proc/self/exe cannot be read");
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (length == PROTO_PATH_MAX - 1 || !slash)
        return proto_fail(error, PROTO_MISSING, "the path of this program is too long");
    *slash = '\0';
    return true;
}

bool proto_programs_path(const char *program, char path[static PROTO_PATH_MAX],
                         struct proto_error *error) {
    char folder[PROTO_PATH_MAX];
    if (!proto_programs_folder(folder, error)) return false;
    return proto_run_path(folder, program, path, error);
}
