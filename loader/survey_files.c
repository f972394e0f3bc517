// loader/survey_files.c - opens every file once: its content hash, its task, its demonstrations
// with all their numbers, and the form of their images.
#include "loader/channels.h"
#include "loader/dataset_paths.h"
#include "loader/frames.h"
#include "loader/survey_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct files {
    const struct loader_survey_settings *settings;
    struct loader_survey *survey;
    size_t room;  // of episodes
    bool channels_known;
    char first[1200];  // "file: data/demo_0", where the codec's channels and images come from
};

// The file's row in the index. The hash of a file that an earlier index knows by path, size and
// time is not computed again.
static bool file_row(struct files *files, const struct loader_dataset *dataset,
                     struct proto_error *error) {
    struct proto_index *index = files->survey->index;
    struct proto_index_file *row = &index->files[index->file_count];
    *row =
        (struct proto_index_file){.size_bytes = dataset->size_bytes, .mtime_ns = dataset->mtime_ns};
    row->path = proto_format(error, "%s", dataset->path);
    if (!row->path) return false;
    index->file_count++;
    const struct proto_index *known = files->settings->known;
    for (uint32_t i = 0; known && i < known->file_count; i++) {
        const struct proto_index_file *old = &known->files[i];
        if (strcmp(old->path, row->path) != 0 || old->size_bytes != row->size_bytes ||
            old->mtime_ns != row->mtime_ns)
            continue;
        row->hash = old->hash;
        return true;
    }
    return proto_file_hash(dataset->path, &row->hash, error);
}

// The file's task: one that is there already, or a new one. The codec has the same list.
static bool task_row(struct files *files, const struct loader_dataset *dataset, uint32_t *task,
                     struct proto_error *error) {
    struct proto_index *index = files->survey->index;
    for (uint32_t i = 0; i < index->task_count; i++) {
        if (strcmp(index->tasks[i].name, dataset->task) != 0) continue;
        *task = i;
        if (strcmp(index->tasks[i].instruction, dataset->instruction) == 0) return true;
        return proto_fail(error, PROTO_DAMAGED,
                          "task %.100s has the instruction \"%.100s\" here and \"%.100s\" in an "
                          "earlier file; one of them is wrong",
                          dataset->task, dataset->instruction, index->tasks[i].instruction);
    }
    if (index->task_count == PROTO_TASKS_MAX)
        return proto_fail(error, PROTO_USAGE, "more than %d tasks", PROTO_TASKS_MAX);
    *task = index->task_count;
    struct proto_index_task *row = &index->tasks[index->task_count++];
    row->name = proto_format(error, "%s", dataset->task);
    row->instruction = proto_format(error, "%s", dataset->instruction);
    return row->name && row->instruction;
}

static bool frequency_check(const struct proto_config *config, const struct loader_dataset *dataset,
                            struct proto_error *error) {
    const double found = dataset->control_freq_hz;
    if (found <= 0 || fabs(found - config->data.control_freq) < 1e-6) return true;
    proto_fail(error, PROTO_USAGE,
               "is %g Hz, but %.300s was recorded at %g Hz: set data.control_freq = %g",
               config->data.control_freq, dataset->path, found, found);
    return proto_config_place(config, "data", "control_freq", error);
}

// Row 0 of an image is the bottom in LIBERO's files, which say so, and the top in robomimic's.
static const char *orientation_of(const struct loader_dataset *dataset,
                                  const struct loader_frames *frames) {
    if (dataset->image_convention) return dataset->image_convention;
    const size_t length = strlen(frames->path);
    return length > 6 && strcmp(frames->path + length - 6, "_image") == 0 ? "opencv" : "opengl";
}

static bool camera_check(struct files *files, const struct loader_dataset *dataset,
                         const struct loader_frames *frames, struct proto_error *error) {
    struct proto_codec *codec = files->survey->codec;
    const char *orientation = orientation_of(dataset, frames);
    if (codec->image_height == 0) {
        codec->image_height = frames->height;
        codec->image_width = frames->width;
        snprintf(codec->image_orientation, sizeof codec->image_orientation, "%s", orientation);
        return true;
    }
    if (frames->height != codec->image_height || frames->width != codec->image_width)
        return proto_fail(error, PROTO_DAMAGED,
                          "frames are %u x %u pixels (height x width), those of %s are %u x %u; "
                          "all cameras of a run have one size",
                          frames->height, frames->width, files->first, codec->image_height,
                          codec->image_width);
    if (strcmp(orientation, codec->image_orientation) != 0)
        return proto_fail(error, PROTO_DAMAGED,
                          "images are stored as %s (row 0 %s), those of %s as %s", orientation,
                          strcmp(orientation, "opengl") == 0 ? "at the bottom" : "on top",
                          files->first, codec->image_orientation);
    return true;
}

static bool cameras_check(struct files *files, const struct loader_dataset *dataset,
                          const char *group, uint32_t steps, struct proto_error *error) {
    const struct proto_codec *codec = files->survey->codec;
    for (uint32_t c = 0; c < codec->camera_count; c++) {
        struct loader_frames frames;
        if (!loader_frames_open(dataset, group, codec->cameras[c], steps, 0, &frames, error))
            return false;
        const bool done = camera_check(files, dataset, &frames, error);
        if (!done) proto_error_where(error, "%s: %s", dataset->path, frames.path);
        loader_frames_close(&frames);
        if (!done) return false;
    }
    return true;
}

static bool room_make(struct files *files, struct proto_error *error) {
    struct loader_survey *survey = files->survey;
    struct proto_index *index = survey->index;
    if (index->episode_count < files->room) return true;
    if (index->episode_count >= PROTO_EPISODES_MAX)
        return proto_fail(error, PROTO_USAGE, "more than %d episodes", PROTO_EPISODES_MAX);
    const size_t room = files->room > 0 ? 2 * files->room : 64;
    void *rows = realloc(index->episodes, room * sizeof *index->episodes);
    if (rows) index->episodes = rows;
    void *episodes = realloc(survey->episodes, room * sizeof *survey->episodes);
    if (episodes) survey->episodes = episodes;
    if (!rows || !episodes)
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu episodes", room);
    files->room = room;
    return true;
}

static bool demo_add(struct files *files, const struct loader_dataset *dataset, uint32_t task,
                     const char *group, struct proto_error *error) {
    struct loader_survey *survey = files->survey;
    struct proto_index *index = survey->index;
    struct loader_episode episode = {0};
    if (!files->channels_known) {
        if (!loader_channels_find(files->settings->config, dataset, group, survey->codec, error))
            return false;
        snprintf(files->first, sizeof files->first, "%s: %s", dataset->path, group);
        files->channels_known = true;
    }
    if (!loader_episode_read(dataset, group, survey->codec, &episode, error)) return false;
    char *name = NULL;
    if (!cameras_check(files, dataset, group, episode.steps, error) || !room_make(files, error) ||
        !(name = proto_format(error, "%s", group))) {
        loader_episode_free(&episode);
        return false;
    }
    survey->episodes[index->episode_count] = episode;
    index->episodes[index->episode_count++] = (struct proto_index_episode){
        .file = index->file_count - 1, .task = task, .group = name, .steps = episode.steps};
    return loader_survey_progress(files->settings, &survey->progress, error);
}

static bool dataset_add(struct files *files, const char *path, struct proto_error *error) {
    struct loader_dataset *dataset = NULL;
    uint32_t task = 0;
    if (!loader_dataset_open(path, &dataset, error)) return false;
    bool done = frequency_check(files->settings->config, dataset, error);
    if (done && (!file_row(files, dataset, error) || !task_row(files, dataset, &task, error)))
        done = proto_error_where(error, "%s", path);
    for (uint32_t i = 0; done && i < dataset->demo_count; i++)
        done = demo_add(files, dataset, task, dataset->demos[i].group, error);
    if (done && files->survey->filters[0] == '\0')
        snprintf(files->survey->filters, sizeof files->survey->filters, "%s", dataset->filters);
    loader_dataset_close(&dataset);
    return done && loader_survey_progress(files->settings, &files->survey->progress, error);
}

bool loader_survey_files(const struct loader_survey_settings *settings,
                         struct loader_survey *survey, struct proto_error *error) {
    struct files files = {.settings = settings, .survey = survey};
    struct proto_names names = {0};
    struct proto_index *index = survey->index;
    if (!loader_dataset_paths(&settings->config->data.path, &names, error)) return false;
    index->files = proto_alloc_array(names.count, sizeof *index->files, error);
    index->tasks = proto_alloc_array(names.count, sizeof *index->tasks, error);
    bool done = index->files && index->tasks;
    for (size_t i = 0; done && i < names.count; i++)
        done = dataset_add(&files, names.items[i], error);
    proto_names_free(&names);
    if (!done) return false;
    if (survey->codec->camera_count == 0)
        snprintf(survey->codec->image_orientation, sizeof survey->codec->image_orientation,
                 "opengl");
    survey->numbers = proto_alloc_array(index->episode_count, sizeof *survey->numbers, error);
    for (uint32_t i = 0; survey->numbers && i < index->episode_count; i++)
        survey->numbers[i] = (struct loader_episode_numbers){
            .state = survey->episodes[i].state,
            .action = survey->episodes[i].action,
            .steps = survey->episodes[i].steps,
            .task = index->episodes[i].task,
        };
    return survey->numbers != NULL;
}
