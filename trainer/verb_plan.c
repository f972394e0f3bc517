// trainer/verb_plan.c - `plan FILE`: what a run will take and how long, before anything runs; as
// text for people, or as JSON with the same numbers.
#include "trainer/verb_plan.h"

#include "proto/json.h"
#include "proto/words.h"
#include "trainer/outlook.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "pipeline plan"
#define GB 1e9
#define TERA 1e12
#define HOUR_S 3600.0

static const double step_counts[] = {5000, 10000, 20000};

static const char usage[] =
    "usage: pipeline plan FILE [--set key=value]... [--json]\n"
    "\n"
    "What the run that FILE describes will take, before anything runs: memory of a device and of\n"
    "the host, disk, operations of a step, seconds a step and hours on cards of several sizes, "
    "and\n"
    "what makes it fit. Needs no GPU, no data and no weights: what is not there is named, with "
    "what\n"
    "is assumed instead. Seconds on a GPU are predictions whose assumptions are printed; on cpu\n"
    "devices they follow from a short measurement of this machine.\n";

// ---- what a row says ----

static void row_name(const struct trainer_outlook_row *row, char *text, size_t size) {
    if (row->here)
        snprintf(text, size, "%u x %s (here)", row->cards, row->device);
    else if (row->card->memory_bytes > 0 && strcmp(row->card->name, "cpu") != 0)
        snprintf(text, size, "%u x %.0f GB, %s", row->cards, row->memory_bytes / GB,
                 row->card->name);
    else
        snprintf(text, size, "%u cpu rank%s", row->cards, row->cards == 1 ? "" : "s");
}

// What was changed to make it fit, short.
static void row_fit(const struct trainer_outlook *outlook, const struct trainer_outlook_row *row,
                    char *text, size_t size) {
    const struct trainer_recipe *recipe = &outlook->forecast->recipe;
    const uint32_t whole = recipe->rank_batch * recipe->ranks / row->cards;
    char recompute[48] = "";
    if (row->fit.recompute_batch > 0)
        snprintf(recompute, sizeof recompute, "; recompute: batch %u",
                 row->fit.recompute_batch * row->cards);
    if (!row->fit.fits)
        snprintf(text, size, "does not fit: %.1f GB with one sample%s", row->fit.bytes / GB,
                 recompute);
    else if (row->fit.rank_batch == whole)
        snprintf(text, size, "as it is");
    else
        snprintf(text, size, "batch %u, accumulation %u%s", row->fit.rank_batch * row->cards,
                 row->fit.accumulation, recompute);
}

static double samples_per_s(const struct trainer_outlook_row *row) {
    return row->fit.rank_batch * (double)row->cards * row->fit.accumulation / row->time.step_s;
}

// ---- text ----

static void print_head(const struct trainer_outlook *outlook, const char *file) {
    const struct trainer_recipe *recipe = &outlook->forecast->recipe;
    printf("%s: %s, %.4g M parameters; %u sample%s a step on %u device%s (%u each, %u micro "
           "step%s), %s\n",
           file, outlook->config->model.preset, outlook->forecast->parameters / 1e6,
           recipe->rank_batch * recipe->ranks * recipe->accumulation,
           recipe->rank_batch * recipe->ranks * recipe->accumulation == 1 ? "" : "s", recipe->ranks,
           recipe->ranks == 1 ? "" : "s", recipe->rank_batch, recipe->accumulation,
           recipe->accumulation == 1 ? "" : "s",
           recipe->precision == MODEL_F32 ? "f32" : outlook->config->trainer.mixed_precision);
}

static void print_missing(const struct trainer_outlook *outlook) {
    if (outlook->missing_count == 0) return;
    printf("\nnot here:\n");
    for (size_t i = 0; i < outlook->missing_count; i++)
        printf("  %s%s%s\n", outlook->missing[i].what,
               outlook->missing[i].assumed[0] ? "; assumed: " : "", outlook->missing[i].assumed);
}

static void print_memory(const struct trainer_outlook *outlook) {
    const struct trainer_forecast_memory *m = &outlook->forecast->memory;
    const struct {
        const char *what;
        double bytes;
    } parts[] = {
        {"weights", m->weights},
        {"gradients", m->gradients},
        {"AdamW's moments", m->moments},
        {"averaged weights", m->average},
        {"rounded weights", m->rounded},
        {"activations", m->activations},
        {"encoders, frames", m->encoders},
        {"scratch of products", m->scratch},
        {"libraries (assumed)", m->runtime},
    };
    printf("\nmemory of one %s, GB\n", outlook->forecast->recipe.cpu ? "rank" : "device");
    for (size_t i = 0; i < PROTO_COUNT(parts); i++)
        if (parts[i].bytes > 0) printf("  %-22s %8.3f\n", parts[i].what, parts[i].bytes / GB);
    printf("  %-22s %8.3f\n", "together", m->total / GB);
    printf("host: trainers %.2f GB, %lld loader%s up to %.2f GB\n", outlook->host_ranks / GB,
           (long long)outlook->config->loader.workers,
           outlook->config->loader.workers == 1 ? "" : "s", outlook->host_loaders / GB);
    printf("disk: %" PRIu64 " checkpoint%s of %.2f GB, %.2f GB more for each of the newest two: "
           "%.1f GB",
           outlook->checkpoint_count, outlook->checkpoint_count == 1 ? "" : "s",
           outlook->checkpoint_bytes / GB, outlook->optimiser_bytes / GB,
           outlook->checkpoints / GB);
    if (outlook->videos > 0)
        printf(", videos of %" PRIu64 " evaluations %.2f GB (assumed 0.1 MB an episode)",
               outlook->evaluations, outlook->videos / GB);
    const double needed = outlook->checkpoints + outlook->videos;
    if (outlook->disk_free >= 0)
        printf("; %.1f GB are free%s", outlook->disk_free / GB,
               outlook->disk_free < needed ? ": NOT ENOUGH" : "");
    printf("\n");
}

static void print_operations(const struct trainer_outlook *outlook) {
    const struct trainer_forecast *f = outlook->forecast;
    const double both = f->forward_flop + f->backward_flop;
    printf("\none micro step of a device: %.4g TFLOP forward, %.4g backward",
           f->forward_flop / TERA, f->backward_flop / TERA);
    if (f->encoder_flop > 0) printf(", %.4g in the image encoder", f->encoder_flop / TERA);
    printf("\n  keys and values of images %.0f %%, of language %.0f %%, attention itself %.0f %%; "
           "the optimiser moves %.3g GB\n",
           100 * f->image_kv_flop / both, 100 * f->language_kv_flop / both,
           100 * f->attention_flop / both, f->optimiser_bytes / GB);
    if (outlook->config->vision.cache && outlook->first_epoch_images > 0)
        printf("  the first epoch also encodes %" PRIu64 " frames, once\n",
               outlook->first_epoch_images);
}

static void print_rows(const struct trainer_outlook *outlook) {
    const bool cpu = outlook->forecast->recipe.cpu;
    printf("\nthe same samples a step, %s\n",
           cpu ? "from a short measurement of this processor"
               : "PREDICTED: no number of this table was measured, and two GPUs never were seen");
    printf("  %-30s %-46s %7s %8s %9s %6s %6s %6s %8s\n", "on", "what fits", "GB", "s/step",
           "samples/s", "5k h", "10k h", "20k h", "scaling");
    for (size_t i = 0; i < outlook->row_count; i++) {
        const struct trainer_outlook_row *row = &outlook->rows[i];
        char name[96], fit[96];
        row_name(row, name, sizeof name);
        row_fit(outlook, row, fit, sizeof fit);
        printf("  %-30s %-46s", name, fit);
        if (row->fit.fits) {
            printf(" %7.2f %8.3g %9.4g", row->fit.bytes / GB, row->time.step_s, samples_per_s(row));
            for (size_t k = 0; k < PROTO_COUNT(step_counts); k++)
                printf(" %6.2f", step_counts[k] * row->time.step_s / HOUR_S);
            if (row->scaling > 0 && row->cards > 1) printf(" %7.2fx", row->scaling);
        }
        printf("\n");
    }
}

static void print_assumptions(const struct trainer_outlook *outlook) {
    printf("\nassumed:\n");
    if (outlook->forecast->recipe.cpu) {
        printf("  %s %.1f GFLOP/s, copies %.1f GB/s, by one rank with %u thread%s while nothing "
               "else ran;\n  ranks, loaders and an evaluator on the same cores slow each other\n",
               outlook->cpu.whole_passes ? "passes of this network" : "its largest product",
               outlook->cpu.f32_flops / 1e9, outlook->cpu.bandwidth / GB, outlook->threads,
               outlook->threads == 1 ? "" : "s");
        return;
    }
    size_t count = 0;
    const struct trainer_card *cards = trainer_cards(&count);
    for (size_t i = 0; i < count; i++)
        printf(
            "  %-20s %3.0f TFLOP/s in products of 64 GFLOP and more, %.0f in smaller (peak %.0f), "
            "f32 %.0f; %.2f TB/s;\n  %-20s %.0f GB/s to the other card over %s\n",
            cards[i].name, cards[i].large_flops / TERA, cards[i].small_flops / TERA,
            cards[i].peak_flops / TERA, cards[i].f32_flops / TERA, cards[i].bandwidth / TERA, "",
            cards[i].link_bandwidth / GB, cards[i].link);
    printf("  gradients travel as f32 while the backward pass goes on; loaders keep up; nothing "
           "else uses the cards;\n  checkpoints, validation and evaluation are not counted\n");
}

// ---- JSON ----

static json_t *row_json(const struct trainer_outlook *outlook,
                        const struct trainer_outlook_row *row) {
    char name[96], fit[96];
    row_name(row, name, sizeof name);
    row_fit(outlook, row, fit, sizeof fit);
    json_t *object =
        json_pack("{s:s, s:i, s:b, s:f, s:b, s:s, s:f}", "on", name, "cards", (int)row->cards,
                  "here", row->here, "memory_bytes", row->memory_bytes, "fits", row->fit.fits,
                  "what", fit, "needed_bytes", row->fit.bytes);
    if (!object || !row->fit.fits) return object;
    json_t *more = json_pack(
        "{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "train_batch_size",
        (int)(row->fit.rank_batch * row->cards), "gradient_accumulation_steps",
        (int)row->fit.accumulation, "step_s", row->time.step_s, "samples_per_s", samples_per_s(row),
        "forward_s", row->time.forward_s, "backward_s", row->time.backward_s, "optimiser_s",
        row->time.optimiser_s, "encoders_s", row->time.encoders_s, "gradients_exposed_s",
        row->time.exposed_s, "hours_5k", 5000 * row->time.step_s / HOUR_S, "hours_10k",
        10000 * row->time.step_s / HOUR_S, "hours_20k", 20000 * row->time.step_s / HOUR_S);
    if (more) json_object_update(object, more);
    if (row->scaling > 0) json_object_set_new(object, "scaling", json_real(row->scaling));
    json_decref(more);
    return object;
}

static json_t *missing_json(const struct trainer_outlook *outlook) {
    json_t *array = json_array();
    for (size_t i = 0; i < outlook->missing_count; i++)
        json_array_append_new(array, json_pack("{s:o, s:s}", "what",
                                               proto_json_string(outlook->missing[i].what),
                                               "assumed", outlook->missing[i].assumed));
    return array;
}

static json_t *plan_json(const struct trainer_outlook *outlook, const char *file) {
    const struct trainer_forecast *f = outlook->forecast;
    const struct trainer_forecast_memory *m = &f->memory;
    json_t *rows = json_array();
    for (size_t i = 0; i < outlook->row_count; i++)
        json_array_append_new(rows, row_json(outlook, &outlook->rows[i]));
    json_t *memory =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "weights", m->weights,
                  "gradients", m->gradients, "moments", m->moments, "average", m->average,
                  "rounded", m->rounded, "activations", m->activations, "encoders", m->encoders,
                  "scratch", m->scratch, "runtime_assumed", m->runtime, "total", m->total);
    json_t *flop =
        json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "forward", f->forward_flop, "backward",
                  f->backward_flop, "encoders", f->encoder_flop, "image_kv", f->image_kv_flop,
                  "language_kv", f->language_kv_flop, "attention", f->attention_flop);
    json_t *disk = json_pack("{s:f, s:f, s:f}", "checkpoints", outlook->checkpoints,
                             "videos_assumed", outlook->videos, "free", outlook->disk_free);
    return json_pack("{s:o, s:f, s:i, s:i, s:i, s:b, s:o, s:o, s:f, s:f, s:o, s:o, s:o}", "file",
                     proto_json_string(file), "parameters", f->parameters, "ranks",
                     (int)f->recipe.ranks, "rank_batch", (int)f->recipe.rank_batch, "accumulation",
                     (int)f->recipe.accumulation, "measured", f->recipe.cpu, "device_bytes", memory,
                     "micro_step_flop", flop, "host_trainers_bytes", outlook->host_ranks,
                     "host_loaders_bytes", outlook->host_loaders, "disk_bytes", disk, "missing",
                     missing_json(outlook), "on", rows);
}

int trainer_verb_plan(int count, char **words) {
    struct proto_error error = {0};
    struct trainer_outlook outlook = {0};
    bool json = false, help = false;
    const char *file = NULL;
    size_t rest = 0;
    int code = PROTO_DONE;
    struct proto_texts sets = {
        .items = proto_alloc_array((size_t)count + 1, sizeof *sets.items, &error)};
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json},
                                         {"--help", PROTO_WORD_FLAG, &help},
                                         {"--set", PROTO_WORD_TEXTS, &sets}};
    if (!sets.items ||
        !proto_words_read(count, words, options, PROTO_COUNT(options), &file, 1, &rest, &error)) {
        code = proto_error_print(PROGRAM, &error);
    } else if (help) {
        code = fputs(usage, stdout) < 0 ? PROTO_FAILED : PROTO_DONE;
    } else if (rest < 1) {
        proto_fail(&error, PROTO_USAGE, "expected: FILE [--set key=value]... [--json]");
        code = proto_error_print(PROGRAM, &error);
    } else if (!trainer_outlook_make(file, sets.items, sets.count, &outlook, &error)) {
        code = proto_error_print(PROGRAM, &error);
    } else if (json) {
        json_t *object = plan_json(&outlook, file);
        if (object) json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
        putchar('\n');
        code = object ? PROTO_DONE : PROTO_EXHAUSTED;
        json_decref(object);
    } else {
        print_head(&outlook, file);
        print_missing(&outlook);
        print_memory(&outlook);
        print_operations(&outlook);
        print_rows(&outlook);
        print_assumptions(&outlook);
    }
    trainer_outlook_free(&outlook);
    free(sets.items);
    if (fflush(stdout) != 0 && code == PROTO_DONE) code = PROTO_FAILED;
    return code;
}
