// trainer/metrics.c - appends to metrics.jsonl and cuts it back on resume.
#include "trainer/metrics.h"

#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_BYTES_FIXED 1024  // keys and scalars
#define LINE_BYTES_NUMBER 32   // of %.17g or an id, with its comma

struct trainer_metrics {
    int descriptor;
    char *path;
    char *line;  // one line is put together here
    size_t line_bytes, used;
    off_t end;  // of the file's whole lines
};

// Where the lines that stay end. A torn last line is none.
static bool metrics_scan(FILE *file, const char *path, uint64_t step, off_t *keep, uint64_t *kept,
                         struct proto_error *error) {
    char *text = NULL;
    size_t room = 0;
    bool done = true;
    *keep = 0;
    *kept = 0;
    for (uint64_t number = 1;; number++) {
        const ssize_t length = getline(&text, &room, file);
        if (length <= 0 || text[length - 1] != '\n') break;
        int64_t at = 0;
        json_t *line = proto_json_parse(text, (size_t)length, error);
        done = line && proto_json_integer(line, "step", 1, INT64_MAX, &at, error);
        json_decref(line);
        if (!done) {
            proto_error_where(error, "%s: line %" PRIu64, path, number);
            break;
        }
        if ((uint64_t)at > step) break;
        *keep += length;
        (*kept)++;
    }
    free(text);
    return done;
}

// Cuts the file back and makes that durable.
static bool metrics_cut(struct trainer_metrics *metrics, uint64_t step, uint64_t *lines_kept,
                        struct proto_error *error) {
    const int reading = fcntl(metrics->descriptor, F_DUPFD_CLOEXEC, 0);
    FILE *file = reading >= 0 ? fdopen(reading, "r") : NULL;
    if (!file) {
        if (reading >= 0) close(reading);
        return proto_fail_errno(error, PROTO_FAILED, "%s", metrics->path);
    }
    rewind(file);
    const bool scanned = metrics_scan(file, metrics->path, step, &metrics->end, lines_kept, error);
    fclose(file);
    if (!scanned) return false;
    if (ftruncate(metrics->descriptor, metrics->end) != 0 || fsync(metrics->descriptor) != 0 ||
        lseek(metrics->descriptor, 0, SEEK_END) < 0)
        return proto_fail_errno(error, PROTO_FAILED, "cutting back %s", metrics->path);
    return true;
}

bool trainer_metrics_open(const char *path, uint64_t step, uint32_t ranks, size_t samples_max,
                          struct trainer_metrics **metrics, uint64_t *lines_kept,
                          struct proto_error *error) {
    struct trainer_metrics *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->descriptor = -1;
    opened->line_bytes = LINE_BYTES_FIXED + LINE_BYTES_NUMBER * (2 * (size_t)ranks + samples_max);
    opened->line = proto_alloc(opened->line_bytes, error);
    opened->path = opened->line ? proto_format(error, "%s", path) : NULL;
    if (!opened->path) goto failed;
    opened->descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (opened->descriptor < 0) {
        proto_fail_errno(error, PROTO_FAILED, "cannot open %s", path);
        goto failed;
    }
    if (!metrics_cut(opened, step, lines_kept, error)) goto failed;
    *metrics = opened;
    return true;
failed:
    trainer_metrics_close(&opened);
    return false;
}

void trainer_metrics_close(struct trainer_metrics **metrics) {
    if (!*metrics) return;
    if ((*metrics)->descriptor >= 0) close((*metrics)->descriptor);
    free((*metrics)->line);
    free((*metrics)->path);
    free(*metrics);
    *metrics = NULL;
}

PROTO_PRINTF(2, 3) static void put(struct trainer_metrics *metrics, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(metrics->line + metrics->used, metrics->line_bytes - metrics->used,
                                 format, arguments);
    va_end(arguments);
    const size_t left = metrics->line_bytes - metrics->used;
    // room was made for the longest line; a cut one would be refused by the check of its end
    metrics->used += length > 0 && (size_t)length < left ? (size_t)length : 0;
}

// JSON has no infinity.
static void put_number(struct trainer_metrics *metrics, const char *key, double value) {
    if (isfinite(value))
        put(metrics, ", \"%s\": %.17g", key, value);
    else
        put(metrics, ", \"%s\": null", key);
}

static void put_list(struct trainer_metrics *metrics, const char *key, const double *values,
                     uint32_t count) {
    put(metrics, ", \"%s\": [", key);
    for (uint32_t i = 0; i < count; i++) put(metrics, "%s%.17g", i > 0 ? ", " : "", values[i]);
    put(metrics, "]");
}

bool trainer_metrics_append(struct trainer_metrics *metrics,
                            const struct trainer_metrics_line *line, struct proto_error *error) {
    metrics->used = 0;
    put(metrics, "{\"step\": %" PRIu64 ", \"attempt\": %u, \"cursor\": %" PRIu64, line->step,
        line->attempt, line->cursor);
    put_number(metrics, "loss", line->loss);
    put_number(metrics, "learning_rate", line->learning_rate);
    put_number(metrics, "grad_norm", line->grad_norm);
    put_number(metrics, "step_s", line->step_s);
    if (line->loss_scale > 0) {
        put_number(metrics, "loss_scale", line->loss_scale);
        put(metrics, ", \"skipped_steps\": %" PRIu64, line->skipped);
    }
    put_list(metrics, "data_wait_s", line->data_wait_s, line->ranks);
    put_list(metrics, "collective_wait_s", line->collective_wait_s, line->ranks);
    put(metrics, ", \"samples_per_s\": %.17g, \"ledger\": \"%016" PRIx64 "\"", line->samples_per_s,
        line->ledger);
    if (line->samples) {
        put(metrics, ", \"samples\": [");
        for (size_t i = 0; i < line->sample_count; i++)
            put(metrics, "%s%" PRIu64, i > 0 ? ", " : "", line->samples[i]);
        put(metrics, "]");
    }
    put(metrics, "}\n");
    ssize_t written = 0;
    do written = write(metrics->descriptor, metrics->line, metrics->used);
    while (written < 0 && errno == EINTR);
    if (written == (ssize_t)metrics->used) {
        metrics->end += written;
        return true;
    }
    if (written >= 0) errno = ENOSPC;  // a part went in: the disk is full
    proto_fail_errno(error, PROTO_FAILED, "writing step %" PRIu64 " to %s", line->step,
                     metrics->path);
    if (ftruncate(metrics->descriptor, metrics->end) == 0)
        (void)!lseek(metrics->descriptor, 0, SEEK_END);
    return false;
}

bool trainer_metrics_sync(struct trainer_metrics *metrics, struct proto_error *error) {
    if (fdatasync(metrics->descriptor) == 0) return true;
    return proto_fail_errno(error, PROTO_FAILED, "%s does not reach the disk", metrics->path);
}
