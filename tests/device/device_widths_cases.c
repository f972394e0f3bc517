// tests/device/device_widths_cases.c - one case after another: memory with numbers that are the
// same on both sides, the operation, and its results.
#include "tests/device/widths.h"

#include <stdlib.h>

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

const struct widths_case widths_cases[] = {
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
const size_t widths_case_count = PROTO_COUNT(widths_cases);
