// proto/error.c - error values, checked sizes, and the one place that prints an error.
#include "proto/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void error_begin(struct proto_error *error, enum proto_status status,
                        const char *source_file, int source_line) {
    error->status = status;
    error->source_file = source_file;
    error->source_line = source_line;
    error->where[0] = '\0';
}

bool proto_fail_at(struct proto_error *error, enum proto_status status, const char *source_file,
                   int source_line, const char *format, ...) {
    error_begin(error, status, source_file, source_line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    return false;
}

bool proto_fail_errno_at(struct proto_error *error, enum proto_status status,
                         const char *source_file, int source_line, const char *format, ...) {
    const int number = errno;
    const bool exhausted = number == ENOSPC || number == EDQUOT || number == EFBIG ||
                           number == ENOMEM || number == EMFILE || number == ENFILE;
    error_begin(error, exhausted ? PROTO_EXHAUSTED : status, source_file, source_line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    const size_t used = strlen(error->text);
    snprintf(error->text + used, sizeof error->text - used, ": %s", strerror(number));
    return false;
}

// Appends as much of `more` as fits; returns the new length.
static size_t text_append(char *text, size_t size_bytes, size_t used, const char *more) {
    const size_t room = size_bytes - 1 - used, wanted = strlen(more);
    const size_t length = wanted < room ? wanted : room;
    memcpy(text + used, more, length);
    text[used + length] = '\0';
    return used + length;
}

bool proto_error_where(struct proto_error *error, const char *format, ...) {
    char outer[sizeof error->where];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(outer, sizeof outer, format, arguments);
    va_end(arguments);
    // what no longer fits is cut off the inner end
    size_t used = strlen(outer);
    if (error->where[0] != '\0') {
        used = text_append(outer, sizeof outer, used, ": ");
        text_append(outer, sizeof outer, used, error->where);
    }
    memcpy(error->where, outer, strlen(outer) + 1);
    return false;
}

int proto_error_print(const char *program, const struct proto_error *error) {
    const bool placed = error->where[0] != '\0';
    fprintf(stderr, "%s: %s%s%s\n", program, error->where, placed ? ": " : "", error->text);
    if (getenv("PIPELINE_TRACE") && error->source_file)
        fprintf(stderr, "%s: reported by %s:%d\n", program, error->source_file, error->source_line);
    return (int)error->status;
}

const char *proto_status_meaning(int status) {
    switch (status) {
    case PROTO_DONE:
        return "done";
    case PROTO_FAILED:
        return "the work failed";
    case PROTO_USAGE:
        return "command line or configuration wrong";
    case PROTO_DAMAGED:
        return "data damaged";
    case PROTO_MISSING:
        return "a device or library is missing";
    case PROTO_EXHAUSTED:
        return "out of a resource (disk, memory)";
    case PROTO_REFUSED:
        return "check says no";
    case PROTO_RESUMABLE:
        return "stopped early, resumable";
    case PROTO_INTERRUPTED:
        return "interrupted after a checkpoint";
    case PROTO_TERMINATED:
        return "terminated after a checkpoint";
    default:
        return "unknown";
    }
}

void *proto_alloc(size_t size_bytes, struct proto_error *error) {
    void *memory = calloc(1, size_bytes > 0 ? size_bytes : 1);
    if (!memory)
        proto_fail(error, PROTO_EXHAUSTED, "%zu bytes of memory are not to be had", size_bytes);
    return memory;
}

void *proto_alloc_array(size_t count, size_t item_bytes, struct proto_error *error) {
    size_t size_bytes = 0;
    if (!proto_mul(count, item_bytes, &size_bytes)) {
        proto_fail(error, PROTO_EXHAUSTED, "%zu items of %zu bytes do not fit any memory", count,
                   item_bytes);
        return NULL;
    }
    return proto_alloc(size_bytes, error);
}

bool proto_mul(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

bool proto_add(size_t a, size_t b, size_t *sum) { return !__builtin_add_overflow(a, b, sum); }

char *proto_format(struct proto_error *error, const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length >= 0) return text;
    proto_fail(error, PROTO_EXHAUSTED, "no memory for a text");
    return NULL;
}
