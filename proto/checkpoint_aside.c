// proto/checkpoint_aside.c - see checkpoint_aside.h. The newest goes first, so that whatever is
// left after a death is older than what was to be set aside.
#include "proto/checkpoint_aside.h"

#include "proto/checkpoint.h"
#include "proto/checkpoint_parts.h"
#include "proto/files.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ASIDES_MAX 1000  // of one step

// A name that is free: "checkpoint-50.aside", "checkpoint-50.aside-2"; the caller frees it.
static char *aside_name(const char *run, uint64_t step, struct proto_error *error) {
    for (int i = 1; i <= ASIDES_MAX; i++) {
        char *name = i == 1 ? proto_format(error, "checkpoint-%" PRIu64 ".aside", step)
                            : proto_format(error, "checkpoint-%" PRIu64 ".aside-%d", step, i);
        char *path = name ? proto_format(error, "%s/%s", run, name) : NULL;
        const bool known = path != NULL, taken = known && proto_path_exists(path);
        free(path);
        if (known && !taken) return name;
        free(name);
        if (!known) return NULL;
    }
    proto_fail(error, PROTO_FAILED,
               "checkpoint-%" PRIu64 " was set aside %d times: remove some of them", step,
               ASIDES_MAX);
    proto_error_where(error, "%s", run);
    return NULL;
}

// Lets `best` point to the new name, if it pointed to the old one.
static bool best_follow(const char *run, uint64_t step, const char *name,
                        struct proto_error *error) {
    char target[PATH_MAX];
    enum checkpoint_kind kind;
    uint64_t best_step = 0;
    char *best = proto_format(error, "%s/best", run);
    char *next = best ? proto_format(error, "%s/best.partial", run) : NULL;
    bool done = next != NULL;
    const ssize_t length = done ? readlink(best, target, sizeof target - 1) : -1;
    if (length > 0) {
        target[length] = '\0';
        const char *slash = strrchr(target, '/');
        const bool follows = checkpoint_name_parse(slash ? slash + 1 : target, &best_step, &kind) &&
                             kind == CHECKPOINT_WHOLE && best_step == step;
        if (follows) {
            done = (unlink(next) == 0 || errno == ENOENT) && symlink(name, next) == 0;
            if (!done) proto_fail_errno(error, PROTO_FAILED, "%s cannot be made", next);
            done = done && proto_path_rename(next, best, error);
        }
    }
    free(best);
    free(next);
    return done;
}

static bool set_one_aside(const char *run, uint64_t step, struct proto_error *error) {
    char *whole = checkpoint_path(run, step, CHECKPOINT_WHOLE, error);
    char *name = whole ? aside_name(run, step, error) : NULL;
    char *path = name ? proto_format(error, "%s/%s", run, name) : NULL;
    const bool done =
        path && proto_path_rename(whole, path, error) && best_follow(run, step, name, error);
    free(whole);
    free(name);
    free(path);
    return done;
}

bool proto_checkpoint_set_aside(const char *run, uint64_t step, size_t *count,
                                struct proto_error *error) {
    uint64_t *steps = NULL;
    size_t found = 0;
    *count = 0;
    if (!proto_checkpoint_list(run, &steps, &found, error)) return false;
    bool done = true;
    for (size_t i = found; done && i > 0 && steps[i - 1] > step; i--) {
        done = set_one_aside(run, steps[i - 1], error);
        if (done) (*count)++;
    }
    free(steps);
    return done && (*count == 0 || proto_folder_sync(run, error));
}
