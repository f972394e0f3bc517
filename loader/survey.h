// loader/survey.h - reads all data of a configuration once and works out what a run needs to know
// of it: `index` writes the result down, `check` and `stats` show it.
//
//   files -> episodes and their numbers -> alignment -> split -> sample ids -> statistics -> codec
//   -> mean and spread of the images -> baselines
// The same data and configuration give the same result, byte for byte.
#ifndef LOADER_SURVEY_H
#define LOADER_SURVEY_H

#include "loader/alignment.h"
#include "loader/episode.h"
#include "proto/codec.h"
#include "proto/config.h"
#include "proto/index.h"

struct loader_survey {
    struct proto_index *index;
    struct proto_codec *codec;
    struct loader_episode *episodes;         // [index->episode_count] all numbers, in its order
    struct loader_episode_numbers *numbers;  // the same, as others borrow them
    struct proto_statistics pooled_state[PROTO_CHANNELS_MAX], pooled_action[PROTO_CHANNELS_MAX];
    struct loader_alignment_verdict alignment;
    bool alignment_measured;  // the verdict is one; else alignment_doubt says why not
    struct proto_error alignment_doubt;
    const char *statistics_kind;  // "single-task", "per-task", "pooled" or "given"
    uint64_t progress;            // files, episodes done: only grows
    char filters[256];            // names of filter keys in the files, which are not applied
};

struct loader_survey_settings {
    const struct proto_config *config;
    const struct proto_index *known;  // hashes of files with its path, size and time are taken over
    bool no_images;                   // the codec has no cameras: files without images will do
    bool no_measures;                 // mean and spread of images and baselines are left out
    // Called from time to time with a number that grows; may be NULL. False: stop, the survey then
    // fails with PROTO_RESUMABLE.
    bool (*progress)(void *context, uint64_t done);
    void *context;
};

// PROTO_USAGE: the configuration does not fit the data (data.path, fields, split, alignment that
// must be set, frequency). PROTO_DAMAGED: bad data, with file and dataset in `where`.
PROTO_MUST_CHECK bool loader_survey_new(const struct loader_survey_settings *settings,
                                        struct loader_survey **survey, struct proto_error *error);
void loader_survey_free(struct loader_survey **survey);  // accepts NULL; leaves NULL behind

#endif
