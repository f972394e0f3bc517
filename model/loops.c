// model/loops.c - the CPU backend's loops but for attention: epilogues of products, norms, sums and
// the optimiser. Compiled once per instruction set (model/CMakeLists.txt); LOOPS names the table.
#include "model/loops.h"

#include "model/lanes.h"
#include "model/loops_set.h"

// ---- products ----

// Finishes or begins `n` columns vector by vector; `part` is the tail.
#define FOR_COLUMNS(n, body)                                                                       \
    do {                                                                                           \
        size_t j = 0;                                                                              \
        for (; j + LANES <= (n); j += LANES) {                                                     \
            const size_t part = LANES;                                                             \
            body;                                                                                  \
        }                                                                                          \
        if (j < (n)) {                                                                             \
            const size_t part = (n)-j;                                                             \
            body;                                                                                  \
        }                                                                                          \
    } while (0)
static inline vec get(const float *p, size_t part) {
    return part == LANES ? load(p) : load_part(p, part);
}
static inline void put(float *p, vec v, size_t part) {
    if (part == LANES)
        store(p, v);
    else
        store_part(p, v, part);
}

static void prefill(const struct model_gemm *a, size_t begin, size_t end) {
    for (size_t r = begin; r < end; r++) {
        float *d = a->d + r * a->d_stride;
        const float *c = a->c ? a->c + (a->c_rows ? r % a->c_rows : r) * a->c_stride : NULL;
        if (c && a->bias)
            FOR_COLUMNS(a->n, put(d + j, get(c + j, part) + get(a->bias + j, part), part));
        else
            memcpy(d, c ? c : a->bias, a->n * sizeof *d);
    }
}

// x sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x^3); derivative s + x s (1 - s) 2u'.
static inline vec gelu(vec x, vec *derivative) {
    const float c = 1.5957691216f;  // 2 sqrt(2 / pi)
    const vec square = x * x;
    const vec s = 1.0f / (1.0f + exp_of(-x * (c + c * 0.044715f * square)));
    *derivative = s + x * s * (1.0f - s) * (c + 3 * c * 0.044715f * square);
    return x * s;
}
static inline vec silu(vec x, vec *derivative) {
    const vec s = 1.0f / (1.0f + exp_of(-x));
    *derivative = s + x * s * (1.0f - s);
    return x * s;
}

static void activate(const struct model_gemm *a, size_t begin, size_t end) {
    for (size_t r = begin; r < end; r++) {
        float *d = a->d + r * a->d_stride, *aux = a->aux ? a->aux + r * a->n : NULL;
        if (a->activation >= MODEL_GELU_BACKWARD) {
            FOR_COLUMNS(a->n, put(d + j, get(d + j, part) * get(aux + j, part), part));
            continue;
        }
        const bool gelus = a->activation == MODEL_GELU;
        FOR_COLUMNS(a->n, {
            vec derivative;
            const vec x = get(d + j, part);
            put(d + j, gelus ? gelu(x, &derivative) : silu(x, &derivative), part);
            if (aux) put(aux + j, derivative, part);
        });
    }
}

// Partial sums of 64 rows keep the error of long sums small.
static void row_sums(const struct model_gemm *a, size_t begin, size_t end) {
    for (size_t first = 0; first < a->k; first += 64) {
        const size_t last = first + 64 < a->k ? first + 64 : a->k;
        const float *x = a->a + begin;
        float *sums = a->a_sums + begin;
        FOR_COLUMNS(end - begin, {
            vec s = all(0);
            for (size_t r = first; r < last; r++) s += get(x + r * a->a_stride + j, part);
            put(sums + j, get(sums + j, part) + s, part);
        });
    }
}

// ---- norms ----

static void norm(const struct model_norm *a, size_t begin, size_t end) {
    const size_t kept = a->group_rows - a->skip;
    for (size_t r = begin; r < end; r++) {
        const size_t group = r / a->group_rows, row = r % a->group_rows;
        if (row < a->skip) continue;
        const size_t to = group * kept + row - a->skip;
        const float *x = a->x + r * a->width;
        float mean = 0;
        const float scale = norm_scale(a->stat, a->epsilon, x, a->width, &mean);
        a->rows[2 * to] = mean;
        a->rows[2 * to + 1] = scale;
        norm_apply(x, a->gain, scale, a->width, a->y + to * a->width);
    }
}

static void norm_backward(const struct model_norm_backward *b, size_t begin, size_t end,
                          float *dgain) {
    const struct model_norm *a = &b->forward;
    const size_t kept = a->group_rows - a->skip;
    for (size_t r = begin; r < end; r++) {
        const size_t group = r / a->group_rows, row = r % a->group_rows;
        float *dx = b->dx + r * a->width;
        if (row < a->skip) {
            if (!b->add) memset(dx, 0, a->width * sizeof *dx);
            continue;
        }
        const size_t from = group * kept + row - a->skip;
        norm_back(a->stat, a->x + r * a->width, a->gain, b->dy + from * a->width, a->rows[2 * from],
                  a->rows[2 * from + 1], a->width, b->add, dx, dgain);
    }
}

// ---- sums and the optimiser ----

static void sum_batch(const struct model_sum_batch *a, size_t begin, size_t end) {
    float *y = a->y + begin;
    FOR_COLUMNS(end - begin, {
        vec s = all(0);
        for (size_t b = 0; b < a->batch; b++) s += get(a->x + b * a->n + begin + j, part);
        put(y + j, get(y + j, part) + s, part);
    });
}

static void adamw(const struct model_adamw *a, size_t begin, size_t end) {
    const float scale = (float)a->gradient_scale, keep = (float)(1 - a->rate * a->weight_decay);
    const float beta1 = (float)a->beta1, rest1 = (float)(1 - a->beta1);
    const float beta2 = (float)a->beta2, rest2 = (float)(1 - a->beta2);
    const float step = (float)(a->rate / a->correction1);
    const float root2 = (float)sqrt(a->correction2), epsilon = (float)a->epsilon;
    const float old = (float)a->ema_decay, now = (float)(1 - a->ema_decay);
    float *p = a->p + begin, *m = a->m + begin, *v = a->v + begin;
    float *ema = a->ema ? a->ema + begin : NULL;
    const float *g = a->g + begin;
    FOR_COLUMNS(end - begin, {
        const vec gradient = get(g + j, part) * scale;
        const vec first = get(m + j, part) * beta1 + gradient * rest1;
        const vec second = get(v + j, part) * beta2 + gradient * gradient * rest2;
        const vec change = first / (root_of(second) / root2 + epsilon) * step;
        const vec weight = get(p + j, part) * keep - change;
        put(m + j, first, part);
        put(v + j, second, part);
        put(p + j, weight, part);
        if (ema) put(ema + j, get(ema + j, part) * old + weight * now, part);
    });
}

static void axpby(const struct model_axpby *a, size_t begin, size_t end) {
    const float *x = a->x + begin;
    float *y = a->y + begin;
    if (a->b == 0) {
        FOR_COLUMNS(end - begin, put(y + j, get(x + j, part) * a->a, part));
        return;
    }
    FOR_COLUMNS(end - begin, put(y + j, get(x + j, part) * a->a + get(y + j, part) * a->b, part));
}

static void combine(const struct model_combine *a, size_t begin, size_t end) {
    const float *m0 = a->m0 + begin, *m1 = a->c1 != 0 ? a->m1 + begin : NULL;
    float *x = a->x + begin;
    FOR_COLUMNS(end - begin, {
        vec s = get(m0 + j, part) * a->c0;
        if (a->cx != 0) s += get(x + j, part) * a->cx;
        if (m1) s += get(m1 + j, part) * a->c1;
        put(x + j, s, part);
    });
}

// Sixteen double lanes per chunk; gcc turns the inner loop into vectors of the set.
static double chunk_total(const double lanes[SUM_LANES]) {
    double total = 0;
    for (int i = 0; i < SUM_LANES; i++) total += lanes[i];
    return total;
}

static void sum_squares(const struct model_sum_squares *a, size_t begin, size_t end, double *sums) {
    for (size_t chunk = begin; chunk < end; chunk++) {
        const size_t first = chunk * MODEL_CHUNK;
        const size_t n = a->n - first < MODEL_CHUNK ? a->n - first : MODEL_CHUNK;
        double lanes[SUM_LANES] = {0};
        const float *x = a->x + first;
        size_t i = 0;
        for (; i + SUM_LANES <= n; i += SUM_LANES)
            for (size_t l = 0; l < SUM_LANES; l++) lanes[l] += (double)x[i + l] * (double)x[i + l];
        for (size_t l = 0; i < n; i++, l++) lanes[l] += (double)x[i] * (double)x[i];
        sums[chunk] = chunk_total(lanes);
    }
}

static void mse(const struct model_mse *a, size_t begin, size_t end, double *sums) {
    const float slope = (float)(2.0 * (double)a->scale / (double)a->n);
    for (size_t chunk = begin; chunk < end; chunk++) {
        const size_t first = chunk * MODEL_CHUNK;
        const size_t n = a->n - first < MODEL_CHUNK ? a->n - first : MODEL_CHUNK;
        double lanes[SUM_LANES] = {0};
        const float *x = a->prediction + first, *t = a->target + first;
        float *g = a->gradient ? a->gradient + first : NULL;
        for (size_t i = 0; i < n; i++) {
            const float off = x[i] - t[i];
            lanes[i % SUM_LANES] += (double)off * (double)off;
            if (g) g[i] = off * slope;
        }
        sums[chunk] = chunk_total(lanes);
    }
}

static void add_pixels(float *line, const uint8_t *row, size_t n, float weight) {
    for (size_t i = 0; i < n; i++) line[i] += weight * (float)row[i];
}

#define LOOPS_TABLE(set) LOOPS_TABLE_OF(set)
#define LOOPS_TABLE_OF(set) model_loops_##set
const struct model_loops LOOPS_TABLE(LOOPS) = {
    .name = LOOPS_NAME,
    .prefill = prefill,
    .activate = activate,
    .row_sums = row_sums,
    .norm = norm,
    .norm_backward = norm_backward,
    .attention_scratch = LOOPS_FUNCTION(attention_scratch),
    .attention = LOOPS_FUNCTION(attention),
    .attention_backward = LOOPS_FUNCTION(attention_backward),
    .sum_batch = sum_batch,
    .adamw = adamw,
    .axpby = axpby,
    .combine = combine,
    .sum_squares = sum_squares,
    .mse = mse,
    .add_pixels = add_pixels,
};
