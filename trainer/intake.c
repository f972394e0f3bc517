// trainer/intake.c - fills the network's input buffers from a batch.
#include "trainer/intake.h"

#include "model/conditions.h"
#include "proto/random.h"

#include <stdlib.h>

struct trainer_intake {
    struct trainer_intake_settings settings;
    struct model_backend *backend;
    const struct model_rdt_inputs *inputs;
    struct model_conditions *conditions;
    uint32_t chunk, width;
    float *noise;         // [batch_max, chunk, width]
    uint32_t *timesteps;  // [batch_max]
};

bool trainer_intake_open(const struct trainer_intake_settings *settings,
                         struct trainer_intake **intake, struct proto_error *error) {
    struct trainer_intake *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    const struct model_rdt_sizes *sizes = model_rdt_sizes(settings->rdt);
    const struct trainer_instructions *texts = settings->instructions;
    const struct model_conditions_settings conditions = {
        .rdt = settings->rdt,
        .vision = settings->vision,
        .codec = settings->codec,
        .texts = {.count = texts->task_count,
                  .length = texts->length,
                  .width = texts->width,
                  .tokens = texts->tokens,
                  .mask = texts->mask},
        .batch_max = settings->batch_max,
    };
    const size_t batch = settings->batch_max;
    opened->settings = *settings;
    opened->backend = model_rdt_backend(settings->rdt);
    opened->inputs = model_rdt_inputs(settings->rdt);
    opened->chunk = sizes->chunk;
    opened->width = sizes->width;
    const bool done =
        (opened->noise = proto_alloc_array(batch * opened->chunk * opened->width,
                                           sizeof *opened->noise, error)) &&
        (opened->timesteps = proto_alloc_array(batch, sizeof *opened->timesteps, error)) &&
        model_conditions_open(&conditions, &opened->conditions, error);
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
    model_conditions_close(&(*intake)->conditions);
    free(*intake);
    *intake = NULL;
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
    model_conditions_share(intake->conditions, batch, count, call);
    return model_conditions_fill(intake->conditions, batch, count, error) &&
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
    model_conditions_share(intake->conditions, batch, count, call);
    return model_conditions_fill(intake->conditions, batch, count, error);
}
