// trainer/cards_cpu.c - this machine's processor, measured.
#include "trainer/cards.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MEASURE_S 0.05        // of products, and of copies
#define PRODUCT_FLOP_MAX 4e9  // of one product: some tens of milliseconds
#define PASSES_FLOP_MAX 20e9  // of one sample's passes that are still run
#define PASSES_S 0.2
#define COPY_FLOATS ((size_t)4 << 20)

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// The best of several: neighbours only make it slower.
static bool measure_products(struct model_backend *backend, const struct model_gemm *gemm,
                             double *flops, struct proto_error *error) {
    const double flop = 2 * (double)gemm->m * (double)gemm->n * (double)gemm->k;
    const double begin_s = now_s();
    for (int i = 0; i < 2 || now_s() - begin_s < MEASURE_S; i++) {
        const double start_s = now_s();
        if (!model_gemm(backend, gemm, error) || !model_backend_wait(backend, error)) return false;
        const double found = flop / (now_s() - start_s);
        if (found > *flops) *flops = found;
    }
    return true;
}

static bool measure_copies(struct model_backend *backend, float *memory, double *bandwidth,
                           struct proto_error *error) {
    const struct model_axpby copy = {
        .n = COPY_FLOATS, .a = 1, .x = memory, .b = 0, .y = memory + COPY_FLOATS};
    const double begin_s = now_s();
    for (int i = 0; i < 2 || now_s() - begin_s < MEASURE_S; i++) {
        const double start_s = now_s();
        if (!model_axpby(backend, &copy, error) || !model_backend_wait(backend, error))
            return false;
        const double found = 2.0 * COPY_FLOATS * sizeof(float) / (now_s() - start_s);
        if (found > *bandwidth) *bandwidth = found;
    }
    return true;
}

// Keys and values of the images are the largest product of a step; with fewer rows when it is long.
static bool measure_product(struct model_backend *backend, const struct model_rdt_sizes *sizes,
                            uint32_t rank_batch, double *flops, struct proto_error *error) {
    size_t rows = (size_t)rank_batch * model_rdt_img_length(sizes);
    const size_t in = sizes->hidden, out = (size_t)sizes->depth / 2 * 2 * sizes->hidden;
    const size_t width = out > 0 ? out : in;
    while (rows > 64 && 2 * (double)rows * (double)in * (double)width > PRODUCT_FLOP_MAX) rows /= 2;
    float *memory = model_backend_alloc(
        backend, (rows * in + in * width + rows * width) * sizeof(float), error);
    if (!memory) return false;
    const struct model_gemm gemm = {.transpose_b = true,
                                    .m = rows,
                                    .n = width,
                                    .k = in,
                                    .a = memory,
                                    .a_stride = in,
                                    .b = memory + rows * in,
                                    .b_stride = in,
                                    .d = memory + rows * in + in * width,
                                    .d_stride = width};
    const bool done = measure_products(backend, &gemm, flops, error);
    model_backend_free(backend, memory);
    return done;
}

// Forward and backward over `batch` samples; the first time is a warm-up. Inputs are zeros: an
// operation takes as long whatever it multiplies.
static bool passes_time(struct model_rdt *rdt, uint32_t batch, uint32_t lang_length,
                        const float *weights, float *gradients, double flop, double *flops,
                        struct proto_error *error) {
    uint32_t *timesteps = proto_alloc_array(batch, sizeof *timesteps, error);
    float *freq = proto_alloc_array(batch, sizeof *freq, error);
    const struct model_rdt_call call = {
        .batch = batch, .lang_length = lang_length, .timesteps = timesteps, .ctrl_freq = freq};
    bool done = timesteps && freq &&
                model_backend_fill(model_rdt_backend(rdt), model_rdt_inputs(rdt)->lang_mask, 1,
                                   (size_t)batch * lang_length, error);
    const double begin_s = now_s();
    for (int i = 0; done && (i < 2 || now_s() - begin_s < PASSES_S); i++) {
        const double start_s = now_s();
        double loss = 0;
        done = model_rdt_train(rdt, &call, weights, gradients, 1, &loss, error);
        const double found = flop / (now_s() - start_s);
        if (done && i > 0 && found > *flops) *flops = found;
    }
    free(timesteps);
    free(freq);
    return done;
}

static bool measure_passes(struct model_backend *backend, const struct model_rdt_sizes *sizes,
                           double flop_per_sample, uint32_t batch, uint32_t lang_length,
                           double *flops, struct proto_error *error) {
    const struct model_rdt_plan plan = {
        .batch_max = batch, .lang_max = lang_length, .training = true};
    struct model_rdt *rdt = NULL;
    float *weights = NULL, *gradients = NULL, *host = NULL;
    bool done = false;
    if (!model_rdt_open(backend, sizes, &plan, &rdt, error)) goto end;
    const struct model_parameters *table = model_rdt_parameters(rdt);
    const size_t bytes = table->elements * sizeof(float);
    if (!(host = proto_alloc_array(table->elements, sizeof *host, error)) ||
        !(weights = model_backend_alloc(backend, bytes, error)) ||
        !(gradients = model_backend_alloc(backend, bytes, error)))
        goto end;
    model_parameters_initialise(table, 0, host);
    done = model_backend_upload(backend, weights, host, bytes, error) &&
           passes_time(rdt, batch, lang_length, weights, gradients, flop_per_sample * batch, flops,
                       error);
end:
    free(host);
    model_backend_free(backend, weights);
    model_backend_free(backend, gradients);
    model_rdt_close(&rdt);
    return done;
}

bool trainer_card_measure(const struct model_rdt_sizes *sizes, double flop_per_sample,
                          uint32_t rank_batch, uint32_t lang_length, uint32_t threads,
                          struct trainer_card *card, struct proto_error *error) {
    struct model_backend *backend = NULL;
    *card = (struct trainer_card){.name = "cpu", .link = "shared memory", .launch_s = 1e-6};
    if (!model_backend_open("cpu", threads, &backend, error)) return false;
    float *memory = model_backend_alloc(backend, 2 * COPY_FLOATS * sizeof(float), error);
    bool done = memory && measure_copies(backend, memory, &card->bandwidth, error);
    model_backend_free(backend, memory);
    card->whole_passes = flop_per_sample <= PASSES_FLOP_MAX;
    uint32_t batch = rank_batch;
    while (batch > 1 && batch * flop_per_sample > PASSES_FLOP_MAX) batch /= 2;
    if (card->whole_passes)
        done = done && measure_passes(backend, sizes, flop_per_sample, batch, lang_length,
                                      &card->f32_flops, error);
    else
        done = done && measure_product(backend, sizes, rank_batch, &card->f32_flops, error);
    model_backend_close(&backend);
    card->peak_flops = card->large_flops = card->small_flops = card->f32_flops;
    card->host_bandwidth = card->bandwidth;
    // a gradient is read by every rank, added up and written back
    card->link_bandwidth = card->bandwidth / 4;
    card->memory_bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return done;
}
