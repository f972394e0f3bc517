// loader/hdf5.h - the few calls of libhdf5 that the loader needs, with the library's own error
// stack folded into ours and everything that comes out of a file bounded.
//
// A file is a stranger's: links that leave it are not followed (external links, virtual and
// external storage would read other files), names and texts have limits.
#ifndef LOADER_HDF5_H
#define LOADER_HDF5_H

#include "proto/error.h"

#include <hdf5.h>
#include <stdint.h>

#define LOADER_TEXT_BYTES_MAX ((size_t)1 << 20)  // of an attribute that we read
#define LOADER_NAME_BYTES_MAX 256

// The library prints nothing from here on, in this thread. Cheap; call before the first use.
void loader_hdf5_quiet(void);

// proto_fail with PROTO_DAMAGED and, in brackets, what the library says went wrong: its outermost
// and its innermost reason. Call it right after the call that failed. Returns false.
bool loader_hdf5_fail(struct proto_error *error, const char *format, ...) PROTO_PRINTF(2, 3);

// Whether every part of the path "a/b/c" below `place` is a link that stays inside the file.
bool loader_hdf5_exists(hid_t place, const char *path);

// The names in a group, in the file's own order, each handed to `take`, which returns false to
// stop. Names over LOADER_NAME_BYTES_MAX are passed over.
struct loader_hdf5_names {
    void (*take)(void *context, const char *name);
    void *context;
};
PROTO_MUST_CHECK bool loader_hdf5_list(hid_t group, const struct loader_hdf5_names *names,
                                       struct proto_error *error);
// "a, b, c (12 in all)" of what a group holds, for messages; "nothing" when it is empty or cannot
// be read.
void loader_hdf5_describe(hid_t group, char *text, size_t size_bytes);

// A text attribute of an object, of fixed or variable length. *text is NULL when there is none; the
// caller frees it. PROTO_DAMAGED when it is of another type or larger than LOADER_TEXT_BYTES_MAX.
PROTO_MUST_CHECK bool loader_hdf5_text(hid_t object, const char *name, char **text,
                                       struct proto_error *error);
// An integer attribute; *found false when there is none.
PROTO_MUST_CHECK bool loader_hdf5_integer(hid_t object, const char *name, int64_t *value,
                                          bool *found, struct proto_error *error);

#endif
