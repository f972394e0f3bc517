// trainer/ledger.c - recomputes the ledger of every step.
#include "trainer/ledger.h"

#include "proto/config.h"
#include "proto/index.h"
#include "proto/json.h"
#include "proto/run.h"
#include "proto/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_SAMPLES_MAX ((uint64_t)1 << 32)  // more in one step is a damaged cursor

struct line {
    uint64_t step, cursor, ledger;
    const json_t *samples;  // NULL: not written
};

static bool line_parse(const json_t *object, struct line *line, struct proto_error *error) {
    int64_t step = 0, cursor = 0;
    if (!proto_json_integer(object, "step", 1, INT64_MAX, &step, error) ||
        !proto_json_integer(object, "cursor", 1, INT64_MAX, &cursor, error) ||
        !proto_json_hex64(object, "ledger", &line->ledger, error))
        return false;
    line->step = (uint64_t)step;
    line->cursor = (uint64_t)cursor;
    line->samples = json_object_get(object, "samples");
    return true;
}

PROTO_PRINTF(2, 3)
static bool disagree(struct trainer_ledger_report *report, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(report->text, sizeof report->text, format, arguments);
    va_end(arguments);
    report->agrees = false;
    return false;
}

// The ids of a line, where they were written, in the order of positions.
static bool ids_agree(const struct line *line, const struct proto_stream *stream, uint64_t from,
                      struct trainer_ledger_report *report) {
    if (!json_is_array(line->samples) || json_array_size(line->samples) != line->cursor - from)
        return disagree(report, "step %" PRIu64 " took %" PRIu64 " positions, its list has %zu ids",
                        line->step, line->cursor - from, json_array_size(line->samples));
    for (uint64_t g = from; g < line->cursor; g++) {
        const json_t *id = json_array_get(line->samples, (size_t)(g - from));
        const uint64_t expected = proto_stream_sample(stream, g);
        if (!json_is_integer(id) || (uint64_t)json_integer_value(id) != expected)
            return disagree(report,
                            "step %" PRIu64 ", position %" PRIu64 ": sample %" JSON_INTEGER_FORMAT
                            " was taken, the position holds %" PRIu64,
                            line->step, g, json_integer_value(id), expected);
    }
    return true;
}

// One line against the stream, `before` being the line before it (step 0 at the start).
static bool line_agrees(const struct line *line, const struct line *before,
                        const struct proto_stream *stream, struct trainer_ledger_report *report) {
    if (line->step != before->step + 1)
        return disagree(report, "it is step %" PRIu64 ", expected step %" PRIu64, line->step,
                        before->step + 1);
    if (line->cursor <= before->cursor || line->cursor - before->cursor > STEP_SAMPLES_MAX)
        return disagree(
            report, "step %" PRIu64 " ends at position %" PRIu64 ", the step before at %" PRIu64,
            line->step, line->cursor, before->cursor);
    uint64_t expected = 0;
    for (uint64_t g = before->cursor; g < line->cursor; g++)
        expected += proto_ledger_entry(g, proto_stream_sample(stream, g));
    if (line->ledger != expected)
        return disagree(report,
                        "step %" PRIu64 " consumed other samples than positions %" PRIu64
                        " to %" PRIu64 " hold: its ledger is %016" PRIx64 ", expected %016" PRIx64,
                        line->step, before->cursor, line->cursor - 1, line->ledger, expected);
    if (!line->samples) report->with_ids = false;
    return !line->samples || ids_agree(line, stream, before->cursor, report);
}

static bool verify_lines(FILE *file, const char *path, const struct proto_stream *stream,
                         bool elsewhere, struct trainer_ledger_report *report,
                         struct proto_error *error) {
    struct line before = {0};
    char *text = NULL;
    size_t room = 0;
    bool done = true;
    report->agrees = report->with_ids = true;
    for (report->line = 1; done && report->agrees; report->line++) {
        struct line line = {0};
        const ssize_t length = getline(&text, &room, file);
        if (length <= 0 || text[length - 1] != '\n') break;  // a torn last line is no step yet
        json_t *object = proto_json_parse(text, (size_t)length, error);
        done = object && line_parse(object, &line, error);
        if (!done) {
            proto_error_where(error, "%s: line %" PRIu64, path, report->line);
            json_decref(object);
            break;
        }
        // The first line of a run that resumed another's checkpoint is not step 1: where the stream
        // was before it is in that checkpoint, not here, so its own samples cannot be counted.
        const bool counted = report->line > 1 || !elsewhere || line.step == 1;
        if (report->line == 1) report->first_step = line.step;
        if (counted && line_agrees(&line, &before, stream, report)) {
            report->steps++;
            report->samples += line.cursor - before.cursor;
        }
        before = line;
        before.samples = NULL;  // goes with its object
        json_decref(object);
        if (!report->agrees) break;
    }
    free(text);
    return done;
}

bool trainer_ledger_verify(const char *run, struct trainer_ledger_report *report,
                           struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    struct proto_config *config = NULL;
    struct proto_index *index = NULL;
    bool done = false;
    memset(report, 0, sizeof *report);
    if (!proto_run_path(run, "pipeline.toml", path, error) ||
        !proto_config_read(path, NULL, 0, &config, error) ||
        !proto_run_path(run, "index.json", path, error) || !proto_index_read(path, &index, error) ||
        !proto_run_path(run, "metrics.jsonl", path, error))
        goto end;
    FILE *file = fopen(path, "re");
    if (!file) {
        proto_fail_errno(error, PROTO_DAMAGED, "cannot open %s", path);
        goto end;
    }
    const char *resume = config->run.resume;
    const bool elsewhere = strcmp(resume, "auto") != 0 && strcmp(resume, "no") != 0;
    const struct proto_stream stream = {.seed = (uint64_t)config->run.seed,
                                        .n = index->train_samples,
                                        .purpose = PROTO_PURPOSE_SHUFFLE};
    if (stream.n < 1)
        proto_fail(error, PROTO_DAMAGED, "index.json has no sample to train on");
    else
        done = verify_lines(file, path, &stream, elsewhere, report, error);
    fclose(file);
end:
    proto_config_free(&config);
    proto_index_free(&index);
    return done;
}
