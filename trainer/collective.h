// trainer/collective.h - what ranks do together, behind one interface:
//   host    memory of the host, over shared memory
//   staged  memory of a device, through pinned shared memory: ranks may share one GPU, and GPUs
//   need
//           not reach each other
//   nccl    memory of a device, between GPUs: one each
// Small numbers, barriers, deaths and aborts go over shared memory with all of them.
//
// Every operation is tagged (epoch, sequence, kind, count); ranks whose tags differ get an error
// that names both, not a hang. Every wait has the deadline and ends at once when somebody aborts or
// dies. Sums are made in rank order, so that they are the same bits every time; NCCL's order is its
// own, the same for the same GPUs.
#ifndef TRAINER_COLLECTIVE_H
#define TRAINER_COLLECTIVE_H

#include "proto/error.h"

#include <stdint.h>

#define TRAINER_RANKS_MAX 64
#define TRAINER_COLLECTIVE_SMALL_MAX 64  // numbers of a small operation

struct trainer_collective;
struct model_backend;

struct trainer_collective_settings {
    const char *backend;  // "host", "staged", "nccl"
    const char *name;     // where the ranks meet, unique to the run
    uint32_t rank, size;  // at most TRAINER_RANKS_MAX
    uint64_t epoch;       // attempt of the group; ranks of different epochs never meet
    size_t elements_max;  // of the largest all-reduce
    double deadline_s;
    struct model_backend *device;      // staged, nccl: whose memory it is; borrowed until close
    bool (*cancelled)(void *context);  // looked at while ranks join; NULL: never
    void *context;
};

// Waits until all ranks have joined, at most the deadline. Rank 0 makes memory without a name and
// hands it to the others through an abstract socket, so that a kill at any moment leaves nothing
// behind. PROTO_MISSING: NCCL is not here or does not start.
PROTO_MUST_CHECK bool trainer_collective_open(const struct trainer_collective_settings *settings,
                                              struct trainer_collective **collective,
                                              struct proto_error *error);
void trainer_collective_close(struct trainer_collective **collective);

// Thread-safe, idempotent, async-signal-safe: all waits on all ranks end with PROTO_FAILED.
void trainer_collective_abort(struct trainer_collective *collective);
// The same, because of an error of this rank: the others fail with its status and say its reason,
// so that the whole group leaves with one exit code, whoever is heard first.
void trainer_collective_fail(struct trainer_collective *collective,
                             const struct proto_error *error);

// Fails when the group is over, in words: aborted, or a rank died. Never waits; any thread.
PROTO_MUST_CHECK bool trainer_collective_status(struct trainer_collective *collective,
                                                struct proto_error *error);

// ---- vectors ----
//
// Is `data` memory of the device? Operations then come behind what the device's queue holds when
// they are called, and are done when they return.
bool trainer_collective_on_device(const struct trainer_collective *collective);

// In place: every rank gets sum over ranks (rank order), times `scale`. f32 [count]. nccl: scale is
// 1 or 1 / size.
PROTO_MUST_CHECK bool trainer_collective_all_reduce(struct trainer_collective *collective,
                                                    float *data, size_t count, float scale,
                                                    struct proto_error *error);
// The same of a vector that is cut into pieces, each sent as soon as its numbers are there: start
// is called for every piece, in the same order on all ranks, and returns while it is under way
// (host: when it is done); finish waits for all. Nothing else may be asked for in between, and the
// pieces are not to be touched.
PROTO_MUST_CHECK bool trainer_collective_start(struct trainer_collective *collective, float *data,
                                               size_t count, float scale,
                                               struct proto_error *error);
PROTO_MUST_CHECK bool trainer_collective_finish(struct trainer_collective *collective,
                                                struct proto_error *error);
// data [size * count]: rank r gets sum over ranks of [r * count, (r + 1) * count), times `scale`.
PROTO_MUST_CHECK bool trainer_collective_reduce_scatter(struct trainer_collective *collective,
                                                        const float *data, float *shard,
                                                        size_t count, float scale,
                                                        struct proto_error *error);
// shard [count] of rank r comes to data [r * count, (r + 1) * count).
PROTO_MUST_CHECK bool trainer_collective_all_gather(struct trainer_collective *collective,
                                                    const float *shard, float *data, size_t count,
                                                    struct proto_error *error);
PROTO_MUST_CHECK bool trainer_collective_broadcast(struct trainer_collective *collective,
                                                   float *data, size_t count, uint32_t root,
                                                   struct proto_error *error);

// ---- small numbers of the host ----

// f64 [count <= 64], sum in rank order.
PROTO_MUST_CHECK bool trainer_collective_sum(struct trainer_collective *collective, double *data,
                                             uint32_t count, struct proto_error *error);
// u64 [count <= 64], sum mod 2^64 (the ledger).
PROTO_MUST_CHECK bool trainer_collective_sum_u64(struct trainer_collective *collective,
                                                 uint64_t *data, uint32_t count,
                                                 struct proto_error *error);
// gathered [size * count], rank r's data at r * count. count <= 64.
PROTO_MUST_CHECK bool trainer_collective_gather(struct trainer_collective *collective,
                                                const double *data, uint32_t count,
                                                double *gathered, struct proto_error *error);
PROTO_MUST_CHECK bool trainer_collective_barrier(struct trainer_collective *collective,
                                                 struct proto_error *error);
uint32_t trainer_collective_size(const struct trainer_collective *collective);
// Seconds spent waiting for other ranks since the last call.
double trainer_collective_waited_s(struct trainer_collective *collective);

#endif
