// loader/builder.c - from a position of the stream to a row of a batch. Frames are read right into
// their places; everything else of a sample is proto/sample.h, the same as in a rollout.
#include "loader/builder.h"

#include "loader/augment.h"
#include "loader/shelf.h"
#include "proto/files.h"
#include "proto/place.h"
#include "proto/stream.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FILES_OPEN_MAX 128

struct loader_builder {
    const struct proto_index *index;
    const struct proto_codec *codec;
    struct loader_augment augment;
    struct loader_shelf *shelf;
};

bool loader_builder_open(const struct proto_config *config, const struct proto_index *index,
                         const struct proto_codec *codec, struct loader_builder **out,
                         struct proto_error *error) {
    struct loader_builder *builder = proto_alloc(sizeof *builder, error);
    if (!builder) return false;
    *builder = (struct loader_builder){
        .index = index,
        .codec = codec,
        .augment = {.seed = (uint64_t)config->run.seed,
                    .state_noise_snr = config->data.state_noise_snr,
                    .cond_mask_prob = config->data.cond_mask_prob},
    };
    const struct loader_shelf_settings settings = {
        .index = index,
        .codec = codec,
        .budget_bytes = (size_t)config->loader.cache_mib << 20,
        .files_max = FILES_OPEN_MAX,
    };
    if (loader_shelf_open(&settings, &builder->shelf, error)) {
        *out = builder;
        return true;
    }
    loader_builder_close(&builder);
    return false;
}

void loader_builder_close(struct loader_builder **builder) {
    if (!*builder) return;
    loader_shelf_close(&(*builder)->shelf);
    free(*builder);
    *builder = NULL;
}

// The frames of moment j into row `row`, history place `h`, of the batch.
static bool moment_read(const struct proto_codec *codec, struct loader_held *held, uint32_t j,
                        struct proto_batch *batch, uint32_t row, uint32_t h,
                        struct proto_observation *moment, struct proto_error *error) {
    const size_t frame_bytes = (size_t)batch->height * batch->width_px * 3;
    for (uint32_t c = 0; c < codec->camera_count; c++) {
        const size_t place = ((size_t)row * batch->history + h) * batch->cameras + c;
        uint8_t *image = batch->images + place * frame_bytes;
        uint64_t *id = &held->frame_ids[(size_t)j * codec->camera_count + c];
        if (!loader_frames_read(&held->cameras[c], j, image, error)) return false;
        if (*id == 0) *id = proto_hash(image, frame_bytes);
        moment->images[c] = image;
        moment->frame_ids[c] = *id;
    }
    return true;
}

// The sample at observation j of an episode.
static bool sample_read(struct loader_builder *builder, const struct proto_place *place,
                        bool training, uint64_t g, struct proto_batch *batch, uint32_t row,
                        struct proto_error *error) {
    const struct proto_codec *codec = builder->codec;
    const struct proto_index_episode *episode = &builder->index->episodes[place->episode];
    struct loader_held *held = NULL;
    if (!loader_shelf_take(builder->shelf, place->episode, &held, error)) return false;
    struct proto_observation moments[PROTO_HISTORY_MAX] = {0};
    const struct proto_observation *history[PROTO_HISTORY_MAX] = {0};
    for (uint32_t h = 0; h < codec->history; h++) {
        const uint32_t back = codec->history - 1 - h;  // steps before the current one
        if (back > place->j) continue;                 // before the episode began
        if (!moment_read(codec, held, place->j - back, batch, row, h, &moments[h], error))
            return false;
        history[h] = &moments[h];
    }
    double state[PROTO_CHANNELS_MAX];
    memcpy(state, held->episode.state + (size_t)place->j * codec->state_count,
           codec->state_count * sizeof *state);
    if (training) loader_augment_state(&builder->augment, codec, episode->task, g, state);
    moments[codec->history - 1].state = state;
    const uint32_t first = place->j + (builder->index->after ? 1 : 0);
    if (!proto_sample_build(codec, episode->task, history,
                            held->episode.action + (size_t)first * codec->action_count,
                            episode->steps - first, batch, row, error)) {
        proto_error_where(error, "observation %u", place->j);
        return proto_error_where(error, "%s: %s", builder->index->files[episode->file].path,
                                 episode->group);
    }
    if (training) loader_augment_conditions(&builder->augment, codec, episode->task, g, batch, row);
    return true;
}

bool loader_builder_build(struct loader_builder *builder, const struct proto_ticket *ticket,
                          struct proto_batch *batch, struct proto_error *error) {
    const struct proto_index *index = builder->index;
    const struct proto_stream stream = {
        .seed = builder->augment.seed,
        .n = ticket->validation ? index->validation_samples : index->train_samples,
        .purpose = ticket->validation ? PROTO_PURPOSE_VALIDATION : PROTO_PURPOSE_SHUFFLE,
    };
    assert(ticket->count <= batch->batch);
    if (stream.n == 0)
        return proto_fail(error, PROTO_FAILED, "the index has no %s samples",
                          ticket->validation ? "validation" : "training");
    bool done = true;
    for (uint32_t row = 0; done && row < ticket->count; row++) {
        const uint64_t g = ticket->first + row, sample = proto_stream_sample(&stream, g);
        const struct proto_place place = proto_index_place(index, ticket->validation, sample);
        done = sample_read(builder, &place, !ticket->validation, g, batch, row, error);
        batch->samples[row] = sample;
    }
    proto_place_clear();
    return done;
}

bool loader_builder_look(struct loader_builder *builder, uint32_t row, uint32_t j,
                         struct proto_batch *batch, struct proto_error *error) {
    const struct proto_index_episode *episode = &builder->index->episodes[row];
    const struct proto_place place = {.episode = row, .j = j};
    if (j >= episode->sample_count)
        return proto_fail(
            error, PROTO_USAGE, "step %u is no sample: %s has %u steps, samples are at 0..%u%s", j,
            episode->group, episode->steps, episode->sample_count - 1,
            builder->index->after ? " (after the last observation comes no action)" : "");
    const bool done = sample_read(builder, &place, false, 0, batch, 0, error);
    batch->samples[0] = episode->sample_first + j;
    proto_place_clear();
    return done;
}
