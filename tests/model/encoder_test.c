// tests/model/encoder_test.c - images and instructions to tokens: against a plain double version of
// padding, area resize and normalisation (sums of a few pixel values of at most 255, divided by 255
// and a deviation of 0.25: 1e-5), and against what the words promise.
#include "tests/model/device.h"

#include "model/encoder.h"

static const struct model_vision_settings plain = {.encoder = "pixels",
                                                   .path = "",
                                                   .patch_grid = 2,
                                                   .patch_size = 3,
                                                   .mean = {0.5f, 0.4f, 0.3f},
                                                   .deviation = 0.25f,
                                                   .height = 4,
                                                   .width = 7,
                                                   .images_max = 3};

static double pixel(const uint8_t *image, const struct model_vision_settings *s, bool flip,
                    size_t y, size_t x, size_t c) {
    const size_t side = s->height > s->width ? s->height : s->width;
    const size_t top = (side - s->height) / 2, left = (side - s->width) / 2;
    if (y < top || y >= top + s->height || x < left || x >= left + s->width) return 127;
    const size_t row = flip ? s->height - 1 - (y - top) : y - top;
    return image[(row * s->width + x - left) * 3 + c];
}
static double overlap(size_t i, size_t out, size_t j, size_t side) {
    const double ratio = (double)side / (double)out;
    const double low = fmax((double)i * ratio, (double)j);
    const double high = fmin((double)(i + 1) * ratio, (double)j + 1);
    return fmax(0, high - low) / ratio;
}
static double resized(const uint8_t *image, const struct model_vision_settings *s, bool flip,
                      size_t y, size_t x, size_t c) {
    const size_t side = s->height > s->width ? s->height : s->width;
    const size_t out = (size_t)s->patch_grid * s->patch_size;
    double sum = 0;
    for (size_t r = 0; r < side; r++)
        for (size_t k = 0; k < side; k++)
            sum += overlap(y, out, r, side) * overlap(x, out, k, side) *
                   pixel(image, s, flip, r, k, c);
    return sum;
}

static void try_frames(struct model_vision_settings s, uint32_t threads, bool flip) {
    struct proto_error error = {0};
    struct model_backend *backend = device_open(NULL, threads);
    struct model_vision *vision = NULL;
    CHECK_OK(model_vision_open(backend, &s, &vision, &error), error);
    const size_t patch = s.patch_size, grid = s.patch_grid;
    CHECK_INT(vision->token_count, grid * grid);
    CHECK_INT(vision->token_width, 3 * patch * patch + 18);
    const size_t bytes = (size_t)s.height * s.width * 3, token = vision->token_width;
    const size_t count = s.images_max * grid * grid * token;
    uint8_t *frames = malloc(s.images_max * bytes), mask[8] = {1, 0, 1, 1, 1, 1, 1, 1};
    CHECK(frames);
    uint32_t seed = 1;
    for (size_t i = 0; i < s.images_max * bytes; i++)
        frames[i] = (uint8_t)(127.5f * (device_random(&seed) + 1));
    float *device = device_floats(backend, NULL, count);
    const struct model_images images = {s.images_max, frames, mask, flip};
    CHECK_OK(model_vision_encode(vision, &images, device, &error), error);
    float *tokens = device_back(backend, device, count);
    for (size_t n = 0; n < s.images_max; n++)
        for (size_t y = 0; y < grid * patch; y++)
            for (size_t x = 0; x < grid * patch; x++)
                for (size_t c = 0; c < 3; c++) {
                    const double value =
                        mask[n] ? resized(frames + n * bytes, &s, flip, y, x, c) : 127;
                    const float *to =
                        tokens + (n * grid * grid + y / patch * grid + x / patch) * token;
                    CHECK_NEAR(to[(y % patch * patch + x % patch) * 3 + c],
                               (value / 255 - (double)s.mean[c]) / 0.25, 1e-5);
                }
    // the place of the last patch of the first image
    const double v = 1 - 1 / (double)grid;
    const float *place = tokens + (grid * grid - 1) * token + 3 * patch * patch;
    for (int half = 0; half < 2; half++) {
        CHECK_NEAR(place[half * 9], v, 1e-7);
        for (int f = 0; f < 4; f++) {
            CHECK_NEAR(place[half * 9 + 1 + 2 * f], sin(M_PI * pow(2, f - 1) * v), 1e-6);
            CHECK_NEAR(place[half * 9 + 2 + 2 * f], cos(M_PI * pow(2, f - 1) * v), 1e-6);
        }
    }
    free(tokens);
    free(frames);
    model_backend_free(backend, device);
    model_vision_close(&vision);
    model_backend_close(&backend);
}

TEST(pixels_are_padded_resized_by_area_and_normalised) {
    struct model_vision_settings s = plain;
    try_frames(s, 1, false);
    try_frames(s, 2, true);
    s.height = 9, s.width = 4;  // tall, odd difference
    try_frames(s, 2, false);
    s.height = 12, s.width = 12;  // whole factor
    try_frames(s, 1, true);
    s.height = 6, s.width = 6;  // same size
    try_frames(s, 1, false);
    s.height = 2, s.width = 3;  // enlarged
    try_frames(s, 1, false);
}

TEST(encoders_without_weights_here_are_refused_by_name) {
    struct proto_error error = {0};
    struct model_vision_settings s = plain;
    struct model_vision *vision = NULL;
    struct model_language *language = NULL;
    struct model_backend *backend = device_open(NULL, 1);
    s.encoder = "siglip";
    CHECK(!model_vision_open(backend, &s, &vision, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "\"pixels\"");
    s.encoder = "dino";
    CHECK(!model_vision_open(backend, &s, &vision, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK(!model_language_open("t5", "", 8, &language, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "\"hash\"");
    CHECK(!vision && !language);
    s.encoder = "pixels";
    s.images_max = 2;
    CHECK_OK(model_vision_open(backend, &s, &vision, &error), error);
    const struct model_images many = {.count = 3};
    CHECK(!model_vision_encode(vision, &many, NULL, &error));
    CHECK_HAS(error.text, "planned for 1..2");
    model_vision_close(&vision);
    model_backend_close(&backend);
}

TEST(hash_gives_each_word_one_vector) {
    enum { W = 512 };
    struct proto_error error = {0};
    struct model_language *language = NULL;
    CHECK_OK(model_language_open("hash", "", W, &language, &error), error);
    uint32_t rows = 0;
    static float a[5 * W], b[5 * W], end[W];
    CHECK_OK(model_language_length(language, "put the cup, PUT!", &rows, &error), error);
    CHECK_INT(rows, 5);
    CHECK_OK(model_language_encode(language, "put the cup, PUT!", 5, a, &error), error);
    CHECK_OK(model_language_length(language, "", &rows, &error), error);
    CHECK_INT(rows, 1);
    CHECK_OK(model_language_encode(language, "", 1, end, &error), error);
    CHECK_OK(model_language_encode(language, " the  put\tcup put.", 5, b, &error), error);
    CHECK(memcmp(a, a + 3 * W, sizeof end) == 0);    // case and punctuation do not matter
    CHECK(memcmp(a, b + W, sizeof end) == 0);        // nor does the place
    CHECK(memcmp(a + 4 * W, end, sizeof end) == 0);  // all texts end alike
    double square = 0, dot = 0;
    for (size_t i = 0; i < W; i++) {
        square += (double)a[i] * a[i] / W;
        dot += (double)a[i] * a[W + i] / W;
    }
    // standard deviations of both over 512 normal numbers: 0.06 and 0.04; five of them
    CHECK_NEAR(square, 1, 0.31);
    CHECK_NEAR(dot, 0, 0.22);
    CHECK(!model_language_encode(language, "two words", 2, b, &error));
    CHECK_HAS(error.text, "2 rows for a text of 3 tokens");
    model_language_close(&language);
}

TEST_MAIN(UNIT(pixels_are_padded_resized_by_area_and_normalised),
          UNIT(encoders_without_weights_here_are_refused_by_name),
          UNIT(hash_gives_each_word_one_vector))
