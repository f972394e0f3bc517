// model/encoder.h - frozen encoders behind one interface: images and instructions in, condition
// tokens out. `pixels` and `hash` need no weights; siglip and t5 are known names that this build
// refuses with the reason.
//
//     struct model_vision *vision = NULL;
//     if (!model_vision_open(backend, &settings, &vision, error)) ...
//     vision->token_count, vision->token_width                      // -> img_patches, img_dim
//     if (!model_vision_encode(vision, &images, inputs->img_tokens, error)) ...
//     struct model_language *language = NULL;
//     if (!model_language_open("hash", "", 64, &language, error)) ...
//     if (!model_language_length(language, text, &rows, error)) ...  // end token included
//     if (!model_language_encode(language, text, rows, tokens, error)) ...
#ifndef MODEL_ENCODER_H
#define MODEL_ENCODER_H

#include "model/backend.h"

#define MODEL_BACKGROUND 127  // every channel of the image of an absent camera

struct model_vision_settings {
    const char *encoder;              // "pixels"; "siglip" is PROTO_MISSING
    const char *path;                 // siglip: Hugging Face folder
    uint32_t patch_grid, patch_size;  // pixels
    float mean[3], deviation;         // pixels: of training frames, 0..1 (proto_codec)
    uint32_t height, width;           // of the frames it will be given
    uint32_t images_max;              // of one encode: batch * history * cameras
};
// images u8, host: [count, height, width, 3] RGB; mask u8, host, nullable: [count], 0: absent, the
// network sees the background (encoded once, not per image, where encoding costs).
struct model_images {
    uint32_t count;
    const uint8_t *pixels, *mask;
    bool flip_rows;  // row 0 of the memory is the bottom of the picture (codec "opengl")
};
struct model_vision {
    const struct model_vision_ops *ops;
    uint32_t token_count;  // of one image
    uint32_t token_width;
    char name[32];
};
struct model_vision_ops {
    void (*close)(struct model_vision *vision);
    bool (*encode)(struct model_vision *vision, const struct model_images *images, float *tokens,
                   struct proto_error *error);
};
PROTO_MUST_CHECK bool model_vision_open(struct model_backend *backend,
                                        const struct model_vision_settings *settings,
                                        struct model_vision **vision, struct proto_error *error);
void model_vision_close(struct model_vision **vision);  // accepts NULL; leaves NULL behind
// What open would give, without opening: sizes of the network follow from it.
PROTO_MUST_CHECK bool model_vision_shape(const struct model_vision_settings *settings,
                                         uint32_t *token_count, uint32_t *token_width,
                                         struct proto_error *error);
// tokens: device [count, token_count, token_width]. Allocates nothing.
PROTO_MUST_CHECK bool model_vision_encode(struct model_vision *vision,
                                          const struct model_images *images, float *tokens,
                                          struct proto_error *error);

struct model_language {
    const struct model_language_ops *ops;
    uint32_t token_width;
    char name[32];
};
struct model_language_ops {
    void (*close)(struct model_language *language);
    bool (*length)(struct model_language *language, const char *text, uint32_t *rows,
                   struct proto_error *error);
    bool (*encode)(struct model_language *language, const char *text, uint32_t rows, float *tokens,
                   struct proto_error *error);
};
// encoder "hash"; "t5" is PROTO_MISSING. token_width: of a hash vector.
PROTO_MUST_CHECK bool model_language_open(const char *encoder, const char *path,
                                          uint32_t token_width, struct model_language **language,
                                          struct proto_error *error);
void model_language_close(struct model_language **language);
// Tokens of a text, the end token included: "" has 1.
PROTO_MUST_CHECK bool model_language_length(struct model_language *language, const char *text,
                                            uint32_t *rows, struct proto_error *error);
// tokens: host [rows, token_width], rows as model_language_length says.
PROTO_MUST_CHECK bool model_language_encode(struct model_language *language, const char *text,
                                            uint32_t rows, float *tokens,
                                            struct proto_error *error);

#endif
