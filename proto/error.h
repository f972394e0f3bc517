// proto/error.h - how everything that can fail says so.
//
// A function that can fail returns bool and fills a struct proto_error: a status that becomes the
// exit code, what was found, expected and to do (text), and the user's place (where). The callee
// writes text; callers add place from the inside out; `main` prints, once. Asserts are for our own
// bugs only. Worked example:
//
//     if (count > LIMIT)
//         return proto_fail(error, PROTO_DAMAGED, "count is %zu, must be 1..%d", count, LIMIT);
//     ...
//     if (!inner(path, error)) return proto_error_where(error, "%s", path);
#ifndef PROTO_ERROR_H
#define PROTO_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#define PROTO_MUST_CHECK __attribute__((warn_unused_result))
#define PROTO_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define PROTO_COUNT(array) (sizeof(array) / sizeof((array)[0]))

// The exit codes of every program (docs/exit-codes.md is made from proto_status_meaning).
enum proto_status {
    PROTO_DONE = 0,
    PROTO_FAILED = 1,         // the work failed
    PROTO_USAGE = 2,          // command line or configuration wrong (file, line, key)
    PROTO_DAMAGED = 3,        // data damaged
    PROTO_MISSING = 4,        // a device or library is missing
    PROTO_EXHAUSTED = 5,      // out of a resource: disk, memory
    PROTO_REFUSED = 6,        // `check` says no
    PROTO_RESUMABLE = 75,     // stopped early and resumable
    PROTO_INTERRUPTED = 130,  // SIGINT, after a checkpoint
    PROTO_TERMINATED = 143,   // SIGTERM, after a checkpoint
};

struct proto_error {
    enum proto_status status;
    const char *source_file;  // where in our code, static string
    int source_line;
    char text[768];   // what was found, what was expected, what to do
    char where[512];  // the user's place, outermost first: "run/index.json: episodes[3]"
};

// Fills *error (a later failure replaces an earlier one, and clears where) and returns false.
#define proto_fail(error, status, ...) proto_fail_at(error, status, __FILE__, __LINE__, __VA_ARGS__)
bool proto_fail_at(struct proto_error *error, enum proto_status status, const char *source_file,
                   int source_line, const char *format, ...) PROTO_PRINTF(5, 6);

// As proto_fail with strerror(errno) appended; ENOSPC, EDQUOT, EFBIG, ENOMEM, EMFILE, ENFILE become
// PROTO_EXHAUSTED whatever `status` says.
#define proto_fail_errno(error, status, ...)                                                       \
    proto_fail_errno_at(error, status, __FILE__, __LINE__, __VA_ARGS__)
bool proto_fail_errno_at(struct proto_error *error, enum proto_status status,
                         const char *source_file, int source_line, const char *format, ...)
    PROTO_PRINTF(5, 6);

// Puts a place in front of error->where, "outer: inner". Returns false, for `return`.
bool proto_error_where(struct proto_error *error, const char *format, ...) PROTO_PRINTF(2, 3);

// "pipeline: where: text" on stderr, one line; the source place too when PIPELINE_TRACE is set.
// Returns the exit code.
int proto_error_print(const char *program, const struct proto_error *error);

// One phrase for an exit code, never NULL.
const char *proto_status_meaning(int status);

// Memory and sizes from outside: checked, PROTO_EXHAUSTED or PROTO_DAMAGED on overflow.
// proto_alloc zeroes; a size of 0 gives a unique pointer. proto_alloc_array checks count * size.
PROTO_MUST_CHECK void *proto_alloc(size_t size_bytes, struct proto_error *error);
PROTO_MUST_CHECK void *proto_alloc_array(size_t count, size_t item_bytes,
                                         struct proto_error *error);
PROTO_MUST_CHECK bool proto_mul(size_t a, size_t b, size_t *product);  // false: overflow
PROTO_MUST_CHECK bool proto_add(size_t a, size_t b, size_t *sum);
// printf into new memory; NULL and *error on lack of memory. The caller frees.
PROTO_MUST_CHECK char *proto_format(struct proto_error *error, const char *format, ...)
    PROTO_PRINTF(2, 3);

#endif
