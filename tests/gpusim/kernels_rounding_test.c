// tests/gpusim/kernels_rounding_test.c - what kernels write in 16 bits is their f32 result, rounded
// to nearest with ties to even. Oracle: the two neighbours in the format, found by search over its
// bit patterns, so that it shares no arithmetic with the kernels.
#include "tests/gpusim/kernels_world.h"

// The value of a bit pattern.
static double value_of(enum model_precision precision, uint16_t bits) {
    const int fraction_bits = precision == MODEL_BF16 ? 7 : 10;
    const int bias = precision == MODEL_BF16 ? 127 : 15;
    const int fraction = bits & ((1 << fraction_bits) - 1);
    const int exponent = (bits & 0x7fff) >> fraction_bits;
    const double sign = bits & 0x8000 ? -1 : 1;
    if (exponent == 2 * bias + 1) return fraction ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(fraction, 1 - bias - fraction_bits);
    return sign * ldexp(fraction + (1 << fraction_bits), exponent - bias - fraction_bits);
}
// Patterns of one sign are in the order of their sizes: the largest that is not above |x|, or its
// neighbour when that is nearer, or even at the same distance. Infinity stands where the next
// number would be.
static uint16_t expected_of(enum model_precision precision, float x) {
    const int last = precision == MODEL_BF16 ? 0x7f7f : 0x7bff;
    const double size = fabs((double)x);
    int low = 0, high = last;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (value_of(precision, (uint16_t)middle) <= size)
            low = middle;
        else
            high = middle - 1;
    }
    const double below = value_of(precision, (uint16_t)low);
    const double above = low < last ? value_of(precision, (uint16_t)(low + 1))
                                    : 2 * below - value_of(precision, (uint16_t)(low - 1));
    const double off = (size - below) - (above - size);
    const int bits = off > 0 || (off == 0 && low % 2 == 1) ? low + 1 : low;
    return (uint16_t)(bits | (signbit(x) ? 0x8000 : 0));
}
static void check_rounded(enum model_precision precision, const uint16_t *found, const float *x,
                          size_t n) {
    for (size_t i = 0; i < n; i++) {
        const uint16_t expected = expected_of(precision, x[i]);
        if (found[i] != expected)
            fail_msg("%.9g became %04x, expected %04x", (double)x[i], found[i], expected);
    }
}
static const enum model_precision precisions[] = {MODEL_BF16, MODEL_FP16};
static uint16_t *halves(size_t n) { return scratch(n * sizeof(uint16_t)); }

TEST(rounding_goes_to_the_nearest_and_ties_to_even) {
    enum { N = 4096 };
    struct pair x = pair_of(N);
    uint32_t seed = 7;
    for (size_t i = 0; i < N; i++) {
        // exponents of all sizes, fractions near and on the middle between two numbers
        const int exponent = (int)(i % 80) - 45;
        const float fraction = i % 3 == 0   ? 1 + (float)(i % 512) / 256
                               : i % 3 == 1 ? 1 + (float)(2 * (i % 1024) + 1) / 2048
                                            : 1.5f + device_random(&seed) / 2;
        x.gpu[i] = ldexpf(i % 2 ? -fraction : fraction, exponent);
    }
    const float corners[] = {0.0f,    -0.0f,    65504.0f, 65519.9f, 65520.0f, -1e30f,   3.3895e38f,
                             3.4e38f, INFINITY, 0x1p-24f, 0x1p-25f, 0x3p-26f, 0x1p-149f};
    memcpy(x.gpu, corners, sizeof corners);
    uint16_t *y = halves(N);
    for (size_t p = 0; p < 2; p++) {
        const struct model_kernel_round a = {
            .precision = precisions[p], .rows = 1, .columns = N, .x = x.gpu, .x_stride = N, .y = y};
        model_kernel_round(NULL, &a, NULL);
        check_rounded(precisions[p], y, x.gpu, N);
        x.gpu[0] = NAN;
        model_kernel_round(NULL, &a, NULL);
        CHECK(isnan(value_of(precisions[p], y[0])));
        x.gpu[0] = 0;
    }
    done();
}

TEST(rounding_sums_the_columns_as_they_were) {
    const size_t shapes[][2] = {{1, 1}, {70, 5}, {9, 300}, {5000, 3}};
    for (size_t c = 0; c < (BRIEF ? 2 : PROTO_COUNT(shapes)); c++)
        for (size_t p = 0; p < 2; p++) {
            const size_t rows = shapes[c][0], columns = shapes[c][1], stride = columns + 2;
            const size_t y_stride = columns + 5;
            struct pair x = given(rows * stride, 1), sums = given(columns, 2);
            uint16_t *y = halves(rows * y_stride);
            memset(y, 0x5a, rows * y_stride * sizeof *y);
            const struct model_kernel_round a = {precisions[p], rows, columns,  x.gpu,
                                                 stride,        y,    y_stride, sums.gpu};
            model_kernel_round(NULL, &a, scratch(model_kernel_round_partial(&a) * sizeof(float)));
            for (size_t r = 0; r < rows; r++) {
                check_rounded(precisions[p], y + r * y_stride, x.gpu + r * stride, columns);
                for (size_t j = columns; j < y_stride; j++) CHECK_INT(y[r * y_stride + j], 0x5a5a);
            }
            for (size_t j = 0; j < columns; j++) {
                double sum = sums.cpu[j];
                for (size_t r = 0; r < rows; r++) sum += x.cpu[r * stride + j];
                CHECK_NEAR(sums.gpu[j], sum, 6e-8 * sqrt((double)rows) * 4 * fmax(1, fabs(sum)));
            }
            done();
        }
}

TEST(rounding_follows_adamw) {
    const size_t n = BRIEF ? 3 : 1000;
    for (size_t p = 0; p < 2; p++) {
        struct pair w = given(n, 1), m = given(n, 2), v = given(n, 3), g = given(n, 4);
        for (size_t i = 0; i < n; i++) v.gpu[i] = fabsf(v.gpu[i]);
        uint16_t *rounded = halves(n);
        const struct model_adamw a = {.n = n,
                                      .p = w.gpu,
                                      .m = m.gpu,
                                      .v = v.gpu,
                                      .g = g.gpu,
                                      .gradient_scale = 1,
                                      .rate = 0.1,
                                      .beta1 = 0.9,
                                      .beta2 = 0.99,
                                      .epsilon = 1e-8,
                                      .correction1 = 0.1,
                                      .correction2 = 0.01};
        model_kernel_adamw(NULL, &a, precisions[p], rounded);
        CHECK(memcmp(w.gpu, w.cpu, n * sizeof(float)) != 0);
        check_rounded(precisions[p], rounded, w.gpu, n);
        done();
    }
}

TEST(rounding_follows_heads_and_softmax) {
    const size_t heads = 2, rows = 3, width = 5, keys = BRIEF ? 9 : 301, stride = keys + 3;
    for (size_t p = 0; p < 2; p++) {
        struct pair x = given(rows * heads * width, 1), gain = given(width, 2);
        for (int form = 0; form < 2; form++) {
            struct model_kernel_heads h = {.stat = MODEL_VARIANCE,
                                           .epsilon = 1e-3f,
                                           .batch = 1,
                                           .heads = heads,
                                           .rows = rows,
                                           .width = width,
                                           .x = x.gpu,
                                           .stride = heads * width,
                                           .gain = form ? gain.gpu : NULL,
                                           .y = scratch(heads * rows * width * sizeof(float)),
                                           .stats = scratch(heads * rows * 2 * sizeof(float))};
            model_kernel_heads(NULL, &h);
            const float *y = h.y;
            h.y = NULL, h.precision = precisions[p], h.rounded = halves(heads * rows * width);
            model_kernel_heads(NULL, &h);
            check_rounded(precisions[p], h.rounded, y, heads * rows * width);
        }
        const size_t n = heads * rows * stride;
        struct model_kernel_softmax s = {.batch = 1,
                                         .heads = heads,
                                         .queries = rows,
                                         .keys = keys,
                                         .stride = stride,
                                         .scale = 3,
                                         .p = given(n, 3).gpu,
                                         .dp = given(n, 4).gpu,
                                         .precision = precisions[p],
                                         .rounded = halves(n)};
        model_kernel_softmax(NULL, &s);
        check_rounded(precisions[p], s.rounded, s.p, n);
        model_kernel_softmax_backward(NULL, &s);
        check_rounded(precisions[p], s.rounded, s.dp, n);
        done();
    }
}

// The same scores give the same bits again, from what was kept of their rows.
TEST(rounding_softmax_is_made_again_bit_for_bit) {
    const size_t shapes[] = {7, 256, 301};
    for (size_t c = 0; c < PROTO_COUNT(shapes); c++) {
        const size_t rows = 3, keys = shapes[c], n = rows * keys;
        struct pair scores = given(n, 1), first = given(n, 1);
        uint8_t *mask = gpusim_alloc(keys);
        for (size_t i = 0; i < keys; i++) mask[i] = i % 4 != 1;
        struct model_kernel_softmax s = {.batch = 1,
                                         .heads = 1,
                                         .queries = rows,
                                         .keys = keys,
                                         .stride = keys,
                                         .scale = 5,
                                         .mask = mask,
                                         .p = first.gpu,
                                         .stats = scratch(rows * 2 * sizeof(float))};
        model_kernel_softmax(NULL, &s);
        s.p = scores.gpu, s.again = true;
        model_kernel_softmax(NULL, &s);
        CHECK(memcmp(first.gpu, scores.gpu, n * sizeof(float)) == 0);
        gpusim_free(mask);
        done();
    }
}

TEST(kernels_ran_on_the_simulator) { CHECK(gpusim_launches() > 15); }

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(rounding_goes_to_the_nearest_and_ties_to_even),
        UNIT(rounding_sums_the_columns_as_they_were),
        UNIT(rounding_follows_adamw),
        UNIT(rounding_follows_heads_and_softmax),
        UNIT(rounding_softmax_is_made_again_bit_for_bit),
        UNIT(kernels_ran_on_the_simulator),
    };
    return cmocka_run_group_tests(units, setup, teardown);
}
