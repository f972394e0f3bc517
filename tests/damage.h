// tests/damage.h - a file damaged by hand: one text in it replaced by another, and put back.
#ifndef TESTS_DAMAGE_H
#define TESTS_DAMAGE_H

#include "tests/check.h"

#include "proto/files.h"

struct damage {
    const char *path;
    char *text;  // as it was
    size_t size_bytes;
};

// Replaces the first `from`, which must be there.
static inline struct damage damage_do(const char *path, const char *from, const char *to) {
    struct damage damage = {.path = path};
    struct proto_error error = {0};
    CHECK_OK(
        proto_file_read(path, 1 << 24, PROTO_DAMAGED, &damage.text, &damage.size_bytes, &error),
        error);
    char *at = strstr(damage.text, from);
    CHECK(at);
    char *other = proto_format(&error, "%.*s%s%s", (int)(at - damage.text), damage.text, to,
                               at + strlen(from));
    CHECK(other);
    CHECK_OK(proto_file_write(path, other, strlen(other), &error), error);
    free(other);
    return damage;
}

static inline void damage_undo(struct damage *damage) {
    struct proto_error error = {0};
    CHECK_OK(proto_file_write(damage->path, damage->text, damage->size_bytes, &error), error);
    free(damage->text);
}

// The error's place and text as a person sees them contain `says`, and the place begins with path.
static inline void damage_says(const struct proto_error *error, const char *path,
                               const char *says) {
    char whole[sizeof error->where + sizeof error->text + 2];
    snprintf(whole, sizeof whole, "%s: %s", error->where, error->text);
    CHECK(strncmp(whole, path, strlen(path)) == 0);
    CHECK_HAS(whole, says);
}

#endif
