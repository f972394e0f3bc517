// stages/cost.h - what evaluation costs training: the mean time of an optimiser step while an
// evaluation is under way against that while none is, taken from the lines of metrics.jsonl as they
// come. Time for checkpoints and validation is not in them, so it does not blur the comparison.
#ifndef STAGES_COST_H
#define STAGES_COST_H

#include "proto/error.h"

#include <stdint.h>

// Fewer steps of a kind than this say nothing about its mean.
#define STAGE_COST_STEPS_MIN 10

struct stage_cost {
    int64_t offset;       // bytes of the file that are taken
    bool opened, before;  // looked at once; was an evaluation under way then?
    uint64_t steps[2];    // [1]: while an evaluation was under way
    double total_s[2];
};

// Takes the whole lines that have come since the last look. Steps between two looks that differ in
// `under_way` belong to neither kind. A file that is shorter than before was cut back by a resume.
void stage_cost_look(struct stage_cost *cost, const char *metrics, bool under_way);
// False: too few steps of one kind. *alone_s, *under_way_s: means.
bool stage_cost_means(const struct stage_cost *cost, double *alone_s, double *under_way_s);

#endif
