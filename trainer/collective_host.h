// trainer/collective_host.h - inside the host collective: the memory that ranks share, and how they
// meet in it. Included by collective_host*.c only.
//
// Invariants. Every rank has a slot with a count of its arrivals; a rank waits until all others
// have arrived as often as itself. A round is one arrival with a tag, compared by every rank once
// all are there. What a rank shows in a round (small numbers, a chunk of a vector) lies in one of
// two buffers taken in turns: a buffer is written again two rounds later, and by then every rank
// has passed the round between, so it has read. The one futex word `event` changes with every
// arrival and abort, so no wake-up is lost; nobody holds a lock, so a death leaves nothing locked.
#ifndef TRAINER_COLLECTIVE_HOST_H
#define TRAINER_COLLECTIVE_HOST_H

#include "trainer/collective_backend.h"

#include <stdatomic.h>

#define HOST_SHARD_STEP 16  // elements: one cache line

enum host_kind {
    HOST_JOIN = 1,
    HOST_ALL_REDUCE,
    HOST_SUM,
    HOST_SUM_U64,
    HOST_GATHER,
    HOST_BROADCAST,
    HOST_BARRIER,
    HOST_REDUCE_SCATTER,
    HOST_ALL_GATHER
};
// Two tags must be equal in every member.
struct host_tag {
    uint64_t epoch, sequence, count;
    uint32_t kind, root;
};

struct host_slot {
    _Alignas(64) _Atomic uint64_t arrived;
    _Atomic uint32_t left;
    _Atomic int32_t pid;  // 0: not known yet, -1: not to be known
    struct host_tag tags[2];
    char reason[256];  // of an abort by this rank; written before the word that tells of it
    _Alignas(64) double small[2][TRAINER_COLLECTIVE_SMALL_MAX];  // or u64
};

// The shared memory; the vectors f32 [2][size][chunk] follow it.
struct host_segment {
    _Alignas(64) _Atomic uint32_t event;  // futex
    _Atomic uint32_t sleepers;
    _Atomic uint32_t abort;  // reason | by << 8 | rank or status << 20
    struct host_slot slots[TRAINER_RANKS_MAX];
};

struct host {
    struct trainer_collective base;
    struct host_segment *segment;
    float *vectors;
    size_t segment_bytes, chunk;
    uint64_t epoch, sequence, round, arrivals;
    double deadline_s;
    int peers[TRAINER_RANKS_MAX];  // pidfd, -1: none; fixed once all have joined
    struct trainer_collective_mover mover;
};
static inline struct host *host_of(struct trainer_collective *collective) {
    return (struct host *)collective;
}

// Rank r's chunk of this round: memory that all share.
static inline float *host_vector(const struct host *host, uint32_t rank) {
    const size_t parity = host->round & 1;
    return host->vectors + (parity * host->base.size + rank) * host->chunk;
}

// Every operation begins here: nothing begins after an abort.
PROTO_MUST_CHECK bool trainer_host_begin(struct host *host, struct proto_error *error);
// One round: shows the tag, waits for all, compares. The buffers of `round` are this round's.
PROTO_MUST_CHECK bool trainer_host_meet(struct host *host, enum host_kind kind, uint32_t root,
                                        uint64_t count, struct proto_error *error);
// Says "I am here" and waits for all. What was written before is seen by all after.
PROTO_MUST_CHECK bool trainer_host_arrive(struct host *host, struct proto_error *error);

// Slots of the table of operations.
bool trainer_host_all_reduce(struct trainer_collective *collective, float *data, size_t count,
                             float scale, struct proto_error *error);
bool trainer_host_finish(struct trainer_collective *collective, struct proto_error *error);
bool trainer_host_reduce_scatter(struct trainer_collective *collective, const float *data,
                                 float *shard, size_t count, float scale,
                                 struct proto_error *error);
bool trainer_host_all_gather(struct trainer_collective *collective, const float *shard, float *data,
                             size_t count, struct proto_error *error);
bool trainer_host_broadcast(struct trainer_collective *collective, float *data, size_t count,
                            uint32_t root, struct proto_error *error);
bool trainer_host_sum(struct trainer_collective *collective, double *data, uint32_t count,
                      struct proto_error *error);
bool trainer_host_sum_u64(struct trainer_collective *collective, uint64_t *data, uint32_t count,
                          struct proto_error *error);
bool trainer_host_gather(struct trainer_collective *collective, const double *data, uint32_t count,
                         double *gathered, struct proto_error *error);
bool trainer_host_barrier(struct trainer_collective *collective, struct proto_error *error);
// Plain copies: a mover's `in` and `out`.
bool trainer_host_copy(void *context, float *to, const float *from, size_t count,
                       struct proto_error *error);

#endif
