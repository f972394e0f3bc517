// model/loops_attention.c - multi-head attention with per-head norms of q and k, forward and
// backward, one (sample, head) at a time in cache. Compiled once per instruction set.
//
// Probabilities are kept transposed, P[key][query], queries padded to whole vectors: a softmax then
// runs down the keys with one query per lane, no sum crosses lanes, and every product of the
// forward and backward pass is a sum of (scalar times row) that `product` does without a transpose
// of k, v or their gradients. Padded queries are zero rows; nothing of them is ever written out.
#include "model/lanes.h"
#include "model/loops_set.h"

#include <assert.h>

#define ROWS 6         // of a tile; 6 x 2 vectors of sums fit 16 registers
#define ROWS_AHEAD 16  // fetched into the cache while this one is worked on
#define PADDED(n) (((n) + SUM_LANES - 1) / SUM_LANES * SUM_LANES)

// C[m][n] = sum over k of A(m, k) B[k][n], n in whole vectors; A(m, k) = a[m * am + k * ak].
struct product {
    size_t m, n, k;
    const float *a;
    size_t am, ak;
    const float *b;
    size_t b_stride;
    float *c;
    size_t c_stride;
};

static inline __attribute__((always_inline)) void tile(const struct product *p, size_t row,
                                                       size_t column, size_t rows, size_t vecs) {
    vec sums[ROWS][2] = {0};
    const float *a = p->a + row * p->am, *b = p->b + column;
    for (size_t k = 0; k < p->k; k++) {
        vec right[2];
        for (size_t v = 0; v < vecs; v++) right[v] = load(b + k * p->b_stride + v * LANES);
        for (size_t r = 0; r < rows; r++) {
            const float left = a[r * p->am + k * p->ak];
            for (size_t v = 0; v < vecs; v++) sums[r][v] += left * right[v];
        }
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < vecs; v++)
            store(p->c + (row + r) * p->c_stride + column + v * LANES, sums[r][v]);
}

static void product(const struct product *p) {
    for (size_t column = 0; column < p->n; column += 2 * LANES) {
        const bool two = column + 2 * LANES <= p->n;
        size_t row = 0;
        for (; row + ROWS <= p->m; row += ROWS)
            two ? tile(p, row, column, ROWS, 2) : tile(p, row, column, ROWS, 1);
        for (; row + 2 <= p->m; row += 2)
            two ? tile(p, row, column, 2, 2) : tile(p, row, column, 2, 1);
        if (row < p->m) two ? tile(p, row, column, 1, 2) : tile(p, row, column, 1, 1);
    }
}

// One (sample, head): its pointers, padded sizes and scratch.
struct head {
    const struct model_attention *a;
    size_t queries, keys, width;    // width of the head
    size_t queries_padded, padded;  // of queries and of width
    const float *q, *k, *v;
    size_t v_stride;
    const uint8_t *mask;
    float *qn, *kn, *vn;     // normalised q, k, and v when it must be padded
    float *turned;           // [width, queries_padded]: q or dy transposed
    float *wide;             // [queries, padded]
    float *tall;             // [keys, padded]
    float *dp;               // [keys, queries_padded]
    float *q_rows, *k_rows;  // mean and scale of each row
};

size_t LOOPS_FUNCTION(attention_scratch)(const struct model_attention *a) {
    const size_t padded = PADDED(a->head_width), queries = PADDED(a->queries);
    return 2 * a->queries * padded + 3 * a->keys * padded + a->head_width * queries +
           a->keys * queries + 2 * (a->queries + a->keys) + 3 * SUM_LANES;
}

static void begin_head(struct head *h, const struct model_attention *a, size_t item,
                       float *scratch) {
    const size_t sample = item / a->heads, column = item % a->heads * a->head_width;
    *h = (struct head){
        .a = a,
        .queries = a->queries,
        .keys = a->keys,
        .width = a->head_width,
        .queries_padded = PADDED(a->queries),
        .padded = PADDED(a->head_width),
        .q = a->q + sample * a->queries * a->q_stride + column,
        .k = a->k + sample * a->keys * a->kv_stride + column,
        .v = a->v + sample * a->keys * a->kv_stride + column,
        .v_stride = a->kv_stride,
        .mask = a->mask ? a->mask + sample * a->keys : NULL,
    };
    h->qn = scratch, scratch += h->queries * h->padded;
    h->wide = scratch, scratch += h->queries * h->padded;
    h->kn = scratch, scratch += h->keys * h->padded;
    h->vn = scratch, scratch += h->keys * h->padded;
    h->tall = scratch, scratch += h->keys * h->padded;
    h->turned = scratch, scratch += h->width * h->queries_padded;
    h->dp = scratch, scratch += h->keys * h->queries_padded;
    h->q_rows = scratch, scratch += 2 * h->queries;
    h->k_rows = scratch;
}

static inline void fetch(const float *row, size_t n) {
    for (size_t j = 0; j < n; j += 16) __builtin_prefetch(row + j);
}

static void norm_rows(const struct head *h, const float *x, size_t stride, size_t rows,
                      const float *gain, float *y, float *stats) {
    for (size_t r = 0; r < rows; r++) {
        float *to = y + r * h->padded;
        // a head is a narrow strip of wide rows, which no prefetcher of a processor follows
        if (r + ROWS_AHEAD < rows) fetch(x + (r + ROWS_AHEAD) * stride, h->width);
        stats[2 * r + 1] =
            norm_scale(h->a->stat, h->a->epsilon, x + r * stride, h->width, &stats[2 * r]);
        norm_apply(x + r * stride, gain, stats[2 * r + 1], h->width, to);
        for (size_t j = h->width; j < h->padded; j++) to[j] = 0;
    }
}

// turned[j][i] = scale * x[i][j], zero for padded queries.
static void turn(const struct head *h, const float *x, size_t stride, float scale) {
    for (size_t j = 0; j < h->width; j++) {
        float *to = h->turned + j * h->queries_padded;
        for (size_t i = 0; i < h->queries; i++) to[i] = x[i * stride + j] * scale;
        for (size_t i = h->queries; i < h->queries_padded; i++) to[i] = 0;
    }
}

// Normalised q and k, and v in whole vectors.
static void prepare(struct head *h) {
    const struct model_attention *a = h->a;
    norm_rows(h, h->q, a->q_stride, h->queries, a->q_gain, h->qn, h->q_rows);
    norm_rows(h, h->k, a->kv_stride, h->keys, a->k_gain, h->kn, h->k_rows);
    if (h->width == h->padded) return;
    for (size_t l = 0; l < h->keys; l++) {
        memcpy(h->vn + l * h->padded, h->v + l * a->kv_stride, h->width * sizeof *h->vn);
        memset(h->vn + l * h->padded + h->width, 0, (h->padded - h->width) * sizeof *h->vn);
    }
    h->v = h->vn;
    h->v_stride = h->padded;
}

static void softmax(const struct head *h, float *p) {
    for (size_t i = 0; i < h->queries_padded; i += LANES) {
        vec top = all(-INFINITY), sum = all(0);
        for (size_t l = 0; l < h->keys; l++)
            if (!h->mask || h->mask[l]) top = max_of(top, load(p + l * h->queries_padded + i));
        for (size_t l = 0; l < h->keys; l++) {
            float *at = p + l * h->queries_padded + i;
            const bool seen = !h->mask || h->mask[l];
            const vec e = seen ? exp_of(load(at) - top) : all(0);
            sum += e;
            store(at, e);
        }
        const vec inverse = 1.0f / sum;
        for (size_t l = 0; l < h->keys; l++) {
            float *at = p + l * h->queries_padded + i;
            store(at, load(at) * inverse);
        }
    }
}

void LOOPS_FUNCTION(attention)(const struct model_attention *a, size_t begin, size_t end,
                               float *scratch) {
    const float scale = 1.0f / sqrtf((float)a->head_width);
    for (size_t item = begin; item < end; item++) {
        struct head h;
        begin_head(&h, a, item, scratch);
        prepare(&h);
        turn(&h, h.qn, h.padded, scale);
        float *p = a->saved ? a->saved + item * h.keys * h.queries_padded : h.dp;
        product(&(struct product){h.keys, h.queries_padded, h.width, h.kn, h.padded, 1, h.turned,
                                  h.queries_padded, p, h.queries_padded});
        softmax(&h, p);
        // y = P^T v
        const bool direct = h.width == h.padded;
        const size_t y_stride = a->heads * a->head_width;
        float *y = a->y + item / a->heads * a->queries * y_stride + item % a->heads * h.width;
        product(&(struct product){h.queries, h.padded, h.keys, p, 1, h.queries_padded, h.v,
                                  h.v_stride, direct ? y : h.wide, direct ? y_stride : h.padded});
        for (size_t i = 0; !direct && i < h.queries; i++)
            memcpy(y + i * y_stride, h.wide + i * h.padded, h.width * sizeof *y);
    }
}

// Rows of gradients of a normalised head back to the raw rows.
static void back_rows(const struct head *h, const float *x, size_t stride, size_t rows,
                      const float *gain, const float *dy, const float *stats, float *dx,
                      float *dgain) {
    for (size_t r = 0; r < rows; r++)
        norm_back(h->a->stat, x + r * stride, gain, dy + r * h->padded, stats[2 * r],
                  stats[2 * r + 1], h->width, false, dx + r * stride, dgain);
}

// dp = p (dp - sum over keys of p dp) scale: the softmax's backward.
static void softmax_backward(const struct head *h, const float *p, float *dp, float scale) {
    for (size_t i = 0; i < h->queries_padded; i += LANES) {
        vec sum = all(0);
        for (size_t at = i; at < h->keys * h->queries_padded; at += h->queries_padded)
            sum += load(p + at) * load(dp + at);
        for (size_t at = i; at < h->keys * h->queries_padded; at += h->queries_padded)
            store(dp + at, load(p + at) * (load(dp + at) - sum) * scale);
    }
}

void LOOPS_FUNCTION(attention_backward)(const struct model_attention_backward *b, size_t begin,
                                        size_t end, float *scratch, float *gains) {
    const struct model_attention *a = &b->forward;
    const float scale = 1.0f / sqrtf((float)a->head_width);
    assert(a->saved);
    for (size_t item = begin; item < end; item++) {
        struct head h;
        begin_head(&h, a, item, scratch);
        const float *q = h.q, *k = h.k;
        prepare(&h);
        const size_t sample = item / a->heads, column = item % a->heads * h.width;
        const size_t y_stride = a->heads * h.width, nq = h.queries_padded;
        const float *p = a->saved + item * h.keys * nq;
        const float *dy = b->dy + sample * a->queries * y_stride + column;
        float *dv = b->dv + sample * a->keys * a->kv_stride + column;
        const bool direct = h.width == h.padded;
        // dP = v dy^T
        turn(&h, dy, y_stride, 1);
        product(&(struct product){h.keys, nq, h.width, h.v, h.v_stride, 1, h.turned, nq, h.dp, nq});
        // dv = P dy
        size_t dy_stride = y_stride;
        if (!direct) {
            for (size_t i = 0; i < h.queries; i++) {
                memcpy(h.wide + i * h.padded, dy + i * y_stride, h.width * sizeof *dy);
                memset(h.wide + i * h.padded + h.width, 0, (h.padded - h.width) * sizeof *dy);
            }
            dy = h.wide;
            dy_stride = h.padded;
        }
        product(&(struct product){h.keys, h.padded, h.queries, p, nq, 1, dy, dy_stride,
                                  direct ? dv : h.tall, direct ? a->kv_stride : h.padded});
        for (size_t l = 0; !direct && l < h.keys; l++)
            memcpy(dv + l * a->kv_stride, h.tall + l * h.padded, h.width * sizeof *dv);
        softmax_backward(&h, p, h.dp, scale);
        // dk = dS q, dq = dS^T k, both through their norms
        product(&(struct product){h.keys, h.padded, h.queries, h.dp, nq, 1, h.qn, h.padded, h.tall,
                                  h.padded});
        back_rows(&h, k, a->kv_stride, h.keys, a->k_gain, h.tall, h.k_rows,
                  b->dk + sample * a->keys * a->kv_stride + column, gains + h.width);
        product(&(struct product){h.queries, h.padded, h.keys, h.dp, 1, nq, h.kn, h.padded, h.wide,
                                  h.padded});
        back_rows(&h, q, a->q_stride, h.queries, a->q_gain, h.wide, h.q_rows,
                  b->dq + sample * a->queries * a->q_stride + column, gains);
    }
}
