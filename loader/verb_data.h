// loader/verb_data.h - the configuration that `stats DATA` and `sample DATA` make for themselves.
#ifndef LOADER_VERB_DATA_H
#define LOADER_VERB_DATA_H

#include "loader/verb.h"
#include "proto/config.h"

// Defaults, with data.path = DATA, all episodes for training and alignment not asked of the data;
// then the --set options in order. The caller frees it.
PROTO_MUST_CHECK bool loader_data_config(const struct loader_arguments *arguments,
                                         struct proto_config **config, struct proto_error *error);

#endif
