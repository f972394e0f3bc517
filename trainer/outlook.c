// trainer/outlook.c - reads what there is of a run, assumes the rest by name, and forecasts.
#include "trainer/outlook.h"

#include "model/backend_cuda_module.h"
#include "proto/files.h"
#include "proto/run.h"
#include "trainer/instructions.h"
#include "trainer/plan.h"

#include <math.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

// SigLIP so400m-patch14-384, of its config.json: what one image costs, and what the tower holds.
#define SIGLIP_TOKENS 729.0
#define SIGLIP_WIDTH 1152.0
#define SIGLIP_HIDDEN 4304.0
#define SIGLIP_LAYERS 27.0
#define SIGLIP_PATCH_NUMBERS 588.0  // 14 * 14 * 3
#define SIGLIP_PARAMETERS 0.428e9
#define T5_XXL_WIDTH 4096u

#define ASSUMED_SIDE 128u   // of a frame
#define ASSUMED_TOKENS 32u  // of the longest instruction
#define VIDEO_BYTES 0.1e6   // an episode's video: assumed

static void missing(struct trainer_outlook *outlook, const char *assumed, const char *format, ...)
    PROTO_PRINTF(3, 4);
static void missing(struct trainer_outlook *outlook, const char *assumed, const char *format, ...) {
    if (outlook->missing_count == TRAINER_OUTLOOK_MISSING_MAX) return;
    struct trainer_missing *row = &outlook->missing[outlook->missing_count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row->what, sizeof row->what, format, arguments);
    va_end(arguments);
    snprintf(row->assumed, sizeof row->assumed, "%s", assumed);
}

static bool cpu_of(const struct proto_config *config) {
    return strcmp(config->trainer.devices.items[0], "cpu") == 0;
}

// ---- what is there ----

// index.json and codec.json, when the run was indexed before. Damaged ones are an error.
static bool look_at_run(struct trainer_outlook *outlook, struct proto_error *error) {
    const struct proto_config *config = outlook->config;
    char path[PROTO_PATH_MAX];
    bool found = true;
    for (size_t i = 0; i < config->data.path.count; i++)
        if (!proto_path_exists(config->data.path.items[i])) found = false;
    if (!proto_run_path(config->run.output_dir, "index.json", path, error)) return false;
    if (proto_path_exists(path)) {
        if (!proto_index_read(path, &outlook->index, error) ||
            !proto_run_path(config->run.output_dir, "codec.json", path, error) ||
            !proto_codec_read(path, &outlook->codec, error))
            return false;
    }
    const struct proto_codec *codec = outlook->codec;
    outlook->height = codec ? codec->image_height : ASSUMED_SIDE;
    outlook->width = codec ? codec->image_width : ASSUMED_SIDE;
    outlook->cameras = codec ? codec->camera_count : (uint32_t)config->data.cameras.count;
    outlook->tasks = codec ? codec->task_count : 1;
    if (!found)
        missing(outlook, codec ? "" : "frames of 128 x 128, one task, instructions of 32 tokens",
                "data.path: %s is not there",
                config->data.path.count > 0 ? config->data.path.items[0] : "nothing is named");
    else if (!codec)
        missing(outlook, "frames of 128 x 128, one task, instructions of 32 tokens",
                "%s holds no index.json yet: `pipeline up` or `pipeline-loader index` makes it",
                config->run.output_dir);
    return true;
}

static void look_at_weights(struct trainer_outlook *outlook) {
    const struct proto_config *config = outlook->config;
    const struct {
        const char *option, *path;
        bool wanted;
    } folders[] = {
        {"model.pretrained", config->model.pretrained, config->model.pretrained[0] != '\0'},
        {"vision.path", config->vision.path, strcmp(config->vision.encoder, "siglip") == 0},
        {"language.path", config->language.path, strcmp(config->language.encoder, "t5") == 0},
    };
    for (size_t i = 0; i < PROTO_COUNT(folders); i++)
        if (folders[i].wanted && !proto_path_is_folder(folders[i].path))
            missing(outlook, "", "%s: %s is not there", folders[i].option, folders[i].path);
}

// Numbers of the state and action vector: 128, or the channels of the named fields.
static uint32_t vector_width(const struct proto_config *config) {
    const struct proto_list *lists[] = {&config->data.state, &config->data.action};
    uint32_t widest = 0;
    if (strcmp(config->model.layout, "compact") != 0) return PROTO_UNIFIED_WIDTH;
    for (size_t i = 0; i < PROTO_COUNT(lists); i++) {
        uint32_t count = 0;
        for (size_t k = 0; k < lists[i]->count; k++) {
            const struct proto_field *field = proto_field_find(lists[i]->items[k], i == 1);
            count += field ? field->components : 0;
        }
        if (count > widest) widest = count;
    }
    return widest > 0 ? widest : 1;
}

// Tokens of the longest instruction: of the codec's tasks when the encoder needs no weights.
static bool instruction_length(struct trainer_outlook *outlook, uint32_t rows_max, uint32_t *length,
                               struct proto_error *error) {
    const struct proto_config *config = outlook->config;
    struct model_language *language = NULL;
    *length = ASSUMED_TOKENS < rows_max ? ASSUMED_TOKENS : rows_max;
    if (!outlook->codec) return true;
    if (strcmp(config->language.encoder, "hash") != 0) {
        missing(outlook, "instructions of 32 tokens",
                "tokens of an instruction are known when T5 has read it");
        return true;
    }
    bool done =
        model_language_open("hash", "", (uint32_t)config->language.token_dim, &language, error);
    *length = 1;
    for (uint32_t i = 0; done && i < outlook->codec->task_count; i++) {
        uint32_t rows = 0;
        done = model_language_length(language, outlook->codec->tasks[i].instruction, &rows, error);
        if (done && rows > *length) *length = rows;
    }
    model_language_close(&language);
    return done;
}

// ---- the recipe ----

static double siglip_image_flop(void) {
    const double layer = 2 * SIGLIP_TOKENS * SIGLIP_WIDTH * (4 * SIGLIP_WIDTH + 2 * SIGLIP_HIDDEN) +
                         4 * SIGLIP_TOKENS * SIGLIP_TOKENS * SIGLIP_WIDTH;
    return SIGLIP_LAYERS * layer + 2 * SIGLIP_TOKENS * SIGLIP_PATCH_NUMBERS * SIGLIP_WIDTH;
}

static bool recipe_images(const struct trainer_outlook *outlook, struct trainer_recipe *recipe,
                          struct proto_error *error) {
    const struct proto_config *config = outlook->config;
    if (strcmp(config->vision.encoder, "siglip") == 0) {
        recipe->sizes.img_patches = (uint32_t)SIGLIP_TOKENS;
        recipe->sizes.img_dim = (uint32_t)SIGLIP_WIDTH;
        // kept features cost nothing after the first epoch
        recipe->encoder_flop = config->vision.cache ? 0 : siglip_image_flop();
        recipe->encoder_bytes = 2 * SIGLIP_PARAMETERS;
        recipe->image_bytes = SIGLIP_TOKENS * SIGLIP_WIDTH * 2;
        return true;
    }
    const struct model_vision_settings vision = {
        .encoder = config->vision.encoder,
        .path = config->vision.path,
        .patch_grid = (uint32_t)config->vision.patch_grid,
        .patch_size = (uint32_t)config->vision.patch_size,
    };
    recipe->image_bytes = 3.0 * outlook->height * outlook->width + 1;
    return model_vision_shape(&vision, &recipe->sizes.img_patches, &recipe->sizes.img_dim, error);
}

static bool recipe_make(struct trainer_outlook *outlook, struct trainer_recipe *recipe,
                        struct proto_error *error) {
    const struct proto_config *config = outlook->config;
    const uint32_t ranks = (uint32_t)config->trainer.devices.count;
    *recipe = (struct trainer_recipe){
        .sizes = trainer_config_sizes(config),
        .ranks = ranks,
        .rank_batch = (uint32_t)config->trainer.train_batch_size / ranks,
        .accumulation = (uint32_t)config->trainer.gradient_accumulation_steps,
        .validation_batch = config->data.validation_episodes > 0
                                ? ((uint32_t)config->trainer.sample_batch_size + ranks - 1) / ranks
                                : 0,
        .precision = trainer_config_precision(config),
        .recompute = config->trainer.activation_checkpointing,
        .cpu = cpu_of(config),
    };
    recipe->sizes.width = outlook->codec ? outlook->codec->width : vector_width(config);
    recipe->sizes.lang_dim = strcmp(config->language.encoder, "t5") == 0
                                 ? T5_XXL_WIDTH
                                 : (uint32_t)config->language.token_dim;
    if ((uint32_t)config->trainer.train_batch_size % ranks != 0) {
        proto_fail(error, PROTO_USAGE, "%lld does not divide by %u ranks",
                   (long long)config->trainer.train_batch_size, ranks);
        return proto_config_place(config, "trainer", "train_batch_size", error);
    }
    if (!recipe_images(outlook, recipe, error)) return false;
    return instruction_length(outlook, recipe->sizes.lang_rows, &recipe->lang_length, error);
}

// ---- host and disk ----

static void host_make(struct trainer_outlook *outlook) {
    const struct proto_config *config = outlook->config;
    const struct trainer_recipe *recipe = &outlook->forecast->recipe;
    const double ranks = recipe->ranks, flat = sizeof(float) * outlook->forecast->parameters;
    const double frame = 3.0 * outlook->height * outlook->width;
    const double sample = frame * recipe->sizes.img_history * outlook->cameras +
                          4.0 * (recipe->sizes.chunk + 3.0) * recipe->sizes.width;
    const double batch = sample * fmax(recipe->rank_batch, recipe->validation_batch);
    const double workers = (double)config->loader.workers;
    const double flight = (double)config->loader.batches_in_flight;
    const double window = fmin(fmax(flight * workers, TRAINER_WINDOW_MIN), TRAINER_WINDOW_MAX);
    // rank 0 copies weights, moments and average for a checkpoint, the others the weights they
    // compare; what is on a device passes through the host
    const double copies = 4 + (ranks - 1) + (recipe->cpu ? 0 : ranks);
    outlook->host_ranks = copies * flat + ranks * window * batch +
                          (recipe->cpu ? ranks * outlook->forecast->memory.total : 0);
    outlook->host_loaders =
        workers * ((double)config->loader.cache_mib * (1 << 20) + flight * ranks * batch);
}

// The folder, or the nearest one above it that exists.
static double free_bytes(const char *folder) {
    char path[PROTO_PATH_MAX];
    struct statvfs space;
    snprintf(path, sizeof path, "%s", folder);
    while (statvfs(path, &space) != 0) {
        char *slash = strrchr(path, '/');
        if (!slash)
            return statvfs(".", &space) == 0 ? (double)space.f_bavail * (double)space.f_frsize : -1;
        *(slash == path ? slash + 1 : slash) = '\0';
        if (slash == path && statvfs(path, &space) != 0) return -1;
    }
    return (double)space.f_bavail * (double)space.f_frsize;
}

static void disk_make(struct trainer_outlook *outlook) {
    const struct proto_config *config = outlook->config;
    const double flat = sizeof(float) * outlook->forecast->parameters;
    const uint64_t period = (uint64_t)config->trainer.checkpointing_period;
    const uint64_t steps = (uint64_t)config->run.max_train_steps;
    const uint64_t written = (steps + period - 1) / period;
    const uint64_t limit = (uint64_t)config->trainer.checkpoints_total_limit + 1;  // and the best
    outlook->checkpoint_count = written < limit ? written : limit;
    outlook->checkpoint_bytes = 2 * flat;
    outlook->optimiser_bytes = 3 * flat;
    const double whole = fmin(2, (double)outlook->checkpoint_count);
    // while one is written it lies beside those that are kept
    outlook->checkpoints = (double)outlook->checkpoint_count * outlook->checkpoint_bytes +
                           (whole + 1) * outlook->optimiser_bytes + outlook->checkpoint_bytes;
    if (strcmp(config->evaluator.when, "never") != 0) {
        const uint64_t every = (uint64_t)config->evaluator.every;
        outlook->evaluations = (written + every - 1) / every;
        if (config->evaluator.record_video)
            outlook->videos = (double)outlook->evaluations * outlook->tasks *
                              (double)config->evaluator.episodes_per_task * VIDEO_BYTES;
    }
    outlook->disk_free = free_bytes(config->run.output_dir);
}

// ---- how long ----

// One row: the samples of a step as the file says, shared by this many cards.
static bool row_add(struct trainer_outlook *outlook, struct trainer_outlook_row row,
                    struct proto_error *error) {
    struct trainer_recipe recipe = outlook->forecast->recipe;
    struct trainer_forecast *forecast = NULL;
    const uint32_t batch = recipe.rank_batch * recipe.ranks;
    const uint32_t validation = recipe.validation_batch * recipe.ranks;
    if (outlook->row_count == TRAINER_OUTLOOK_ROWS_MAX || batch % row.cards != 0) return true;
    recipe.ranks = row.cards;
    recipe.rank_batch = batch / row.cards;
    recipe.validation_batch = (validation + row.cards - 1) / row.cards;
    if (!trainer_forecast_fit(&recipe, row.memory_bytes, &row.fit, error)) return false;
    if (row.fit.fits) {
        recipe.rank_batch = row.fit.rank_batch;
        recipe.accumulation = row.fit.accumulation;
        recipe.validation_batch = row.fit.validation_batch;
        if (!trainer_forecast_new(&recipe, &forecast, error)) return false;
        trainer_forecast_time(forecast, row.card, &row.time);
        trainer_forecast_free(&forecast);
        for (size_t i = 0; i < outlook->row_count; i++) {
            const struct trainer_outlook_row *one = &outlook->rows[i];
            if (one->card == row.card && one->cards == 1 && one->fit.fits && one->here == row.here)
                row.scaling = one->time.step_s / row.time.step_s;
        }
    }
    outlook->rows[outlook->row_count++] = row;
    return true;
}

// Devices of this machine, then one and two of every kind.
static bool rows_of_cards(struct trainer_outlook *outlook, struct proto_error *error) {
    const struct model_cuda_module *module = NULL;
    struct proto_error none = {0};
    struct model_cuda_devices devices;
    size_t count = 0;
    const struct trainer_card *cards = trainer_cards(&count);
    if (model_cuda_module_open(&module, &none) && module->describe(&devices, &none)) {
        const struct model_cuda_device *first = &devices.items[0];
        const struct trainer_card *card = trainer_card_find(first->name);
        struct trainer_outlook_row row = {
            .card = card, .cards = 1, .here = true, .memory_bytes = (double)first->memory_bytes};
        memcpy(row.device, first->name, sizeof row.device);
        if (!card)
            missing(outlook, "", "speeds of %s, a GPU of no known kind: its time is not forecast",
                    first->name);
        for (row.cards = 1; card && row.cards <= devices.count && row.cards <= 2; row.cards++)
            if (!row_add(outlook, row, error)) return false;
    } else {
        missing(outlook, "speeds of the cards below", "GPU: %s", none.text);
    }
    for (size_t i = 0; i < count; i++)
        for (uint32_t number = 1; number <= 2; number++)
            if (!row_add(outlook,
                         (struct trainer_outlook_row){.card = &cards[i],
                                                      .cards = number,
                                                      .memory_bytes = cards[i].memory_bytes},
                         error))
                return false;
    return true;
}

static bool rows_of_cpu(struct trainer_outlook *outlook, struct proto_error *error) {
    const struct trainer_recipe *recipe = &outlook->forecast->recipe;
    cpu_set_t set;
    const uint32_t cores =
        sched_getaffinity(0, sizeof set, &set) == 0 ? (uint32_t)CPU_COUNT(&set) : 1;
    const uint32_t wanted = (uint32_t)outlook->config->trainer.threads;
    outlook->threads = wanted > 0 ? wanted : cores / recipe->ranks > 0 ? cores / recipe->ranks : 1;
    const double flop = outlook->forecast->forward_flop + outlook->forecast->backward_flop;
    if (!trainer_card_measure(&recipe->sizes, flop / recipe->rank_batch, recipe->rank_batch,
                              recipe->lang_length, outlook->threads, &outlook->cpu, error))
        return false;
    const uint32_t numbers[] = {1, recipe->ranks};
    for (size_t i = 0; i < (recipe->ranks > 1 ? 2 : 1); i++)
        if (!row_add(outlook,
                     (struct trainer_outlook_row){.card = &outlook->cpu,
                                                  .cards = numbers[i],
                                                  .memory_bytes =
                                                      outlook->cpu.memory_bytes / numbers[i]},
                     error))
            return false;
    return true;
}

bool trainer_outlook_make(const char *file, const char *const *sets, size_t set_count,
                          struct trainer_outlook *outlook, struct proto_error *error) {
    struct trainer_recipe recipe;
    memset(outlook, 0, sizeof *outlook);
    if (!proto_config_read(file, sets, set_count, &outlook->config, error) ||
        !look_at_run(outlook, error))
        return false;
    look_at_weights(outlook);
    if (!recipe_make(outlook, &recipe, error) ||
        !trainer_forecast_new(&recipe, &outlook->forecast, error))
        return false;
    host_make(outlook);
    disk_make(outlook);
    if (outlook->index)
        outlook->first_epoch_images = outlook->index->train_samples * outlook->cameras;
    return recipe.cpu ? rows_of_cpu(outlook, error) : rows_of_cards(outlook, error);
}

void trainer_outlook_free(struct trainer_outlook *outlook) {
    proto_config_free(&outlook->config);
    proto_codec_free(&outlook->codec);
    proto_index_free(&outlook->index);
    trainer_forecast_free(&outlook->forecast);
}
