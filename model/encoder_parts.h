// model/encoder_parts.h - the encoders behind encoder.h, each in its own file.
#ifndef MODEL_ENCODER_PARTS_H
#define MODEL_ENCODER_PARTS_H

#include "model/encoder.h"

PROTO_MUST_CHECK bool model_pixels_shape(const struct model_vision_settings *settings,
                                         uint32_t *token_count, uint32_t *token_width,
                                         struct proto_error *error);
PROTO_MUST_CHECK bool model_pixels_open(struct model_backend *backend,
                                        const struct model_vision_settings *settings,
                                        struct model_vision **vision, struct proto_error *error);
PROTO_MUST_CHECK bool model_hash_open(uint32_t token_width, struct model_language **language,
                                      struct proto_error *error);

#endif
