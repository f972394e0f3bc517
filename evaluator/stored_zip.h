// evaluator/stored_zip.h - one member of a zip archive in memory whose members are stored, not
// compressed. Enough for what torch.save writes, which is how LIBERO keeps its start states.
#ifndef EVALUATOR_STORED_ZIP_H
#define EVALUATOR_STORED_ZIP_H

#include "proto/error.h"

#include <stdint.h>

struct evaluator_member {
    const uint8_t *data;  // borrowed from the archive
    size_t size;
};
// The one member whose name is `name` in any one folder ("archive/data.pkl" for "data.pkl").
// PROTO_DAMAGED: not an archive, no or several such members, compressed, encrypted, zip64 sizes,
// sizes that do not fit the file or each other, another CRC than stated.
PROTO_MUST_CHECK bool evaluator_stored_zip_find(const uint8_t *bytes, size_t size, const char *name,
                                                struct evaluator_member *member,
                                                struct proto_error *error);

#endif
