// tests/gpusim/fakes/queue.cpp - who runs what, and when.
#include "gpusim/fakes/queue.hpp"

#include "gpusim/fakes/settings.hpp"

#include <chrono>
#include <condition_variable>
#include <map>
#include <thread>

struct CUstream_st {
    int device;
    bool blocking;  // ordered with the device's own stream
    bool alive;
    std::deque<gpusim::work> queue;
    gpusim::mark_ref tail;
};

namespace gpusim {

// Work that nobody asks for runs by itself after so long.
static constexpr double unasked_ms_min = 5, unasked_ms_span = 40;
static constexpr auto poll_time = std::chrono::microseconds(100);

struct world {
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<CUstream_st *> streams;  // all there ever were: handles are checked against them
    std::map<int, CUstream_st *> own;    // of each device
    std::map<int, cudaError_t> lost;
    uint64_t random;
    size_t waiting;  // pieces of work
    bool has_thread;
};
static world &the() {
    static world &w = *new world{};
    return w;
}
static thread_local bool runs_host_function;

world_lock take_world() { return world_lock(the().mutex); }
bool in_host_function() { return runs_host_function; }
void run_host_function(cudaHostFn_t function, void *user_data) {
    runs_host_function = true;
    function(user_data);
    runs_host_function = false;
}
void announce() { the().changed.notify_all(); }

bool delayed() { return machine().delay != 0; }
uint64_t draw() {
    uint64_t &x = the().random;
    if (x == 0) x = machine().delay * 0x9e3779b97f4a7c15u;
    uint64_t z = x += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
double now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::milli>(now).count();
}

void device_lose(int device, cudaError_t error) { the().lost.insert({device, error}); }
cudaError_t device_lost(int device) {
    const auto found = the().lost.find(device);
    return found == the().lost.end() ? cudaSuccess : found->second;
}

// ---- running ----

// Runs the first work of a stream if it may run and ends; false: nothing has ended.
static bool step(CUstream_st *stream) {
    if (stream->queue.empty()) return false;
    work &w = stream->queue.front();
    for (const mark_ref &m : w.after)
        if (!m->reached) return false;
    if (device_lost(stream->device) == cudaSuccess) {
        const device_works open(stream->device);
        if (!w.run()) return false;
    }
    w.done->reached = true;
    w.done->at_ms = now_ms();
    stream->queue.pop_front();
    the().waiting--;
    announce();
    return true;
}

static bool step_towards(const mark_ref &m) {
    if (m->reached) return true;
    CUstream_st *stream = m->stream;
    for (const mark_ref &before : stream->queue.front().after)
        if (!before->reached) return step_towards(before);
    return step(stream);
}

// One piece of any stream.
static bool step_any() {
    const size_t count = the().streams.size();
    const size_t first = count > 0 ? draw() % count : 0;
    for (size_t i = 0; i < count; i++)
        if (step(the().streams[(first + i) % count])) return true;
    return false;
}

static bool step_overdue() {
    const double now = now_ms();
    for (size_t i = 0; i < the().streams.size(); i++) {
        CUstream_st *stream = the().streams[i];
        if (!stream->queue.empty() && stream->queue.front().due_ms <= now && step(stream))
            return true;
    }
    return false;
}

// A GPU goes on by itself.
static void go_on() {
    world_lock lock = take_world();
    for (;;) {
        if (the().waiting == 0)
            the().changed.wait(lock);
        else
            the().changed.wait_for(lock, poll_time);
        step_overdue();
    }
}

// Whatever can run does, or something does, or nothing.
static void run_some() {
    if (!delayed()) {
        while (step_any()) {
        }
    } else if (chance(4)) {
        step_any();
    }
    if (the().waiting == 0) return;
    if (!the().has_thread) {
        the().has_thread = true;
        std::thread(go_on).detach();
    }
    announce();
}

void wait_for(world_lock &lock, const mark_ref &m) {
    while (m && !m->reached) {
        if (chance(4)) step_any();
        if (!step_towards(m) && !m->reached) the().changed.wait_for(lock, poll_time);
    }
}
void wait_for_device(world_lock &lock, int device) {
    for (size_t i = 0; i < the().streams.size(); i++)
        if (the().streams[i]->device == device) wait_for(lock, the().streams[i]->tail);
}
bool ask(const mark_ref &m) {
    if (!m || m->reached) return true;
    if (chance(4)) step_any();
    if (!delayed() || chance(2)) step_towards(m);
    return m->reached;
}

// ---- streams ----

CUstream_st *stream_new(int device, bool blocking) {
    auto *stream = new CUstream_st{device, blocking, true, {}, nullptr};
    the().streams.push_back(stream);
    return stream;
}
void stream_end(CUstream_st *stream) { stream->alive = false; }
int stream_device(const CUstream_st *stream) { return stream->device; }
mark_ref stream_tail(CUstream_st *stream) { return stream->tail; }

CUstream_st *stream_find(cudaStream_t handle, int device) {
    if (!handle || handle == cudaStreamLegacy) {
        CUstream_st *&own = the().own[device];
        if (!own) own = stream_new(device, true);
        return own;
    }
    for (CUstream_st *stream : the().streams)
        if (stream == handle && stream->alive) return stream;
    return nullptr;
}

mark_ref stream_put(CUstream_st *stream, const char *name, std::function<bool()> run,
                    host_range host, std::vector<mark_ref> after) {
    // the device's own stream and its blocking streams follow each other
    CUstream_st *own = stream_find(nullptr, stream->device);
    if (stream == own) {
        for (CUstream_st *other : the().streams)
            if (other != own && other->blocking && other->device == own->device && other->tail)
                after.push_back(other->tail);
    } else if (stream->blocking && own->tail) {
        after.push_back(own->tail);
    }
    const double wait_ms =
        delayed() ? unasked_ms_min + double(draw() % 1000) / 1000 * unasked_ms_span : 0;
    mark_ref done = std::make_shared<mark>(mark{stream, false, 0});
    stream->queue.push_back(
        {name, std::move(run), std::move(after), done, host, now_ms() + wait_ms});
    stream->tail = done;
    the().waiting++;
    run_some();
    return done;
}

bool host_awaited(host_range range) {
    for (const CUstream_st *stream : the().streams)
        for (const work &w : stream->queue)
            if (w.host.begin < range.begin + range.size_bytes &&
                range.begin < w.host.begin + w.host.size_bytes)
                return true;
    return false;
}

}  // namespace gpusim
