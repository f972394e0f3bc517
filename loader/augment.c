// loader/augment.c - state noise and condition dropout, keyed by stream position.
#include "loader/augment.h"

#include "proto/random.h"

#include <math.h>
#include <string.h>

void loader_augment_state(const struct loader_augment *augment, const struct proto_codec *codec,
                          uint32_t task, uint64_t g, double *state) {
    if (augment->state_noise_snr <= 0) return;
    const double share = pow(10.0, -augment->state_noise_snr / 20);
    float normal[PROTO_CHANNELS_MAX];
    struct proto_random random = proto_random_at(augment->seed, PROTO_PURPOSE_STATE_NOISE, g);
    proto_random_normal(&random, normal, codec->state_count);
    for (uint32_t i = 0; i < codec->state_count; i++)
        state[i] += codec->tasks[task].state[i].statistics.std * share * (double)normal[i];
}

static void drop_state(const struct proto_codec *codec, uint32_t task, struct proto_batch *batch,
                       uint32_t row) {
    double mean[PROTO_CHANNELS_MAX];
    for (uint32_t i = 0; i < codec->state_count; i++)
        mean[i] = codec->tasks[task].state[i].statistics.mean;
    const size_t at = (size_t)row * batch->width;
    proto_codec_encode_state(codec, task, mean, batch->state + at, batch->state_mask + at);
    // official RDT has one mask for both sides and clears it whole
    memset(batch->state_mask + at, 0, batch->width * sizeof *batch->state_mask);
    memset(batch->action_mask + at, 0, batch->width * sizeof *batch->action_mask);
}

static void drop_image(struct proto_batch *batch, size_t image) {
    const size_t size_bytes = (size_t)batch->height * batch->width_px * 3;
    batch->image_mask[image] = 0;
    batch->frame_ids[image] = 0;
    memset(batch->images + image * size_bytes, PROTO_BACKGROUND, size_bytes);
}

void loader_augment_conditions(const struct loader_augment *augment,
                               const struct proto_codec *codec, uint32_t task, uint64_t g,
                               struct proto_batch *batch, uint32_t row) {
    const double p = augment->cond_mask_prob;
    const size_t images = (size_t)batch->history * batch->cameras, first = row * images;
    struct proto_random random = proto_random_at(augment->seed, PROTO_PURPOSE_DROPOUT, g);
    if (proto_random_uniform(&random) < p) batch->ctrl_freq[row] = 0;
    if (proto_random_uniform(&random) < p) drop_state(codec, task, batch, row);
    for (size_t i = 0; i < images; i++)
        if (proto_random_uniform(&random) < p) drop_image(batch, first + i);
    if (proto_random_uniform(&random) < p) batch->language_kept[row] = 0;
}
