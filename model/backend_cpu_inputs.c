// model/backend_cpu_inputs.c - the operations at the network's edges: features of numbers, token
// assembly, masks, and images to patches.
#include "model/backend_cpu.h"

#include <math.h>
#include <string.h>

struct input_job {
    struct model_backend_cpu *cpu;
    const void *a;
    float *scratch;
    size_t each;
};

// f32 throughout as the reference does; w_k alone is rounded from double, because one unit in its
// last place moves the angle of v = 999 by up to 6e-5.
bool model_cpu_sinusoid(struct model_backend *backend, const struct model_sinusoid *a,
                        struct proto_error *error) {
    (void)backend, (void)error;
    const size_t half = a->width / 2;
    for (size_t k = 0; k < half; k++) {
        const float exponent = (float)-log(10000.0) * (float)k / (float)half;
        const float w = (float)exp((double)exponent);
        for (size_t r = 0; r < a->rows; r++) {
            const float angle = a->v[r] * w;
            a->y[r * a->width + k] = cosf(angle);
            a->y[r * a->width + half + k] = sinf(angle);
        }
    }
    return true;
}

static void run(struct input_job *job, model_task *task, size_t elements) {
    if (elements < job->cpu->split_from)
        task(job, 0, 1);
    else
        model_pool_run(job->cpu->pool, task, job);
}

static void tokens_task(void *context, uint32_t thread, uint32_t threads) {
    const struct input_job *job = context;
    const struct model_tokens *a = job->a;
    const size_t rows = 1 + a->chunk, width = a->width;
    const struct model_part part = model_part_of(a->batch, 1, thread, threads);
    for (size_t b = part.begin; b < part.end; b++) {
        float *y = a->y + b * rows * 2 * width;
        memcpy(y, a->state + b * width, width * sizeof *y);
        memcpy(y + width, a->state_mask + b * width, width * sizeof *y);
        for (size_t t = 0; t < a->chunk; t++) {
            y += 2 * width;
            const float *x = a->action + (b * a->chunk + t) * width;
            const float *e = a->noise ? a->noise + (b * a->chunk + t) * width : NULL;
            for (size_t j = 0; j < width; j++)
                y[j] = e ? a->signal[b] * x[j] + a->grain[b] * e[j] : x[j];
            memcpy(y + width, a->action_mask + b * width, width * sizeof *y);
        }
    }
}
bool model_cpu_tokens(struct model_backend *backend, const struct model_tokens *a,
                      struct proto_error *error) {
    (void)error;
    struct input_job job = {.cpu = (struct model_backend_cpu *)backend, .a = a};
    run(&job, tokens_task, a->batch * a->chunk * a->width * 2);
    return true;
}

static void add_rows(float *to, const float *x, const float *position, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = x[i] + position[i];
}
static void concat_task(void *context, uint32_t thread, uint32_t threads) {
    const struct input_job *job = context;
    const struct model_concat *a = job->a;
    const size_t width = a->width;
    const struct model_part part = model_part_of(a->batch, 1, thread, threads);
    for (size_t b = part.begin; b < part.end; b++) {
        float *x = a->x + b * (2 + a->rest_rows) * width;
        add_rows(x, a->first + b * width, a->position, width);
        add_rows(x + width, a->second + b * width, a->position + width, width);
        add_rows(x + 2 * width, a->rest + b * a->rest_rows * width, a->position + 2 * width,
                 a->rest_rows * width);
    }
}
bool model_cpu_concat(struct model_backend *backend, const struct model_concat *a,
                      struct proto_error *error) {
    (void)error;
    struct input_job job = {.cpu = (struct model_backend_cpu *)backend, .a = a};
    run(&job, concat_task, a->batch * a->rest_rows * a->width);
    return true;
}

static void concat_backward_task(void *context, uint32_t thread, uint32_t threads) {
    const struct input_job *job = context;
    const struct model_concat_backward *a = job->a;
    const size_t width = a->width, rows = 2 + a->rest_rows;
    const struct model_part part = model_part_of(rows, 1, thread, threads);
    for (size_t r = part.begin; r < part.end; r++)
        for (size_t b = 0; b < a->batch; b++) {
            const float *dx = a->dx + (b * rows + r) * width;
            float *to = r == 0   ? a->dfirst + b * width
                        : r == 1 ? a->dsecond + b * width
                                 : a->drest + (b * a->rest_rows + r - 2) * width;
            memcpy(to, dx, width * sizeof *to);
            float *position = a->dposition + r * width;
            for (size_t i = 0; i < width; i++) position[i] += dx[i];
        }
}
bool model_cpu_concat_backward(struct model_backend *backend, const struct model_concat_backward *a,
                               struct proto_error *error) {
    (void)error;
    struct input_job job = {.cpu = (struct model_backend_cpu *)backend, .a = a};
    run(&job, concat_backward_task, a->batch * a->rest_rows * a->width);
    return true;
}

bool model_cpu_mask_rows(struct model_backend *backend, const struct model_mask_rows *a,
                         struct proto_error *error) {
    (void)backend, (void)error;
    for (size_t b = 0; b < a->batch; b++)
        for (size_t r = 0; r < a->rows; r++) {
            const size_t at = (b * a->rows + r) * a->width;
            for (size_t i = 0; i < a->width; i++)
                a->y[at + i] = a->x[at + i] * a->mask[b * a->width + i];
        }
    return true;
}

// ---- patches ----

#define BACKGROUND 127

// Output i of `to` covers [i, i + 1) * from / to of the source; its first and last source index.
struct cover {
    size_t first, last;
    double begin, end;
};
static struct cover cover_of(size_t i, size_t from, size_t to) {
    struct cover c;
    c.begin = (double)i * (double)from / (double)to;
    c.end = (double)(i + 1) * (double)from / (double)to;
    c.first = (size_t)c.begin;
    c.last = (size_t)ceil(c.end) - 1;
    if (c.last >= from) c.last = from - 1;
    return c;
}
static float weight_of(const struct cover *c, size_t at) {
    const double low = c->begin > (double)at ? c->begin : (double)at;
    const double high = c->end < (double)(at + 1) ? c->end : (double)(at + 1);
    return (float)((high - low) / (c->end - c->begin));
}

// One row of the resized square [side_out, 3] from image `i`, in 0..255.
static void resized_row(const struct input_job *job, size_t image, size_t y, float *line,
                        float *out) {
    const struct model_patches *a = job->a;
    const size_t side = a->height > a->width ? a->height : a->width;
    const size_t top = (side - a->height) / 2, left = (side - a->width) / 2;
    const size_t side_out = (size_t)a->grid * a->patch;
    const struct cover rows = cover_of(y, side, side_out);
    memset(line, 0, side * 3 * sizeof *line);
    for (size_t r = rows.first; r <= rows.last; r++) {
        const float weight = weight_of(&rows, r);
        if (r < top || r >= top + a->height) {
            for (size_t i = 0; i < side * 3; i++) line[i] += weight * BACKGROUND;
            continue;
        }
        const size_t row = a->flip_rows ? a->height - 1 - (r - top) : r - top;
        const uint8_t *pixels = a->pixels + (image * a->height + row) * a->width * 3;
        for (size_t i = 0; i < left * 3; i++) line[i] += weight * BACKGROUND;
        job->cpu->loops->add_pixels(line + left * 3, pixels, a->width * 3, weight);
        for (size_t i = (left + a->width) * 3; i < side * 3; i++) line[i] += weight * BACKGROUND;
    }
    for (size_t x = 0; x < side_out; x++) {
        const struct cover columns = cover_of(x, side, side_out);
        float sum[3] = {0};
        for (size_t c = columns.first; c <= columns.last; c++) {
            const float weight = weight_of(&columns, c);
            for (size_t channel = 0; channel < 3; channel++)
                sum[channel] += weight * line[c * 3 + channel];
        }
        memcpy(out + x * 3, sum, sizeof sum);
    }
}

// v, then sine and cosine of pi f v.
static void place_of(size_t index, size_t count, float *place) {
    static const double frequencies[] = {0.5, 1, 2, 4};
    const double v = (2.0 * (double)index + 1) / (double)count - 1;
    *place++ = (float)v;
    for (size_t f = 0; f < PROTO_COUNT(frequencies); f++) {
        *place++ = (float)sin(M_PI * frequencies[f] * v);
        *place++ = (float)cos(M_PI * frequencies[f] * v);
    }
}

static void patches_task(void *context, uint32_t thread, uint32_t threads) {
    const struct input_job *job = context;
    const struct model_patches *a = job->a;
    const size_t grid = a->grid, patch = a->patch, side_out = grid * patch;
    const size_t side = a->height > a->width ? a->height : a->width;
    const size_t token = 3 * patch * patch + MODEL_PATCH_PLACE;
    float *line = job->scratch + thread * job->each, *row = line + side * 3;
    const struct model_part part = model_part_of(a->images, 1, thread, threads);
    for (size_t image = part.begin; image < part.end; image++) {
        float *tokens = a->tokens + image * grid * grid * token;
        const bool seen = !a->mask || a->mask[image];
        for (size_t y = 0; y < side_out; y++) {
            for (size_t i = 0; !seen && i < side_out * 3; i++) row[i] = BACKGROUND;
            if (seen) resized_row(job, image, y, line, row);
            for (size_t x = 0; x < side_out; x++) {
                float *to = tokens + (y / patch * grid + x / patch) * token +
                            (y % patch * patch + x % patch) * 3;
                for (size_t c = 0; c < 3; c++)
                    to[c] = (row[x * 3 + c] / 255.0f - a->mean[c]) / a->deviation;
            }
        }
        for (size_t p = 0; p < grid * grid; p++) {
            float *place = tokens + p * token + 3 * patch * patch;
            place_of(p / grid, grid, place);
            place_of(p % grid, grid, place + MODEL_PATCH_PLACE / 2);
        }
    }
}
bool model_cpu_patches(struct model_backend *backend, const struct model_patches *a,
                       struct proto_error *error) {
    const size_t side = a->height > a->width ? a->height : a->width;
    struct input_job job = {.cpu = (struct model_backend_cpu *)backend,
                            .a = a,
                            .each = 3 * side + 3 * (size_t)a->grid * a->patch};
    job.scratch = model_backend_cpu_scratch(job.cpu, job.each, error);
    if (!job.scratch) return false;
    model_pool_run(job.cpu->pool, patches_task, &job);
    return true;
}
