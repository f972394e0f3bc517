// evaluator/announced.c - see announced.h.
#include "evaluator/announced.h"

#include "proto/json.h"
#include "proto/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_BYTES ((size_t)1 << 16)
#define LINE_BYTES_MAX ((size_t)1 << 20)

static struct checkpoint_fate *find(const struct evaluator_announced *announced, uint64_t step) {
    for (size_t i = 0; i < announced->count; i++)
        if (announced->items[i].step == step) return &announced->items[i];
    return NULL;
}

bool evaluator_announced_see(struct evaluator_announced *announced, uint64_t step,
                             struct proto_error *error) {
    if (find(announced, step)) return true;
    struct checkpoint_fate *items =
        realloc(announced->items, (announced->count + 1) * sizeof *items);
    if (!items) return proto_fail(error, PROTO_EXHAUSTED, "no memory for the checkpoints of a run");
    items[announced->count++] = (struct checkpoint_fate){.step = step, .fate = EVALUATOR_WRITTEN};
    announced->items = items;
    return true;
}

void evaluator_announced_set(struct evaluator_announced *announced, uint64_t step,
                             enum evaluator_fate fate) {
    struct checkpoint_fate *item = find(announced, step);
    if (!item) return;
    item->fate = fate;
    item->finished_once = item->finished_once || fate == EVALUATOR_FINISHED;
}

static bool take(struct evaluator_announced *announced, const char *text, size_t size,
                 struct proto_error *error) {
    static const struct {
        const char *event;
        enum evaluator_fate fate;
    } known[] = {
        {"checkpoint", EVALUATOR_WRITTEN},
        {"evaluation_finished", EVALUATOR_FINISHED},
        {"evaluation_failed", EVALUATOR_FAILED},
        {"evaluation_skipped", EVALUATOR_SKIPPED},
    };
    struct proto_error torn = {0};
    const char *event = NULL;
    int64_t step = 0;
    bool done = true;
    json_t *line = size > 0 ? proto_json_parse(text, size, &torn) : NULL;
    if (line && proto_json_text(line, "event", &event, &torn))
        for (size_t i = 0; done && i < PROTO_COUNT(known); i++) {
            if (strcmp(known[i].event, event) != 0 ||
                !proto_json_integer(line, "step", 0, INT64_MAX, &step, &torn))
                continue;
            done = evaluator_announced_see(announced, (uint64_t)step, error);
            evaluator_announced_set(announced, (uint64_t)step, known[i].fate);
        }
    json_decref(line);
    return done;
}

// Takes the whole lines of a piece; *used: their bytes.
static bool take_lines(struct evaluator_announced *announced, const char *bytes, size_t size,
                       size_t *used, struct proto_error *error) {
    *used = 0;
    for (;;) {
        const char *begin = bytes + *used, *newline = memchr(begin, '\n', size - *used);
        if (!newline) return true;
        if (!take(announced, begin, (size_t)(newline - begin), error)) return false;
        *used = (size_t)(newline - bytes) + 1;
    }
}

bool evaluator_announced_read(struct evaluator_announced *announced, const char *run,
                              struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    if (!proto_run_path(run, "events.jsonl", path, error)) return false;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT) return true;
    if (file < 0) {
        proto_fail_errno(error, PROTO_FAILED, "cannot be read");
        return proto_error_where(error, "%s", path);
    }
    size_t room = PIECE_BYTES;
    char *bytes = proto_alloc(room, error);
    bool done = bytes != NULL;
    while (done) {
        size_t used = 0;
        const ssize_t got = pread(file, bytes, room, announced->read);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        done = take_lines(announced, bytes, (size_t)got, &used, error);
        announced->read += (off_t)used;
        if (!done || used > 0) continue;
        // no whole line: it is longer than this, or the end of the file, which comes later
        if ((size_t)got < room || room >= LINE_BYTES_MAX) break;
        room *= 2;
        free(bytes);
        bytes = proto_alloc(room, error);
        done = bytes != NULL;
    }
    free(bytes);
    close(file);
    return done || (error->where[0] ? false : proto_error_where(error, "%s", path));
}

void evaluator_announced_free(struct evaluator_announced *announced) {
    free(announced->items);
    *announced = (struct evaluator_announced){0};
}
