// proto/config_check.c - what must hold between options: divisible batches, one kind of device,
// a schedule that does what its warm-up says, names that exist and are not said twice.
#include "proto/config_check.h"

#include "proto/codec.h"
#include "proto/nearest.h"
#include "proto/preset.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define RANKS_MAX 256
#define CUDA_DEVICES_MAX 64

// Gives a PROTO_USAGE error the place of an option.
#define REFUSE(config, section, key, ...)                                                          \
    (proto_fail(error, PROTO_USAGE, __VA_ARGS__), proto_config_place(config, section, key, error))

bool proto_config_resolve(struct proto_config *config, struct proto_error *error) {
    const struct proto_preset *preset = proto_preset_find(config->model.preset);
    if (!preset)
        return REFUSE(config, "model", "preset", "\"%s\" is no preset", config->model.preset);
    const struct {
        int64_t *value, from_preset;
    } sizes[] = {
        {&config->model.hidden_size, preset->hidden_size},
        {&config->model.depth, preset->depth},
        {&config->model.num_heads, preset->num_heads},
        {&config->model.chunk_size, preset->chunk_size},
        {&config->model.img_history_size, preset->img_history_size},
        {&config->model.num_cameras, preset->num_cameras},
        {&config->model.max_lang_cond_len, preset->max_lang_cond_len},
    };
    for (size_t i = 0; i < PROTO_COUNT(sizes); i++)
        if (*sizes[i].value == 0) *sizes[i].value = sizes[i].from_preset;
    if (config->model.layout[0] != '\0') return true;
    char *layout = proto_format(error, "%s", preset->layout);
    if (!layout) return false;
    free(config->model.layout);
    config->model.layout = layout;
    return true;
}

bool proto_device_parse(const char *device, bool *cuda, uint32_t *number) {
    *cuda = false;
    *number = 0;
    if (strcmp(device, "cpu") == 0) return true;
    if (strncmp(device, "cuda:", 5) != 0) return false;
    const char *digits = device + 5;
    const size_t length = strlen(digits);
    if (length < 1 || length > 2 || strspn(digits, "0123456789") != length) return false;
    if (length == 2 && digits[0] == '0') return false;  // cuda:01 would hide a duplicate
    for (size_t i = 0; i < length; i++) *number = *number * 10 + (uint32_t)(digits[i] - '0');
    *cuda = true;
    return *number < CUDA_DEVICES_MAX;
}

static bool check_devices(const struct proto_config *config, bool *cuda,
                          struct proto_error *error) {
    const struct proto_list *devices = &config->trainer.devices;
    if (devices->count < 1 || devices->count > RANKS_MAX)
        return REFUSE(config, "trainer", "devices",
                      "found %zu devices, expected 1..%d: each is one rank", devices->count,
                      RANKS_MAX);
    bool taken[CUDA_DEVICES_MAX] = {false};
    for (size_t i = 0; i < devices->count; i++) {
        bool is_cuda;
        uint32_t number;
        if (!proto_device_parse(devices->items[i], &is_cuda, &number))
            return REFUSE(config, "trainer", "devices",
                          "found \"%.100s\", expected \"cpu\" or \"cuda:N\" with N 0..%d",
                          devices->items[i], CUDA_DEVICES_MAX - 1);
        if (i > 0 && is_cuda != *cuda)
            return REFUSE(config, "trainer", "devices",
                          "%s and %s in one run: ranks must be all cpu or all cuda, because a step "
                          "takes as long as its slowest rank",
                          devices->items[0], devices->items[i]);
        // NCCL refuses it; over the host's memory it is allowed, and slower than one rank
        if (is_cuda && taken[number] && strcmp(config->collective.backend, "staged") != 0)
            return REFUSE(config, "trainer", "devices",
                          "%s is named twice: each rank needs a device of its own, or "
                          "collective.backend = \"staged\"",
                          devices->items[i]);
        if (is_cuda) taken[number] = true;
        *cuda = is_cuda;
    }
    return true;
}

// The size that divides and is nearest from below, or the ranks themselves.
static int64_t divisible(int64_t size, int64_t ranks) {
    return size < ranks ? ranks : size - size % ranks;
}

static bool check_batches(const struct proto_config *config, struct proto_error *error) {
    const int64_t ranks = (int64_t)config->trainer.devices.count;
    const struct {
        const char *key;
        int64_t size;
    } batches[] = {
        {"train_batch_size", config->trainer.train_batch_size},
        {"sample_batch_size", config->trainer.sample_batch_size},
    };
    for (size_t i = 0; i < PROTO_COUNT(batches); i++)
        if (batches[i].size % ranks != 0)
            return REFUSE(config, "trainer", batches[i].key,
                          "%" PRId64 " samples do not divide by the %" PRId64 " ranks of "
                          "trainer.devices; %" PRId64 " would",
                          batches[i].size, ranks, divisible(batches[i].size, ranks));
    return true;
}

static bool check_arithmetic(const struct proto_config *config, bool cuda,
                             struct proto_error *error) {
    const char *precision = config->trainer.mixed_precision, *backend = config->collective.backend;
    if (!cuda && strcmp(precision, "no") != 0)
        return REFUSE(config, "trainer", "mixed_precision",
                      "%s is not for cpu ranks, which calculate in fp32: set "
                      "trainer.mixed_precision = \"no\"",
                      precision);
    if (!cuda && strcmp(backend, "host") != 0)
        return REFUSE(config, "collective", "backend",
                      "%s is for cuda ranks, trainer.devices names cpu: set collective.backend = "
                      "\"host\"",
                      backend);
    if (cuda && strcmp(backend, "host") == 0)
        return REFUSE(config, "collective", "backend",
                      "host is for cpu ranks, trainer.devices names %s: set collective.backend = "
                      "\"nccl\", or \"staged\" where GPUs cannot reach each other",
                      config->trainer.devices.items[0]);
    return true;
}

static bool check_schedule(const struct proto_config *config, struct proto_error *error) {
    if (config->trainer.lr_warmup_steps > 0 &&
        strcmp(config->trainer.lr_scheduler, "constant") == 0)
        return REFUSE(config, "trainer", "lr_warmup_steps",
                      "%" PRId64 " steps of warm-up would do nothing: trainer.lr_scheduler "
                      "\"constant\" has no warm-up. Set lr_scheduler = \"constant_with_warmup\" or "
                      "lr_warmup_steps = 0",
                      config->trainer.lr_warmup_steps);
    if (config->trainer.ema_min_decay > config->trainer.ema_max_decay)
        return REFUSE(config, "trainer", "ema_min_decay", "%g is above trainer.ema_max_decay, %g",
                      config->trainer.ema_min_decay, config->trainer.ema_max_decay);
    return true;
}

static bool check_model(const struct proto_config *config, struct proto_error *error) {
    const int64_t hidden = config->model.hidden_size, heads = config->model.num_heads;
    if (hidden % heads != 0)
        return REFUSE(config, "model", "hidden_size",
                      "%" PRId64 " does not divide by model.num_heads, %" PRId64, hidden, heads);
    const size_t cameras = config->data.cameras.count;
    if (cameras < 1)
        return REFUSE(config, "data", "cameras", "no camera, expected 1..%" PRId64 " of them",
                      config->model.num_cameras);
    if ((int64_t)cameras > config->model.num_cameras)
        return REFUSE(config, "data", "cameras",
                      "%zu cameras, but the network has places for %" PRId64 " (model.num_cameras)",
                      cameras, config->model.num_cameras);
    for (size_t i = 0; i < cameras; i++) {
        const char *name = config->data.cameras.items[i];
        if (strlen(name) > 48)
            return REFUSE(config, "data", "cameras", "\"%.60s...\" is too long for a camera's name",
                          name);
        for (size_t j = 0; j < i; j++)
            if (strcmp(config->data.cameras.items[j], name) == 0)
                return REFUSE(config, "data", "cameras", "%s is named twice", name);
    }
    return true;
}

// Names of state or action fields: known, once each, and not too many numbers together.
static bool check_fields(const struct proto_config *config, const char *key, bool action,
                         const struct proto_list *names, struct proto_error *error) {
    uint32_t channels = 0;
    if (names->count < 1) return REFUSE(config, "data", key, "names no field");
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i];
        const struct proto_field *field = proto_field_find(name, action);
        if (!field) {
            size_t count;
            const struct proto_field *fields = proto_fields(&count);
            struct proto_nearest nearest = {.wrong = name};
            for (size_t j = 0; j < count; j++)
                if (fields[j].action == action) proto_nearest_offer(&nearest, fields[j].name);
            return REFUSE(config, "data", key,
                          "\"%.100s\" is no %s field%s%s; docs/data.md has all", name,
                          action ? "action" : "state", nearest.best ? "; nearest known: " : "",
                          nearest.best ? nearest.best : "");
        }
        for (size_t j = 0; j < i; j++)
            if (strcmp(names->items[j], name) == 0)
                return REFUSE(config, "data", key, "%s is named twice", name);
        channels += field->components;
        if (channels > PROTO_CHANNELS_MAX)
            return REFUSE(config, "data", key, "more than %d numbers together", PROTO_CHANNELS_MAX);
    }
    return true;
}

static bool check_data(const struct proto_config *config, struct proto_error *error) {
    if (!check_fields(config, "state", false, &config->data.state, error)) return false;
    if (!check_fields(config, "action", true, &config->data.action, error)) return false;
    if (config->data.image_aug && config->vision.cache)
        return REFUSE(config, "data", "image_aug",
                      "frames vary with image_aug, so their features cannot be kept: set "
                      "vision.cache = false");
    if (config->run.output_dir[0] == '\0')
        return REFUSE(config, "run", "output_dir", "is empty, expected the folder of the run");
    return true;
}

bool proto_config_check(const struct proto_config *config, struct proto_error *error) {
    bool cuda = false;
    bool is_cuda;
    uint32_t number;
    if (!proto_device_parse(config->evaluator.device, &is_cuda, &number))
        return REFUSE(config, "evaluator", "device",
                      "found \"%.100s\", expected \"cpu\" or \"cuda:N\"", config->evaluator.device);
    return check_data(config, error) && check_devices(config, &cuda, error) &&
           check_batches(config, error) && check_schedule(config, error) &&
           check_arithmetic(config, cuda, error) && check_model(config, error);
}
