// tests/model/rdt_shared_test.c - conditions that are the same in every sample, computed once.
// Oracle: the network that is told nothing and computes them for every sample.
//
// Tokens of the other samples are NaN where they are shared, so that whoever reads them is seen.
// Predictions come of the same sums, but a product of fewer rows may take them in another order;
// gradients of weights add samples up before the product instead of in it. Both are a few roundings
// (6e-8) of the largest number of the tensor: up to 7 of them were seen for predictions and 15 for
// gradients.
#include "tests/model/network.h"

#define TOLERANCE_VALUE 1e-6
#define TOLERANCE_GRADIENT 4e-6

static const struct model_rdt_sizes six_images = {.hidden = 20,
                                                  .depth = 4,
                                                  .heads = 2,
                                                  .chunk = 5,
                                                  .width = 7,
                                                  .lang_dim = 9,
                                                  .img_dim = 11,
                                                  .lang_rows = 6,
                                                  .img_history = 2,
                                                  .img_cameras = 3,
                                                  .img_patches = 5,
                                                  .epsilon = MODEL_EPSILON};

struct pattern {
    const char *name;
    bool lang;
    uint8_t images[6];
};
static const struct pattern patterns[] = {
    {"the last camera", false, {0, 0, 1, 0, 0, 1}},
    {"the first camera and the instruction", true, {1, 0, 0, 1, 0, 0}},
    {"a camera of one moment", false, {0, 1, 0, 0, 0, 0}},
    {"every image: blind", false, {1, 1, 1, 1, 1, 1}},
    {"the instruction", true, {0}},
    {"nothing", false, {0}},
};

// The first sample's tokens in every sample (a NaN instead when `poison`) where they are shared.
static void share(struct fixture *f, const struct pattern *pattern, bool poison) {
    const struct model_rdt_inputs *in = model_rdt_inputs(f->rdt);
    const struct model_rdt_sizes *s = &six_images;
    const size_t image = (size_t)s->img_patches * s->img_dim, sample = 6 * image;
    const size_t text = 5u * s->lang_dim;
    float *images = device_host(4 * sample, 6), *lang = device_host(4 * text, 5);
    struct proto_error error = {0};
    for (size_t b = 1; b < 4; b++) {
        for (size_t i = 0; i < sample; i++)
            if (pattern->images[i / image])
                images[b * sample + i] = poison ? (float)NAN : images[i];
        for (size_t i = 0; i < text && pattern->lang; i++)
            lang[b * text + i] = poison ? (float)NAN : lang[i];
    }
    CHECK_OK(model_backend_upload(f->backend, in->img_tokens, images, 4 * sample * 4, &error),
             error);
    CHECK_OK(model_backend_upload(f->backend, in->lang_tokens, lang, 4 * text * 4, &error), error);
    free(images);
    free(lang);
}

struct outcome {
    double loss;
    float *prediction, *gradients;
    size_t elements, predicted;
};
static struct outcome outcome_of(const struct pattern *pattern, bool told, bool recompute,
                                 uint32_t threads) {
    struct fixture f;
    struct outcome outcome = {.predicted = 4u * six_images.chunk * six_images.width};
    fixture_open_plan(&f, &six_images, threads, true, recompute);
    share(&f, pattern, told);
    f.call.lang_shared = told && pattern->lang;
    f.call.img_shared = told ? pattern->images : NULL;
    outcome.loss = loss_of(&f);
    outcome.elements = f.table->elements;
    outcome.prediction = device_back(f.backend, model_rdt_prediction(f.rdt), outcome.predicted);
    outcome.gradients = device_back(f.backend, f.gradients, outcome.elements);
    fixture_close(&f);
    return outcome;
}
static void outcome_free(struct outcome *outcome) {
    free(outcome->prediction);
    free(outcome->gradients);
}

// The largest difference, in parts of the largest number.
static double apart(const float *a, const float *b, size_t n) {
    double most = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double off = fabs((double)a[i] - (double)b[i]);
        if (!(off <= most)) most = isnan(off) ? (double)INFINITY : off;
        largest = fmax(largest, fabs((double)b[i]));
    }
    return largest > 0 ? most / largest : most;
}

TEST(shared_conditions_give_what_equal_ones_give) {
    struct model_parameters *table = NULL;
    struct proto_error error = {0};
    CHECK_OK(model_parameters_new(&six_images, &table, &error), error);
    // a simulated device is slow: there the patterns with everything in them
    for (size_t k = device_named() ? 1 : 0; k < (device_named() ? 2 : PROTO_COUNT(patterns)); k++) {
        TEST_CASE(patterns[k].name);
        struct outcome plain = outcome_of(&patterns[k], false, false, 1);
        struct outcome shared = outcome_of(&patterns[k], true, false, 1);
        const double value = apart(shared.prediction, plain.prediction, plain.predicted);
        double worst = 0;
        for (size_t i = 0; i < table->count; i++) {
            const struct model_parameter *p = &table->items[i];
            worst = fmax(worst, apart(shared.gradients + p->offset, plain.gradients + p->offset,
                                      p->elements));
        }
        printf("%s: loss %.9g, predictions %.1e apart, gradients %.1e\n", patterns[k].name,
               shared.loss, value, worst);
        CHECK_NEAR(shared.loss, plain.loss, TOLERANCE_VALUE * plain.loss);
        CHECK(value <= TOLERANCE_VALUE && worst <= TOLERANCE_GRADIENT);
        outcome_free(&plain);
        outcome_free(&shared);
    }
    model_parameters_free(&table);
}

// Twice the same, on one and two threads, and the same again when the backward pass computes again.
TEST(shared_conditions_give_the_same_bits_every_time) {
    for (uint32_t threads = 1; threads <= (device_named() ? 1 : 2); threads++)
        for (size_t k = device_named() ? 1 : 0; k < 2; k++) {
            struct outcome first = outcome_of(&patterns[k], true, false, threads);
            for (int recompute = 0; recompute < 2; recompute++) {
                struct outcome again = outcome_of(&patterns[k], true, recompute, threads);
                CHECK(first.loss == again.loss);
                CHECK(memcmp(first.gradients, again.gradients, first.elements * sizeof(float)) ==
                      0);
                outcome_free(&again);
            }
            outcome_free(&first);
        }
}

// A batch of one shares with nobody: bits of the plain call.
TEST(a_batch_of_one_is_the_plain_one) {
    struct fixture f;
    fixture_open(&f, &six_images, 1, true);
    f.call.batch = 1;
    const double plain = loss_of(&f);
    f.call.lang_shared = true;
    f.call.img_shared = patterns[0].images;
    CHECK(loss_of(&f) == plain);
    fixture_close(&f);
}

TEST_MAIN(UNIT(shared_conditions_give_what_equal_ones_give),
          UNIT(shared_conditions_give_the_same_bits_every_time),
          UNIT(a_batch_of_one_is_the_plain_one))
