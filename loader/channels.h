// loader/channels.h - which numbers of a file become which channels: the fields that data.state and
// data.action name, and the dataset that serves each in the first demonstration.
#ifndef LOADER_CHANNELS_H
#define LOADER_CHANNELS_H

#include "loader/dataset.h"
#include "proto/codec.h"
#include "proto/config.h"

// Appends and lays out the codec's channels; codec->compact must be set. PROTO_USAGE: unknown field
// names, two fields in one slot. PROTO_DAMAGED: no dataset of the demonstration serves a field, or
// the actions have another number of columns than data.action has components.
PROTO_MUST_CHECK bool loader_channels_find(const struct proto_config *config,
                                           const struct loader_dataset *dataset, const char *group,
                                           struct proto_codec *codec, struct proto_error *error);

// The dataset that serves a state field in this demonstration: `first` if it is there, else the
// best of the field's own. NULL: none does.
const char *loader_channels_source(const struct loader_dataset *dataset, const char *group,
                                   const struct proto_field *field, const char *first);

#endif
