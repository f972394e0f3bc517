// tests/gpusim/fakes/cudart_memory.cpp - memory of CUDA's runtime: made, freed, copied and set.
//
// A copy reads pinned memory of the host when its turn comes, and other memory of the host now, as
// a driver stages it. What it will write in the host's memory is spoilt until then, where no work
// before it could see that.
#include "gpusim/fakes/call.hpp"

#include <cstring>

namespace gpusim {

// A copy or a fill of rows.
struct block {
    char *to;
    size_t to_pitch;
    const char *from;
    size_t from_pitch, width_bytes, rows;
};

static size_t span(size_t pitch, size_t width_bytes, size_t rows) {
    return rows == 0 || width_bytes == 0 ? 0 : (rows - 1) * pitch + width_bytes;
}
static void copy(const block &b) {
    for (size_t r = 0; r < b.rows; r++)
        memmove(b.to + r * b.to_pitch, b.from + r * b.from_pitch, b.width_bytes);
}

// Which side of a copy is a device, by its kind and by its addresses; false: they differ.
static bool sides(const block &b, enum cudaMemcpyKind kind, bool *to_device, bool *from_device) {
    *to_device = device_find(b.to) != nullptr;
    *from_device = device_find(b.from) != nullptr;
    if (kind == cudaMemcpyDefault) return true;
    const bool to_wanted = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
    const bool from_wanted = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
    return to_wanted == *to_device && from_wanted == *from_device;
}

enum class until { queued, done };  // what the caller waits for

static cudaError_t transfer(world_lock &lock, const char *name, const block &b,
                            enum cudaMemcpyKind kind, cudaStream_t handle, until promise) {
    CUstream_st *stream = stream_find(handle, current_device());
    if (!stream) return cudaErrorInvalidResourceHandle;
    const size_t to_bytes = span(b.to_pitch, b.width_bytes, b.rows);
    const size_t from_bytes = span(b.from_pitch, b.width_bytes, b.rows);
    if (to_bytes == 0) return cudaSuccess;
    bool to_device = false, from_device = false;
    if (!sides(b, kind, &to_device, &from_device)) return cudaErrorInvalidValue;
    if (to_device && !device_holds(b.to, to_bytes)) return cudaErrorInvalidValue;
    if (from_device && !device_holds(b.from, from_bytes)) return cudaErrorInvalidValue;
    const int to = to_device ? device_find(b.to)->device : stream_device(stream);
    const int from = from_device ? device_find(b.from)->device : stream_device(stream);

    block later = b;
    host_range host = {};
    std::shared_ptr<std::vector<char>> staged;
    const bool pinned = !from_device && pinned_find(b.from);
    if (!from_device && to_device && !pinned) {
        staged = std::make_shared<std::vector<char>>(b.from, b.from + from_bytes);
        later.from = staged->data();
    } else if (!from_device) {
        host = {b.from, from_bytes};
    }
    if (!to_device) {
        host = {b.to, to_bytes};
        if (delayed() && from_device && !host_awaited(host))
            for (size_t r = 0; r < b.rows; r++) memset(b.to + r * b.to_pitch, 0xff, b.width_bytes);
    }
    const mark_ref done = stream_put(
        stream, name,
        [later, staged, to, from] {
            const device_works open_to(to), open_from(from);
            copy(later);
            return true;
        },
        host);
    // between devices, and from memory that was staged, a copy only has to be queued
    const bool awaited = !staged && !(to_device && from_device);
    if (promise == until::done && awaited) wait_for(lock, done);
    return cudaSuccess;
}

static cudaError_t fill(const char *name, void *memory, size_t pitch, int value, size_t width_bytes,
                        size_t rows, cudaStream_t handle) {
    CUstream_st *stream = stream_find(handle, current_device());
    if (!stream) return cudaErrorInvalidResourceHandle;
    const size_t size_bytes = span(pitch, width_bytes, rows);
    if (size_bytes == 0) return cudaSuccess;
    const allocation *a = device_holds(memory, size_bytes);
    if (!a) return cudaErrorInvalidValue;
    char *begin = static_cast<char *>(memory);
    stream_put(stream, name, [=, device = a->device] {
        const device_works open(device);
        for (size_t r = 0; r < rows; r++) memset(begin + r * pitch, value, width_bytes);
        return true;
    });
    return cudaSuccess;
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

// ---- of devices ----

static cudaError_t allocate(void **memory, size_t size_bytes) {
    if (!memory) return cudaErrorInvalidValue;
    *memory = nullptr;
    if (size_bytes == 0) return cudaSuccess;
    *memory = device_alloc(current_device(), size_bytes);
    return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaMalloc(void **devPtr, size_t size) {
    return called("cudaMalloc", [&](world_lock &) { return allocate(devPtr, size); });
}
cudaError_t cudaFree(void *devPtr) {
    return called("cudaFree", [&](world_lock &lock) {
        if (!devPtr) return cudaSuccess;
        const allocation *a = device_find(devPtr);
        if (!a || a->begin != devPtr) return cudaErrorInvalidValue;
        wait_for_device(lock, a->device);
        return device_free(devPtr) ? cudaSuccess : cudaErrorInvalidValue;
    });
}
cudaError_t cudaMallocAsync(void **devPtr, size_t size, cudaStream_t hStream) {
    return called("cudaMallocAsync", [&](world_lock &) {
        if (!stream_find(hStream, current_device())) return cudaErrorInvalidResourceHandle;
        return allocate(devPtr, size);
    });
}
cudaError_t cudaFreeAsync(void *devPtr, cudaStream_t hStream) {
    return called("cudaFreeAsync", [&](world_lock &) {
        CUstream_st *stream = stream_find(hStream, current_device());
        if (!stream) return cudaErrorInvalidResourceHandle;
        const allocation *a = device_find(devPtr);
        if (!a || a->begin != devPtr) return cudaErrorInvalidValue;
        stream_put(stream, "cudaFreeAsync", [=] {
            device_free(devPtr);
            return true;
        });
        return cudaSuccess;
    });
}
cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
    return called("cudaMemGetInfo", [&](world_lock &) {
        *total = machine().memory_bytes;
        *free = machine().memory_bytes - device_used(current_device());
        return cudaSuccess;
    });
}

// ---- of the host, pinned ----

cudaError_t cudaHostAlloc(void **pHost, size_t size, unsigned int) {
    return called("cudaHostAlloc", [&](world_lock &) {
        if (!pHost) return cudaErrorInvalidValue;
        *pHost = size > 0 ? pinned_alloc(current_device(), size) : nullptr;
        return *pHost || size == 0 ? cudaSuccess : cudaErrorMemoryAllocation;
    });
}
cudaError_t cudaMallocHost(void **ptr, size_t size) {
    return called("cudaMallocHost", [&](world_lock &) {
        if (!ptr) return cudaErrorInvalidValue;
        *ptr = size > 0 ? pinned_alloc(current_device(), size) : nullptr;
        return *ptr || size == 0 ? cudaSuccess : cudaErrorMemoryAllocation;
    });
}
cudaError_t cudaFreeHost(void *ptr) {
    return called("cudaFreeHost", [&](world_lock &lock) {
        if (!ptr) return cudaSuccess;
        wait_for_device(lock, current_device());
        return pinned_free(ptr) ? cudaSuccess : cudaErrorInvalidValue;
    });
}
cudaError_t cudaHostRegister(void *ptr, size_t size, unsigned int) {
    return called("cudaHostRegister", [&](world_lock &) {
        if (!ptr || size == 0) return cudaErrorInvalidValue;
        return pinned_add(current_device(), ptr, size) ? cudaSuccess
                                                       : cudaErrorHostMemoryAlreadyRegistered;
    });
}
cudaError_t cudaHostUnregister(void *ptr) {
    return called("cudaHostUnregister", [&](world_lock &lock) {
        wait_for_device(lock, current_device());
        return pinned_remove(ptr) ? cudaSuccess : cudaErrorHostMemoryNotRegistered;
    });
}
cudaError_t cudaHostGetDevicePointer(void **pDevice, void *pHost, unsigned int flags) {
    return called("cudaHostGetDevicePointer", [&](world_lock &) {
        if (flags != 0 || !pinned_find(pHost)) return cudaErrorInvalidValue;
        *pDevice = pHost;
        return cudaSuccess;
    });
}

cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *attributes, const void *ptr) {
    return called("cudaPointerGetAttributes", [&](world_lock &) {
        void *address = const_cast<void *>(ptr);
        *attributes = {};
        attributes->device = -2;  // cudaInvalidDeviceId
        if (const allocation *a = device_find(ptr)) {
            attributes->type = cudaMemoryTypeDevice;
            attributes->device = a->device;
            attributes->devicePointer = address;
        } else if (const allocation *p = pinned_find(ptr)) {
            attributes->type = cudaMemoryTypeHost;
            attributes->device = p->device;
            attributes->devicePointer = attributes->hostPointer = address;
        } else {
            attributes->hostPointer = address;
        }
        return cudaSuccess;
    });
}

// ---- copies ----

static block rows_of(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                     size_t rows) {
    return {static_cast<char *>(to),
            to_pitch,
            static_cast<const char *>(from),
            from_pitch,
            width,
            rows};
}
cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind) {
    return called("cudaMemcpy", [&](world_lock &lock) {
        return transfer(lock, "cudaMemcpy", rows_of(dst, count, src, count, count, 1), kind,
                        nullptr, until::done);
    });
}
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t count, enum cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return called("cudaMemcpyAsync", [&](world_lock &lock) {
        return transfer(lock, "cudaMemcpyAsync", rows_of(dst, count, src, count, count, 1), kind,
                        stream, until::queued);
    });
}
cudaError_t cudaMemcpy2DAsync(void *dst, size_t dpitch, const void *src, size_t spitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream) {
    return called("cudaMemcpy2DAsync", [&](world_lock &lock) {
        if (dpitch < width || spitch < width) return cudaErrorInvalidPitchValue;
        return transfer(lock, "cudaMemcpy2DAsync", rows_of(dst, dpitch, src, spitch, width, height),
                        kind, stream, until::queued);
    });
}

cudaError_t cudaMemset(void *devPtr, int value, size_t count) {
    return called("cudaMemset", [&](world_lock &) {
        return fill("cudaMemset", devPtr, count, value, count, 1, nullptr);
    });
}
cudaError_t cudaMemsetAsync(void *devPtr, int value, size_t count, cudaStream_t stream) {
    return called("cudaMemsetAsync", [&](world_lock &) {
        return fill("cudaMemsetAsync", devPtr, count, value, count, 1, stream);
    });
}
cudaError_t cudaMemset2DAsync(void *devPtr, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream) {
    return called("cudaMemset2DAsync", [&](world_lock &) {
        if (pitch < width) return cudaErrorInvalidPitchValue;
        return fill("cudaMemset2DAsync", devPtr, pitch, value, width, height, stream);
    });
}

}  // extern "C"
