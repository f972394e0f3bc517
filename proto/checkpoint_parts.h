// proto/checkpoint_parts.h - what the three sources of proto/checkpoint share: names of folders
// and files. Not for others.
#ifndef PROTO_CHECKPOINT_PARTS_H
#define PROTO_CHECKPOINT_PARTS_H

#include "proto/error.h"

#include <stdint.h>

// What a folder checkpoint-<step><suffix> is.
enum checkpoint_kind {
    CHECKPOINT_WHOLE,     // no suffix
    CHECKPOINT_PARTIAL,   // .partial: being written, or replaced by an exchange of names
    CHECKPOINT_REMOVING,  // .removing: being removed
    CHECKPOINT_OLD,       // .old: making room for a rewrite where names cannot be exchanged
};
bool checkpoint_name_parse(const char *name, uint64_t *step, enum checkpoint_kind *kind);
// run/checkpoint-<step><suffix>; the caller frees.
PROTO_MUST_CHECK char *checkpoint_path(const char *run, uint64_t step, enum checkpoint_kind kind,
                                       struct proto_error *error);

// The files of a checkpoint besides trainer_state.json, in the order they are written.
enum checkpoint_form { CHECKPOINT_JSON, CHECKPOINT_TENSORS };
enum checkpoint_part {
    CHECKPOINT_CONFIG,
    CHECKPOINT_CODEC,
    CHECKPOINT_STATISTICS,
    CHECKPOINT_OPEN_LOOP,
    CHECKPOINT_LANGUAGE,
    CHECKPOINT_MODEL,
    CHECKPOINT_EMA,
    CHECKPOINT_OPTIMIZER,
    CHECKPOINT_PARTS,
};
struct checkpoint_file {
    const char *name;
    enum checkpoint_form form;
};
extern const struct checkpoint_file checkpoint_files[CHECKPOINT_PARTS];

#define CHECKPOINT_STATE_NAME "trainer_state.json"
#define CHECKPOINT_JSON_BYTES_MAX ((size_t)256 << 20)
#define CHECKPOINT_FORMAT 1  // of trainer_state.json

// A checkpoint-<step>.old whose rewrite was cut off takes its name back.
PROTO_MUST_CHECK bool checkpoint_recover(const char *run, struct proto_error *error);

#endif
