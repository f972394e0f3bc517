// model/conditions.c - fills the network's condition buffers from a batch.
#include "model/conditions.h"

#include <stdlib.h>
#include <string.h>

struct model_conditions {
    struct model_conditions_settings settings;
    struct model_backend *backend;
    const struct model_rdt_inputs *inputs;
    uint32_t width, history, cameras;  // cameras: places of the network
    size_t image_bytes;
    float *lang_tokens;   // [batch_max, length, lang width]
    uint8_t *lang_mask;   // [batch_max, length]
    uint8_t *images;      // [batch_max, history, cameras, height, width, 3]; NULL when the batch
    uint8_t *image_mask;  // has every camera place itself
    uint8_t *absent, *shared;  // [history, cameras] what is said in calls
};

bool model_conditions_open(const struct model_conditions_settings *settings,
                           struct model_conditions **conditions, struct proto_error *error) {
    struct model_conditions *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    const struct model_rdt_sizes *sizes = model_rdt_sizes(settings->rdt);
    const struct proto_codec *codec = settings->codec;
    const struct model_texts *texts = &settings->texts;
    const size_t batch = settings->batch_max;
    opened->settings = *settings;
    opened->backend = model_rdt_backend(settings->rdt);
    opened->inputs = model_rdt_inputs(settings->rdt);
    opened->width = sizes->width;
    opened->history = sizes->img_history;
    opened->cameras = sizes->img_cameras;
    opened->image_bytes = (size_t)codec->image_height * codec->image_width * 3;
    const size_t places = batch * opened->history * opened->cameras;
    bool done = (opened->lang_tokens = proto_alloc_array(batch * texts->length * texts->width,
                                                         sizeof *opened->lang_tokens, error)) &&
                (opened->lang_mask = proto_alloc_array(batch, texts->length, error)) &&
                (opened->absent = proto_alloc_array(opened->history, opened->cameras, error)) &&
                (opened->shared = proto_alloc_array(opened->history, opened->cameras, error));
    for (size_t i = 0; done && i < (size_t)opened->history * opened->cameras; i++)
        opened->absent[i] = i % opened->cameras >= codec->camera_count;
    if (done && codec->camera_count < opened->cameras)
        done = (opened->images = proto_alloc_array(places, opened->image_bytes, error)) &&
               (opened->image_mask = proto_alloc(places, error));
    if (!done) {
        model_conditions_close(&opened);
        return false;
    }
    *conditions = opened;
    return true;
}

void model_conditions_close(struct model_conditions **conditions) {
    if (!*conditions) return;
    free((*conditions)->lang_tokens);
    free((*conditions)->lang_mask);
    free((*conditions)->images);
    free((*conditions)->image_mask);
    free((*conditions)->absent);
    free((*conditions)->shared);
    free(*conditions);
    *conditions = NULL;
}

static bool fill_language(struct model_conditions *conditions, const struct proto_batch *batch,
                          uint32_t count, struct proto_error *error) {
    const struct model_texts *texts = &conditions->settings.texts;
    const size_t floats = (size_t)texts->length * texts->width;
    for (uint32_t i = 0; i < count; i++) {
        if (batch->task[i] >= texts->count)
            return proto_fail(error, PROTO_FAILED, "a batch names task %u, there are %u",
                              batch->task[i], texts->count);
        const uint32_t row = batch->language_kept[i] ? batch->task[i] : texts->count;
        memcpy(conditions->lang_tokens + i * floats, texts->tokens + row * floats,
               floats * sizeof(float));
        memcpy(conditions->lang_mask + (size_t)i * texts->length,
               texts->mask + (size_t)row * texts->length, texts->length);
    }
    return model_backend_upload(conditions->backend, conditions->inputs->lang_tokens,
                                conditions->lang_tokens, count * floats * sizeof(float), error) &&
           model_backend_upload(conditions->backend, conditions->inputs->lang_mask,
                                conditions->lang_mask, (size_t)count * texts->length, error);
}

// Camera places without a camera do not travel: they stay masked, and the network sees the
// background there.
static bool fill_images(struct model_conditions *conditions, const struct proto_batch *batch,
                        uint32_t count, struct proto_error *error) {
    struct model_images images = {
        .count = count * conditions->history * conditions->cameras,
        .pixels = batch->images,
        .mask = batch->image_mask,
        .flip_rows = strcmp(conditions->settings.codec->image_orientation, "opengl") == 0,
    };
    if (conditions->images) {
        for (size_t moment = 0; moment < (size_t)count * conditions->history; moment++)
            for (uint32_t camera = 0; camera < batch->cameras; camera++) {
                const size_t from = moment * batch->cameras + camera;
                const size_t to = moment * conditions->cameras + camera;
                memcpy(conditions->images + to * conditions->image_bytes,
                       batch->images + from * conditions->image_bytes, conditions->image_bytes);
                conditions->image_mask[to] = batch->image_mask[from];
            }
        images.pixels = conditions->images;
        images.mask = conditions->image_mask;
    }
    return model_vision_encode(conditions->settings.vision, &images, conditions->inputs->img_tokens,
                               error);
}

bool model_conditions_fill(struct model_conditions *conditions, const struct proto_batch *batch,
                           uint32_t count, struct proto_error *error) {
    const struct model_rdt_inputs *inputs = conditions->inputs;
    const size_t bytes = (size_t)count * conditions->width * sizeof(float);
    struct model_backend *backend = conditions->backend;
    return model_backend_upload(backend, inputs->state, batch->state, bytes, error) &&
           model_backend_upload(backend, inputs->state_mask, batch->state_mask, bytes, error) &&
           model_backend_upload(backend, inputs->action_mask, batch->action_mask, bytes, error) &&
           fill_language(conditions, batch, count, error) &&
           fill_images(conditions, batch, count, error);
}

const uint8_t *model_conditions_absent(const struct model_conditions *conditions) {
    return conditions->absent;
}

void model_conditions_share(struct model_conditions *conditions, const struct proto_batch *batch,
                            uint32_t count, struct model_rdt_call *call) {
    const size_t places = (size_t)conditions->history * conditions->cameras;
    call->lang_shared = true;
    for (uint32_t i = 1; i < count; i++)
        if (batch->language_kept[i] != batch->language_kept[0] ||
            (batch->language_kept[i] && batch->task[i] != batch->task[0]))
            call->lang_shared = false;
    for (size_t place = 0; place < places; place++) {
        const size_t moment = place / conditions->cameras, camera = place % conditions->cameras;
        bool seen = false;
        for (uint32_t i = 0; i < count && camera < batch->cameras; i++)
            seen = seen ||
                   batch->image_mask[(i * conditions->history + moment) * batch->cameras + camera];
        conditions->shared[place] = !seen;
    }
    call->img_shared = conditions->shared;
}
