// model/encoder.c - which encoders this build has, and the refusals of those it only knows by name.
#include "model/encoder_parts.h"

#include <string.h>

bool model_vision_shape(const struct model_vision_settings *settings, uint32_t *token_count,
                        uint32_t *token_width, struct proto_error *error) {
    if (strcmp(settings->encoder, "siglip") == 0)
        return proto_fail(error, PROTO_MISSING,
                          "vision.encoder = \"siglip\" is not in this build; \"pixels\" is and "
                          "needs no weights");
    if (strcmp(settings->encoder, "pixels") != 0)
        return proto_fail(error, PROTO_USAGE, "vision.encoder is \"%s\", must be pixels or siglip",
                          settings->encoder);
    return model_pixels_shape(settings, token_count, token_width, error);
}

bool model_vision_open(struct model_backend *backend, const struct model_vision_settings *settings,
                       struct model_vision **vision, struct proto_error *error) {
    uint32_t token_count = 0, token_width = 0;
    return model_vision_shape(settings, &token_count, &token_width, error) &&
           model_pixels_open(backend, settings, vision, error);
}

void model_vision_close(struct model_vision **vision) {
    if (!*vision) return;
    (*vision)->ops->close(*vision);
    *vision = NULL;
}

bool model_vision_encode(struct model_vision *vision, const struct model_images *images,
                         float *tokens, struct proto_error *error) {
    return vision->ops->encode(vision, images, tokens, error);
}

bool model_language_open(const char *encoder, const char *path, uint32_t token_width,
                         struct model_language **language, struct proto_error *error) {
    (void)path;  // of an encoder with weights
    if (strcmp(encoder, "t5") == 0)
        return proto_fail(error, PROTO_MISSING,
                          "language.encoder = \"t5\" is not in this build; \"hash\" is and needs "
                          "no weights");
    if (strcmp(encoder, "hash") != 0)
        return proto_fail(error, PROTO_USAGE, "language.encoder is \"%s\", must be hash or t5",
                          encoder);
    return model_hash_open(token_width, language, error);
}

void model_language_close(struct model_language **language) {
    if (!*language) return;
    (*language)->ops->close(*language);
    *language = NULL;
}

bool model_language_length(struct model_language *language, const char *text, uint32_t *rows,
                           struct proto_error *error) {
    return language->ops->length(language, text, rows, error);
}

bool model_language_encode(struct model_language *language, const char *text, uint32_t rows,
                           float *tokens, struct proto_error *error) {
    return language->ops->encode(language, text, rows, tokens, error);
}
