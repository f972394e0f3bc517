// stages/verdict.h - what held a run up, in words: loaders, a rank that is slower than the others,
// the exchange of gradients, or nothing. Read from what each step of metrics.jsonl waited for.
#ifndef STAGES_VERDICT_H
#define STAGES_VERDICT_H

#include "proto/error.h"

#include <stdint.h>

#define STAGE_VERDICT_RANKS_MAX 64
#define STAGE_VERDICT_TEXT_BYTES 512
#define STAGE_VERDICT_STEPS_MIN 10  // fewer say nothing

// Seconds of a step, averaged over `steps` of them.
struct stage_waits {
    uint64_t steps;
    uint32_t ranks;
    double step_s;
    double data_s[STAGE_VERDICT_RANKS_MAX];        // waited for a batch
    double collective_s[STAGE_VERDICT_RANKS_MAX];  // waited for other ranks
};
// Of the newest steps of RUN/metrics.jsonl, all made by the same number of ranks. False: there are
// too few, or none can be read.
bool stage_waits_read(const char *run, struct stage_waits *waits);

// "loader-bound: ..."; several causes are joined by "; ". True: something holds the run up.
bool stage_verdict(const struct stage_waits *waits, char text[static STAGE_VERDICT_TEXT_BYTES]);

#endif
