// proto/pool.c - loans of batches: an atomic count of holds for each, one descriptor for all.
#include "proto/pool.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct proto_loan {
    struct proto_pool *pool;
    struct proto_batch *batch;  // NULL until first taken
    uint32_t rows;              // it has room for
    atomic_uint holds;
};

struct proto_pool {
    const struct proto_codec *codec;
    int descriptor;
    uint32_t count;
    struct proto_loan loans[];
};

bool proto_pool_new(const struct proto_codec *codec, uint32_t count, struct proto_pool **pool,
                    struct proto_error *error) {
    assert(count > 0 && count <= PROTO_POOL_MAX);
    struct proto_pool *made =
        proto_alloc(sizeof *made + (size_t)count * sizeof(struct proto_loan), error);
    if (!made) return false;
    made->codec = codec;
    made->count = count;
    for (uint32_t i = 0; i < count; i++) made->loans[i].pool = made;
    made->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (made->descriptor < 0) {
        free(made);
        return proto_fail_errno(error, PROTO_FAILED, "no event descriptor for a pool of batches");
    }
    *pool = made;
    return true;
}

void proto_pool_free(struct proto_pool **pool) {
    struct proto_pool *old = *pool;
    if (!old) return;
    assert(proto_pool_out(old) == 0);
    for (uint32_t i = 0; i < old->count; i++) proto_batch_free(&old->loans[i].batch);
    close(old->descriptor);
    free(old);
    *pool = NULL;
}

bool proto_pool_take(struct proto_pool *pool, uint32_t rows, struct proto_loan **loan,
                     struct proto_error *error) {
    *loan = NULL;
    for (uint32_t i = 0; i < pool->count; i++) {
        struct proto_loan *free_one = &pool->loans[i];
        // acquire: the writes of the new holder come after the last reads of the old one
        if (atomic_load_explicit(&free_one->holds, memory_order_acquire) > 0) continue;
        if (free_one->rows < rows) {
            proto_batch_free(&free_one->batch);
            free_one->rows = 0;
            if (!proto_batch_new(pool->codec, rows, &free_one->batch, error)) return false;
            free_one->rows = rows;
        }
        atomic_store_explicit(&free_one->holds, 1, memory_order_relaxed);
        *loan = free_one;
        return true;
    }
    return true;
}

struct proto_batch *proto_loan_batch(struct proto_loan *loan) {
    return loan->batch;
}

void proto_loan_hold(struct proto_loan *loan) {
    atomic_fetch_add_explicit(&loan->holds, 1, memory_order_relaxed);
}

void proto_loan_drop(struct proto_loan *loan) {
    const struct proto_pool *pool = loan->pool;
    const int descriptor = pool->descriptor;
    const unsigned before = atomic_fetch_sub_explicit(&loan->holds, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before > 1) return;
    // A full counter (EAGAIN) is readable already, which is all that is wanted.
    const uint64_t one = 1;
    ssize_t written = 0;
    do written = write(descriptor, &one, sizeof one);
    while (written < 0 && errno == EINTR);
}

int proto_pool_descriptor(const struct proto_pool *pool) { return pool->descriptor; }

void proto_pool_settle(struct proto_pool *pool) {
    uint64_t returned = 0;
    ssize_t got = 0;
    do got = read(pool->descriptor, &returned, sizeof returned);
    while (got < 0 && errno == EINTR);
}

uint32_t proto_pool_out(const struct proto_pool *pool) {
    uint32_t out = 0;
    for (uint32_t i = 0; i < pool->count; i++)
        out += atomic_load_explicit(&pool->loans[i].holds, memory_order_acquire) > 0;
    return out;
}
