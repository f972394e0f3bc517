// tests/device/device_steps.c - a small network learns on a device, and on the cpu from the same
// weights and batches: the losses of both, step by step.
//
//     device_steps DEVICE f32|bf16|fp16 STEPS
//
// Each step draws its own batch, whose actions follow from its state, so that there is something to
// learn. Prints one line of JSON; exit 1 when the two part. How far they may: the first loss is
// made by one forward pass, whose products round operands to u (f32 6e-8, fp16 4.9e-4, bf16 3.9e-3)
// and add up many of mixed signs: 8 u, at least 2e-5. Later differences grow with the training
// itself, so means of the last quarter are compared: within 1 % in f32 and 5 % in the others.
// fp16 has its gradients scaled by 4096; a step that is not finite fails.
#include "model/rdt.h"
#include "proto/json.h"
#include "proto/random.h"
#include "proto/words.h"
#include "trainer/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 4
#define LANG 6
#define STEPS_MAX 10000

static const struct model_rdt_sizes sizes = {.hidden = 64,
                                             .depth = 4,
                                             .heads = 4,
                                             .chunk = 8,
                                             .width = 11,
                                             .lang_dim = 64,
                                             .img_dim = 96,
                                             .lang_rows = 32,
                                             .img_history = 1,
                                             .img_cameras = 2,
                                             .img_patches = 16,
                                             .epsilon = MODEL_EPSILON};
static const struct {
    const char *name;
    double first, last;  // relative differences allowed
    float scale;         // of gradients
} precisions[] = {[MODEL_F32] = {"f32", 2e-5, 0.01, 1},
                  [MODEL_BF16] = {"bf16", 8 * 0x1p-8, 0.05, 1},
                  [MODEL_FP16] = {"fp16", 8 * 0x1p-11, 0.05, 4096}};

struct side {
    struct model_backend *backend;
    struct model_rdt *rdt;
    struct trainer_optimizer *optimizer;
    float *weights, *gradients;
    size_t elements;
    double losses[STEPS_MAX];
};

// The last layer starts with zeros, before which nothing counts: all weights get a little noise.
static void weights_start(const struct model_parameters *table, float *host) {
    struct proto_random random = proto_random_at(5, PROTO_PURPOSE_DIFFUSION, 0);
    float noise[256];
    model_parameters_initialise(table, 7, host);
    for (size_t i = 0; i < table->elements; i++) {
        if (i % PROTO_COUNT(noise) == 0) proto_random_normal(&random, noise, PROTO_COUNT(noise));
        host[i] += 0.02f * noise[i % PROTO_COUNT(noise)];
    }
}

static bool side_open(struct side *s, const char *device, enum model_precision precision,
                      struct proto_error *error) {
    const struct model_rdt_plan plan = {.batch_max = BATCH, .lang_max = LANG, .training = true};
    const struct trainer_optimizer_settings settings = {
        .beta1 = 0.9,
        .beta2 = 0.999,
        .epsilon = 1e-8,
        .weight_decay = 0.01,
        .max_grad_norm = 1,
        .ema = {.inv_gamma = 1, .power = 0.75, .max = 0.9999}};
    if (!model_backend_open(device, 1, &s->backend, error) ||
        !model_backend_precision(s->backend, precision, error) ||
        !model_rdt_open(s->backend, &sizes, &plan, &s->rdt, error))
        return false;
    const struct model_parameters *table = model_rdt_parameters(s->rdt);
    s->elements = table->elements;
    const size_t bytes = s->elements * sizeof(float);
    float *host = proto_alloc(bytes, error);
    if (host) weights_start(table, host);
    s->weights = host ? model_backend_alloc(s->backend, bytes, error) : NULL;
    s->gradients = s->weights ? model_backend_alloc(s->backend, bytes, error) : NULL;
    const bool done =
        s->gradients && model_backend_upload(s->backend, s->weights, host, bytes, error) &&
        model_backend_parameters(s->backend, s->weights, s->elements, error) &&
        trainer_optimizer_open(s->backend, &settings, s->elements, &s->optimizer, error) &&
        trainer_optimizer_start(s->optimizer, s->weights, error);
    free(host);
    return done;
}
static void side_close(struct side *s) {
    trainer_optimizer_close(&s->optimizer);
    model_rdt_close(&s->rdt);
    if (s->backend) {
        model_backend_free(s->backend, s->weights);
        model_backend_free(s->backend, s->gradients);
    }
    model_backend_close(&s->backend);
}

// Batch number `at`: standard normal, but actions, which are a smooth function of the state.
static bool side_fill(struct side *s, uint32_t at, uint32_t timesteps[static BATCH],
                      struct proto_error *error) {
    static float state[BATCH * 11], ones[BATCH * 11], action[BATCH * 8 * 11], noise[BATCH * 8 * 11];
    static float lang[BATCH * LANG * 64], img[BATCH * 32 * 96];
    const struct model_rdt_inputs *in = model_rdt_inputs(s->rdt);
    struct proto_random random = proto_random_at(3, PROTO_PURPOSE_DIFFUSION, at);
    proto_random_normal(&random, state, PROTO_COUNT(state));
    proto_random_normal(&random, noise, PROTO_COUNT(noise));
    proto_random_normal(&random, lang, PROTO_COUNT(lang));
    proto_random_normal(&random, img, PROTO_COUNT(img));
    for (size_t i = 0; i < PROTO_COUNT(ones); i++) ones[i] = 1;
    for (size_t i = 0; i < PROTO_COUNT(action); i++)
        action[i] = sinf(state[i / (8 * 11) * 11 + i % 11] + 0.3f * (float)(i / 11 % 8));
    for (uint32_t b = 0; b < BATCH; b++) timesteps[b] = (at * BATCH + b) * 379 % MODEL_TIMESTEPS;
    return model_backend_upload(s->backend, in->state, state, sizeof state, error) &&
           model_backend_upload(s->backend, in->state_mask, ones, sizeof ones, error) &&
           model_backend_upload(s->backend, in->action_mask, ones, sizeof ones, error) &&
           model_backend_upload(s->backend, in->action, action, sizeof action, error) &&
           model_backend_upload(s->backend, in->noise, noise, sizeof noise, error) &&
           model_backend_upload(s->backend, in->lang_tokens, lang, sizeof lang, error) &&
           model_backend_fill(s->backend, in->lang_mask, 1, (size_t)BATCH * LANG, error) &&
           model_backend_upload(s->backend, in->img_tokens, img, sizeof img, error);
}

static bool side_train(struct side *s, uint32_t steps, float scale, struct proto_error *error) {
    static const float freqs[BATCH] = {20, 20, 20, 20};
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t timesteps[BATCH];
        struct trainer_optimizer_report report;
        const struct model_rdt_call call = {
            .batch = BATCH, .lang_length = LANG, .timesteps = timesteps, .ctrl_freq = freqs};
        if (!side_fill(s, i, timesteps, error) ||
            !model_backend_fill(s->backend, s->gradients, 0, s->elements * sizeof(float), error) ||
            !model_rdt_train(s->rdt, &call, s->weights, s->gradients, scale, &s->losses[i],
                             error) ||
            !trainer_optimizer_step_scaled(s->optimizer, s->weights, s->gradients, (double)scale,
                                           1e-3, &report, error))
            return false;
        if (!report.finite || !isfinite(s->losses[i]))
            return proto_fail(error, PROTO_FAILED, "step %u: loss %g, gradient norm %g", i,
                              s->losses[i], report.grad_norm);
    }
    return true;
}

static double mean_of_last(const struct side *s, uint32_t steps) {
    const uint32_t first = steps - (steps + 3) / 4;
    double sum = 0;
    for (uint32_t i = first; i < steps; i++) sum += s->losses[i];
    return sum / (steps - first);
}
static double apart(double x, double y) { return fabs(x - y) / fabs(y); }

static json_t *losses_json(const struct side *s, uint32_t steps) {
    json_t *list = json_array();
    for (uint32_t i = 0; i < steps; i++) json_array_append_new(list, json_real(s->losses[i]));
    return list;
}

static bool run(const char *device, enum model_precision precision, uint32_t steps,
                struct proto_error *error) {
    static struct side ours, cpu;
    bool done = side_open(&ours, device, precision, error) &&
                side_train(&ours, steps, precisions[precision].scale, error) &&
                side_open(&cpu, "cpu", MODEL_F32, error) && side_train(&cpu, steps, 1, error);
    if (done) {
        const double first = apart(ours.losses[0], cpu.losses[0]);
        const double last = apart(mean_of_last(&ours, steps), mean_of_last(&cpu, steps));
        json_t *line =
            json_pack("{s:s, s:s, s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "what",
                      "steps", "device", model_backend_kernels(ours.backend), "precision",
                      precisions[precision].name, "steps", (int)steps, "first_apart", first,
                      "first_tolerance", precisions[precision].first, "last_apart", last,
                      "last_tolerance", precisions[precision].last, "last_loss",
                      mean_of_last(&ours, steps), "cpu_last_loss", mean_of_last(&cpu, steps),
                      "losses", losses_json(&ours, steps), "cpu_losses", losses_json(&cpu, steps));
        json_dumpf(line, stdout, JSON_REAL_PRECISION(7));
        putchar('\n');
        json_decref(line);
        done = (first <= precisions[precision].first && last <= precisions[precision].last) ||
               proto_fail(error, PROTO_FAILED, "%s: losses part from the cpu's by %g and %g",
                          precisions[precision].name, first, last);
    }
    side_close(&ours);
    side_close(&cpu);
    return done;
}

int main(int count, char **words) {
    struct proto_error error = {0};
    uint64_t steps = 0;
    size_t p = 0;
    if (count != 4) {
        fprintf(stderr, "usage: device_steps DEVICE f32|bf16|fp16 STEPS\n");
        return PROTO_USAGE;
    }
    while (p < PROTO_COUNT(precisions) && strcmp(words[2], precisions[p].name) != 0) p++;
    if (p == PROTO_COUNT(precisions))
        proto_fail(&error, PROTO_USAGE, "the precision is f32, bf16 or fp16");
    else if (proto_words_number("STEPS", words[3], STEPS_MAX, &steps, &error) && steps > 0 &&
             run(words[1], (enum model_precision)p, (uint32_t)steps, &error))
        return PROTO_DONE;
    return proto_error_print("device_steps", &error);
}
