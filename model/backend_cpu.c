// model/backend_cpu.c - memory, the table, and the operations that are one loop over rows or
// elements, split over the pool in fixed parts.
#include "model/backend_cpu.h"

#include "model/copies.h"

#include <assert.h>
#include <cblas.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define SPLIT_FROM 16384     // elements from which sharing costs less than it saves
#define ELEMENTS_GRAIN 1024  // elements that are not worth splitting

static struct model_backend_cpu *cpu_of(struct model_backend *backend) {
    return (struct model_backend_cpu *)backend;
}

// ---- memory ----

static void *cpu_alloc(struct model_backend *backend, size_t size_bytes,
                       struct proto_error *error) {
    (void)backend;
    size_t rounded = 0;
    if (!proto_add(size_bytes > 0 ? size_bytes : 1, ALIGNMENT - 1, &rounded)) {
        proto_fail(error, PROTO_EXHAUSTED, "%zu bytes do not fit any memory", size_bytes);
        return NULL;
    }
    rounded = rounded / ALIGNMENT * ALIGNMENT;
    void *memory = aligned_alloc(ALIGNMENT, rounded);
    if (!memory) {
        proto_fail(error, PROTO_EXHAUSTED, "%zu bytes of memory are not to be had", rounded);
        return NULL;
    }
    memset(memory, 0, rounded);
    return memory;
}
static void cpu_free(struct model_backend *backend, void *memory) {
    (void)backend;
    free(memory);
}
static bool cpu_move(struct model_backend *backend, void *to, const void *from, size_t size_bytes,
                     struct proto_error *error) {
    (void)backend, (void)error;
    memcpy(to, from, size_bytes);
    return true;
}
static bool cpu_fill(struct model_backend *backend, void *device, uint8_t value, size_t size_bytes,
                     struct proto_error *error) {
    (void)backend, (void)error;
    memset(device, value, size_bytes);
    return true;
}
static bool cpu_wait(struct model_backend *backend, struct proto_error *error) {
    (void)backend, (void)error;
    return true;  // operations are done when they return
}
static bool cpu_memory(struct model_backend *backend, struct model_backend_memory *memory,
                       struct proto_error *error) {
    (void)backend, (void)memory, (void)error;
    return true;  // the operating system's account holds it
}
static bool cpu_precision(struct model_backend *backend, enum model_precision precision,
                          struct proto_error *error) {
    (void)backend;
    return precision == MODEL_F32 ||
           proto_fail(error, PROTO_MISSING,
                      "the cpu multiplies in f32 only: trainer.mixed_precision = \"no\" there");
}
static bool cpu_parameters(struct model_backend *backend, const float *memory, size_t elements,
                           struct proto_error *error) {
    (void)backend, (void)memory, (void)elements, (void)error;
    return true;  // products read them as they are
}
static struct CUstream_st *cpu_stream(struct model_backend *backend) {
    (void)backend;
    return NULL;
}

float *model_backend_cpu_scratch(struct model_backend_cpu *cpu, size_t elements,
                                 struct proto_error *error) {
    const size_t total = (elements + SUM_PAD) * cpu->base.threads;
    if (total <= cpu->scratch_elements) return cpu->scratch;
    free(cpu->scratch);
    cpu->scratch_elements = 0;
    cpu->scratch = cpu_alloc(&cpu->base, total * sizeof(float), error);
    if (cpu->scratch) cpu->scratch_elements = total;
    return cpu->scratch;
}

// ---- operations that are one loop ----

// What every task needs; `partial` is per-thread scratch, `each` elements apart.
struct job {
    struct model_backend_cpu *cpu;
    const void *a;
    float *partial;
    size_t each;
    size_t count;
};

// Runs a task, on one thread when there is too little work to share: a fixed function of the
// shape, so that bits do not vary. Returns the threads that worked.
static uint32_t run(struct job *job, model_task *task, size_t elements) {
    if (elements < job->cpu->split_from) {
        task(job, 0, 1);
        return 1;
    }
    model_pool_run(job->cpu->pool, task, job);
    return job->cpu->base.threads;
}

#define DEFINE_ELEMENTWISE(name, args, size)                                                       \
    static void name##_task(void *context, uint32_t thread, uint32_t threads) {                    \
        const struct job *job = context;                                                           \
        const struct args *a = job->a;                                                             \
        const struct model_part part = model_part_of(size, ELEMENTS_GRAIN, thread, threads);       \
        if (part.begin < part.end) job->cpu->loops->name(a, part.begin, part.end);                 \
    }                                                                                              \
    static bool cpu_##name(struct model_backend *backend, const struct args *a,                    \
                           struct proto_error *error) {                                            \
        (void)error;                                                                               \
        struct job job = {.cpu = cpu_of(backend), .a = a};                                         \
        (void)run(&job, name##_task, size);                                                        \
        return true;                                                                               \
    }
DEFINE_ELEMENTWISE(sum_batch, model_sum_batch, a->n)
DEFINE_ELEMENTWISE(adamw, model_adamw, a->n)
DEFINE_ELEMENTWISE(axpby, model_axpby, a->n)
DEFINE_ELEMENTWISE(combine, model_combine, a->n)

static void norm_task(void *context, uint32_t thread, uint32_t threads) {
    const struct job *job = context;
    const struct model_norm *a = job->a;
    const struct model_part part = model_part_of(a->groups * a->group_rows, 1, thread, threads);
    job->cpu->loops->norm(a, part.begin, part.end);
}
static bool cpu_norm(struct model_backend *backend, const struct model_norm *a,
                     struct proto_error *error) {
    (void)error;
    struct job job = {.cpu = cpu_of(backend), .a = a};
    (void)run(&job, norm_task, a->groups * a->group_rows * a->width);
    return true;
}

static void add_partial(const struct job *job, uint32_t threads, size_t from, size_t n,
                        float *sum) {
    for (uint32_t t = 0; t < threads; t++)
        for (size_t i = 0; i < n; i++) sum[i] += job->partial[t * job->each + from + i];
}

static void norm_backward_task(void *context, uint32_t thread, uint32_t threads) {
    const struct job *job = context;
    const struct model_norm_backward *a = job->a;
    const size_t rows = a->forward.groups * a->forward.group_rows;
    const struct model_part part = model_part_of(rows, 1, thread, threads);
    float *dgain = job->partial + thread * job->each;
    memset(dgain, 0, a->forward.width * sizeof *dgain);
    job->cpu->loops->norm_backward(a, part.begin, part.end, dgain);
}
static bool cpu_norm_backward(struct model_backend *backend, const struct model_norm_backward *a,
                              struct proto_error *error) {
    struct job job = {.cpu = cpu_of(backend), .a = a, .each = a->forward.width + SUM_PAD};
    job.partial = model_backend_cpu_scratch(job.cpu, job.each, error);
    if (!job.partial) return false;
    const size_t elements = a->forward.groups * a->forward.group_rows * a->forward.width;
    const uint32_t threads = run(&job, norm_backward_task, elements);
    add_partial(&job, threads, 0, a->forward.width, a->dgain);
    return true;
}

// In elements of an elementwise operation.
static size_t attention_work(const struct model_attention *a) {
    return a->batch * a->heads * (a->queries + a->keys) * a->head_width;
}
static void attention_task(void *context, uint32_t thread, uint32_t threads) {
    const struct job *job = context;
    const struct model_attention *a = job->a;
    const struct model_part part = model_part_of(a->batch * a->heads, 1, thread, threads);
    job->cpu->loops->attention(a, part.begin, part.end, job->partial + thread * job->each);
}
static bool cpu_attention(struct model_backend *backend, const struct model_attention *a,
                          struct proto_error *error) {
    struct job job = {.cpu = cpu_of(backend), .a = a};
    job.each = job.cpu->loops->attention_scratch(a);
    job.partial = model_backend_cpu_scratch(job.cpu, job.each, error);
    if (!job.partial) return false;
    (void)run(&job, attention_task, attention_work(a));
    return true;
}

static void attention_backward_task(void *context, uint32_t thread, uint32_t threads) {
    const struct job *job = context;
    const struct model_attention_backward *a = job->a;
    const size_t items = a->forward.batch * a->forward.heads;
    const struct model_part part = model_part_of(items, 1, thread, threads);
    float *gains = job->partial + thread * job->each;
    const size_t gain_elements = 2 * a->forward.head_width;
    memset(gains, 0, gain_elements * sizeof *gains);
    job->cpu->loops->attention_backward(a, part.begin, part.end, gains + gain_elements, gains);
}
static bool cpu_attention_backward(struct model_backend *backend,
                                   const struct model_attention_backward *a,
                                   struct proto_error *error) {
    struct job job = {.cpu = cpu_of(backend), .a = a};
    const size_t width = a->forward.head_width;
    job.each = job.cpu->loops->attention_scratch(&a->forward) + 2 * width;
    job.partial = model_backend_cpu_scratch(job.cpu, job.each, error);
    if (!job.partial) return false;
    const uint32_t threads = run(&job, attention_backward_task, attention_work(&a->forward));
    add_partial(&job, threads, 0, width, a->dq_gain);
    add_partial(&job, threads, width, width, a->dk_gain);
    return true;
}

// ---- sums over everything: chunk sums in parallel, their total in order ----

static size_t chunks_of(size_t n) { return (n + MODEL_CHUNK - 1) / MODEL_CHUNK; }

static bool total_of(struct model_backend *backend, const void *a, size_t n, model_task *task,
                     double *total, struct proto_error *error) {
    struct job job = {.cpu = cpu_of(backend), .a = a, .count = chunks_of(n)};
    job.partial = model_backend_cpu_scratch(job.cpu, 2 * job.count, error);
    if (!job.partial) return false;
    (void)run(&job, task, n);
    const double *sums = (const double *)(void *)job.partial;
    *total = 0;
    for (size_t i = 0; i < job.count; i++) *total += sums[i];
    return true;
}
static void sum_squares_task(void *context, uint32_t thread, uint32_t threads) {
    const struct job *job = context;
    const struct model_part part = model_part_of(job->count, 1, thread, threads);
    job->cpu->loops->sum_squares(job->a, part.begin, part.end, (double *)(void *)job->partial);
}
static bool cpu_sum_squares(struct model_backend *backend, const struct model_sum_squares *a,
                            struct proto_error *error) {
    return total_of(backend, a, a->n, sum_squares_task, a->sum, error);
}
static void mse_task(void *context, uint32_t thread, uint32_t threads) {
    const struct job *job = context;
    const struct model_part part = model_part_of(job->count, 1, thread, threads);
    job->cpu->loops->mse(job->a, part.begin, part.end, (double *)(void *)job->partial);
}
static bool cpu_mse(struct model_backend *backend, const struct model_mse *a,
                    struct proto_error *error) {
    if (!total_of(backend, a, a->n, mse_task, a->loss, error)) return false;
    *a->loss /= (double)a->n;
    return true;
}

// ---- the table ----

static void cpu_close(struct model_backend *backend) {
    struct model_backend_cpu *cpu = cpu_of(backend);
    model_pool_free(&cpu->pool);
    free(cpu->scratch);
    free(cpu);
}

static size_t cpu_attention_saved(size_t batch, size_t heads, size_t queries, size_t keys,
                                  size_t head_width) {
    (void)head_width;  // probabilities, queries in whole vectors of any set
    return batch * heads * keys * ((queries + SUM_PAD - 1) / SUM_PAD * SUM_PAD);
}

static const struct model_ops model_ops_cpu = {
    .name = "cpu",
    .close = cpu_close,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .upload = cpu_move,
    .download = cpu_move,
    .copy = cpu_move,
    .fill = cpu_fill,
    .wait = cpu_wait,
    .last = cpu_wait,
    .memory = cpu_memory,
    .precision = cpu_precision,
    .parameters = cpu_parameters,
    .stream = cpu_stream,
    .copies_open = model_copies_cpu_open,
    .attention_saved = cpu_attention_saved,
    .gemm = model_cpu_gemm,
    .norm = cpu_norm,
    .norm_backward = cpu_norm_backward,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .sinusoid = model_cpu_sinusoid,
    .tokens = model_cpu_tokens,
    .concat = model_cpu_concat,
    .concat_backward = model_cpu_concat_backward,
    .sum_batch = cpu_sum_batch,
    .mse = cpu_mse,
    .adamw = cpu_adamw,
    .sum_squares = cpu_sum_squares,
    .axpby = cpu_axpby,
    .combine = cpu_combine,
    .mask_rows = model_cpu_mask_rows,
    .patches = model_cpu_patches,
};

static const struct model_loops *best_loops(const char *set) {
#if defined(__x86_64__)
    const bool fits[] = {__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                             __builtin_cpu_supports("avx512vl") &&
                             __builtin_cpu_supports("avx512dq") &&
                             __builtin_cpu_supports("avx512cd"),
                         __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                             __builtin_cpu_supports("bmi2"),
                         __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")};
    const struct model_loops *sets[] = {&model_loops_v4, &model_loops_v3, &model_loops_v2};
#else
    const bool fits[] = {true};
    const struct model_loops *sets[] = {&model_loops_plain};
#endif
    for (size_t i = 0; i < PROTO_COUNT(sets); i++)
        if (fits[i] && (!set || strcmp(set, sets[i]->name) == 0)) return sets[i];
    return NULL;
}

static uint32_t cores_allowed(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    const int count = CPU_COUNT(&set);
    return count > 0 ? (uint32_t)count : 1;
}

bool model_backend_cpu_open_set(uint32_t threads, const char *set, struct model_backend **backend,
                                struct proto_error *error) {
    const struct model_loops *loops = best_loops(set);
    if (!loops)
        return proto_fail(error, PROTO_MISSING, "this processor lacks %s", set ? set : "SSE4.2");
    struct model_backend_cpu *cpu = proto_alloc(sizeof *cpu, error);
    if (!cpu) return false;
    cpu->base.ops = &model_ops_cpu;
    cpu->base.threads = threads > 0 ? threads : cores_allowed();
    cpu->loops = loops;
    cpu->split_from = set ? 0 : SPLIT_FROM;
    if (!model_pool_new(cpu->base.threads, &cpu->pool, error)) {
        free(cpu);
        return false;
    }
    // products are split by our own pool, each part on the thread that finishes its rows
    openblas_set_num_threads(1);
    snprintf(cpu->base.kernels, sizeof cpu->base.kernels, "%.40s+%s", openblas_get_corename(),
             loops->name);
    *backend = &cpu->base;
    return true;
}

bool model_backend_cpu_open(uint32_t threads, struct model_backend **backend,
                            struct proto_error *error) {
    return model_backend_cpu_open_set(threads, NULL, backend, error);
}
