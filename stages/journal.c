// stages/journal.c - see journal.h. A line is one write on a descriptor opened for appending, so
// that a reader sees whole lines and a crash leaves at most the last one half.
#include "stages/journal.h"

#include "stages/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_MAX (1u << 20)

// Finds the end of the last whole line and cuts what stands behind it.
static bool journal_repair(int descriptor, const char *path, struct proto_error *error) {
    struct stat info;
    if (fstat(descriptor, &info) != 0)
        return proto_fail_errno(error, PROTO_FAILED, "%s cannot be looked at", path);
    off_t end = info.st_size;
    char block[4096];
    while (end > 0) {
        const size_t count = end < (off_t)sizeof block ? (size_t)end : sizeof block;
        if (pread(descriptor, block, count, end - (off_t)count) != (ssize_t)count)
            return proto_fail_errno(error, PROTO_FAILED, "%s cannot be read", path);
        const char *newline = memrchr(block, '\n', count);
        if (newline) {
            end = end - (off_t)count + (newline - block) + 1;
            break;
        }
        end -= (off_t)count;
    }
    if (end != info.st_size && ftruncate(descriptor, end) != 0)
        return proto_fail_errno(error, PROTO_FAILED, "%s cannot be cut to whole lines", path);
    return true;
}

bool stage_journal_open(struct stage_journal *journal, const char *path,
                        struct proto_error *error) {
    journal->descriptor = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (journal->descriptor < 0)
        return proto_fail_errno(error, PROTO_FAILED, "%s cannot be written", path);
    if (journal_repair(journal->descriptor, path, error)) return true;
    stage_journal_close(journal);
    return false;
}

bool stage_journal_write(struct stage_journal *journal, const char *name, json_t *fields,
                         struct proto_error *error) {
    char time_text[32];
    stage_time_text(time_text);
    bool done = false;
    char *line = NULL;
    json_t *object = json_pack("{s:s, s:s}", "time", time_text, "event", name);
    if (!object || (fields && json_object_update_missing(object, fields) != 0)) {
        proto_fail(error, PROTO_EXHAUSTED, "no memory for event %s", name);
        goto end;
    }
    line = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    const size_t length = line ? strlen(line) : 0;
    if (!line || length >= LINE_BYTES_MAX) {
        proto_fail(error, PROTO_EXHAUSTED, "event %s is too large to write", name);
        goto end;
    }
    line[length] = '\n';  // in place of the terminator: one write of the whole line
    const ssize_t written = write(journal->descriptor, line, length + 1);
    if (written != (ssize_t)length + 1) {
        if (written >= 0) errno = ENOSPC;
        proto_fail_errno(error, PROTO_FAILED, "events.jsonl: event %s cannot be written", name);
        struct proto_error ignored = {0};  // the first error is the one to tell
        if (written > 0) (void)!journal_repair(journal->descriptor, "events.jsonl", &ignored);
        goto end;
    }
    done = true;
end:
    free(line);
    json_decref(object);
    json_decref(fields);
    return done;
}

void stage_journal_close(struct stage_journal *journal) {
    if (journal->descriptor >= 0) close(journal->descriptor);
    journal->descriptor = -1;
}
