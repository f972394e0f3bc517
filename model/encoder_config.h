// model/encoder_config.h - which encoders a network was trained with, as keys "vision" and
// "language" of a checkpoint's config.json: whoever runs the network opens the same ones.
//
// "vision": {"encoder": "pixels", "path": "", "patch_grid": 8, "patch_size": 8},
// "language": {"encoder": "hash", "path": "", "token_dim": 64}
#ifndef MODEL_ENCODER_CONFIG_H
#define MODEL_ENCODER_CONFIG_H

#include "model/encoder.h"

#include <jansson.h>

#define MODEL_ENCODER_NAME_MAX 32
#define MODEL_ENCODER_PATH_MAX 1024

struct model_encoder_config {
    char vision[MODEL_ENCODER_NAME_MAX], vision_path[MODEL_ENCODER_PATH_MAX];
    uint32_t patch_grid, patch_size;
    char language[MODEL_ENCODER_NAME_MAX], language_path[MODEL_ENCODER_PATH_MAX];
    uint32_t token_dim;
};

// Adds both keys to a config.json. PROTO_EXHAUSTED: no memory; PROTO_USAGE: a path is no UTF-8.
PROTO_MUST_CHECK bool model_encoder_config_store(const struct model_encoder_config *encoders,
                                                 json_t *config, struct proto_error *error);
// Reads them from <folder>/config.json. PROTO_DAMAGED, naming the key.
PROTO_MUST_CHECK bool model_encoder_config_read(const char *folder,
                                                struct model_encoder_config *encoders,
                                                struct proto_error *error);

#endif
