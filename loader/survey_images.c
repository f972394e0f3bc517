// loader/survey_images.c - mean of each colour and one spread over all of them, of training frames:
// what the pixels encoder subtracts and divides by.
//
// Up to FRAMES frames of all cameras are looked at, spread evenly over the training episodes. Sums
// are whole numbers, so the result does not hang on the order.
#include "loader/frames.h"
#include "loader/survey_parts.h"

#include <math.h>
#include <stdlib.h>

#define FRAMES 512

// Sums over pixels, 0..255.
struct colours {
    uint64_t sum[3], squares[3], pixels;
};

static void colours_add(struct colours *colours, const uint8_t *frame, size_t pixels) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t k = 0; k < 3; k++) {
            const uint64_t x = frame[3 * i + k];
            colours->sum[k] += x;
            colours->squares[k] += x * x;
        }
    colours->pixels += pixels;
}

// The spread around each colour's own mean, over all colours together.
static void colours_fit(const struct colours *colours, struct proto_codec *codec) {
    const double n = (double)colours->pixels;
    double squares = 0;
    for (size_t k = 0; k < 3; k++) {
        const double mean = (double)colours->sum[k] / n;
        codec->image_mean[k] = (float)(mean / 255);
        squares += (double)colours->squares[k] / n - mean * mean;
    }
    const double std = sqrt(fmax(squares / 3, 0)) / 255;
    codec->image_std = (float)fmax(std, 1e-3);  // black frames: not divided by nothing
}

// Of `total` steps cut into `looks` equal parts, the first of each is looked at.
static bool is_chosen(uint64_t k, uint64_t total, uint64_t looks) {
    return looks >= total || k == 0 || k * looks / total != (k - 1) * looks / total;
}

struct walk {
    const struct loader_survey_settings *settings;
    struct loader_survey *survey;
    struct colours colours;
    uint8_t *frame;
    uint64_t steps, step;  // training steps in all, and how many were passed
    uint64_t looks;        // steps to look at
};

static bool episode_look(struct walk *walk, const struct loader_dataset *dataset,
                         const struct proto_index_episode *episode, struct proto_error *error) {
    const struct proto_codec *codec = walk->survey->codec;
    const size_t pixels = (size_t)codec->image_height * codec->image_width;
    struct loader_frames cameras[PROTO_CAMERAS_MAX];
    uint32_t open = 0;
    bool done = true;
    for (; done && open < codec->camera_count; open += done)
        done = loader_frames_open(dataset, episode->group, codec->cameras[open], episode->steps, 0,
                                  &cameras[open], error);
    for (uint32_t j = 0; done && j < episode->steps; j++, walk->step++) {
        if (!is_chosen(walk->step, walk->steps, walk->looks)) continue;
        for (uint32_t c = 0; done && c < codec->camera_count; c++) {
            done = loader_frames_read(&cameras[c], j, walk->frame, error);
            if (done) colours_add(&walk->colours, walk->frame, pixels);
        }
    }
    for (uint32_t c = 0; c < open; c++) loader_frames_close(&cameras[c]);
    return done;
}

static bool files_look(struct walk *walk, struct proto_error *error) {
    const struct proto_index *index = walk->survey->index;
    struct loader_dataset *dataset = NULL;
    uint32_t open = UINT32_MAX;
    bool done = true;
    for (uint32_t i = 0; done && i < index->episode_count; i++) {
        const struct proto_index_episode *episode = &index->episodes[i];
        if (episode->validation) continue;
        if (open != episode->file) {
            loader_dataset_close(&dataset);
            done = loader_dataset_open(index->files[episode->file].path, &dataset, error);
            open = episode->file;
        }
        done = done && episode_look(walk, dataset, episode, error) &&
               loader_survey_progress(walk->settings, &walk->survey->progress, error);
    }
    loader_dataset_close(&dataset);
    return done;
}

bool loader_survey_images(const struct loader_survey_settings *settings,
                          struct loader_survey *survey, struct proto_error *error) {
    struct proto_codec *codec = survey->codec;
    if (codec->camera_count == 0) return true;
    struct walk walk = {.settings = settings, .survey = survey};
    for (uint32_t i = 0; i < survey->index->episode_count; i++)
        if (!survey->index->episodes[i].validation) walk.steps += survey->index->episodes[i].steps;
    walk.looks = FRAMES / codec->camera_count;
    walk.frame = proto_alloc((size_t)codec->image_height * codec->image_width * 3, error);
    const bool done = walk.frame && files_look(&walk, error);
    free(walk.frame);
    if (done) colours_fit(&walk.colours, codec);
    return done;
}
