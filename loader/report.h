// loader/report.h - a survey as a table for people and as JSON for programs: what `check` and
// `stats` print.
#ifndef LOADER_REPORT_H
#define LOADER_REPORT_H

#include "loader/proof.h"
#include "loader/survey.h"

#include <jansson.h>
#include <stdio.h>

#define LOADER_HISTOGRAM_BINS 10

// Where in their episodes the samples of an epoch are.
struct loader_coverage {
    uint64_t samples;                           // of training
    uint64_t padded;                            // whose chunk goes past the end of the episode
    uint64_t masked;                            // whose history begins before it
    uint32_t bin_steps;                         // observations of one bin
    uint64_t histogram[LOADER_HISTOGRAM_BINS];  // samples by observation's number
};
void loader_coverage_count(const struct loader_survey *survey, struct loader_coverage *coverage);

// The table of channels of every task. `proof` may be NULL: then its columns are left out.
void loader_report_channels(const struct loader_survey *survey, const struct loader_proof *proof,
                            FILE *out);
void loader_report_coverage(const struct loader_survey *survey, const struct proto_config *config,
                            FILE *out);

// The whole survey; NULL on lack of memory. `proof` as above.
json_t *loader_report_json(const struct loader_survey *survey, const struct loader_proof *proof);

#endif
