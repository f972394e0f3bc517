// proto/codec_check.c - what must hold of a whole codec, whether it was just built or read from a
// file that anybody may have edited.
#include "proto/codec.h"
#include "proto/index.h"
#include "proto/json_strict.h"

#include <math.h>
#include <string.h>

// robosuite's two conventions: row 0 at the bottom, row 0 on top
static const char *const orientations[] = {"opengl", "opencv"};

static bool check_number(const char *name, double value, double min, double max,
                         struct proto_error *error) {
    if (value >= min && value <= max) return true;  // false for NaN
    return proto_fail(error, PROTO_DAMAGED, "%s is %g, must be %g..%g", name, value, min, max);
}

static bool check_sizes(const struct proto_codec *codec, struct proto_error *error) {
    if ((unsigned)codec->transform > PROTO_IDENTITY)
        return proto_fail(error, PROTO_DAMAGED, "transform is number %d, none that is known",
                          (int)codec->transform);
    if (!check_number("state channels", codec->state_count, 0, PROTO_CHANNELS_MAX, error) ||
        !check_number("action channels", codec->action_count, 1, PROTO_CHANNELS_MAX, error) ||
        !check_number("tasks", codec->task_count, 1, PROTO_TASKS_MAX, error) ||
        !check_number("control_freq_hz", codec->control_freq_hz, 0.1, 1000, error) ||
        !check_number("action_stride", codec->action_stride, 1, 1000, error) ||
        !check_number("chunk", codec->chunk, 1, PROTO_CHUNK_MAX, error) ||
        !check_number("history", codec->history, 1, PROTO_HISTORY_MAX, error) ||
        !check_number("cameras", codec->camera_count, 0, PROTO_CAMERAS_MAX, error) ||
        !check_number("action_clip[0]", codec->action_min, -1e6, 1e6, error) ||
        !check_number("action_clip[1]", codec->action_max, -1e6, 1e6, error))
        return false;
    if (codec->action_min >= codec->action_max)
        return proto_fail(error, PROTO_DAMAGED, "action_clip is %g to %g, an empty range",
                          codec->action_min, codec->action_max);
    const uint32_t most =
        codec->state_count > codec->action_count ? codec->state_count : codec->action_count;
    const uint32_t width = codec->compact ? most : PROTO_UNIFIED_WIDTH;
    if (codec->width != width)
        return proto_fail(error, PROTO_DAMAGED, "width is %u, the layout has %u", codec->width,
                          width);
    return true;
}

static bool check_images(const struct proto_codec *codec, struct proto_error *error) {
    const uint32_t least = codec->camera_count > 0 ? 1 : 0;
    if (!check_number("image.height", codec->image_height, least, PROTO_IMAGE_SIDE_MAX, error) ||
        !check_number("image.width", codec->image_width, least, PROTO_IMAGE_SIDE_MAX, error) ||
        !check_number("image.std", (double)codec->image_std, 1e-6, 1e6, error))
        return false;
    for (int i = 0; i < 3; i++)
        if (!check_number("image.mean", (double)codec->image_mean[i], -1e6, 1e6, error))
            return false;
    bool known = false;
    for (size_t i = 0; i < PROTO_COUNT(orientations); i++)
        known = known || strcmp(codec->image_orientation, orientations[i]) == 0;
    if (!known)
        return proto_fail(error, PROTO_DAMAGED,
                          "image.orientation is \"%.15s\", must be opengl or opencv",
                          codec->image_orientation);
    for (uint32_t i = 0; i < codec->camera_count; i++) {
        if (codec->cameras[i][0] == '\0')
            return proto_fail(error, PROTO_DAMAGED, "cameras[%u] has no name", i);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(codec->cameras[i], codec->cameras[k]) == 0)
                return proto_fail(error, PROTO_DAMAGED, "camera \"%s\" is there twice",
                                  codec->cameras[i]);
    }
    return true;
}

static bool check_channels(const struct proto_codec *codec, const char *side,
                           struct proto_error *error) {
    const bool action = strcmp(side, "action") == 0;
    const struct proto_channel *channels = action ? codec->action : codec->state;
    const uint32_t count = action ? codec->action_count : codec->state_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct proto_channel *c = &channels[i];
        bool ok = false;
        if (!c->field || c->field->action != action)
            ok = proto_fail(error, PROTO_DAMAGED, "is no %s field", side);
        else if (c->component >= c->field->components)
            ok = proto_fail(error, PROTO_DAMAGED, "component is %u, %s has %u", c->component,
                            c->field->name, c->field->components);
        else if (c->source[0] == '\0')
            ok = proto_fail(error, PROTO_DAMAGED, "source is empty");
        else if (proto_field_columns(c->field, c->source) == 0)
            ok = proto_fail(error, PROTO_DAMAGED, "source \"%s\" cannot serve %s", c->source,
                            c->field->name);
        else if (c->slot != c->field->first_slot + c->component)
            ok = proto_fail(error, PROTO_DAMAGED, "slot is %u, %s.%u is in %u", c->slot,
                            c->field->name, c->component, c->field->first_slot + c->component);
        else if (c->column != (codec->compact ? i : c->slot))
            ok = proto_fail(error, PROTO_DAMAGED, "column is %u, the layout has %u", c->column,
                            codec->compact ? i : c->slot);
        else
            ok = true;
        for (uint32_t k = 0; k < i && ok; k++)
            if (channels[k].slot == c->slot)
                ok = proto_fail(error, PROTO_DAMAGED, "slot %u is there twice", c->slot);
        if (!ok) return proto_error_where(error, "%s[%u]", side, i);
    }
    return true;
}

static bool check_rows(const struct proto_codec_row *rows, uint32_t count, const char *side,
                       struct proto_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        bool ok = proto_statistics_check(&rows[i].statistics, error);
        if (ok && !isfinite(rows[i].mean))
            ok = proto_fail(error, PROTO_DAMAGED, "mean is not finite");
        if (ok && !(isfinite(rows[i].scale) && rows[i].scale > 0))
            ok = proto_fail(error, PROTO_DAMAGED, "scale is %g, must be above 0", rows[i].scale);
        if (!ok) return proto_error_where(error, "%s[%u]", side, i);
    }
    return true;
}

bool proto_codec_check(const struct proto_codec *codec, struct proto_error *error) {
    if (!check_sizes(codec, error) || !check_images(codec, error) ||
        !check_channels(codec, "state", error) || !check_channels(codec, "action", error))
        return false;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        const struct proto_codec_task *task = &codec->tasks[t];
        bool ok = true;
        if (!task->name || !task->instruction || task->name[0] == '\0')
            ok = proto_fail(error, PROTO_DAMAGED, "has no name");
        for (uint32_t k = 0; k < t && ok; k++)
            if (strcmp(codec->tasks[k].name, task->name) == 0)
                ok = proto_fail(error, PROTO_DAMAGED, "task \"%.100s\" is there twice", task->name);
        ok = ok && check_rows(task->state, codec->state_count, "state", error) &&
             check_rows(task->action, codec->action_count, "action", error);
        if (!ok) return proto_error_where(error, "tasks[%u]", t);
    }
    return true;
}
