// loader/survey_split.c - alignment, which episodes are for validation, and the ids of samples.
#include "loader/survey_parts.h"
#include "proto/files.h"
#include "proto/random.h"

#include <stdlib.h>
#include <string.h>

// Measures always, so that `check` can show it; decides only under "auto".
static bool alignment_find(const struct proto_config *config, struct loader_survey *survey,
                           struct proto_error *error) {
    struct loader_alignment *alignment = NULL;
    struct proto_error *doubt = &survey->alignment_doubt;
    if (loader_alignment_new(survey->codec, &alignment, doubt)) {
        for (uint32_t i = 0; i < survey->index->episode_count; i++)
            loader_alignment_add(alignment, &survey->numbers[i]);
        survey->alignment_measured = loader_alignment_decide(alignment, &survey->alignment, doubt);
        loader_alignment_free(&alignment);
    }
    const bool automatic = strcmp(config->data.alignment, "auto") == 0;
    if (automatic && !survey->alignment_measured) {
        *error = *doubt;
        return proto_config_place(config, "data", "alignment", error);
    }
    survey->index->after =
        automatic ? survey->alignment.after : strcmp(config->data.alignment, "after") == 0;
    survey->codec->after = survey->index->after;
    return true;
}

// Marks data.validation_episodes of a task: a draw without replacement that hangs on the seed and
// the task's name alone, so that another task in the folder changes nothing here.
static bool task_split(const struct proto_config *config, struct proto_index *index, uint32_t task,
                       uint32_t *rows, struct proto_error *error) {
    const uint64_t wanted = (uint64_t)config->data.validation_episodes;
    uint32_t count = 0;
    for (uint32_t i = 0; i < index->episode_count; i++)
        if (index->episodes[i].task == task) rows[count++] = i;
    if (wanted >= count) {
        proto_fail(error, PROTO_USAGE,
                   "is %llu, but task %.200s has %u episodes: none would be left to train on; set "
                   "it to at most %u",
                   (unsigned long long)wanted, index->tasks[task].name, count, count - 1);
        return proto_config_place(config, "data", "validation_episodes", error);
    }
    const char *name = index->tasks[task].name;
    struct proto_random random = proto_random_at(
        (uint64_t)config->run.seed, PROTO_PURPOSE_EPISODE_SPLIT, proto_hash(name, strlen(name)));
    for (uint32_t drawn = 0; drawn < wanted; drawn++) {
        const uint32_t at = drawn + proto_random_below(&random, count - drawn);
        const uint32_t row = rows[at];
        rows[at] = rows[drawn];
        rows[drawn] = row;
        index->episodes[row].validation = true;
    }
    return true;
}

static void ids_deal(const struct proto_config *config, struct proto_index *index) {
    index->train_samples = index->validation_samples = 0;
    for (uint32_t i = 0; i < index->episode_count; i++) {
        struct proto_index_episode *episode = &index->episodes[i];
        uint64_t *next = episode->validation ? &index->validation_samples : &index->train_samples;
        episode->sample_count = index->after ? episode->steps - 1 : episode->steps;
        episode->sample_first = *next;
        *next += episode->sample_count;
    }
    const uint64_t set =
        (uint64_t)config->trainer.sample_batch_size * (uint64_t)config->trainer.num_sample_batches;
    index->validation_set = index->validation_samples > 0 ? set : 0;
}

bool loader_survey_split(const struct loader_survey_settings *settings,
                         struct loader_survey *survey, struct proto_error *error) {
    struct proto_index *index = survey->index;
    if (!alignment_find(settings->config, survey, error)) return false;
    uint32_t *rows = proto_alloc_array(index->episode_count, sizeof *rows, error);
    bool done = rows != NULL;
    for (uint32_t task = 0; done && task < index->task_count; task++)
        done = task_split(settings->config, index, task, rows, error);
    free(rows);
    if (done) ids_deal(settings->config, index);
    return done;
}
