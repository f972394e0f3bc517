// trainer/intake.c - fills the network's input buffers from a batch.
#include "trainer/intake.h"

#include "proto/random.h"

#include <stdlib.h>
#include <string.h>

struct trainer_intake {
    struct trainer_intake_settings settings;
    struct model_backend *backend;
    const struct model_rdt_inputs *inputs;
    uint32_t chunk, width, history, cameras;  // cameras: places of the network
    size_t image_bytes;
    float *noise;         // [batch_max, chunk, width]
    uint32_t *timesteps;  // [batch_max]
    float *lang_tokens;   // [batch_max, length, lang width]
    uint8_t *lang_mask;   // [batch_max, length]
    uint8_t *images;      // [batch_max, history, cameras, height, width, 3]; NULL when the batch
    uint8_t *image_mask;  // has every camera place itself
};

bool trainer_intake_open(const struct trainer_intake_settings *settings,
                         struct trainer_intake **intake, struct proto_error *error) {
    struct trainer_intake *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    const struct model_rdt_sizes *sizes = model_rdt_sizes(settings->rdt);
    const struct proto_codec *codec = settings->codec;
    const struct trainer_instructions *texts = settings->instructions;
    const size_t batch = settings->batch_max;
    opened->settings = *settings;
    opened->backend = model_rdt_backend(settings->rdt);
    opened->inputs = model_rdt_inputs(settings->rdt);
    opened->chunk = sizes->chunk;
    opened->width = sizes->width;
    opened->history = sizes->img_history;
    opened->cameras = sizes->img_cameras;
    opened->image_bytes = (size_t)codec->image_height * codec->image_width * 3;
    const size_t places = batch * opened->history * opened->cameras;
    const bool spread = codec->camera_count < opened->cameras;
    bool done = (opened->noise = proto_alloc_array(batch * opened->chunk * opened->width,
                                                   sizeof *opened->noise, error)) &&
                (opened->timesteps = proto_alloc_array(batch, sizeof *opened->timesteps, error)) &&
                (opened->lang_tokens = proto_alloc_array(batch * texts->length * texts->width,
                                                         sizeof *opened->lang_tokens, error)) &&
                (opened->lang_mask = proto_alloc_array(batch, texts->length, error));
    if (done && spread)
        done = (opened->images = proto_alloc_array(places, opened->image_bytes, error)) &&
               (opened->image_mask = proto_alloc(places, error));
    if (!done) {
        trainer_intake_close(&opened);
        return false;
    }
    *intake = opened;
    return true;
}

void trainer_intake_close(struct trainer_intake **intake) {
    if (!*intake) return;
    free((*intake)->noise);
    free((*intake)->timesteps);
    free((*intake)->lang_tokens);
    free((*intake)->lang_mask);
    free((*intake)->images);
    free((*intake)->image_mask);
    free(*intake);
    *intake = NULL;
}

static bool intake_language(struct trainer_intake *intake, const struct proto_batch *batch,
                            uint32_t count, struct proto_error *error) {
    const struct trainer_instructions *texts = intake->settings.instructions;
    const size_t floats = (size_t)texts->length * texts->width;
    for (uint32_t i = 0; i < count; i++) {
        if (batch->task[i] >= texts->task_count)
            return proto_fail(error, PROTO_FAILED, "a loader sent task %u, there are %u",
                              batch->task[i], texts->task_count);
        const uint32_t row = batch->language_kept[i] ? batch->task[i] : texts->task_count;
        memcpy(intake->lang_tokens + i * floats, texts->tokens + row * floats,
               floats * sizeof(float));
        memcpy(intake->lang_mask + (size_t)i * texts->length,
               texts->mask + (size_t)row * texts->length, texts->length);
    }
    return model_backend_upload(intake->backend, intake->inputs->lang_tokens, intake->lang_tokens,
                                count * floats * sizeof(float), error) &&
           model_backend_upload(intake->backend, intake->inputs->lang_mask, intake->lang_mask,
                                (size_t)count * texts->length, error);
}

// Camera places without a camera do not travel: they stay masked, and the network sees the
// background there.
static bool intake_images(struct trainer_intake *intake, const struct proto_batch *batch,
                          uint32_t count, struct proto_error *error) {
    struct model_images images = {
        .count = count * intake->history * intake->cameras,
        .pixels = batch->images,
        .mask = batch->image_mask,
        .flip_rows = strcmp(intake->settings.codec->image_orientation, "opengl") == 0,
    };
    if (intake->images) {
        for (size_t moment = 0; moment < (size_t)count * intake->history; moment++)
            for (uint32_t camera = 0; camera < batch->cameras; camera++) {
                const size_t from = moment * batch->cameras + camera;
                const size_t to = moment * intake->cameras + camera;
                memcpy(intake->images + to * intake->image_bytes,
                       batch->images + from * intake->image_bytes, intake->image_bytes);
                intake->image_mask[to] = batch->image_mask[from];
            }
        images.pixels = intake->images;
        images.mask = intake->image_mask;
    }
    return model_vision_encode(intake->settings.vision, &images, intake->inputs->img_tokens, error);
}

static bool intake_conditions(struct trainer_intake *intake, const struct proto_batch *batch,
                              uint32_t count, struct proto_error *error) {
    const struct model_rdt_inputs *inputs = intake->inputs;
    const size_t bytes = (size_t)count * intake->width * sizeof(float);
    return model_backend_upload(intake->backend, inputs->state, batch->state, bytes, error) &&
           model_backend_upload(intake->backend, inputs->state_mask, batch->state_mask, bytes,
                                error) &&
           model_backend_upload(intake->backend, inputs->action_mask, batch->action_mask, bytes,
                                error) &&
           intake_language(intake, batch, count, error) &&
           intake_images(intake, batch, count, error);
}

static void intake_noise(struct trainer_intake *intake, enum proto_purpose purpose, uint64_t first,
                         uint32_t count) {
    const uint64_t floats = (uint64_t)intake->chunk * intake->width;
    for (uint32_t i = 0; i < count; i++) {
        struct proto_random random = proto_random_at(intake->settings.seed, purpose, first + i);
        proto_random_normal(&random, intake->noise + i * floats, floats);
    }
}

bool trainer_intake_train(struct trainer_intake *intake, const struct proto_batch *batch,
                          uint64_t first, uint32_t count, struct model_rdt_call *call,
                          struct proto_error *error) {
    const size_t bytes = (size_t)count * intake->chunk * intake->width * sizeof(float);
    intake_noise(intake, PROTO_PURPOSE_DIFFUSION, first, count);
    for (uint32_t i = 0; i < count; i++) {
        struct proto_random random =
            proto_random_at(intake->settings.seed, PROTO_PURPOSE_TIMESTEP, first + i);
        intake->timesteps[i] = proto_random_below(&random, MODEL_TIMESTEPS);
    }
    *call = (struct model_rdt_call){.batch = count,
                                    .lang_length = intake->settings.instructions->length,
                                    .timesteps = intake->timesteps,
                                    .ctrl_freq = batch->ctrl_freq};
    return intake_conditions(intake, batch, count, error) &&
           model_backend_upload(intake->backend, intake->inputs->action, batch->action, bytes,
                                error) &&
           model_backend_upload(intake->backend, intake->inputs->noise, intake->noise, bytes,
                                error);
}

bool trainer_intake_sample(struct trainer_intake *intake, const struct proto_batch *batch,
                           uint64_t first, uint32_t count, struct model_rdt_call *call,
                           const float **noise, struct proto_error *error) {
    intake_noise(intake, PROTO_PURPOSE_SAMPLING, first, count);
    *noise = intake->noise;
    *call = (struct model_rdt_call){.batch = count,
                                    .lang_length = intake->settings.instructions->length,
                                    .ctrl_freq = batch->ctrl_freq};
    return intake_conditions(intake, batch, count, error);
}
