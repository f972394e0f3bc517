// model/backend_counting.c - the table of operations, filled with sums of sizes.
#include "model/backend_counting.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define FLOAT 4.0                      // bytes of a stored number
#define ATTENTION_SCORES_BYTES 67.1e6  // of one part of an attention on a GPU

struct counting {
    struct model_backend base;
    struct model_ops ops;  // differs from one such backend to the next in one slot
    struct model_counting_settings settings;
    struct model_backend_memory memory;
};

static struct counting *counting_of(struct model_backend *backend) {
    return (struct counting *)backend;
}

static bool count(struct model_backend *backend, struct model_counted counted) {
    const struct model_counting_settings *settings = &counting_of(backend)->settings;
    if (settings->see) settings->see(settings->context, &counted);
    return true;
}

// ---- memory: address space without pages ----

// In front of every allocation lies a page that says what it is.
struct place {
    size_t size_bytes, mapped_bytes;
    size_t row;  // of what is held
};
#define PAGE 4096

// The row of the purpose that memory is taken for; the last one takes what has no room.
static size_t purpose_row(struct counting *counting, const char *purpose) {
    struct model_backend_memory *memory = &counting->memory;
    const char *name = purpose ? purpose : "other";
    for (size_t i = 0; i < memory->count; i++)
        if (strcmp(memory->held[i].purpose, name) == 0) return i;
    if (memory->count == MODEL_PURPOSES_MAX) return MODEL_PURPOSES_MAX - 1;
    memory->held[memory->count].purpose = name;
    return memory->count++;
}

static void hold(struct counting *counting, size_t row, size_t size_bytes) {
    counting->memory.held[row].bytes += size_bytes;
    counting->memory.held_bytes += size_bytes;
}

static void *counting_alloc(struct model_backend *backend, size_t size_bytes,
                            struct proto_error *error) {
    struct counting *counting = counting_of(backend);
    struct place place = {.size_bytes = size_bytes};
    uint8_t *memory = MAP_FAILED;
    if (proto_add(size_bytes, (size_t)2 * PAGE - 1, &place.mapped_bytes)) {
        place.mapped_bytes = place.mapped_bytes / PAGE * PAGE;
        memory = mmap(NULL, place.mapped_bytes, PROT_NONE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (memory == MAP_FAILED || mprotect(memory, PAGE, PROT_READ | PROT_WRITE) != 0) {
        proto_fail(error, PROTO_EXHAUSTED, "no room for %zu bytes of addresses", size_bytes);
        if (memory != MAP_FAILED) munmap(memory, place.mapped_bytes);
        return NULL;
    }
    place.row = purpose_row(counting, backend->purpose);
    hold(counting, place.row, size_bytes);
    memcpy(memory, &place, sizeof place);
    return memory + PAGE;
}

static void counting_free(struct model_backend *backend, void *memory) {
    struct counting *counting = counting_of(backend);
    struct place place;
    uint8_t *begin = (uint8_t *)memory - PAGE;
    memcpy(&place, begin, sizeof place);
    counting->memory.held[place.row].bytes -= place.size_bytes;
    counting->memory.held_bytes -= place.size_bytes;
    munmap(begin, place.mapped_bytes);
}

static bool counting_memory(struct model_backend *backend, struct model_backend_memory *memory,
                            struct proto_error *error) {
    (void)error;
    *memory = counting_of(backend)->memory;
    memory->total_bytes = counting_of(backend)->settings.total_bytes;
    if (memory->total_bytes > memory->held_bytes)
        memory->free_bytes = memory->total_bytes - memory->held_bytes;
    return true;
}

static size_t operand_size(const struct model_backend *backend) {
    return backend->precision == MODEL_F32 ? sizeof(float) : 2;
}

static bool counting_precision(struct model_backend *backend, enum model_precision precision,
                               struct proto_error *error) {
    (void)error;
    backend->precision = precision;
    return true;
}

// The rounded copy of parameters is held until the end: a count frees nothing before.
static bool counting_parameters(struct model_backend *backend, const float *memory, size_t elements,
                                struct proto_error *error) {
    (void)memory, (void)error;
    struct counting *counting = counting_of(backend);
    if (backend->precision != MODEL_F32)
        hold(counting, purpose_row(counting, "rounded weights"), elements * operand_size(backend));
    return true;
}

static struct CUstream_st *counting_stream(struct model_backend *backend) {
    (void)backend;
    return NULL;
}

static void counting_close(struct model_backend *backend) { free(counting_of(backend)); }

static bool counting_upload(struct model_backend *backend, void *device, const void *host,
                            size_t size_bytes, struct proto_error *error) {
    (void)device, (void)host, (void)error;
    return count(backend, (struct model_counted){.kind = MODEL_COUNTED_HOST,
                                                 .name = "upload",
                                                 .bytes = (double)size_bytes});
}
static bool counting_download(struct model_backend *backend, void *host, const void *device,
                              size_t size_bytes, struct proto_error *error) {
    (void)device, (void)error;
    memset(host, 0, size_bytes);
    return count(backend, (struct model_counted){.kind = MODEL_COUNTED_HOST,
                                                 .name = "download",
                                                 .bytes = (double)size_bytes});
}
static bool counting_copy(struct model_backend *backend, void *to, const void *from,
                          size_t size_bytes, struct proto_error *error) {
    (void)to, (void)from, (void)error;
    return count(backend, (struct model_counted){.kind = MODEL_COUNTED_MOVE,
                                                 .name = "copy",
                                                 .bytes = 2 * (double)size_bytes});
}
static bool counting_fill(struct model_backend *backend, void *device, uint8_t value,
                          size_t size_bytes, struct proto_error *error) {
    (void)device, (void)value, (void)error;
    return count(backend, (struct model_counted){.kind = MODEL_COUNTED_MOVE,
                                                 .name = "fill",
                                                 .bytes = (double)size_bytes});
}
static bool counting_wait(struct model_backend *backend, struct proto_error *error) {
    (void)backend, (void)error;
    return true;
}
static bool counting_copies(struct model_backend *backend, struct model_copies **copies,
                            struct proto_error *error) {
    (void)backend, (void)copies;
    return proto_fail(error, PROTO_FAILED, "a device that counts has no copies beside its queue");
}

// ---- products ----

// Adds an operand. One that is rounded first is read whole and written small before the product
// reads it; a weight's rounded copy is kept. Returns the bytes that it takes meanwhile.
static double add_operand(const struct model_backend *backend, double elements, bool weight,
                          struct model_counted *counted) {
    const double size = (double)operand_size(backend);
    counted->bytes += elements * size;
    if (size >= FLOAT || weight) return 0;
    counted->rounding_bytes += elements * (FLOAT + size);
    return elements * size;
}

static bool counting_gemm(struct model_backend *backend, const struct model_gemm *a,
                          struct proto_error *error) {
    (void)error;
    const double m = (double)a->m, n = (double)a->n, k = (double)a->k;
    const bool gradient = a->transpose_a;  // of a weight: no operand is one
    const double outputs = 1 + (a->c ? 1 : 0) + (a->aux ? 1 : 0);
    struct model_counted counted = {.kind = MODEL_COUNTED_PRODUCT,
                                    .name = "gemm",
                                    .flop = 2 * m * n * k,
                                    .bytes = outputs * m * n * FLOAT,
                                    .weight = gradient ? a->d : a->b};
    counted.left_bytes = add_operand(backend, m * k, false, &counted);
    counted.right_bytes = add_operand(backend, k * n, !gradient, &counted);
    return count(backend, counted);
}

// Queries times keys, and probabilities times values; backward twice as many, and one more where
// the probabilities are made again. Between two products scores are written and read.
static bool count_attention(struct model_backend *backend, const struct model_attention *a,
                            const char *name, bool backward) {
    const bool again = !counting_of(backend)->settings.keeps_probabilities;
    const int products = backward ? again ? 5 : 4 : 2;
    const double rows = (double)a->batch * (double)a->heads * (double)a->queries;
    const double columns = (double)a->batch * (double)a->heads * (double)a->keys;
    const double scores = rows * (double)a->keys, head_width = (double)a->head_width;
    const double size = (double)operand_size(backend);
    // what a part of all heads holds: operands, results, scores and what products read of them
    const double head_scores = (double)a->queries * (double)a->keys * FLOAT;
    const double part =
        fmin(1, fmax(ATTENTION_SCORES_BYTES, head_scores) / fmax(1, scores * FLOAT));
    const double arrays = (rows + 2 * columns) * head_width * size + rows * head_width * FLOAT +
                          scores * (FLOAT + size);
    const double more =
        rows * head_width * (size + FLOAT) + columns * head_width * FLOAT + scores * (FLOAT + size);
    struct model_counted counted = {.kind = MODEL_COUNTED_PRODUCT,
                                    .name = name,
                                    .flop = products * 2 * scores * head_width,
                                    .bytes = products * scores * FLOAT,
                                    .attention_bytes =
                                        again ? part * (arrays + (backward ? more : 0)) : 0};
    for (int i = 0; i < products; i++) {
        (void)add_operand(backend, rows * head_width, false, &counted);
        (void)add_operand(backend, columns * head_width, false, &counted);
    }
    return count(backend, counted);
}
static bool counting_attention(struct model_backend *backend, const struct model_attention *a,
                               struct proto_error *error) {
    (void)error;
    return count_attention(backend, a, "attention", false);
}
static bool counting_attention_backward(struct model_backend *backend,
                                        const struct model_attention_backward *a,
                                        struct proto_error *error) {
    (void)error;
    return count_attention(backend, &a->forward, "attention_backward", true);
}

// The largest score of a query and 1 / the sum.
static size_t gpu_attention_saved(size_t batch, size_t heads, size_t queries, size_t keys,
                                  size_t head_width) {
    (void)keys, (void)head_width;
    return batch * heads * queries * 2;
}

// ---- everything that only moves numbers ----

#define DEFINE_MOVE(slot, args, floats)                                                            \
    static bool counting_##slot(struct model_backend *backend, const struct args *a,               \
                                struct proto_error *error) {                                       \
        (void)error;                                                                               \
        return count(backend, (struct model_counted){.kind = MODEL_COUNTED_MOVE,                   \
                                                     .name = #slot,                                \
                                                     .bytes = FLOAT * (floats)});                  \
    }

static double norm_floats(const struct model_norm *a) {
    return (double)a->groups * (double)a->group_rows * (double)a->width;
}
DEFINE_MOVE(norm, model_norm, 2 * norm_floats(a))
DEFINE_MOVE(norm_backward, model_norm_backward, (a->add ? 4 : 3) * norm_floats(&a->forward))
DEFINE_MOVE(sinusoid, model_sinusoid, (double)a->rows *(double)a->width)
DEFINE_MOVE(tokens, model_tokens, 4.0 * (double)(a->batch * (1 + a->chunk) * a->width))
DEFINE_MOVE(concat, model_concat, 2.0 * (double)(a->batch * (2 + a->rest_rows) * a->width))
DEFINE_MOVE(concat_backward, model_concat_backward,
            2.0 * (double)(a->batch * (2 + a->rest_rows) * a->width))
DEFINE_MOVE(sum_batch, model_sum_batch, ((double)a->batch + 2) * (double)a->n)
DEFINE_MOVE(mse, model_mse, 3.0 * (double)a->n)
// weights, moments and average are read and written, the gradient is read
DEFINE_MOVE(adamw, model_adamw, (a->ema ? 9.0 : 7.0) * (double)a->n)
DEFINE_MOVE(sum_squares, model_sum_squares, (double)a->n)
DEFINE_MOVE(axpby, model_axpby, (a->b != 0 ? 3.0 : 2.0) * (double)a->n)
DEFINE_MOVE(combine, model_combine, (a->c1 != 0 ? 4.0 : 3.0) * (double)a->n)
DEFINE_MOVE(mask_rows, model_mask_rows, 2.0 * (double)(a->batch * a->rows * a->width))
DEFINE_MOVE(patches, model_patches,
            (double)a->images *((double)a->height *(double)a->width * 0.75 +
                                (double)a->grid * a->grid *
                                    (3.0 * a->patch * a->patch + MODEL_PATCH_PLACE)))

static const struct model_ops model_ops_counting = {.name = "counting",
                                                    .close = counting_close,
                                                    .alloc = counting_alloc,
                                                    .free = counting_free,
                                                    .upload = counting_upload,
                                                    .download = counting_download,
                                                    .copy = counting_copy,
                                                    .fill = counting_fill,
                                                    .wait = counting_wait,
                                                    .last = counting_wait,
                                                    .memory = counting_memory,
                                                    .precision = counting_precision,
                                                    .parameters = counting_parameters,
                                                    .stream = counting_stream,
                                                    .copies_open = counting_copies,
                                                    .attention_saved = gpu_attention_saved,
#define FILL_SLOT(operation, args) .operation = counting_##operation,
                                                    MODEL_OPERATIONS(FILL_SLOT)};

bool model_backend_counting_open(const struct model_counting_settings *settings,
                                 struct model_backend **backend, struct proto_error *error) {
    struct counting *counting = proto_alloc(sizeof *counting, error);
    if (!counting) return false;
    counting->settings = *settings;
    counting->ops = model_ops_counting;
    if (settings->attention_saved) counting->ops.attention_saved = settings->attention_saved;
    counting->base.ops = &counting->ops;
    counting->base.threads = 1;
    snprintf(counting->base.kernels, sizeof counting->base.kernels, "counting");
    *backend = &counting->base;
    return true;
}
