// loader/statistics_file.h - dataset_statistics.json: what the training episodes look like, per
// task and pooled, one row per channel, in the unit the file recorded.
//
// {"format": "pipeline-statistics", "version": 1,
//  "tasks": [{"name", "instruction", "state": [row...], "action": [row...]}...],
//  "pooled": {"state": [row...], "action": [row...]}}
// row: {"channel": "joint_pos.3", "source", "unit", "count", "mean", "std", "min", "max", "q01",
// "q99"}. Another run may take its statistics from this file (data.statistics = its path); they are
// found by task name and channel name, and a unit that differs is refused: that is how metres once
// met centimetres.
#ifndef LOADER_STATISTICS_FILE_H
#define LOADER_STATISTICS_FILE_H

#include "proto/codec.h"

// Writes the statistics that the codec's tasks hold and the pooled ones (arrays of state_count and
// action_count), durably.
PROTO_MUST_CHECK bool loader_statistics_file_write(const char *path,
                                                   const struct proto_codec *codec,
                                                   const struct proto_statistics *pooled_state,
                                                   const struct proto_statistics *pooled_action,
                                                   struct proto_error *error);

// Replaces `statistics` of every row of every task of the codec by those of the file; mean and
// scale follow by proto_codec_row_fit. Of a task the file does not name PROTO_USAGE lists the names
// it has; channels that lack, are doubled or have another unit are refused by name. Strict: a file
// with other keys or values out of order is PROTO_DAMAGED. The codec is untouched on failure.
PROTO_MUST_CHECK bool loader_statistics_file_apply(const char *path, struct proto_codec *codec,
                                                   struct proto_error *error);

#endif
