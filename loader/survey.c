// loader/survey.c - the order of a survey, and its memory.
#include "loader/survey.h"

#include "loader/baselines.h"
#include "loader/survey_parts.h"
#include "proto/place.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool loader_survey_progress(const struct loader_survey_settings *settings, uint64_t *done,
                            struct proto_error *error) {
    ++*done;
    if (!settings->progress || settings->progress(settings->context, *done)) return true;
    return proto_fail(error, PROTO_RESUMABLE, "stopped while reading the data");
}

static enum proto_transform transform_of(const char *name) {
    if (name[0] == 'z') return PROTO_ZSCORE;
    return name[0] == 'q' ? PROTO_Q01Q99 : PROTO_IDENTITY;
}

// What the codec takes from the configuration alone.
static bool codec_begin(const struct loader_survey_settings *settings, struct proto_codec *codec,
                        struct proto_error *error) {
    const struct proto_config *config = settings->config;
    codec->transform = transform_of(config->data.transform);
    codec->compact = config->model.layout[0] == 'c';
    codec->action_min = -1;
    codec->action_max = 1;
    codec->control_freq_hz = config->data.control_freq;
    codec->action_stride = 1;
    codec->chunk = (uint32_t)config->model.chunk_size;
    codec->history = (uint32_t)config->model.img_history_size;
    codec->image_std = 1;
    if (settings->no_images) return true;
    const struct proto_list *cameras = &config->data.cameras;
    if (cameras->count > PROTO_CAMERAS_MAX || cameras->count > (size_t)config->model.num_cameras) {
        proto_fail(error, PROTO_USAGE,
                   "%zu cameras; the network has places for %lld (model.num_cameras), at most %d",
                   cameras->count, (long long)config->model.num_cameras, PROTO_CAMERAS_MAX);
        return proto_config_place(config, "data", "cameras", error);
    }
    for (size_t i = 0; i < cameras->count; i++) {
        const int wrote =
            snprintf(codec->cameras[i], sizeof codec->cameras[i], "%s", cameras->items[i]);
        if (wrote > 0 && (size_t)wrote < sizeof codec->cameras[i]) continue;
        proto_fail(error, PROTO_USAGE, "a camera's name is 1 to %zu bytes long",
                   sizeof codec->cameras[i] - 1);
        return proto_config_place(config, "data", "cameras", error);
    }
    codec->camera_count = (uint32_t)cameras->count;
    return true;
}

static bool survey_run(const struct loader_survey_settings *settings, struct loader_survey *survey,
                       struct proto_error *error) {
    struct proto_index *index = survey->index;
    if (!codec_begin(settings, survey->codec, error) ||
        !loader_survey_files(settings, survey, error) ||
        !loader_survey_split(settings, survey, error) ||
        !loader_survey_fit(settings, survey, error))
        return false;
    index->baselines = (struct proto_index_baselines){NAN, NAN, NAN};
    if (!settings->no_measures &&
        (!loader_survey_images(settings, survey, error) ||
         !loader_baselines_measure(survey->codec, index, survey->numbers,
                                   (uint64_t)settings->config->run.seed, &index->baselines, error)))
        return false;
    index->hash = proto_index_hash(index);
    return proto_codec_check(survey->codec, error);
}

bool loader_survey_new(const struct loader_survey_settings *settings, struct loader_survey **out,
                       struct proto_error *error) {
    struct loader_survey *survey = proto_alloc(sizeof *survey, error);
    if (!survey) return false;
    survey->index = proto_alloc(sizeof *survey->index, error);
    survey->codec = proto_alloc(sizeof *survey->codec, error);
    if (survey->index && survey->codec && survey_run(settings, survey, error)) {
        proto_place_clear();
        *out = survey;
        return true;
    }
    proto_place_clear();
    loader_survey_free(&survey);
    return false;
}

void loader_survey_free(struct loader_survey **survey_pointer) {
    struct loader_survey *survey = *survey_pointer;
    if (!survey) return;
    for (uint32_t i = 0; survey->episodes && i < survey->index->episode_count; i++)
        loader_episode_free(&survey->episodes[i]);
    free(survey->episodes);
    free(survey->numbers);
    proto_index_free(&survey->index);
    proto_codec_free(&survey->codec);
    free(survey);
    *survey_pointer = NULL;
}
