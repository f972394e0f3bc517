// bench/step_bench.c - milliseconds of one training step on the CPU: noising, forward, backward,
// sum over ranks, clipping, AdamW, moving average. Its peer is bench/peers/torch_step.py, the same
// network of ordinary PyTorch modules; bench/step.sh runs both in turn.
//
//     step_bench HIDDEN THREADS RANKS STEPS
//
// The network is rdt-tiny's (depth 4, chunk 8, batch 32 over all ranks, two cameras of 64 patches,
// state and action of 11 numbers, 6 language tokens) with the width given. Ranks are processes.
// Prints one line of JSON: the median of rank 0's steps.
#include "model/rdt.h"
#include "proto/random.h"
#include "trainer/collective.h"
#include "trainer/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define LANG 6
#define WARM_UP 10

struct bench {
    uint32_t hidden, threads, ranks, steps, rank;
    struct model_backend *backend;
    struct model_rdt *rdt;
    struct trainer_optimizer *optimizer;
    struct trainer_collective *collective;
    float *weights, *gradients;
    size_t elements;
};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static bool fill_normal(struct bench *b, float *device, size_t count, uint64_t key,
                        struct proto_error *error) {
    float *host = proto_alloc_array(count, sizeof *host, error);
    if (!host) return false;
    struct proto_random random = proto_random_at(b->rank, PROTO_PURPOSE_DIFFUSION, key);
    proto_random_normal(&random, host, count);
    const bool done = model_backend_upload(b->backend, device, host, count * sizeof *host, error);
    free(host);
    return done;
}

static bool open_all(struct bench *b, const char *name, struct proto_error *error) {
    const struct model_rdt_sizes sizes = {.hidden = b->hidden,
                                          .depth = 4,
                                          .heads = 4,
                                          .chunk = 8,
                                          .width = 11,
                                          .lang_dim = 64,
                                          .img_dim = 210,
                                          .lang_rows = 32,
                                          .img_history = 1,
                                          .img_cameras = 2,
                                          .img_patches = 64,
                                          .epsilon = MODEL_EPSILON};
    const uint32_t batch = BATCH / b->ranks;
    const struct model_rdt_plan plan = {batch, LANG, true};
    const struct trainer_optimizer_settings settings = {
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .weight_decay = 0.01,
        .max_grad_norm = 1,
        .ema = {.inv_gamma = 1, .power = 0.75, .max = 0.9999}};
    if (!model_backend_open("cpu", b->threads, &b->backend, error) ||
        !model_rdt_open(b->backend, &sizes, &plan, &b->rdt, error))
        return false;
    const struct model_parameters *table = model_rdt_parameters(b->rdt);
    b->elements = table->elements;
    const size_t bytes = b->elements * sizeof(float);
    float *host = proto_alloc(bytes, error);
    if (!host) return false;
    model_parameters_initialise(table, 1, host);
    b->weights = model_backend_alloc(b->backend, bytes, error);
    b->gradients = b->weights ? model_backend_alloc(b->backend, bytes, error) : NULL;
    bool done = b->gradients && model_backend_upload(b->backend, b->weights, host, bytes, error);
    free(host);
    const struct trainer_collective_settings group = {.backend = "host",
                                                      .name = name,
                                                      .rank = b->rank,
                                                      .size = b->ranks,
                                                      .epoch = 1,
                                                      .elements_max = b->elements,
                                                      .deadline_s = 60};
    return done &&
           trainer_optimizer_open(b->backend, &settings, b->elements, &b->optimizer, error) &&
           trainer_optimizer_start(b->optimizer, b->weights, error) &&
           (b->ranks == 1 || trainer_collective_open(&group, &b->collective, error));
}

static bool fill_inputs(struct bench *b, struct proto_error *error) {
    const struct model_rdt_inputs *in = model_rdt_inputs(b->rdt);
    const struct model_rdt_sizes *s = model_rdt_sizes(b->rdt);
    const size_t batch = BATCH / b->ranks, row = batch * s->width;
    uint8_t mask[BATCH * LANG];
    float ones[BATCH * 11];
    memset(mask, 1, sizeof mask);
    for (size_t i = 0; i < PROTO_COUNT(ones); i++) ones[i] = 1;
    return fill_normal(b, in->state, row, 1, error) &&
           fill_normal(b, in->action, row * s->chunk, 2, error) &&
           fill_normal(b, in->noise, row * s->chunk, 3, error) &&
           fill_normal(b, in->lang_tokens, batch * LANG * s->lang_dim, 4, error) &&
           fill_normal(b, in->img_tokens, batch * model_rdt_img_length(s) * s->img_dim, 5, error) &&
           model_backend_upload(b->backend, in->lang_mask, mask, batch * LANG, error) &&
           model_backend_upload(b->backend, in->state_mask, ones, row * sizeof *ones, error) &&
           model_backend_upload(b->backend, in->action_mask, ones, row * sizeof *ones, error);
}

static bool step(struct bench *b, double *loss, struct proto_error *error) {
    static const float freqs[BATCH] = {20, 20, 20, 20};
    uint32_t timesteps[BATCH];
    for (uint32_t i = 0; i < BATCH; i++) timesteps[i] = i * 31;
    const struct model_rdt_call call = {
        .batch = BATCH / b->ranks, .lang_length = LANG, .timesteps = timesteps, .ctrl_freq = freqs};
    struct trainer_optimizer_report report;
    return model_backend_fill(b->backend, b->gradients, 0, b->elements * sizeof(float), error) &&
           model_rdt_train(b->rdt, &call, b->weights, b->gradients, 1, loss, error) &&
           (b->ranks == 1 || trainer_collective_all_reduce(b->collective, b->gradients, b->elements,
                                                           1.0f / (float)b->ranks, error)) &&
           trainer_optimizer_step(b->optimizer, b->weights, b->gradients, 1e-4, &report, error);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool run(struct bench *b, const char *name, struct proto_error *error) {
    double loss = 0;
    double *times = proto_alloc_array(b->steps, sizeof *times, error);
    bool done = times && open_all(b, name, error) && fill_inputs(b, error);
    for (uint32_t i = 0; done && i < WARM_UP; i++) done = step(b, &loss, error);
    for (uint32_t i = 0; done && i < b->steps; i++) {
        const double begin = now_ms();
        done = step(b, &loss, error);
        times[i] = now_ms() - begin;
    }
    if (done && b->rank == 0) {
        qsort(times, b->steps, sizeof *times, ascending);
        printf(
            "{\"what\": \"pipeline\", \"hidden\": %u, \"threads\": %u, \"ranks\": %u, "
            "\"ms_per_step\": %.3f, \"fastest_ms\": %.3f, \"loss\": %.6f, \"kernels\": \"%s\"}\n",
            b->hidden, b->threads, b->ranks, times[b->steps / 2], times[0], loss,
            model_backend_kernels(b->backend));
    }
    free(times);
    return done;
}

int main(int count, char **arguments) {
    if (count != 5) {
        fprintf(stderr, "usage: step_bench HIDDEN THREADS RANKS STEPS\n");
        return PROTO_USAGE;
    }
    struct bench bench = {.hidden = (uint32_t)strtoul(arguments[1], NULL, 10),
                          .threads = (uint32_t)strtoul(arguments[2], NULL, 10),
                          .ranks = (uint32_t)strtoul(arguments[3], NULL, 10),
                          .steps = (uint32_t)strtoul(arguments[4], NULL, 10)};
    if (bench.ranks < 1 || BATCH % bench.ranks != 0 || bench.steps < 1 || bench.threads < 1) {
        fprintf(stderr, "step_bench: ranks must divide %d; threads and steps be 1 or more\n",
                BATCH);
        return PROTO_USAGE;
    }
    char name[64];
    snprintf(name, sizeof name, "/pipeline-step-bench-%d", (int)getpid());
    for (uint32_t rank = 1; rank < bench.ranks; rank++)
        if (fork() == 0) {
            bench.rank = rank;
            break;
        }
    struct proto_error error = {0};
    int code = run(&bench, name, &error) ? 0 : proto_error_print("step_bench", &error);
    while (bench.rank == 0 && wait(NULL) > 0) {
    }
    return code;
}
