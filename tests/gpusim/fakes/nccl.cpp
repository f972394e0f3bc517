// tests/gpusim/fakes/nccl.cpp - communicators of NCCL, and its operations as work of streams.
//
// A communicator that does not block may answer ncclInProgress to anything: an operation is then on
// its stream only when ncclCommGetAsyncError says ncclSuccess, and nothing else may be called until
// it does. A peer that has died, or wants something else, is waited for until the communicator is
// aborted; the stream's work then ends without a result.
#include "gpusim/fakes/call.hpp"
#include "gpusim/fakes/nccl_collective.hpp"

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>
#include <thread>
#include <unistd.h>

namespace gpusim {

struct communicator {
    gpusim::meeting *meeting;
    int rank, ranks, device;
    bool blocking, ready, aborted, finalizing;
    uint64_t number;                               // of the last operation
    std::vector<std::function<void()>> postponed;  // not yet on their streams
    mark_ref last;
    ncclResult_t error;  // that stays
    std::string text;
    ~communicator() { meeting_leave(meeting); }
};
using communicator_ref = std::shared_ptr<communicator>;

}  // namespace gpusim

struct ncclComm {
    gpusim::communicator_ref state;
};

namespace gpusim {

static constexpr auto poll_time = std::chrono::microseconds(200);
static constexpr unsigned asked_often = 3;  // an answer is postponed this often, of so many

static std::set<const ncclComm *> &communicators() {
    static std::set<const ncclComm *> &s = *new std::set<const ncclComm *>;
    return s;
}
static thread_local int group_depth;
static thread_local std::vector<std::pair<communicator_ref, std::function<void()>>> group;
static std::string &last_text() {
    static std::string &s = *new std::string;
    return s;
}

static ncclResult_t refuse(const communicator_ref &c, ncclResult_t error, const std::string &text) {
    last_text() = text;
    if (c) c->text = text;
    return error;
}
static ncclResult_t break_down(const communicator_ref &c, ncclResult_t error,
                               const std::string &text) {
    c->error = error;
    return refuse(c, error, text);
}

template <typename Body> static ncclResult_t nccl_called(const char *function, Body body) {
    if (in_host_function()) return ncclInvalidUsage;
    world_lock lock = take_world();
    const int fault = planned_fault(function, current_device());
    if (fault != 0)
        return refuse(nullptr, ncclResult_t(fault), std::string(function) + " was told to fail");
    return body(lock);
}

// The state behind a handle, if the handle is one.
static communicator_ref find(ncclComm_t comm) {
    return communicators().count(comm) > 0 ? comm->state : nullptr;
}

// ---- joining ----

static bool check_devices(const communicator_ref &c) {
    const seat *seats = c->meeting->seats;
    for (int i = 0; i < c->ranks; i++)
        for (int k = i + 1; k < c->ranks; k++) {
            if (seats[i].device.load() != seats[k].device.load()) continue;
            char text[128];
            snprintf(text, sizeof text,
                     "Duplicate GPU detected : rank %d and rank %d both on CUDA device %x", i, k,
                     unsigned(0x10 + seats[i].device.load()) << 12);
            break_down(c, ncclInvalidUsage, text);
            return false;
        }
    return true;
}

// Have all come?
static void look_around(const communicator_ref &c) {
    if (c->ready || c->error != ncclSuccess) return;
    for (int r = 0; r < c->ranks; r++)
        if (c->meeting->seats[r].pid.load(std::memory_order_acquire) == 0) return;
    c->ready = check_devices(c);
}

static ncclResult_t join(const communicator_ref &c, const ncclUniqueId &id) {
    c->meeting = meeting_enter(id);
    if (!c->meeting)
        return break_down(c, ncclSystemError, "the process that made the unique id has gone");
    int32_t nobody = 0;
    if (!c->meeting->ranks.compare_exchange_strong(nobody, c->ranks) && nobody != c->ranks)
        return break_down(c, ncclInvalidUsage, "ranks disagree on how many there are");
    seat &own = c->meeting->seats[c->rank];
    own.device.store(physical(c->device));
    int32_t free = 0;
    if (!own.pid.compare_exchange_strong(free, getpid(), std::memory_order_release))
        return break_down(c, ncclInvalidUsage, "two processes are the same rank");
    return ncclSuccess;
}

static void check_peers(const communicator_ref &c) {
    if (!machine().remote_errors || c->error != ncclSuccess || !c->meeting) return;
    for (int r = 0; r < c->ranks; r++) {
        const int32_t pid = c->meeting->seats[r].pid.load();
        if (pid != 0 && !is_alive(pid))
            break_down(c, ncclRemoteError, "rank " + std::to_string(r) + " has died");
    }
}

// What the communicator is doing.
static ncclResult_t state_of(const communicator_ref &c) {
    check_peers(c);
    look_around(c);
    if (c->error != ncclSuccess) return c->error;
    if (device_lost(c->device) != cudaSuccess)
        return break_down(c, ncclUnhandledCudaError, "the device is lost");
    if (!c->ready || !c->postponed.empty()) return ncclInProgress;
    return c->finalizing && !ask(c->last) ? ncclInProgress : ncclSuccess;
}
static ncclResult_t wait_until_ready(world_lock &lock, const communicator_ref &c) {
    for (;;) {
        const ncclResult_t state = state_of(c);
        if (state != ncclInProgress || c->aborted) return state;
        lock.unlock();
        std::this_thread::sleep_for(poll_time);  // other processes come in their own time
        lock.lock();
    }
}

static ncclResult_t init(world_lock &lock, ncclComm_t *comm, int nranks, const ncclUniqueId &id,
                         int rank, bool blocking) {
    if (!comm || nranks < 1 || nranks > ranks_max || rank < 0 || rank >= nranks)
        return refuse(nullptr, ncclInvalidArgument, "rank or number of ranks is out of range");
    *comm = nullptr;
    if (obstacle() != cudaSuccess || device_lost(current_device()) != cudaSuccess)
        return refuse(nullptr, ncclUnhandledCudaError, "unhandled cuda error");
    auto c = std::make_shared<communicator>();
    c->rank = rank;
    c->ranks = nranks;
    c->device = current_device();
    c->blocking = blocking;
    *comm = new ncclComm{c};
    communicators().insert(*comm);
    const ncclResult_t joined = join(c, id);
    if (!blocking) return ncclInProgress;  // an error too is heard of later
    return joined == ncclSuccess ? wait_until_ready(lock, c) : joined;
}

// ---- operations ----

static bool reachable(const communicator_ref &c, const char *name, const void *memory,
                      size_t size_bytes) {
    const allocation *a = device_find(memory);
    if (size_bytes == 0 || pinned_find(memory)) return true;
    if (a && a->device == c->device && device_holds(memory, size_bytes)) return true;
    fprintf(stderr, "gpusim: nccl: %s is %zu bytes at %p: not all memory of device %d\n", name,
            size_bytes, memory, c->device);
    device_lose(c->device, cudaErrorIllegalAddress);
    return false;
}

static void put_on_stream(const communicator_ref &c, CUstream_st *stream, collective op) {
    auto later = std::make_shared<collective>(op);
    later->wish.number = ++c->number;
    // operations of one communicator follow each other on whatever streams they are
    std::vector<mark_ref> after;
    if (c->last) after.push_back(c->last);
    c->last = stream_put(
        stream, "nccl", [c, later] { return c->aborted || go_on(later.get()); }, {},
        std::move(after));
}

static ncclResult_t start(const communicator_ref &c, std::function<void()> launch) {
    if (group_depth > 0) {
        group.emplace_back(c, std::move(launch));
        return ncclSuccess;
    }
    if (!c->blocking && chance(asked_often)) {
        c->postponed.push_back(std::move(launch));
        return ncclInProgress;
    }
    launch();
    return ncclSuccess;
}

static ncclResult_t operate(const char *function, kind k, const void *send, void *receive,
                            size_t count, ncclDataType_t type, int op, int root, ncclComm_t comm,
                            cudaStream_t handle) {
    return nccl_called(function, [&](world_lock &) {
        const communicator_ref c = find(comm);
        if (!c) return refuse(nullptr, ncclInvalidArgument, "comm is not a communicator");
        const ncclResult_t state = state_of(c);
        if (state != ncclSuccess)
            return refuse(c, state == ncclInProgress ? ncclInvalidArgument : state,
                          "Attempt to use communicator before the previous operation returned "
                          "ncclSuccess");
        CUstream_st *stream = stream_find(handle, c->device);
        if (!stream || stream_device(stream) != c->device || type_bytes(type) == 0 ||
            op < ncclSum || op > ncclAvg || root < 0 || root >= c->ranks || c->finalizing)
            return refuse(c, ncclInvalidArgument, std::string(function) + ": invalid argument");
        const collective work = {c->meeting,
                                 c->rank,
                                 c->ranks,
                                 {0, count, int(k), int(type), op, root},
                                 static_cast<const unsigned char *>(send),
                                 static_cast<unsigned char *>(receive),
                                 0,
                                 false};
        const bool gives = k != kind::broadcast || root == c->rank;
        const bool gets = k != kind::reduce || root == c->rank;
        if ((gives && !reachable(c, "sendbuff", send, put_bytes(work))) ||
            (gets && !reachable(c, "recvbuff", receive, got_bytes(work))))
            return refuse(c, ncclUnhandledCudaError, "an illegal memory access");
        return start(c, [=] { put_on_stream(c, stream, work); });
    });
}

}  // namespace gpusim

using namespace gpusim;

extern "C" {

ncclResult_t ncclGetVersion(int *version) {
    return nccl_called("ncclGetVersion", [&](world_lock &) {
        if (!version) return ncclInvalidArgument;
        *version = NCCL_VERSION_CODE;
        return ncclSuccess;
    });
}
// Needs no device.
ncclResult_t ncclGetUniqueId(ncclUniqueId *uniqueId) {
    return nccl_called("ncclGetUniqueId", [&](world_lock &) {
        if (!uniqueId) return ncclInvalidArgument;
        return meeting_make(uniqueId) ? ncclSuccess
                                      : refuse(nullptr, ncclSystemError, "no memory to meet in");
    });
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank) {
    return nccl_called("ncclCommInitRank", [&](world_lock &lock) {
        return init(lock, comm, nranks, commId, rank, true);
    });
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int nranks, ncclUniqueId commId, int rank,
                                    ncclConfig_t *config) {
    return nccl_called("ncclCommInitRankConfig", [&](world_lock &lock) {
        const ncclConfig_t initial = NCCL_CONFIG_INITIALIZER;
        if (config && (config->magic != initial.magic || config->size != initial.size))
            return refuse(nullptr, ncclInvalidArgument, "config is not initialized");
        const bool blocking = !config || config->blocking != 0;
        return init(lock, comm, nranks, commId, rank, blocking);
    });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *asyncError) {
    return nccl_called("ncclCommGetAsyncError", [&](world_lock &) {
        const communicator_ref c = find(comm);
        if (!c || !asyncError) return refuse(nullptr, ncclInvalidArgument, "no communicator");
        if (!chance(asked_often)) {
            const auto launches = std::move(c->postponed);
            c->postponed.clear();
            for (const auto &launch : launches) launch();
        }
        *asyncError = state_of(c);
        if (*asyncError == ncclSuccess && c->number == 0 && chance(asked_often))
            *asyncError = ncclInProgress;
        return ncclSuccess;
    });
}

// Ends its operations where they are, on this rank only, and the communicator with them.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
    return nccl_called("ncclCommAbort", [&](world_lock &) {
        const communicator_ref c = find(comm);
        if (!c) return refuse(nullptr, ncclInvalidArgument, "comm is not a communicator");
        c->aborted = true;
        c->postponed.clear();
        communicators().erase(comm);
        delete comm;
        announce();
        return ncclSuccess;
    });
}
ncclResult_t ncclCommFinalize(ncclComm_t comm) {
    return nccl_called("ncclCommFinalize", [&](world_lock &lock) {
        const communicator_ref c = find(comm);
        if (!c) return refuse(nullptr, ncclInvalidArgument, "comm is not a communicator");
        const ncclResult_t state = state_of(c);
        if (state == ncclInProgress)
            return refuse(c, ncclInvalidArgument, "the communicator is in progress");
        c->finalizing = true;
        if (!c->blocking) return ncclInProgress;
        wait_for(lock, c->last);
        return state;
    });
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) {
    return nccl_called("ncclCommDestroy", [&](world_lock &lock) {
        const communicator_ref c = find(comm);
        if (!c) return refuse(nullptr, ncclInvalidArgument, "comm is not a communicator");
        wait_for(lock, c->last);
        if (communicators().erase(comm) > 0) delete comm;  // it may have been aborted meanwhile
        return ncclSuccess;
    });
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int *count) {
    return nccl_called("ncclCommCount", [&](world_lock &) {
        const communicator_ref c = find(comm);
        if (!c || !count) return refuse(nullptr, ncclInvalidArgument, "no communicator");
        *count = c->ranks;
        return ncclSuccess;
    });
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int *rank) {
    return nccl_called("ncclCommUserRank", [&](world_lock &) {
        const communicator_ref c = find(comm);
        if (!c || !rank) return refuse(nullptr, ncclInvalidArgument, "no communicator");
        *rank = c->rank;
        return ncclSuccess;
    });
}
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int *device) {
    return nccl_called("ncclCommCuDevice", [&](world_lock &) {
        const communicator_ref c = find(comm);
        if (!c || !device) return refuse(nullptr, ncclInvalidArgument, "no communicator");
        *device = c->device;
        return ncclSuccess;
    });
}

const char *ncclGetErrorString(ncclResult_t result) {
    static const char *const texts[] = {
        "no error",
        "unhandled cuda error (run with NCCL_DEBUG=INFO for details)",
        "unhandled system error (run with NCCL_DEBUG=INFO for details)",
        "internal error - please report this issue to the NCCL developers",
        "invalid argument (run with NCCL_DEBUG=WARN for details)",
        "invalid usage (run with NCCL_DEBUG=WARN for details)",
        "remote process exited or there was a network error",
        "NCCL operation in progress",
    };
    return result >= 0 && result < ncclNumResults ? texts[result] : "unknown result code";
}
const char *ncclGetLastError(ncclComm_t comm) {
    static thread_local std::string copy;
    const world_lock lock = take_world();
    const communicator_ref c = comm ? find(comm) : nullptr;
    copy = c ? c->text : last_text();
    return copy.c_str();
}

// ---- operations ----

ncclResult_t ncclAllReduce(const void *sendbuff, void *recvbuff, size_t count,
                           ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                           cudaStream_t stream) {
    return operate("ncclAllReduce", kind::all_reduce, sendbuff, recvbuff, count, datatype, op, 0,
                   comm, stream);
}
ncclResult_t ncclReduce(const void *sendbuff, void *recvbuff, size_t count, ncclDataType_t datatype,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
    return operate("ncclReduce", kind::reduce, sendbuff, recvbuff, count, datatype, op, root, comm,
                   stream);
}
ncclResult_t ncclReduceScatter(const void *sendbuff, void *recvbuff, size_t recvcount,
                               ncclDataType_t datatype, ncclRedOp_t op, ncclComm_t comm,
                               cudaStream_t stream) {
    return operate("ncclReduceScatter", kind::reduce_scatter, sendbuff, recvbuff, recvcount,
                   datatype, op, 0, comm, stream);
}
ncclResult_t ncclAllGather(const void *sendbuff, void *recvbuff, size_t sendcount,
                           ncclDataType_t datatype, ncclComm_t comm, cudaStream_t stream) {
    return operate("ncclAllGather", kind::all_gather, sendbuff, recvbuff, sendcount, datatype,
                   ncclSum, 0, comm, stream);
}
ncclResult_t ncclBroadcast(const void *sendbuff, void *recvbuff, size_t count,
                           ncclDataType_t datatype, int root, ncclComm_t comm,
                           cudaStream_t stream) {
    return operate("ncclBroadcast", kind::broadcast, sendbuff, recvbuff, count, datatype, ncclSum,
                   root, comm, stream);
}

ncclResult_t ncclGroupStart(void) {
    return nccl_called("ncclGroupStart", [](world_lock &) {
        group_depth++;
        return ncclSuccess;
    });
}
ncclResult_t ncclGroupEnd(void) {
    return nccl_called("ncclGroupEnd", [](world_lock &) {
        if (group_depth == 0) return refuse(nullptr, ncclInvalidUsage, "no group was started");
        if (--group_depth > 0) return ncclSuccess;
        const auto launches = std::move(group);
        group.clear();
        ncclResult_t result = ncclSuccess;
        bool postpones = chance(asked_often);
        for (const auto &entry : launches) {
            const communicator_ref &c = entry.first;
            if (postpones && !c->blocking) {
                c->postponed.push_back(entry.second);
                result = ncclInProgress;
            } else {
                entry.second();
            }
        }
        return result;
    });
}

}  // extern "C"
