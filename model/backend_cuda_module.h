// model/backend_cuda_module.h - what the CUDA module (libpipeline_cuda.so) gives to the programs,
// which link no CUDA themselves: model/backend.c loads it when a device "cuda:N" is asked for.
//
//     const struct model_cuda_module *module = NULL;
//     struct model_cuda_devices devices;
//     if (!model_cuda_module_open(&module, error)) return false;  // this build has no such module
//     if (!module->describe(&devices, error)) return false;       // no driver, no device
//     if (!module->open(0, &backend, error)) return false;        // what model_backend_open does
#ifndef MODEL_BACKEND_CUDA_MODULE_H
#define MODEL_BACKEND_CUDA_MODULE_H

#include "model/backend.h"

// Raised with every change of this header or of the table of operations (struct model_ops).
#define MODEL_CUDA_MODULE_VERSION 1
#define MODEL_CUDA_MODULE_SYMBOL "pipeline_cuda_module"

#define MODEL_CUDA_DEVICES_MAX 64
struct model_cuda_device {
    char name[64];          // "NVIDIA H100 80GB HBM3"
    uint8_t uuid[16];       // as NVML has it: numbers differ under CUDA_VISIBLE_DEVICES
    char pci[16];           // "0000:65:00.0"
    uint32_t major, minor;  // compute capability
    uint32_t multiprocessors;
    uint64_t memory_bytes;  // in all
};
struct model_cuda_devices {
    uint32_t count;  // at most MODEL_CUDA_DEVICES_MAX: those that CUDA_VISIBLE_DEVICES leaves
    struct model_cuda_device items[MODEL_CUDA_DEVICES_MAX];
    uint32_t driver, runtime;  // 13000 is CUDA 13.0; driver: the newest that the driver can do
    uint64_t cublas;           // 130100 is cublasLt 13.1
};

// The functions may be called from any thread, one at a time for each backend.
struct model_cuda_module {
    uint32_t version;    // MODEL_CUDA_MODULE_VERSION
    uint32_t ops_bytes;  // sizeof(struct model_ops) on the module's side
    const char *built;   // PIPELINE_VERSION of the build
    // PROTO_MISSING: there is no usable driver, or no device, in words that say what to do. Takes
    // no memory on a device.
    bool (*describe)(struct model_cuda_devices *devices, struct proto_error *error);
    // PROTO_MISSING: as describe, or no device of this number; PROTO_EXHAUSTED: it is full.
    bool (*open)(uint32_t number, struct model_backend **backend, struct proto_error *error);
};
typedef const struct model_cuda_module *model_cuda_module_entry(void);
model_cuda_module_entry pipeline_cuda_module;  // what the module exports

// Loads the module (proto/module.h) and checks that it is of this build. PROTO_MISSING otherwise.
PROTO_MUST_CHECK bool model_cuda_module_open(const struct model_cuda_module **module,
                                             struct proto_error *error);

#endif
