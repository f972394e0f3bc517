// tests/evaluator/checkpoint_fixture.h - a whole checkpoint of a small network with random weights,
// for a codec of two tasks; written as the trainer writes one.
#ifndef TESTS_EVALUATOR_CHECKPOINT_FIXTURE_H
#define TESTS_EVALUATOR_CHECKPOINT_FIXTURE_H

#include "tests/check.h"
#include "tests/codec_fixture.h"

#include "model/encoder_config.h"
#include "model/rdt.h"
#include "model/weights.h"
#include "proto/checkpoint.h"
#include "proto/files.h"
#include "proto/open_loop.h"
#include "proto/random.h"
#include "trainer/instructions.h"

enum { TASKS = 2, GRID = 2, PATCH = 3, TOKEN = 16, LANG_ROWS = 12, STEPS = 5 };

static struct {
    char folder[256], checkpoint[300], path[400];
    struct proto_codec *codec;
    struct model_rdt_sizes sizes;
    struct model_parameters *table;
    struct model_language *language;
    struct trainer_instructions texts;
    float *weights, *ema;
} f;

// ---- a checkpoint -------------------------------------------------------------------------------

static inline float *random_weights(uint64_t position) {
    struct proto_error error = {0};
    struct proto_random random = proto_random_at(1, PROTO_PURPOSE_INITIALISATION, position);
    float *flat = proto_alloc_array(f.table->elements, sizeof *flat, &error);
    CHECK_OK(flat, error);
    proto_random_normal(&random, flat, f.table->elements);
    for (size_t i = 0; i < f.table->elements; i++) flat[i] *= 0.1f;  // no layer is zero
    return flat;
}

static inline void put_text(const char *name, const char *text) {
    struct proto_error error = {0};
    snprintf(f.path, sizeof f.path, "%s/%s", f.folder, name);
    CHECK_OK(proto_file_write(f.path, text, strlen(text), &error), error);
}

static inline void write_checkpoint(void) {
    struct proto_error error = {0};
    struct proto_open_loop_task rows[TASKS] = {0};
    const struct proto_open_loop open_loop = {rows, TASKS, f.codec->action_count};
    const struct model_encoder_config encoders = {.vision = "pixels",
                                                  .patch_grid = GRID,
                                                  .patch_size = PATCH,
                                                  .language = "hash",
                                                  .token_dim = TOKEN};
    char codec[300], statistics[300], loop[300];
    snprintf(codec, sizeof codec, "%s/codec.json", f.folder);
    snprintf(statistics, sizeof statistics, "%s/dataset_statistics.json", f.folder);
    snprintf(loop, sizeof loop, "%s/open_loop.json", f.folder);
    CHECK_OK(proto_codec_write(codec, f.codec, &error), error);
    put_text("dataset_statistics.json", "{}\n");
    CHECK_OK(proto_open_loop_write(loop, f.codec, &open_loop, &error), error);
    json_t *config = model_weights_config(&f.sizes, STEPS, &error);
    CHECK_OK(config, error);
    CHECK_OK(model_encoder_config_store(&encoders, config, &error), error);
    const size_t count = f.table->count;
    struct proto_tensor_out *tensors = proto_alloc_array(2 * count, sizeof *tensors, &error);
    char(*names)[MODEL_TENSOR_NAME_MAX] = proto_alloc_array(2 * count, sizeof *names, &error);
    struct proto_tensor_out language[TASKS + 1];
    CHECK(tensors && names);
    model_parameters_tensors(f.table, "", f.weights, names, tensors);
    model_parameters_tensors(f.table, "", f.ema, names + count, tensors + count);
    trainer_instructions_tensors(&f.texts, language);
    const struct proto_checkpoint checkpoint = {
        .state = {.step = 12, .codec_hash = f.codec->hash, .ranks = 1, .threads = 1},
        .config = config,
        .codec_path = codec,
        .statistics_path = statistics,
        .open_loop_path = loop,
        .model = tensors,
        .ema = tensors + count,
        .optimizer = tensors,
        .language = language,
        .model_count = count,
        .ema_count = count,
        .optimizer_count = count,
        .language_count = TASKS + 1,
    };
    CHECK_OK(proto_checkpoint_write(f.folder, &checkpoint, &error), error);
    snprintf(f.checkpoint, sizeof f.checkpoint, "%s/checkpoint-12", f.folder);
    json_decref(config);
    free(tensors);
    free(names);
}

// `name`: of the first task; NULL: the codec fixture's own.
static inline void checkpoint_open(const char *name) {
    struct proto_error error = {0};
    memset(&f, 0, sizeof f);
    check_folder(f.folder);
    f.codec = fixture_codec(PROTO_ZSCORE, true, TASKS);
    if (name) {
        free(f.codec->tasks[0].name);
        f.codec->tasks[0].name = proto_format(&error, "%s", name);
        CHECK(f.codec->tasks[0].name);
    }
    f.sizes = (struct model_rdt_sizes){.hidden = 32,
                                       .depth = 2,
                                       .heads = 2,
                                       .chunk = f.codec->chunk,
                                       .width = f.codec->width,
                                       .lang_dim = TOKEN,
                                       .img_dim = 3 * PATCH * PATCH + MODEL_PATCH_PLACE,
                                       .lang_rows = LANG_ROWS,
                                       .img_history = f.codec->history,
                                       .img_cameras = 3,  // one place has no camera
                                       .img_patches = GRID * GRID,
                                       .norm_stat = MODEL_VARIANCE,
                                       .epsilon = MODEL_EPSILON};
    CHECK_OK(model_parameters_new(&f.sizes, &f.table, &error), error);
    CHECK_OK(model_language_open("hash", "", TOKEN, &f.language, &error), error);
    CHECK_OK(trainer_instructions_encode(f.language, f.codec, LANG_ROWS, &f.texts, &error), error);
    f.weights = random_weights(1);
    f.ema = random_weights(2);
    write_checkpoint();
}

static inline void checkpoint_close(void) {
    struct proto_error error = {0};
    free(f.weights);
    free(f.ema);
    trainer_instructions_free(&f.texts);
    model_language_close(&f.language);
    model_parameters_free(&f.table);
    proto_codec_free(&f.codec);
    CHECK_OK(proto_folder_remove(f.folder, &error), error);
}

#endif
