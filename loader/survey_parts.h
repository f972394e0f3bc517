// loader/survey_parts.h - the parts that a survey is done in, one file each. Only for survey*.c.
#ifndef LOADER_SURVEY_PARTS_H
#define LOADER_SURVEY_PARTS_H

#include "loader/survey.h"

// Reports that something more is done; false with PROTO_RESUMABLE when the survey is to stop.
PROTO_MUST_CHECK bool loader_survey_progress(const struct loader_survey_settings *settings,
                                             uint64_t *done, struct proto_error *error);

// survey_files.c: files, tasks, episodes with their numbers, channels, image geometry.
PROTO_MUST_CHECK bool loader_survey_files(const struct loader_survey_settings *settings,
                                          struct loader_survey *survey, struct proto_error *error);
// survey_split.c: alignment, validation episodes, sample ids.
PROTO_MUST_CHECK bool loader_survey_split(const struct loader_survey_settings *settings,
                                          struct loader_survey *survey, struct proto_error *error);
// survey_fit.c: statistics and the rows of the codec.
PROTO_MUST_CHECK bool loader_survey_fit(const struct loader_survey_settings *settings,
                                        struct loader_survey *survey, struct proto_error *error);
// survey_images.c: mean and spread of training frames.
PROTO_MUST_CHECK bool loader_survey_images(const struct loader_survey_settings *settings,
                                           struct loader_survey *survey, struct proto_error *error);

#endif
