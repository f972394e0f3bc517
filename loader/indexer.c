// loader/indexer.c - the index stage.
#include "loader/indexer.h"

#include "loader/open_loop.h"
#include "loader/statistics_file.h"
#include "proto/files.h"
#include "proto/json.h"
#include "proto/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// A file of one index that the other has under no name.
static const struct proto_index_file *file_lacking(const struct proto_index *from,
                                                   const struct proto_index *in) {
    for (uint32_t i = 0; i < from->file_count; i++) {
        bool there = false;
        for (uint32_t k = 0; k < in->file_count && !there; k++)
            there = in->files[k].hash == from->files[i].hash &&
                    in->files[k].size_bytes == from->files[i].size_bytes;
        if (!there) return &from->files[i];
    }
    return NULL;
}

#define NEW_RUN "; put it back, or start a new run with another run.output_dir"

static bool files_compare(const struct proto_index *before, const struct proto_index *now,
                          struct proto_error *error) {
    const struct proto_index_file *gone = file_lacking(before, now);
    const struct proto_index_file *added = file_lacking(now, before);
    if (gone && added && strcmp(base(gone->path), base(added->path)) == 0) {
        proto_fail(error, PROTO_USAGE,
                   "has changed since this run was started (%llu bytes, hash %016llx; was %llu "
                   "bytes, %016llx)" NEW_RUN,
                   (unsigned long long)added->size_bytes, (unsigned long long)added->hash,
                   (unsigned long long)gone->size_bytes, (unsigned long long)gone->hash);
        return proto_error_where(error, "%s", added->path);
    }
    if (gone) {
        proto_fail(error, PROTO_USAGE, "is of this run but not among the data any more" NEW_RUN);
        return proto_error_where(error, "%s", gone->path);
    }
    if (added) {
        proto_fail(error, PROTO_USAGE,
                   "was not among the data when this run was started; take it out, or start a new "
                   "run with another run.output_dir");
        return proto_error_where(error, "%s", added->path);
    }
    return true;
}

bool loader_index_compare(const struct proto_index *before, const struct proto_index *now,
                          struct proto_error *error) {
    if (before->hash == now->hash) return true;
    if (!files_compare(before, now, error)) return false;
    if (before->after != now->after)
        return proto_fail(error, PROTO_USAGE,
                          "this run was started with observations stored %s their actions, now it "
                          "is %s: see data.alignment",
                          before->after ? "after" : "before", now->after ? "after" : "before");
    if (before->train_samples != now->train_samples ||
        before->validation_samples != now->validation_samples)
        return proto_fail(error, PROTO_USAGE,
                          "this run was started with %llu training and %llu validation samples, "
                          "now there are %llu and %llu: see run.seed and data.validation_episodes",
                          (unsigned long long)before->train_samples,
                          (unsigned long long)before->validation_samples,
                          (unsigned long long)now->train_samples,
                          (unsigned long long)now->validation_samples);
    return proto_fail(error, PROTO_USAGE,
                      "the files are the same, but their order, tasks or validation episodes are "
                      "not those this run was started with: see data.path and run.seed");
}

void loader_survey_summary(const struct loader_survey *survey, const struct proto_config *config,
                           void (*say)(void *context, const char *line), void *context) {
    const struct proto_index *index = survey->index;
    char line[512];
    uint32_t validation = 0;
    for (uint32_t i = 0; i < index->episode_count; i++) validation += index->episodes[i].validation;
    snprintf(line, sizeof line,
             "data: %u file%s, %u task%s, %u episodes (%u for validation), %llu samples to train "
             "on, %llu to validate",
             index->file_count, index->file_count == 1 ? "" : "s", index->task_count,
             index->task_count == 1 ? "" : "s", index->episode_count, validation,
             (unsigned long long)index->train_samples,
             (unsigned long long)index->validation_samples);
    say(context, line);
    const double *score = survey->alignment.score;
    const bool automatic = strcmp(config->data.alignment, "auto") == 0;
    if (survey->alignment_measured)
        snprintf(line, sizeof line,
                 "alignment: %s (%s; share of the motion explained by the action at lag -1 %.3f, 0 "
                 "%.3f, +1 %.3f)%s",
                 index->after ? "after" : "before",
                 automatic ? "measured" : "configured, and measured", score[0], score[1], score[2],
                 survey->alignment.after == index->after ? ""
                                                         : ": the data disagrees with the "
                                                           "configuration");
    else
        snprintf(line, sizeof line, "alignment: %s as configured (%.300s)",
                 index->after ? "after" : "before", survey->alignment_doubt.text);
    say(context, line);
    if (survey->filters[0] != '\0') {
        snprintf(line, sizeof line,
                 "filter keys in the files (%.200s) are not applied: data.validation_episodes "
                 "decides",
                 survey->filters);
        say(context, line);
    }
    if (isnan(index->baselines.mean_action)) return;
    snprintf(line, sizeof line,
             "validation error of predictors that need no training: mean action %.4f, "
             "time-indexed mean %.4f, nearest neighbour %.4f",
             index->baselines.mean_action, index->baselines.time_mean,
             index->baselines.nearest_neighbour);
    say(context, line);
}

static void say_link(void *context, const char *line) { proto_link_say(context, "%s", line); }

static bool go_on(void *context, uint64_t done) {
    struct proto_link *link = context;
    proto_link_progress(link, done, json_pack("{s:I}", "done", (json_int_t)done));
    return proto_link_stop(link) == PROTO_GO_ON;
}

// The index a run has already; NULL when this is its start.
static bool index_before(const char *run, struct proto_index **before, struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    *before = NULL;
    if (!proto_run_path(run, "index.json", path, error)) return false;
    return !proto_path_exists(path) || proto_index_read(path, before, error);
}

// A run's codec must stay what it was: checkpoints were trained with it.
static bool codec_compare(const char *path, const struct proto_codec *codec,
                          struct proto_error *error) {
    struct proto_codec *before = NULL;
    if (!proto_path_exists(path)) return true;
    if (!proto_codec_read(path, &before, error)) return false;
    const bool same = proto_codec_hash(before) == proto_codec_hash(codec);
    proto_codec_free(&before);
    if (same) return true;
    proto_fail(error, PROTO_USAGE,
               "the same data now gives another codec than this run was started with: see the "
               "options of [data] and model.layout, or start a new run with another "
               "run.output_dir");
    return proto_error_where(error, "%s", path);
}

static bool open_loop_write(const char *path, const struct loader_survey *survey,
                            struct proto_error *error) {
    struct proto_open_loop *open_loop = NULL;
    const bool done =
        loader_open_loop_new(survey->codec, survey->index, survey->numbers, &open_loop, error) &&
        proto_open_loop_write(path, survey->codec, open_loop, error);
    proto_open_loop_free(&open_loop);
    return done;
}

static bool survey_write(const char *run, struct loader_survey *survey,
                         const struct proto_index *before, struct proto_error *error) {
    char codec[PROTO_PATH_MAX], statistics[PROTO_PATH_MAX], open_loop[PROTO_PATH_MAX];
    char index[PROTO_PATH_MAX];
    if (!proto_run_path(run, "codec.json", codec, error) ||
        !proto_run_path(run, "dataset_statistics.json", statistics, error) ||
        !proto_run_path(run, "open_loop.json", open_loop, error) ||
        !proto_run_path(run, "index.json", index, error))
        return false;
    if (before && (!loader_index_compare(before, survey->index, error) ||
                   !codec_compare(codec, survey->codec, error)))
        return false;
    return proto_codec_write(codec, survey->codec, error) &&
           loader_statistics_file_write(statistics, survey->codec, survey->pooled_state,
                                        survey->pooled_action, error) &&
           open_loop_write(open_loop, survey, error) &&
           proto_index_write(index, survey->index, error);
}

static void survey_event(struct proto_link *link, const struct loader_survey *survey) {
    const struct proto_index *index = survey->index;
    char hash[17];
    proto_hex64(index->hash, hash);
    proto_link_event(
        link, "index",
        json_pack(
            "{s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "files", (json_int_t)index->file_count,
            "tasks", (json_int_t)index->task_count, "episodes", (json_int_t)index->episode_count,
            "train_samples", (json_int_t)index->train_samples, "validation_samples",
            (json_int_t)index->validation_samples, "alignment", index->after ? "after" : "before",
            "statistics", survey->statistics_kind, "hash", hash));
}

bool loader_index_run(const char *run, struct proto_link *link, struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    struct proto_config *config = NULL;
    struct proto_index *before = NULL;
    struct loader_survey *survey = NULL;
    bool done = false;
    if (!proto_run_path(run, "pipeline.toml", path, error) ||
        !proto_config_read(path, NULL, 0, &config, error) || !index_before(run, &before, error))
        goto end;
    proto_link_ready(link);
    const struct loader_survey_settings settings = {
        .config = config, .known = before, .progress = go_on, .context = link};
    if (!loader_survey_new(&settings, &survey, error) || !survey_write(run, survey, before, error))
        goto end;
    loader_survey_summary(survey, config, say_link, link);
    survey_event(link, survey);
    done = true;
end:
    loader_survey_free(&survey);
    proto_index_free(&before);
    proto_config_free(&config);
    // what `check` refuses is, for a run, a configuration that has to be changed
    if (!done && error->status == PROTO_REFUSED) error->status = PROTO_USAGE;
    return done;
}
