// model/pool.c - worker threads behind one generation counter: raising it starts a task, a count of
// arrivals ends it. Mutex and condition serve only those who gave up spinning.
#include "model/pool.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SPINS 3000  // some 50 us with the pause instruction

// A worker allocates and frees nothing, so that the allocator makes it no cache of its own.
struct worker {
    struct model_pool *pool;
    uint32_t thread;
    pthread_t id;
};

struct model_pool {
    uint32_t threads;  // with the caller
    uint32_t started;
    struct worker *workers;  // [threads - 1]
    model_task *task;
    void *context;
    atomic_uint generation;  // of the newest task
    atomic_uint finished;    // workers done with it
    atomic_bool stop;
    pthread_mutex_t mutex;
    pthread_cond_t begun, done;
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static unsigned wait_for_task(struct model_pool *pool, unsigned seen) {
    for (int i = 0; i < SPINS; i++) {
        const unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen) return now;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    unsigned now = atomic_load(&pool->generation);
    while (now == seen) {
        pthread_cond_wait(&pool->begun, &pool->mutex);
        now = atomic_load(&pool->generation);
    }
    pthread_mutex_unlock(&pool->mutex);
    return now;
}

static void *work(void *argument) {
    const struct worker *worker = argument;
    struct model_pool *pool = worker->pool;
    const uint32_t thread = worker->thread;
    for (unsigned seen = 0;;) {
        seen = wait_for_task(pool, seen);
        if (atomic_load(&pool->stop)) return NULL;
        pool->task(pool->context, thread, pool->threads);
        if (atomic_fetch_add(&pool->finished, 1) + 1 == pool->threads - 1) {
            pthread_mutex_lock(&pool->mutex);
            pthread_cond_signal(&pool->done);
            pthread_mutex_unlock(&pool->mutex);
        }
    }
}

static void begin(struct model_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_store(&pool->finished, 0);
    atomic_fetch_add(&pool->generation, 1);
    pthread_cond_broadcast(&pool->begun);
    pthread_mutex_unlock(&pool->mutex);
}

bool model_pool_new(uint32_t threads, struct model_pool **out, struct proto_error *error) {
    assert(threads >= 1);
    struct model_pool *pool = proto_alloc(sizeof *pool, error);
    if (!pool) return false;
    pool->threads = threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->begun, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->workers = proto_alloc_array(threads, sizeof *pool->workers, error);
    if (!pool->workers) goto fail;
    // signals are the main thread's matter
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool done = true;
    while (done && pool->started + 1 < threads) {
        struct worker *worker = &pool->workers[pool->started];
        *worker = (struct worker){.pool = pool, .thread = pool->started + 1};
        errno = pthread_create(&worker->id, NULL, work, worker);
        if (errno != 0) {
            done = proto_fail_errno(error, PROTO_EXHAUSTED, "cannot start thread %u of %u",
                                    pool->started + 2, threads);
            break;
        }
        pool->started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!done) goto fail;
    *out = pool;
    return true;
fail:
    model_pool_free(&pool);
    return false;
}

void model_pool_free(struct model_pool **out) {
    struct model_pool *pool = *out;
    if (!pool) return;
    atomic_store(&pool->stop, true);
    begin(pool);
    for (uint32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].id, NULL);
    free(pool->workers);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->begun);
    pthread_cond_destroy(&pool->done);
    free(pool);
    *out = NULL;
}

void model_pool_run(struct model_pool *pool, model_task *task, void *context) {
    if (pool->threads == 1) {
        task(context, 0, 1);
        return;
    }
    pool->task = task;
    pool->context = context;
    begin(pool);
    task(context, 0, pool->threads);
    const unsigned others = pool->threads - 1;
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&pool->finished, memory_order_acquire) == others) return;
        relax();
    }
    pthread_mutex_lock(&pool->mutex);
    while (atomic_load(&pool->finished) != others) pthread_cond_wait(&pool->done, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
}

struct model_part model_part_of(size_t count, size_t grain, uint32_t thread, uint32_t threads) {
    const size_t grains = (count + grain - 1) / grain;
    const size_t begin = grains * thread / threads * grain;
    const size_t end = grains * (thread + 1) / threads * grain;
    return (struct model_part){begin < count ? begin : count, end < count ? end : count};
}
