// proto/config_machine.c - can this build on this machine do what a configuration asks for, and if
// not, which options would run instead.
//
// Values that the table of options knows but this build cannot serve are rows of `absent`: when a
// part arrives, its row goes.
#include "proto/config.h"
#include "proto/config_check.h"
#include "proto/config_value.h"
#include "proto/files.h"
#include "proto/module.h"
#include "proto/probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct absent {
    const char *section, *key;
    const char *value;    // as TOML
    const char *reason;   // after "section.key = value: "
    const char *instead;  // as one would write it behind --set
} absent[] = {
    {"vision", "encoder", "\"siglip\"", "this build has no SigLIP encoder", "pixels"},
    {"vision", "cache", "true", "this build keeps no frame features; pixels needs none", "false"},
    {"language", "encoder", "\"t5\"", "this build has no T5 encoder", "hash"},
    {"data", "image_aug", "true", "this build has no image augmentation", "false"},
};

// False on lack of memory only.
static bool asks_for(const struct proto_config *config, const struct absent *row, bool *asked,
                     struct proto_error *error) {
    const struct proto_option *option = proto_option_find(row->section, row->key);
    char *value = proto_value_print(config, option, error);
    if (!value) return false;
    *asked = strcmp(value, row->value) == 0;
    free(value);
    return true;
}

static bool is_cuda(const char *device) {
    bool cuda;
    uint32_t number;
    return proto_device_parse(device, &cuda, &number) && cuda;
}

static bool evaluates_on_cuda(const struct proto_config *config) {
    return strcmp(config->evaluator.when, "never") != 0 && is_cuda(config->evaluator.device);
}

// " --set a.b=c" for every option that would have to change, into text.
static bool instead_print(const struct proto_config *config, bool cuda, char *text, size_t size,
                          struct proto_error *error) {
    size_t used = 0;
    text[0] = '\0';
    if (cuda) {
        used += (size_t)snprintf(text, size, " --set trainer.devices='[\"cpu\", \"cpu\"]'");
        if (strcmp(config->trainer.mixed_precision, "no") != 0)
            used += (size_t)snprintf(text + used, size - used, " --set trainer.mixed_precision=no");
        if (strcmp(config->model.preset, "rdt-tiny") != 0)
            used += (size_t)snprintf(text + used, size - used,
                                     " --set model.preset=rdt-tiny --set model.pretrained=");
        if (strcmp(config->collective.backend, "host") != 0)
            used += (size_t)snprintf(text + used, size - used, " --set collective.backend=host");
    }
    if (evaluates_on_cuda(config))
        used += (size_t)snprintf(text + used, size - used, " --set evaluator.device=cpu");
    for (size_t i = 0; i < PROTO_COUNT(absent); i++) {
        bool asked;
        if (!asks_for(config, &absent[i], &asked, error)) return false;
        if (!asked || used + 100 > size) continue;
        used += (size_t)snprintf(text + used, size - used, " --set %s.%s=%s", absent[i].section,
                                 absent[i].key, absent[i].instead);
    }
    return true;
}

// Fails with `why` and what runs instead, at trainer.devices or at evaluator.device.
static bool no_device(const struct proto_config *config, const char *device, const char *why,
                      bool trains, struct proto_error *error) {
    char instead[560];
    if (!instead_print(config, trains, instead, sizeof instead, error)) return false;
    proto_fail(error, PROTO_MISSING, "%s: %.400s. What runs %s%s", device, why,
               trains ? "here on cpu: pipelines/1task.toml, or" : "instead:", instead);
    return proto_config_place(config, trains ? "trainer" : "evaluator",
                              trains ? "devices" : "device", error);
}

// One device that is asked for against those that there are.
static bool check_device(const struct proto_config *config, const json_t *known, const char *device,
                         bool trains, struct proto_error *error) {
    bool cuda = false;
    uint32_t number = 0;
    char why[420];
    const char *reason = json_string_value(json_object_get(known, "why"));
    const size_t count = json_array_size(json_object_get(known, "devices"));
    if (!proto_device_parse(device, &cuda, &number) || !cuda || number < count) return true;
    if (count == 0)
        snprintf(why, sizeof why, "%s", reason ? reason : "there is no GPU here");
    else
        snprintf(
            why, sizeof why, "there %s %zu GPU%s here, cuda:0%s (CUDA_VISIBLE_DEVICES is %.60s)",
            count == 1 ? "is" : "are", count, count == 1 ? "" : "s", count > 1 ? " and on" : "",
            getenv("CUDA_VISIBLE_DEVICES") ? getenv("CUDA_VISIBLE_DEVICES") : "not set");
    return no_device(config, device, why, trains, error);
}

bool proto_config_check_devices(const struct proto_config *config, const json_t *known,
                                struct proto_error *error) {
    const struct proto_list *devices = &config->trainer.devices;
    for (size_t i = 0; i < devices->count; i++)
        if (!check_device(config, known, devices->items[i], true, error)) return false;
    if (evaluates_on_cuda(config) &&
        !check_device(config, known, config->evaluator.device, false, error))
        return false;
    if (devices->count < 2 || strcmp(config->collective.backend, "nccl") != 0 ||
        json_is_integer(json_object_get(known, "nccl")))
        return true;
    const char *why = json_string_value(json_object_get(known, "nccl_why"));
    proto_fail(error, PROTO_MISSING,
               "nccl: %.400s. What runs instead, through the host's memory: --set "
               "collective.backend=staged",
               why ? why : "this build has no NCCL");
    return proto_config_place(config, "collective", "backend", error);
}

// Which GPUs there are is asked of the program that uses them: this one loads no CUDA.
static bool check_cuda(const struct proto_config *config, struct proto_error *error) {
    const char *first = config->trainer.devices.items[0];
    struct proto_error failure = {0};
    const bool trains = is_cuda(first);
    if (!trains && !evaluates_on_cuda(config)) return true;
    if (!proto_module_is_there("cuda"))
        return no_device(config, trains ? first : config->evaluator.device,
                         "this build has no CUDA", trains, error);
    json_t *known =
        proto_probe_with("pipeline-trainer", "devices", NULL, PROTO_PROBE_LONG_MS, &failure);
    if (!known)
        return no_device(config, trains ? first : config->evaluator.device, failure.text, trains,
                         error);
    const bool done = proto_config_check_devices(config, known, error);
    json_decref(known);
    return done;
}

static bool check_absent(const struct proto_config *config, struct proto_error *error) {
    for (size_t i = 0; i < PROTO_COUNT(absent); i++) {
        bool asked;
        char instead[560];
        if (!asks_for(config, &absent[i], &asked, error)) return false;
        if (!asked) continue;
        if (!instead_print(config, false, instead, sizeof instead, error)) return false;
        proto_fail(error, PROTO_MISSING, "%s: %s. What runs instead:%s", absent[i].value,
                   absent[i].reason, instead);
        return proto_config_place(config, absent[i].section, absent[i].key, error);
    }
    return true;
}

static bool ends_with(const char *text, const char *end) {
    const size_t text_bytes = strlen(text), end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

static const char *const pickled_ends[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};

// True when folder/name is there; *error is filled on lack of memory only.
static bool holds(const char *folder, const char *name, bool *there, struct proto_error *error) {
    char *path = proto_format(error, "%s/%s", folder, name);
    if (!path) return false;
    *there = proto_path_exists(path);
    free(path);
    return true;
}

// model.pretrained is a folder with config.json and model.safetensors. Pickled weights are code
// that an unpickler would run; they are known and refused.
static bool check_pretrained(const struct proto_config *config, struct proto_error *error) {
    const char *path = config->model.pretrained;
    bool pickled = false, tensors = false;
    if (path[0] == '\0') return true;
    for (size_t i = 0; i < PROTO_COUNT(pickled_ends); i++)
        pickled = pickled || ends_with(path, pickled_ends[i]);
    if (!holds(path, "model.safetensors", &tensors, error)) return false;
    if (!pickled && !tensors && !holds(path, "pytorch_model.bin", &pickled, error)) return false;
    if (pickled)
        proto_fail(error, PROTO_MISSING,
                   "%.200s holds pickled weights, which this build does not read. Convert them "
                   "once, in Python: safetensors.torch.save_file(torch.load(FILE, "
                   "weights_only=True), \"model.safetensors\"), and name the folder that has it "
                   "beside config.json; or start from random weights: --set model.pretrained=",
                   path);
    else if (!proto_path_is_folder(path))
        proto_fail(error, PROTO_MISSING,
                   "%.200s is no folder; expected one with config.json and model.safetensors, or "
                   "--set model.pretrained= for random weights",
                   path);
    else if (!tensors)
        proto_fail(error, PROTO_MISSING, "%.200s has no model.safetensors", path);
    else
        return true;
    return proto_config_place(config, "model", "pretrained", error);
}

bool proto_config_check_machine(const struct proto_config *config, struct proto_error *error) {
    if (config->data.path.count < 1) {
        proto_fail(error, PROTO_USAGE,
                   "names no data: --set data.path=FILE.hdf5, or a folder of such files");
        return proto_config_place(config, "data", "path", error);
    }
    return check_cuda(config, error) && check_absent(config, error) &&
           check_pretrained(config, error);
}
