// trainer/metrics.h - metrics.jsonl: one object per optimiser step, written by rank 0.
//
// A line reaches the file whole, by one write; it is on the disk before a checkpoint of its step
// gets its name. So after any death the lines up to the newest checkpoint are there, and a resume
// cuts off what lies behind it. docs/metrics.md explains the keys.
#ifndef TRAINER_METRICS_H
#define TRAINER_METRICS_H

#include "proto/error.h"

#include <stdint.h>

struct trainer_metrics;

struct trainer_metrics_line {
    uint64_t step, cursor;  // steps done with this one; next position of the stream
    uint32_t attempt;
    double loss, grad_norm;  // null in the file when not finite: a step that fp16 skipped
    double learning_rate, step_s, samples_per_s;
    double loss_scale;  // fp16, else 0: not written
    uint64_t skipped;   // steps of the run up to here; with a loss scale
    const double *data_wait_s, *collective_wait_s;  // [ranks]
    uint32_t ranks;
    uint64_t ledger;
    const uint64_t *samples;  // ids in the order of positions; NULL: not wanted
    size_t sample_count;
};

// Opens or makes the file and cuts off every line behind `step`, and a torn last line, durably.
// *lines_kept says how many are left. PROTO_DAMAGED, naming the line: one before is no object with
// a step. samples_max is of a line, 0: none.
PROTO_MUST_CHECK bool trainer_metrics_open(const char *path, uint64_t step, uint32_t ranks,
                                           size_t samples_max, struct trainer_metrics **metrics,
                                           uint64_t *lines_kept, struct proto_error *error);
void trainer_metrics_close(struct trainer_metrics **metrics);  // accepts NULL
// Allocates nothing. PROTO_EXHAUSTED: disk full; the file then ends with the line before.
PROTO_MUST_CHECK bool trainer_metrics_append(struct trainer_metrics *metrics,
                                             const struct trainer_metrics_line *line,
                                             struct proto_error *error);
// Waits until what was appended is on the disk. May be called from another thread.
PROTO_MUST_CHECK bool trainer_metrics_sync(struct trainer_metrics *metrics,
                                           struct proto_error *error);

#endif
