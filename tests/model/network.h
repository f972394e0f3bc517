// tests/model/network.h - a small network with every layer alive and inputs drawn from seeds, on
// the device under test: what tests of whole steps begin with.
#ifndef TESTS_MODEL_NETWORK_H
#define TESTS_MODEL_NETWORK_H

#include "tests/model/device.h"

#include "model/rdt.h"

static const struct model_rdt_sizes odd = {.hidden = 20,
                                           .depth = 3,
                                           .heads = 2,
                                           .chunk = 5,
                                           .width = 7,
                                           .lang_dim = 9,
                                           .img_dim = 11,
                                           .lang_rows = 6,
                                           .img_history = 1,
                                           .img_cameras = 2,
                                           .img_patches = 3,
                                           .epsilon = MODEL_EPSILON};

struct fixture {
    struct model_backend *backend;
    struct model_rdt *rdt;
    const struct model_parameters *table;
    float *host, *weights, *gradients;
    struct model_rdt_call call;
    uint32_t timesteps[4];
    float freqs[4];
};

static inline void upload_random(struct fixture *f, float *device, size_t n, uint32_t seed) {
    struct proto_error error = {0};
    float *host = device_host(n, seed);
    CHECK_OK(model_backend_upload(f->backend, device, host, n * sizeof *host, &error), error);
    free(host);
}

static inline void fixture_open_plan(struct fixture *f, const struct model_rdt_sizes *sizes,
                                     uint32_t threads, bool training, bool recompute) {
    struct proto_error error = {0};
    const struct model_rdt_plan plan = {
        .batch_max = 4, .lang_max = 5, .training = training, .recompute = recompute};
    *f = (struct fixture){.timesteps = {0, 10, 500, 999}, .freqs = {20, 0, 12.5f, 25}};
    CHECK((f->backend = device_open(NULL, threads)) != NULL);
    CHECK_OK(model_rdt_open(f->backend, sizes, &plan, &f->rdt, &error), error);
    f->table = model_rdt_parameters(f->rdt);
    const size_t n = f->table->elements;
    f->host = device_host(n, 1);
    // every layer alive: random weights of the right size everywhere, gains around 1
    for (size_t i = 0; i < f->table->count; i++) {
        const struct model_parameter *p = &f->table->items[i];
        for (size_t j = 0; j < p->elements; j++) {
            float *x = &f->host[p->offset + j];
            *x = p->initial == MODEL_INITIAL_ONE ? 1 + 0.2f * *x : 0.4f * *x;
        }
    }
    f->weights = device_floats(f->backend, f->host, n);
    f->gradients = device_floats(f->backend, NULL, n);
    f->call = (struct model_rdt_call){
        .batch = 4, .lang_length = 5, .timesteps = f->timesteps, .ctrl_freq = f->freqs};
    const struct model_rdt_inputs *in = model_rdt_inputs(f->rdt);
    const size_t row = 4 * sizes->width;
    upload_random(f, in->state, row, 2);
    upload_random(f, in->state_mask, row, 3);
    upload_random(f, in->action_mask, row, 4);
    upload_random(f, in->lang_tokens, 4 * 5 * sizes->lang_dim, 5);
    upload_random(f, in->img_tokens, 4 * model_rdt_img_length(sizes) * sizes->img_dim, 6);
    if (training) {
        upload_random(f, in->action, row * sizes->chunk, 7);
        upload_random(f, in->noise, row * sizes->chunk, 8);
    }
    const uint8_t mask[20] = {1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0};
    CHECK_OK(model_backend_upload(f->backend, in->lang_mask, mask, sizeof mask, &error), error);
}
static inline void fixture_open(struct fixture *f, const struct model_rdt_sizes *sizes,
                                uint32_t threads, bool training) {
    fixture_open_plan(f, sizes, threads, training, false);
}
static inline void fixture_close(struct fixture *f) {
    model_backend_free(f->backend, f->weights);
    model_backend_free(f->backend, f->gradients);
    free(f->host);
    model_rdt_close(&f->rdt);
    model_backend_close(&f->backend);
}

static inline double loss_of(struct fixture *f) {
    struct proto_error error = {0};
    double loss = 0;
    CHECK_OK(model_rdt_train(f->rdt, &f->call, f->weights, f->gradients, 1, &loss, &error), error);
    return loss;
}

#endif
