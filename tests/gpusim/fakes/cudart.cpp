// tests/gpusim/fakes/cudart.cpp - devices, versions and errors of CUDA's runtime.
#include "gpusim/fakes/call.hpp"

#include "gpusim/device_words.hpp"

#include <cstdio>
#include <cstring>
#include <sys/types.h>
#include <unistd.h>

namespace gpusim {

static thread_local int device_of_thread;
static thread_local cudaError_t last_error;

int current_device() { return device_of_thread; }
int physical(int device) { return machine().devices[size_t(device)]; }
bool device_exists(int device) { return device >= 0 && size_t(device) < machine().devices.size(); }

cudaError_t obstacle() {
    static pid_t owner;
    if (machine().driver_version < CUDART_VERSION / 1000 * 1000) return cudaErrorInsufficientDriver;
    if (machine().devices.empty()) return cudaErrorNoDevice;
    if (owner == 0) owner = getpid();
    return owner == getpid() ? cudaSuccess : cudaErrorInitializationError;
}

cudaError_t remember(cudaError_t error) {
    if (error != cudaSuccess) last_error = error;
    return error;
}

// Errors after which every call on the device returns the same.
static bool stays(cudaError_t error) {
    switch (error) {
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContained:
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorExternalDevice:
        return true;
    default:
        return false;
    }
}

cudaError_t fault_of_call(const char *function) {
    const auto error = cudaError_t(planned_fault(function, current_device()));
    if (stays(error)) device_lose(current_device(), error);
    return error;
}

// ---- kernels ----

static void launch_later(CUstream_st *handle, const char *kernel, std::function<void()> run) {
    called("cudaLaunchKernel", [&](world_lock &) {
        CUstream_st *stream = stream_find(handle, current_device());
        if (!stream || stream_device(stream) != current_device())
            return cudaErrorInvalidResourceHandle;
        stream_put(stream, kernel, [run = std::move(run)] {
            run();
            return true;
        });
        return cudaSuccess;
    });
}
__attribute__((constructor)) static void queue_launches() { set_launch_queue(launch_later); }

}  // namespace gpusim

using namespace gpusim;

extern "C" {

cudaError_t cudaFuncSetAttribute(const void *, enum cudaFuncAttribute, int) {
    return called("cudaFuncSetAttribute", [](world_lock &) { return cudaErrorNotSupported; });
}

// ---- devices ----

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 0;
    return called("cudaGetDeviceCount", [&](world_lock &) {
        *count = int(machine().devices.size());
        return cudaSuccess;
    });
}

cudaError_t cudaSetDevice(int device) {
    return called("cudaSetDevice", [&](world_lock &) {
        if (!device_exists(device)) return cudaErrorInvalidDevice;
        device_of_thread = device;
        return cudaSuccess;
    });
}
cudaError_t cudaGetDevice(int *device) {
    return called("cudaGetDevice", [&](world_lock &) {
        *device = current_device();
        return cudaSuccess;
    });
}

// What an attribute and a property say alike.
static const struct {
    enum cudaDeviceAttr attribute;
    int value;
} attributes[] = {
    {cudaDevAttrMaxThreadsPerBlock, 1024},
    {cudaDevAttrMaxSharedMemoryPerBlock, 48 << 10},
    {cudaDevAttrWarpSize, 32},
    {cudaDevAttrClockRate, 1500000},
    {cudaDevAttrMultiProcessorCount, 4},
    {cudaDevAttrIntegrated, 0},
    {cudaDevAttrCanMapHostMemory, 1},
    {cudaDevAttrComputeMode, 0},
    {cudaDevAttrEccEnabled, 1},
    {cudaDevAttrPciDeviceId, 0},
    {cudaDevAttrMemoryClockRate, 2000000},
    {cudaDevAttrGlobalMemoryBusWidth, 1024},
    {cudaDevAttrL2CacheSize, 8 << 20},
    {cudaDevAttrMaxThreadsPerMultiProcessor, 2048},
    {cudaDevAttrAsyncEngineCount, 2},
    {cudaDevAttrUnifiedAddressing, 1},
    {cudaDevAttrPciDomainId, 0},
    {cudaDevAttrComputeCapabilityMajor, 9},
    {cudaDevAttrComputeCapabilityMinor, 0},
    {cudaDevAttrStreamPrioritiesSupported, 1},
    {cudaDevAttrMaxSharedMemoryPerMultiprocessor, 100 << 10},
    {cudaDevAttrMaxSharedMemoryPerBlockOptin, 48 << 10},
    {cudaDevAttrHostRegisterSupported, 1},
};
static int bus_of(int device) { return 0x10 + physical(device); }

static bool attribute_of(enum cudaDeviceAttr attribute, int device, int *value) {
    if (attribute == cudaDevAttrPciBusId) {
        *value = bus_of(device);
        return true;
    }
    for (const auto &row : attributes) {
        if (row.attribute != attribute) continue;
        *value = row.value;
        return true;
    }
    return false;
}
static int known(enum cudaDeviceAttr attribute, int device) {
    int value = 0;
    attribute_of(attribute, device, &value);
    return value;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attr, int device) {
    return called("cudaDeviceGetAttribute", [&](world_lock &) {
        if (!device_exists(device)) return cudaErrorInvalidDevice;
        return attribute_of(attr, device, value) ? cudaSuccess : cudaErrorInvalidValue;
    });
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *prop, int device) {
    return called("cudaGetDeviceProperties", [&](world_lock &) {
        if (!device_exists(device)) return cudaErrorInvalidDevice;
        memset(prop, 0, sizeof *prop);
        snprintf(prop->name, sizeof prop->name, "Simulated GPU %d", physical(device));
        memcpy(prop->uuid.bytes, "gpusim simulated", sizeof prop->uuid.bytes);
        prop->uuid.bytes[15] = char(physical(device));
        prop->totalGlobalMem = machine().memory_bytes;
        prop->sharedMemPerBlock = size_t(known(cudaDevAttrMaxSharedMemoryPerBlock, device));
        prop->sharedMemPerBlockOptin =
            size_t(known(cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
        prop->sharedMemPerMultiprocessor =
            size_t(known(cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
        prop->warpSize = known(cudaDevAttrWarpSize, device);
        prop->maxThreadsPerBlock = known(cudaDevAttrMaxThreadsPerBlock, device);
        prop->major = known(cudaDevAttrComputeCapabilityMajor, device);
        prop->minor = known(cudaDevAttrComputeCapabilityMinor, device);
        prop->multiProcessorCount = known(cudaDevAttrMultiProcessorCount, device);
        prop->canMapHostMemory = known(cudaDevAttrCanMapHostMemory, device);
        prop->concurrentKernels = 1;
        prop->ECCEnabled = known(cudaDevAttrEccEnabled, device);
        prop->pciBusID = bus_of(device);
        prop->asyncEngineCount = known(cudaDevAttrAsyncEngineCount, device);
        prop->unifiedAddressing = known(cudaDevAttrUnifiedAddressing, device);
        prop->memoryBusWidth = known(cudaDevAttrGlobalMemoryBusWidth, device);
        prop->l2CacheSize = known(cudaDevAttrL2CacheSize, device);
        prop->maxThreadsPerMultiProcessor = known(cudaDevAttrMaxThreadsPerMultiProcessor, device);
        prop->streamPrioritiesSupported = known(cudaDevAttrStreamPrioritiesSupported, device);
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceGetPCIBusId(char *pciBusId, int len, int device) {
    return called("cudaDeviceGetPCIBusId", [&](world_lock &) {
        if (!device_exists(device)) return cudaErrorInvalidDevice;
        if (!pciBusId || len < 13) return cudaErrorInvalidValue;
        snprintf(pciBusId, size_t(len), "0000:%02X:00.0", unsigned(bus_of(device)));
        return cudaSuccess;
    });
}
cudaError_t cudaDeviceGetByPCIBusId(int *device, const char *pciBusId) {
    return called("cudaDeviceGetByPCIBusId", [&](world_lock &) {
        unsigned domain = 0, bus = 0;
        if (!pciBusId || sscanf(pciBusId, "%x:%x:", &domain, &bus) != 2)
            return cudaErrorInvalidValue;
        for (int i = 0; device_exists(i); i++) {
            if (unsigned(bus_of(i)) != bus) continue;
            *device = i;
            return cudaSuccess;
        }
        return cudaErrorInvalidDevice;
    });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *leastPriority, int *greatestPriority) {
    return called("cudaDeviceGetStreamPriorityRange", [&](world_lock &) {
        if (leastPriority) *leastPriority = 0;
        if (greatestPriority) *greatestPriority = -5;
        return cudaSuccess;
    });
}
cudaError_t cudaDeviceCanAccessPeer(int *canAccessPeer, int device, int peerDevice) {
    return called("cudaDeviceCanAccessPeer", [&](world_lock &) {
        if (!device_exists(device) || !device_exists(peerDevice)) return cudaErrorInvalidDevice;
        *canAccessPeer = device != peerDevice;
        return cudaSuccess;
    });
}
cudaError_t cudaDeviceEnablePeerAccess(int peerDevice, unsigned int flags) {
    return called("cudaDeviceEnablePeerAccess", [&](world_lock &) {
        if (flags != 0) return cudaErrorInvalidValue;
        if (!device_exists(peerDevice) || peerDevice == current_device())
            return cudaErrorInvalidDevice;
        return cudaSuccess;
    });
}

cudaError_t cudaDeviceSynchronize(void) {
    return called("cudaDeviceSynchronize", [](world_lock &lock) {
        wait_for_device(lock, current_device());
        return cudaSuccess;
    });
}
// Its allocations, streams and events are not taken away: nobody may use them afterwards.
cudaError_t cudaDeviceReset(void) {
    return called("cudaDeviceReset", [](world_lock &lock) {
        wait_for_device(lock, current_device());
        return cudaSuccess;
    });
}

cudaError_t cudaDriverGetVersion(int *driverVersion) {
    if (!driverVersion) return remember(cudaErrorInvalidValue);
    *driverVersion = machine().driver_version;  // 0 and success where there is no driver
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *runtimeVersion) {
    if (!runtimeVersion) return remember(cudaErrorInvalidValue);
    *runtimeVersion = CUDART_VERSION;
    return cudaSuccess;
}

// ---- errors ----

// Reads the last error and forgets it, unless the device is lost.
cudaError_t cudaGetLastError(void) {
    const cudaError_t error = last_error;
    last_error = cudaSuccess;
    if (error == cudaSuccess || in_host_function()) return error;
    const world_lock lock = take_world();
    last_error = device_lost(current_device());
    return error;
}
cudaError_t cudaPeekAtLastError(void) { return last_error; }

static const struct {
    cudaError_t error;
    const char *name, *text;
} errors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInitializationError, "cudaErrorInitializationError", "initialization error"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration",
     "invalid configuration argument"},
    {cudaErrorInsufficientDriver, "cudaErrorInsufficientDriver",
     "CUDA driver version is insufficient for CUDA runtime version"},
    {cudaErrorDevicesUnavailable, "cudaErrorDevicesUnavailable",
     "CUDA-capable device(s) is/are busy or unavailable"},
    {cudaErrorNoDevice, "cudaErrorNoDevice", "no CUDA-capable device is detected"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorNoKernelImageForDevice, "cudaErrorNoKernelImageForDevice",
     "no kernel image is available for execution on the device"},
    {cudaErrorECCUncorrectable, "cudaErrorECCUncorrectable", "uncorrectable ECC error encountered"},
    {cudaErrorNvlinkUncorrectable, "cudaErrorNvlinkUncorrectable",
     "uncorrectable NVLink error detected during the execution"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorNotReady, "cudaErrorNotReady", "device not ready"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress",
     "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources",
     "too many resources requested for launch"},
    {cudaErrorLaunchTimeout, "cudaErrorLaunchTimeout", "the launch timed out and was terminated"},
    {cudaErrorHostMemoryAlreadyRegistered, "cudaErrorHostMemoryAlreadyRegistered",
     "part or all of the requested memory range is already mapped"},
    {cudaErrorHostMemoryNotRegistered, "cudaErrorHostMemoryNotRegistered",
     "pointer does not correspond to a registered memory region"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotPermitted, "cudaErrorNotPermitted", "operation not permitted"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorSystemDriverMismatch, "cudaErrorSystemDriverMismatch",
     "system has unsupported display driver / cuda driver combination"},
    {cudaErrorUnknown, "cudaErrorUnknown", "unknown error"},
};
const char *cudaGetErrorName(cudaError_t error) {
    for (const auto &row : errors)
        if (row.error == error) return row.name;
    return "unrecognized error code";
}
const char *cudaGetErrorString(cudaError_t error) {
    for (const auto &row : errors)
        if (row.error == error) return row.text;
    return "unrecognized error code";
}

}  // extern "C"
