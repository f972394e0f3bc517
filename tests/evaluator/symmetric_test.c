// tests/evaluator/symmetric_test.c - small symmetric systems are solved, and singular ones by the
// pseudoinverse. Oracle: products with the matrix itself and the four conditions of Moore and
// Penrose. Tolerance: some n roundings of 1e-16, times the condition of the matrix where it counts.
#include "tests/check.h"

#include "evaluator/symmetric.h"

#include <math.h>

enum { N = 6 };

// G G' of random columns: rank as asked.
static void make(uint32_t rank, double a[N * N]) {
    double g[N * N];
    uint64_t state = 88172645463325252U;
    for (uint32_t i = 0; i < N * N; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        g[i] = (double)(state >> 11) / 9007199254740992.0 - 0.5;
    }
    for (uint32_t i = 0; i < N; i++) {
        for (uint32_t j = 0; j < N; j++) {
            a[i * N + j] = 0;
            for (uint32_t k = 0; k < rank; k++) a[i * N + j] += g[i * N + k] * g[j * N + k];
        }
    }
}

static void multiply(const double a[N * N], const double x[N], double y[N]) {
    for (uint32_t i = 0; i < N; i++) {
        y[i] = 0;
        for (uint32_t j = 0; j < N; j++) y[i] += a[i * N + j] * x[j];
    }
}

TEST(symmetric_solves_a_regular_system) {
    const double b[N] = {1, -2, 3, 0.5, -0.25, 4};
    double a[N * N], factor[N * N], x[N], back[N];
    make(N, a);
    for (uint32_t i = 0; i < N; i++) a[i * N + i] += 0.1;
    CHECK(evaluator_symmetric_factor(N, a, factor));
    evaluator_symmetric_solve(N, factor, b, x);
    multiply(a, x, back);
    for (uint32_t i = 0; i < N; i++) CHECK_NEAR(back[i], b[i], 1e-13);
    evaluator_symmetric_pinv_apply(N, a, b, x);
    multiply(a, x, back);
    for (uint32_t i = 0; i < N; i++) CHECK_NEAR(back[i], b[i], 1e-13);
}

TEST(symmetric_pinv_of_a_singular_matrix_is_moore_penrose) {
    for (uint32_t rank = 1; rank < N; rank++) {
        double a[N * N], p[N * N], factor[N * N];
        make(rank, a);
        CHECK(!evaluator_symmetric_factor(N, a, factor));
        for (uint32_t j = 0; j < N; j++) {  // columns of the pseudoinverse
            double unit[N] = {0}, column[N];
            unit[j] = 1;
            evaluator_symmetric_pinv_apply(N, a, unit, column);
            for (uint32_t i = 0; i < N; i++) p[i * N + j] = column[i];
        }
        double largest = 1;
        for (uint32_t i = 0; i < N * N; i++) largest = fmax(largest, fabs(p[i]));
        for (uint32_t j = 0; j < N; j++) {
            double x[N], ax[N], pax[N], apax[N], px[N], apx[N], papx[N];
            for (uint32_t i = 0; i < N; i++) x[i] = i == j;
            multiply(a, x, ax);
            multiply(p, ax, pax);
            multiply(a, pax, apax);
            multiply(p, x, px);
            multiply(a, px, apx);
            multiply(p, apx, papx);
            for (uint32_t i = 0; i < N; i++) {
                CHECK_NEAR(apax[i], ax[i], 1e-13 * largest);
                CHECK_NEAR(papx[i], px[i], 1e-13 * largest * largest);
                CHECK_NEAR(pax[i], apx[i], 1e-13 * largest);  // both symmetric, and equal
            }
        }
    }
}

TEST(symmetric_zero_has_a_zero_pseudoinverse) {
    const double zero[9] = {0}, b[3] = {1, 2, 3};
    double x[3] = {7, 7, 7};
    evaluator_symmetric_pinv_apply(3, zero, b, x);
    for (uint32_t i = 0; i < 3; i++) CHECK(x[i] == 0);
}

TEST_MAIN(UNIT(symmetric_solves_a_regular_system),
          UNIT(symmetric_pinv_of_a_singular_matrix_is_moore_penrose),
          UNIT(symmetric_zero_has_a_zero_pseudoinverse))
