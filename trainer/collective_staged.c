// trainer/collective_staged.c - sums of device memory over memory of the host that ranks share and
// their devices reach: two ranks may use one GPU, and GPUs that cannot reach each other still add.
//
// One thread does what was started, in order, while the rank computes on: it waits for the mark
// that the queue had when a piece was started, downloads a chunk, adds with the other ranks,
// uploads. Between start and finish the host collective is the thread's alone; otherwise it is the
// rank's.
#include "model/copies.h"
#include "trainer/collective_device.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

enum staged_kind { STAGED_REDUCE, STAGED_REDUCE_SCATTER, STAGED_ALL_GATHER, STAGED_BROADCAST };

struct staged_job {
    enum staged_kind kind;
    uint32_t mark, root;
    const float *from;
    float *data;
    size_t count;
    float scale;
};

struct staged {
    struct trainer_collective_device device;
    struct model_copies *copies;
    double deadline_s;
    pthread_t thread;
    bool thread_runs;
    uint32_t mark;  // of the next job

    pthread_mutex_t lock;  // everything below
    pthread_cond_t changed;
    struct staged_job jobs[MODEL_COPIES_MARKS];
    uint32_t first, count;  // jobs waiting or under way
    bool closing, failed;
    struct proto_error error;  // when failed
};

static struct staged *staged_of(struct trainer_collective *collective) {
    return (struct staged *)collective;
}

// ---- the thread ----

// Until the copies so far are there. A device that never ends them is given up like a rank.
static bool staged_copied(struct staged *staged, struct proto_error *error) {
    const double start_s = trainer_collective_now_s();
    struct trainer_collective *control = staged->device.control;
    for (uint64_t looks = 0;; looks++) {
        bool done = false;
        if (!model_copies_done(staged->copies, &done, error)) return false;
        if (done) return true;
        if (!control->ops->status(control, error)) return false;
        if (trainer_collective_now_s() - start_s > staged->deadline_s)
            return control->ops->late(control, error);
        trainer_collective_device_pause(looks);
    }
}

static bool staged_in(void *context, float *shared, const float *data, size_t count,
                      struct proto_error *error) {
    struct staged *staged = context;
    return count == 0 ||
           (model_copies_download(staged->copies, shared, data, count * sizeof *data, error) &&
            staged_copied(staged, error));
}

static bool staged_out(void *context, float *data, const float *shared, size_t count,
                       struct proto_error *error) {
    struct staged *staged = context;
    return count == 0 ||
           (model_copies_upload(staged->copies, data, shared, count * sizeof *data, error) &&
            staged_copied(staged, error));
}

static bool staged_do(struct staged *staged, const struct staged_job *job,
                      struct proto_error *error) {
    struct trainer_collective *host = staged->device.control;
    if (!model_copies_after(staged->copies, job->mark, error)) return false;
    switch (job->kind) {
    case STAGED_REDUCE:
        return host->ops->start(host, job->data, job->count, job->scale, error);
    case STAGED_REDUCE_SCATTER:
        return host->ops->reduce_scatter(host, job->from, job->data, job->count, job->scale, error);
    case STAGED_ALL_GATHER:
        return host->ops->all_gather(host, job->from, job->data, job->count, error);
    case STAGED_BROADCAST:
        return host->ops->broadcast(host, job->data, job->count, job->root, error);
    }
    return false;
}

static void *staged_run(void *context) {
    struct staged *staged = context;
    pthread_mutex_lock(&staged->lock);
    for (;;) {
        while (staged->count == 0 && !staged->closing)
            pthread_cond_wait(&staged->changed, &staged->lock);
        if (staged->count == 0) break;
        const struct staged_job job = staged->jobs[staged->first];
        struct proto_error error = {0};
        bool done = !staged->failed;  // behind a failure nothing is done any more
        pthread_mutex_unlock(&staged->lock);
        if (done) done = staged_do(staged, &job, &error);
        pthread_mutex_lock(&staged->lock);
        if (!done && !staged->failed) {
            staged->failed = true;
            staged->error = error;
        }
        staged->first = (staged->first + 1) % MODEL_COPIES_MARKS;
        staged->count--;
        pthread_cond_broadcast(&staged->changed);
    }
    pthread_mutex_unlock(&staged->lock);
    return NULL;
}

// ---- the rank ----

// Appends a job; with as many under way as there are marks it waits for one to end.
static bool staged_begin(struct staged *staged, struct staged_job job, struct proto_error *error) {
    pthread_mutex_lock(&staged->lock);
    while (staged->count == MODEL_COPIES_MARKS) pthread_cond_wait(&staged->changed, &staged->lock);
    const bool failed = staged->failed;
    if (failed) *error = staged->error;
    pthread_mutex_unlock(&staged->lock);
    job.mark = staged->mark;
    if (failed || !model_copies_mark(staged->copies, job.mark, error)) return false;
    staged->mark = (staged->mark + 1) % MODEL_COPIES_MARKS;
    pthread_mutex_lock(&staged->lock);
    staged->jobs[(staged->first + staged->count) % MODEL_COPIES_MARKS] = job;
    staged->count++;
    pthread_cond_broadcast(&staged->changed);
    pthread_mutex_unlock(&staged->lock);
    return true;
}

// The wait has no deadline of its own: every wait of the thread has one.
static bool staged_finish(struct trainer_collective *collective, struct proto_error *error) {
    struct staged *staged = staged_of(collective);
    const double start_s = trainer_collective_now_s();
    pthread_mutex_lock(&staged->lock);
    while (staged->count > 0) pthread_cond_wait(&staged->changed, &staged->lock);
    const bool done = !staged->failed;
    if (!done) *error = staged->error;
    pthread_mutex_unlock(&staged->lock);
    staged->device.control->waited_s = 0;  // what the thread waited cost nothing but this
    staged->device.base.waited_s += trainer_collective_now_s() - start_s;
    return done;
}

static bool staged_start(struct trainer_collective *collective, float *data, size_t count,
                         float scale, struct proto_error *error) {
    const struct staged_job job = {
        .kind = STAGED_REDUCE, .data = data, .count = count, .scale = scale};
    return staged_begin(staged_of(collective), job, error);
}

static bool staged_reduce_scatter(struct trainer_collective *collective, const float *data,
                                  float *shard, size_t count, float scale,
                                  struct proto_error *error) {
    const struct staged_job job = {
        .kind = STAGED_REDUCE_SCATTER, .from = data, .data = shard, .count = count, .scale = scale};
    return staged_begin(staged_of(collective), job, error) && staged_finish(collective, error);
}

static bool staged_all_gather(struct trainer_collective *collective, const float *shard,
                              float *data, size_t count, struct proto_error *error) {
    const struct staged_job job = {
        .kind = STAGED_ALL_GATHER, .from = shard, .data = data, .count = count};
    return staged_begin(staged_of(collective), job, error) && staged_finish(collective, error);
}

static bool staged_broadcast(struct trainer_collective *collective, float *data, size_t count,
                             uint32_t root, struct proto_error *error) {
    const struct staged_job job = {
        .kind = STAGED_BROADCAST, .data = data, .count = count, .root = root};
    return staged_begin(staged_of(collective), job, error) && staged_finish(collective, error);
}

// Pieces under way when a rank leaves early end with the group.
static void staged_close(struct trainer_collective *collective) {
    struct staged *staged = staged_of(collective);
    if (staged->thread_runs) {
        pthread_mutex_lock(&staged->lock);
        const bool under_way = staged->count > 0;
        staged->closing = true;
        pthread_cond_broadcast(&staged->changed);
        pthread_mutex_unlock(&staged->lock);
        if (under_way) trainer_collective_device_abort(collective, PROTO_FAILED, "");
        pthread_join(staged->thread, NULL);
    }
    pthread_cond_destroy(&staged->changed);
    pthread_mutex_destroy(&staged->lock);
    model_copies_close(&staged->copies);  // before the memory that it pinned
    trainer_collective_close(&staged->device.control);
    free(staged);
}

static const struct trainer_collective_ops staged_ops = {
    .on_device = true,
    .status = trainer_collective_device_status,
    .start = staged_start,
    .finish = staged_finish,
    .reduce_scatter = staged_reduce_scatter,
    .all_gather = staged_all_gather,
    .broadcast = staged_broadcast,
    .sum = trainer_collective_device_sum,
    .sum_u64 = trainer_collective_device_sum_u64,
    .gather = trainer_collective_device_gather,
    .barrier = trainer_collective_device_barrier,
    .late = trainer_collective_device_late,
    .abort = trainer_collective_device_abort,
    .close = staged_close,
};

bool trainer_collective_staged_open(const struct trainer_collective_settings *settings,
                                    struct trainer_collective *host,
                                    struct trainer_collective **collective,
                                    struct proto_error *error) {
    assert(settings->device);
    struct staged *staged = proto_alloc(sizeof *staged, error);
    if (!staged) {
        trainer_collective_close(&host);
        return false;
    }
    void *memory = NULL;
    size_t bytes = 0;
    staged->device.base =
        (struct trainer_collective){&staged_ops, settings->rank, settings->size, 0};
    staged->device.control = host;
    staged->deadline_s = settings->deadline_s;
    pthread_mutex_init(&staged->lock, NULL);
    pthread_cond_init(&staged->changed, NULL);
    const struct trainer_collective_mover mover = {staged, staged_in, staged_out};
    trainer_collective_host_move(host, &mover, &memory, &bytes);
    bool done = model_copies_open(settings->device, &staged->copies, error) &&
                model_copies_pin(staged->copies, memory, bytes, error);
    if (done) {
        const int code = pthread_create(&staged->thread, NULL, staged_run, staged);
        staged->thread_runs = done = code == 0;
        if (!done) proto_fail(error, PROTO_EXHAUSTED, "no thread for sums over the host");
    }
    if (!done) {
        struct trainer_collective *half = &staged->device.base;
        trainer_collective_close(&half);
        return false;
    }
    *collective = &staged->device.base;
    return true;
}
