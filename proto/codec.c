// proto/codec.c - channels laid out in the network's vector, and the affine map of each.
//
// The scale of a channel comes from its task's statistics alone and is decided here, once:
//   zscore    mean = mean,            scale = max(std, SCALE_MIN)
//   q01q99    mean = (q01 + q99) / 2, scale = max((q99 - q01) / 2, SCALE_MIN)
//   identity  mean = 0,               scale = 1      (always for a gripper command)
// A channel that is constant says nothing and is only centred: scale 1.
#include "proto/codec.h"

#include "proto/json_strict.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCALE_MIN 1e-3       // in the recorded unit: what moves less is nearly noise
#define CONSTANT_RANGE 1e-6  // in the recorded unit
#define SPREAD_MAX 10.0

void proto_channel_name(const struct proto_channel *channel,
                        char name[static PROTO_CHANNEL_NAME_MAX]) {
    const struct proto_field *field = channel->field;
    if (field->components == 1)
        snprintf(name, PROTO_CHANNEL_NAME_MAX, "%s", field->name);
    else
        snprintf(name, PROTO_CHANNEL_NAME_MAX, "%s.%u", field->name, channel->component);
}

bool proto_codec_append(struct proto_codec *codec, const struct proto_field *field,
                        const char *source, struct proto_error *error) {
    struct proto_channel *channels = field->action ? codec->action : codec->state;
    uint32_t *count = field->action ? &codec->action_count : &codec->state_count;
    const char *side = field->action ? "action" : "state";
    if (*count + field->components > PROTO_CHANNELS_MAX)
        return proto_fail(error, PROTO_USAGE, "with %s the %s has more than %d channels",
                          field->name, side, PROTO_CHANNELS_MAX);
    if (strlen(source) >= sizeof channels->source)
        return proto_fail(error, PROTO_USAGE, "dataset name \"%.100s\" is longer than %zu bytes",
                          source, sizeof channels->source - 1);
    for (uint32_t i = 0; i < field->components; i++) {
        struct proto_channel *channel = &channels[(*count)++];
        *channel =
            (struct proto_channel){.field = field, .component = i, .slot = field->first_slot + i};
        snprintf(channel->source, sizeof channel->source, "%s", source);
    }
    return true;
}

// Columns of one side; two fields in one slot are refused, in the compact layout too, so that a run
// can be repeated in the other layout.
static bool layout_side(struct proto_channel *channels, uint32_t count, bool compact,
                        const char *side, struct proto_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (channels[k].slot == channels[i].slot)
                return proto_fail(error, PROTO_USAGE, "%s and %s both fill slot %u of the %s",
                                  channels[k].field->name, channels[i].field->name,
                                  channels[i].slot, side);
        channels[i].column = compact ? i : channels[i].slot;
    }
    return true;
}

static uint32_t width_of(const struct proto_codec *codec) {
    if (!codec->compact) return PROTO_UNIFIED_WIDTH;
    return codec->state_count > codec->action_count ? codec->state_count : codec->action_count;
}

bool proto_codec_layout(struct proto_codec *codec, struct proto_error *error) {
    if (codec->action_count == 0)
        return proto_fail(error, PROTO_USAGE, "there is no action channel; nothing can be learned");
    if (!layout_side(codec->state, codec->state_count, codec->compact, "state", error) ||
        !layout_side(codec->action, codec->action_count, codec->compact, "action", error))
        return false;
    codec->width = width_of(codec);
    return true;
}

void proto_codec_row_fit(struct proto_codec_row *row, const struct proto_channel *channel,
                         enum proto_transform transform) {
    const struct proto_statistics *s = &row->statistics;
    row->constant = s->max - s->min <= CONSTANT_RANGE;
    row->mean = 0;
    row->scale = 1;
    if (channel->field->kind == PROTO_CHANNEL_GRIPPER || transform == PROTO_IDENTITY) return;
    const bool quantiles = transform == PROTO_Q01Q99 && !row->constant;
    row->mean = quantiles ? s->q01 + (s->q99 - s->q01) / 2 : s->mean;
    if (!row->constant) row->scale = fmax(quantiles ? (s->q99 - s->q01) / 2 : s->std, SCALE_MIN);
}

static void encode(const struct proto_channel *channels, const struct proto_codec_row *rows,
                   uint32_t count, uint32_t width, const double *x, float *y, float *mask) {
    memset(y, 0, width * sizeof *y);
    if (mask) memset(mask, 0, width * sizeof *mask);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t column = channels[i].column;
        y[column] = (float)((x[i] - rows[i].mean) / rows[i].scale);
        if (mask) mask[column] = 1;
    }
}

static void decode(const struct proto_channel *channels, const struct proto_codec_row *rows,
                   uint32_t count, const float *y, double *x) {
    for (uint32_t i = 0; i < count; i++)
        x[i] = (double)y[channels[i].column] * rows[i].scale + rows[i].mean;
}

void proto_codec_encode_state(const struct proto_codec *codec, uint32_t task, const double *x,
                              float *y, float *mask) {
    assert(task < codec->task_count);
    encode(codec->state, codec->tasks[task].state, codec->state_count, codec->width, x, y, mask);
}

void proto_codec_encode_action(const struct proto_codec *codec, uint32_t task, const double *x,
                               float *y, float *mask) {
    assert(task < codec->task_count);
    encode(codec->action, codec->tasks[task].action, codec->action_count, codec->width, x, y, mask);
}

void proto_codec_decode_state(const struct proto_codec *codec, uint32_t task, const float *y,
                              double *x) {
    assert(task < codec->task_count);
    decode(codec->state, codec->tasks[task].state, codec->state_count, y, x);
}

static bool in_command_units(const struct proto_channel *channel) {
    return strcmp(channel->field->unit, PROTO_UNIT_COMMAND) == 0;
}

void proto_codec_decode_action(const struct proto_codec *codec, uint32_t task, const float *y,
                               double *x) {
    assert(task < codec->task_count);
    decode(codec->action, codec->tasks[task].action, codec->action_count, y, x);
    for (uint32_t i = 0; i < codec->action_count; i++)
        if (in_command_units(&codec->action[i]))
            x[i] = fmin(fmax(x[i], codec->action_min), codec->action_max);
}

void proto_codec_rest_action(const struct proto_codec *codec, const double *last, double *x) {
    for (uint32_t i = 0; i < codec->action_count; i++)
        x[i] = codec->action[i].field->delta ? 0 : last[i];
}

void proto_codec_free(struct proto_codec **codec) {
    if (!codec || !*codec) return;
    for (uint32_t i = 0; (*codec)->tasks && i < (*codec)->task_count; i++) {
        free((*codec)->tasks[i].name);
        free((*codec)->tasks[i].instruction);
    }
    free((*codec)->tasks);
    free(*codec);
    *codec = NULL;
}

// The report of spreads.
struct report {
    void (*line)(void *context, const char *text);
    void *context;
    uint32_t lines;
};

static PROTO_PRINTF(2, 3) void say(struct report *report, const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    report->lines++;
    report->line(report->context, text);
}

static bool spreads(const struct proto_channel *channel, const struct proto_codec_row *row) {
    return channel->field->kind == PROTO_CHANNEL_CONTINUOUS && !row->constant &&
           row->statistics.std > 0;
}

// Channels of one unit within a task. `first` is the first channel of that unit.
static void report_unit(struct report *report, const char *task, const char *side,
                        const struct proto_channel *channels, const struct proto_codec_row *rows,
                        uint32_t count, uint32_t first) {
    uint32_t low = first, high = first;
    for (uint32_t i = first; i < count; i++) {
        if (strcmp(channels[i].field->unit, channels[first].field->unit) != 0) continue;
        if (!spreads(&channels[i], &rows[i])) continue;
        if (rows[i].statistics.std < rows[low].statistics.std) low = i;
        if (rows[i].statistics.std > rows[high].statistics.std) high = i;
    }
    const double small = rows[low].statistics.std, large = rows[high].statistics.std;
    if (large <= SPREAD_MAX * small) return;
    char small_name[PROTO_CHANNEL_NAME_MAX], large_name[PROTO_CHANNEL_NAME_MAX];
    proto_channel_name(&channels[low], small_name);
    proto_channel_name(&channels[high], large_name);
    say(report, "%s: %s channels in %s: std of %s is %.3g, of %s %.3g: %.0fx apart", task, side,
        channels[first].field->unit, large_name, large, small_name, small, large / small);
}

static void report_task(struct report *report, const char *task, const char *side,
                        const struct proto_channel *channels, const struct proto_codec_row *rows,
                        uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!spreads(&channels[i], &rows[i])) continue;
        bool first = true;
        for (uint32_t k = 0; k < i && first; k++)
            first = strcmp(channels[k].field->unit, channels[i].field->unit) != 0 ||
                    !spreads(&channels[k], &rows[k]);
        if (first) report_unit(report, task, side, channels, rows, count, i);
    }
}

// One channel across tasks.
static void report_channel(struct report *report, const struct proto_codec *codec, bool action,
                           uint32_t i) {
    const struct proto_channel *channel = action ? &codec->action[i] : &codec->state[i];
    uint32_t low = UINT32_MAX, high = UINT32_MAX;
    double small = INFINITY, large = 0;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        const struct proto_codec_row *row =
            action ? &codec->tasks[t].action[i] : &codec->tasks[t].state[i];
        if (!spreads(channel, row)) continue;
        if (row->statistics.std < small) small = row->statistics.std, low = t;
        if (row->statistics.std > large) large = row->statistics.std, high = t;
    }
    if (low == UINT32_MAX || large <= SPREAD_MAX * small) return;
    char name[PROTO_CHANNEL_NAME_MAX];
    proto_channel_name(channel, name);
    say(report,
        "%s channel %s (%s): std is %.3g in task %s, %.3g in %s: %.0fx apart; are both in the same "
        "unit?",
        action ? "action" : "state", name, channel->field->unit, large, codec->tasks[high].name,
        small, codec->tasks[low].name, large / small);
}

uint32_t proto_codec_spread_report(const struct proto_codec *codec,
                                   void (*line)(void *context, const char *text), void *context) {
    struct report report = {.line = line, .context = context};
    for (uint32_t t = 0; t < codec->task_count; t++) {
        const struct proto_codec_task *task = &codec->tasks[t];
        report_task(&report, task->name, "state", codec->state, task->state, codec->state_count);
        report_task(&report, task->name, "action", codec->action, task->action,
                    codec->action_count);
    }
    for (uint32_t i = 0; i < codec->state_count; i++) report_channel(&report, codec, false, i);
    for (uint32_t i = 0; i < codec->action_count; i++) report_channel(&report, codec, true, i);
    return report.lines;
}
