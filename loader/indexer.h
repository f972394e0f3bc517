// loader/indexer.h - `pipeline-loader index`: a survey of the data, written into the run folder as
// codec.json, dataset_statistics.json, open_loop.json and, last, index.json.
//
// A run folder that has an index already belongs to its data: the same survey must come out, or the
// difference is refused by name. Files that only moved are the same data.
#ifndef LOADER_INDEXER_H
#define LOADER_INDEXER_H

#include "loader/survey.h"
#include "proto/link.h"

// Reads run/pipeline.toml, surveys, writes, and says what it found on the link.
PROTO_MUST_CHECK bool loader_index_run(const char *run, struct proto_link *link,
                                       struct proto_error *error);

// PROTO_USAGE naming the first thing in which the data of a run differs from what it was.
PROTO_MUST_CHECK bool loader_index_compare(const struct proto_index *before,
                                           const struct proto_index *now,
                                           struct proto_error *error);

// "8 episodes, 1 task, 1215 samples": one line about a survey. Lines for people go to `say`.
void loader_survey_summary(const struct loader_survey *survey, const struct proto_config *config,
                           void (*say)(void *context, const char *line), void *context);

#endif
