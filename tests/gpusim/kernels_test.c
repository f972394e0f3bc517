// tests/gpusim/kernels_test.c - every kernel of the GPU against its twin of the CPU backend, whose
// own tests hold it to formulas in double and to finite differences; norms and the softmax against
// their formulas in double too. Shapes are odd ones, and the widths of the real network with few
// rows. Tolerances: both sides sum fp32 terms of size about 1 in different orders, so results of
// size y differ by a few times 6e-8 * max(1, y) * sqrt(terms); each case says its limit.
//
// The simulator's memory starts as NaN, so that a value never written fails its comparison.
#include "tests/gpusim/gpusim.h"
#include "tests/model/device.h"

#include "model/kernels.h"

// The thread sanitizer takes a millisecond for every thread of a grid: there each kernel runs once,
// over a few blocks.
#ifdef __SANITIZE_THREAD__
#define BRIEF true
#else
#define BRIEF false
#endif

// An array on both sides. Arrays of a case are freed together by `done`.
struct pair {
    float *cpu, *gpu;
    size_t n;
};
static struct pair pairs[64];
static size_t pair_count;
static struct model_backend *cpu;

static struct pair pair_of(size_t n) {
    CHECK(pair_count < PROTO_COUNT(pairs));
    struct pair p = {calloc(n, sizeof *p.cpu), gpusim_alloc(n * sizeof *p.gpu), n};
    CHECK(p.cpu && p.gpu);
    pairs[pair_count++] = p;
    return p;
}
// Numbers in [-1, 1) on both sides.
static struct pair given(size_t n, uint32_t seed) {
    struct pair p = pair_of(n);
    for (size_t i = 0; i < n; i++) p.cpu[i] = p.gpu[i] = device_random(&seed);
    return p;
}
static void check_near(struct pair p, double limit) {
    for (size_t i = 0; i < p.n; i++)
        CHECK_NEAR(p.gpu[i], p.cpu[i], limit * fmax(1, fabs((double)p.cpu[i])));
}
static void done(void) {
    while (pair_count > 0) {
        pair_count--;
        free(pairs[pair_count].cpu);
        gpusim_free(pairs[pair_count].gpu);
    }
}
static void *scratch(size_t size_bytes) { return pair_of((size_bytes + 3) / 4).gpu; }

// Runs one operation on both sides: `a` names arrays by their cpu or gpu member.
#define ON_CPU(name, ...)                                                                          \
    do {                                                                                           \
        struct proto_error error = {0};                                                            \
        const struct model_##name args = __VA_ARGS__;                                              \
        CHECK_OK(model_##name(cpu, &args, &error), error);                                         \
    } while (0)

static int setup(void **state) {
    (void)state;
    cpu = device_open(NULL, 1);
    return cpu ? 0 : -1;
}
static int teardown(void **state) {
    (void)state;
    model_backend_close(&cpu);
    return 0;
}

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
    return (struct model_kernel_heads){a->stat, a->epsilon, a->batch, a->heads, rows, a->head_width,
                                       x,       stride,     gain,     y,        stats};
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
    const struct model_kernel_softmax s = {a->batch, a->heads, nq, nk, nk, 1.0f / sqrtf((float)w),
                                           a->mask,  p,        dp};
    product(items, nq, nk, w, qn, false, kn, true, p);
    model_kernel_softmax(NULL, &s);
    product(items, nq, w, nk, p, false, vn, false, wide);
    join(&y, wide, a->y, NULL);
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

// ---- elements ----

TEST(kernels_adamw_is_the_twin) {
    const size_t n = BRIEF ? 300 : 5003;
    for (int with_ema = 0; with_ema < 2; with_ema++) {
        struct pair p = given(n, 1), m = given(n, 2), v = given(n, 3), g = given(n, 4);
        struct pair ema = given(n, 5);
        for (size_t i = 0; i < n; i++) v.cpu[i] = v.gpu[i] = fabsf(v.cpu[i]);
        struct model_adamw a = {n,   p.cpu, m.cpu, v.cpu, g.cpu, with_ema ? ema.cpu : NULL,
                                0.5, 1e-3,  0.9,   0.999, 1e-8,  0.01,
                                0.1, 0.001, 0.9};
        ON_CPU(adamw, a);
        a.p = p.gpu, a.m = m.gpu, a.v = v.gpu, a.g = g.gpu, a.ema = with_ema ? ema.gpu : NULL;
        model_kernel_adamw(NULL, &a);
        check_near(p, 2e-7), check_near(m, 2e-7), check_near(v, 2e-7), check_near(ema, 2e-7);
        done();
    }
}

TEST(kernels_linear_combinations_are_the_twins) {
    const size_t n = BRIEF ? 300 : 1031;
    struct pair x = given(n, 1), y = given(n, 2), z = given(n, 3), w = given(5 * n, 4);
    ON_CPU(axpby, {n, 0.5f, x.cpu, -2, y.cpu});
    ON_CPU(combine, {n, 0.25f, 2, -1, z.cpu, x.cpu, y.cpu});
    ON_CPU(sum_batch, {5, n, w.cpu, z.cpu});
    const struct model_axpby axpby = {n, 0.5f, x.gpu, -2, y.gpu};
    const struct model_combine combine = {n, 0.25f, 2, -1, z.gpu, x.gpu, y.gpu};
    const struct model_sum_batch sum_batch = {5, n, w.gpu, z.gpu};
    model_kernel_axpby(NULL, &axpby);
    model_kernel_combine(NULL, &combine);
    model_kernel_sum_batch(NULL, &sum_batch);
    check_near(y, 3e-7), check_near(z, 1e-6);
    // what has no weight is not read: it may be unwritten
    struct pair fresh = pair_of(n), start = pair_of(n);
    const struct model_axpby copy = {n, 1, x.gpu, 0, fresh.gpu};
    const struct model_combine first = {n, 0, 3, 0, start.gpu, x.gpu, NULL};
    model_kernel_axpby(NULL, &copy);
    model_kernel_combine(NULL, &first);
    for (size_t i = 0; i < n; i++) {
        CHECK_NEAR(fresh.gpu[i], x.cpu[i], 0);
        CHECK_NEAR(start.gpu[i], 3 * x.cpu[i], 3e-7);
    }
    done();
}

// ---- the network's input ----

TEST(kernels_sinusoid_is_the_twin) {
    const size_t rows = 4, width = 256;
    struct pair v = pair_of(rows), y = pair_of(rows * width);
    for (size_t r = 0; r < rows; r++) v.cpu[r] = v.gpu[r] = (float[]){0, 1, 25, 999}[r];
    ON_CPU(sinusoid, {rows, width, v.cpu, y.cpu});
    const struct model_sinusoid a = {rows, width, v.gpu, y.gpu};
    model_kernel_sinusoid(NULL, &a);
    check_near(y, 3e-7);  // the angle, as a fraction of pi, is rounded once more
    done();
}

TEST(kernels_tokens_and_masks_are_the_twins) {
    const size_t batch = 3, chunk = 4, width = 130;
    struct pair state_row = given(batch * width, 1), mask = given(batch * width, 2);
    struct pair action_mask = given(batch * width, 3), action = given(batch * chunk * width, 4);
    struct pair noise = given(batch * chunk * width, 5), signal = given(batch, 6);
    struct pair grain = given(batch, 7), masked = pair_of(batch * chunk * width);
    for (int noisy = 0; noisy < 2; noisy++) {
        struct pair y = pair_of(batch * (1 + chunk) * 2 * width);
        ON_CPU(tokens, {batch, chunk, width, state_row.cpu, mask.cpu, action_mask.cpu, action.cpu,
                        noisy ? noise.cpu : NULL, signal.cpu, grain.cpu, y.cpu});
        const struct model_tokens a = {
            batch,      chunk,           width,      state_row.gpu,
            mask.gpu,   action_mask.gpu, action.gpu, noisy ? noise.gpu : NULL,
            signal.gpu, grain.gpu,       y.gpu};
        model_kernel_tokens(NULL, &a);
        check_near(y, 2e-7);
    }
    ON_CPU(mask_rows, {batch, chunk, width, action.cpu, mask.cpu, masked.cpu});
    const struct model_mask_rows rows = {batch, chunk, width, action.gpu, mask.gpu, masked.gpu};
    model_kernel_mask_rows(NULL, &rows);
    check_near(masked, 0);
    done();
}

static void concat_case(size_t batch, size_t rest, size_t width) {
    const size_t rows = 2 + rest;
    struct pair first = given(batch * width, 1), second = given(batch * width, 2);
    struct pair others = given(batch * rest * width, 3), position = given(rows * width, 4);
    struct pair x = pair_of(batch * rows * width), dx = given(batch * rows * width, 5);
    struct pair dfirst = pair_of(batch * width), dsecond = pair_of(batch * width);
    struct pair drest = pair_of(batch * rest * width);
    ON_CPU(concat, {batch, rest, width, first.cpu, second.cpu, others.cpu, position.cpu, x.cpu});
    ON_CPU(concat_backward,
           {batch, rest, width, dx.cpu, dfirst.cpu, dsecond.cpu, drest.cpu, position.cpu});
    const struct model_concat a = {batch,      rest,       width,        first.gpu,
                                   second.gpu, others.gpu, position.gpu, x.gpu};
    const struct model_concat_backward b = {batch,      rest,        width,     dx.gpu,
                                            dfirst.gpu, dsecond.gpu, drest.gpu, position.gpu};
    model_kernel_concat(NULL, &a);
    model_kernel_concat_backward(NULL, &b);
    check_near(x, 0), check_near(position, 5e-7);
    check_near(dfirst, 0), check_near(dsecond, 0), check_near(drest, 0);
    done();
}
TEST(kernels_concat_is_the_twin) {
    concat_case(3, 1, 5);
    if (BRIEF) return;
    concat_case(2, 5, 129);
    concat_case(1, 65, 2048);
}

static void patches_case(size_t height, size_t width, uint32_t grid, uint32_t patch, bool flip) {
    const size_t images = 3, bytes = images * height * width * 3;
    const size_t token = 3u * patch * patch + MODEL_PATCH_PLACE;
    uint8_t *pixels = gpusim_alloc(bytes), *mask = gpusim_alloc(images);
    CHECK(pixels && mask);
    for (size_t i = 0; i < bytes; i++) pixels[i] = (uint8_t)(i * 2654435761u >> 24);
    for (size_t i = 0; i < images; i++) mask[i] = i != 1;
    struct pair tokens = pair_of(images * grid * grid * token);
    struct model_patches a = {
        images, height,    width, pixels, mask, flip, grid, patch, {0.5f, 0.4f, 0.3f},
        0.25f,  tokens.cpu};
    ON_CPU(patches, a);
    a.tokens = tokens.gpu;
    model_kernel_patches(NULL, &a);
    // weights of the twin are rounded from double, sums of up to 200 of them: 4e-6 of 255 levels
    check_near(tokens, 1e-5);
    gpusim_free(pixels), gpusim_free(mask);
    done();
}
TEST(kernels_patches_are_the_twin) {
    patches_case(16, 16, 2, 4, false);
    if (BRIEF) return;
    patches_case(13, 29, 3, 5, true);
    patches_case(7, 5, 4, 3, false);  // enlarged
    patches_case(1, 1, 1, 1, true);
}

// ---- around a product ----

TEST(kernels_gemm_is_its_product_between_prefill_and_activate) {
    const size_t m = BRIEF ? 2 : 7, n = 300, k = 5, stride = n + 3;
    for (int activation = MODEL_LINEAR; activation <= MODEL_BACKWARD; activation++)
        for (int form = BRIEF ? 3 : 0; form < 4; form++) {
            struct pair a = given(m * k, 1), b = given(n * k, 2), c = given(m * n, 3);
            struct pair bias = given(n, 4), d = given(m * stride, 5), aux = given(m * n, 6);
            for (size_t i = 0; i < m * k; i++) a.gpu[i] = a.cpu[i] *= 4;
            const struct model_gemm gemm = {.transpose_b = true,
                                            .m = m,
                                            .n = n,
                                            .k = k,
                                            .a = a.cpu,
                                            .a_stride = k,
                                            .b = b.cpu,
                                            .b_stride = k,
                                            .c = form & 1 ? c.cpu : NULL,
                                            .c_stride = n,
                                            .c_rows = form == 3 ? 2 : 0,
                                            .d = d.cpu,
                                            .d_stride = stride,
                                            .bias = form & 2 ? bias.cpu : NULL,
                                            .activation = (enum model_activation)activation,
                                            .aux = aux.cpu};
            struct model_gemm g = gemm;
            ON_CPU(gemm, gemm);
            g.c = form & 1 ? c.gpu : NULL, g.bias = form & 2 ? bias.gpu : NULL, g.d = d.gpu;
            g.aux = aux.gpu;
            if (form > 0) model_kernel_prefill(NULL, &g);
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j < n; j++) {
                    double sum = form > 0 ? d.gpu[i * stride + j] : 0;
                    for (size_t l = 0; l < k; l++)
                        sum += (double)a.gpu[i * k + l] * b.gpu[j * k + l];
                    d.gpu[i * stride + j] = (float)sum;
                }
            if (activation != MODEL_LINEAR) model_kernel_activate(NULL, &g);
            check_near(d, 3e-6);  // the derivative of an activation is at most 1.13
            check_near(aux, 3e-6);
            done();
        }
}

TEST(kernels_ran_on_the_simulator) { CHECK(gpusim_launches() > 100); }

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(kernels_norm_is_the_twin),
        UNIT(kernels_attention_is_the_twin),
        UNIT(kernels_attention_has_the_real_widths),
        UNIT(kernels_softmax_is_the_formula_and_clears_its_padding),
        UNIT(kernels_sums_are_the_twins),
        UNIT(kernels_row_sums_are_the_twin_whatever_the_height),
        UNIT(kernels_adamw_is_the_twin),
        UNIT(kernels_linear_combinations_are_the_twins),
        UNIT(kernels_sinusoid_is_the_twin),
        UNIT(kernels_tokens_and_masks_are_the_twins),
        UNIT(kernels_concat_is_the_twin),
        UNIT(kernels_patches_are_the_twin),
        UNIT(kernels_gemm_is_its_product_between_prefill_and_activate),
        UNIT(kernels_ran_on_the_simulator),
    };
    return cmocka_run_group_tests(units, setup, teardown);
}
