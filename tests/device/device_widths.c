// tests/device/device_widths.c - every operation of model/backend.h on a device, at the widths of
// the published network, in f32, bf16 and fp16, against the cpu, whose own operations are held
// against sums in double (tests/model).
//
//     device_widths DEVICE [--tiny]
//
// One line of JSON a case: largest difference of an output, relative to its largest number, and
// what is allowed; exit 1 when one is above. Allowed are 2e-5 for arithmetic in f32: sums of up to
// 4374 terms of mixed signs in two orders; a product with operands of 10 bits would be 50 times
// above. Products of rounded operands get 8 roundings u of an operand (bf16 2^-9, fp16 2^-12),
// gradients of attention 32: they pass four such products and a difference.
#include "model/backend.h"
#include "proto/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUTS_MAX 8
#define MEMORIES_MAX 24

struct widths {
    size_t batch, heads, head_width, queries, image_keys, language_keys, width, pixels;
};
static const struct widths published = {2, 32, 64, 67, 4374, 32, 128, 224};
static const struct widths tiny = {2, 2, 16, 5, 19, 7, 11, 24};

// One side of a comparison: memory of a case, and which of it are results.
struct side {
    struct model_backend *backend;
    struct widths w;
    struct proto_error error;
    void *memories[MEMORIES_MAX];
    size_t memory_count, output_count;
    struct output {
        void *device;
        size_t count;
        bool wide;  // f64
    } outputs[OUTPUTS_MAX];
};
static size_t hidden(const struct side *s) { return s->w.heads * s->w.head_width; }
static size_t rows(const struct side *s) { return s->w.batch * s->w.queries; }

// ---- memory: NULL after the first error, which stays ----

static void *bytes_of(struct side *s, const void *host, size_t bytes) {
    if (s->error.status) return NULL;
    void *device = model_backend_alloc(s->backend, bytes, &s->error);
    if (!device) return NULL;
    s->memories[s->memory_count++] = device;
    return model_backend_upload(s->backend, device, host, bytes, &s->error) ? device : NULL;
}
// n numbers in middle +- factor, the same on both sides: by place in the case.
static float *numbers(struct side *s, size_t n, float middle, float factor) {
    float *host = s->error.status ? NULL : proto_alloc_array(n, sizeof *host, &s->error);
    if (!host) return NULL;
    uint32_t state = 12345 + (uint32_t)s->memory_count * 7919;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        host[i] = middle + factor * ((float)(state >> 8) * 0x1p-23f - 1);
    }
    float *device = bytes_of(s, host, n * sizeof *host);
    free(host);
    return device;
}
static float *in(struct side *s, size_t n) { return numbers(s, n, 0, 1); }
static float *positive(struct side *s, size_t n) { return numbers(s, n, 1, 0.5f); }
static float *out_at(struct side *s, float *device, size_t n) {
    s->outputs[s->output_count++] = (struct output){device, n, false};
    return device;
}
static float *out(struct side *s, size_t n) { return out_at(s, in(s, n), n); }
static double *out_wide(struct side *s) {
    const double zero = 0;
    double *device = bytes_of(s, &zero, sizeof zero);
    s->outputs[s->output_count++] = (struct output){device, 1, true};
    return device;
}
static uint8_t *mask_of(struct side *s, size_t n) {
    uint8_t *host = s->error.status ? NULL : proto_alloc(n, &s->error);
    for (size_t i = 0; host && i < n; i++) host[i] = i % 5 != 3;
    uint8_t *device = host ? bytes_of(s, host, n) : NULL;
    free(host);
    return device;
}
#define RUN(name, ...) (s->error.status == 0 && model_##name(s->backend, __VA_ARGS__, &s->error))

// ---- the cases ----

static void forward_layer(struct side *s, enum model_activation activation, struct model_gemm *g) {
    const size_t d = hidden(s);
    *g = (struct model_gemm){.transpose_b = true,
                             .m = rows(s),
                             .n = d,
                             .k = d,
                             .a = in(s, rows(s) * d),
                             .a_stride = d,
                             .b = in(s, d * d),
                             .b_stride = d,
                             .d = out(s, rows(s) * d),
                             .d_stride = d,
                             .bias = in(s, d),
                             .activation = activation,
                             .aux = activation == MODEL_LINEAR ? NULL : in(s, rows(s) * d)};
}
static bool gemm_linear(struct side *s) {
    struct model_gemm g;
    forward_layer(s, MODEL_LINEAR, &g);
    g.c = in(s, s->w.queries * g.n), g.c_stride = g.n, g.c_rows = s->w.queries;
    return RUN(gemm, &g);
}
static bool gemm_both(struct side *s, enum model_activation forward,
                      enum model_activation backward) {
    struct model_gemm g;
    forward_layer(s, forward, &g);
    if (!RUN(gemm, &g)) return false;
    const struct model_gemm back = {.m = g.m,
                                    .n = g.k,
                                    .k = g.n,
                                    .a = in(s, g.m * g.n),
                                    .a_stride = g.n,
                                    .b = g.b,
                                    .b_stride = g.k,
                                    .d = out(s, g.m * g.k),
                                    .d_stride = g.k,
                                    .activation = backward,
                                    .aux = g.aux};
    return RUN(gemm, &back);
}
static bool gemm_gelu(struct side *s) { return gemm_both(s, MODEL_GELU, MODEL_GELU_BACKWARD); }
static bool gemm_silu(struct side *s) { return gemm_both(s, MODEL_SILU, MODEL_SILU_BACKWARD); }
static bool gemm_gradient(struct side *s) {
    const size_t d = hidden(s);
    struct model_gemm g = {.transpose_a = true,
                           .m = d,
                           .n = d,
                           .k = rows(s),
                           .a = in(s, rows(s) * d),
                           .a_stride = d,
                           .b = in(s, rows(s) * d),
                           .b_stride = d,
                           .d = out(s, d * d),
                           .d_stride = d,
                           .c_stride = d,
                           .a_sums = out(s, d)};
    g.c = g.d;
    return RUN(gemm, &g);
}
static struct model_norm norm_of(struct side *s) {
    const size_t d = hidden(s), kept = s->w.batch * (s->w.queries - 3);
    return (struct model_norm){.stat = MODEL_VARIANCE,
                               .epsilon = 1e-6f,
                               .groups = s->w.batch,
                               .group_rows = s->w.queries,
                               .skip = 3,
                               .width = d,
                               .x = in(s, rows(s) * d),
                               .gain = positive(s, d),
                               .y = out(s, kept * d),
                               .rows = out(s, kept * 2)};
}
static bool norm(struct side *s) {
    const struct model_norm a = norm_of(s);
    return RUN(norm, &a);
}
static bool norm_backward(struct side *s) {
    const struct model_norm forward = norm_of(s);
    const struct model_norm_backward a = {.forward = forward,
                                          .dy = in(s, s->w.batch * (s->w.queries - 3) * hidden(s)),
                                          .dx = out(s, rows(s) * hidden(s)),
                                          .add = true,
                                          .dgain = out(s, hidden(s))};
    return RUN(norm, &forward) && RUN(norm_backward, &a);
}
static struct model_attention attention_of(struct side *s, size_t keys, bool masked) {
    const size_t d = hidden(s);
    return (struct model_attention){
        .stat = MODEL_VARIANCE,
        .epsilon = 1e-6f,
        .batch = s->w.batch,
        .heads = s->w.heads,
        .queries = s->w.queries,
        .keys = keys,
        .head_width = s->w.head_width,
        .q = in(s, rows(s) * d),
        .k = in(s, s->w.batch * keys * d),
        .v = in(s, s->w.batch * keys * d),
        .q_stride = d,
        .kv_stride = d,
        .q_gain = positive(s, s->w.head_width),
        .k_gain = positive(s, s->w.head_width),
        .mask = masked ? mask_of(s, s->w.batch * keys) : NULL,
        .y = out(s, rows(s) * d),
        .saved = in(s, model_attention_saved(s->backend, s->w.batch, s->w.heads, s->w.queries, keys,
                                             s->w.head_width))};
}
static bool attention_images(struct side *s) {
    const struct model_attention a = attention_of(s, s->w.image_keys, false);
    return RUN(attention, &a);
}
static bool attention_language(struct side *s) {
    const struct model_attention a = attention_of(s, s->w.language_keys, true);
    return RUN(attention, &a);
}
static bool attention_back(struct side *s, size_t keys, bool masked) {
    const struct model_attention forward = attention_of(s, keys, masked);
    const size_t d = hidden(s);
    const struct model_attention_backward a = {.forward = forward,
                                               .dy = in(s, rows(s) * d),
                                               .dq = out(s, rows(s) * d),
                                               .dk = out(s, s->w.batch * keys * d),
                                               .dv = out(s, s->w.batch * keys * d),
                                               .dq_gain = out(s, s->w.head_width),
                                               .dk_gain = out(s, s->w.head_width)};
    return RUN(attention, &forward) && RUN(attention_backward, &a);
}
static bool attention_back_images(struct side *s) {
    return attention_back(s, s->w.image_keys, false);
}
static bool attention_back_language(struct side *s) {
    return attention_back(s, s->w.language_keys, true);
}
static bool sinusoid(struct side *s) {
    const struct model_sinusoid a = {
        .rows = s->w.batch, .width = 256, .v = in(s, s->w.batch), .y = out(s, s->w.batch * 256)};
    return RUN(sinusoid, &a);
}
static bool tokens(struct side *s) {
    const size_t b = s->w.batch, chunk = s->w.queries - 3, n = s->w.width;
    const struct model_tokens a = {.batch = b,
                                   .chunk = chunk,
                                   .width = n,
                                   .state = in(s, b * n),
                                   .state_mask = in(s, b * n),
                                   .action_mask = in(s, b * n),
                                   .action = in(s, b * chunk * n),
                                   .noise = in(s, b * chunk * n),
                                   .signal = in(s, b),
                                   .grain = in(s, b),
                                   .y = out(s, b * (1 + chunk) * 2 * n)};
    return RUN(tokens, &a);
}
static bool concat(struct side *s) {
    const size_t b = s->w.batch, d = hidden(s), rest = s->w.queries - 2;
    const struct model_concat a = {.batch = b,
                                   .rest_rows = rest,
                                   .width = d,
                                   .first = in(s, b * d),
                                   .second = in(s, b * d),
                                   .rest = in(s, b * rest * d),
                                   .position = in(s, (rest + 2) * d),
                                   .x = out(s, rows(s) * d)};
    return RUN(concat, &a);
}
static bool concat_backward(struct side *s) {
    const size_t b = s->w.batch, d = hidden(s), rest = s->w.queries - 2;
    const struct model_concat_backward a = {.batch = b,
                                            .rest_rows = rest,
                                            .width = d,
                                            .dx = in(s, rows(s) * d),
                                            .dfirst = out(s, b * d),
                                            .dsecond = out(s, b * d),
                                            .drest = out(s, b * rest * d),
                                            .dposition = out(s, (rest + 2) * d)};
    return RUN(concat_backward, &a);
}
static bool sum_batch(struct side *s) {
    const size_t n = s->w.image_keys * hidden(s);
    const struct model_sum_batch a = {
        .batch = s->w.batch, .n = n, .x = in(s, s->w.batch * n), .y = out(s, n)};
    return RUN(sum_batch, &a);
}
static bool mse(struct side *s) {
    const size_t n = rows(s) * s->w.width;
    const struct model_mse a = {.n = n,
                                .prediction = in(s, n),
                                .target = in(s, n),
                                .scale = 0.5f,
                                .gradient = out(s, n),
                                .loss = out_wide(s)};
    return RUN(mse, &a);
}
static bool adamw(struct side *s) {
    const size_t n = hidden(s) * hidden(s) + 3;
    float *const g = in(s, n), *const p = out(s, n), *const m = out(s, n);
    const struct model_adamw a = {.n = n,
                                  .p = p,
                                  .m = m,
                                  .v = out_at(s, positive(s, n), n),
                                  .g = g,
                                  .ema = out(s, n),
                                  .gradient_scale = 0.7,
                                  .rate = 1e-3,
                                  .beta1 = 0.9,
                                  .beta2 = 0.999,
                                  .epsilon = 1e-8,
                                  .weight_decay = 0.01,
                                  .correction1 = 0.3,
                                  .correction2 = 0.02,
                                  .ema_decay = 0.99};
    return RUN(adamw, &a);
}
static bool sum_squares(struct side *s) {
    const size_t n = hidden(s) * hidden(s) + 3;
    const struct model_sum_squares a = {.n = n, .x = in(s, n), .sum = out_wide(s)};
    return RUN(sum_squares, &a);
}
static bool axpby(struct side *s) {
    const size_t n = rows(s) * hidden(s);
    const struct model_axpby a = {.n = n, .a = 0.3f, .x = in(s, n), .b = -1.2f, .y = out(s, n)};
    return RUN(axpby, &a);
}
static bool combine(struct side *s) {
    const size_t n = rows(s) * s->w.width;
    const struct model_combine a = {.n = n,
                                    .cx = 0.3f,
                                    .c0 = -1.2f,
                                    .c1 = 0.9f,
                                    .x = out(s, n),
                                    .m0 = in(s, n),
                                    .m1 = in(s, n)};
    return RUN(combine, &a);
}
static bool mask_rows(struct side *s) {
    const size_t b = s->w.batch, r = s->w.queries, n = s->w.width;
    const struct model_mask_rows a = {.batch = b,
                                      .rows = r,
                                      .width = n,
                                      .x = in(s, b * r * n),
                                      .mask = in(s, b * n),
                                      .y = out(s, b * r * n)};
    return RUN(mask_rows, &a);
}
static bool patches(struct side *s) {
    const size_t height = s->w.pixels, width = height + 7, images = 3;
    const uint32_t grid = 8, patch = 8;
    uint8_t *host = s->error.status ? NULL : proto_alloc(images * height * width * 3, &s->error);
    for (size_t i = 0; host && i < images * height * width * 3; i++)
        host[i] = (uint8_t)(i * 2654435761u >> 24);
    const struct model_patches a = {
        .images = images,
        .height = height,
        .width = width,
        .pixels = host ? bytes_of(s, host, images * height * width * 3) : NULL,
        .mask = mask_of(s, images),
        .flip_rows = true,
        .grid = grid,
        .patch = patch,
        .mean = {0.5f, 0.4f, 0.3f},
        .deviation = 0.5f,
        .tokens = out(s, images * grid * grid * (3 * patch * patch + MODEL_PATCH_PLACE))};
    free(host);
    return RUN(patches, &a);
}

enum reads { NUMBERS, PRODUCTS, CHAINS };  // what of it is rounded; CHAINS: gradients of attention
static const struct {
    const char *operation, *name;
    bool (*run)(struct side *s);
    enum reads reads;
} cases[] = {
    {"gemm", "with a table and a bias", gemm_linear, PRODUCTS},
    {"gemm", "GELU and back", gemm_gelu, PRODUCTS},
    {"gemm", "SiLU and back", gemm_silu, PRODUCTS},
    {"gemm", "gradients of weight and bias", gemm_gradient, PRODUCTS},
    {"norm", "", norm, NUMBERS},
    {"norm_backward", "", norm_backward, NUMBERS},
    {"attention", "to images", attention_images, PRODUCTS},
    {"attention", "to language, masked", attention_language, PRODUCTS},
    {"attention_backward", "to images", attention_back_images, CHAINS},
    {"attention_backward", "to language, masked", attention_back_language, CHAINS},
    {"sinusoid", "", sinusoid, NUMBERS},
    {"tokens", "", tokens, NUMBERS},
    {"concat", "", concat, NUMBERS},
    {"concat_backward", "", concat_backward, NUMBERS},
    {"sum_batch", "", sum_batch, NUMBERS},
    {"mse", "", mse, NUMBERS},
    {"adamw", "", adamw, NUMBERS},
    {"sum_squares", "", sum_squares, NUMBERS},
    {"axpby", "", axpby, NUMBERS},
    {"combine", "", combine, NUMBERS},
    {"mask_rows", "", mask_rows, NUMBERS},
    {"patches", "", patches, NUMBERS},
};
static const char *const precision_names[] = {"f32", "bf16", "fp16"};

static double allowed(enum reads reads, enum model_precision precision) {
    const double unit = precision == MODEL_BF16 ? 0x1p-9 : 0x1p-12;
    if (reads == NUMBERS || precision == MODEL_F32) return 2e-5;
    return (reads == PRODUCTS ? 8 : 32) * unit;
}

// ---- comparing ----

static double number_at(const void *host, bool wide, size_t i) {
    return wide ? ((const double *)host)[i] : (double)((const float *)host)[i];
}
// Largest difference of output i, relative to the largest number; infinite for a NaN.
static double apart(struct side *device, struct side *cpu, size_t i, struct proto_error *error) {
    const struct output *ours = &device->outputs[i], *theirs = &cpu->outputs[i];
    const size_t bytes = ours->count * (ours->wide ? sizeof(double) : sizeof(float));
    void *x = proto_alloc(bytes, error), *y = x ? proto_alloc(bytes, error) : NULL;
    double largest = 0, off = INFINITY;
    if (y && model_backend_download(device->backend, x, ours->device, bytes, error) &&
        model_backend_download(cpu->backend, y, theirs->device, bytes, error)) {
        off = 0;
        for (size_t k = 0; k < ours->count; k++) {
            const double a = number_at(x, ours->wide, k), b = number_at(y, ours->wide, k);
            if (!(fabs(a - b) <= off)) off = isnan(a - b) ? (double)INFINITY : fabs(a - b);
            if (fabs(b) > largest) largest = fabs(b);
        }
        if (largest > 0) off /= largest;
    }
    free(x);
    free(y);
    return off;
}
static void side_clear(struct side *s) {
    for (size_t i = 0; i < s->memory_count; i++) model_backend_free(s->backend, s->memories[i]);
    s->memory_count = s->output_count = 0;
    s->error = (struct proto_error){0};
}

static bool run_case(struct side *device, struct side *cpu, size_t at) {
    const enum model_precision precision = model_backend_precision_of(device->backend);
    const double limit = allowed(cases[at].reads, precision);
    struct proto_error error = {0};
    double worst = INFINITY;
    if (cases[at].run(device) && cases[at].run(cpu)) {
        worst = 0;
        for (size_t i = 0; i < cpu->output_count; i++)
            worst = fmax(worst, apart(device, cpu, i, &error));
    }
    const bool passed = worst <= limit;
    printf("{\"what\": \"operation\", \"operation\": \"%s\", \"case\": \"%s\", \"precision\": "
           "\"%s\", \"error\": %.3g, \"tolerance\": %.3g, \"passed\": %s}\n",
           cases[at].operation, cases[at].name, precision_names[precision],
           isfinite(worst) ? worst : 1e300, limit, passed ? "true" : "false");
    fflush(stdout);
    const struct proto_error *const said[] = {&device->error, &cpu->error, &error};
    for (size_t i = 0; i < PROTO_COUNT(said); i++)
        if (said[i]->status)
            fprintf(stderr, "device_widths: %s: %s\n", cases[at].operation, said[i]->text);
    side_clear(device);
    side_clear(cpu);
    return passed;
}

// Is there a case of every operation of the table?
static bool table_is_covered(struct proto_error *error) {
#define NAME(name, args) #name,
    static const char *const names[] = {MODEL_OPERATIONS(NAME)};
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        size_t at = 0;
        while (at < PROTO_COUNT(cases) && strcmp(cases[at].operation, names[i]) != 0) at++;
        if (at == PROTO_COUNT(cases))
            return proto_fail(error, PROTO_FAILED, "no case of the operation %s", names[i]);
    }
    return true;
}

int main(int count, char **words) {
    const bool small = count == 3 && strcmp(words[2], "--tiny") == 0;
    struct proto_error error = {0};
    if (count != 2 && !small) {
        fprintf(stderr, "usage: device_widths DEVICE [--tiny]\n");
        return PROTO_USAGE;
    }
    static struct side device, cpu;
    device.w = cpu.w = small ? tiny : published;
    bool done = table_is_covered(&error) &&
                model_backend_open(words[1], 1, &device.backend, &error) &&
                model_backend_open("cpu", 0, &cpu.backend, &error);
    size_t above = 0;
    for (int p = MODEL_F32; done && p <= MODEL_FP16; p++) {
        done = model_backend_precision(device.backend, (enum model_precision)p, &error);
        for (size_t i = 0; done && i < PROTO_COUNT(cases); i++)
            if (p == MODEL_F32 || cases[i].reads != NUMBERS) above += !run_case(&device, &cpu, i);
    }
    model_backend_close(&device.backend);
    model_backend_close(&cpu.backend);
    if (done && above > 0)
        done = proto_fail(&error, PROTO_FAILED, "%zu cases are above their tolerance", above);
    return done ? PROTO_DONE : proto_error_print("device_widths", &error);
}
