// bench/step_bench.c - milliseconds of one training step: noising, forward and backward; then the
// sum over ranks, clipping, AdamW and moving average. On a cpu its peer is
// bench/peers/torch_step.py (bench/step.sh runs both in turn), on a GPU bench/peers/torch_rdt.py.
//
//     step_bench [--preset rdt-tiny] [--hidden N] [--batch 32[,N..]] [--language N] [--steps N]
//                [--threads N] [--ranks N] [--device cpu] [--precision f32|bf16|fp16] [--sampler]
//
// Conditions are random tokens that lie on the device, as cached features do: no encoder runs.
// rdt-tiny has two cameras of 64 patches, a state and action of 11 numbers and 6 language tokens;
// the others are the published networks with 729 patches an image. Ranks are processes of the cpu
// and share the batch. Prints one line of JSON a batch, the medians of rank 0, and with --sampler
// one for the prediction of an action chunk. A batch that fails has a line that says why.
#include "model/backend_cuda_module.h"
#include "model/sampler.h"
#include "proto/json.h"
#include "proto/preset.h"
#include "proto/random.h"
#include "proto/words.h"
#include "trainer/collective.h"
#include "trainer/forecast.h"
#include "trainer/optimizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BATCHES_MAX 8
#define BATCH_MAX 256
#define SOLVER_STEPS 5
#define WARM_UP 10
#define WARM_UP_DEVICE 3  // the first step finds the algorithms of products

struct bench {
    struct model_rdt_sizes sizes;
    const char *preset, *device;
    enum model_precision precision;
    uint32_t batches[BATCHES_MAX], batch_count, batch;  // of all ranks; batch: the one under way
    uint32_t language, threads, ranks, steps, rank;
    bool sampler;
    char name[64];  // of the collective
    struct model_backend *backend;
    struct model_rdt *rdt;
    struct trainer_optimizer *optimizer;
    struct trainer_collective *collective;
    float *weights, *gradients;
    size_t elements;
    double card_peak;  // FLOP/s, 0: unknown
};
static const char *const precision_names[] = {"f32", "bf16", "fp16"};

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}
static bool on_cpu(const struct bench *b) { return strcmp(b->device, "cpu") == 0; }

// ---- opening ----

// The table's peak is of bf16 and fp16 products.
static bool find_card(struct bench *b, struct proto_error *error) {
    const struct model_cuda_module *module = NULL;
    struct model_cuda_devices devices;
    uint64_t number = 0;
    if (on_cpu(b) || b->precision == MODEL_F32) return true;
    if (!proto_words_number("--device cuda:", b->device + strlen("cuda:"),
                            MODEL_CUDA_DEVICES_MAX - 1, &number, error) ||
        !model_cuda_module_open(&module, error) || !module->describe(&devices, error))
        return false;
    const struct trainer_card *card =
        number < devices.count ? trainer_card_find(devices.items[number].name) : NULL;
    if (card) b->card_peak = card->peak_flops;
    return true;
}

static bool start_weights(struct bench *b, struct proto_error *error) {
    struct model_parameters *table = NULL;
    const struct trainer_optimizer_settings settings = {
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .weight_decay = 0.01,
        .max_grad_norm = 1,
        .ema = {.inv_gamma = 1, .power = 0.75, .max = 0.9999}};
    if (!model_parameters_new(&b->sizes, &table, error)) return false;
    b->elements = table->elements;
    const size_t bytes = b->elements * sizeof(float);
    float *host = proto_alloc(bytes, error);
    if (host) model_parameters_initialise(table, 1, host);
    b->weights = host ? model_backend_alloc(b->backend, bytes, error) : NULL;
    b->gradients = b->weights ? model_backend_alloc(b->backend, bytes, error) : NULL;
    const bool done =
        b->gradients && model_backend_upload(b->backend, b->weights, host, bytes, error) &&
        model_backend_parameters(b->backend, b->weights, b->elements, error) &&
        trainer_optimizer_open(b->backend, &settings, b->elements, &b->optimizer, error) &&
        trainer_optimizer_start(b->optimizer, b->weights, error);
    free(host);
    model_parameters_free(&table);
    return done;
}

static bool open_all(struct bench *b, struct proto_error *error) {
    if (!find_card(b, error) || !model_backend_open(b->device, b->threads, &b->backend, error) ||
        !model_backend_precision(b->backend, b->precision, error) || !start_weights(b, error))
        return false;
    const struct trainer_collective_settings group = {.backend = "host",
                                                      .name = b->name,
                                                      .rank = b->rank,
                                                      .size = b->ranks,
                                                      .epoch = 1,
                                                      .elements_max = b->elements,
                                                      .deadline_s = 60};
    return b->ranks == 1 || trainer_collective_open(&group, &b->collective, error);
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

static bool fill_inputs(struct bench *b, size_t batch, bool training, struct proto_error *error) {
    const struct model_rdt_inputs *in = model_rdt_inputs(b->rdt);
    const struct model_rdt_sizes *s = &b->sizes;
    const size_t row = batch * s->width, tokens = batch * b->language;
    float *ones = proto_alloc_array(row, sizeof *ones, error);
    if (!ones) return false;
    for (size_t i = 0; i < row; i++) ones[i] = 1;
    const bool done =
        fill_normal(b, in->state, row, 1, error) &&
        (!training || (fill_normal(b, in->action, row * s->chunk, 2, error) &&
                       fill_normal(b, in->noise, row * s->chunk, 3, error))) &&
        fill_normal(b, in->lang_tokens, tokens * s->lang_dim, 4, error) &&
        fill_normal(b, in->img_tokens, batch * model_rdt_img_length(s) * s->img_dim, 5, error) &&
        model_backend_fill(b->backend, in->lang_mask, 1, tokens, error) &&
        model_backend_upload(b->backend, in->state_mask, ones, row * sizeof *ones, error) &&
        model_backend_upload(b->backend, in->action_mask, ones, row * sizeof *ones, error);
    free(ones);
    return done;
}

// ---- measuring ----

struct times {
    double *passes, *optimiser, *whole;  // [steps] ms
    double loss;
};

static bool step(struct bench *b, double *passes_ms, double *optimiser_ms, double *loss,
                 struct proto_error *error) {
    static float freqs[BATCH_MAX];
    static uint32_t timesteps[BATCH_MAX];
    for (uint32_t i = 0; i < BATCH_MAX; i++) timesteps[i] = i * 31 % MODEL_TIMESTEPS, freqs[i] = 20;
    const struct model_rdt_call call = {.batch = b->batch / b->ranks,
                                        .lang_length = b->language,
                                        .timesteps = timesteps,
                                        .ctrl_freq = freqs};
    struct trainer_optimizer_report report;
    const double begin = now_ms();
    if (!model_backend_fill(b->backend, b->gradients, 0, b->elements * sizeof(float), error) ||
        !model_rdt_train(b->rdt, &call, b->weights, b->gradients, 1, loss, error) ||
        !model_backend_wait(b->backend, error))
        return false;
    const double middle = now_ms();
    if (!(b->ranks == 1 || trainer_collective_all_reduce(b->collective, b->gradients, b->elements,
                                                         1.0f / (float)b->ranks, error)) ||
        !trainer_optimizer_step(b->optimizer, b->weights, b->gradients, 1e-4, &report, error) ||
        !model_backend_wait(b->backend, error))
        return false;
    *passes_ms = middle - begin;
    *optimiser_ms = now_ms() - middle;
    return true;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *values, uint32_t count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

static json_t *line_new(const struct bench *b, const char *what, uint32_t batch) {
    return json_pack("{s:s, s:s, s:i, s:s, s:s, s:i, s:i, s:i, s:i}", "what", what, "preset",
                     b->preset, "hidden", (int)b->sizes.hidden, "device", b->device, "precision",
                     precision_names[b->precision], "batch", (int)batch, "language",
                     (int)b->language, "threads", (int)b->threads, "ranks", (int)b->ranks);
}
static void line_print(json_t *line) {
    if (line) json_dumpf(line, stdout, JSON_REAL_PRECISION(6));
    putchar('\n');
    fflush(stdout);
    json_decref(line);
}
static void add_real(json_t *line, const char *key, double value) {
    json_object_set_new(line, key, json_real(value));
}

// Multiplications and additions of the products that a rank's step makes, counted.
static bool count_flop(const struct bench *b, double *flop, struct proto_error *error) {
    const struct trainer_recipe recipe = {.sizes = b->sizes,
                                          .ranks = b->ranks,
                                          .rank_batch = b->batch / b->ranks,
                                          .accumulation = 1,
                                          .lang_length = b->language,
                                          .precision = b->precision,
                                          .cpu = on_cpu(b)};
    struct trainer_forecast *forecast = NULL;
    if (!trainer_forecast_new(&recipe, &forecast, error)) return false;
    *flop = forecast->forward_flop + forecast->backward_flop;
    trainer_forecast_free(&forecast);
    return true;
}

static bool report_batch(struct bench *b, struct times *t, struct proto_error *error) {
    double flop = 0;
    struct model_backend_memory memory;
    if (!count_flop(b, &flop, error) || !model_backend_memory(b->backend, &memory, error))
        return false;
    if (b->rank != 0) return true;
    json_t *line = line_new(b, "pipeline", b->batch);
    const double ms = median(t->whole, b->steps), passes = median(t->passes, b->steps);
    add_real(line, "ms_per_step", ms);
    add_real(line, "fastest_ms", t->whole[0]);
    add_real(line, "forward_backward_ms", passes);
    add_real(line, "optimiser_ms", median(t->optimiser, b->steps));
    add_real(line, "tflop", flop * 1e-12);
    add_real(line, "tflop_per_s", flop * 1e-9 / ms);
    if (b->card_peak > 0) add_real(line, "percent_of_peak", flop * 1e5 / ms / b->card_peak);
    add_real(line, "held_bytes", (double)memory.held_bytes);
    add_real(line, "device_used_bytes", (double)(memory.total_bytes - memory.free_bytes));
    add_real(line, "loss", t->loss);
    json_object_set_new(line, "kernels", json_string(model_backend_kernels(b->backend)));
    line_print(line);
    return true;
}

static bool run_batch(struct bench *b, struct proto_error *error) {
    struct times t = {.loss = 0};
    double *rows[3] = {NULL};
    const struct model_rdt_plan plan = {
        .batch_max = b->batch / b->ranks, .lang_max = b->language, .training = true};
    const uint32_t warm_up = on_cpu(b) ? WARM_UP : WARM_UP_DEVICE;
    double passes = 0, optimiser = 0;
    bool done = true;
    for (size_t i = 0; done && i < PROTO_COUNT(rows); i++)
        done = (rows[i] = proto_alloc_array(b->steps, sizeof **rows, error)) != NULL;
    t.passes = rows[0], t.optimiser = rows[1], t.whole = rows[2];
    done = done && model_rdt_open(b->backend, &b->sizes, &plan, &b->rdt, error) &&
           fill_inputs(b, plan.batch_max, true, error);
    for (uint32_t i = 0; done && i < warm_up; i++)
        done = step(b, &passes, &optimiser, &t.loss, error);
    for (uint32_t i = 0; done && i < b->steps; i++) {
        done = step(b, &t.passes[i], &t.optimiser[i], &t.loss, error);
        t.whole[i] = t.passes[i] + t.optimiser[i];
    }
    done = done && report_batch(b, &t, error);
    model_rdt_close(&b->rdt);
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) free(rows[i]);
    return done;
}

// One action chunk from conditions that lie on the device to actions on the host.
static bool run_sampler(struct bench *b, struct proto_error *error) {
    const struct model_rdt_plan plan = {.batch_max = 1, .lang_max = b->language};
    const size_t count = (size_t)b->sizes.chunk * b->sizes.width;
    const float freq = 20;
    const struct model_rdt_call call = {.batch = 1, .lang_length = b->language, .ctrl_freq = &freq};
    struct model_sampler *sampler = NULL;
    double *times = proto_alloc_array(b->steps, sizeof *times, error);
    float *noise = times ? proto_alloc_array(2 * count, sizeof *noise, error) : NULL;
    bool done = noise && model_rdt_open(b->backend, &b->sizes, &plan, &b->rdt, error) &&
                fill_inputs(b, 1, false, error) &&
                model_sampler_open(b->rdt, SOLVER_STEPS, &sampler, error);
    if (done) {
        struct proto_random random = proto_random_at(0, PROTO_PURPOSE_DIFFUSION, 6);
        proto_random_normal(&random, noise, count);
    }
    for (uint32_t i = 0; done && i < WARM_UP_DEVICE + b->steps; i++) {
        const double begin = now_ms();
        done = model_sampler_run(sampler, &call, b->weights, noise, noise + count, error);
        if (i >= WARM_UP_DEVICE) times[i - WARM_UP_DEVICE] = now_ms() - begin;
    }
    if (done && b->rank == 0) {
        json_t *line = line_new(b, "pipeline chunk", 1);
        add_real(line, "ms_per_chunk", median(times, b->steps));
        add_real(line, "fastest_ms", times[0]);
        json_object_set_new(line, "solver_steps", json_integer(SOLVER_STEPS));
        line_print(line);
    }
    model_sampler_close(&sampler);
    model_rdt_close(&b->rdt);
    free(noise);
    free(times);
    return done;
}

static int failed(const struct bench *b, const char *what, struct proto_error *error) {
    json_t *line = line_new(b, what, b->batch);
    json_object_set_new(line, "error", proto_json_string(error->text));
    if (b->rank == 0) line_print(line);
    return proto_error_print("step_bench", error);
}

static int run(struct bench *b) {
    struct proto_error error = {0};
    int code = 0;
    if (!open_all(b, &error)) code = failed(b, "pipeline", &error);
    for (uint32_t i = 0; code == 0 && i < b->batch_count; i++) {
        b->batch = b->batches[i];
        if (!run_batch(b, &error)) code = failed(b, "pipeline", &error);
    }
    // a chunk does not need the batch that did not fit
    if (b->sampler && b->optimizer && !run_sampler(b, &error))
        code = failed(b, "pipeline chunk", &error);
    trainer_collective_close(&b->collective);
    trainer_optimizer_close(&b->optimizer);
    if (b->backend) {
        model_backend_free(b->backend, b->gradients);
        model_backend_free(b->backend, b->weights);
    }
    model_backend_close(&b->backend);
    return code;
}

// ---- the command line ----

static bool read_preset(struct bench *b, uint32_t hidden, struct proto_error *error) {
    const struct proto_preset *preset = proto_preset_find(b->preset);
    if (!preset) return proto_fail(error, PROTO_USAGE, "there is no preset %.40s", b->preset);
    const bool unified = strcmp(preset->layout, "unified") == 0;
    b->sizes = (struct model_rdt_sizes){.hidden = hidden ? hidden : (uint32_t)preset->hidden_size,
                                        .depth = (uint32_t)preset->depth,
                                        .heads = (uint32_t)preset->num_heads,
                                        .chunk = (uint32_t)preset->chunk_size,
                                        .width = unified ? 128 : 11,
                                        .lang_dim = unified ? 4096 : 64,
                                        .img_dim = unified ? 1152 : 210,
                                        .lang_rows = (uint32_t)preset->max_lang_cond_len,
                                        .img_history = (uint32_t)preset->img_history_size,
                                        .img_cameras = (uint32_t)preset->num_cameras,
                                        .img_patches = unified ? 729 : 64,
                                        .epsilon = MODEL_EPSILON};
    if (b->language == 0) b->language = unified ? 32 : 6;
    return model_rdt_sizes_check(&b->sizes, error);
}

static bool read_batches(struct bench *b, const char *text, struct proto_error *error) {
    while (*text) {
        char digits[16];
        uint64_t number = 0;
        const size_t length = strcspn(text, ",");
        snprintf(digits, sizeof digits, "%.*s", (int)length, text);
        if (!proto_words_number("--batch", digits, BATCH_MAX, &number, error)) return false;
        if (number == 0 || number % b->ranks != 0 || b->batch_count == BATCHES_MAX)
            return proto_fail(error, PROTO_USAGE,
                              "--batch: at most %d numbers, multiples of the ranks", BATCHES_MAX);
        b->batches[b->batch_count++] = (uint32_t)number;
        text += length + (text[length] == ',');
    }
    return b->batch_count > 0 || proto_fail(error, PROTO_USAGE, "--batch needs a number");
}

static bool read_words(struct bench *b, int count, char **words, struct proto_error *error) {
    const char *precision = "f32", *batch = "32", *hidden = "0", *language = "0", *threads = "1";
    const char *ranks = "1", *steps = "20";
    uint32_t hidden_size = 0;
    size_t rest = 0;
    const struct proto_word options[] = {
        {"--preset", PROTO_WORD_TEXT, &b->preset},    {"--hidden", PROTO_WORD_TEXT, &hidden},
        {"--batch", PROTO_WORD_TEXT, &batch},         {"--language", PROTO_WORD_TEXT, &language},
        {"--steps", PROTO_WORD_TEXT, &steps},         {"--threads", PROTO_WORD_TEXT, &threads},
        {"--ranks", PROTO_WORD_TEXT, &ranks},         {"--device", PROTO_WORD_TEXT, &b->device},
        {"--precision", PROTO_WORD_TEXT, &precision}, {"--sampler", PROTO_WORD_FLAG, &b->sampler}};
    const struct {
        const char *name, *const *text;
        uint32_t *number;
        uint64_t max;
    } numbers[] = {{"--hidden", &hidden, &hidden_size, 8192},
                   {"--language", &language, &b->language, 1024},
                   {"--steps", &steps, &b->steps, 100000},
                   {"--threads", &threads, &b->threads, 1024},
                   {"--ranks", &ranks, &b->ranks, TRAINER_RANKS_MAX}};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), NULL, 0, &rest, error))
        return false;
    for (size_t i = 0; i < PROTO_COUNT(numbers); i++) {
        uint64_t number = 0;
        if (!proto_words_number(numbers[i].name, *numbers[i].text, numbers[i].max, &number, error))
            return false;
        *numbers[i].number = (uint32_t)number;
    }
    if (b->steps < 1 || b->ranks < 1 || (b->ranks > 1 && !on_cpu(b)))
        return proto_fail(error, PROTO_USAGE,
                          "--steps and --ranks are 1 or more; several ranks are of the cpu");
    size_t p = 0;
    while (p < PROTO_COUNT(precision_names) && strcmp(precision, precision_names[p]) != 0) p++;
    if (p == PROTO_COUNT(precision_names))
        return proto_fail(error, PROTO_USAGE, "--precision is f32, bf16 or fp16");
    b->precision = (enum model_precision)p;
    return read_batches(b, batch, error) && read_preset(b, hidden_size, error);
}

int main(int count, char **words) {
    struct bench bench = {.preset = "rdt-tiny", .device = "cpu"};
    struct proto_error error = {0};
    if (!read_words(&bench, count, words, &error)) return proto_error_print("step_bench", &error);
    snprintf(bench.name, sizeof bench.name, "/pipeline-step-bench-%d", (int)getpid());
    for (uint32_t rank = 1; rank < bench.ranks; rank++)
        if (fork() == 0) {
            bench.rank = rank;
            break;
        }
    const int code = run(&bench);
    while (bench.rank == 0 && wait(NULL) > 0) {
    }
    return code;
}
