// loader/dataset.h - one LIBERO or robomimic HDF5 file, open for reading: which task it is of and
// which demonstrations it holds.
//
// Both layouts keep demonstrations in /data/demo_0, demo_1, ... with the attribute num_samples.
// LIBERO names the task in /data's attributes bddl_file_name and problem_info (JSON with
// language_instruction); without them, as in robomimic, the file's name is the task. Both say in
// env_args (JSON) how often the robot was controlled. robomimic's filter keys in /mask are known by
// name and not applied: the split is the run's.
#ifndef LOADER_DATASET_H
#define LOADER_DATASET_H

#include "proto/error.h"

#include <hdf5.h>
#include <stdint.h>

#define LOADER_STEPS_MAX 1000000  // of an episode

struct loader_demo {
    char *group;      // "data/demo_3"
    uint64_t number;  // 3
};

struct loader_dataset {
    char *path;
    char *task;                 // stem of the BDDL file, or of this file without "_demo"
    char *instruction;          // the sentence
    char *filters;              // "train, valid": filter keys in /mask; "" without
    double control_freq_hz;     // of env_args; 0: not said
    char *image_convention;     // "opengl" (row 0 at the bottom) or "opencv"; NULL: not said
    struct loader_demo *demos;  // by number
    uint32_t demo_count;
    uint64_t size_bytes;  // of the file when it was opened
    int64_t mtime_ns;
    hid_t file;      // closed by loader_dataset_close, and with it all that was opened in it
    int descriptor;  // the same file, for plain reads of contiguous frames
};

// PROTO_USAGE: there is no such file. PROTO_DAMAGED, with the path in `where`: not HDF5, cut off,
// no demonstrations, attributes that are not what they should be.
PROTO_MUST_CHECK bool loader_dataset_open(const char *path, struct loader_dataset **dataset,
                                          struct proto_error *error);
void loader_dataset_close(struct loader_dataset **dataset);  // accepts NULL; leaves NULL behind

// "KITCHEN_SCENE10_close_the_drawer" -> "close the drawer". The caller frees it.
char *loader_instruction_from_task(const char *task, struct proto_error *error);

#endif
