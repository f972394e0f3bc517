// loader/verb_sample.c - `sample DATA --episode demo_3 --step 17`: what the network would get for
// one observation, beside what the file says. Without noise and with all conditions. The data is
// read in a guarded child.
#include "loader/builder.h"
#include "loader/guard.h"
#include "loader/survey.h"
#include "loader/verb.h"
#include "loader/verb_data.h"
#include "proto/json.h"
#include "proto/words.h"

#include <string.h>

struct sample {
    const struct proto_config *config;
    const char *episode;
    uint32_t step;
    bool json;
};

// What is shown: a row of the index, its observation, the batch of one.
struct view {
    const struct loader_survey *survey;
    const struct proto_batch *batch;
    uint32_t row, j;
};

// "demo_3" or "data/demo_3", which must be in one file only.
static bool episode_find(const struct proto_index *index, const char *name, uint32_t *row,
                         struct proto_error *error) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < index->episode_count; i++) {
        const char *group = index->episodes[i].group, *slash = strrchr(group, '/');
        if (strcmp(group, name) != 0 && strcmp(slash ? slash + 1 : group, name) != 0) continue;
        if (found++ == 0) *row = i;
    }
    if (found == 1) return true;
    if (found > 1)
        return proto_fail(error, PROTO_USAGE,
                          "%u of %u files have an episode %.60s: name one file as DATA", found,
                          index->file_count, name);
    return proto_fail(error, PROTO_USAGE,
                      "there is no episode %.60s; there are %u, from %s of %.300s on", name,
                      index->episode_count, index->episodes[0].group, index->files[0].path);
}

static const double *state_of(const struct view *view) {
    return view->survey->episodes[view->row].state +
           (size_t)view->j * view->survey->codec->state_count;
}

static const double *action_of(const struct view *view, uint32_t i) {
    const size_t first = view->j + (view->survey->index->after ? 1 : 0);
    return view->survey->episodes[view->row].action +
           (first + i) * view->survey->codec->action_count;
}

static void header_print(const struct view *view, FILE *out) {
    const struct proto_index *index = view->survey->index;
    const struct proto_index_episode *episode = &index->episodes[view->row];
    const struct proto_batch *batch = view->batch;
    fprintf(out, "%s: %s, observation %u of %u\n", index->files[episode->file].path, episode->group,
            view->j, episode->steps);
    fprintf(out, "task %s\ninstruction \"%s\"\n", index->tasks[episode->task].name,
            index->tasks[episode->task].instruction);
    fprintf(out,
            "actions from %u on (obs[j] is %s action[j]), %u of %u real, the rest is no "
            "motion\ncontrol frequency %g Hz, vector of %u columns (%s)\n",
            view->j + (index->after ? 1 : 0), index->after ? "after" : "before",
            batch->steps_valid[0], batch->chunk, (double)batch->ctrl_freq[0], batch->width,
            view->survey->codec->compact ? "compact" : "unified");
}

static void images_print(const struct view *view, FILE *out) {
    const struct proto_batch *batch = view->batch;
    const size_t frame_bytes = (size_t)batch->height * batch->width_px * 3;
    fprintf(out, "\nimages: u8 [%u history, %u cameras, %u, %u, 3], %s\n", batch->history,
            batch->cameras, batch->height, batch->width_px, view->survey->codec->image_orientation);
    for (uint32_t i = 0; i < batch->history * batch->cameras; i++) {
        const uint8_t *frame = batch->images + i * frame_bytes;
        uint64_t sum = 0;
        for (size_t k = 0; k < frame_bytes; k++) sum += frame[k];
        fprintf(out, "  moment %+d %-16s mask %u, frame id %016llx, mean %.1f\n",
                (int)(i / batch->cameras) - (int)batch->history + 1,
                view->survey->codec->cameras[i % batch->cameras], batch->image_mask[i],
                (unsigned long long)batch->frame_ids[i], (double)sum / (double)frame_bytes);
    }
}

static void sample_print(const struct view *view, FILE *out) {
    const struct proto_codec *codec = view->survey->codec;
    const struct proto_batch *batch = view->batch;
    char name[PROTO_CHANNEL_NAME_MAX];
    header_print(view, out);
    fprintf(out, "\n  %-18s %6s  %-8s %14s %14s\n", "state", "column", "unit", "recorded",
            "encoded");
    for (uint32_t i = 0; i < codec->state_count; i++) {
        proto_channel_name(&codec->state[i], name);
        fprintf(out, "  %-18s %6u  %-8s %14.6g %14.6g\n", name, codec->state[i].column,
                codec->state[i].field->unit, state_of(view)[i],
                (double)batch->state[codec->state[i].column]);
    }
    fprintf(out, "\n  %-18s", "action, recorded");
    for (uint32_t i = 0; i < codec->action_count; i++) {
        proto_channel_name(&codec->action[i], name);
        fprintf(out, " %15s", name);
    }
    for (uint32_t i = 0; i < batch->steps_valid[0]; i++) {
        fprintf(out, "\n  %-18u", i);
        for (uint32_t k = 0; k < codec->action_count; k++)
            fprintf(out, " %15.6g", action_of(view, i)[k]);
    }
    fprintf(out, "\n  %-18s", "action, encoded");
    for (uint32_t i = 0; i < batch->chunk; i++) {
        fprintf(out, "\n  %-3u%-15s", i, i < batch->steps_valid[0] ? "" : " padding");
        for (uint32_t k = 0; k < codec->action_count; k++)
            fprintf(out, " %15.6g",
                    (double)batch->action[(size_t)i * batch->width + codec->action[k].column]);
    }
    fputc('\n', out);
    images_print(view, out);
}

static json_t *floats_json(const float *x, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(array, json_real((double)x[i]));
    return array;
}

static json_t *doubles_json(const double *x, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(array, json_real(x[i]));
    return array;
}

static json_t *names_json(const struct proto_channel *channels, uint32_t count) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++) {
        char name[PROTO_CHANNEL_NAME_MAX];
        proto_channel_name(&channels[i], name);
        json_array_append_new(array,
                              json_pack("{s:s, s:i, s:s}", "channel", name, "column",
                                        (int)channels[i].column, "unit", channels[i].field->unit));
    }
    return array;
}

static json_t *sample_json(const struct view *view) {
    const struct proto_index *index = view->survey->index;
    const struct proto_index_episode *episode = &index->episodes[view->row];
    const struct proto_codec *codec = view->survey->codec;
    const struct proto_batch *batch = view->batch;
    json_t *ids = json_array(), *masks = json_array(), *chunk = json_array();
    json_t *recorded = json_array();
    for (uint32_t i = 0; i < batch->history * batch->cameras; i++) {
        char id[17];
        proto_hex64(batch->frame_ids[i], id);
        json_array_append_new(ids, json_string(id));
        json_array_append_new(masks, json_integer(batch->image_mask[i]));
    }
    for (uint32_t i = 0; i < batch->chunk; i++)
        json_array_append_new(chunk,
                              floats_json(batch->action + (size_t)i * batch->width, batch->width));
    for (uint32_t i = 0; i < batch->steps_valid[0]; i++)
        json_array_append_new(recorded, doubles_json(action_of(view, i), codec->action_count));
    return json_pack(
        "{s:o, s:s, s:i, s:i, s:s, s:s, s:s, s:f, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:[i, i, i, i, i], s:o, s:o}",
        "file", proto_json_string(index->files[episode->file].path), "episode", episode->group,
        "step", (int)view->j, "steps", (int)episode->steps, "alignment",
        index->after ? "after" : "before", "task", index->tasks[episode->task].name, "instruction",
        index->tasks[episode->task].instruction, "ctrl_freq", (double)batch->ctrl_freq[0],
        "steps_valid", (int)batch->steps_valid[0], "state_channels",
        names_json(codec->state, codec->state_count), "action_channels",
        names_json(codec->action, codec->action_count), "state_recorded",
        doubles_json(state_of(view), codec->state_count), "action_recorded", recorded, "state",
        floats_json(batch->state, batch->width), "state_mask",
        floats_json(batch->state_mask, batch->width), "action", chunk, "action_mask",
        floats_json(batch->action_mask, batch->width), "images_shape", (int)batch->history,
        (int)batch->cameras, (int)batch->height, (int)batch->width_px, 3, "image_mask", masks,
        "frame_ids", ids);
}

static bool view_print(const struct sample *sample, const struct view *view, FILE *out,
                       struct proto_error *error) {
    if (!sample->json) {
        sample_print(view, out);
        return true;
    }
    json_t *json = sample_json(view);
    const bool done = json &&
                      json_dumpf(json, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) == 0 &&
                      fputc('\n', out) != EOF;
    json_decref(json);
    return done || proto_fail(error, PROTO_EXHAUSTED, "no memory for the sample");
}

static bool sample_run(void *context, FILE *out, struct proto_error *error) {
    const struct sample *sample = context;
    struct loader_survey *survey = NULL;
    struct loader_builder *builder = NULL;
    struct proto_batch *batch = NULL;
    uint32_t row = 0;
    const struct loader_survey_settings settings = {.config = sample->config, .no_measures = true};
    bool done =
        loader_survey_new(&settings, &survey, error) &&
        episode_find(survey->index, sample->episode, &row, error) &&
        proto_batch_new(survey->codec, 1, &batch, error) &&
        loader_builder_open(sample->config, survey->index, survey->codec, &builder, error) &&
        loader_builder_look(builder, row, sample->step, batch, error);
    if (done) {
        const struct view view = {.survey = survey, .batch = batch, .row = row, .j = sample->step};
        done = view_print(sample, &view, out, error);
    }
    loader_builder_close(&builder);
    proto_batch_free(&batch);
    loader_survey_free(&survey);
    return done;
}

bool loader_verb_sample(const struct loader_arguments *arguments, struct proto_error *error) {
    struct proto_config *config = NULL;
    uint64_t step = 0;
    if (!proto_words_number("--step", arguments->step, UINT32_MAX, &step, error) ||
        !loader_data_config(arguments, &config, error))
        return false;
    struct sample sample = {.config = config,
                            .episode = arguments->episode,
                            .step = (uint32_t)step,
                            .json = arguments->json};
    const struct loader_guard_work work = {.run = sample_run, .context = &sample};
    const bool done = loader_guard_run(&work, error);
    proto_config_free(&config);
    return done;
}
