// stages/plot.c - `pipeline plot`: reads a run's own files into a struct stage_plot. What the
// picture looks like is plot_svg.c.
#include "stages/plot.h"

#include "proto/files.h"
#include "proto/json.h"
#include "proto/run.h"
#include "proto/words.h"
#include "stages/client.h"
#include "stages/verb.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESULTS_BYTES_MAX (256u << 20)

// ---- lines of JSON ------------------------------------------------------------------------------

// Adds one object to the plot; false: the object is not as it should be.
struct reader {
    bool (*add)(struct stage_plot *plot, const json_t *object, struct proto_error *error);
    const char *name;  // of the file in the run folder
    bool may_lack;
};

// One more row in an array that grows by doubling; NULL: no memory.
static void *grow(void *rows, size_t count, size_t row_bytes, struct proto_error *error) {
    if (count > 0 && (count & (count - 1)) != 0) return rows;  // room up to the next power of two
    void *grown = reallocarray(rows, count > 0 ? 2 * count : 1, row_bytes);
    if (!grown) proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu rows", count + 1);
    return grown;
}

static bool step_of(const json_t *object, uint64_t *step, struct proto_error *error) {
    int64_t value = 0;
    if (!proto_json_integer(object, "step", 0, INT64_MAX, &value, error)) return false;
    *step = (uint64_t)value;
    return true;
}

static double number_or_nan(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static double number_or_nan_at(const json_t *array, size_t index) {
    const json_t *value = json_array_get(array, index);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool add_loss(struct stage_plot *plot, const json_t *object, struct proto_error *error) {
    struct stage_plot_loss row = {0};
    if (!step_of(object, &row.step, error) || !proto_json_real(object, "loss", &row.loss, error))
        return false;
    struct stage_plot_loss *grown = grow(plot->losses, plot->loss_count, sizeof row, error);
    if (!grown) return false;
    plot->losses = grown;
    grown[plot->loss_count++] = row;
    return true;
}

static bool add_event(struct stage_plot *plot, const json_t *object, struct proto_error *error) {
    const char *name = json_string_value(json_object_get(object, "event"));
    struct stage_plot_validation row = {
        .policy = number_or_nan(object, "policy"),
        .mean_action = number_or_nan(object, "mean_action"),
        .time_mean = number_or_nan(object, "time_mean"),
        .nearest_neighbour = number_or_nan(object, "nearest_neighbour"),
    };
    if (!name || strcmp(name, "validation") != 0) return true;
    if (!step_of(object, &row.step, error)) return false;
    struct stage_plot_validation *grown =
        grow(plot->validations, plot->validation_count, sizeof row, error);
    if (!grown) return false;
    plot->validations = grown;
    grown[plot->validation_count++] = row;
    return true;
}

// {"successes", "episodes", "success_rate", "interval95": [low, high]} of either kind of file.
static bool rate_read(const json_t *object, struct stage_plot_rate *rate,
                      struct proto_error *error) {
    int64_t successes, episodes;
    const json_t *ends;
    if (!proto_json_integer(object, "episodes", 1, UINT32_MAX, &episodes, error) ||
        !proto_json_integer(object, "successes", 0, episodes, &successes, error) ||
        !proto_json_real(object, "success_rate", &rate->rate, error) ||
        !proto_json_array(object, "interval95", 2, &ends, error))
        return false;
    rate->successes = (uint32_t)successes;
    rate->episodes = (uint32_t)episodes;
    rate->low = number_or_nan_at(ends, 0);
    rate->high = number_or_nan_at(ends, 1);
    return (rate->low >= 0 && rate->low <= rate->high && rate->high <= 1 && rate->rate >= 0 &&
            rate->rate <= 1) ||
           proto_fail(error, PROTO_DAMAGED, "rate %g of [%g, %g], must be within 0..1", rate->rate,
                      rate->low, rate->high);
}

static bool add_rate(struct stage_plot *plot, const json_t *object, struct proto_error *error) {
    struct stage_plot_rate row = {0};
    if (!step_of(object, &row.step, error) || !rate_read(object, &row, error)) return false;
    struct stage_plot_rate *grown = grow(plot->rates, plot->rate_count, sizeof row, error);
    if (!grown) return false;
    plot->rates = grown;
    grown[plot->rate_count++] = row;
    return true;
}

static bool lines_read(const char *run, const struct reader *reader, struct stage_plot *plot,
                       struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    if (!proto_run_path(run, reader->name, path, error)) return false;
    if (reader->may_lack && !proto_path_exists(path)) return true;
    FILE *file = fopen(path, "re");
    if (!file) {
        proto_fail_errno(error, PROTO_USAGE, "is no run's: cannot be opened");
        return proto_error_where(error, "%s", path);
    }
    char *text = NULL;
    size_t room = 0;
    bool done = true;
    for (uint64_t number = 1; done; number++) {
        const ssize_t length = getline(&text, &room, file);
        if (length <= 0 || text[length - 1] != '\n') break;  // a torn last line
        json_t *object = proto_json_parse(text, (size_t)length, error);
        done = object && reader->add(plot, object, error);
        json_decref(object);
        if (!done) proto_error_where(error, "%s: line %" PRIu64, path, number);
    }
    free(text);
    fclose(file);
    return done;
}

// Sorts by step and leaves the last of those that are there twice: a step done anew after a
// restart. Every kind of row begins with its step.
static size_t steps_sort(void *rows, size_t count, size_t row_bytes) {
    unsigned char *bytes = rows;
    uint64_t step, before;
    size_t kept = 0;
    // insertion: the files are sorted but for few rows
    for (size_t i = 0; i < count; i++) {
        unsigned char row[sizeof(struct stage_plot_rate)];
        memcpy(row, bytes + i * row_bytes, row_bytes);
        memcpy(&step, row, sizeof step);
        size_t at = kept;
        for (; at > 0; at--) {
            memcpy(&before, bytes + (at - 1) * row_bytes, sizeof before);
            if (before <= step) break;
        }
        if (at > 0 && before == step) {
            memcpy(bytes + (at - 1) * row_bytes, row, row_bytes);
            continue;
        }
        memmove(bytes + (at + 1) * row_bytes, bytes + at * row_bytes, (kept - at) * row_bytes);
        memcpy(bytes + at * row_bytes, row, row_bytes);
        kept++;
    }
    return kept;
}

bool stage_plot_read(const char *run, struct stage_plot *plot, struct proto_error *error) {
    static const struct reader readers[] = {
        {add_loss, "metrics.jsonl", false},
        {add_event, "events.jsonl", true},
        {add_rate, "eval/metrics.jsonl", true},
    };
    *plot = (struct stage_plot){0};
    for (size_t i = 0; i < PROTO_COUNT(readers); i++)
        if (!lines_read(run, &readers[i], plot, error)) return false;
    plot->loss_count = steps_sort(plot->losses, plot->loss_count, sizeof *plot->losses);
    plot->validation_count =
        steps_sort(plot->validations, plot->validation_count, sizeof *plot->validations);
    plot->rate_count = steps_sort(plot->rates, plot->rate_count, sizeof *plot->rates);
    if (plot->loss_count > 0) return true;
    proto_fail(error, PROTO_USAGE, "metrics.jsonl has no step yet");
    return proto_error_where(error, "%s", run);
}

void stage_plot_free(struct stage_plot *plot) {
    free(plot->losses);
    free(plot->validations);
    free(plot->rates);
    *plot = (struct stage_plot){0};
}

// ---- results.json -------------------------------------------------------------------------------

// One task's row of a kind, added to what other tasks had. Only one task's interval is in the file.
static bool report_add(const json_t *rows, const char *kind, struct stage_plot_rate *report,
                       struct proto_error *error) {
    const json_t *object = json_object_get(rows, kind);
    struct stage_plot_rate row = {.step = report->step};
    if (!object) return true;
    if (!rate_read(object, &row, error)) return proto_error_where(error, "rows.%s", kind);
    if (report->episodes > 0) {
        row.successes += report->successes;
        row.episodes += report->episodes;
        row.rate = row.low = row.high = (double)row.successes / (double)row.episodes;
    }
    *report = row;
    return true;
}

static bool results_read(const json_t *json, struct stage_plot *plot, struct proto_error *error) {
    static const char *const kinds[STAGE_PLOT_REPORTS] = {"policy", "open_loop", "blind"};
    const json_t *tasks, *rows;
    if (!proto_json_array(json, "tasks", 1000, &tasks, error)) return false;
    for (int k = 0; k < STAGE_PLOT_REPORTS; k++) {
        plot->reports[k] = (struct stage_plot_rate){0};
        if (!step_of(json, &plot->reports[k].step, error)) return false;
        for (size_t i = 0; i < json_array_size(tasks); i++)
            if (!proto_json_object(json_array_get(tasks, i), "rows", &rows, error) ||
                !report_add(rows, kinds[k], &plot->reports[k], error))
                return proto_error_where(error, "tasks[%zu]", i);
    }
    return true;
}

bool stage_plot_read_results(const char *path, struct stage_plot *plot, struct proto_error *error) {
    json_t *json = proto_json_read(path, RESULTS_BYTES_MAX, error);
    if (!json) return false;
    const bool done = results_read(json, plot, error) || proto_error_where(error, "%s", path);
    json_decref(json);
    return done;
}

// ---- the verb -----------------------------------------------------------------------------------

// The picture whole, or none: drawn into memory, then written durably.
static bool plot_write(const struct stage_plot *plot, const char *path, struct proto_error *error) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) return proto_fail_errno(error, PROTO_EXHAUSTED, "no memory for the picture");
    stage_plot_draw(plot, memory);
    const bool drawn = ferror(memory) == 0;
    bool done = fclose(memory) == 0 && drawn;
    if (!done)
        proto_fail(error, PROTO_EXHAUSTED, "no memory for the picture");
    else if (path)
        done = proto_file_write(path, text, size, error);
    else if (fwrite(text, 1, size, stdout) != size || fflush(stdout) != 0)
        done = proto_fail_errno(error, PROTO_FAILED, "stdout cannot be written");
    free(text);
    return done;
}

int stage_plot(int count, char **words) {
    struct proto_error error = {0};
    struct stage_plot plot = {0};
    const char *given = NULL, *out = NULL, *results = NULL;
    char run[PROTO_PATH_MAX];
    size_t rest = 0;
    const struct proto_word options[] = {{"-o", PROTO_WORD_TEXT, &out},
                                         {"--out", PROTO_WORD_TEXT, &out},
                                         {"--results", PROTO_WORD_TEXT, &results}};
    const bool done =
        proto_words_read(count, words, options, PROTO_COUNT(options), &given, 1, &rest, &error) &&
        stage_run_find(given, run, &error) && stage_plot_read(run, &plot, &error) &&
        (!results || stage_plot_read_results(results, &plot, &error)) &&
        plot_write(&plot, out, &error);
    stage_plot_free(&plot);
    return done ? PROTO_DONE : proto_error_print("pipeline plot", &error);
}
