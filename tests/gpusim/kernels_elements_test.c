// tests/gpusim/kernels_elements_test.c - kernels of elements and of the network's input against
// their twins of the CPU backend. Tolerances: one or two roundings of fp32, 6e-8 each, unless a
// case says otherwise; what is only moved is equal.
#include "tests/gpusim/kernels_world.h"

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
        model_kernel_adamw(NULL, &a, MODEL_F32, NULL);
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

// Derivative of x / (1 + exp(-u)), u = 2 sqrt(2 / pi) (x + 0.044715 x^3).
static double gelu_slope(double x) {
    const double c = 2 * sqrt(2 / M_PI), u = c * (x + 0.044715 * x * x * x);
    const double s = 1 / (1 + exp(-u));
    return s + x * s * (1 - s) * c * (1 + 3 * 0.044715 * x * x);
}

TEST(kernels_gemm_is_its_product_between_prefill_and_activate) {
    const size_t m = BRIEF ? 2 : 7, n = 300, k = 5, stride = n + 3;
    for (int activation = MODEL_LINEAR; activation <= MODEL_SILU_BACKWARD; activation++)
        for (int form = BRIEF ? 3 : 0; form < 4; form++) {
            struct pair a = given(m * k, 1), b = given(n * k, 2), c = given(m * n, 3);
            struct pair bias = given(n, 4), d = given(m * stride, 5), aux = given(m * n, 6);
            // the two sides keep different things for the way back of GELU
            if (activation == MODEL_GELU_BACKWARD)
                for (size_t i = 0; i < m * n; i++) aux.cpu[i] = (float)gelu_slope(aux.gpu[i] *= 6);
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
            if (activation == MODEL_GELU)
                for (size_t i = 0; i < m * n; i++) aux.cpu[i] = d.gpu[i / n * stride + i % n];
            if (activation != MODEL_LINEAR) model_kernel_activate(NULL, &g);
            check_near(d, 3e-6);  // the derivative of an activation is at most 1.13
            if (activation != MODEL_GELU_BACKWARD) check_near(aux, 3e-6);
            done();
        }
}

TEST(kernels_ran_on_the_simulator) { CHECK(gpusim_launches() > 20); }

int main(void) {
    const struct CMUnitTest units[] = {
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
