// loader/array.h - one HDF5 dataset of an episode: its form checked before a byte is read, its
// numbers read as doubles, its frames found out about.
#ifndef LOADER_ARRAY_H
#define LOADER_ARRAY_H

#include "loader/dataset.h"

#define LOADER_COLUMNS_MAX 4096
#define LOADER_IMAGE_SIDE_MAX 4096

struct loader_array {
    hid_t id;
    uint32_t rank;      // 1..4
    size_t shape[4];    // rows first
    bool real;          // f4 or f8; else an integer type
    bool byte;          // u1
    size_t chunk[4];    // of a chunked layout; chunk[0] is 0 for a contiguous one
    uint64_t offset;    // of a contiguous array in the file, bytes
    size_t items;       // product of shape
    size_t size_bytes;  // as stored in memory: items times the item's size
};

// Whether the episode has such a dataset.
bool loader_array_exists(const struct loader_dataset *dataset, const char *group, const char *name);

// Opens group/name: `where` of errors is "file: data/demo_3/actions". PROTO_DAMAGED: it is missing
// (says what is there), is no dataset, has no rows or more than LOADER_STEPS_MAX, was never
// written, lies outside the file, is spread over other files, is of a type we do not read.
PROTO_MUST_CHECK bool loader_array_open(const struct loader_dataset *dataset, const char *group,
                                        const char *name, struct loader_array *array,
                                        struct proto_error *error);
void loader_array_close(struct loader_array *array);

// Reads a [rows, columns] (or [rows]: one column) array of real numbers. `out` is rows * columns
// doubles. PROTO_DAMAGED: it is of another form, or a value is not finite, which names the row.
PROTO_MUST_CHECK bool loader_array_numbers(const struct loader_dataset *dataset, const char *group,
                                           const char *name, size_t rows, size_t columns,
                                           double *out, struct proto_error *error);

#endif
