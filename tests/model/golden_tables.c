// tests/model/golden_tables.c - groups of rdt_golden about numbers that need no training: the
// sampler with its steps, schedules of diffusion and learning rate, initial position tables.
#include "tests/model/golden.h"

#include "model/sampler.h"
#include "trainer/schedule.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- sampler ----

struct watched {
    struct golden *g;
    struct golden_results *results;
    uint32_t steps;
};
static bool keep(void *context, const char *name, const float *device, size_t rows, size_t width,
                 size_t stride, struct proto_error *error) {
    struct watched *w = context;
    const size_t count = rows * width;
    (void)stride;  // dense
    float *host = proto_alloc_array(count, sizeof *host, error);
    if (!host) return false;
    const bool done =
        model_backend_download(w->g->backend, host, device, count * sizeof *host, error) &&
        golden_add(w->results, host, count, error, "n%u.%s", w->steps, name);
    free(host);
    return done;
}

static bool sample(struct golden *g, struct golden_results *r, uint32_t steps, const float *noise,
                   struct golden_call *held, struct proto_error *error) {
    struct model_sampler *sampler = NULL;
    const size_t count = (size_t)g->batch * g->sizes.chunk * g->sizes.width;
    float *action = proto_alloc_array(count, sizeof *action, error);
    if (!action) return false;
    bool done = model_sampler_open(g->rdt, steps, &sampler, error);
    if (done) {
        struct watched watched = {g, r, steps};
        const struct model_tap tap = {&watched, keep};
        model_sampler_watch(sampler, &tap);
        done = model_sampler_run(sampler, &held->call, g->device, noise, action, error) &&
               golden_add(r, action, count, error, "n%u.action", steps);
        double t[MODEL_SAMPLER_STEPS_MAX];
        const struct model_solver *solver = model_sampler_solver(sampler);
        for (uint32_t i = 0; i < steps; i++) t[i] = solver->timesteps[i];
        done = done && golden_add_double(r, t, steps, error, "n%u.t", steps);
    }
    model_sampler_close(&sampler);
    free(action);
    return done;
}

// Numbers K of tensors named "nK.<rest>", each once.
static size_t numbers_of(const struct proto_safetensors *file, const char *rest, uint32_t *out,
                         size_t room) {
    size_t count = 0;
    for (size_t i = 0; i < proto_safetensors_count(file); i++) {
        unsigned k = 0;
        int used = 0;
        const char *name = proto_safetensors_at(file, i)->name;
        const char *plain = strncmp(name, "sub", 3) == 0 ? strchr(name, '.') : NULL;
        if (plain) name = plain + 1;
        if (sscanf(name, "n%u.%n", &k, &used) != 1 || strcmp(name + used, rest) != 0) continue;
        if (k >= 1 && k <= MODEL_SAMPLER_STEPS_MAX && count < room) out[count++] = k;
    }
    return count;
}

bool golden_sampler(struct golden *g, struct golden_results *r, struct proto_error *error) {
    struct proto_safetensors *file = NULL;
    float *noise = NULL;
    size_t count = 0;
    uint32_t steps[16];
    struct golden_call held;
    bool done = golden_open(g, "sampler", &file, error) && golden_restart(g, error) &&
                golden_batch(g, "step0", 0, g->batch, &held, error) &&
                golden_read(file, "init_noise", &noise, &count, error);
    if (done && count != (size_t)g->batch * g->sizes.chunk * g->sizes.width)
        done = proto_fail(error, PROTO_DAMAGED, "init_noise has %zu elements", count);
    done = done && golden_add(r, noise, count, error, "init_noise");
    const size_t runs = done ? numbers_of(file, "action", steps, PROTO_COUNT(steps)) : 0;
    for (size_t i = 0; done && i < runs; i++) done = sample(g, r, steps[i], noise, &held, error);
    free(noise);
    proto_safetensors_close(&file);
    return done;
}

// ---- schedules ----

static bool add_solver(struct golden_results *r, const struct model_schedule *schedule,
                       uint32_t steps, struct proto_error *error) {
    struct model_solver *solver = proto_alloc(sizeof *solver, error);
    if (!solver) return false;
    bool done = model_solver_plan(schedule, steps, solver, error);
    double t[MODEL_SAMPLER_STEPS_MAX];
    for (uint32_t i = 0; i < steps; i++) t[i] = solver->timesteps[i];
    done = done && golden_add_double(r, t, steps, error, "n%u.timesteps", steps) &&
           golden_add_double(r, solver->sigmas, steps + 1, error, "n%u.sigmas", steps) &&
           golden_add_double(r, solver->coef_x, steps, error, "n%u.coef_x", steps) &&
           golden_add_double(r, solver->coef_m0, steps, error, "n%u.coef_m0", steps) &&
           golden_add_double(r, solver->coef_m1, steps, error, "n%u.coef_m1", steps);
    free(solver);
    return done;
}

static bool add_rates(const struct golden *g, struct golden_results *r, size_t count,
                      struct proto_error *error) {
    static const char *const names[] = {"constant", "constant_with_warmup", "linear",
                                        "cosine",   "cosine_with_restarts", "polynomial"};
    double rate = 0, warmup = 0, total = 0, cycles = 0, power = 0, end = 0;
    if (!golden_number(g, "settings.schedule.learning_rate", &rate, error) ||
        !golden_number(g, "settings.schedule.warmup_steps", &warmup, error) ||
        !golden_number(g, "settings.schedule.total_steps", &total, error) ||
        !golden_number(g, "settings.schedule.num_cycles", &cycles, error) ||
        !golden_number(g, "settings.schedule.power", &power, error) ||
        !golden_number(g, "settings.schedule.lr_end", &end, error))
        return false;
    double *rates = proto_alloc_array(count, sizeof *rates, error);
    bool done = rates != NULL;
    for (size_t i = 0; done && i < PROTO_COUNT(names); i++) {
        struct trainer_schedule schedule;
        done = trainer_schedule_make(names[i], rate, i == 0 ? 0 : (uint64_t)warmup, (uint64_t)total,
                                     cycles, power, &schedule, error);
        schedule.polynomial_end = end;
        for (size_t s = 0; done && s < count; s++) rates[s] = trainer_schedule_rate(&schedule, s);
        done = done && golden_add_double(r, rates, count, error, "lr.%s", names[i]);
    }
    free(rates);
    return done;
}

static bool add_sinusoid(struct golden *g, struct golden_results *r,
                         const struct proto_safetensors *file, struct proto_error *error) {
    float *v = NULL, *host = NULL, *device = NULL;
    size_t rows = 0;
    if (!proto_safetensors_find(file, "sinusoid.v")) return true;
    bool done = golden_read(file, "sinusoid.v", &v, &rows, error);
    const size_t count = rows * MODEL_SINUSOID;
    done = done && (host = proto_alloc_array(count, sizeof *host, error)) != NULL &&
           (device = model_backend_alloc(g->backend, (count + rows) * sizeof *host, error)) != NULL;
    const struct model_sinusoid sinusoid = {
        .rows = rows, .width = MODEL_SINUSOID, .v = done ? device + count : NULL, .y = device};
    done = done && model_backend_upload(g->backend, device + count, v, rows * sizeof *v, error) &&
           model_sinusoid(g->backend, &sinusoid, error) &&
           model_backend_download(g->backend, host, device, count * sizeof *host, error) &&
           golden_add(r, v, rows, error, "sinusoid.v") &&
           golden_add(r, host, count, error, "sinusoid.rows");
    model_backend_free(g->backend, device);
    free(host);
    free(v);
    return done;
}

static bool add_decays(const struct golden *g, struct golden_results *r,
                       const struct proto_safetensors *file, struct proto_error *error) {
    struct trainer_optimizer_settings s = {0};
    float *counter = NULL;
    size_t count = 0;
    double after = 0;
    if (!proto_safetensors_find(file, "ema.counter")) return true;
    if (!golden_number(g, "settings.ema.update_after_step", &after, error) ||
        !golden_number(g, "settings.ema.inv_gamma", &s.ema.inv_gamma, error) ||
        !golden_number(g, "settings.ema.power", &s.ema.power, error) ||
        !golden_number(g, "settings.ema.min_value", &s.ema.min, error) ||
        !golden_number(g, "settings.ema.max_value", &s.ema.max, error) ||
        !golden_read(file, "ema.counter", &counter, &count, error))
        return false;
    s.ema.update_after_step = (uint64_t)after;
    double *decays = proto_alloc_array(count, sizeof *decays, error);
    bool done = decays != NULL;
    for (size_t i = 0; done && i < count; i++)
        decays[i] = trainer_ema_decay(&s, (uint64_t)counter[i]);
    done = done && golden_add(r, counter, count, error, "ema.counter") &&
           golden_add_double(r, decays, count, error, "ema.decay");
    free(decays);
    free(counter);
    return done;
}

bool golden_schedule(struct golden *g, struct golden_results *r, struct proto_error *error) {
    struct proto_safetensors *file = NULL;
    uint32_t steps[16];
    double recorded = 0;
    struct model_schedule *schedule = proto_alloc(sizeof *schedule, error);
    bool done = schedule && golden_open(g, "schedule", &file, error) &&
                golden_number(g, "settings.schedule.steps_recorded", &recorded, error);
    if (done) model_schedule_fill(schedule);
    done = done && golden_add(r, schedule->betas, MODEL_TIMESTEPS, error, "betas") &&
           golden_add(r, schedule->alphas_cumprod, MODEL_TIMESTEPS, error, "alphas_cumprod") &&
           add_rates(g, r, (size_t)recorded, error) && add_sinusoid(g, r, file, error) &&
           add_decays(g, r, file, error);
    const size_t runs = done ? numbers_of(file, "timesteps", steps, PROTO_COUNT(steps)) : 0;
    for (size_t i = 0; done && i < runs; i++) done = add_solver(r, schedule, steps[i], error);
    proto_safetensors_close(&file);
    free(schedule);
    return done;
}

// ---- initial tables ----

// One parameter of a network of those sizes.
static bool initial_of(const struct model_rdt_sizes *sizes, const char *name, float **out,
                       size_t *count, struct proto_error *error) {
    struct model_parameters *table = NULL;
    if (!model_parameters_new(sizes, &table, error)) return false;
    const struct model_parameter *item = model_parameters_find(table, name);
    *count = item->elements;
    *out = proto_alloc_array(item->elements, sizeof **out, error);
    if (*out) model_parameter_initialise(table, (size_t)(item - table->items), 0, *out);
    model_parameters_free(&table);
    return *out != NULL;
}

// Full-size rows: "x_pos_embed.rows_0_1_66.D2048", "lang_pos_embed.row0.D1024",
// "img_pos_embed.first_patch_of_6_images.D1024" (the official 2 x 3 grid, chunk 64).
static bool add_full_size(struct golden_results *r, const char *name, struct proto_error *error) {
    const char *last = strrchr(name, '.');
    struct model_rdt_sizes sizes = {.hidden = (uint32_t)strtoul(last + 2, NULL, 10),
                                    .depth = 1,
                                    .heads = 1,
                                    .chunk = 64,
                                    .width = 1,
                                    .lang_dim = 1,
                                    .img_dim = 1,
                                    .lang_rows = 1,
                                    .img_history = 2,
                                    .img_cameras = 3,
                                    .img_patches = 1,
                                    .epsilon = MODEL_EPSILON};
    const bool x = strncmp(name, "x_pos", 5) == 0, lang = strncmp(name, "lang_pos", 8) == 0;
    float *all = NULL;
    size_t count = 0;
    if (!initial_of(&sizes,
                    x      ? "model.x_pos_embed"
                    : lang ? "model.lang_cond_pos_embed"
                           : "model.img_cond_pos_embed",
                    &all, &count, error))
        return false;
    float *rows = proto_alloc_array(count, sizeof *rows, error);
    bool done = rows != NULL;
    if (done && x) {
        size_t kept = 0;
        const char *list = strstr(name, "rows");
        for (const char *at = list ? strchr(list, '_') : NULL; at && at < last;
             at = strchr(at + 1, '_')) {
            const size_t row = strtoul(at + 1, NULL, 10);
            if (row >= 67 || kept >= 67) break;
            memcpy(rows + kept++ * sizes.hidden, all + row * sizes.hidden,
                   sizes.hidden * sizeof *rows);
        }
        done = golden_add(r, rows, kept * sizes.hidden, error, "%s", name);
    } else if (done) {
        done = golden_add(r, all, count, error, "%s", name);
    }
    free(rows);
    free(all);
    return done;
}

bool golden_init(struct golden *g, struct golden_results *r, struct proto_error *error) {
    struct proto_safetensors *file = NULL;
    bool done = golden_open(g, "init", &file, error);
    for (size_t i = 0; done && i < proto_safetensors_count(file); i++) {
        const char *name = proto_safetensors_at(file, i)->name;
        if (strncmp(name, "sub", 3) == 0 && strchr(name, '.')) name = strchr(name, '.') + 1;
        if (strncmp(name, "tiny.", 5) == 0) {
            float *data = NULL;
            size_t count = 0;
            if (!model_parameters_find(g->table, name + 5)) continue;
            done = initial_of(&g->sizes, name + 5, &data, &count, error) &&
                   golden_add(r, data, count, error, "%s", name);
            free(data);
        } else if (strstr(name, "_pos_embed.") && strstr(name, ".D")) {
            done = add_full_size(r, name, error);
        }
    }
    proto_safetensors_close(&file);
    return done;
}
