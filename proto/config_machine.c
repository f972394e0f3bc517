// proto/config_machine.c - can this build on this machine do what a configuration asks for, and if
// not, which options would run instead.
//
// Values that the table of options knows but this build cannot serve are rows of `absent`: when a
// part arrives, its row goes.
#include "proto/config.h"
#include "proto/config_check.h"
#include "proto/config_value.h"
#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct absent {
    const char *section, *key;
    const char *value;    // as TOML
    const char *reason;   // after "section.key = value: "
    const char *instead;  // as one would write it behind --set
} absent[] = {
    {"collective", "backend", "\"nccl\"", "this build has no CUDA, and so no NCCL", "host"},
    {"collective", "backend", "\"staged\"", "this build has no CUDA", "host"},
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

static bool check_devices(const struct proto_config *config, struct proto_error *error) {
    const char *first = config->trainer.devices.items[0];
    char instead[560];
    if (!is_cuda(first)) return true;
    if (!instead_print(config, true, instead, sizeof instead, error)) return false;
    proto_fail(error, PROTO_MISSING,
               "%s: this build has no CUDA. What runs here on cpu: pipelines/1task.toml, or%s",
               first, instead);
    return proto_config_place(config, "trainer", "devices", error);
}

// Where the policy of an evaluator runs; without evaluation nobody asks.
static bool check_evaluator(const struct proto_config *config, struct proto_error *error) {
    char instead[560];
    if (!evaluates_on_cuda(config)) return true;
    if (!instead_print(config, false, instead, sizeof instead, error)) return false;
    proto_fail(error, PROTO_MISSING, "%s: this build has no CUDA. What runs instead:%s",
               config->evaluator.device, instead);
    return proto_config_place(config, "evaluator", "device", error);
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
    return check_devices(config, error) && check_absent(config, error) &&
           check_evaluator(config, error) && check_pretrained(config, error);
}
