// stages/plot.h - a run as a picture: how often the robot succeeded and how large the error was,
// over optimiser steps. Read from the run's own files, drawn as SVG.
#ifndef STAGES_PLOT_H
#define STAGES_PLOT_H

#include "proto/error.h"

#include <stdint.h>
#include <stdio.h>

struct stage_plot_loss {
    uint64_t step;
    double loss;
};
// A `validation` event: action error on episodes never trained on, and of three predictors that
// need no training. NaN where there is none.
struct stage_plot_validation {
    uint64_t step;
    double policy, mean_action, time_mean, nearest_neighbour;
};
// Successes of episodes with Wilson's interval, as rates 0..1.
struct stage_plot_rate {
    uint64_t step;
    uint32_t successes, episodes;
    double rate, low, high;
};
enum { STAGE_PLOT_POLICY, STAGE_PLOT_OPEN_LOOP, STAGE_PLOT_BLIND, STAGE_PLOT_REPORTS };

struct stage_plot {
    struct stage_plot_loss *losses;             // ascending steps, each once
    struct stage_plot_validation *validations;  // the same
    struct stage_plot_rate *rates;              // the same: checkpoints evaluated during training
    size_t loss_count, validation_count, rate_count;
    struct stage_plot_rate reports[STAGE_PLOT_REPORTS];  // of one results.json; episodes 0: none
};

// Reads RUN/metrics.jsonl, RUN/events.jsonl and RUN/eval/metrics.jsonl; the latter two may be
// missing, and a torn last line is left out. PROTO_DAMAGED names file and line. The caller frees
// with stage_plot_free, after a failure too.
PROTO_MUST_CHECK bool stage_plot_read(const char *run, struct stage_plot *plot,
                                      struct proto_error *error);
// Adds what a results.json reports, summed over its tasks.
PROTO_MUST_CHECK bool stage_plot_read_results(const char *path, struct stage_plot *plot,
                                              struct proto_error *error);
void stage_plot_free(struct stage_plot *plot);

// Draws: success above where there is any, error below. What cannot be written is seen by ferror.
void stage_plot_draw(const struct stage_plot *plot, FILE *to);

#endif
