// tests/trainer/forecast_test.c - what is said of a run before it runs. Oracles: formulas of the
// network written out by hand, published sizes of RDT-1B, and the time-line read by eye.
#include "tests/check.h"
#include "tests/trainer/tiny_sizes.h"

#include "trainer/forecast.h"
#include "trainer/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define D 2048.0
#define N 67.0
#define IMAGE 4374.0

static const struct trainer_recipe rdt_1b = {
    .sizes = {.hidden = 2048,
              .depth = 28,
              .heads = 32,
              .chunk = 64,
              .width = 128,
              .lang_dim = 4096,
              .img_dim = 1152,
              .lang_rows = 1024,
              .img_history = 2,
              .img_cameras = 3,
              .img_patches = 729,
              .epsilon = 1e-6f},
    .ranks = 1,
    .rank_batch = 8,
    .accumulation = 1,
    .lang_length = 32,
    .precision = MODEL_BF16,
};

static struct trainer_forecast *forecast_of(const struct trainer_recipe *recipe) {
    struct proto_error error = {0};
    struct trainer_forecast *forecast = NULL;
    const bool done = trainer_forecast_new(recipe, &forecast, &error);
    CHECK_OK(done, error);
    return forecast;
}

// Products whose inputs have no gradient: their backward pass is one product, not two.
static double first_layers(double language) {
    return 2 * (IMAGE * 1152 * D + language * 4096 * D + 65 * 256 * D + 2 * 256 * D);
}
// Multiplications and additions of one sample's forward pass, layer by layer.
static double forward_by_hand(double language) {
    const double adaptors = 2 * D * D * (IMAGE + language + 65 * 2 + 2) + first_layers(language);
    const double keys_values = 2 * (IMAGE + language) * D * 14 * 2 * D;
    const double blocks = 28 * 2 * N * 8 * D * D;  // qkv 3, proj, q, cross_proj, fc1, fc2
    const double attention = 28 * 4 * N * N * D + 14 * 4 * N * (IMAGE + language) * D;
    const double head = 2 * 64 * (D * D + D * 128);
    return adaptors + keys_values + blocks + attention + head;
}

TEST(forecast_counts_what_a_step_of_rdt_1b_multiplies) {
    struct trainer_forecast *forecast = forecast_of(&rdt_1b);
    const double forward = 8 * forward_by_hand(32), first = 8 * first_layers(32);
    // sums of integers below 2^53: equal but for the order in which doubles were added
    CHECK(fabs(forecast->forward_flop / forward - 1) < 1e-12);
    // a GPU makes the probabilities again: one product of the five of an attention's backward pass
    const double again = 8 * 14 * 2 * N * D * (2 * N + IMAGE + 32);
    CHECK(fabs(forecast->backward_flop / (2 * forward - first + again) - 1) < 1e-12);
    // as derived for the design: 10.0 and 30.1 TFLOP less the first layers' inputs, 82 %
    CHECK(fabs(forecast->forward_flop - 10.0e12) < 0.1e12);
    CHECK(fabs(forecast->forward_flop + forecast->backward_flop - 30.1e12) < 0.3e12);
    CHECK(fabs(forecast->image_kv_flop / (forecast->forward_flop + forecast->backward_flop) -
               0.82) < 0.01);
    CHECK(fabs(forecast->language_kv_flop / (8 * 3 * 2 * 32 * D * 14 * 2 * D) - 1) < 1e-12);
    trainer_forecast_free(&forecast);
}

TEST(forecast_knows_the_longest_instruction) {
    struct trainer_recipe recipe = rdt_1b;
    recipe.lang_length = 1024;
    struct trainer_forecast *forecast = forecast_of(&recipe);
    CHECK(fabs(forecast->forward_flop / (8 * forward_by_hand(1024)) - 1) < 1e-12);
    CHECK(fabs(forecast->forward_flop - 12.2e12) < 0.1e12);
    trainer_forecast_free(&forecast);
}

TEST(forecast_has_the_published_size_and_the_states_of_adamw) {
    struct trainer_forecast *forecast = forecast_of(&rdt_1b);
    const struct trainer_forecast_memory *m = &forecast->memory;
    CHECK(fabs(forecast->parameters - 1.228e9) < 0.001e9);
    // weights, gradients, two moments, average: 20 bytes a parameter, 24.6 GB
    const double states = m->weights + m->gradients + m->moments + m->average;
    CHECK(states == 20 * forecast->parameters);
    CHECK(fabs(states - 24.6e9) < 0.05e9);
    CHECK(m->rounded == 2 * forecast->parameters);
    // adamw reads and writes four arrays and reads the gradient: 36 bytes; its norm reads 4
    CHECK(fabs(forecast->optimiser_bytes / (40 * forecast->parameters) - 1) < 1e-6);
    // keys and values of the images alone, f32, and the gradients of those of one block
    const double keys_values = 8 * IMAGE * 2 * D * 4;
    CHECK(m->activations > 15 * keys_values && m->activations < 30 * keys_values);
    // computed again, those of one block
    struct trainer_recipe again = rdt_1b;
    again.recompute = true;
    struct trainer_forecast *less = forecast_of(&again);
    CHECK(less->memory.activations < m->activations - 13 * keys_values);
    CHECK(less->forward_flop < forecast->forward_flop * 1.001);
    CHECK(less->backward_flop > 1.3 * forecast->backward_flop);
    trainer_forecast_free(&less);
    const double sum = states + m->rounded + m->activations + m->encoders + m->scratch + m->runtime;
    CHECK(fabs(m->total - sum) < 1);
    trainer_forecast_free(&forecast);
}

// A card on which only large products take time: 1 TFLOP/s.
static const struct trainer_card plain = {.large_flops = 1e12,
                                          .small_flops = 1e12,
                                          .f32_flops = 0.5e12,
                                          .bandwidth = 1e30,
                                          .host_bandwidth = 1e30,
                                          .link_bandwidth = 1e9};

TEST(forecast_time_is_the_products_over_the_rate) {
    struct trainer_recipe recipe = rdt_1b;
    struct trainer_forecast_time time;
    recipe.accumulation = 2;
    recipe.encoder_flop = 1e12;
    struct trainer_forecast *forecast = forecast_of(&recipe);
    trainer_forecast_time(forecast, &plain, &time);
    CHECK(fabs(time.forward_s / (2 * forecast->forward_flop / 1e12) - 1) < 1e-9);
    CHECK(fabs(time.backward_s / (2 * forecast->backward_flop / 1e12) - 1) < 1e-9);
    CHECK(fabs(time.encoders_s - 2 * 8 * 6) < 1e-9);  // six images a sample, 1 TFLOP each
    CHECK(time.link_s == 0);
    CHECK(time.exposed_s == 0);
    CHECK(fabs(time.step_s - time.encoders_s - time.forward_s - time.backward_s -
               time.optimiser_s) < 1e-9);
    trainer_forecast_free(&forecast);
    recipe.precision = MODEL_F32;
    forecast = forecast_of(&recipe);
    CHECK(forecast->memory.rounded == 0);
    trainer_forecast_time(forecast, &plain, &time);
    CHECK(fabs(time.forward_s / (2 * forecast->forward_flop / 0.5e12) - 1) < 1e-9);
    trainer_forecast_free(&forecast);
}

TEST(forecast_hides_gradients_behind_the_backward_pass_but_for_the_last) {
    struct trainer_recipe recipe = rdt_1b;
    struct trainer_card card = plain;
    struct trainer_forecast_time time;
    recipe.ranks = 2;
    struct trainer_forecast *forecast = forecast_of(&recipe);
    trainer_forecast_time(forecast, &card, &time);
    // two ranks each send all of it once: 4 bytes a parameter at 1 GB/s
    CHECK(fabs(time.link_s / (4 * forecast->parameters / 1e9) - 1) < 1e-9);
    // 20 s of backward pass hide most of 4.9 s; what is final at the very end cannot be hidden
    CHECK(time.exposed_s > 0);
    CHECK(time.exposed_s < 0.25 * time.link_s);
    // a wire that never ends is not hidden at all
    card.link_bandwidth = 1e6;
    trainer_forecast_time(forecast, &card, &time);
    CHECK(time.exposed_s > 0.99 * (time.link_s - time.backward_s));
    CHECK(time.exposed_s < time.link_s);
    trainer_forecast_free(&forecast);
}

TEST(forecast_fit_halves_the_micro_batch_until_it_fits) {
    struct proto_error error = {0};
    struct trainer_fit fit;
    char text[384];
    struct trainer_forecast *whole = forecast_of(&rdt_1b);
    CHECK_OK(trainer_forecast_fit(&rdt_1b, whole->memory.total, &fit, &error), error);
    CHECK(fit.fits);
    CHECK_INT(fit.rank_batch, 8);
    CHECK(fit.bytes == whole->memory.total);
    trainer_fit_text(&rdt_1b, &fit, whole->memory.total, text, sizeof text);
    CHECK(strstr(text, "fits as it is") != NULL);
    CHECK_OK(trainer_forecast_fit(&rdt_1b, whole->memory.total - 1, &fit, &error), error);
    CHECK(fit.fits);
    CHECK_INT(fit.rank_batch, 4);
    CHECK_INT(fit.accumulation, 2);
    trainer_fit_text(&rdt_1b, &fit, whole->memory.total - 1, text, sizeof text);
    CHECK(strstr(text, "train_batch_size = 4 with gradient_accumulation_steps = 2") != NULL);
    // recomputing holds the whole batch where half of it was the most
    CHECK_INT(fit.recompute_batch, 8);
    CHECK(fit.recompute_bytes < fit.bytes);
    CHECK(strstr(text, "activation_checkpointing = true, train_batch_size = 8 fits") != NULL);
    // the optimiser's states alone are more than 24 GB
    CHECK_OK(trainer_forecast_fit(&rdt_1b, 24e9, &fit, &error), error);
    CHECK(!fit.fits);
    trainer_fit_text(&rdt_1b, &fit, 24e9, text, sizeof text);
    CHECK_INT(fit.recompute_batch, 0);
    CHECK(strstr(text, "nothing fits") != NULL);
    // between the two: one sample at a time, but only recomputed
    CHECK_OK(trainer_forecast_fit(&rdt_1b, fit.bytes - 1, &fit, &error), error);
    CHECK(!fit.fits);
    CHECK(fit.recompute_batch > 0);
    trainer_fit_text(&rdt_1b, &fit, 30e9, text, sizeof text);
    CHECK(strstr(text, "activation_checkpointing = true") != NULL);
    trainer_forecast_free(&whole);
}

TEST(forecast_validation_that_is_larger_than_training_counts) {
    struct proto_error error = {0};
    struct trainer_recipe recipe = rdt_1b;
    struct trainer_fit fit;
    char text[256];
    recipe.validation_batch = 16;
    struct trainer_forecast *with = forecast_of(&recipe), *without = forecast_of(&rdt_1b);
    CHECK(with->memory.activations > 1.9 * without->memory.activations);
    CHECK_OK(trainer_forecast_fit(&recipe, without->memory.total, &fit, &error), error);
    CHECK(fit.fits);
    CHECK_INT(fit.rank_batch, 8);
    CHECK_INT(fit.validation_batch, 8);
    trainer_fit_text(&recipe, &fit, without->memory.total, text, sizeof text);
    CHECK(strstr(text, "sample_batch_size = 8") != NULL);
    trainer_forecast_free(&with);
    trainer_forecast_free(&without);
}

TEST(forecast_of_cpu_ranks_rounds_nothing_and_hides_nothing) {
    struct trainer_recipe recipe = {.sizes = tiny_sizes(4),
                                    .ranks = 2,
                                    .rank_batch = 16,
                                    .accumulation = 1,
                                    .lang_length = 8,
                                    .cpu = true};
    struct trainer_forecast_time time;
    struct trainer_forecast *forecast = forecast_of(&recipe);
    CHECK(forecast->memory.rounded == 0);
    CHECK(forecast->memory.runtime == 0);
    trainer_forecast_time(forecast, &plain, &time);
    CHECK(time.exposed_s == time.link_s);
    trainer_forecast_free(&forecast);
}

// The same step on a device (TESTS_DEVICE, a simulated GPU in ctest), and what its backend says
// that it holds. Partial sums and padded rows are the backend's own matter: 0.1 % of this network.
TEST(forecast_holds_what_a_device_holds) {
    struct proto_error error = {0};
    struct trainer_recipe recipe = {.sizes = tiny_sizes(2),
                                    .ranks = 1,
                                    .rank_batch = 2,
                                    .accumulation = 1,
                                    .lang_length = 8,
                                    .precision = MODEL_BF16};
    if (!getenv("TESTS_DEVICE")) skip();
    struct trainer_forecast *forecast = forecast_of(&recipe);
    const struct model_rdt_plan plan = {.batch_max = 2, .lang_max = 8, .training = true};
    const struct trainer_optimizer_settings adamw = {
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .ema = {.inv_gamma = 1, .max = 1}};
    const uint32_t timesteps[] = {3, 500};
    const float freq[] = {20, 20};
    const struct model_rdt_call call = {
        .batch = 2, .lang_length = 8, .timesteps = timesteps, .ctrl_freq = freq};
    struct model_backend *backend = NULL;
    struct model_rdt *rdt = NULL;
    struct trainer_optimizer *optimizer = NULL;
    struct model_backend_memory memory;
    double loss = 0;
    CHECK_OK(model_backend_open(getenv("TESTS_DEVICE"), 1, &backend, &error), error);
    CHECK_OK(model_backend_precision(backend, MODEL_BF16, &error), error);
    CHECK_OK(model_rdt_open(backend, &recipe.sizes, &plan, &rdt, &error), error);
    const size_t elements = model_rdt_parameters(rdt)->elements;
    float *host = proto_alloc_array(elements, sizeof *host, &error);
    float *weights = model_backend_alloc(backend, elements * sizeof *host, &error);
    float *gradients = model_backend_alloc(backend, elements * sizeof *host, &error);
    CHECK(host && weights && gradients);
    model_parameters_initialise(model_rdt_parameters(rdt), 1, host);
    CHECK_OK(model_backend_parameters(backend, weights, elements, &error), error);
    CHECK_OK(model_backend_upload(backend, weights, host, elements * sizeof *host, &error), error);
    CHECK_OK(model_backend_fill(backend, model_rdt_inputs(rdt)->lang_mask, 1, 16, &error), error);
    CHECK_OK(trainer_optimizer_open(backend, &adamw, elements, &optimizer, &error), error);
    CHECK_OK(model_rdt_train(rdt, &call, weights, gradients, 1, &loss, &error), error);
    CHECK_OK(model_backend_memory(backend, &memory, &error), error);
    // workspaces of the products' library and of uploads are among what is assumed
    size_t held = memory.held_bytes;
    for (size_t i = 0; i < memory.count; i++)
        if (strstr(memory.held[i].purpose, "workspace") ||
            strstr(memory.held[i].purpose, "uploads"))
            held -= memory.held[i].bytes;
    const double expected = forecast->memory.total - forecast->memory.runtime;
    if (!(fabs((double)held / expected - 1) < 0.01)) {
        for (size_t i = 0; i < memory.count; i++)
            print_error("%s %zu\n", memory.held[i].purpose, memory.held[i].bytes);
        fail_msg("%zu bytes are held, %.0f were forecast, of them %.0f scratch, %.0f activations",
                 held, expected, forecast->memory.scratch, forecast->memory.activations);
    }
    trainer_optimizer_close(&optimizer);
    model_backend_free(backend, weights);
    model_backend_free(backend, gradients);
    free(host);
    model_rdt_close(&rdt);
    model_backend_close(&backend);
    trainer_forecast_free(&forecast);
}

TEST(forecast_refuses_sizes_that_are_no_network) {
    struct proto_error error = {0};
    struct trainer_recipe recipe = rdt_1b;
    struct trainer_forecast *forecast = NULL;
    recipe.sizes.heads = 0;
    CHECK(!trainer_forecast_new(&recipe, &forecast, &error));
    CHECK(forecast == NULL);
    CHECK(error.status == PROTO_USAGE);
}

TEST_MAIN(UNIT(forecast_counts_what_a_step_of_rdt_1b_multiplies),
          UNIT(forecast_knows_the_longest_instruction),
          UNIT(forecast_has_the_published_size_and_the_states_of_adamw),
          UNIT(forecast_time_is_the_products_over_the_rate),
          UNIT(forecast_hides_gradients_behind_the_backward_pass_but_for_the_last),
          UNIT(forecast_fit_halves_the_micro_batch_until_it_fits),
          UNIT(forecast_validation_that_is_larger_than_training_counts),
          UNIT(forecast_of_cpu_ranks_rounds_nothing_and_hides_nothing),
          UNIT(forecast_holds_what_a_device_holds),
          UNIT(forecast_refuses_sizes_that_are_no_network))
