// loader/verb_check.c - `check FILE`: may this configuration be trained with this data, and what
// does the network get to see? The data is read in a guarded child.
#include "loader/guard.h"
#include "loader/indexer.h"
#include "loader/proof.h"
#include "loader/report.h"
#include "loader/verb.h"
#include "proto/json.h"

#include <math.h>
#include <string.h>

struct check {
    const struct proto_config *config;
    bool json;
};

static void line_print(void *context, const char *line) { fprintf(context, "%s\n", line); }
static void bullet_print(void *context, const char *line) { fprintf(context, "  %s\n", line); }

static void line_append(void *context, const char *line) {
    json_array_append_new(context, json_string(line));
}

// Released RDT weights were trained on plain physical units in the 128 slots: what a channel looks
// like now, in multiples of what they saw, is 1 / scale around an offset.
static void pretrained_print(const struct check *check, const struct proto_codec *codec,
                             FILE *out) {
    if (check->config->model.pretrained[0] == '\0') return;
    fprintf(out,
            "\nmodel.pretrained: those weights were trained on plain physical units; with "
            "data.transform = %s%s:\n",
            check->config->data.transform,
            codec->compact ? " and the compact layout, which they do not fit" : "");
    const struct proto_codec_task *task = &codec->tasks[0];
    for (uint32_t i = 0; i < codec->state_count + codec->action_count; i++) {
        const bool action = i >= codec->state_count;
        const uint32_t k = action ? i - codec->state_count : i;
        const struct proto_channel *channel = action ? &codec->action[k] : &codec->state[k];
        const struct proto_codec_row *row = action ? &task->action[k] : &task->state[k];
        char name[PROTO_CHANNEL_NAME_MAX];
        proto_channel_name(channel, name);
        if (fabs(row->mean) <= 1e-9 && fabs(row->scale - 1) <= 1e-9) continue;
        fprintf(out, "  %s %-16s arrives as (x - %.4g) * %.4g\n", action ? "action" : "state ",
                name, row->mean, 1 / row->scale);
    }
}

static void tables_print(const struct check *check, const struct loader_survey *survey,
                         const struct loader_proof *proof, FILE *out) {
    const struct proto_codec *codec = survey->codec;
    loader_survey_summary(survey, check->config, line_print, out);
    fprintf(out, "statistics: %s, transform %s, layout %s of %u columns\n", survey->statistics_kind,
            check->config->data.transform, codec->compact ? "compact" : "unified", codec->width);
    fprintf(out, "images: ");
    for (uint32_t c = 0; c < codec->camera_count; c++)
        fprintf(out, "%s%s", c > 0 ? ", " : "", codec->cameras[c]);
    fprintf(out, "; %u x %u pixels, %s (row 0 %s), mean %.3f %.3f %.3f, std %.3f, history of %u\n",
            codec->image_height, codec->image_width, codec->image_orientation,
            codec->image_orientation[4] == 'g' ? "at the bottom" : "on top",
            (double)codec->image_mean[0], (double)codec->image_mean[1],
            (double)codec->image_mean[2], (double)codec->image_std, codec->history);
    loader_report_channels(survey, proof, out);
    fprintf(out,
            "\nround trip decode(encode(x)) of %llu steps: error is the largest, bound what "
            "one rounding to f32 may cost there\n",
            (unsigned long long)proof->steps);
    fprintf(out, "channels to look at:\n");
    if (proto_codec_spread_report(codec, bullet_print, out) == 0)
        fprintf(out, "  none: no spreads differ by more than 10x\n");
    loader_report_coverage(survey, check->config, out);
    pretrained_print(check, codec, out);
}

// What was found and the verdict, as one object.
static bool object_print(const struct loader_survey *survey, const struct loader_proof *proof,
                         const struct proto_error *refusal, FILE *out, struct proto_error *error) {
    json_t *json = survey ? loader_report_json(survey, proof) : json_object();
    json_t *spreads = json_array();
    if (survey) proto_codec_spread_report(survey->codec, line_append, spreads);
    bool done = json && json_object_set_new(json, "spreads", spreads) == 0 &&
                json_object_set_new(json, "may_train", json_boolean(!refusal)) == 0;
    if (done && refusal)
        done = json_object_set_new(json, "refusal",
                                   json_pack("{s:i, s:o, s:o}", "status", (int)refusal->status,
                                             "where", proto_json_string(refusal->where), "text",
                                             proto_json_string(refusal->text))) == 0;
    if (done) done = json_dumpf(json, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) == 0;
    if (done) fputc('\n', out);
    json_decref(json);
    return done || proto_fail(error, PROTO_EXHAUSTED, "no memory for the report");
}

// In the child. An error is the verdict: 6 when the data is sound and yet does not do.
static bool check_run(void *context, FILE *out, struct proto_error *error) {
    const struct check *check = context;
    struct loader_survey *survey = NULL;
    struct loader_proof proof = {.steps = 0};
    const struct loader_survey_settings settings = {.config = check->config};
    const bool done = loader_survey_new(&settings, &survey, error) &&
                      loader_proof_run(survey, &proof, error) &&
                      proto_config_check_machine(check->config, error);
    if (survey && !check->json) {
        tables_print(check, survey, &proof, out);
        if (done) fprintf(out, "\ntraining may start\n");
    }
    struct proto_error printing = {0};
    bool printed = true;
    if (check->json) printed = object_print(survey, &proof, done ? NULL : error, out, &printing);
    loader_survey_free(&survey);
    if (done && !printed) *error = printing;
    return done && printed;
}

bool loader_verb_check(const struct loader_arguments *arguments, struct proto_error *error) {
    struct check check = {.json = arguments->json};
    struct proto_config *config = NULL;
    if (!proto_config_read(arguments->file, arguments->sets, arguments->set_count, &config, error))
        return false;
    check.config = config;
    const struct loader_guard_work work = {.run = check_run, .context = &check};
    const bool done = loader_guard_run(&work, error);
    proto_config_free(&config);
    return done;
}
