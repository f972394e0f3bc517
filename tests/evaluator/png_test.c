// tests/evaluator/png_test.c - pictures come back as they were written, and damaged files are
// refused by name. The oracle of the layout is the recorded upright picture's own top row.
#include "evaluator/png.h"

#include "proto/files.h"
#include "tests/check.h"

#include <unistd.h>

enum { HEIGHT = 5, WIDTH = 7, BYTES = HEIGHT * WIDTH * 3 };

static void fill(uint8_t rgb[static BYTES]) {
    for (int i = 0; i < BYTES; i++) rgb[i] = (uint8_t)(i * 37);
}

TEST(png_returns_every_pixel_top_row_first) {
    char folder[256], path[300];
    uint8_t rgb[BYTES], *read = NULL;
    uint32_t height = 0, width = 0;
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a.png", folder);
    fill(rgb);
    for (int bottom_first = 0; bottom_first < 2; bottom_first++) {
        TEST_CASE(bottom_first ? "bottom row first" : "top row first");
        CHECK_OK(evaluator_png_write(path, rgb, HEIGHT, WIDTH, bottom_first, &error), error);
        CHECK_OK(evaluator_png_read(path, &read, &height, &width, &error), error);
        CHECK_INT(height, HEIGHT);
        CHECK_INT(width, WIDTH);
        for (size_t row = 0; row < HEIGHT; row++) {
            const size_t from = bottom_first ? HEIGHT - 1 - row : row;
            CHECK(memcmp(read + row * WIDTH * 3, rgb + from * WIDTH * 3, WIDTH * 3) == 0);
        }
        free(read);
    }
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(png_refuses_sides_that_no_picture_has) {
    uint8_t rgb[BYTES];
    struct proto_error error = {0};
    fill(rgb);
    CHECK(!evaluator_png_write("/tmp/never.png", rgb, 0, WIDTH, false, &error));
    CHECK_TEXT(error.text, "the picture's height is 0 pixels, must be 1..8192");
    CHECK(!evaluator_png_write("/tmp/never.png", rgb, HEIGHT, 8193, false, &error));
    CHECK_TEXT(error.text, "the picture's width is 8193 pixels, must be 1..8192");
    CHECK(!proto_path_exists("/tmp/never.png"));
}

// Each byte of a file damaged in turn, and each shorter file: either refused, naming it, or a
// picture of the same size (a damaged byte may lie where PNG has no meaning).
TEST(png_survives_every_damaged_byte_and_every_short_file) {
    char folder[256], path[300], *bytes = NULL;
    uint8_t rgb[BYTES], *read = NULL;
    uint32_t height = 0, width = 0;
    size_t size_bytes = 0, refused = 0;
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a.png", folder);
    fill(rgb);
    CHECK_OK(evaluator_png_write(path, rgb, HEIGHT, WIDTH, false, &error), error);
    CHECK_OK(proto_file_read(path, 1 << 20, PROTO_MISSING, &bytes, &size_bytes, &error), error);
    for (size_t i = 0; i < 2 * size_bytes; i++) {
        const bool cut = i >= size_bytes;
        if (!cut) bytes[i] = (char)~bytes[i];
        FILE *file = fopen(path, "wb");
        CHECK(file);
        fwrite(bytes, 1, cut ? i - size_bytes : size_bytes, file);
        CHECK_INT(fclose(file), 0);
        if (!cut) bytes[i] = (char)~bytes[i];
        if (evaluator_png_read(path, &read, &height, &width, &error)) {
            CHECK(height * width == HEIGHT * WIDTH);
            free(read);
            continue;
        }
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_TEXT(error.where, path);
        refused++;
    }
    CHECK(refused > size_bytes);  // most of both kinds
    free(bytes);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

// A header that claims 4 thousand million pixels a side costs nothing.
TEST(png_bounds_what_a_header_claims) {
    static const uint8_t header[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0,    0,    0,
                                     13,   'I', 'H', 'D', 'R',  0,    0x01, 0,    0,    0,    0x01,
                                     0,    0,   8,   2,   0,    0,    0,    0xde, 0x2f, 0xe5, 0x40};
    char folder[256], path[300];
    uint8_t *read = NULL;
    uint32_t height = 0, width = 0;
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a.png", folder);
    CHECK_OK(proto_file_write(path, header, sizeof header, &error), error);
    CHECK(!evaluator_png_read(path, &read, &height, &width, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    snprintf(path, sizeof path, "%s/none.png", folder);
    CHECK(!evaluator_png_read(path, &read, &height, &width, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(png_returns_every_pixel_top_row_first), UNIT(png_refuses_sides_that_no_picture_has),
          UNIT(png_survives_every_damaged_byte_and_every_short_file),
          UNIT(png_bounds_what_a_header_claims))
