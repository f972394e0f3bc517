// loader/dataset_paths.h - which files data.path means.
#ifndef LOADER_DATASET_PATHS_H
#define LOADER_DATASET_PATHS_H

#include "proto/config.h"
#include "proto/files.h"

// Absolute paths, in the order of the list; a folder stands for the *.hdf5 in it, by name, not in
// folders below. The caller frees with proto_names_free. PROTO_USAGE: empty list, a path that is
// not there, a file named twice. PROTO_DAMAGED: a folder without *.hdf5.
PROTO_MUST_CHECK bool loader_dataset_paths(const struct proto_list *data_path,
                                           struct proto_names *files, struct proto_error *error);

#endif
