// evaluator/png.c - libpng's simplified interface: it works on memory, never jumps and never
// prints. Sizes are checked before memory is taken, so a lying header costs nothing.
#include "evaluator/png.h"

#include "proto/files.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

static bool side_check(const char *name, uint32_t side, enum proto_status status,
                       struct proto_error *error) {
    return (side >= 1 && side <= EVALUATOR_PNG_SIDE_MAX) ||
           proto_fail(error, status, "the picture's %s is %u pixels, must be 1..%d", name, side,
                      EVALUATOR_PNG_SIDE_MAX);
}

bool evaluator_png_write(const char *path, const uint8_t *rgb, uint32_t height, uint32_t width,
                         bool bottom_first, struct proto_error *error) {
    if (!side_check("height", height, PROTO_USAGE, error) ||
        !side_check("width", width, PROTO_USAGE, error))
        return proto_error_where(error, "%s", path);
    png_image image = {
        .version = PNG_IMAGE_VERSION, .width = width, .height = height, .format = PNG_FORMAT_RGB};
    png_alloc_size_t size_bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
    const png_int_32 row_bytes = (png_int_32)(width * 3);
    void *file = proto_alloc(size_bytes, error);
    if (!file) return proto_error_where(error, "%s", path);
    bool done;
    if (png_image_write_to_memory(&image, file, &size_bytes, 0, rgb,
                                  bottom_first ? -row_bytes : row_bytes, NULL))
        done = proto_file_write(path, file, size_bytes, error);  // places itself
    else {
        proto_fail(error, PROTO_FAILED, "libpng: %s", image.message);
        done = proto_error_where(error, "%s", path);
    }
    png_image_free(&image);
    free(file);
    return done;
}

static bool decode(const char *file, size_t size_bytes, png_image *image, uint8_t **rgb,
                   struct proto_error *error) {
    const png_color black = {0, 0, 0};
    if (!png_image_begin_read_from_memory(image, file, size_bytes))
        return proto_fail(error, PROTO_DAMAGED, "libpng: %s", image->message);
    if (!side_check("height", image->height, PROTO_DAMAGED, error) ||
        !side_check("width", image->width, PROTO_DAMAGED, error))
        return false;
    image->format = PNG_FORMAT_RGB;
    uint8_t *pixels = proto_alloc(PNG_IMAGE_SIZE(*image), error);
    if (!pixels) return false;
    if (!png_image_finish_read(image, &black, pixels, 0, NULL)) {
        free(pixels);
        return proto_fail(error, PROTO_DAMAGED, "libpng: %s", image->message);
    }
    *rgb = pixels;
    return true;
}

bool evaluator_png_read(const char *path, uint8_t **rgb, uint32_t *height, uint32_t *width,
                        struct proto_error *error) {
    char *file = NULL;
    size_t size_bytes = 0;
    if (!proto_file_read(path, EVALUATOR_PNG_FILE_BYTES_MAX, PROTO_MISSING, &file, &size_bytes,
                         error))
        return false;
    png_image image = {.version = PNG_IMAGE_VERSION};
    const bool done = decode(file, size_bytes, &image, rgb, error);
    if (done) {
        *height = image.height;
        *width = image.width;
    } else {
        proto_error_where(error, "%s", path);
    }
    png_image_free(&image);
    free(file);
    return done;
}
