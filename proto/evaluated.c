// proto/evaluated.c - see evaluated.h.
#include "proto/evaluated.h"

#include "proto/files.h"

#include <inttypes.h>
#include <stdio.h>

bool proto_evaluated_wanted(uint64_t step, uint64_t newest, uint64_t period, uint64_t every) {
    if (step == newest || every <= 1 || period == 0) return true;
    return step / period % every == 0;
}

bool proto_evaluated_path(const char *run, uint64_t step, const char *name,
                          char path[static PROTO_PATH_MAX], struct proto_error *error) {
    char inside[160];
    const int length = snprintf(inside, sizeof inside, "eval/checkpoint-%" PRIu64 "%s%s", step,
                                name ? "/" : "", name ? name : "");
    if (length < 0 || (size_t)length >= sizeof inside)
        return proto_fail(error, PROTO_USAGE, "a name of %d bytes is too long", length);
    return proto_run_path(run, inside, path, error);
}

bool proto_evaluated_done(const char *run, uint64_t step) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    return proto_evaluated_path(run, step, "results.json", path, &ignored) &&
           proto_path_exists(path);
}
