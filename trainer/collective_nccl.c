// trainer/collective_nccl.c - sums of device memory by NCCL, one GPU and one communicator for each
// process. Built into the NCCL module only.
//
// NCCL knows nothing of dead or stopped peers of the same machine and waits for ever, so: the
// communicator never blocks the host; every wait is a loop that looks at the communicator or at an
// event, at the deadline, and at the ranks (their processes and the group's abort, which the host
// collective knows). Nothing synchronises with a stream that carries a collective. A watching
// thread aborts the communicator as soon as the group is over, because this rank may be inside a
// CUDA call that cannot return while NCCL's kernel spins.
//
// Before it waits for the device a rank meets the others over shared memory and compares what was
// started: a rank that died, stopped or does something else is found there, by name.
#include "trainer/collective_device.h"
#include "trainer/collective_module.h"

#include "model/backend.h"

#include <cuda_runtime_api.h>
#include <nccl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WATCH_SLICE_MS 50
#define WATCH_SLACK_S 2.0    // the rank itself gives up at the deadline, and says more
#define CLOSE_S_MAX 5.0      // for a communicator to end its work
#define PEER_SEEN_S_MAX 1.0  // from NCCL's complaint to our seeing why
#define TAG_NUMBERS 3        // pieces, elements, kinds

enum nccl_kind { NCCL_REDUCE = 1, NCCL_REDUCE_SCATTER, NCCL_ALL_GATHER, NCCL_BROADCAST };

struct nccl {
    struct trainer_collective_device device;
    struct model_backend *backend;
    int gpu;
    double deadline_s;
    cudaStream_t stream;         // of the sums
    cudaEvent_t before, behind;  // the queue's work that a piece needs; everything started
    double tag[TAG_NUMBERS];     // of what was started since the last finish
    _Atomic uint64_t since_ms;   // of the newest piece under way; 0: none
    _Atomic bool dropped;
    pthread_t thread;
    bool thread_runs;
    int wake;  // event descriptor that ends the thread, -1: none

    pthread_mutex_t lock;  // every call on the communicator; none blocks
    ncclComm_t comm;       // NULL: not yet, or aborted
};

static struct nccl *nccl_of(struct trainer_collective *collective) {
    return (struct nccl *)collective;
}
static double now_s(void) { return trainer_collective_now_s(); }

static bool cuda_check(cudaError_t code, const char *what, struct proto_error *error) {
    if (code == cudaSuccess) return true;
    return proto_fail(error, PROTO_FAILED, "%s: %s (%s)", what, cudaGetErrorString(code),
                      cudaGetErrorName(code));
}

static bool nccl_group_ends(struct nccl *nccl, struct proto_error *error) {
    struct trainer_collective *control = nccl->device.control;
    return !control->ops->status(control, error);
}

// NCCL's complaint; a peer that died is the better reason, and may show a little later.
static bool nccl_fail(struct nccl *nccl, ncclResult_t code, const char *what,
                      struct proto_error *error) {
    const double start_s = now_s();
    const char *more = NULL;
    for (uint64_t looks = 0; now_s() - start_s < PEER_SEEN_S_MAX; looks++) {
        if (nccl_group_ends(nccl, error)) return false;
        if (code != ncclRemoteError && code != ncclSystemError) break;
        trainer_collective_device_pause(looks + 1000);
    }
    pthread_mutex_lock(&nccl->lock);
    if (nccl->comm) more = ncclGetLastError(nccl->comm);
    pthread_mutex_unlock(&nccl->lock);
    return proto_fail(error, PROTO_FAILED, "NCCL, %s: %s%s%.300s", what, ncclGetErrorString(code),
                      more && *more ? ": " : "", more ? more : "");
}

// Ends what the communicator does, on the device too. Any thread, any number of times.
static void nccl_drop(struct nccl *nccl) {
    pthread_mutex_lock(&nccl->lock);
    const ncclComm_t comm = nccl->comm;
    nccl->comm = NULL;
    atomic_store(&nccl->dropped, true);
    if (comm) (void)ncclCommAbort(comm);
    pthread_mutex_unlock(&nccl->lock);
}

// One look while something is waited for. Fails when it will not come.
static bool nccl_look(struct nccl *nccl, double start_s, struct proto_error *error) {
    struct trainer_collective *control = nccl->device.control;
    if (nccl_group_ends(nccl, error)) return false;
    if (now_s() - start_s <= nccl->deadline_s) return true;
    return control->ops->late(control, error);
}

// Until the communicator has taken in what was asked of it.
static bool nccl_settle(struct nccl *nccl, ncclResult_t code, const char *what, double start_s,
                        struct proto_error *error) {
    for (uint64_t looks = 0; code == ncclSuccess || code == ncclInProgress; looks++) {
        ncclResult_t state = ncclSuccess;
        pthread_mutex_lock(&nccl->lock);
        const bool there = nccl->comm != NULL;
        if (there) code = ncclCommGetAsyncError(nccl->comm, &state);
        pthread_mutex_unlock(&nccl->lock);
        if (!there)
            return nccl_group_ends(nccl, error)
                       ? false
                       : proto_fail(error, PROTO_FAILED, "NCCL, %s: aborted", what);
        if (code == ncclSuccess) code = state;
        if (code == ncclSuccess) return true;
        if (code == ncclInProgress && !nccl_look(nccl, start_s, error)) return false;
        trainer_collective_device_pause(looks);
    }
    return nccl_fail(nccl, code, what, error);
}

// ---- the watching thread ----

static void *nccl_watch(void *context) {
    struct nccl *nccl = context;
    struct trainer_collective *control = nccl->device.control;
    struct pollfd wake = {.fd = nccl->wake, .events = POLLIN};
    (void)cudaSetDevice(nccl->gpu);
    while (poll(&wake, 1, WATCH_SLICE_MS) <= 0) {
        struct proto_error error = {0};
        const uint64_t since_ms = atomic_load(&nccl->since_ms);
        const double limit_s = nccl->deadline_s + WATCH_SLACK_S;
        bool over = nccl_group_ends(nccl, &error);
        if (!over && since_ms > 0 && now_s() - (double)since_ms * 1e-3 > limit_s)
            over = !control->ops->late(control, &error);
        if (!over) continue;
        nccl_drop(nccl);
        break;
    }
    return NULL;
}

// ---- vectors ----

struct nccl_piece {
    enum nccl_kind kind;
    const float *from;
    float *to;
    size_t count;
    float scale;
    uint32_t root;
};

// NCCL's kinds of sums: times 1, or the mean.
static bool nccl_operation(const struct nccl *nccl, float scale, ncclRedOp_t *operation,
                           struct proto_error *error) {
    *operation = scale == 1 ? ncclSum : ncclAvg;
    if (scale == 1 || scale == 1.0f / (float)nccl->device.base.size) return true;
    return proto_fail(error, PROTO_FAILED, "NCCL gives sums and means, asked for %g of a sum",
                      (double)scale);
}

// Puts a piece behind what the queue holds now.
static bool nccl_begin(struct nccl *nccl, const struct nccl_piece *piece,
                       struct proto_error *error) {
    ncclRedOp_t operation;
    ncclResult_t code = ncclInternalError;
    const double start_s = now_s();
    if (nccl_group_ends(nccl, error) || !nccl_operation(nccl, piece->scale, &operation, error) ||
        !cuda_check(cudaEventRecord(nccl->before, nccl->backend->ops->stream(nccl->backend)),
                    "marking the queue", error) ||
        !cuda_check(cudaStreamWaitEvent(nccl->stream, nccl->before, 0),
                    "ordering NCCL behind the queue", error))
        return false;
    atomic_store(&nccl->since_ms, (uint64_t)(start_s * 1e3));
    pthread_mutex_lock(&nccl->lock);
    const ncclComm_t comm = nccl->comm;
    if (comm && piece->kind == NCCL_REDUCE)
        code = ncclAllReduce(piece->from, piece->to, piece->count, ncclFloat32, operation, comm,
                             nccl->stream);
    else if (comm && piece->kind == NCCL_REDUCE_SCATTER)
        code = ncclReduceScatter(piece->from, piece->to, piece->count, ncclFloat32, operation, comm,
                                 nccl->stream);
    else if (comm && piece->kind == NCCL_ALL_GATHER)
        code = ncclAllGather(piece->from, piece->to, piece->count, ncclFloat32, comm, nccl->stream);
    else if (comm)
        code = ncclBroadcast(piece->from, piece->to, piece->count, ncclFloat32, (int)piece->root,
                             comm, nccl->stream);
    pthread_mutex_unlock(&nccl->lock);
    if (!comm) code = ncclSuccess;  // settle says why
    if (!nccl_settle(nccl, code, "starting a sum", start_s, error)) return false;
    nccl->tag[0]++;
    nccl->tag[1] += (double)piece->count;
    nccl->tag[2] += (double)piece->kind * (1 + piece->root) * nccl->tag[0];
    return true;
}

// Every rank has started the same.
static bool nccl_agree(struct nccl *nccl, struct proto_error *error) {
    struct trainer_collective *control = nccl->device.control;
    double all[TRAINER_RANKS_MAX * TAG_NUMBERS];
    if (!control->ops->gather(control, nccl->tag, TAG_NUMBERS, all, error)) return false;
    for (uint32_t rank = 0; rank < nccl->device.base.size; rank++) {
        const double *theirs = all + rank * TAG_NUMBERS;
        if (memcmp(theirs, nccl->tag, sizeof nccl->tag) == 0) continue;
        return proto_fail(error, PROTO_FAILED,
                          "ranks disagree about what to add: rank %u has %.0f pieces of %.0f "
                          "numbers, rank %u %.0f of %.0f",
                          nccl->device.base.rank, nccl->tag[0], nccl->tag[1], rank, theirs[0],
                          theirs[1]);
    }
    return true;
}

static bool nccl_finish(struct trainer_collective *collective, struct proto_error *error) {
    struct nccl *nccl = nccl_of(collective);
    const double start_s = now_s();
    if (nccl->tag[0] == 0) return true;
    if (!cuda_check(cudaEventRecord(nccl->behind, nccl->stream), "marking NCCL's work", error) ||
        !nccl_agree(nccl, error))
        return false;
    for (uint64_t looks = 0;; looks++) {
        const cudaError_t code = cudaEventQuery(nccl->behind);
        if (code == cudaErrorNotReady) (void)cudaGetLastError();  // it counts as an error otherwise
        // an aborted kernel ends, too
        if (code == cudaSuccess && !atomic_load(&nccl->dropped)) break;
        if (code != cudaSuccess && code != cudaErrorNotReady)
            return nccl_group_ends(nccl, error) ? false : cuda_check(code, "NCCL's work", error);
        if (!nccl_look(nccl, start_s, error)) return false;
        if (looks % 64 == 63 && !nccl_settle(nccl, ncclSuccess, "adding", start_s, error))
            return false;
        trainer_collective_device_pause(looks);
    }
    atomic_store(&nccl->since_ms, 0);
    memset(nccl->tag, 0, sizeof nccl->tag);
    nccl->device.control->waited_s = 0;
    nccl->device.base.waited_s += now_s() - start_s;
    return true;
}

static bool nccl_start(struct trainer_collective *collective, float *data, size_t count,
                       float scale, struct proto_error *error) {
    const struct nccl_piece piece = {
        .kind = NCCL_REDUCE, .from = data, .to = data, .count = count, .scale = scale};
    return nccl_begin(nccl_of(collective), &piece, error);
}

static bool nccl_reduce_scatter(struct trainer_collective *collective, const float *data,
                                float *shard, size_t count, float scale,
                                struct proto_error *error) {
    const struct nccl_piece piece = {
        .kind = NCCL_REDUCE_SCATTER, .from = data, .to = shard, .count = count, .scale = scale};
    return nccl_begin(nccl_of(collective), &piece, error) && nccl_finish(collective, error);
}

static bool nccl_all_gather(struct trainer_collective *collective, const float *shard, float *data,
                            size_t count, struct proto_error *error) {
    const struct nccl_piece piece = {
        .kind = NCCL_ALL_GATHER, .from = shard, .to = data, .count = count, .scale = 1};
    return nccl_begin(nccl_of(collective), &piece, error) && nccl_finish(collective, error);
}

static bool nccl_broadcast(struct trainer_collective *collective, float *data, size_t count,
                           uint32_t root, struct proto_error *error) {
    const struct nccl_piece piece = {
        .kind = NCCL_BROADCAST, .from = data, .to = data, .count = count, .scale = 1, .root = root};
    return nccl_begin(nccl_of(collective), &piece, error) && nccl_finish(collective, error);
}

// ---- open and close ----

// In peace when the group is whole and nothing is under way, by force otherwise.
static void nccl_leave(struct nccl *nccl) {
    struct proto_error error = {0};
    const double start_s = now_s();
    pthread_mutex_lock(&nccl->lock);
    ncclResult_t code = ncclInternalError;
    if (nccl->comm && nccl->tag[0] == 0 && !nccl_group_ends(nccl, &error))
        code = ncclCommFinalize(nccl->comm);
    pthread_mutex_unlock(&nccl->lock);
    for (uint64_t looks = 0; code == ncclSuccess || code == ncclInProgress; looks++) {
        ncclResult_t state = ncclSuccess;
        code = ncclCommGetAsyncError(nccl->comm, &state);
        if (code == ncclSuccess && state == ncclSuccess) {
            (void)ncclCommDestroy(nccl->comm);
            nccl->comm = NULL;
            return;
        }
        if (code == ncclSuccess) code = state;
        if (now_s() - start_s > CLOSE_S_MAX) break;
        trainer_collective_device_pause(looks);
    }
    nccl_drop(nccl);
}

static void nccl_close(struct trainer_collective *collective) {
    struct nccl *nccl = nccl_of(collective);
    const uint64_t one = 1;
    if (nccl->thread_runs) {
        (void)!write(nccl->wake, &one, sizeof one);
        pthread_join(nccl->thread, NULL);
    }
    nccl_leave(nccl);
    if (nccl->before) (void)cudaEventDestroy(nccl->before);
    if (nccl->behind) (void)cudaEventDestroy(nccl->behind);
    if (nccl->stream) (void)cudaStreamDestroy(nccl->stream);
    if (nccl->wake >= 0) close(nccl->wake);
    pthread_mutex_destroy(&nccl->lock);
    nccl->device.control->ops->close(nccl->device.control);
    free(nccl);
}

static const struct trainer_collective_ops nccl_ops = {
    .on_device = true,
    .status = trainer_collective_device_status,
    .start = nccl_start,
    .finish = nccl_finish,
    .reduce_scatter = nccl_reduce_scatter,
    .all_gather = nccl_all_gather,
    .broadcast = nccl_broadcast,
    .sum = trainer_collective_device_sum,
    .sum_u64 = trainer_collective_device_sum_u64,
    .gather = trainer_collective_device_gather,
    .barrier = trainer_collective_device_barrier,
    .late = trainer_collective_device_late,
    .abort = trainer_collective_device_abort,
    .close = nccl_close,
};

// Rank 0 makes the id, and must live until all have joined; it goes to the others over the memory
// that they share already.
static bool nccl_join(struct nccl *nccl, struct proto_error *error) {
    struct trainer_collective *control = nccl->device.control;
    const double start_s = now_s();
    ncclUniqueId id;
    float words[sizeof id / sizeof(float)];
    memset(&id, 0, sizeof id);
    if (control->rank == 0) {
        const ncclResult_t code = ncclGetUniqueId(&id);
        if (code != ncclSuccess) return nccl_fail(nccl, code, "making an id", error);
    }
    memcpy(words, &id, sizeof id);
    if (!control->ops->broadcast(control, words, PROTO_COUNT(words), 0, error)) return false;
    memcpy(&id, words, sizeof id);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    pthread_mutex_lock(&nccl->lock);
    const ncclResult_t code =
        ncclCommInitRankConfig(&nccl->comm, (int)control->size, id, (int)control->rank, &config);
    pthread_mutex_unlock(&nccl->lock);
    return nccl_settle(nccl, code, "joining the ranks", start_s, error);
}

static bool nccl_start_up(struct nccl *nccl, struct proto_error *error) {
    struct proto_error over = {0};
    int least = 0, most = 0;
    // sums go before the queue's own kernels where both could run: they are what others wait for
    if (!cuda_check(cudaGetDevice(&nccl->gpu), "asking for the device", error) ||
        !cuda_check(cudaDeviceGetStreamPriorityRange(&least, &most), "asking for priorities",
                    error) ||
        !cuda_check(cudaStreamCreateWithPriority(&nccl->stream, cudaStreamNonBlocking, most),
                    "making a stream", error) ||
        !cuda_check(cudaEventCreateWithFlags(&nccl->before, cudaEventDisableTiming),
                    "making an event", error) ||
        !cuda_check(cudaEventCreateWithFlags(&nccl->behind, cudaEventDisableTiming),
                    "making an event", error))
        return false;
    nccl->wake = eventfd(0, EFD_CLOEXEC);
    if (nccl->wake < 0) return proto_fail_errno(error, PROTO_FAILED, "an event descriptor");
    if (!nccl_join(nccl, error)) {
        // a group that is over has its own reason
        if (nccl_group_ends(nccl, &over)) return false;
        char text[sizeof error->text];
        memcpy(text, error->text, sizeof text);
        return proto_fail(error, PROTO_MISSING,
                          "%.420s. `pipeline doctor nccl` looks for the cause; NCCL_DEBUG = "
                          "\"INFO\" in [collective.env] makes NCCL say more; collective.backend = "
                          "\"staged\" does without NCCL",
                          text);
    }
    const int failure = pthread_create(&nccl->thread, NULL, nccl_watch, nccl);
    nccl->thread_runs = failure == 0;
    return nccl->thread_runs || proto_fail(error, PROTO_EXHAUSTED, "no thread to watch over NCCL");
}

static bool nccl_open(const struct trainer_collective_settings *settings,
                      struct trainer_collective *control, struct trainer_collective **collective,
                      struct proto_error *error) {
    struct nccl *nccl = proto_alloc(sizeof *nccl, error);
    if (!nccl) {
        control->ops->close(control);
        return false;
    }
    nccl->device.base = (struct trainer_collective){&nccl_ops, settings->rank, settings->size, 0};
    nccl->device.control = control;
    nccl->backend = settings->device;
    nccl->deadline_s = settings->deadline_s;
    nccl->wake = -1;
    pthread_mutex_init(&nccl->lock, NULL);
    if (!nccl_start_up(nccl, error)) {
        // the others must not wait for a rank that has no NCCL
        control->ops->abort(control, error->status, error->text);
        nccl_close(&nccl->device.base);
        return false;
    }
    *collective = &nccl->device.base;
    return true;
}

static bool nccl_library(uint32_t *version, struct proto_error *error) {
    int found = 0;
    const ncclResult_t code = ncclGetVersion(&found);
    if (code != ncclSuccess)
        return proto_fail(error, PROTO_MISSING, "NCCL: %s", ncclGetErrorString(code));
    *version = (uint32_t)found;
    return true;
}

__attribute__((visibility("default"))) const struct trainer_collective_module *
pipeline_collective_module(void) {
    static const struct trainer_collective_module module = {
        .version = TRAINER_COLLECTIVE_MODULE_VERSION,
        .ops_bytes = sizeof(struct trainer_collective_ops),
        .nccl_version = nccl_library,
        .open = nccl_open,
    };
    return &module;
}
