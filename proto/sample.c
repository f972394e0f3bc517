// proto/sample.c - one row of a batch out of a sequence of observations, and the memory of a batch.
#include "proto/sample.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define BATCH_MAX 65536
#define BATCH_BYTES_MAX ((size_t)1 << 36)  // no sizes we know of come near

// Deals a tensor out of the allocation: with memory NULL it only adds up the size.
struct plan {
    unsigned char *memory;
    size_t size_bytes;
    bool fits;
};

static void *deal(struct plan *plan, size_t rows, size_t columns, size_t item_bytes) {
    const size_t begin = plan->size_bytes;
    size_t items = 0, size_bytes = 0;
    plan->fits = plan->fits && proto_mul(rows, columns, &items) &&
                 proto_mul(items, item_bytes, &size_bytes) &&
                 proto_add(size_bytes, ALIGNMENT - 1, &size_bytes) &&
                 proto_add(begin, size_bytes / ALIGNMENT * ALIGNMENT, &plan->size_bytes);
    return plan->memory ? plan->memory + begin : NULL;
}

static size_t images_of(const struct proto_batch *b) { return (size_t)b->history * b->cameras; }
static size_t image_bytes(const struct proto_batch *b) {
    return (size_t)b->height * b->width_px * 3;
}

// Every tensor has its place here and nowhere else.
static void deal_all(struct plan *plan, struct proto_batch *b) {
    const size_t n = b->batch, images = images_of(b);
    b->state = deal(plan, n, b->width, sizeof *b->state);
    b->state_mask = deal(plan, n, b->width, sizeof *b->state_mask);
    b->action_mask = deal(plan, n, b->width, sizeof *b->action_mask);
    b->action = deal(plan, n, (size_t)b->chunk * b->width, sizeof *b->action);
    b->images = deal(plan, n * images, image_bytes(b), sizeof *b->images);
    b->image_mask = deal(plan, n, images, sizeof *b->image_mask);
    b->ctrl_freq = deal(plan, n, 1, sizeof *b->ctrl_freq);
    b->task = deal(plan, n, 1, sizeof *b->task);
    b->language_kept = deal(plan, n, 1, sizeof *b->language_kept);
    b->steps_valid = deal(plan, n, 1, sizeof *b->steps_valid);
    b->frame_ids = deal(plan, n, images, sizeof *b->frame_ids);
    b->samples = deal(plan, n, 1, sizeof *b->samples);
}

// The header lies at the front of the allocation, tensors behind it.
bool proto_batch_new(const struct proto_codec *codec, uint32_t batch, struct proto_batch **out,
                     struct proto_error *error) {
    const size_t header_bytes =
        (sizeof(struct proto_batch) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct proto_batch sizes = {.batch = batch,
                                .width = codec->width,
                                .chunk = codec->chunk,
                                .history = codec->history,
                                .cameras = codec->camera_count,
                                .height = codec->image_height,
                                .width_px = codec->image_width};
    if (batch < 1 || batch > BATCH_MAX)
        return proto_fail(error, PROTO_DAMAGED, "a batch of %u samples, must be 1..%d", batch,
                          BATCH_MAX);
    if (codec->width < 1 || codec->width > PROTO_UNIFIED_WIDTH || codec->chunk < 1 ||
        codec->chunk > PROTO_CHUNK_MAX || codec->history < 1 ||
        codec->history > PROTO_HISTORY_MAX || codec->camera_count > PROTO_CAMERAS_MAX ||
        codec->image_height > PROTO_IMAGE_SIDE_MAX || codec->image_width > PROTO_IMAGE_SIDE_MAX)
        return proto_fail(error, PROTO_DAMAGED,
                          "a codec of width %u, chunk %u, history %u, %u cameras of %u x %u pixels "
                          "is out of range",
                          codec->width, codec->chunk, codec->history, codec->camera_count,
                          codec->image_height, codec->image_width);
    struct plan plan = {.size_bytes = header_bytes, .fits = true};
    deal_all(&plan, &sizes);
    void *memory = NULL;
    if (!plan.fits || plan.size_bytes > BATCH_BYTES_MAX ||
        posix_memalign(&memory, ALIGNMENT, plan.size_bytes) != 0)
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for a batch of %u samples (%zu bytes)",
                          batch, plan.size_bytes);
    memset(memory, 0, plan.size_bytes);
    plan = (struct plan){.memory = memory, .size_bytes = header_bytes, .fits = true};
    deal_all(&plan, &sizes);
    *out = memory;
    **out = sizes;
    return true;
}

void proto_batch_free(struct proto_batch **batch) {
    if (!batch) return;
    free(*batch);
    *batch = NULL;
}

static bool finite_all(const struct proto_channel *channels, const double *x, uint32_t count,
                       const char *side, struct proto_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        if (isfinite(x[i])) continue;
        char name[PROTO_CHANNEL_NAME_MAX];
        proto_channel_name(&channels[i], name);
        return proto_fail(error, PROTO_DAMAGED, "%s channel %s (%s) is %g, not a finite number",
                          side, name, channels[i].source, x[i]);
    }
    return true;
}

static void build_images(const struct proto_observation *const *history, struct proto_batch *batch,
                         uint32_t row) {
    const size_t size_bytes = image_bytes(batch), first = row * images_of(batch);
    for (uint32_t h = 0; h < batch->history; h++)
        for (uint32_t c = 0; c < batch->cameras; c++) {
            const size_t i = first + (size_t)h * batch->cameras + c;
            const uint8_t *image = history[h] ? history[h]->images[c] : NULL;
            batch->image_mask[i] = image != NULL;
            batch->frame_ids[i] = image ? history[h]->frame_ids[c] : 0;
            uint8_t *place = batch->images + i * size_bytes;
            if (!image)
                memset(place, PROTO_BACKGROUND, size_bytes);
            else if (image != place)  // a loader reads frames right into their places
                memcpy(place, image, size_bytes);
        }
}

// The chunk of row `row`: real actions, then rest.
static bool build_actions(const struct proto_codec *codec, uint32_t task, const double *actions,
                          uint32_t rows, struct proto_batch *batch, uint32_t row,
                          struct proto_error *error) {
    const size_t step = batch->width;
    float *y = batch->action + (size_t)row * batch->chunk * step;
    float *mask = batch->action_mask + (size_t)row * step;
    const uint32_t valid = rows < batch->chunk ? rows : batch->chunk;
    double rest[PROTO_CHANNELS_MAX] = {0};
    for (uint32_t i = 0; i < valid; i++) {
        const double *x = actions + (size_t)i * codec->action_count;
        if (!finite_all(codec->action, x, codec->action_count, "action", error))
            return proto_error_where(error, "action %u of the chunk", i);
        proto_codec_encode_action(codec, task, x, y + i * step, mask);
    }
    batch->steps_valid[row] = valid;
    if (valid == 0) {  // nothing to learn: only the mask says which columns are actions
        proto_codec_encode_action(codec, task, rest, y, mask);
        memset(y, 0, (size_t)batch->chunk * step * sizeof *y);
        return true;
    }
    if (valid == batch->chunk) return true;
    proto_codec_rest_action(codec, actions + (size_t)(valid - 1) * codec->action_count, rest);
    proto_codec_encode_action(codec, task, rest, y + valid * step, mask);
    for (uint32_t i = valid + 1; i < batch->chunk; i++)
        memcpy(y + i * step, y + valid * step, step * sizeof *y);
    return true;
}

bool proto_sample_build(const struct proto_codec *codec, uint32_t task,
                        const struct proto_observation *const *history, const double *actions,
                        uint32_t action_rows, struct proto_batch *batch, uint32_t row,
                        struct proto_error *error) {
    assert(row < batch->batch);
    assert(batch->width == codec->width && batch->chunk == codec->chunk);
    assert(batch->history == codec->history && batch->cameras == codec->camera_count);
    const struct proto_observation *now = history[codec->history - 1];
    assert(now);
    if (task >= codec->task_count)
        return proto_fail(error, PROTO_FAILED, "task %u, the codec has %u", task,
                          codec->task_count);
    if (!finite_all(codec->state, now->state, codec->state_count, "state", error)) return false;
    const size_t at = (size_t)row * codec->width;
    proto_codec_encode_state(codec, task, now->state, batch->state + at, batch->state_mask + at);
    if (!build_actions(codec, task, actions, action_rows, batch, row, error)) return false;
    build_images(history, batch, row);
    batch->ctrl_freq[row] = (float)codec->control_freq_hz;
    batch->task[row] = task;
    batch->language_kept[row] = 1;
    return true;
}

double proto_action_error(const struct proto_codec *codec, const float *predicted,
                          const float *target, uint32_t steps_valid) {
    const uint32_t steps = steps_valid < codec->chunk ? steps_valid : codec->chunk;
    double sum = 0;
    for (uint32_t i = 0; i < steps; i++)
        for (uint32_t k = 0; k < codec->action_count; k++) {
            const size_t at = (size_t)i * codec->width + codec->action[k].column;
            const double off = (double)predicted[at] - (double)target[at];
            sum += off * off;
        }
    return steps > 0 ? sum / ((double)steps * codec->action_count) : NAN;
}
