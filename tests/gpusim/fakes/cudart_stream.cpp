// tests/gpusim/fakes/cudart_stream.cpp - streams and events of CUDA's runtime.
#include "gpusim/fakes/call.hpp"

#include <set>

// An event is the mark of its last record; a wait keeps the mark that it found.
struct CUevent_st {
    int device;
    bool timed;
    gpusim::mark_ref record;  // NULL: never recorded
};

namespace gpusim {

static std::set<const CUevent_st *> &events() {
    static std::set<const CUevent_st *> &s = *new std::set<const CUevent_st *>;
    return s;
}
static bool is_event(const CUevent_st *event) { return events().count(event) > 0; }

static cudaError_t new_stream(cudaStream_t *stream, unsigned flags) {
    if (!stream || flags > cudaStreamNonBlocking) return cudaErrorInvalidValue;
    *stream = stream_new(current_device(), flags == cudaStreamDefault);
    return cudaSuccess;
}
static cudaError_t new_event(cudaEvent_t *event, unsigned flags) {
    const unsigned all = cudaEventBlockingSync | cudaEventDisableTiming | cudaEventInterprocess;
    if (!event || (flags & ~all) != 0) return cudaErrorInvalidValue;
    if ((flags & cudaEventInterprocess) != 0) return cudaErrorNotSupported;
    *event = new CUevent_st{current_device(), (flags & cudaEventDisableTiming) == 0, nullptr};
    events().insert(*event);
    return cudaSuccess;
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t *pStream) {
    return called("cudaStreamCreate",
                  [&](world_lock &) { return new_stream(pStream, cudaStreamDefault); });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *pStream, unsigned int flags) {
    return called("cudaStreamCreateWithFlags",
                  [&](world_lock &) { return new_stream(pStream, flags); });
}
// Priorities are hints: any order that is legal is drawn all the same.
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *pStream, unsigned int flags, int) {
    return called("cudaStreamCreateWithPriority",
                  [&](world_lock &) { return new_stream(pStream, flags); });
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return called("cudaStreamDestroy", [&](world_lock &) {
        if (!stream || !stream_find(stream, current_device()))
            return cudaErrorInvalidResourceHandle;
        stream_end(stream);
        return cudaSuccess;
    });
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return called("cudaStreamSynchronize", [&](world_lock &lock) {
        CUstream_st *found = stream_find(stream, current_device());
        if (!found) return cudaErrorInvalidResourceHandle;
        wait_for(lock, stream_tail(found));
        return cudaSuccess;
    });
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
    return called("cudaStreamQuery", [&](world_lock &) {
        CUstream_st *found = stream_find(stream, current_device());
        if (!found) return cudaErrorInvalidResourceHandle;
        return ask(stream_tail(found)) ? cudaSuccess : cudaErrorNotReady;
    });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned int flags) {
    return called("cudaStreamWaitEvent", [&](world_lock &) {
        CUstream_st *found = stream_find(stream, current_device());
        if (!found || !is_event(event)) return cudaErrorInvalidResourceHandle;
        if (flags != cudaEventWaitDefault) return cudaErrorInvalidValue;
        if (!event->record) return cudaSuccess;  // there is nothing to wait for
        stream_put(found, "cudaStreamWaitEvent", [] { return true; }, {}, {event->record});
        return cudaSuccess;
    });
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t fn, void *userData) {
    return called("cudaLaunchHostFunc", [&](world_lock &) {
        CUstream_st *found = stream_find(stream, current_device());
        if (!found) return cudaErrorInvalidResourceHandle;
        stream_put(found, "cudaLaunchHostFunc", [=] {
            run_host_function(fn, userData);
            return true;
        });
        return cudaSuccess;
    });
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
    return called("cudaEventCreate",
                  [&](world_lock &) { return new_event(event, cudaEventDefault); });
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned int flags) {
    return called("cudaEventCreateWithFlags",
                  [&](world_lock &) { return new_event(event, flags); });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return called("cudaEventDestroy", [&](world_lock &) {
        if (!is_event(event)) return cudaErrorInvalidResourceHandle;
        events().erase(event);
        delete event;
        return cudaSuccess;
    });
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return called("cudaEventRecord", [&](world_lock &) {
        CUstream_st *found = stream_find(stream, current_device());
        if (!found || !is_event(event) || stream_device(found) != event->device)
            return cudaErrorInvalidResourceHandle;
        event->record = stream_put(found, "cudaEventRecord", [] { return true; });
        return cudaSuccess;
    });
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
    return called("cudaEventQuery", [&](world_lock &) {
        if (!is_event(event)) return cudaErrorInvalidResourceHandle;
        return ask(event->record) ? cudaSuccess : cudaErrorNotReady;
    });
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return called("cudaEventSynchronize", [&](world_lock &lock) {
        if (!is_event(event)) return cudaErrorInvalidResourceHandle;
        const mark_ref record = event->record;
        wait_for(lock, record);
        return cudaSuccess;
    });
}
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t start, cudaEvent_t end) {
    return called("cudaEventElapsedTime", [&](world_lock &) {
        if (!is_event(start) || !is_event(end)) return cudaErrorInvalidResourceHandle;
        if (!start->timed || !end->timed || !start->record || !end->record)
            return cudaErrorInvalidResourceHandle;
        if (!start->record->reached || !end->record->reached) return cudaErrorNotReady;
        *ms = float(end->record->at_ms - start->record->at_ms);
        return cudaSuccess;
    });
}

}  // extern "C"
