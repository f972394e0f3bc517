// evaluator/pickle.h - the pickle of one float64 matrix, read by a machine that knows no way to
// call anything: three names are known, each only with the arguments that a numpy array has, and
// they build descriptions of our own. Everything else is refused by name and offset.
#ifndef EVALUATOR_PICKLE_H
#define EVALUATOR_PICKLE_H

#include "proto/error.h"

#include <stdint.h>

#define EVALUATOR_PICKLE_ROWS_MAX 100000
#define EVALUATOR_PICKLE_COLUMNS_MAX 4096

// Where the numbers lie: little-endian float64, C order, each byte a code point of UTF-8 text.
struct evaluator_pickle {
    uint32_t rows, columns;
    const uint8_t *text;
    size_t text_bytes;
};
PROTO_MUST_CHECK bool evaluator_pickle_read(const uint8_t *bytes, size_t size,
                                            struct evaluator_pickle *pickle,
                                            struct proto_error *error);

#endif
