// tests/model/golden_train.c - groups of rdt_golden that train: optimiser steps under the weak and
// the strong settings, and the moving average.
#include "tests/model/golden.h"

#include <stdio.h>
#include <stdlib.h>

static bool settings_of(const struct golden *g, const char *run, double *rate,
                        struct trainer_optimizer_settings *s, struct proto_error *error) {
    double after = 0;
    const struct {
        const char *key;
        double *value;
    } rows[] = {
        {"learning_rate", rate},
        {"betas.0", &s->beta1},
        {"betas.1", &s->beta2},
        {"epsilon", &s->epsilon},
        {"weight_decay", &s->weight_decay},
        {"max_grad_norm", &s->max_grad_norm},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        char path[96];
        snprintf(path, sizeof path, "settings.optim.%s.%s", run, rows[i].key);
        if (!golden_number(g, path, rows[i].value, error)) return false;
    }
    const bool done = golden_number(g, "settings.ema.update_after_step", &after, error) &&
                      golden_number(g, "settings.ema.inv_gamma", &s->ema.inv_gamma, error) &&
                      golden_number(g, "settings.ema.power", &s->ema.power, error) &&
                      golden_number(g, "settings.ema.min_value", &s->ema.min, error) &&
                      golden_number(g, "settings.ema.max_value", &s->ema.max, error);
    s->ema.update_after_step = (uint64_t)after;
    return done;
}

// Steps recorded: batches step0, step1, ..
static uint32_t steps_of(const struct golden *g) {
    uint32_t steps = 0;
    char name[64];
    for (; steps < GOLDEN_BATCHES_MAX; steps++) {
        snprintf(name, sizeof name, "step%u.action", steps);
        if (!proto_safetensors_find(g->batches, name)) break;
    }
    return steps;
}

static bool add_state(struct golden *g, struct golden_results *r, const char *prefix,
                      struct trainer_optimizer *optimizer, struct proto_error *error) {
    const size_t n = g->table->elements;
    char name[32];
    float *flat = proto_alloc_array(4 * n, sizeof *flat, error);
    if (!flat) return false;
    struct trainer_optimizer_state state = {.m = flat, .v = flat + n, .ema = flat + 2 * n};
    bool done =
        trainer_optimizer_snapshot(optimizer, &state, error) &&
        model_backend_download(g->backend, flat + 3 * n, g->device, n * sizeof *flat, error);
    const char *const parts[] = {"m.", "v.", "ema.", "final."};
    for (size_t i = 0; done && i < PROTO_COUNT(parts); i++) {
        snprintf(name, sizeof name, "%s%s", prefix, parts[i]);
        done = golden_add_parameters(g, r, name, flat + i * n, error);
    }
    free(flat);
    return done;
}

static bool train(struct golden *g, struct golden_results *r, const char *run, const char *prefix,
                  struct proto_error *error) {
    struct trainer_optimizer_settings settings = {0};
    struct trainer_optimizer *optimizer = NULL;
    double rate = 0;
    double losses[GOLDEN_BATCHES_MAX], norms[GOLDEN_BATCHES_MAX], decays[GOLDEN_BATCHES_MAX];
    const uint32_t steps = steps_of(g);
    bool done =
        settings_of(g, run, &rate, &settings, error) && golden_restart(g, error) &&
        trainer_optimizer_open(g->backend, &settings, g->table->elements, &optimizer, error) &&
        trainer_optimizer_start(optimizer, g->device, error);
    for (uint32_t i = 0; done && i < steps; i++) {
        char step[16];
        snprintf(step, sizeof step, "step%u", i);
        struct golden_call held;
        struct trainer_optimizer_report report = {0};
        done = golden_batch(g, step, 0, g->batch, &held, error) &&
               model_backend_fill(g->backend, g->gradients, 0, g->table->elements * sizeof(float),
                                  error) &&
               model_rdt_train(g->rdt, &held.call, g->device, g->gradients, 1, &losses[i], error) &&
               trainer_optimizer_step(optimizer, g->device, g->gradients, rate, &report, error);
        norms[i] = report.grad_norm;
        decays[i] = report.ema_decay;
    }
    done = done && golden_add_double(r, losses, steps, error, "%sloss", prefix) &&
           golden_add_double(r, norms, steps, error, "%sgrad_norm", prefix) &&
           golden_add_double(r, decays, steps, error, "%sema_decay", prefix) &&
           add_state(g, r, prefix, optimizer, error);
    trainer_optimizer_close(&optimizer);
    return done;
}

bool golden_optim(struct golden *g, struct golden_results *r, struct proto_error *error) {
    return train(g, r, "weak", "", error);
}
bool golden_strong(struct golden *g, struct golden_results *r, struct proto_error *error) {
    return train(g, r, "strong", "strong.", error);
}

// The file holds the average of the weak run under the parameters' own names.
bool golden_ema(struct golden *g, struct golden_results *r, struct proto_error *error) {
    struct golden_results all = {0};
    bool done = train(g, &all, "weak", "", error);
    for (size_t i = 0; done && i < g->table->count; i++) {
        char name[96];
        snprintf(name, sizeof name, "ema.%s", g->table->items[i].name);
        const struct golden_result *ema = golden_find(&all, name);
        done = ema && golden_add(r, ema->data, ema->count, error, "%s", g->table->items[i].name);
    }
    golden_results_free(&all);
    return done;
}
