// model/encoder_pixels.c - images as their own pixels: no weights, one operation of the backend
// (model_patches). Frames travel to the device as bytes and become floats there.
#include "model/encoder_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pixels {
    struct model_vision base;
    struct model_backend *backend;
    struct model_vision_settings settings;
    uint8_t *frames, *mask;  // device [images_max, height, width, 3], [images_max]
    uint8_t *seen;           // host [images_max]: the mask of images that come without
};

bool model_pixels_shape(const struct model_vision_settings *s, uint32_t *token_count,
                        uint32_t *token_width, struct proto_error *error) {
    if (s->patch_grid < 1 || s->patch_grid > 64 || s->patch_size < 1 || s->patch_size > 64)
        return proto_fail(error, PROTO_USAGE,
                          "vision.patch_grid is %u and vision.patch_size %u, must be 1..64",
                          s->patch_grid, s->patch_size);
    *token_count = s->patch_grid * s->patch_grid;
    *token_width = 3 * s->patch_size * s->patch_size + MODEL_PATCH_PLACE;
    return true;
}

static void pixels_close(struct model_vision *vision) {
    struct pixels *pixels = (struct pixels *)vision;
    model_backend_free(pixels->backend, pixels->frames);
    model_backend_free(pixels->backend, pixels->mask);
    free(pixels->seen);
    free(pixels);
}

static bool pixels_encode(struct model_vision *vision, const struct model_images *images,
                          float *tokens, struct proto_error *error) {
    struct pixels *pixels = (struct pixels *)vision;
    const struct model_vision_settings *s = &pixels->settings;
    if (images->count < 1 || images->count > s->images_max)
        return proto_fail(error, PROTO_FAILED, "pixels: %u images, planned for 1..%u",
                          images->count, s->images_max);
    const size_t bytes = (size_t)images->count * s->height * s->width * 3;
    if (!model_backend_upload(pixels->backend, pixels->frames, images->pixels, bytes, error) ||
        !model_backend_upload(pixels->backend, pixels->mask,
                              images->mask ? images->mask : pixels->seen, images->count, error))
        return false;
    const struct model_patches patches = {
        .images = images->count,
        .height = s->height,
        .width = s->width,
        .pixels = pixels->frames,
        .mask = pixels->mask,
        .flip_rows = images->flip_rows,
        .grid = s->patch_grid,
        .patch = s->patch_size,
        .mean = {s->mean[0], s->mean[1], s->mean[2]},
        .deviation = s->deviation,
        .tokens = tokens,
    };
    return model_patches(pixels->backend, &patches, error);
}

static const struct model_vision_ops pixels_ops = {.close = pixels_close, .encode = pixels_encode};

bool model_pixels_open(struct model_backend *backend, const struct model_vision_settings *settings,
                       struct model_vision **vision, struct proto_error *error) {
    const struct model_vision_settings *s = settings;
    if (s->height < 1 || s->width < 1 || s->images_max < 1 || !(s->deviation > 0))
        return proto_fail(error, PROTO_FAILED,
                          "pixels: frames of %u x %u, %u at once, deviation %g", s->height,
                          s->width, s->images_max, (double)s->deviation);
    size_t bytes = 0;
    if (!proto_mul((size_t)s->height * s->width, 3, &bytes) ||
        !proto_mul(bytes, s->images_max, &bytes))
        return proto_fail(error, PROTO_EXHAUSTED, "%u frames of %u x %u fit no memory",
                          s->images_max, s->height, s->width);
    struct pixels *pixels = proto_alloc(sizeof *pixels, error);
    if (!pixels) return false;
    pixels->base.ops = &pixels_ops;
    pixels->backend = backend;
    pixels->settings = *s;
    pixels->settings.encoder = pixels->base.name;
    pixels->settings.path = "";
    snprintf(pixels->base.name, sizeof pixels->base.name, "pixels");
    struct model_vision *base = &pixels->base;
    bool done = model_pixels_shape(s, &base->token_count, &base->token_width, error) &&
                (pixels->frames = model_backend_alloc(backend, bytes, error)) != NULL &&
                (pixels->mask = model_backend_alloc(backend, s->images_max, error)) != NULL &&
                (pixels->seen = proto_alloc(s->images_max, error)) != NULL;
    if (!done) {
        pixels_close(base);
        return false;
    }
    memset(pixels->seen, 1, s->images_max);
    *vision = base;
    return true;
}
