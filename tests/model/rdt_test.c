// tests/model/rdt_test.c - the network as a whole: gradients against finite differences at odd
// sizes, no allocation inside a step, the same bits every time, and what it refuses. Values against
// the official network are rdt_golden's.
#include "tests/model/network.h"

#include "model/sampler.h"

#include <malloc.h>

static double slope_of(struct fixture *f, size_t at, float h) {
    struct proto_error error = {0};
    const float was = f->host[at], moves[2] = {was + h, was - h};
    double losses[2];
    for (int m = 0; m < 2; m++) {
        CHECK_OK(model_backend_upload(f->backend, f->weights + at, &moves[m], 4, &error), error);
        losses[m] = loss_of(f);
    }
    CHECK_OK(model_backend_upload(f->backend, f->weights + at, &was, 4, &error), error);
    return (losses[0] - losses[1]) / ((double)moves[0] - (double)moves[1]);
}

// Central differences with steps h and h / 2, extrapolated, err by h^4; fp32's rounding of the
// predictions moves a loss of about 1 (summed in double) by some 2e-7, a slope by 2e-7 / h = 2e-5.
TEST(gradients_are_slopes_of_the_loss_at_odd_sizes) {
    for (int stat = MODEL_VARIANCE; stat <= MODEL_MEAN_SQUARE; stat++) {
        struct fixture f;
        struct model_rdt_sizes sizes = odd;
        sizes.norm_stat = (enum model_norm_stat)stat;
        fixture_open(&f, &sizes, 2, true);
        (void)loss_of(&f);
        float *g = device_back(f.backend, f.gradients, f.table->elements);
        // a simulated device is slow: there every eighth parameter, others with the other statistic
        for (size_t i = device_named() ? 4u * (size_t)stat : 0; i < f.table->count;
             i += device_named() ? 8 : 1) {
            const struct model_parameter *p = &f.table->items[i];
            const size_t at = p->offset + (i * 7) % p->elements;
            const double wide = slope_of(&f, at, 2e-2f), narrow = slope_of(&f, at, 1e-2f);
            const double slope = (4 * narrow - wide) / 3;
            TEST_CASE(p->name);
            CHECK_NEAR(g[at], slope, 1e-4 + 1e-3 * fabs(slope));
        }
        free(g);
        fixture_close(&f);
    }
}

TEST(gradients_add_up_and_scale) {
    struct proto_error error = {0};
    struct fixture f;
    fixture_open(&f, &odd, 1, true);
    (void)loss_of(&f);
    float *once = device_back(f.backend, f.gradients, f.table->elements);
    CHECK_OK(model_rdt_train(f.rdt, &f.call, f.weights, f.gradients, 0.5f, NULL, &error), error);
    float *more = device_back(f.backend, f.gradients, f.table->elements);
    for (size_t i = 0; i < f.table->elements; i++)
        CHECK_NEAR(more[i], 1.5 * once[i], 3e-6 * fmax(1e-2, fabs((double)once[i])));
    free(once);
    free(more);
    fixture_close(&f);
}

TEST(a_step_gives_the_same_bits_every_time) {
    for (uint32_t threads = 1; threads <= 2; threads++) {
        float *results[2];
        double losses[2];
        size_t n = 0;
        for (int round = 0; round < 2; round++) {
            struct fixture f;
            fixture_open(&f, &odd, threads, true);
            losses[round] = loss_of(&f);
            n = f.table->elements;
            results[round] = device_back(f.backend, f.gradients, n);
            fixture_close(&f);
        }
        CHECK(losses[0] == losses[1]);
        CHECK(memcmp(results[0], results[1], n * sizeof(float)) == 0);
        free(results[0]);
        free(results[1]);
    }
}

// Bytes in use and arena bytes of the allocator do not move over twenty steps, and neither does
// sampling: all memory was planned.
TEST(a_step_allocates_nothing) {
    struct proto_error error = {0};
    if (device_named()) skip();  // a simulated device's own account is the host's
    struct fixture f;
    fixture_open(&f, &odd, 2, true);
    struct model_sampler *sampler = NULL;
    CHECK_OK(model_sampler_open(f.rdt, 5, &sampler, &error), error);
    const size_t n = 4u * odd.chunk * odd.width;
    float *noise = device_host(n, 9), *action = device_host(n, 10);
    (void)loss_of(&f);
    CHECK_OK(model_sampler_run(sampler, &f.call, f.weights, noise, action, &error), error);
    const struct mallinfo2 before = mallinfo2();
    for (int i = 0; i < 20; i++) {
        (void)loss_of(&f);
        CHECK_OK(model_sampler_run(sampler, &f.call, f.weights, noise, action, &error), error);
    }
    const struct mallinfo2 after = mallinfo2();
    CHECK_INT(after.uordblks, before.uordblks);
    CHECK_INT(after.arena, before.arena);
    CHECK_INT(after.hblkhd, before.hblkhd);
    free(noise);
    free(action);
    model_sampler_close(&sampler);
    fixture_close(&f);
}

// What a call tells as final, copied at that very moment.
struct told {
    struct fixture *fixture;
    float *copy;     // [elements]
    uint8_t *times;  // [elements] how often each was named
    size_t calls;
};
static bool told_take(void *context, size_t first, size_t count, struct proto_error *error) {
    struct told *told = context;
    told->calls++;
    CHECK(count > 0 && first + count <= told->fixture->table->elements);
    for (size_t i = first; i < first + count; i++) told->times[i]++;
    return model_backend_download(told->fixture->backend, told->copy + first,
                                  told->fixture->gradients + first, count * sizeof(float), error);
}

// Oracle: the gradients when the call is over. Every one was named once, and had its last bits
// then.
TEST(gradients_told_as_final_are_final) {
    struct model_rdt_sizes sizes = odd;
    for (sizes.depth = 1; sizes.depth <= 3; sizes.depth++) {
        struct fixture f;
        fixture_open(&f, &sizes, 1, true);
        const size_t n = f.table->elements;
        struct told told = {&f, device_host(n, 1), calloc(n, 1), 0};
        const struct model_rdt_ready ready = {&told, told_take};
        (void)loss_of(&f);  // gradients of an earlier micro step are there already
        f.call.ready = &ready;
        (void)loss_of(&f);
        float *g = device_back(f.backend, f.gradients, n);
        CHECK(memcmp(g, told.copy, n * sizeof *g) == 0);
        for (size_t i = 0; i < n; i++) CHECK_INT(told.times[i], 1);
        CHECK(told.calls >= sizes.depth + 3);  // or nothing would leave early
        free(g);
        free(told.copy);
        free(told.times);
        fixture_close(&f);
    }
}

// The same operations in the same order: equal bits. Sizes: odd and even numbers of blocks, so that
// the last reads language or images, and one block alone.
TEST(gradients_are_the_same_bits_when_the_backward_pass_computes_again) {
    struct proto_error error = {0};
    // a simulated device is slow: there one number of blocks of each kind, at odd sizes
    for (int turn = device_named() ? 2 : 0; turn < (device_named() ? 6 : 8);
         turn += device_named() ? 2 : 1) {
        struct model_rdt_sizes sizes = odd;
        sizes.depth = 1 + (uint32_t)turn / 2;
        if (turn % 2) sizes.hidden = 64;
        const size_t n = 4u * odd.chunk * odd.width;
        float *gradients[2], *actions[2], *noise = device_host(n, 9);
        double losses[2];
        size_t elements = 0;
        for (int recompute = 0; recompute < 2; recompute++) {
            struct fixture f;
            struct model_sampler *sampler = NULL;
            fixture_open_plan(&f, &sizes, 1 + (uint32_t)turn / 2 % 2, true, recompute);
            elements = f.table->elements;
            struct told told = {&f, device_host(elements, 1), calloc(elements, 1), 0};
            const struct model_rdt_ready ready = {&told, told_take};
            f.call.ready = &ready;
            losses[recompute] = loss_of(&f);
            gradients[recompute] = device_back(f.backend, f.gradients, elements);
            CHECK(memcmp(gradients[recompute], told.copy, elements * sizeof(float)) == 0);
            actions[recompute] = device_host(n, 1);
            CHECK_OK(model_sampler_open(f.rdt, 3, &sampler, &error), error);
            CHECK_OK(
                model_sampler_run(sampler, &f.call, f.weights, noise, actions[recompute], &error),
                error);
            model_sampler_close(&sampler);
            free(told.copy);
            free(told.times);
            fixture_close(&f);
        }
        CHECK(losses[0] == losses[1] && isfinite(losses[0]));
        CHECK(memcmp(gradients[0], gradients[1], elements * sizeof(float)) == 0);
        CHECK(memcmp(actions[0], actions[1], n * sizeof(float)) == 0);
        for (int i = 0; i < 2; i++) {
            free(gradients[i]);
            free(actions[i]);
        }
        free(noise);
    }
}

// What is kept of a block falls from 13 or more arrays of its stream to one, and keys and values of
// all image tokens from every second block's to one block's.
TEST(computing_again_keeps_less) {
    struct proto_error error = {0};
    const struct {
        const char *name;
        struct model_rdt_sizes sizes;
        double most;  // of what is kept otherwise
    } rows[] = {
        {"rdt-tiny", {128, 4, 4, 8, 11, 64, 210, 32, 1, 2, 64, MODEL_VARIANCE, MODEL_EPSILON}, 0.8},
        {"rdt-1b",
         {2048, 28, 32, 64, 128, 4096, 1152, 1024, 2, 3, 729, MODEL_VARIANCE, MODEL_EPSILON},
         0.3},
    };
    struct model_backend *backend = device_open(NULL, 1);
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        size_t bytes[2];
        for (int recompute = 0; recompute < 2; recompute++) {
            const struct model_rdt_plan plan = {
                .batch_max = 8, .lang_max = 32, .training = true, .recompute = recompute};
            CHECK_OK(model_rdt_memory(backend, &rows[i].sizes, &plan, &bytes[recompute], &error),
                     error);
        }
        printf("%s, batch 8: activations %.1f MiB, computed again %.1f MiB\n", rows[i].name,
               (double)bytes[0] / 1048576, (double)bytes[1] / 1048576);
        CHECK((double)bytes[1] < rows[i].most * (double)bytes[0]);
    }
    model_backend_close(&backend);
}

// A network opened for inference keeps nothing for a backward pass and predicts the same.
TEST(prediction_is_the_same_with_and_without_training_memory) {
    struct proto_error error = {0};
    const size_t n = 4u * odd.chunk * odd.width;
    float *noise = device_host(n, 9), *actions[2];
    size_t bytes[2];
    for (int training = 0; training < 2; training++) {
        struct fixture f;
        struct model_sampler *sampler = NULL;
        fixture_open(&f, &odd, 2, training);
        CHECK_OK(model_sampler_open(f.rdt, 3, &sampler, &error), error);
        actions[training] = device_host(n, 1);
        CHECK_OK(model_sampler_run(sampler, &f.call, f.weights, noise, actions[training], &error),
                 error);
        const struct model_rdt_plan plan = {.batch_max = 4, .lang_max = 5, .training = training};
        CHECK_OK(model_rdt_memory(f.backend, &odd, &plan, &bytes[training], &error), error);
        model_sampler_close(&sampler);
        fixture_close(&f);
    }
    CHECK(memcmp(actions[0], actions[1], n * sizeof(float)) == 0);
    CHECK(bytes[0] < bytes[1]);
    free(noise);
    free(actions[0]);
    free(actions[1]);
}

// State and action masks are two inputs: each alone changes the prediction.
TEST(state_and_action_masks_are_separate_inputs) {
    struct proto_error error = {0};
    struct fixture f;
    fixture_open(&f, &odd, 1, true);
    const struct model_rdt_inputs *in = model_rdt_inputs(f.rdt);
    const double before = loss_of(&f);
    upload_random(&f, in->state_mask, 4 * odd.width, 77);
    const double other_state = loss_of(&f);
    upload_random(&f, in->state_mask, 4 * odd.width, 3);
    CHECK(loss_of(&f) == before);
    upload_random(&f, in->action_mask, 4 * odd.width, 77);
    const double other_action = loss_of(&f);
    CHECK(before != other_state && before != other_action && other_state != other_action);
    (void)error;
    fixture_close(&f);
}

TEST(calls_outside_the_plan_are_refused) {
    struct proto_error error = {0};
    struct fixture f;
    fixture_open(&f, &odd, 1, false);
    CHECK(!model_rdt_train(f.rdt, &f.call, f.weights, f.gradients, 1, NULL, &error));
    CHECK_HAS(error.text, "without training");
    struct model_rdt_call call = f.call;
    call.batch = 5;
    CHECK(!model_rdt_condition(f.rdt, &call, f.weights, &error));
    CHECK_TEXT(error.text, "a batch of 5 samples, planned for 1..4");
    call = f.call, call.lang_length = 6;
    CHECK(!model_rdt_condition(f.rdt, &call, f.weights, &error));
    CHECK_TEXT(error.text, "an instruction of 6 tokens, planned for 1..5");
    CHECK(!model_rdt_denoise(f.rdt, &f.call, f.weights, f.weights, 1000, &error));
    CHECK_HAS(error.text, "timestep 1000");
    const struct model_rdt_plan plan = {.batch_max = 4, .lang_max = 7};
    struct model_rdt *rdt = NULL;
    CHECK(!model_rdt_open(f.backend, &odd, &plan, &rdt, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    fixture_close(&f);
}

TEST_MAIN(UNIT(gradients_are_slopes_of_the_loss_at_odd_sizes), UNIT(gradients_add_up_and_scale),
          UNIT(a_step_gives_the_same_bits_every_time), UNIT(a_step_allocates_nothing),
          UNIT(gradients_told_as_final_are_final),
          UNIT(gradients_are_the_same_bits_when_the_backward_pass_computes_again),
          UNIT(computing_again_keeps_less),
          UNIT(prediction_is_the_same_with_and_without_training_memory),
          UNIT(state_and_action_masks_are_separate_inputs),
          UNIT(calls_outside_the_plan_are_refused))
