// trainer/verb_devices.c - `devices`: the GPUs that the CUDA module sees, and the versions of what
// it uses. Loading that module takes a tenth of a second and 200 MB, which is why others ask this
// program instead of loading it.
//
//     {"devices": [{"name", "uuid", "pci", "capability", "multiprocessors", "memory_bytes"}],
//      "driver": 13000, "runtime": 13000, "cublas": 130100, "nccl": 22809}
//
// Without a usable device "devices" is empty and "why" says so, as "nccl_why" does of NCCL.
#include "trainer/verb_devices.h"

#include "model/backend_cuda_module.h"
#include "proto/json.h"
#include "proto/module.h"
#include "proto/words.h"
#include "trainer/collective_module.h"

#include <stdio.h>
#include <string.h>

#define PROGRAM "pipeline-trainer devices"

// As NVML and nvidia-smi write it.
static void uuid_text(const uint8_t uuid[static 16], char text[static 48]) {
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    memcpy(text, "GPU-", 4);
    used = 4;
    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text[used++] = '-';
        text[used++] = digits[uuid[i] >> 4];
        text[used++] = digits[uuid[i] & 15];
    }
    text[used] = '\0';
}

static json_t *device_json(const struct model_cuda_device *device) {
    char uuid[48], capability[32];
    uuid_text(device->uuid, uuid);
    snprintf(capability, sizeof capability, "%u.%u", device->major, device->minor);
    return json_pack("{s:o, s:s, s:o, s:s, s:i, s:I}", "name", proto_json_string(device->name),
                     "uuid", uuid, "pci", proto_json_string(device->pci), "capability", capability,
                     "multiprocessors", (int)device->multiprocessors, "memory_bytes",
                     (json_int_t)device->memory_bytes);
}

static void add_cuda(json_t *answer) {
    const struct model_cuda_module *module = NULL;
    struct model_cuda_devices devices = {0};
    struct proto_error error = {0};
    json_t *list = json_array();
    if (model_cuda_module_open(&module, &error) && module->describe(&devices, &error)) {
        for (uint32_t i = 0; i < devices.count; i++)
            json_array_append_new(list, device_json(&devices.items[i]));
        json_object_set_new(answer, "driver", json_integer(devices.driver));
        json_object_set_new(answer, "runtime", json_integer(devices.runtime));
        json_object_set_new(answer, "cublas", json_integer((json_int_t)devices.cublas));
    } else {
        json_object_set_new(answer, "why", proto_json_string(error.text));
    }
    json_object_set_new(answer, "module", json_boolean(module != NULL));
    json_object_set_new(answer, "devices", list);
}

static void add_nccl(json_t *answer) {
    void *found = NULL;
    trainer_collective_module_entry *entry = NULL;
    struct proto_error error = {0};
    uint32_t version = 0;
    bool known = proto_module_open("nccl", TRAINER_COLLECTIVE_MODULE_SYMBOL, &found, &error);
    if (known) {
        memcpy(&entry, &found, sizeof entry);
        known = entry()->version == TRAINER_COLLECTIVE_MODULE_VERSION ||
                proto_fail(&error, PROTO_MISSING, "the NCCL module is of another build");
        known = known && entry()->nccl_version(&version, &error);
    }
    if (known)
        json_object_set_new(answer, "nccl", json_integer(version));
    else
        json_object_set_new(answer, "nccl_why", proto_json_string(error.text));
}

static void print_version(const json_t *answer, const char *key, int thousands, const char *name) {
    const json_int_t number = json_integer_value(json_object_get(answer, key));
    if (number > 0)
        printf("%s %d.%d\n", name, (int)(number / thousands),
               (int)(number % thousands / (thousands / 100)));
}

int trainer_verb_devices(int count, char **words) {
    struct proto_error error = {0};
    bool json = false;
    size_t rest = 0, i;
    json_t *device;
    const struct proto_word options[] = {{"--json", PROTO_WORD_FLAG, &json}};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), NULL, 0, &rest, &error))
        return proto_error_print(PROGRAM, &error);
    json_t *answer = json_object();
    add_cuda(answer);
    add_nccl(answer);
    if (json) {
        json_dumpf(answer, stdout, JSON_INDENT(1));
        putchar('\n');
    } else {
        const char *why = json_string_value(json_object_get(answer, "why"));
        const char *nccl = json_string_value(json_object_get(answer, "nccl_why"));
        json_array_foreach(json_object_get(answer, "devices"), i, device) printf(
            "cuda:%zu  %s  %s  %.1f GiB\n", i, json_string_value(json_object_get(device, "name")),
            json_string_value(json_object_get(device, "uuid")),
            (double)json_integer_value(json_object_get(device, "memory_bytes")) / (1 << 30));
        print_version(answer, "driver", 1000, "driver for CUDA");
        print_version(answer, "runtime", 1000, "CUDA");
        print_version(answer, "cublas", 10000, "cuBLASLt");
        print_version(answer, "nccl", 10000, "NCCL");
        if (why) printf("no GPU: %s\n", why);
        if (nccl) printf("no NCCL: %s\n", nccl);
    }
    json_decref(answer);
    return fflush(stdout) == 0 ? PROTO_DONE : PROTO_FAILED;
}
