// tests/trainer/fake_cuda.c - a CUDA module for tests, loaded through PIPELINE_CUDA_MODULE: it
// describes two H100s, in the order that CUDA counts them, and opens none.
#include "model/backend_cuda_module.h"

#include <string.h>

static void device_fill(struct model_cuda_device *device, uint8_t last, const char *pci) {
    *device = (struct model_cuda_device){.name = "NVIDIA H100 80GB HBM3",
                                         .major = 9,
                                         .multiprocessors = 132,
                                         .memory_bytes = 85520809984};
    device->uuid[15] = last;
    memcpy(device->pci, pci, strlen(pci) + 1);
}

static bool fake_describe(struct model_cuda_devices *devices, struct proto_error *error) {
    (void)error;
    *devices = (struct model_cuda_devices){
        .count = 2, .driver = 13000, .runtime = 13000, .cublas = 130100};
    device_fill(&devices->items[0], 0xa1, "0000:66:00.0");
    device_fill(&devices->items[1], 0xb0, "0000:65:00.0");
    return true;
}

static bool fake_open(uint32_t number, struct model_backend **backend, struct proto_error *error) {
    (void)backend;
    return proto_fail(error, PROTO_MISSING, "device %u is a picture of one", number);
}

static const struct model_cuda_module fake = {.version = MODEL_CUDA_MODULE_VERSION,
                                              .ops_bytes = sizeof(struct model_ops),
                                              .built = PIPELINE_VERSION,
                                              .describe = fake_describe,
                                              .open = fake_open};

const struct model_cuda_module *pipeline_cuda_module(void) { return &fake; }
