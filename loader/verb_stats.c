// loader/verb_stats.c - `stats DATA`: the statistics of every channel of a file or folder, over all
// its episodes. The data is read in a guarded child.
#include "loader/guard.h"
#include "loader/report.h"
#include "loader/verb.h"
#include "loader/verb_data.h"

#include <string.h>

struct stats {
    const struct proto_config *config;
    bool json;
};

static void line_print(void *context, const char *line) { fprintf(context, "%s\n", line); }

static bool stats_print(const struct loader_survey *survey, FILE *out) {
    const struct proto_index *index = survey->index;
    const double *score = survey->alignment.score;
    uint64_t steps = 0;
    for (uint32_t i = 0; i < index->episode_count; i++) steps += index->episodes[i].steps;
    fprintf(out, "%u file%s, %u task%s, %u episodes, %llu steps\n", index->file_count,
            index->file_count == 1 ? "" : "s", index->task_count, index->task_count == 1 ? "" : "s",
            index->episode_count, (unsigned long long)steps);
    if (index->validation_samples > 0)
        fprintf(out,
                "the statistics are those of the training episodes: %llu samples are for "
                "validation\n",
                (unsigned long long)index->validation_samples);
    if (survey->alignment_measured)
        fprintf(out, "alignment measured: %s (lag -1 %.3f, 0 %.3f, +1 %.3f)\n",
                survey->alignment.after ? "after" : "before", score[0], score[1], score[2]);
    else
        fprintf(out, "alignment: %s\n", survey->alignment_doubt.text);
    if (survey->filters[0] != '\0')
        fprintf(out, "filter keys in the files, not applied: %s\n", survey->filters);
    loader_report_channels(survey, NULL, out);
    fputc('\n', out);
    proto_codec_spread_report(survey->codec, line_print, out);
    return true;
}

static bool stats_run(void *context, FILE *out, struct proto_error *error) {
    const struct stats *stats = context;
    struct loader_survey *survey = NULL;
    const struct loader_survey_settings settings = {
        .config = stats->config, .no_images = true, .no_measures = true};
    if (!loader_survey_new(&settings, &survey, error)) return false;
    bool done = true;
    if (stats->json) {
        json_t *json = loader_report_json(survey, NULL);
        done = (json && json_dumpf(json, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) == 0 &&
                fputc('\n', out) != EOF) ||
               proto_fail(error, PROTO_EXHAUSTED, "no memory for the report");
        json_decref(json);
    } else {
        done = stats_print(survey, out);
    }
    loader_survey_free(&survey);
    return done;
}

bool loader_verb_stats(const struct loader_arguments *arguments, struct proto_error *error) {
    struct proto_config *config = NULL;
    if (!loader_data_config(arguments, &config, error)) return false;
    struct stats stats = {.config = config, .json = arguments->json};
    const struct loader_guard_work work = {.run = stats_run, .context = &stats};
    const bool done = loader_guard_run(&work, error);
    proto_config_free(&config);
    return done;
}
