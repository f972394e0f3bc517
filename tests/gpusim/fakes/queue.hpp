// tests/gpusim/fakes/queue.hpp - streams: queues of work that runs in order, late when
// GPUSIM_DELAY says so, and never earlier than what it must follow.
//
// Work runs in whichever thread asks for its result, and after a while in a thread of its own, as a
// GPU goes on without being asked. With a delay, a call runs what its promise needs and seldom
// more, so that a result that nobody waited for is not there. One lock guards all of it.
#ifndef TESTS_GPUSIM_FAKES_QUEUE_HPP
#define TESTS_GPUSIM_FAKES_QUEUE_HPP

#include "gpusim/fakes/memory.hpp"

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace gpusim {

// The end of one piece of work.
struct mark {
    CUstream_st *stream;
    bool reached;
    double at_ms;  // when it was reached
};
using mark_ref = std::shared_ptr<mark>;

// Memory of the host that work will read or write.
struct host_range {
    const char *begin;
    size_t size_bytes;
};

struct work {
    const char *name;
    std::function<bool()> run;  // false: it waits for other processes; run it again later
    std::vector<mark_ref> after;
    mark_ref done;
    host_range host;
    double due_ms;  // then it runs unasked
};

using world_lock = std::unique_lock<std::mutex>;

// The lock of everything here. A thread that runs a host function holds it already.
world_lock take_world();
bool in_host_function();
void run_host_function(cudaHostFn_t function, void *user_data);
// Wakes whoever waits for a collective or an event.
void announce();

uint64_t draw();  // from GPUSIM_DELAY
bool delayed();   // is there a delay?
inline bool chance(unsigned of) { return delayed() && draw() % of == 0; }
double now_ms();

// ---- streams ----

CUstream_st *stream_new(int device, bool blocking);
void stream_end(CUstream_st *stream);  // its work still runs
int stream_device(const CUstream_st *stream);
// The stream behind a handle, NULL standing for the device's own; NULL: there is no such.
CUstream_st *stream_find(cudaStream_t handle, int device);

// Puts work at the end of a stream. `after`: what it must follow besides the stream's own order.
mark_ref stream_put(CUstream_st *stream, const char *name, std::function<bool()> run,
                    host_range host = {}, std::vector<mark_ref> after = {});
mark_ref stream_tail(CUstream_st *stream);  // the last work; NULL: there was none
// Waits until it is reached. Lets go of the lock while other processes are waited for.
void wait_for(world_lock &lock, const mark_ref &m);
void wait_for_device(world_lock &lock, int device);
// Whether it is reached; asking often enough makes it so, when nothing else is missing.
bool ask(const mark_ref &m);
// Does work that has not run touch this memory of the host?
bool host_awaited(host_range range);

// ---- errors of a device that stay ----

void device_lose(int device, cudaError_t error);
cudaError_t device_lost(int device);

}  // namespace gpusim

#endif
