// evaluator/png.h - pictures as PNG files, 8 bits RGB.
#ifndef EVALUATOR_PNG_H
#define EVALUATOR_PNG_H

#include "proto/error.h"

#include <stdint.h>

#define EVALUATOR_PNG_SIDE_MAX 8192
#define EVALUATOR_PNG_FILE_BYTES_MAX (256u << 20)

// rgb u8 [height, width, 3]; `bottom_first` says how it lies. A file's top row comes first. The
// file is replaced as a whole or not at all.
PROTO_MUST_CHECK bool evaluator_png_write(const char *path, const uint8_t *rgb, uint32_t height,
                                          uint32_t width, bool bottom_first,
                                          struct proto_error *error);
// Top row first; other kinds of PNG are turned into RGB (transparent on black). PROTO_DAMAGED: not
// a whole PNG, or a side over EVALUATOR_PNG_SIDE_MAX. The caller frees *rgb.
PROTO_MUST_CHECK bool evaluator_png_read(const char *path, uint8_t **rgb, uint32_t *height,
                                         uint32_t *width, struct proto_error *error);

#endif
