// loader/report.c - the tables of `check` and `stats`.
#include "loader/report.h"

#include <stdio.h>
#include <string.h>

void loader_coverage_count(const struct loader_survey *survey, struct loader_coverage *coverage) {
    const struct proto_index *index = survey->index;
    const uint32_t chunk = survey->codec->chunk, history = survey->codec->history;
    uint32_t longest = 1;
    *coverage = (struct loader_coverage){0};
    for (uint32_t i = 0; i < index->episode_count; i++)
        if (index->episodes[i].sample_count > longest) longest = index->episodes[i].sample_count;
    coverage->bin_steps = (longest + LOADER_HISTOGRAM_BINS - 1) / LOADER_HISTOGRAM_BINS;
    for (uint32_t i = 0; i < index->episode_count; i++) {
        const struct proto_index_episode *episode = &index->episodes[i];
        if (episode->validation) continue;
        coverage->samples += episode->sample_count;
        for (uint32_t j = 0; j < episode->sample_count; j++) {
            coverage->histogram[j / coverage->bin_steps]++;
            coverage->padded += episode->sample_count - j < chunk;
            coverage->masked += j + 1 < history;
        }
    }
}

static void channel_print(const struct proto_channel *channel, const struct proto_codec_row *row,
                          const struct loader_proof_channel *proof, FILE *out) {
    char name[PROTO_CHANNEL_NAME_MAX];
    const struct proto_statistics *s = &row->statistics;
    proto_channel_name(channel, name);
    fprintf(out, "  %-16s %-20s %4u %4u  %-8s %10.4g %10.4g %10.4g %10.4g %10.4g %10.4g %10.4g",
            name, channel->source, channel->slot, channel->column, channel->field->unit, row->mean,
            row->scale, s->std, s->min, s->max, s->q01, s->q99);
    if (proof) fprintf(out, " %9.2g %9.2g", proof->error, proof->bound);
    fprintf(out, "  %s%s", channel->field->delta ? "delta" : "absolute",
            channel->field->kind == PROTO_CHANNEL_GRIPPER ? ", gripper command" : "");
    if (row->constant) fprintf(out, ", CONSTANT");
    if (proof && proof->clipped > 0)
        fprintf(out, ", %llu beyond the controller's range", (unsigned long long)proof->clipped);
    fputc('\n', out);
}

static void side_print(const char *side, const struct proto_channel *channels,
                       const struct proto_codec_row *rows, const struct loader_proof_channel *proof,
                       uint32_t count, FILE *out) {
    fprintf(out, "  %-16s %-20s %4s %4s  %-8s %10s %10s %10s %10s %10s %10s %10s%s\n", side,
            "source", "slot", "col", "unit", "mean", "scale", "std", "min", "max", "q01", "q99",
            proof ? "     error     bound" : "");
    for (uint32_t i = 0; i < count; i++)
        channel_print(&channels[i], &rows[i], proof ? &proof[i] : NULL, out);
}

void loader_report_channels(const struct loader_survey *survey, const struct loader_proof *proof,
                            FILE *out) {
    const struct proto_codec *codec = survey->codec;
    for (uint32_t t = 0; t < codec->task_count; t++) {
        const struct proto_codec_task *task = &codec->tasks[t];
        fprintf(out, "\ntask %s: \"%s\"\n", task->name, task->instruction);
        side_print("state", codec->state, task->state, proof ? proof->state : NULL,
                   codec->state_count, out);
        side_print("action", codec->action, task->action, proof ? proof->action : NULL,
                   codec->action_count, out);
    }
}

void loader_report_coverage(const struct loader_survey *survey, const struct proto_config *config,
                            FILE *out) {
    struct loader_coverage coverage;
    loader_coverage_count(survey, &coverage);
    const double step = (double)config->trainer.train_batch_size *
                        (double)config->trainer.gradient_accumulation_steps;
    fprintf(out,
            "\nan epoch: %llu samples, every observation that an action follows; %llu of them "
            "have a chunk padded past the end, %llu a masked history\n",
            (unsigned long long)coverage.samples, (unsigned long long)coverage.padded,
            (unsigned long long)coverage.masked);
    fprintf(out, "  %.1f optimiser steps of %.0f samples; the run's %lld steps are %.2f epochs\n",
            (double)coverage.samples / step, step, (long long)config->run.max_train_steps,
            (double)config->run.max_train_steps * step / (double)coverage.samples);
    for (uint32_t i = 0; i < LOADER_HISTOGRAM_BINS && coverage.histogram[i] > 0; i++)
        fprintf(out, "  observations %5u..%-5u %8llu samples\n", i * coverage.bin_steps,
                (i + 1) * coverage.bin_steps - 1, (unsigned long long)coverage.histogram[i]);
    fprintf(out, "validation episodes:");
    uint32_t shown = 0, count = 0;
    for (uint32_t i = 0; i < survey->index->episode_count; i++) {
        const struct proto_index_episode *episode = &survey->index->episodes[i];
        if (!episode->validation || ++count > 24) continue;
        fprintf(out, "%s %s (%u steps, %s)", shown++ > 0 ? "," : "", episode->group, episode->steps,
                survey->index->tasks[episode->task].name);
    }
    if (count > 24) fprintf(out, " and %u more", count - 24);
    fprintf(out, "%s\n", count == 0 ? " none" : "");
}
