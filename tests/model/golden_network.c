// tests/model/golden_network.c - groups of rdt_golden that run the network: every intermediate and
// its gradient, all parameter gradients, the other norm, ranks and accumulation.
#include "tests/model/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- taps into results ----

struct tap {
    struct golden *g;
    struct golden_results *results;
};

static bool keep(void *context, const char *name, const float *device, size_t rows, size_t width,
                 size_t stride, struct proto_error *error) {
    struct tap *tap = context;
    const size_t count = rows * stride;
    float *host = proto_alloc_array(count, sizeof *host, error);
    if (!host) return false;
    bool done = model_backend_download(tap->g->backend, host, device, count * sizeof *host, error);
    for (size_t r = 1; r < rows; r++) memmove(host + r * width, host + r * stride, width * 4);
    if (done) done = golden_add(tap->results, host, rows * width, error, "%s", name);
    free(host);
    return done;
}

// to = a - b, by name.
static bool difference(struct golden_results *r, const char *to, const char *a, const char *b,
                       struct proto_error *error) {
    const struct golden_result *x = golden_find(r, a), *y = golden_find(r, b);
    if (!x || !y || x->count != y->count)
        return proto_fail(error, PROTO_FAILED, "no taps %s and %s", a, b);
    const size_t count = x->count;
    float *d = proto_alloc_array(count, sizeof *d, error);
    if (!d) return false;
    for (size_t i = 0; i < count; i++) d[i] = x->data[i] - y->data[i];
    const bool done = golden_add(r, d, count, error, "%s", to);
    free(d);
    return done;
}
static bool alias(struct golden_results *r, const char *to, const char *from,
                  struct proto_error *error) {
    const struct golden_result *x = golden_find(r, from);
    if (!x) return proto_fail(error, PROTO_FAILED, "no tap %s", from);
    return golden_add(r, x->data, x->count, error, "%s", to);
}

// The network adds a branch to its stream in one product; the branch alone is the difference, and
// its gradient is the stream's behind it.
static bool branches(struct golden *g, struct golden_results *r, struct proto_error *error) {
    static const struct {
        const char *branch, *after, *before;
    } rows[] = {{"attn", "middle", "in"}, {"cross_attn", "late", "middle"}, {"ffn", "out", "late"}};
    for (uint32_t b = 0; b < g->sizes.depth; b++)
        for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
            char to[64], a[64], c[64];
            snprintf(to, sizeof to, "block%u.%s", b, rows[i].branch);
            snprintf(a, sizeof a, "block%u.%s", b, rows[i].after);
            snprintf(c, sizeof c, "block%u.%s", b, rows[i].before);
            if (!difference(r, to, a, c, error)) return false;
            snprintf(to, sizeof to, "d.block%u.%s", b, rows[i].branch);
            snprintf(a, sizeof a, "d.block%u.%s", b, rows[i].after);
            if (!alias(r, to, a, error)) return false;
        }
    return true;
}

// Conditions: block 2k+p reads condition p; the adaptor's output is the condition less its table.
static bool conditions(struct golden *g, struct golden_results *r, struct proto_error *error) {
    static const char *const names[2] = {"lang", "img"};
    for (uint32_t p = 0; p < 2 && p < g->sizes.depth; p++) {
        char tap[64], to[64];
        snprintf(tap, sizeof tap, "%s_cond", names[p]);
        const struct golden_result *cond = golden_find(r, tap);
        if (!cond) return proto_fail(error, PROTO_FAILED, "no tap %s", tap);
        snprintf(to, sizeof to, "model.%s_cond_pos_embed", names[p]);
        const struct model_parameter *table = model_parameters_find(g->table, to);
        const size_t count = cond->count, period = count / g->batch;
        float *adaptor = proto_alloc_array(count, sizeof *adaptor, error);
        if (!adaptor) return false;
        for (size_t i = 0; i < count; i++)
            adaptor[i] = cond->data[i] - g->initial[table->offset + i % period];
        bool done = golden_add(r, adaptor, count, error, "core_in.%s_c", names[p]);
        free(adaptor);
        char back[64];
        snprintf(back, sizeof back, "d.%s_cond", names[p]);
        snprintf(to, sizeof to, "d.core_in.%s_c", names[p]);
        done = done && alias(r, to, back, error);
        for (uint32_t b = p; done && b < g->sizes.depth; b += 2) {
            snprintf(to, sizeof to, "block%u.cond", b);
            done = alias(r, to, tap, error);
            snprintf(to, sizeof to, "d.block%u.cond", b);
            done = done && alias(r, to, back, error);
        }
        if (!done) return false;
    }
    return true;
}

// The network normalises only the chunk's rows for its head; the recording has all rows. The same
// operation on the last block's output gives them; gradients of the others are 0.
static bool final_norm(struct golden *g, struct golden_results *r, struct proto_error *error) {
    const size_t hidden = g->sizes.hidden, stream = 3u + g->sizes.chunk;
    const size_t count = g->batch * stream * hidden;
    char last[64];
    snprintf(last, sizeof last, "block%u.out", g->sizes.depth - 1);
    const struct golden_result *x = golden_find(r, last), *d = golden_find(r, "d.final.norm");
    const struct model_parameter *gain =
        model_parameters_find(g->table, "model.final_layer.norm_final.weight");
    if (!x || !d) return proto_fail(error, PROTO_FAILED, "no tap %s or d.final.norm", last);
    float *memory = model_backend_alloc(g->backend, (2 * count + 2 * g->batch * stream) * 4, error);
    float *host = proto_alloc_array(count, sizeof *host, error);
    bool done = memory && host;
    if (done) {
        const struct model_norm norm = {.stat = g->sizes.norm_stat,
                                        .epsilon = g->sizes.epsilon,
                                        .groups = g->batch,
                                        .group_rows = stream,
                                        .width = hidden,
                                        .x = memory,
                                        .gain = g->device + gain->offset,
                                        .y = memory + count,
                                        .rows = memory + 2 * count};
        done = model_backend_upload(g->backend, memory, x->data, count * 4, error) &&
               model_norm(g->backend, &norm, error) &&
               model_backend_download(g->backend, host, memory + count, count * 4, error) &&
               golden_add(r, host, count, error, "final.norm");
    }
    if (done) {
        const size_t kept = g->sizes.chunk * hidden;
        memset(host, 0, count * sizeof *host);
        d = golden_find(r, "d.final.norm");
        for (uint32_t b = 0; b < g->batch; b++)
            memcpy(host + (b * stream + 3) * hidden, d->data + b * kept, kept * sizeof *host);
        done = golden_add(r, host, count, error, "d.final.norm");
    }
    free(host);
    model_backend_free(g->backend, memory);
    return done;
}

static bool noisy_action(struct golden *g, struct golden_results *r, struct proto_error *error) {
    const struct golden_result *tokens = golden_find(r, "tokens");
    const size_t width = g->sizes.width, chunk = g->sizes.chunk;
    if (!tokens) return proto_fail(error, PROTO_FAILED, "no tap tokens");
    float *noisy = proto_alloc_array(g->batch * chunk * width, sizeof *noisy, error);
    if (!noisy) return false;
    for (size_t b = 0; b < g->batch; b++)
        for (size_t t = 0; t < chunk; t++)
            memcpy(noisy + (b * chunk + t) * width,
                   tokens->data + (b * (chunk + 1) + t + 1) * 2 * width, width * sizeof *noisy);
    const bool done = golden_add(r, noisy, g->batch * chunk * width, error, "noisy_action");
    free(noisy);
    return done;
}

// ---- groups ----

static bool train_on(struct golden *g, const char *step, uint32_t first, uint32_t count,
                     float scale, double *loss, struct proto_error *error) {
    struct golden_call held;
    return golden_batch(g, step, first, count, &held, error) &&
           model_rdt_train(g->rdt, &held.call, g->device, g->gradients, scale, loss, error);
}

static bool watched(struct golden *g, struct golden_results *r, double *loss,
                    struct proto_error *error) {
    struct tap tap = {g, r};
    const struct model_tap watch = {&tap, keep};
    if (!golden_restart(g, error)) return false;
    model_rdt_watch(g->rdt, &watch);
    const bool done = train_on(g, "step0", 0, g->batch, 1, loss, error);
    model_rdt_watch(g->rdt, NULL);
    return done && golden_add_double(r, loss, 1, error, "loss");
}

bool golden_forward(struct golden *g, struct golden_results *r, struct proto_error *error) {
    double loss = 0;
    return watched(g, r, &loss, error) && branches(g, r, error) && conditions(g, r, error) &&
           final_norm(g, r, error) && noisy_action(g, r, error);
}

static bool add_gradients(struct golden *g, struct golden_results *r, const char *prefix,
                          struct proto_error *error) {
    float *flat = NULL;
    if (!golden_gradients(g, &flat, error)) return false;
    const bool done = golden_add_parameters(g, r, prefix, flat, error);
    free(flat);
    return done;
}

bool golden_grads(struct golden *g, struct golden_results *r, struct proto_error *error) {
    double loss = 0;
    return golden_restart(g, error) && train_on(g, "step0", 0, g->batch, 1, &loss, error) &&
           add_gradients(g, r, "", error);
}

bool golden_mean_square(struct golden *g, struct golden_results *r, struct proto_error *error) {
    struct model_rdt *variance = g->rdt;
    struct model_rdt_sizes sizes = g->sizes;
    sizes.norm_stat = MODEL_MEAN_SQUARE;
    const struct model_rdt_plan plan = {.batch_max = g->batch,
                                        .lang_max = g->lang_length,
                                        .training = true,
                                        .recompute = g->recompute};
    struct model_rdt *other = NULL;
    if (!model_rdt_open(g->backend, &sizes, &plan, &other, error)) return false;
    g->rdt = other;
    double loss = 0;
    const bool done = watched(g, r, &loss, error) && add_gradients(g, r, "d.", error);
    g->rdt = variance;
    model_rdt_close(&other);
    return done;
}

bool golden_parallel(struct golden *g, struct golden_results *r, struct proto_error *error) {
    const uint32_t half = g->batch / 2;
    double rank_loss[2] = {0}, accum_loss[2] = {0};
    for (uint32_t rank = 0; rank < 2; rank++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "rank%u.", rank);
        if (!golden_restart(g, error) ||
            !train_on(g, "step0", rank * half, half, 1, &rank_loss[rank], error) ||
            !add_gradients(g, r, prefix, error))
            return false;
    }
    // the average of two ranks as the trainer makes it: halves added into one buffer
    double unused = 0;
    if (!golden_restart(g, error) || !train_on(g, "step0", 0, half, 0.5f, &unused, error) ||
        !train_on(g, "step0", half, half, 0.5f, &unused, error) ||
        !add_gradients(g, r, "avg.", error))
        return false;
    if (!golden_restart(g, error)) return false;
    const json_t *steps = json_object_get(
        json_object_get(json_object_get(g->info, "settings"), "parallel"), "accumulation");
    for (size_t i = 0; i < 2; i++) {
        const char *step = json_string_value(json_array_get(steps, i));
        if (!step)
            return proto_fail(error, PROTO_DAMAGED,
                              "info.json: settings.parallel.accumulation is not two names");
        if (!train_on(g, step, 0, g->batch, 0.5f, &accum_loss[i], error)) return false;
    }
    double *sum = model_backend_alloc(g->backend, sizeof *sum, error);
    if (!sum) return false;
    const struct model_sum_squares squares = {
        .n = g->table->elements, .x = g->gradients, .sum = sum};
    double norm = 0;
    bool done = model_sum_squares(g->backend, &squares, error) &&
                model_backend_download(g->backend, &norm, sum, sizeof norm, error);
    model_backend_free(g->backend, sum);
    norm = __builtin_sqrt(norm);
    return done && add_gradients(g, r, "accum.", error) &&
           golden_add_double(r, rank_loss, 2, error, "rank_loss") &&
           golden_add_double(r, accum_loss, 2, error, "accum_loss") &&
           golden_add_double(r, &norm, 1, error, "accum_norm");
}
