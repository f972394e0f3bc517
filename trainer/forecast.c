// trainer/forecast.c - counts a step by running it over a device that only counts, then reads the
// list of operations as a time-line: each takes as long as its products or its bytes, whichever is
// longer, and gradients leave as soon as the backward pass says that they are final.
#include "trainer/forecast.h"

#include "model/backend_counting.h"
#include "trainer/optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GB 1e9
#define RUNTIME_BYTES 0.8e9  // of a CUDA context with cuBLASLt's and NCCL's own memory: assumed
#define STEPS_MAX 65536      // operations of a step; rdt-1b has some 1800
#define READY_MAX 1024       // parts of the gradient

enum phase { FORWARD, BACKWARD, OPTIMISER };

struct operation {
    enum phase phase;
    enum model_counted_kind kind;
    double flop, bytes, rounding_bytes;
};
struct ready {
    size_t after;  // operations
    double bytes;  // of gradients
};
struct trainer_forecast_steps {
    size_t count, ready_count;
    struct operation items[STEPS_MAX];
    struct ready ready[READY_MAX];
};

// ---- counting ----

struct census {
    struct trainer_forecast *forecast;
    const struct model_parameters *table;
    const float *weights, *gradients;
    enum phase phase;
    double left, right, attention;  // bytes of scratch, of the largest operation each
    bool full;                      // the list: a longer one would be a mistake of ours
};

// The parameter that a product is about, or NULL.
static const struct model_parameter *parameter_of(const struct census *census,
                                                  const float *weight) {
    const struct model_parameters *table = census->table;
    if (!weight) return NULL;
    size_t at = table->elements;
    if (weight >= census->weights && weight < census->weights + table->elements)
        at = (size_t)(weight - census->weights);
    else if (weight >= census->gradients && weight < census->gradients + table->elements)
        at = (size_t)(weight - census->gradients);
    for (size_t i = 0; i < table->count; i++)
        if (table->items[i].offset <= at && at < table->items[i].offset + table->items[i].elements)
            return &table->items[i];
    return NULL;
}

// Blocks take turns: the first reads language, the second images.
static void count_part(struct census *census, const struct model_counted *counted) {
    struct trainer_forecast *forecast = census->forecast;
    const struct model_parameter *parameter = parameter_of(census, counted->weight);
    unsigned block = 0;
    if (!counted->weight) {
        forecast->attention_flop += counted->flop;
    } else if (parameter && strstr(parameter->name, "cross_attn.kv") &&
               sscanf(parameter->name, "model.blocks.%u.", &block) == 1) {
        if (block % 2 == 0)
            forecast->language_kv_flop += counted->flop;
        else
            forecast->image_kv_flop += counted->flop;
    }
}

static void census_see(void *context, const struct model_counted *counted) {
    struct census *census = context;
    struct trainer_forecast *forecast = census->forecast;
    struct trainer_forecast_steps *steps = forecast->steps;
    if (counted->kind == MODEL_COUNTED_PRODUCT) {
        double *sum = census->phase == FORWARD ? &forecast->forward_flop : &forecast->backward_flop;
        *sum += counted->flop;
        count_part(census, counted);
    }
    if (census->phase == OPTIMISER) forecast->optimiser_bytes += counted->bytes;
    census->left = fmax(census->left, counted->left_bytes);
    census->right = fmax(census->right, counted->right_bytes);
    census->attention = fmax(census->attention, counted->attention_bytes);
    if (steps->count == STEPS_MAX) {
        census->full = true;
        return;
    }
    steps->items[steps->count++] = (struct operation){.phase = census->phase,
                                                      .kind = counted->kind,
                                                      .flop = counted->flop,
                                                      .bytes = counted->bytes,
                                                      .rounding_bytes = counted->rounding_bytes};
    // behind the loss begins the backward pass
    if (strcmp(counted->name, "mse") == 0) census->phase = BACKWARD;
}

static bool census_ready(void *context, size_t first, size_t count, struct proto_error *error) {
    (void)first, (void)error;
    struct census *census = context;
    struct trainer_forecast_steps *steps = census->forecast->steps;
    if (steps->ready_count == READY_MAX) census->full = true;
    if (!census->full)
        steps->ready[steps->ready_count++] =
            (struct ready){.after = steps->count, .bytes = (double)count * sizeof(float)};
    return true;
}

// One micro step, then one optimiser step.
static bool census_run(struct census *census, struct model_backend *backend, struct model_rdt *rdt,
                       struct trainer_optimizer *optimizer, float *weights, float *gradients,
                       struct proto_error *error) {
    const struct trainer_recipe *recipe = &census->forecast->recipe;
    const struct model_rdt_ready ready = {.context = census, .take = census_ready};
    uint32_t *timesteps = proto_alloc_array(recipe->rank_batch, sizeof *timesteps, error);
    float *freq = proto_alloc_array(recipe->rank_batch, sizeof *freq, error);
    struct trainer_optimizer_report report;
    double loss = 0;
    const struct model_rdt_call call = {.batch = recipe->rank_batch,
                                        .lang_length = recipe->lang_length,
                                        .timesteps = timesteps,
                                        .ctrl_freq = freq,
                                        .ready = &ready};
    census->weights = weights;
    census->gradients = gradients;
    bool done =
        timesteps && freq &&
        model_backend_fill(backend, gradients, 0, census->table->elements * sizeof(float), error) &&
        model_rdt_train(rdt, &call, weights, gradients, 1, &loss, error);
    census->phase = OPTIMISER;
    done = done && trainer_optimizer_step(optimizer, weights, gradients, 1, &report, error);
    free(timesteps);
    free(freq);
    if (done && census->full)
        return proto_fail(error, PROTO_FAILED, "a step of more than %d operations", STEPS_MAX);
    return done;
}

// Memory of everything that is not counted by running.
static void memory_sum(struct trainer_forecast *forecast) {
    const struct trainer_recipe *recipe = &forecast->recipe;
    struct trainer_forecast_memory *m = &forecast->memory;
    const uint32_t batch = recipe->rank_batch > recipe->validation_batch ? recipe->rank_batch
                                                                         : recipe->validation_batch;
    const double images = (double)batch * recipe->sizes.img_history * recipe->sizes.img_cameras;
    m->weights = m->gradients = m->average = sizeof(float) * forecast->parameters;
    m->moments = 2 * sizeof(float) * forecast->parameters;
    m->rounded = recipe->precision == MODEL_F32 ? 0 : 2 * forecast->parameters;
    m->encoders = recipe->encoder_bytes + images * recipe->image_bytes;
    if (recipe->cpu) m->scratch = 0;
    m->runtime = recipe->cpu ? 0 : RUNTIME_BYTES;
    m->total = m->weights + m->gradients + m->moments + m->average + m->rounded + m->activations +
               m->encoders + m->scratch + m->runtime;
}

static bool forecast_count(struct trainer_forecast *forecast, struct proto_error *error) {
    const struct trainer_recipe *recipe = &forecast->recipe;
    struct census census = {.forecast = forecast};
    struct model_counting_settings settings = {.see = census_see, .context = &census};
    const struct trainer_optimizer_settings adamw = {
        .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .ema = {.inv_gamma = 1, .max = 1}};
    const struct model_rdt_plan plan = {.batch_max = recipe->rank_batch > recipe->validation_batch
                                                         ? recipe->rank_batch
                                                         : recipe->validation_batch,
                                        .lang_max = recipe->lang_length,
                                        .training = true,
                                        .recompute = recipe->recompute};
    struct model_backend *backend = NULL, *cpu = NULL;
    struct model_parameters *table = NULL;
    struct model_rdt *rdt = NULL;
    struct trainer_optimizer *optimizer = NULL;
    float *weights = NULL, *gradients = NULL;
    size_t activations = 0;
    bool done = false;
    if (recipe->cpu) {
        // what attention keeps for its backward pass is the backend's own matter
        if (!model_backend_open("cpu", 1, &cpu, error)) goto end;
        settings.attention_saved = cpu->ops->attention_saved;
        settings.keeps_probabilities = true;
    }
    if (!model_parameters_new(&recipe->sizes, &table, error) ||
        !model_backend_counting_open(&settings, &backend, error) ||
        !model_backend_precision(backend, recipe->precision, error) ||
        !model_rdt_memory(backend, &recipe->sizes, &plan, &activations, error) ||
        !model_rdt_open(backend, &recipe->sizes, &plan, &rdt, error))
        goto end;
    const size_t bytes = table->elements * sizeof(float);
    census.table = table;
    weights = model_backend_alloc(backend, bytes, error);
    if (!weights) goto end;
    gradients = model_backend_alloc(backend, bytes, error);
    if (!gradients ||
        !trainer_optimizer_open(backend, &adamw, table->elements, &optimizer, error) ||
        !census_run(&census, backend, rdt, optimizer, weights, gradients, error))
        goto end;
    forecast->parameters = (double)table->elements;
    forecast->memory.activations = (double)activations;
    forecast->encoder_flop = recipe->encoder_flop * recipe->rank_batch * recipe->sizes.img_history *
                             recipe->sizes.img_cameras;
    forecast->memory.scratch = census.left + census.right + census.attention;
    memory_sum(forecast);
    done = true;
end:
    trainer_optimizer_close(&optimizer);
    if (weights) model_backend_free(backend, weights);
    if (gradients) model_backend_free(backend, gradients);
    model_rdt_close(&rdt);
    model_parameters_free(&table);
    model_backend_close(&backend);
    model_backend_close(&cpu);
    return done;
}

bool trainer_forecast_new(const struct trainer_recipe *recipe, struct trainer_forecast **out,
                          struct proto_error *error) {
    struct trainer_forecast *forecast = proto_alloc(sizeof *forecast, error);
    if (!forecast) return false;
    forecast->recipe = *recipe;
    forecast->steps = proto_alloc(sizeof *forecast->steps, error);
    if (!forecast->steps || !forecast_count(forecast, error)) {
        trainer_forecast_free(&forecast);
        return false;
    }
    *out = forecast;
    return true;
}

void trainer_forecast_free(struct trainer_forecast **forecast) {
    if (!*forecast) return;
    free((*forecast)->steps);
    free(*forecast);
    *forecast = NULL;
}

// ---- seconds ----

static double operation_s(const struct trainer_forecast *forecast, const struct operation *o,
                          const struct trainer_card *card) {
    const double rate = forecast->recipe.precision == MODEL_F32 ? card->f32_flops
                        : o->flop >= TRAINER_CARD_LARGE_FLOP    ? card->large_flops
                                                                : card->small_flops;
    if (o->kind == MODEL_COUNTED_HOST) return card->launch_s + o->bytes / card->host_bandwidth;
    if (card->whole_passes && o->phase != OPTIMISER) return o->flop / rate;
    const double rounding_s =
        o->rounding_bytes > 0 ? card->launch_s + o->rounding_bytes / card->bandwidth : 0;
    return card->launch_s + rounding_s + fmax(o->flop / rate, o->bytes / card->bandwidth);
}

// The wire carries one part of the gradient after the other; what is left when the last micro
// step's backward pass ends is waited for. In a ring of n each rank sends 2 (n - 1) / n of all.
void trainer_forecast_time(const struct trainer_forecast *forecast, const struct trainer_card *card,
                           struct trainer_forecast_time *time) {
    const struct trainer_recipe *recipe = &forecast->recipe;
    const struct trainer_forecast_steps *steps = forecast->steps;
    const double ranks = recipe->ranks, part = 2 * (ranks - 1) / ranks;
    double phases[3] = {0}, clock = 0, wire = 0, backward_end = 0;
    size_t next = 0;
    *time = (struct trainer_forecast_time){0};
    for (size_t i = 0; i <= steps->count; i++) {
        for (; next < steps->ready_count && steps->ready[next].after == i; next++) {
            const double sending_s = part * steps->ready[next].bytes / card->link_bandwidth;
            wire = fmax(wire, clock) + sending_s;
            time->link_s += sending_s;
        }
        if (i == steps->count) break;
        const struct operation *o = &steps->items[i];
        const double seconds = operation_s(forecast, o, card);
        clock += seconds;
        phases[o->phase] += seconds;
        if (o->phase != OPTIMISER) backward_end = clock;
    }
    const double large = recipe->precision == MODEL_F32 ? card->f32_flops : card->large_flops;
    const double micro_steps = recipe->accumulation;
    time->encoders_s = micro_steps * forecast->encoder_flop / large;
    time->forward_s = micro_steps * phases[FORWARD];
    time->backward_s = micro_steps * phases[BACKWARD];
    time->optimiser_s = phases[OPTIMISER];
    // cpu ranks add their gradients behind the backward pass
    time->exposed_s = recipe->cpu ? time->link_s : fmax(0, wire - backward_end);
    time->step_s =
        time->encoders_s + time->forward_s + time->backward_s + time->optimiser_s + time->exposed_s;
    time->flop =
        micro_steps * (forecast->forward_flop + forecast->backward_flop + forecast->encoder_flop);
}

// ---- what fits ----

// The largest micro batch of at most the recipe's; `fits` false: the numbers of one sample.
static bool fit_largest(const struct trainer_recipe *recipe, double memory_bytes,
                        struct trainer_fit *fit, struct proto_error *error) {
    *fit = (struct trainer_fit){0};
    const uint64_t samples = (uint64_t)recipe->rank_batch * recipe->accumulation;
    for (uint32_t batch = recipe->rank_batch; batch > 0 && !fit->fits; batch--) {
        if (samples % batch != 0) continue;
        struct trainer_recipe smaller = *recipe;
        struct trainer_forecast *forecast = NULL;
        smaller.rank_batch = batch;
        smaller.accumulation = (uint32_t)(samples / batch);
        // validation is not to ask for more than training
        if (smaller.validation_batch > batch) smaller.validation_batch = batch;
        if (!trainer_forecast_new(&smaller, &forecast, error)) return false;
        *fit = (struct trainer_fit){.fits = forecast->memory.total <= memory_bytes,
                                    .rank_batch = batch,
                                    .accumulation = smaller.accumulation,
                                    .validation_batch = smaller.validation_batch,
                                    .bytes = forecast->memory.total};
        trainer_forecast_free(&forecast);
    }
    return true;
}

bool trainer_forecast_fit(const struct trainer_recipe *recipe, double memory_bytes,
                          struct trainer_fit *fit, struct proto_error *error) {
    struct trainer_recipe frugal = *recipe;
    struct trainer_fit other;
    if (!fit_largest(recipe, memory_bytes, fit, error)) return false;
    if (recipe->recompute || (fit->fits && fit->rank_batch == recipe->rank_batch)) return true;
    frugal.recompute = true;
    if (!fit_largest(&frugal, memory_bytes, &other, error)) return false;
    if (other.fits && (!fit->fits || other.rank_batch > fit->rank_batch)) {
        fit->recompute_batch = other.rank_batch;
        fit->recompute_bytes = other.bytes;
    }
    return true;
}

void trainer_fit_text(const struct trainer_recipe *recipe, const struct trainer_fit *fit,
                      double memory_bytes, char *text, size_t size) {
    char validation[96] = "", recompute[128] = "";
    if (fit->fits && fit->validation_batch < recipe->validation_batch)
        snprintf(validation, sizeof validation, ", sample_batch_size = %u",
                 fit->validation_batch * recipe->ranks);
    if (fit->recompute_batch > 0)
        snprintf(recompute, sizeof recompute,
                 "; with trainer.activation_checkpointing = true, train_batch_size = %u fits "
                 "(%.1f GB)",
                 fit->recompute_batch * recipe->ranks, fit->recompute_bytes / GB);
    if (!fit->fits && !recompute[0])
        snprintf(text, size,
                 "nothing fits: one sample at a time still needs %.1f of %.1f GB; choose a smaller "
                 "model.preset",
                 fit->bytes / GB, memory_bytes / GB);
    else if (!fit->fits)
        snprintf(text, size, "one sample at a time needs %.1f of %.1f GB%s", fit->bytes / GB,
                 memory_bytes / GB, recompute);
    else if (fit->rank_batch == recipe->rank_batch && !validation[0])
        snprintf(text, size, "fits as it is (%.1f of %.1f GB)", fit->bytes / GB, memory_bytes / GB);
    else
        snprintf(text, size,
                 "trainer.train_batch_size = %u with gradient_accumulation_steps = %u%s fits (%.1f "
                 "of %.1f GB)%s",
                 fit->rank_batch * recipe->ranks, fit->accumulation, validation, fit->bytes / GB,
                 memory_bytes / GB, recompute);
}
