// proto/checkpoint_rotate.c - which checkpoints go: only rank 0 removes, a removal first takes the
// name away, and nothing that `best` or an evaluator holds is touched.
#include "proto/checkpoint.h"
#include "proto/checkpoint_parts.h"
#include "proto/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define OPTIMIZERS_KEPT 2

// The exclusive lock of a checkpoint on its config.json; *descriptor is -1 when there is no such
// file, so nobody can hold it. False: somebody holds it, or it cannot be known.
static bool lock_take(const char *folder, int *descriptor) {
    struct proto_error ignored;
    char *path = proto_format(&ignored, "%s/config.json", folder);
    *descriptor = -1;
    if (!path) return false;
    *descriptor = open(path, O_RDONLY | O_CLOEXEC);
    const int number = errno;
    free(path);
    if (*descriptor < 0) return number == ENOENT;
    if (flock(*descriptor, LOCK_EX | LOCK_NB) == 0) return true;
    close(*descriptor);
    *descriptor = -1;
    return false;
}

// Removes a folder that nobody holds; one that is held stays for the next time.
static bool remove_unheld(const char *run, uint64_t step, enum checkpoint_kind kind,
                          struct proto_error *error) {
    int lock = -1;
    char *removing = NULL;
    char *folder = checkpoint_path(run, step, kind, error);
    bool done = folder != NULL;
    if (!done || !lock_take(folder, &lock)) goto end;
    if (kind == CHECKPOINT_WHOLE) {
        removing = checkpoint_path(run, step, CHECKPOINT_REMOVING, error);
        done = removing && proto_folder_remove(removing, error) &&
               proto_path_rename(folder, removing, error) && proto_folder_sync(run, error) &&
               proto_folder_remove(removing, error);
    } else {
        done = proto_folder_remove(folder, error);
    }
end:
    if (lock >= 0) close(lock);
    free(folder);
    free(removing);
    return done;
}

// Left-overs of writes and removals that were cut off.
static bool remove_leftovers(const char *run, struct proto_error *error) {
    struct proto_names names = {0};
    if (!checkpoint_recover(run, error) || !proto_folder_list(run, &names, error)) return false;
    bool done = true;
    for (size_t i = 0; done && i < names.count; i++) {
        enum checkpoint_kind kind;
        uint64_t step = 0;
        if (checkpoint_name_parse(names.items[i], &step, &kind) && kind != CHECKPOINT_WHOLE)
            done = remove_unheld(run, step, kind, error);
    }
    proto_names_free(&names);
    return done;
}

// The step that run/best points to. *known false: there is no best.
static bool best_read(const char *run, uint64_t *step, bool *known, struct proto_error *error) {
    char target[PATH_MAX];
    enum checkpoint_kind kind;
    *known = false;
    char *path = proto_format(error, "%s/best", run);
    if (!path) return false;
    const ssize_t length = readlink(path, target, sizeof target - 1);
    const int number = errno;
    if (length < 0 && number != ENOENT) {
        errno = number;
        proto_fail_errno(error, PROTO_DAMAGED,
                         "must be a symbolic link to the best checkpoint; nothing is removed until "
                         "it can be read");
        proto_error_where(error, "%s", path);
        free(path);
        return false;
    }
    free(path);
    if (length < 0) return true;
    target[length] = '\0';
    while (strlen(target) > 1 && target[strlen(target) - 1] == '/')
        target[strlen(target) - 1] = '\0';
    const char *slash = strrchr(target, '/');
    *known = checkpoint_name_parse(slash ? slash + 1 : target, step, &kind);
    return true;
}

// optimizer.safetensors is two thirds of a checkpoint and serves resuming only.
static bool drop_optimizer(const char *run, uint64_t step, struct proto_error *error) {
    char *folder = checkpoint_path(run, step, CHECKPOINT_WHOLE, error);
    char *path =
        folder ? proto_format(error, "%s/%s", folder, checkpoint_files[CHECKPOINT_OPTIMIZER].name)
               : NULL;
    bool done = path != NULL;
    if (done && proto_path_exists(path)) {
        done = proto_disk()->unlink(path) == 0;
        if (!done) {
            proto_fail_errno(error, PROTO_FAILED, "cannot be removed");
            proto_error_where(error, "%s", path);
        }
        done = done && proto_folder_sync(folder, error);
    }
    free(path);
    free(folder);
    return done;
}

bool proto_checkpoint_rotate(const char *run, uint64_t keep, struct proto_error *error) {
    uint64_t *steps = NULL, best = 0;
    size_t count = 0;
    bool has_best = false;
    if (!remove_leftovers(run, error) || !best_read(run, &best, &has_best, error)) return false;
    if (!proto_checkpoint_list(run, &steps, &count, error)) return false;
    bool done = true;
    if (keep < 1) keep = 1;  // the newest is what a run resumes from
    for (size_t i = 0; done && i + keep < count; i++)
        if (!has_best || steps[i] != best)
            done = remove_unheld(run, steps[i], CHECKPOINT_WHOLE, error);
    free(steps);
    if (!done || !proto_checkpoint_list(run, &steps, &count, error)) return false;
    for (size_t i = 0; done && i + OPTIMIZERS_KEPT < count; i++)
        done = drop_optimizer(run, steps[i], error);
    free(steps);
    return done && proto_folder_sync(run, error);
}
