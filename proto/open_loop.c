// proto/open_loop.c - open_loop.json out of mean actions, and back.
#include "proto/open_loop.h"

#include "proto/json_strict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "pipeline-open-loop"
#define VERSION 1
#define FILE_BYTES_MAX ((size_t)256 << 20)

// ---- writing ----

static json_t *channels_json(const struct proto_codec *codec) {
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < codec->action_count; i++) {
        char name[PROTO_CHANNEL_NAME_MAX];
        proto_channel_name(&codec->action[i], name);
        if (json_array_append_new(list, json_string(name)) == 0) continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static json_t *row_json(const double *numbers, uint32_t count) {
    json_t *row = json_array();
    for (uint32_t i = 0; row && i < count; i++) {
        // NULL for a number that is not finite
        if (json_array_append_new(row, json_real(numbers[i])) == 0) continue;
        json_decref(row);
        row = NULL;
    }
    return row;
}

static json_t *task_json(const char *name, const struct proto_open_loop_task *task,
                         uint32_t channels) {
    json_t *actions = json_array();
    for (uint32_t t = 0; actions && t < task->steps; t++) {
        if (json_array_append_new(actions,
                                  row_json(task->actions + (size_t)t * channels, channels)) == 0)
            continue;
        json_decref(actions);
        actions = NULL;
    }
    return json_pack("{s:s, s:i, s:o}", "name", name, "episodes", (int)task->episodes, "actions",
                     actions);
}

bool proto_open_loop_write(const char *path, const struct proto_codec *codec,
                           const struct proto_open_loop *open_loop, struct proto_error *error) {
    json_t *tasks = json_array();
    for (uint32_t t = 0; tasks && t < codec->task_count; t++) {
        json_t *task = task_json(codec->tasks[t].name, &open_loop->tasks[t], codec->action_count);
        if (json_array_append_new(tasks, task) == 0) continue;
        json_decref(tasks);
        tasks = NULL;
    }
    json_t *json = json_pack("{s:s, s:i, s:o, s:o}", "format", FORMAT, "version", VERSION,
                             "channels", channels_json(codec), "tasks", tasks);
    bool done = json != NULL;
    if (!done)
        proto_fail(error, PROTO_EXHAUSTED,
                   "a name is not UTF-8 text, a number not finite, or there is no memory");
    done = done && proto_json_write(path, json, error);
    json_decref(json);
    return done || proto_error_where(error, "%s", path);
}

// ---- reading ----

static bool read_channels(const json_t *json, const struct proto_codec *codec,
                          struct proto_error *error) {
    const json_t *list = NULL;
    if (!proto_json_array(json, "channels", PROTO_CHANNELS_MAX, &list, error)) return false;
    if (json_array_size(list) != codec->action_count)
        return proto_fail(error, PROTO_DAMAGED, "channels has %zu entries, the codec %u actions",
                          json_array_size(list), codec->action_count);
    for (uint32_t i = 0; i < codec->action_count; i++) {
        char name[PROTO_CHANNEL_NAME_MAX];
        const char *found = json_string_value(json_array_get(list, i));
        proto_channel_name(&codec->action[i], name);
        if (!found || strcmp(found, name) != 0)
            return proto_fail(error, PROTO_DAMAGED, "channels[%u] is %.80s, the codec's is %s", i,
                              found ? found : "no text", name);
    }
    return true;
}

static bool read_rows(const json_t *rows, uint32_t channels, double *out,
                      struct proto_error *error) {
    for (size_t t = 0; t < json_array_size(rows); t++) {
        const json_t *row = json_array_get(rows, t);
        bool good = json_array_size(row) == channels;
        for (uint32_t i = 0; good && i < channels; i++) {
            const json_t *number = json_array_get(row, i);
            out[t * channels + i] = json_number_value(number);
            good = json_is_number(number) && isfinite(out[t * channels + i]);
        }
        if (!good)
            return proto_fail(error, PROTO_DAMAGED, "actions[%zu] is no list of %u numbers", t,
                              channels);
    }
    return true;
}

static bool read_task(const json_t *json, const char *name, uint32_t channels,
                      struct proto_open_loop_task *task, struct proto_error *error) {
    static const char *const keys[] = {"name", "episodes", "actions"};
    const char *found = NULL;
    const json_t *rows = NULL;
    int64_t episodes = 0;
    if (!proto_json_only(json, keys, PROTO_COUNT(keys), error) ||
        !proto_json_text(json, "name", &found, error) ||
        !proto_json_integer(json, "episodes", 0, INT32_MAX, &episodes, error) ||
        !proto_json_array(json, "actions", PROTO_OPEN_LOOP_STEPS_MAX, &rows, error))
        return false;
    if (strcmp(found, name) != 0)
        return proto_fail(error, PROTO_DAMAGED, "name is %.100s, the codec's is %.100s", found,
                          name);
    task->episodes = (uint32_t)episodes;
    task->steps = (uint32_t)json_array_size(rows);
    task->actions = proto_alloc_array((size_t)task->steps * channels, sizeof *task->actions, error);
    return task->actions && read_rows(rows, channels, task->actions, error);
}

static bool read_all(const json_t *json, const struct proto_codec *codec,
                     struct proto_open_loop *out, struct proto_error *error) {
    static const char *const keys[] = {"format", "version", "channels", "tasks"};
    const json_t *tasks = NULL;
    if (!proto_json_format(json, FORMAT, VERSION, error) ||
        !proto_json_only(json, keys, PROTO_COUNT(keys), error) ||
        !read_channels(json, codec, error) ||
        !proto_json_array(json, "tasks", codec->task_count, &tasks, error))
        return false;
    if (json_array_size(tasks) != codec->task_count)
        return proto_fail(error, PROTO_DAMAGED, "tasks has %zu entries, the codec %u",
                          json_array_size(tasks), codec->task_count);
    out->tasks = proto_alloc_array(codec->task_count, sizeof *out->tasks, error);
    if (!out->tasks) return false;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        out->task_count = t + 1;  // what free looks at
        if (!read_task(json_array_get(tasks, t), codec->tasks[t].name, codec->action_count,
                       &out->tasks[t], error))
            return proto_error_where(error, "tasks[%u]", t);
    }
    return true;
}

bool proto_open_loop_read(const char *path, const struct proto_codec *codec,
                          struct proto_open_loop **open_loop, struct proto_error *error) {
    json_t *json = proto_json_read(path, FILE_BYTES_MAX, error);
    if (!json) return false;
    struct proto_open_loop *read = proto_alloc(sizeof *read, error);
    bool done = read != NULL;
    if (done) {
        read->action_count = codec->action_count;
        done = read_all(json, codec, read, error);
    }
    json_decref(json);
    if (!done) {
        proto_open_loop_free(&read);
        return proto_error_where(error, "%s", path);
    }
    *open_loop = read;
    return true;
}

void proto_open_loop_free(struct proto_open_loop **open_loop) {
    if (!*open_loop) return;
    for (uint32_t t = 0; (*open_loop)->tasks && t < (*open_loop)->task_count; t++)
        free((*open_loop)->tasks[t].actions);
    free((*open_loop)->tasks);
    free(*open_loop);
    *open_loop = NULL;
}

void proto_open_loop_action(const struct proto_open_loop *open_loop,
                            const struct proto_codec *codec, uint32_t task, uint32_t t, double *x) {
    const struct proto_open_loop_task *rows = &open_loop->tasks[task];
    const double none[PROTO_CHANNELS_MAX] = {0};
    const uint32_t width = open_loop->action_count;
    if (t < rows->steps)
        memcpy(x, rows->actions + (size_t)t * width, width * sizeof *x);
    else
        proto_codec_rest_action(
            codec, rows->steps ? rows->actions + (size_t)(rows->steps - 1) * width : none, x);
}
