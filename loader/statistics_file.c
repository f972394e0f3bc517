// loader/statistics_file.c - dataset_statistics.json out of a codec, and back into one.
#include "loader/statistics_file.h"

#include "proto/index.h"
#include "proto/json_strict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "pipeline-statistics"
#define VERSION 1
#define FILE_BYTES_MAX ((size_t)256 << 20)

// One side of one task: where its statistics lie, which may be rows of a codec or a plain array.
struct side {
    const struct proto_channel *channels;
    uint32_t count;
    const struct proto_codec_row *rows;         // or
    const struct proto_statistics *statistics;  // when rows is NULL
};

static json_t *side_json(const struct side *side) {
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < side->count; i++) {
        const struct proto_channel *channel = &side->channels[i];
        char name[PROTO_CHANNEL_NAME_MAX];
        proto_channel_name(channel, name);
        json_t *row = json_pack("{s:s, s:s, s:s}", "channel", name, "source", channel->source,
                                "unit", channel->field->unit);
        const bool stored =
            row && proto_statistics_store(row, side->rows ? &side->rows[i].statistics
                                                          : &side->statistics[i]);
        if (json_array_append(array, stored ? row : NULL) != 0) {
            json_decref(array);
            array = NULL;
        }
        json_decref(row);
    }
    return array;
}

static json_t *task_json(const struct proto_codec *codec, const struct proto_codec_task *task) {
    const struct side state = {codec->state, codec->state_count, task->state, NULL};
    const struct side action = {codec->action, codec->action_count, task->action, NULL};
    return json_pack("{s:s, s:s, s:o, s:o}", "name", task->name, "instruction", task->instruction,
                     "state", side_json(&state), "action", side_json(&action));
}

bool loader_statistics_file_write(const char *path, const struct proto_codec *codec,
                                  const struct proto_statistics *pooled_state,
                                  const struct proto_statistics *pooled_action,
                                  struct proto_error *error) {
    const struct side state = {codec->state, codec->state_count, NULL, pooled_state};
    const struct side action = {codec->action, codec->action_count, NULL, pooled_action};
    json_t *tasks = json_array();
    for (uint32_t t = 0; tasks && t < codec->task_count; t++)
        if (json_array_append_new(tasks, task_json(codec, &codec->tasks[t])) != 0) {
            json_decref(tasks);
            tasks = NULL;
        }
    json_t *json =
        json_pack("{s:s, s:i, s:o, s:{s:o, s:o}}", "format", FORMAT, "version", VERSION, "tasks",
                  tasks, "pooled", "state", side_json(&state), "action", side_json(&action));
    bool done = json != NULL;
    if (!done)
        proto_fail(error, PROTO_EXHAUSTED,
                   "a name is not UTF-8 text, a number not finite, or there is no memory");
    done = done && proto_json_write(path, json, error);
    json_decref(json);
    return done || proto_error_where(error, "%s", path);
}

// Reading.

// The row of a channel: exactly one of its name, in its unit.
static bool find_row(const json_t *array, const struct proto_channel *channel,
                     struct proto_statistics *statistics, struct proto_error *error) {
    static const char *const keys[] = {"channel", "source", "unit", PROTO_STATISTICS_KEYS};
    char name[PROTO_CHANNEL_NAME_MAX];
    bool found = false;
    proto_channel_name(channel, name);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *row = json_array_get(array, i);
        const char *its = NULL, *unit = NULL;
        if (!proto_json_only(row, keys, PROTO_COUNT(keys), error) ||
            !proto_json_text(row, "channel", &its, error))
            return proto_error_where(error, "[%zu]", i);
        if (strcmp(its, name) != 0) continue;
        if (found) return proto_fail(error, PROTO_DAMAGED, "channel %s is there twice", name);
        if (!proto_json_text(row, "unit", &unit, error) ||
            !proto_statistics_load(row, statistics, error))
            return proto_error_where(error, "%s", name);
        if (strcmp(unit, channel->field->unit) != 0)
            return proto_fail(error, PROTO_USAGE,
                              "channel %s is in \"%.64s\" there, in \"%s\" here", name, unit,
                              channel->field->unit);
        found = true;
    }
    if (found) return true;
    return proto_fail(error, PROTO_USAGE,
                      "channel %s is not there; data.state and data.action "
                      "must name what the statistics were made of",
                      name);
}

static bool read_side(const json_t *object, const char *side, const struct proto_channel *channels,
                      uint32_t count, struct proto_codec_row *rows, struct proto_error *error) {
    const json_t *array = NULL;
    if (!proto_json_array(object, side, PROTO_CHANNELS_MAX, &array, error)) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!find_row(array, &channels[i], &rows[i].statistics, error))
            return proto_error_where(error, "%s", side);
    return true;
}

// The object of the task of that name; NULL with the names there are.
static const json_t *find_task(const json_t *tasks, const char *name, struct proto_error *error) {
    const json_t *found = NULL;
    char names[400] = "";
    for (size_t i = 0; i < json_array_size(tasks); i++) {
        const json_t *task = json_array_get(tasks, i);
        const char *its = NULL;
        if (!proto_json_text(task, "name", &its, error)) {
            proto_error_where(error, "tasks[%zu]", i);
            return NULL;
        }
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", its);
        if (strcmp(its, name) != 0) continue;
        if (found) {
            proto_fail(error, PROTO_DAMAGED, "task %.100s is there twice", name);
            return NULL;
        }
        found = task;
    }
    if (!found) proto_fail(error, PROTO_USAGE, "task %.100s is not there; it has: %s", name, names);
    return found;
}

// The statistics of all tasks of the codec, in copies of its task rows.
static bool read_all(const json_t *json, const struct proto_codec *codec,
                     struct proto_codec_task *copies, struct proto_error *error) {
    static const char *const keys[] = {"format", "version", "tasks", "pooled"};
    static const char *const inner[] = {"name", "instruction", "state", "action"};
    const json_t *tasks = NULL;
    if (!proto_json_format(json, FORMAT, VERSION, error) ||
        !proto_json_only(json, keys, PROTO_COUNT(keys), error) ||
        !proto_json_array(json, "tasks", PROTO_TASKS_MAX, &tasks, error))
        return false;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        struct proto_codec_task *copy = &copies[t];
        const json_t *task = find_task(tasks, copy->name, error);
        if (!task) return false;
        if (!proto_json_only(task, inner, PROTO_COUNT(inner), error) ||
            !read_side(task, "state", codec->state, codec->state_count, copy->state, error) ||
            !read_side(task, "action", codec->action, codec->action_count, copy->action, error))
            return proto_error_where(error, "task %.100s", copy->name);
    }
    return true;
}

bool loader_statistics_file_apply(const char *path, struct proto_codec *codec,
                                  struct proto_error *error) {
    bool done = false;
    struct proto_codec_task *copies = NULL;
    json_t *json = proto_json_read(path, FILE_BYTES_MAX, error);
    if (!json) return false;
    copies = proto_alloc_array(codec->task_count, sizeof *copies, error);
    if (!copies) goto end;
    memcpy(copies, codec->tasks, codec->task_count * sizeof *copies);
    if (!read_all(json, codec, copies, error)) goto end;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        for (uint32_t i = 0; i < codec->state_count; i++)
            proto_codec_row_fit(&copies[t].state[i], &codec->state[i], codec->transform);
        for (uint32_t i = 0; i < codec->action_count; i++)
            proto_codec_row_fit(&copies[t].action[i], &codec->action[i], codec->transform);
    }
    memcpy(codec->tasks, copies, codec->task_count * sizeof *copies);
    done = true;
end:
    free(copies);
    json_decref(json);
    return done || proto_error_where(error, "%s", path);
}
