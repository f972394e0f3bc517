// tests/model/attention_test.c - attention with norms of q and k against a plain double version,
// its gradients against central differences of that version. Tolerances: probabilities and norms
// are sums of up to 75 fp32 terms, results about 1: 3e-6; differences of step 1e-4 in double leave
// a third-order term of about 1e-7 on slopes of about 1.
#include "tests/model/device.h"

struct shape {
    size_t batch, heads, queries, keys, width;
};
static const struct shape shapes[] = {
    {1, 1, 1, 1, 2}, {2, 3, 5, 7, 4}, {1, 2, 11, 19, 16}, {2, 2, 3, 9, 17}, {1, 2, 17, 75, 32},
};

// One sample's inputs in double, packed: q, k, v, gains.
struct plain {
    struct shape s;
    enum model_norm_stat stat;
    double *q, *k, *v, *q_gain, *k_gain;
    const uint8_t *mask;
};

static void norm_row(const struct plain *p, const double *x, const double *gain, double *y) {
    const size_t n = p->s.width;
    double mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) mean += x[i] / (double)n;
    if (p->stat == MODEL_MEAN_SQUARE) mean = 0;
    for (size_t i = 0; i < n; i++) square += (x[i] - mean) * (x[i] - mean);
    const double scale = 1 / sqrt(square / (double)(p->stat == MODEL_VARIANCE ? n - 1 : n) + 1e-2);
    for (size_t i = 0; i < n; i++) y[i] = x[i] * gain[i] * scale;
}

// y [batch, queries, heads * width].
static void plain_forward(const struct plain *p, double *y) {
    const struct shape *s = &p->s;
    const size_t row = s->heads * s->width;
    for (size_t b = 0; b < s->batch; b++)
        for (size_t h = 0; h < s->heads; h++)
            for (size_t i = 0; i < s->queries; i++) {
                double q[64], k[64], e[128], sum = 0;
                norm_row(p, p->q + (b * s->queries + i) * row + h * s->width, p->q_gain, q);
                for (size_t l = 0; l < s->keys; l++) {
                    norm_row(p, p->k + (b * s->keys + l) * row + h * s->width, p->k_gain, k);
                    double dot = 0;
                    for (size_t d = 0; d < s->width; d++) dot += q[d] * k[d];
                    const bool seen = !p->mask || p->mask[b * s->keys + l];
                    e[l] = seen ? exp(dot / sqrt((double)s->width)) : 0;
                    sum += e[l];
                }
                for (size_t d = 0; d < s->width; d++) {
                    double out = 0;
                    for (size_t l = 0; l < s->keys; l++)
                        out += e[l] / sum * p->v[(b * s->keys + l) * row + h * s->width + d];
                    y[(b * s->queries + i) * row + h * s->width + d] = out;
                }
            }
}
static double objective(const struct plain *p, const float *dy, double *y) {
    const size_t n = p->s.batch * p->s.queries * p->s.heads * p->s.width;
    double sum = 0;
    plain_forward(p, y);
    for (size_t i = 0; i < n; i++) sum += y[i] * (double)dy[i];
    return sum;
}
static double slope(const struct plain *p, const float *dy, double *at, double *y) {
    const double was = *at;
    *at = was + 1e-4;
    const double high = objective(p, dy, y);
    *at = was - 1e-4;
    const double low = objective(p, dy, y);
    *at = was;
    return (high - low) / 2e-4;
}

static double *widened(const float *x, size_t n) {
    double *wide = malloc(n * sizeof *wide);
    CHECK(wide);
    for (size_t i = 0; i < n; i++) wide[i] = x[i];
    return wide;
}

// q in rows of q_stride, k and v side by side in rows of kv_stride, as the network has them.
struct fixture {
    float *q, *kv, *q_gain, *k_gain, *dy;
    size_t row, q_stride, kv_stride, q_count, kv_count, y_count;
    uint8_t *mask;
};
static struct fixture fixture_of(struct shape s) {
    struct fixture f = {.row = s.heads * s.width};
    f.q_stride = f.row + 3;
    f.kv_stride = 2 * f.row + 5;
    f.q_count = s.batch * s.queries * f.q_stride;
    f.kv_count = s.batch * s.keys * f.kv_stride;
    f.y_count = s.batch * s.queries * f.row;
    f.q = device_host(f.q_count, 1);
    f.kv = device_host(f.kv_count, 2);
    f.q_gain = device_host(s.width, 3);
    f.k_gain = device_host(s.width, 4);
    f.dy = device_host(f.y_count, 5);
    f.mask = malloc(s.batch * s.keys);
    CHECK(f.mask);
    // the first key of a sample is seen, every third of the rest is not
    for (size_t i = 0; i < s.batch * s.keys; i++) f.mask[i] = i % s.keys == 0 || i % 3 != 1;
    return f;
}
static void fixture_free(struct fixture *f) {
    float *const hosts[] = {f->q, f->kv, f->q_gain, f->k_gain, f->dy};
    for (size_t i = 0; i < PROTO_COUNT(hosts); i++) free(hosts[i]);
    free(f->mask);
}
static struct plain plain_of(struct shape s, const struct fixture *f, enum model_norm_stat stat,
                             bool masked) {
    struct plain p = {.s = s, .stat = stat, .mask = masked ? f->mask : NULL};
    const size_t queries = s.batch * s.queries, keys = s.batch * s.keys;
    p.q = malloc(queries * f->row * sizeof *p.q);
    p.k = malloc(keys * f->row * sizeof *p.k);
    p.v = malloc(keys * f->row * sizeof *p.v);
    CHECK(p.q && p.k && p.v);
    for (size_t r = 0; r < queries; r++)
        for (size_t i = 0; i < f->row; i++) p.q[r * f->row + i] = f->q[r * f->q_stride + i];
    for (size_t r = 0; r < keys; r++)
        for (size_t i = 0; i < f->row; i++) {
            p.k[r * f->row + i] = f->kv[r * f->kv_stride + i];
            p.v[r * f->row + i] = f->kv[r * f->kv_stride + f->row + i];
        }
    p.q_gain = widened(f->q_gain, s.width);
    p.k_gain = widened(f->k_gain, s.width);
    return p;
}
static void plain_free(struct plain *p) {
    free(p->q), free(p->k), free(p->v), free(p->q_gain), free(p->k_gain);
}

static void try_shape(struct model_backend *backend, struct shape s, enum model_norm_stat stat,
                      bool masked) {
    struct proto_error error = {0};
    struct fixture f = fixture_of(s);
    struct plain p = plain_of(s, &f, stat, masked);
    const size_t saved =
        model_attention_saved(backend, s.batch, s.heads, s.queries, s.keys, s.width);
    float *kv = device_floats(backend, f.kv, f.kv_count);
    uint8_t *mask = device_copy(backend, f.mask, s.batch * s.keys);
    struct model_attention a = {.stat = stat,
                                .epsilon = 1e-2f,
                                .batch = s.batch,
                                .heads = s.heads,
                                .queries = s.queries,
                                .keys = s.keys,
                                .head_width = s.width,
                                .q = device_floats(backend, f.q, f.q_count),
                                .k = kv,
                                .v = kv + f.row,
                                .q_stride = f.q_stride,
                                .kv_stride = f.kv_stride,
                                .q_gain = device_floats(backend, f.q_gain, s.width),
                                .k_gain = device_floats(backend, f.k_gain, s.width),
                                .mask = masked ? mask : NULL,
                                .y = device_floats(backend, NULL, f.y_count),
                                .saved = device_floats(backend, NULL, saved)};
    CHECK_OK(model_attention(backend, &a, &error), error);
    float *dkv = device_floats(backend, f.kv, f.kv_count);
    struct model_attention_backward b = {.forward = a,
                                         .dy = device_floats(backend, f.dy, f.y_count),
                                         .dq = device_floats(backend, f.q, f.q_count),
                                         .dk = dkv,
                                         .dv = dkv + f.row,
                                         .dq_gain = device_floats(backend, f.q_gain, s.width),
                                         .dk_gain = device_floats(backend, f.k_gain, s.width)};
    CHECK_OK(model_attention_backward(backend, &b, &error), error);
    double *expected = malloc(f.y_count * sizeof *expected);
    CHECK(expected);
    float *y = device_back(backend, a.y, f.y_count), *dq = device_back(backend, b.dq, f.q_count);
    float *dkv_host = device_back(backend, dkv, f.kv_count);
    float *dq_gain = device_back(backend, b.dq_gain, s.width);
    float *dk_gain = device_back(backend, b.dk_gain, s.width);
    plain_forward(&p, expected);
    for (size_t i = 0; i < f.y_count; i++) CHECK_NEAR(y[i], expected[i], 3e-6);
    // some fifty gradients of each array: differences are slow
    const size_t q_all = s.batch * s.queries * f.row, k_all = s.batch * s.keys * f.row;
    for (size_t i = 0; i < q_all; i += q_all / 50 + 1) {
        const double d = slope(&p, f.dy, &p.q[i], expected);
        CHECK_NEAR(dq[i / f.row * f.q_stride + i % f.row], d, 1e-5 * fmax(1, fabs(d)));
    }
    for (size_t i = 0; i < k_all; i += k_all / 50 + 1) {
        const float *row = dkv_host + i / f.row * f.kv_stride;
        double d = slope(&p, f.dy, &p.k[i], expected);
        CHECK_NEAR(row[i % f.row], d, 1e-5 * fmax(1, fabs(d)));
        d = slope(&p, f.dy, &p.v[i], expected);
        CHECK_NEAR(row[f.row + i % f.row], d, 1e-5 * fmax(1, fabs(d)));
        if (masked && !f.mask[i / f.row]) {
            CHECK(row[i % f.row] == 0 && row[f.row + i % f.row] == 0);
        }
    }
    for (size_t i = 0; i < s.width; i++) {
        const double q = slope(&p, f.dy, &p.q_gain[i], expected);
        const double k = slope(&p, f.dy, &p.k_gain[i], expected);
        CHECK_NEAR(dq_gain[i], f.q_gain[i] + q, 1e-5 * fmax(1, fabs(q)));
        CHECK_NEAR(dk_gain[i], f.k_gain[i] + k, 1e-5 * fmax(1, fabs(k)));
    }
    // columns between the rows are nobody's
    for (size_t r = 0; r < s.batch * s.queries; r++)
        for (size_t i = f.row; i < f.q_stride; i++)
            CHECK(dq[r * f.q_stride + i] == f.q[r * f.q_stride + i]);
    const float *const devices[] = {a.q, kv,   a.q_gain, a.k_gain,  a.y,      a.saved,
                                    dkv, b.dy, b.dq,     b.dq_gain, b.dk_gain};
    for (size_t i = 0; i < PROTO_COUNT(devices); i++)
        model_backend_free(backend, (void *)(uintptr_t)devices[i]);
    model_backend_free(backend, mask);
    float *const hosts[] = {y, dq, dkv_host, dq_gain, dk_gain};
    for (size_t i = 0; i < PROTO_COUNT(hosts); i++) free(hosts[i]);
    free(expected);
    plain_free(&p);
    fixture_free(&f);
}

TEST(attention_and_its_gradients_are_the_formula) {
    FOR_EACH_SET(2, {
        for (size_t i = 0; i < PROTO_COUNT(shapes); i++)
            for (int masked = 0; masked < 2; masked++)
                try_shape(backend, shapes[i], i % 2 ? MODEL_MEAN_SQUARE : MODEL_VARIANCE, masked);
    });
}

// A key that is not attended may hold anything: the result does not change by a bit.
TEST(attention_does_not_see_masked_keys) {
    struct proto_error error = {0};
    const struct shape s = {2, 2, 5, 9, 8};
    FOR_EACH_SET(1, {
        struct fixture f = fixture_of(s);
        float *results[2];
        for (int round = 0; round < 2; round++) {
            for (size_t l = 0; round == 1 && l < s.batch * s.keys; l++)
                for (size_t i = 0; !f.mask[l] && i < 2 * f.row; i++)
                    f.kv[l * f.kv_stride + i] = 1e6f;
            float *kv = device_floats(backend, f.kv, f.kv_count);
            float *q = device_floats(backend, f.q, f.q_count);
            float *gain = device_floats(backend, f.q_gain, s.width);
            float *y = device_floats(backend, NULL, f.y_count);
            uint8_t *mask = device_copy(backend, f.mask, s.batch * s.keys);
            const struct model_attention a = {.epsilon = 1e-6f,
                                              .batch = s.batch,
                                              .heads = s.heads,
                                              .queries = s.queries,
                                              .keys = s.keys,
                                              .head_width = s.width,
                                              .q = q,
                                              .k = kv,
                                              .v = kv + f.row,
                                              .q_stride = f.q_stride,
                                              .kv_stride = f.kv_stride,
                                              .q_gain = gain,
                                              .k_gain = gain,
                                              .mask = mask,
                                              .y = y};
            CHECK_OK(model_attention(backend, &a, &error), error);
            results[round] = device_back(backend, y, f.y_count);
            void *const devices[] = {kv, q, gain, y, mask};
            for (size_t i = 0; i < PROTO_COUNT(devices); i++)
                model_backend_free(backend, devices[i]);
        }
        CHECK(memcmp(results[0], results[1], f.y_count * sizeof(float)) == 0);
        free(results[0]);
        free(results[1]);
        fixture_free(&f);
    });
}

TEST_MAIN(UNIT(attention_and_its_gradients_are_the_formula),
          UNIT(attention_does_not_see_masked_keys))
