// loader/survey_fit.c - statistics of the training episodes, of each task and pooled, and from them
// mean and scale of every channel.
#include "loader/statistics.h"
#include "loader/statistics_file.h"
#include "loader/survey_parts.h"

#include <stdlib.h>
#include <string.h>

// The values of every task, state and action: 2 * task_count sets.
struct values {
    struct loader_statistics **state, **action;  // [task_count]
    uint32_t task_count;
};

static void values_free(struct values *values) {
    for (uint32_t i = 0; i < values->task_count; i++) {
        if (values->state) loader_statistics_free(&values->state[i]);
        if (values->action) loader_statistics_free(&values->action[i]);
    }
    free(values->state);
    free(values->action);
}

static bool values_new(const struct loader_survey *survey, struct values *values,
                       struct proto_error *error) {
    const struct proto_codec *codec = survey->codec;
    values->task_count = survey->index->task_count;
    values->state = proto_alloc_array(values->task_count, sizeof *values->state, error);
    values->action = proto_alloc_array(values->task_count, sizeof *values->action, error);
    if (!values->state || !values->action) return false;
    for (uint32_t i = 0; i < values->task_count; i++)
        if ((codec->state_count > 0 &&
             !loader_statistics_new(codec->state_count, &values->state[i], error)) ||
            !loader_statistics_new(codec->action_count, &values->action[i], error))
            return false;
    return true;
}

static bool values_append(const struct loader_survey *survey, struct values *values,
                          struct proto_error *error) {
    for (uint32_t i = 0; i < survey->index->episode_count; i++) {
        const struct loader_episode_numbers *numbers = &survey->numbers[i];
        if (survey->index->episodes[i].validation) continue;
        if ((values->state[numbers->task] &&
             !loader_statistics_append(values->state[numbers->task], numbers->state, numbers->steps,
                                       error)) ||
            !loader_statistics_append(values->action[numbers->task], numbers->action,
                                      numbers->steps, error))
            return false;
    }
    return true;
}

// Puts statistics and fit of one side into a task's rows. `pooled`: everybody's are used.
static void rows_fill(const struct proto_codec *codec, const struct proto_channel *channels,
                      uint32_t count, const struct proto_statistics *statistics,
                      struct proto_codec_row *rows) {
    for (uint32_t i = 0; i < count; i++) {
        rows[i].statistics = statistics[i];
        proto_codec_row_fit(&rows[i], &channels[i], codec->transform);
    }
}

static bool tasks_fit(struct loader_survey *survey, const struct values *values, bool pooled,
                      struct proto_error *error) {
    struct proto_codec *codec = survey->codec;
    struct proto_statistics state[PROTO_CHANNELS_MAX], action[PROTO_CHANNELS_MAX];
    for (uint32_t i = 0; i < codec->task_count; i++) {
        const struct loader_statistics *s = values->state[i], *a = values->action[i];
        if (!pooled && ((s && !loader_statistics_fit(&s, 1, state, error)) ||
                        !loader_statistics_fit(&a, 1, action, error)))
            return false;
        rows_fill(codec, codec->state, codec->state_count, pooled ? survey->pooled_state : state,
                  codec->tasks[i].state);
        rows_fill(codec, codec->action, codec->action_count,
                  pooled ? survey->pooled_action : action, codec->tasks[i].action);
    }
    return true;
}

// Names of the codec's tasks; copies, as the codec outlives the index.
static bool tasks_name(struct loader_survey *survey, struct proto_error *error) {
    struct proto_codec *codec = survey->codec;
    const struct proto_index *index = survey->index;
    codec->tasks = proto_alloc_array(index->task_count, sizeof *codec->tasks, error);
    if (!codec->tasks) return false;
    codec->task_count = index->task_count;
    for (uint32_t i = 0; i < index->task_count; i++) {
        codec->tasks[i].name = proto_format(error, "%s", index->tasks[i].name);
        codec->tasks[i].instruction = proto_format(error, "%s", index->tasks[i].instruction);
        if (!codec->tasks[i].name || !codec->tasks[i].instruction) return false;
    }
    return true;
}

bool loader_survey_fit(const struct loader_survey_settings *settings, struct loader_survey *survey,
                       struct proto_error *error) {
    const char *kind = settings->config->data.statistics;
    const bool pooled = strcmp(kind, "pooled") == 0;
    const bool given = !pooled && strcmp(kind, "per-task") != 0;
    struct values values = {0};
    bool done = tasks_name(survey, error) && values_new(survey, &values, error) &&
                values_append(survey, &values, error);
    if (done && survey->codec->state_count > 0)
        done = loader_statistics_fit((const struct loader_statistics *const *)values.state,
                                     values.task_count, survey->pooled_state, error);
    done = done &&
           loader_statistics_fit((const struct loader_statistics *const *)values.action,
                                 values.task_count, survey->pooled_action, error) &&
           tasks_fit(survey, &values, pooled, error);
    values_free(&values);
    if (done && given && !loader_statistics_file_apply(kind, survey->codec, error)) return false;
    survey->statistics_kind = given                            ? "given"
                              : survey->codec->task_count == 1 ? "single-task"
                              : pooled                         ? "pooled"
                                                               : "per-task";
    return done;
}
