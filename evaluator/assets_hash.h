// evaluator/assets_hash.h - one number for the files that scenes are made of, so that results tell
// on which LIBERO they were made.
#ifndef EVALUATOR_ASSETS_HASH_H
#define EVALUATOR_ASSETS_HASH_H

#include "evaluator/libero.h"

// Over relative names and sizes of all files below assets, robosuite, and the suite's BDDL and init
// files, and the content of those that are text (.xml, .bddl). Folders that are not there count as
// empty.
PROTO_MUST_CHECK bool evaluator_assets_hash(const struct evaluator_libero *libero,
                                            const char *suite, uint64_t *hash,
                                            struct proto_error *error);

#endif
