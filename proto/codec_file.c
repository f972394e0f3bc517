// proto/codec_file.c - codec.json: what a whole codec must be like, writing it, reading it
// strictly.
//
// {"format": "pipeline-codec", "version": 1, "transform", "layout", "width", "alignment",
//  "control_freq_hz", "action_stride", "action_clip": [min, max], "chunk", "history",
//  "cameras": [...], "image": {"height", "width", "orientation", "mean": [r, g, b], "std"},
//  "state": [channel...], "action": [channel...],
//  "tasks": [{"name", "instruction", "state": [row...], "action": [row...]}...], "hash"}
// channel: {"field", "component", "source", "slot", "column", "unit", "delta", "kind"}; all but
// source follow from the table of fields and are written for other readers; ours compares them.
// row: {"mean", "scale", "constant", "statistics": {...}}. The hash is over everything else, so an
// edited file is refused.
#include "proto/codec.h"
#include "proto/index.h"
#include "proto/json_strict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "pipeline-codec"
#define VERSION 1
#define FILE_BYTES_MAX ((size_t)256 << 20)

static const char *const transform_names[] = {"zscore", "q01q99", "identity"};
static const char *const kind_names[] = {"continuous", "gripper"};

// Writing. json_pack gives NULL when any part is NULL, and frees the others.

static json_t *channels_json(const struct proto_channel *channels, uint32_t count) {
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < count; i++) {
        const struct proto_channel *c = &channels[i];
        json_t *item =
            json_pack("{s:s, s:i, s:s, s:i, s:i, s:s, s:b, s:s}", "field", c->field->name,
                      "component", (int)c->component, "source", c->source, "slot", (int)c->slot,
                      "column", (int)c->column, "unit", c->field->unit, "delta",
                      c->field->delta ? 1 : 0, "kind", kind_names[c->field->kind]);
        if (json_array_append_new(array, item) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *row_json(const struct proto_codec_row *row) {
    json_t *statistics = json_object();
    if (!statistics || !proto_statistics_store(statistics, &row->statistics)) {
        json_decref(statistics);
        return NULL;
    }
    return json_pack("{s:f, s:f, s:b, s:o}", "mean", row->mean, "scale", row->scale, "constant",
                     row->constant ? 1 : 0, "statistics", statistics);
}

static json_t *rows_json(const struct proto_codec_row *rows, uint32_t count) {
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < count; i++)
        if (json_array_append_new(array, row_json(&rows[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

static json_t *tasks_json(const struct proto_codec *codec) {
    json_t *array = json_array();
    for (uint32_t t = 0; array && t < codec->task_count; t++) {
        const struct proto_codec_task *task = &codec->tasks[t];
        json_t *item =
            json_pack("{s:s, s:s, s:o, s:o}", "name", task->name, "instruction", task->instruction,
                      "state", rows_json(task->state, codec->state_count), "action",
                      rows_json(task->action, codec->action_count));
        if (json_array_append_new(array, item) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *cameras_json(const struct proto_codec *codec) {
    json_t *array = json_array();
    for (uint32_t i = 0; array && i < codec->camera_count; i++)
        if (json_array_append_new(array, json_string(codec->cameras[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    return array;
}

// Everything but the hash; NULL: no memory, or a text that is not UTF-8.
static json_t *codec_json(const struct proto_codec *codec) {
    const float *mean = codec->image_mean;
    json_t *image = json_pack("{s:i, s:i, s:s, s:[f, f, f], s:f}", "height",
                              (int)codec->image_height, "width", (int)codec->image_width,
                              "orientation", codec->image_orientation, "mean", (double)mean[0],
                              (double)mean[1], (double)mean[2], "std", (double)codec->image_std);
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:i, s:s, s:f, s:i, s:[f, f], s:i, s:i, s:o, s:o, s:o, s:o, s:o}",
        "format", FORMAT, "version", VERSION, "transform", transform_names[codec->transform],
        "layout", codec->compact ? "compact" : "unified", "width", (int)codec->width, "alignment",
        codec->after ? "after" : "before", "control_freq_hz", codec->control_freq_hz,
        "action_stride", (int)codec->action_stride, "action_clip", codec->action_min,
        codec->action_max, "chunk", (int)codec->chunk, "history", (int)codec->history, "cameras",
        cameras_json(codec), "image", image, "state",
        channels_json(codec->state, codec->state_count), "action",
        channels_json(codec->action, codec->action_count), "tasks", tasks_json(codec));
}

uint64_t proto_codec_hash(const struct proto_codec *codec) {
    json_t *json = codec_json(codec);
    const uint64_t hash = proto_json_hash(json);
    json_decref(json);
    return hash;
}

bool proto_codec_write(const char *path, struct proto_codec *codec, struct proto_error *error) {
    bool done = false;
    char hash[17];
    json_t *json = NULL;
    if (!proto_codec_check(codec, error)) goto end;
    json = codec_json(codec);
    codec->hash = proto_json_hash(json);
    proto_hex64(codec->hash, hash);
    if (codec->hash == 0 || json_object_set_new(json, "hash", json_string(hash)) != 0) {
        proto_fail(error, PROTO_EXHAUSTED, "a name is not UTF-8 text, or there is no memory");
        goto end;
    }
    done = proto_json_write(path, json, error);
end:
    json_decref(json);
    return done || proto_error_where(error, "%s", path);
}

// Reading.

static bool read_name(const json_t *object, const char *key, const char *const *names, size_t count,
                      uint32_t *chosen, struct proto_error *error) {
    const char *text = NULL;
    if (!proto_json_text(object, key, &text, error)) return false;
    for (*chosen = 0; *chosen < count; (*chosen)++)
        if (strcmp(names[*chosen], text) == 0) return true;
    return proto_fail(error, PROTO_DAMAGED, "%s is \"%.64s\", no name that is known", key, text);
}

static bool read_u32(const json_t *object, const char *key, uint32_t max, uint32_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(object, key, 0, max, &number, error)) return false;
    *value = (uint32_t)number;
    return true;
}

static bool read_fixed(const json_t *object, const char *key, char *text, size_t size_bytes,
                       struct proto_error *error) {
    const char *found = NULL;
    if (!proto_json_text(object, key, &found, error)) return false;
    if (strlen(found) >= size_bytes)
        return proto_fail(error, PROTO_DAMAGED, "%s is longer than %zu bytes", key, size_bytes - 1);
    snprintf(text, size_bytes, "%s", found);
    return true;
}

static bool read_channel(const json_t *json, bool action, struct proto_channel *channel,
                         struct proto_error *error) {
    static const char *const keys[] = {"field",  "component", "source", "slot",
                                       "column", "unit",      "delta",  "kind"};
    const char *name = NULL, *unit = NULL;
    bool delta = false;
    uint32_t kind = 0;
    if (!proto_json_only(json, keys, PROTO_COUNT(keys), error) ||
        !proto_json_text(json, "field", &name, error))
        return false;
    channel->field = proto_field_find(name, action);
    if (!channel->field)
        return proto_fail(error, PROTO_DAMAGED, "field \"%.64s\" is not known", name);
    if (!read_u32(json, "component", PROTO_UNIFIED_WIDTH, &channel->component, error) ||
        !read_fixed(json, "source", channel->source, sizeof channel->source, error) ||
        !read_u32(json, "slot", PROTO_UNIFIED_WIDTH - 1, &channel->slot, error) ||
        !read_u32(json, "column", PROTO_UNIFIED_WIDTH - 1, &channel->column, error) ||
        !proto_json_text(json, "unit", &unit, error) ||
        !proto_json_boolean(json, "delta", &delta, error) ||
        !read_name(json, "kind", kind_names, PROTO_COUNT(kind_names), &kind, error))
        return false;
    if (strcmp(unit, channel->field->unit) != 0 || delta != channel->field->delta ||
        kind != (uint32_t)channel->field->kind)
        return proto_fail(error, PROTO_DAMAGED, "%s is %s, %s, %s there; this build has %s, %s, %s",
                          name, unit, delta ? "delta" : "absolute", kind_names[kind],
                          channel->field->unit, channel->field->delta ? "delta" : "absolute",
                          kind_names[channel->field->kind]);
    return true;
}

static bool read_channels(const json_t *json, bool action, struct proto_codec *codec,
                          struct proto_error *error) {
    const char *side = action ? "action" : "state";
    struct proto_channel *channels = action ? codec->action : codec->state;
    uint32_t *count = action ? &codec->action_count : &codec->state_count;
    const json_t *array = NULL;
    if (!proto_json_array(json, side, PROTO_CHANNELS_MAX, &array, error)) return false;
    *count = (uint32_t)json_array_size(array);
    for (uint32_t i = 0; i < *count; i++)
        if (!read_channel(json_array_get(array, i), action, &channels[i], error))
            return proto_error_where(error, "%s[%u]", side, i);
    return true;
}

static bool read_row(const json_t *json, struct proto_codec_row *row, struct proto_error *error) {
    static const char *const keys[] = {"mean", "scale", "constant", "statistics"};
    static const char *const inner[] = {PROTO_STATISTICS_KEYS};
    return proto_json_only(json, keys, PROTO_COUNT(keys), error) &&
           proto_json_real(json, "mean", &row->mean, error) &&
           proto_json_real(json, "scale", &row->scale, error) &&
           proto_json_boolean(json, "constant", &row->constant, error) &&
           proto_json_only(json_object_get(json, "statistics"), inner, PROTO_COUNT(inner), error) &&
           proto_statistics_load(json_object_get(json, "statistics"), &row->statistics, error);
}

static bool read_rows(const json_t *json, const char *side, struct proto_codec_row *rows,
                      uint32_t count, struct proto_error *error) {
    const json_t *array = NULL;
    if (!proto_json_array(json, side, count, &array, error)) return false;
    if (json_array_size(array) != count)
        return proto_fail(error, PROTO_DAMAGED, "%s has %zu rows for %u channels", side,
                          json_array_size(array), count);
    for (uint32_t i = 0; i < count; i++)
        if (!read_row(json_array_get(array, i), &rows[i], error))
            return proto_error_where(error, "%s[%u]", side, i);
    return true;
}

static bool read_tasks(const json_t *json, struct proto_codec *codec, struct proto_error *error) {
    static const char *const keys[] = {"name", "instruction", "state", "action"};
    const json_t *array = NULL;
    if (!proto_json_array(json, "tasks", PROTO_TASKS_MAX, &array, error)) return false;
    const size_t count = json_array_size(array);
    codec->tasks = proto_alloc_array(count, sizeof *codec->tasks, error);
    if (!codec->tasks) return false;
    codec->task_count = (uint32_t)count;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        const json_t *item = json_array_get(array, t);
        struct proto_codec_task *task = &codec->tasks[t];
        if (!proto_json_only(item, keys, PROTO_COUNT(keys), error) ||
            !proto_json_text_copy(item, "name", &task->name, error) ||
            !proto_json_text_copy(item, "instruction", &task->instruction, error) ||
            !read_rows(item, "state", task->state, codec->state_count, error) ||
            !read_rows(item, "action", task->action, codec->action_count, error))
            return proto_error_where(error, "tasks[%u]", t);
    }
    return true;
}

static bool read_images(const json_t *json, struct proto_codec *codec, struct proto_error *error) {
    static const char *const keys[] = {"height", "width", "orientation", "mean", "std"};
    const json_t *cameras = NULL, *image = json_object_get(json, "image");
    double mean[3] = {0}, deviation = 0;
    if (!proto_json_array(json, "cameras", PROTO_CAMERAS_MAX, &cameras, error)) return false;
    codec->camera_count = (uint32_t)json_array_size(cameras);
    for (uint32_t i = 0; i < codec->camera_count; i++) {
        const char *name = json_string_value(json_array_get(cameras, i));
        if (!name || strlen(name) >= sizeof codec->cameras[i])
            return proto_fail(error, PROTO_DAMAGED, "cameras[%u] is no name under %zu bytes", i,
                              sizeof codec->cameras[i]);
        snprintf(codec->cameras[i], sizeof codec->cameras[i], "%s", name);
    }
    if (!proto_json_only(image, keys, PROTO_COUNT(keys), error) ||
        !read_u32(image, "height", PROTO_IMAGE_SIDE_MAX, &codec->image_height, error) ||
        !read_u32(image, "width", PROTO_IMAGE_SIDE_MAX, &codec->image_width, error) ||
        !read_fixed(image, "orientation", codec->image_orientation, sizeof codec->image_orientation,
                    error) ||
        !proto_json_reals(image, "mean", 3, mean, error) ||
        !proto_json_real(image, "std", &deviation, error))
        return proto_error_where(error, "image");
    for (int i = 0; i < 3; i++) codec->image_mean[i] = (float)mean[i];
    codec->image_std = (float)deviation;
    return true;
}

static bool read_header(const json_t *json, struct proto_codec *codec, struct proto_error *error) {
    static const char *const keys[] = {
        "format",          "version",       "transform",   "layout", "width",   "alignment",
        "control_freq_hz", "action_stride", "action_clip", "chunk",  "history", "cameras",
        "image",           "state",         "action",      "tasks",  "hash"};
    static const char *const layouts[] = {"unified", "compact"}, *const alignments[] = {"before",
                                                                                        "after"};
    uint32_t transform = 0, layout = 0, alignment = 0;
    double clip[2] = {0};
    if (!proto_json_format(json, FORMAT, VERSION, error) ||
        !proto_json_only(json, keys, PROTO_COUNT(keys), error) ||
        !read_name(json, "transform", transform_names, PROTO_COUNT(transform_names), &transform,
                   error) ||
        !read_name(json, "layout", layouts, PROTO_COUNT(layouts), &layout, error) ||
        !read_name(json, "alignment", alignments, PROTO_COUNT(alignments), &alignment, error) ||
        !read_u32(json, "width", PROTO_UNIFIED_WIDTH, &codec->width, error) ||
        !proto_json_real(json, "control_freq_hz", &codec->control_freq_hz, error) ||
        !read_u32(json, "action_stride", 1000, &codec->action_stride, error) ||
        !proto_json_reals(json, "action_clip", 2, clip, error) ||
        !read_u32(json, "chunk", PROTO_CHUNK_MAX, &codec->chunk, error) ||
        !read_u32(json, "history", PROTO_HISTORY_MAX, &codec->history, error) ||
        !proto_json_hex64(json, "hash", &codec->hash, error))
        return false;
    codec->transform = (enum proto_transform)transform;
    codec->compact = layout == 1;
    codec->after = alignment == 1;
    codec->action_min = clip[0];
    codec->action_max = clip[1];
    return true;
}

bool proto_codec_read(const char *path, struct proto_codec **codec, struct proto_error *error) {
    bool done = false;
    struct proto_codec *new = NULL;
    json_t *json = proto_json_read(path, FILE_BYTES_MAX, error);
    if (!json) return false;
    new = proto_alloc(sizeof *new, error);
    if (!new) goto end;
    if (!read_header(json, new, error) || !read_images(json, new, error) ||
        !read_channels(json, false, new, error) || !read_channels(json, true, new, error) ||
        !read_tasks(json, new, error) || !proto_codec_check(new, error))
        goto end;
    if (!proto_json_hash_agrees(proto_codec_hash(new), new->hash, "make it again from the data",
                                error))
        goto end;
    *codec = new;
    new = NULL;  // moved to the caller
    done = true;
end:
    json_decref(json);
    proto_codec_free(&new);
    return done || proto_error_where(error, "%s", path);
}
