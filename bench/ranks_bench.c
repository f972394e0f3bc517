// bench/ranks_bench.c - what a second rank costs: the step of two ranks beside the arithmetic of
// the slower of them, fed from memory, in the same run.
//
//   ranks_bench [hidden] [steps]      default 128, 60; one thread a rank, batch 16 a rank
//
// Peer: each rank's own forward, backward and optimiser, timed inside the very same steps. A step
// costs at least what the slower rank computes; everything above it is the collective: the sum of
// the gradients, the small exchange, waking up. Medians over steps; the first ten are not counted.
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

#define RANKS 2
#define BATCH 16
#define STEPS_MAX 10000
#define WARM_UP 10

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int order(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *values, uint32_t count) {
    qsort(values, count, sizeof *values, order);
    return values[count / 2];
}

struct rank {
    struct model_backend *backend;
    struct model_parameters *table;
    struct model_rdt *rdt;
    struct trainer_optimizer *optimizer;
    struct trainer_collective *collective;
    float *weights, *gradients;
    uint32_t timesteps[BATCH];
    float ctrl_freq[BATCH];
};

static struct model_rdt_sizes sizes_of(uint32_t hidden) {
    return (struct model_rdt_sizes){.hidden = hidden,
                                    .depth = 4,
                                    .heads = 4,
                                    .chunk = 8,
                                    .width = 18,
                                    .lang_dim = 64,
                                    .lang_rows = 32,
                                    .img_dim = 210,
                                    .img_history = 1,
                                    .img_cameras = 2,
                                    .img_patches = 64,
                                    .norm_stat = MODEL_VARIANCE,
                                    .epsilon = MODEL_EPSILON};
}

// Random inputs, once; the same for every step.
static bool rank_feed(struct rank *rank, const struct model_rdt_sizes *sizes, uint32_t number,
                      struct proto_error *error) {
    const struct model_rdt_inputs *inputs = model_rdt_inputs(rank->rdt);
    const size_t vector = (size_t)BATCH * sizes->width, chunk = vector * sizes->chunk;
    const struct {
        float *device;
        size_t count;
    } parts[] = {
        {inputs->state, vector},
        {inputs->action, chunk},
        {inputs->noise, chunk},
        {inputs->lang_tokens, (size_t)BATCH * sizes->lang_rows * sizes->lang_dim},
        {inputs->img_tokens, (size_t)BATCH * model_rdt_img_length(sizes) * sizes->img_dim},
    };
    struct proto_random random = proto_random_at(number, PROTO_PURPOSE_WORD, 0);
    for (size_t i = 0; i < PROTO_COUNT(parts); i++) {
        float *host = proto_alloc_array(parts[i].count, sizeof *host, error);
        if (!host) return false;
        proto_random_normal(&random, host, parts[i].count);
        const bool done = model_backend_upload(rank->backend, parts[i].device, host,
                                               parts[i].count * sizeof *host, error);
        free(host);
        if (!done) return false;
    }
    for (uint32_t i = 0; i < BATCH; i++) {
        rank->timesteps[i] = i * 60;
        rank->ctrl_freq[i] = 20;
    }
    return model_backend_fill(rank->backend, inputs->lang_mask, 1, (size_t)BATCH * sizes->lang_rows,
                              error);
}

static bool rank_open(struct rank *rank, const struct model_rdt_sizes *sizes, uint32_t number,
                      const char *name, struct proto_error *error) {
    const struct model_rdt_plan plan = {
        .batch_max = BATCH, .lang_max = sizes->lang_rows, .training = true};
    const struct trainer_optimizer_settings settings = {
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .weight_decay = 1e-2,
        .max_grad_norm = 1,
        .ema = {.inv_gamma = 1, .power = 0.75, .max = 0.9999}};
    if (!model_backend_open("cpu", 1, &rank->backend, error) ||
        !model_parameters_new(sizes, &rank->table, error) ||
        !model_rdt_open(rank->backend, sizes, &plan, &rank->rdt, error))
        return false;
    const size_t elements = rank->table->elements, bytes = elements * sizeof(float);
    float *host = proto_alloc(bytes, error);
    if (!host) return false;
    model_parameters_initialise(rank->table, 1, host);
    rank->weights = model_backend_alloc(rank->backend, bytes, error);
    rank->gradients = rank->weights ? model_backend_alloc(rank->backend, bytes, error) : NULL;
    const struct trainer_collective_settings collective = {.backend = "host",
                                                           .name = name,
                                                           .rank = number,
                                                           .size = RANKS,
                                                           .epoch = 1,
                                                           .elements_max = elements,
                                                           .deadline_s = 60};
    const bool done =
        rank->gradients && model_backend_upload(rank->backend, rank->weights, host, bytes, error) &&
        trainer_optimizer_open(rank->backend, &settings, elements, &rank->optimizer, error) &&
        trainer_optimizer_start(rank->optimizer, rank->weights, error) &&
        rank_feed(rank, sizes, number, error) &&
        trainer_collective_open(&collective, &rank->collective, error);
    free(host);
    return done;
}

// One step; *own_s is this rank's arithmetic, *step_s all of it.
static bool rank_step(struct rank *rank, const struct model_rdt_call *call, double *own_s,
                      double *step_s, struct proto_error *error) {
    const size_t elements = rank->table->elements;
    struct trainer_optimizer_report report;
    double exchanged[4] = {0}, gathered[4 * RANKS], loss = 0;
    uint64_t ledger = 1;
    const double start_s = now_s();
    if (!model_backend_fill(rank->backend, rank->gradients, 0, elements * sizeof(float), error) ||
        !model_rdt_train(rank->rdt, call, rank->weights, rank->gradients, 1, &loss, error))
        return false;
    const double ready_s = now_s();
    if (!trainer_collective_all_reduce(rank->collective, rank->gradients, elements, 1.0f / RANKS,
                                       error) ||
        !trainer_collective_gather(rank->collective, exchanged, 4, gathered, error) ||
        !trainer_collective_sum_u64(rank->collective, &ledger, 1, error))
        return false;
    const double reduced_s = now_s();
    if (!trainer_optimizer_step(rank->optimizer, rank->weights, rank->gradients, 1e-4, &report,
                                error) ||
        !model_backend_wait(rank->backend, error))
        return false;
    const double end_s = now_s();
    *own_s = ready_s - start_s + end_s - reduced_s;
    *step_s = end_s - start_s;
    return true;
}

static bool rank_run(uint32_t number, const char *name, uint32_t hidden, uint32_t steps,
                     struct proto_error *error) {
    static double own[STEPS_MAX], whole[STEPS_MAX], above[STEPS_MAX];
    const struct model_rdt_sizes sizes = sizes_of(hidden);
    struct rank rank = {0};
    if (!rank_open(&rank, &sizes, number, name, error)) return false;
    const struct model_rdt_call call = {.batch = BATCH,
                                        .lang_length = sizes.lang_rows,
                                        .timesteps = rank.timesteps,
                                        .ctrl_freq = rank.ctrl_freq};
    uint32_t counted = 0;
    for (uint32_t i = 0; i < steps + WARM_UP; i++) {
        double mine[2], all[2 * RANKS];
        // ranks begin together, so that a step's time has no wait of the step before in it
        if (!trainer_collective_barrier(rank.collective, error) ||
            !rank_step(&rank, &call, &mine[0], &mine[1], error) ||
            !trainer_collective_gather(rank.collective, mine, 2, all, error))
            return false;
        if (i < WARM_UP) continue;
        own[counted] = all[0] > all[2] ? all[0] : all[2];
        whole[counted] = all[1] > all[3] ? all[1] : all[3];
        above[counted] = whole[counted] / own[counted];
        counted++;
    }
    if (number == 0)
        printf("hidden %u, %zu parameters, %s, %u steps\n"
               "  slower rank's arithmetic  %8.3f ms\n"
               "  whole step of two ranks   %8.3f ms\n"
               "  ratio                     %8.3f (median over steps)\n",
               hidden, rank.table->elements, model_backend_kernels(rank.backend), counted,
               1e3 * median(own, counted), 1e3 * median(whole, counted), median(above, counted));
    trainer_collective_close(&rank.collective);
    trainer_optimizer_close(&rank.optimizer);
    model_backend_free(rank.backend, rank.weights);
    model_backend_free(rank.backend, rank.gradients);
    model_rdt_close(&rank.rdt);
    model_parameters_free(&rank.table);
    model_backend_close(&rank.backend);
    return true;
}

int main(int count, char **words) {
    const unsigned long hidden = count > 1 ? strtoul(words[1], NULL, 10) : 128;
    const unsigned long steps = count > 2 ? strtoul(words[2], NULL, 10) : 60;
    struct proto_error error = {0};
    char name[32];
    if (hidden < 8 || hidden > 4096 || steps < 1 || steps > STEPS_MAX) {
        fprintf(stderr, "usage: ranks_bench [hidden 8..4096] [steps 1..%d]\n", STEPS_MAX);
        return PROTO_USAGE;
    }
    snprintf(name, sizeof name, "ranks-bench-%d", (int)getpid());
    const pid_t other = fork();
    if (other < 0) return PROTO_FAILED;
    const bool done = rank_run(other == 0, name, (uint32_t)hidden, (uint32_t)steps, &error);
    if (!done) proto_error_print("ranks_bench", &error);
    if (other == 0) {
        fflush(NULL);
        _exit(done ? 0 : (int)error.status);
    }
    waitpid(other, NULL, 0);
    return done ? 0 : (int)error.status;
}
