// tests/gpusim/kernels_test.c - every kernel of the GPU against its twin of the CPU backend, whose
// own tests hold it to formulas in double and to finite differences; norms and the softmax against
// their formulas in double too. Shapes are odd ones, and the widths of the real network with few
// rows. Tolerances: both sides sum fp32 terms of size about 1 in different orders, so results of
// size y differ by a few times 6e-8 * max(1, y) * sqrt(terms); each case says its limit.
#include "tests/gpusim/kernels_world.h"

// ---- norms ----

static void norm_case(enum model_norm_stat stat, size_t groups, size_t rows, size_t skip,
                      size_t width, bool add) {
    const size_t all = groups * rows, kept = groups * (rows - skip);
    struct pair x = given(all * width, 1), gain = given(width, 2), y = pair_of(kept * width);
    struct pair stats = pair_of(kept * 2), dy = given(kept * width, 3), dx = given(all * width, 4);
    struct pair dgain = given(width, 5);
    struct model_norm a = {stat,  1e-3f, groups,   rows,  skip,
                           width, x.cpu, gain.cpu, y.cpu, stats.cpu};
    struct model_norm_backward b = {a, dy.cpu, dx.cpu, add, dgain.cpu};
    ON_CPU(norm, a);
    ON_CPU(norm_backward, b);
    a.x = x.gpu, a.gain = gain.gpu, a.y = y.gpu, a.rows = stats.gpu;
    b = (struct model_norm_backward){a, dy.gpu, dx.gpu, add, dgain.gpu};
    model_kernel_norm(NULL, &a);
    float *partial = scratch(model_kernel_norm_backward_partial(&b) * sizeof(float));
    model_kernel_norm_backward(NULL, &b, partial);
    check_near(y, 1e-6);
    check_near(stats, 1e-6);
    check_near(dx, 3e-6);
    check_near(dgain, 1e-5);
    // the formula itself, in double
    for (size_t r = 0; r < kept; r++) {
        const float *row = x.cpu + (r / (rows - skip) * rows + skip + r % (rows - skip)) * width;
        double mean = 0, square = 0;
        for (size_t i = 0; i < width; i++) mean += row[i] / (double)width;
        if (stat == MODEL_MEAN_SQUARE) mean = 0;
        for (size_t i = 0; i < width; i++) square += (row[i] - mean) * (row[i] - mean);
        const double v = square / (double)(stat == MODEL_VARIANCE ? width - 1 : width);
        for (size_t i = 0; i < width; i++) {
            const double expected = (double)gain.cpu[i] * row[i] / sqrt(v + 1e-3);
            CHECK_NEAR(y.gpu[r * width + i], expected, 1e-6 * fmax(1, fabs(expected)));
        }
    }
    done();
}
TEST(kernels_norm_is_the_twin) {
    norm_case(MODEL_VARIANCE, 1, 3, 1, 17, true);
    if (BRIEF) return;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        gpusim_seed(seed);
        norm_case(MODEL_VARIANCE, 3, 5, 0, 17, true);
        norm_case(MODEL_VARIANCE, 2, 4, 2, 2, false);
        norm_case(MODEL_MEAN_SQUARE, 1, 3, 1, 300, false);
    }
    norm_case(MODEL_VARIANCE, 1, 3, 0, 2048, true);
    norm_case(MODEL_VARIANCE, 150, 2, 0, 3, false);  // more rows than partial sums
}

// ---- attention ----

// c [items, m, n] = op(a) op(b): a product between kernels, in double.
static void product(size_t items, size_t m, size_t n, size_t k, const float *a, bool turn_a,
                    const float *b, bool turn_b, float *c) {
    for (size_t item = 0; item < items; item++, a += m * k, b += k * n, c += m * n)
        for (size_t i = 0; i < m; i++)
            for (size_t j = 0; j < n; j++) {
                double sum = 0;
                for (size_t l = 0; l < k; l++)
                    sum += (double)a[turn_a ? l * m + i : i * k + l] *
                           (double)b[turn_b ? j * k + l : l * n + j];
                c[i * n + j] = (float)sum;
            }
}

struct attention_shape {
    size_t batch, heads, queries, keys, width;
};
static struct model_kernel_heads heads_of(const struct model_attention *a, size_t rows,
                                          size_t stride, const float *x, const float *gain,
                                          float *y) {
    float *stats = gain ? scratch(a->batch * a->heads * rows * 2 * sizeof(float)) : NULL;
    return (struct model_kernel_heads){.stat = a->stat,
                                       .epsilon = a->epsilon,
                                       .batch = a->batch,
                                       .heads = a->heads,
                                       .rows = rows,
                                       .width = a->head_width,
                                       .x = x,
                                       .stride = stride,
                                       .gain = gain,
                                       .y = y,
                                       .stats = stats};
}
static float *split(const struct model_kernel_heads *heads) {
    model_kernel_heads(NULL, heads);
    return heads->y;
}
static void join(const struct model_kernel_heads *forward, const float *dy, float *dx,
                 float *dgain) {
    const struct model_kernel_heads_backward b = {*forward, dy, dx, dgain};
    const size_t bytes = model_kernel_heads_backward_partial(&b) * sizeof(float);
    model_kernel_heads_backward(NULL, &b, bytes > 0 ? scratch(bytes) : NULL);
}

// The forward and backward pass of attention, from kernels and the products between them.
static void attention_of_kernels(const struct model_attention *a,
                                 const struct model_attention_backward *b) {
    const size_t items = a->batch * a->heads, w = a->head_width, nq = a->queries, nk = a->keys;
    const size_t q_bytes = items * nq * w * sizeof(float), k_bytes = items * nk * w * sizeof(float);
    const size_t p_bytes = items * nq * nk * sizeof(float);
    const struct model_kernel_heads q =
        heads_of(a, nq, a->q_stride, a->q, a->q_gain, scratch(q_bytes));
    const struct model_kernel_heads k =
        heads_of(a, nk, a->kv_stride, a->k, a->k_gain, scratch(k_bytes));
    const struct model_kernel_heads v = heads_of(a, nk, a->kv_stride, a->v, NULL, scratch(k_bytes));
    const struct model_kernel_heads y =
        heads_of(a, nq, a->heads * w, b->dy, NULL, scratch(q_bytes));
    float *qn = split(&q), *kn = split(&k), *vn = split(&v), *dy = split(&y);
    float *p = scratch(p_bytes), *dp = scratch(p_bytes);
    float *wide = scratch(q_bytes), *tall = scratch(k_bytes);
    struct model_kernel_softmax s = {.batch = a->batch,
                                     .heads = a->heads,
                                     .queries = nq,
                                     .keys = nk,
                                     .stride = nk,
                                     .scale = 1.0f / sqrtf((float)w),
                                     .mask = a->mask,
                                     .p = p,
                                     .dp = dp,
                                     .stats = scratch(items * nq * 2 * sizeof(float))};
    product(items, nq, nk, w, qn, false, kn, true, p);
    model_kernel_softmax(NULL, &s);
    product(items, nq, w, nk, p, false, vn, false, wide);
    join(&y, wide, a->y, NULL);
    // the way back makes p again
    memset(p, -1, p_bytes);
    product(items, nq, nk, w, qn, false, kn, true, p);
    s.again = true;
    model_kernel_softmax(NULL, &s);
    product(items, nk, w, nq, p, true, dy, false, tall);
    join(&v, tall, b->dv, NULL);
    product(items, nq, nk, w, dy, false, vn, true, dp);
    model_kernel_softmax_backward(NULL, &s);
    product(items, nk, w, nq, dp, true, qn, false, tall);
    join(&k, tall, b->dk, b->dk_gain);
    product(items, nq, w, nk, dp, false, kn, false, wide);
    join(&q, wide, b->dq, b->dq_gain);
}

static void attention_case(struct attention_shape s, bool masked) {
    const size_t row = s.heads * s.width, q_stride = row + 3, kv_stride = 2 * row + 1;
    const size_t queries = s.batch * s.queries, keys = s.batch * s.keys;
    struct pair q = given(queries * q_stride, 1), kv = given(keys * kv_stride, 2);
    struct pair q_gain = given(s.width, 3), k_gain = given(s.width, 4), y = pair_of(queries * row);
    struct pair dy = given(queries * row, 5), dq = given(queries * q_stride, 6);
    struct pair dkv = given(keys * kv_stride, 7), dq_gain = given(s.width, 8);
    struct pair dk_gain = given(s.width, 9);
    uint8_t *mask = gpusim_alloc(keys);
    CHECK(mask);
    for (size_t i = 0; i < keys; i++) mask[i] = i % s.keys == 0 || i % 3 != 1;
    struct model_attention a = {
        MODEL_VARIANCE, 1e-2f,     s.batch,    s.heads,    s.queries,
        s.keys,         s.width,   q.cpu,      kv.cpu,     kv.cpu + row,
        q_stride,       kv_stride, q_gain.cpu, k_gain.cpu, masked ? mask : NULL,
        y.cpu,          NULL};
    a.saved = calloc(model_attention_saved(cpu, s.batch, s.heads, s.queries, s.keys, s.width),
                     sizeof *a.saved);
    CHECK(a.saved);
    struct model_attention_backward b = {a,           dy.cpu,     dq.cpu, dkv.cpu, dkv.cpu + row,
                                         dq_gain.cpu, dk_gain.cpu};
    ON_CPU(attention, a);
    ON_CPU(attention_backward, b);
    free(a.saved);
    a.q = q.gpu, a.k = kv.gpu, a.v = kv.gpu + row, a.q_gain = q_gain.gpu, a.k_gain = k_gain.gpu;
    a.y = y.gpu;
    b = (struct model_attention_backward){a,           dy.gpu,     dq.gpu, dkv.gpu, dkv.gpu + row,
                                          dq_gain.gpu, dk_gain.gpu};
    attention_of_kernels(&a, &b);
    check_near(y, 3e-6);
    check_near(dq, 5e-6);
    check_near(dkv, 5e-6);
    check_near(dq_gain, 2e-5);
    check_near(dk_gain, 2e-5);
    gpusim_free(mask);
    done();
}
TEST(kernels_attention_is_the_twin) {
    attention_case((struct attention_shape){1, 1, 2, 301, 33}, true);  // rows of whole blocks
    attention_case((struct attention_shape){2, 1, 3, 2, 4}, true);
    if (BRIEF) return;
    for (uint64_t seed = 1; seed <= 2; seed++) {
        gpusim_seed(seed);
        attention_case((struct attention_shape){2, 3, 5, 7, 4}, true);
        attention_case((struct attention_shape){1, 2, 11, 19, 17}, false);
    }
}
TEST(kernels_attention_has_the_real_widths) {
    if (BRIEF) skip();
    attention_case((struct attention_shape){1, 32, 67, 67, 64}, false);
    attention_case((struct attention_shape){1, 32, 67, 20, 64}, true);
}

TEST(kernels_softmax_is_the_formula_and_clears_its_padding) {
    const size_t keys[] = {1, 7, 256, 257, 4374};
    for (size_t c = 0; c < PROTO_COUNT(keys); c++) {
        const size_t n = keys[c], stride = (n + 8) / 8 * 8, rows = 3;
        struct pair p = given(rows * stride, 1);
        for (size_t i = 0; i < rows * stride; i++) p.cpu[i] *= 40, p.gpu[i] *= 40;
        const struct model_kernel_softmax a = {.batch = 1,
                                               .heads = 1,
                                               .queries = rows,
                                               .keys = n,
                                               .stride = stride,
                                               .scale = 0.5f,
                                               .p = p.gpu};
        model_kernel_softmax(NULL, &a);
        for (size_t r = 0; r < rows; r++) {
            double top = -INFINITY, sum = 0;
            for (size_t l = 0; l < n; l++) top = fmax(top, 0.5 * (double)p.cpu[r * stride + l]);
            for (size_t l = 0; l < n; l++) sum += exp(0.5 * (double)p.cpu[r * stride + l] - top);
            for (size_t l = 0; l < stride; l++) {
                const double expected =
                    l < n ? exp(0.5 * (double)p.cpu[r * stride + l] - top) / sum : 0;
                // differences of scores up to 40 are rounded by up to 4e-6 before exp
                CHECK_NEAR(p.gpu[r * stride + l], expected, 6e-6 * expected);
            }
        }
        done();
    }
}

// ---- sums ----

static void sums_case(size_t n) {
    struct pair x = given(n, 1), t = given(n, 2), g = pair_of(n);
    double expected[2] = {0}, *found = scratch(2 * sizeof(double));
    double *partial = scratch(model_kernel_sums_partial(n) * sizeof(double));
    ON_CPU(sum_squares, {n, x.cpu, &expected[0]});
    ON_CPU(mse, {n, x.cpu, t.cpu, 0.25f, g.cpu, &expected[1]});
    const struct model_sum_squares squares = {n, x.gpu, &found[0]};
    const struct model_mse mse = {n, x.gpu, t.gpu, 0.25f, g.gpu, &found[1]};
    model_kernel_sum_squares(NULL, &squares, partial);
    model_kernel_mse(NULL, &mse, partial);
    // both sides sum in double
    for (int i = 0; i < 2; i++) CHECK_NEAR(found[i], expected[i], 1e-12 * expected[i]);
    check_near(g, 1e-9);
    done();
}
TEST(kernels_sums_are_the_twins) {
    sums_case(1);
    sums_case(4096);
    sums_case(3 * 4096 + 77);
    if (!BRIEF) sums_case(300 * 4096);  // more partial sums than threads
}

TEST(kernels_row_sums_are_the_twin_whatever_the_height) {
    const size_t shapes[][2] = {{1, 1}, {70, 5}, {64, 300}, {17000, 3}};  // rows, columns
    for (size_t c = 0; c < (BRIEF ? 2 : PROTO_COUNT(shapes)); c++) {
        const size_t k = shapes[c][0], m = shapes[c][1], stride = m + 2;
        struct pair x = given(k * stride, 1), sums = given(m, 2);
        struct model_gemm a = {.m = m, .k = k, .a = x.gpu, .a_stride = stride, .a_sums = sums.gpu};
        model_kernel_row_sums(NULL, &a, scratch(model_kernel_row_sums_partial(&a) * sizeof(float)));
        for (size_t j = 0; j < m; j++) {
            double sum = sums.cpu[j];
            for (size_t r = 0; r < k; r++) sum += x.cpu[r * stride + j];
            CHECK_NEAR(sums.gpu[j], sum, 6e-8 * sqrt((double)k) * 4 * fmax(1, fabs(sum)));
        }
        done();
    }
}

// ---- order ----

// Sums whose bits would differ if an order of threads or blocks entered them.
static void sums_of(float *dgain, double *squares, uint64_t seed) {
    const size_t rows = 40, width = 70, n = 3 * 4096 + 5;
    struct pair x = given(rows * width, 1), gain = given(width, 2), dy = given(rows * width, 3);
    struct pair stats = given(rows * 2, 4), dx = pair_of(rows * width), sum = pair_of(width);
    struct pair many = given(n, 5);
    memset(sum.gpu, 0, width * sizeof *sum.gpu);
    gpusim_seed(seed);
    const struct model_norm_backward b = {
        {MODEL_VARIANCE, 1e-3f, 1, rows, 0, width, x.gpu, gain.gpu, NULL, stats.gpu},
        dy.gpu,
        dx.gpu,
        false,
        sum.gpu};
    model_kernel_norm_backward(NULL, &b,
                               scratch(model_kernel_norm_backward_partial(&b) * sizeof(float)));
    double *total = scratch(sizeof *total);
    const struct model_sum_squares s = {n, many.gpu, total};
    model_kernel_sum_squares(NULL, &s, scratch(model_kernel_sums_partial(n) * sizeof(double)));
    memcpy(dgain, sum.gpu, width * sizeof *dgain);
    *squares = *total;
    done();
}
TEST(kernels_give_the_same_bits_in_every_order) {
    if (BRIEF) skip();
    float first[70], other[70];
    double first_total = 0, other_total = 0;
    sums_of(first, &first_total, 1);
    for (uint64_t seed = 2; seed <= 6; seed++) {
        sums_of(other, &other_total, seed);
        CHECK(memcmp(first, other, sizeof first) == 0);
        CHECK(memcmp(&first_total, &other_total, sizeof first_total) == 0);
    }
}

TEST(kernels_ran_on_the_simulator) { CHECK(gpusim_launches() > 20); }

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(kernels_norm_is_the_twin),
        UNIT(kernels_attention_is_the_twin),
        UNIT(kernels_attention_has_the_real_widths),
        UNIT(kernels_softmax_is_the_formula_and_clears_its_padding),
        UNIT(kernels_sums_are_the_twins),
        UNIT(kernels_row_sums_are_the_twin_whatever_the_height),
        UNIT(kernels_give_the_same_bits_in_every_order),
        UNIT(kernels_ran_on_the_simulator),
    };
    return cmocka_run_group_tests(units, setup, teardown);
}
