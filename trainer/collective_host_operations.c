// trainer/collective_host_operations.c - sums, copies and small numbers over the memory that ranks
// share.
//
// A sum is split between the ranks: each adds one shard over the copies of all in rank order, so
// the bits do not depend on who was fast. A second arrival says that all shards are done.
#include "trainer/collective_host.h"

#include <string.h>

#define HOST_BLOCK 2048  // elements summed while they are in the L1 cache

static void add_block(float *restrict sum, const float *restrict other, size_t count) {
    for (size_t i = 0; i < count; i++) sum[i] += other[i];
}
static void scale_block(float *sum, size_t count, float scale) {
    for (size_t i = 0; i < count; i++) sum[i] *= scale;
}

// This rank's shard of a chunk: ((copy 0 + copy 1) + copy 2) ... * scale, into copy 0.
static void host_reduce_shard(struct host *host, size_t count, float scale) {
    const size_t steps = (count + HOST_SHARD_STEP - 1) / HOST_SHARD_STEP;
    const size_t begin = steps * host->base.rank / host->base.size * HOST_SHARD_STEP;
    const size_t stop = steps * (host->base.rank + 1) / host->base.size * HOST_SHARD_STEP;
    const size_t end = stop < count ? stop : count;
    for (size_t at = begin; at < end; at += HOST_BLOCK) {
        const size_t block = end - at < HOST_BLOCK ? end - at : HOST_BLOCK;
        float *sum = host_vector(host, 0) + at;
        for (uint32_t rank = 1; rank < host->base.size; rank++)
            add_block(sum, host_vector(host, rank) + at, block);
        scale_block(sum, block, scale);
    }
}

static bool host_in(const struct host *host, float *shared, const float *data, size_t count,
                    struct proto_error *error) {
    return host->mover.in(host->mover.context, shared, data, count, error);
}
static bool host_out(const struct host *host, float *data, const float *shared, size_t count,
                     struct proto_error *error) {
    return host->mover.out(host->mover.context, data, shared, count, error);
}

bool trainer_host_copy(void *context, float *to, const float *from, size_t count,
                       struct proto_error *error) {
    (void)context, (void)error;
    if (count > 0) memmove(to, from, count * sizeof *to);
    return true;
}

bool trainer_host_all_reduce(struct trainer_collective *collective, float *data, size_t count,
                             float scale, struct proto_error *error) {
    struct host *host = host_of(collective);
    if (!trainer_host_begin(host, error)) return false;
    size_t at = 0;
    do {
        const size_t chunk = count - at < host->chunk ? count - at : host->chunk;
        host->round++;
        if (!host_in(host, host_vector(host, host->base.rank), data + at, chunk, error) ||
            !trainer_host_meet(host, HOST_ALL_REDUCE, 0, count, error))
            return false;
        host_reduce_shard(host, chunk, scale);
        if (!trainer_host_arrive(host, error) ||
            !host_out(host, data + at, host_vector(host, 0), chunk, error))
            return false;
        at += chunk;
    } while (at < count);
    return true;
}

bool trainer_host_finish(struct trainer_collective *collective, struct proto_error *error) {
    (void)collective, (void)error;
    return true;  // whatever was started is done
}

// A rank adds its own piece only, over the copies of all in rank order, into copy 0: nobody else
// reads that piece.
bool trainer_host_reduce_scatter(struct trainer_collective *collective, const float *data,
                                 float *shard, size_t count, float scale,
                                 struct proto_error *error) {
    struct host *host = host_of(collective);
    const uint32_t size = host->base.size;
    const size_t piece_max = host->chunk / size;
    if (!trainer_host_begin(host, error)) return false;
    size_t at = 0;
    do {
        const size_t piece = count - at < piece_max ? count - at : piece_max;
        host->round++;
        for (uint32_t rank = 0; rank < size; rank++)
            if (!host_in(host, host_vector(host, host->base.rank) + rank * piece,
                         data + rank * count + at, piece, error))
                return false;
        if (!trainer_host_meet(host, HOST_REDUCE_SCATTER, 0, count, error)) return false;
        const size_t mine = host->base.rank * piece;
        float *sum = host_vector(host, 0) + mine;
        for (uint32_t rank = 1; rank < size; rank++)
            add_block(sum, host_vector(host, rank) + mine, piece);
        scale_block(sum, piece, scale);
        if (!host_out(host, shard + at, sum, piece, error)) return false;
        at += piece;
    } while (at < count);
    return true;
}

bool trainer_host_all_gather(struct trainer_collective *collective, const float *shard, float *data,
                             size_t count, struct proto_error *error) {
    struct host *host = host_of(collective);
    if (!trainer_host_begin(host, error)) return false;
    size_t at = 0;
    do {
        const size_t chunk = count - at < host->chunk ? count - at : host->chunk;
        host->round++;
        if (!host_in(host, host_vector(host, host->base.rank), shard + at, chunk, error) ||
            !trainer_host_meet(host, HOST_ALL_GATHER, 0, count, error))
            return false;
        for (uint32_t rank = 0; rank < host->base.size; rank++)
            if (!host_out(host, data + rank * count + at, host_vector(host, rank), chunk, error))
                return false;
        at += chunk;
    } while (at < count);
    return true;
}

bool trainer_host_broadcast(struct trainer_collective *collective, float *data, size_t count,
                            uint32_t root, struct proto_error *error) {
    struct host *host = host_of(collective);
    if (!trainer_host_begin(host, error)) return false;
    if (host->base.size == 1) return true;
    size_t at = 0;
    do {
        const size_t chunk = count - at < host->chunk ? count - at : host->chunk;
        host->round++;
        if (host->base.rank == root &&
            !host_in(host, host_vector(host, root), data + at, chunk, error))
            return false;
        if (!trainer_host_meet(host, HOST_BROADCAST, root, count, error)) return false;
        if (host->base.rank != root &&
            !host_out(host, data + at, host_vector(host, root), chunk, error))
            return false;
        at += chunk;
    } while (at < count);
    return true;
}

// Shows `count` numbers of 8 bytes to all; rank r's are then at host_small(host, r).
static bool host_show(struct host *host, enum host_kind kind, const void *data, uint32_t count,
                      struct proto_error *error) {
    if (!trainer_host_begin(host, error)) return false;
    host->round++;
    memcpy(host->segment->slots[host->base.rank].small[host->round & 1], data,
           count * sizeof(double));
    return host->base.size == 1 || trainer_host_meet(host, kind, 0, count, error);
}
static const void *host_small(const struct host *host, uint32_t rank) {
    return host->segment->slots[rank].small[host->round & 1];
}

bool trainer_host_sum(struct trainer_collective *collective, double *data, uint32_t count,
                      struct proto_error *error) {
    struct host *host = host_of(collective);
    if (!host_show(host, HOST_SUM, data, count, error)) return false;
    for (uint32_t i = 0; i < count; i++) {
        data[i] = ((const double *)host_small(host, 0))[i];
        for (uint32_t rank = 1; rank < host->base.size; rank++)
            data[i] += ((const double *)host_small(host, rank))[i];
    }
    return true;
}

bool trainer_host_sum_u64(struct trainer_collective *collective, uint64_t *data, uint32_t count,
                          struct proto_error *error) {
    struct host *host = host_of(collective);
    if (!host_show(host, HOST_SUM_U64, data, count, error)) return false;
    memset(data, 0, count * sizeof *data);
    for (uint32_t rank = 0; rank < host->base.size; rank++) {
        uint64_t shown[TRAINER_COLLECTIVE_SMALL_MAX];
        memcpy(shown, host_small(host, rank), count * sizeof *shown);
        for (uint32_t i = 0; i < count; i++) data[i] += shown[i];
    }
    return true;
}

bool trainer_host_gather(struct trainer_collective *collective, const double *data, uint32_t count,
                         double *gathered, struct proto_error *error) {
    struct host *host = host_of(collective);
    if (!host_show(host, HOST_GATHER, data, count, error)) return false;
    for (uint32_t rank = 0; rank < host->base.size; rank++)
        memcpy(gathered + (size_t)rank * count, host_small(host, rank), count * sizeof *data);
    return true;
}

bool trainer_host_barrier(struct trainer_collective *collective, struct proto_error *error) {
    return host_show(host_of(collective), HOST_BARRIER, "", 0, error);
}
