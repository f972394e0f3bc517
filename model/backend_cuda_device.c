// model/backend_cuda_device.c - which GPUs there are, and the words for when there are none or one
// fails. Nothing here takes memory on a device.
#include "model/backend_cuda.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAJOR_MIN 8  // compute capability that the kernels are compiled for, at least

// Errors after which a device answers nothing until the process has ended.
static bool is_lost(cudaError_t status) {
    switch (status) {
    case cudaErrorDevicesUnavailable:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorContextIsDestroyed:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
    case cudaErrorUnknown:
        return true;
    default:
        return false;
    }
}

bool model_cuda_check(const struct model_backend_cuda *cuda, cudaError_t status, const char *call,
                      struct proto_error *error) {
    if (status == cudaSuccess) return true;
    if (is_lost(status))
        return proto_fail(
            error, PROTO_FAILED,
            "cuda:%u (%s) was lost: %s found \"%s\" (%s). It may work again in a new "
            "process; nvidia-smi and the Xid lines of the kernel's log say whether it "
            "has to be reset",
            cuda->number, cuda->device.name, call, cudaGetErrorString(status),
            cudaGetErrorName(status));
    return proto_fail(error, status == cudaErrorMemoryAllocation ? PROTO_EXHAUSTED : PROTO_FAILED,
                      "cuda:%u (%s): %s failed: \"%s\" (%s)", cuda->number, cuda->device.name, call,
                      cudaGetErrorString(status), cudaGetErrorName(status));
}

bool model_cuda_check_blas(const struct model_backend_cuda *cuda, cublasStatus_t status,
                           const char *call, struct proto_error *error) {
    if (status == CUBLAS_STATUS_SUCCESS) return true;
    return proto_fail(error, status == CUBLAS_STATUS_ALLOC_FAILED ? PROTO_EXHAUSTED : PROTO_FAILED,
                      "cuda:%u (%s): %s failed: \"%s\" (%s)", cuda->number, cuda->device.name, call,
                      cublasLtGetStatusString(status), cublasLtGetStatusName(status));
}

// ", CUDA_VISIBLE_DEVICES is \"1\"", or nothing when it is not set.
static const char *visible_text(char text[static 96]) {
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");
    text[0] = '\0';
    if (visible) snprintf(text, 96, "; CUDA_VISIBLE_DEVICES is \"%.60s\"", visible);
    return text;
}

// Why there is no count of devices.
static bool fail_no_driver(cudaError_t status, struct proto_error *error) {
    static const char otherwise[] = "or compute on the processor with devices = [\"cpu\"]";
    const char *says = cudaGetErrorString(status), *name = cudaGetErrorName(status);
    char visible[96];
    int driver = 0;
    if (status == cudaErrorNoDevice)
        return proto_fail(error, PROTO_MISSING,
                          "the NVIDIA driver has no GPU for this process: \"%s\" (%s)%s. Look at "
                          "nvidia-smi -L, start a container with its GPUs (--gpus all), %s",
                          says, name, visible_text(visible), otherwise);
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    if (driver > 0 && driver < CUDART_VERSION)
        return proto_fail(error, PROTO_MISSING,
                          "no usable NVIDIA driver: this one can do CUDA %d.%d, the program needs "
                          "%d.%d: \"%s\" (%s). Update the driver, %s",
                          driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                          CUDART_VERSION % 1000 / 10, says, name, otherwise);
    if (driver > 0)
        return proto_fail(error, PROTO_MISSING,
                          "no usable NVIDIA driver: \"%s\" (%s). nvidia-smi should say the same; "
                          "restart the machine or its driver, %s",
                          says, name, otherwise);
    return proto_fail(error, PROTO_MISSING,
                      "no usable NVIDIA driver: \"%s\" (%s), and no libcuda.so.1 of a driver. "
                      "Install the driver for CUDA %d.%d or later, start a container with its GPUs "
                      "(--gpus all), %s",
                      says, name, CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, otherwise);
}

static bool describe_one(int number, struct model_cuda_device *device, struct proto_error *error) {
    struct cudaDeviceProp found;
    cudaError_t status = cudaGetDeviceProperties(&found, number);
    if (status == cudaSuccess)
        status = cudaDeviceGetPCIBusId(device->pci, sizeof device->pci, number);
    if (status != cudaSuccess)
        return proto_fail(error, PROTO_MISSING, "cuda:%d cannot be asked what it is: \"%s\" (%s)",
                          number, cudaGetErrorString(status), cudaGetErrorName(status));
    snprintf(device->name, sizeof device->name, "%.63s", found.name);
    static_assert(sizeof device->uuid == sizeof found.uuid, "a UUID has 16 bytes");
    memcpy(device->uuid, &found.uuid, sizeof device->uuid);
    device->major = (uint32_t)found.major;
    device->minor = (uint32_t)found.minor;
    device->multiprocessors = (uint32_t)found.multiProcessorCount;
    device->memory_bytes = found.totalGlobalMem;
    return true;
}

bool model_cuda_describe(struct model_cuda_devices *devices, struct proto_error *error) {
    *devices = (struct model_cuda_devices){0};
    int count = 0, driver = 0, runtime = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess) return fail_no_driver(status, error);
    if (count < 1) return fail_no_driver(cudaErrorNoDevice, error);
    if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
    if (cudaRuntimeGetVersion(&runtime) != cudaSuccess) runtime = 0;
    devices->driver = (uint32_t)driver;
    devices->runtime = (uint32_t)runtime;
    devices->cublas = cublasLtGetVersion();
    devices->count = count < MODEL_CUDA_DEVICES_MAX ? (uint32_t)count : MODEL_CUDA_DEVICES_MAX;
    for (uint32_t i = 0; i < devices->count; i++)
        if (!describe_one((int)i, &devices->items[i], error)) return false;
    return true;
}

bool model_cuda_choose(uint32_t number, struct model_cuda_devices *devices,
                       struct proto_error *error) {
    char visible[96];
    if (!model_cuda_describe(devices, error)) return false;
    if (number >= devices->count)
        return proto_fail(error, PROTO_MISSING,
                          "there is no GPU %u: this process sees %u, the last is cuda:%u%s", number,
                          devices->count, devices->count - 1, visible_text(visible));
    const struct model_cuda_device *device = &devices->items[number];
    if (device->major < MAJOR_MIN)
        return proto_fail(error, PROTO_MISSING,
                          "cuda:%u is a %s of compute capability %u.%u; the kernels here need %d.0 "
                          "or later (A100, RTX 30)",
                          number, device->name, device->major, device->minor, MAJOR_MIN);
    return true;
}
