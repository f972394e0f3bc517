// loader/report_json.c - a survey as JSON.
#include "loader/report.h"
#include "proto/json_strict.h"

#include <math.h>

static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *channel_json(const struct proto_channel *channel, const struct proto_codec_row *row,
                            const struct loader_proof_channel *proof) {
    char name[PROTO_CHANNEL_NAME_MAX];
    proto_channel_name(channel, name);
    json_t *json = json_pack(
        "{s:s, s:s, s:i, s:i, s:s, s:s, s:b, s:b}", "channel", name, "source", channel->source,
        "slot", (int)channel->slot, "column", (int)channel->column, "unit", channel->field->unit,
        "kind", channel->field->kind == PROTO_CHANNEL_GRIPPER ? "gripper" : "continuous", "delta",
        channel->field->delta ? 1 : 0, "constant", row->constant ? 1 : 0);
    if (!json || !proto_statistics_store(json, &row->statistics)) {
        json_decref(json);
        return NULL;
    }
    json_object_set_new(json, "offset", number(row->mean));
    json_object_set_new(json, "scale", number(row->scale));
    if (!proof) return json;
    json_object_set_new(json, "round_trip_error", number(proof->error));
    json_object_set_new(json, "round_trip_bound", number(proof->bound));
    json_object_set_new(json, "clipped", json_integer((json_int_t)proof->clipped));
    return json;
}

static json_t *channels_json(const struct proto_channel *channels,
                             const struct proto_codec_row *rows,
                             const struct loader_proof_channel *proof, uint32_t count) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(array,
                              channel_json(&channels[i], &rows[i], proof ? &proof[i] : NULL));
    return array;
}

static json_t *tasks_json(const struct loader_survey *survey, const struct loader_proof *proof) {
    const struct proto_codec *codec = survey->codec;
    json_t *array = json_array();
    for (uint32_t t = 0; t < codec->task_count; t++) {
        const struct proto_codec_task *task = &codec->tasks[t];
        json_array_append_new(
            array, json_pack("{s:s, s:s, s:o, s:o}", "name", task->name, "instruction",
                             task->instruction, "state",
                             channels_json(codec->state, task->state, proof ? proof->state : NULL,
                                           codec->state_count),
                             "action",
                             channels_json(codec->action, task->action,
                                           proof ? proof->action : NULL, codec->action_count)));
    }
    return array;
}

static json_t *episodes_json(const struct proto_index *index) {
    json_t *array = json_array();
    for (uint32_t i = 0; i < index->episode_count; i++) {
        const struct proto_index_episode *episode = &index->episodes[i];
        json_array_append_new(
            array, json_pack("{s:o, s:s, s:s, s:i, s:b, s:i}", "file",
                             proto_json_string(index->files[episode->file].path), "group",
                             episode->group, "task", index->tasks[episode->task].name, "steps",
                             (int)episode->steps, "validation", episode->validation ? 1 : 0,
                             "samples", (int)episode->sample_count));
    }
    return array;
}

static json_t *alignment_json(const struct loader_survey *survey) {
    const double *score = survey->alignment.score;
    return json_pack("{s:s, s:b, s:[o, o, o], s:s}", "used",
                     survey->index->after ? "after" : "before", "measured",
                     survey->alignment_measured ? 1 : 0, "scores", number(score[0]),
                     number(score[1]), number(score[2]), "doubt",
                     survey->alignment_measured ? "" : survey->alignment_doubt.text);
}

static json_t *coverage_json(const struct loader_survey *survey) {
    struct loader_coverage coverage;
    loader_coverage_count(survey, &coverage);
    json_t *bins = json_array();
    for (uint32_t i = 0; i < LOADER_HISTOGRAM_BINS; i++)
        json_array_append_new(bins, json_integer((json_int_t)coverage.histogram[i]));
    return json_pack("{s:I, s:I, s:I, s:i, s:o}", "samples", (json_int_t)coverage.samples, "padded",
                     (json_int_t)coverage.padded, "masked", (json_int_t)coverage.masked,
                     "bin_steps", (int)coverage.bin_steps, "histogram", bins);
}

static json_t *images_json(const struct proto_codec *codec) {
    json_t *cameras = json_array();
    for (uint32_t c = 0; c < codec->camera_count; c++)
        json_array_append_new(cameras, json_string(codec->cameras[c]));
    return json_pack("{s:o, s:i, s:i, s:s, s:[f, f, f], s:f}", "cameras", cameras, "height",
                     (int)codec->image_height, "width", (int)codec->image_width, "orientation",
                     codec->image_orientation, "mean", (double)codec->image_mean[0],
                     (double)codec->image_mean[1], (double)codec->image_mean[2], "std",
                     (double)codec->image_std);
}

json_t *loader_report_json(const struct loader_survey *survey, const struct loader_proof *proof) {
    const struct proto_index *index = survey->index;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:{s:o, s:o, s:o}}", "tasks",
                     tasks_json(survey, proof), "episodes", episodes_json(index), "alignment",
                     alignment_json(survey), "coverage", coverage_json(survey), "images",
                     images_json(survey->codec), "train_samples", (json_int_t)index->train_samples,
                     "validation_samples", (json_int_t)index->validation_samples, "statistics",
                     survey->statistics_kind, "baselines", "mean_action",
                     number(index->baselines.mean_action), "time_mean",
                     number(index->baselines.time_mean), "nearest_neighbour",
                     number(index->baselines.nearest_neighbour));
}
