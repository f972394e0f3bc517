// tests/proto/checkpoint_case.h - the run folder and the small checkpoints that the tests of
// proto/checkpoint write. `version` is in the tensors and the configuration, so that a test sees
// which of two writes of a step it reads.
#ifndef TESTS_PROTO_CHECKPOINT_CASE_H
#define TESTS_PROTO_CHECKPOINT_CASE_H

#include "proto/checkpoint.h"
#include "proto/files.h"
#include "proto/json.h"
#include "tests/check.h"

static char run[256];
static json_t *case_config;
static float case_numbers[64];
static char case_codec[300], case_statistics[300], case_open_loop[300];

static inline const char *in(const char *name) {
    static char paths[4][600];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    snprintf(path, 600, "%s/%s", run, name);
    return path;
}

static inline struct proto_trainer_state case_state(uint64_t step) {
    return (struct proto_trainer_state){
        .loss_scale = 4096,
        .loss_scale_steps = 17,
        .skipped_steps = 3,
        .step = step,
        .cursor = 48 * step,
        .ema_counter = step,
        .seed = 0xfedcba9876543210u,
        .config_hash = 0x8000000000000001u,
        .index_hash = 2,
        .codec_hash = 3,
        .attempt = 4,
        .ranks = 2,
        .threads = 1,
        .train_batch_size = 16,
        .gradient_accumulation_steps = 3,
        .kernels = "Haswell + avx2",
    };
}

static inline struct proto_checkpoint case_checkpoint(uint64_t step, int version) {
    static struct proto_tensor_out model[2], optimizer[3], language;
    for (size_t i = 0; i < PROTO_COUNT(case_numbers); i++)
        case_numbers[i] = (float)version + (float)step * 100;
    model[0] = (struct proto_tensor_out){"model.weight", PROTO_F32, 2, {8, 8}, case_numbers};
    model[1] = (struct proto_tensor_out){"model.bias", PROTO_F32, 1, {8}, case_numbers};
    for (size_t i = 0; i < 3; i++) {
        static const char *const names[] = {"master.model.weight", "first.model.weight",
                                            "second.model.weight"};
        optimizer[i] = (struct proto_tensor_out){names[i], PROTO_F32, 1, {64}, case_numbers};
    }
    language = (struct proto_tensor_out){"task.0", PROTO_F32, 2, {4, 16}, case_numbers};
    json_decref(case_config);
    case_config = json_pack("{s:i, s:{s:i}}", "version", version, "model", "depth", 4);
    return (struct proto_checkpoint){
        .state = case_state(step),
        .config = case_config,
        .codec_path = case_codec,
        .statistics_path = case_statistics,
        .open_loop_path = case_open_loop,
        .model = model,
        .ema = model,
        .optimizer = optimizer,
        .language = &language,
        .model_count = 2,
        .ema_count = 2,
        .optimizer_count = 3,
        .language_count = 1,
    };
}

static inline void put(uint64_t step, int version) {
    struct proto_error error = {0};
    const struct proto_checkpoint checkpoint = case_checkpoint(step, version);
    CHECK_OK(proto_checkpoint_write(run, &checkpoint, &error), error);
}

// Which write of the step is there: configuration and tensors must agree about it.
static inline int version_of(uint64_t step) {
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    char path[400];
    float numbers[64];
    snprintf(path, sizeof path, "%s/checkpoint-%d/config.json", run, (int)step);
    json_t *config = proto_json_read(path, 100000, &error);
    CHECK(config);
    const int version = (int)json_integer_value(json_object_get(config, "version"));
    json_decref(config);
    static const char *const names[] = {"model.safetensors", "ema/model.safetensors"};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/checkpoint-%d/%s", run, (int)step, names[i]);
        CHECK_OK(proto_safetensors_open(path, &file, &error), error);
        const struct proto_tensor_info *info = proto_safetensors_find(file, "model.weight");
        CHECK(info);
        CHECK_OK(proto_safetensors_read_f32(file, info, numbers, 64, &error), error);
        for (int k = 0; k < 64; k++) CHECK(numbers[k] == (float)version + (float)step * 100);
        proto_safetensors_close(&file);
    }
    return version;
}

static int begin(void **state) {
    struct proto_error error;
    (void)state;
    check_folder(run);
    snprintf(case_codec, sizeof case_codec, "%s/codec.json", run);
    snprintf(case_statistics, sizeof case_statistics, "%s/dataset_statistics.json", run);
    snprintf(case_open_loop, sizeof case_open_loop, "%s/open_loop.json", run);
    return proto_file_write(case_open_loop, "[]\n", 3, &error) &&
                   proto_file_write(case_codec, "{\"codec\": 1}\n", 13, &error) &&
                   proto_file_write(case_statistics, "{}\n", 3, &error)
               ? 0
               : -1;
}
static int end(void **state) {
    struct proto_error error;
    (void)state;
    proto_disk_replace(NULL);
    json_decref(case_config);
    case_config = NULL;
    return proto_folder_remove(run, &error) ? 0 : -1;
}
#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
