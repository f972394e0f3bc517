// evaluator/symmetric.c - see symmetric.h.
#include "evaluator/symmetric.h"

#include <math.h>
#include <string.h>

static const double pivot_least = 1e-10;       // of the largest diagonal element
static const double eigenvalue_least = 1e-15;  // of the largest eigenvalue: numpy's rcond
enum { SWEEPS_MAX = 30, ELEMENTS_MAX = EVALUATOR_SYMMETRIC_MAX * EVALUATOR_SYMMETRIC_MAX };

bool evaluator_symmetric_factor(uint32_t n, const double *a, double *factor) {
    double largest = 0;
    for (uint32_t i = 0; i < n; i++) largest = fmax(largest, a[i * n + i]);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j <= i; j++) {
            double rest = a[i * n + j];
            for (uint32_t k = 0; k < j; k++) rest -= factor[i * n + k] * factor[j * n + k];
            if (i == j) {
                if (!(rest > pivot_least * largest)) return false;
                factor[i * n + i] = sqrt(rest);
            } else {
                factor[i * n + j] = rest / factor[j * n + j];
            }
        }
    }
    return true;
}

void evaluator_symmetric_solve(uint32_t n, const double *factor, const double *b, double *x) {
    for (uint32_t i = 0; i < n; i++) {
        double rest = b[i];
        for (uint32_t k = 0; k < i; k++) rest -= factor[i * n + k] * x[k];
        x[i] = rest / factor[i * n + i];
    }
    for (uint32_t i = n; i-- > 0;) {
        double rest = x[i];
        for (uint32_t k = i + 1; k < n; k++) rest -= factor[k * n + i] * x[k];
        x[i] = rest / factor[i * n + i];
    }
}

// One rotation in the plane (p, q) that makes a[p, q] zero; `vectors` holds eigenvectors as
// columns.
static void rotate(uint32_t n, double *a, double *vectors, uint32_t p, uint32_t q) {
    if (a[p * n + q] == 0) return;
    const double theta = (a[q * n + q] - a[p * n + p]) / (2 * a[p * n + q]);
    const double tangent = copysign(1, theta) / (fabs(theta) + sqrt(theta * theta + 1));
    const double cosine = 1 / sqrt(tangent * tangent + 1), sine = tangent * cosine;
    for (uint32_t k = 0; k < n; k++) {
        const double left = a[k * n + p], right = a[k * n + q];
        a[k * n + p] = cosine * left - sine * right;
        a[k * n + q] = sine * left + cosine * right;
    }
    for (uint32_t k = 0; k < n; k++) {
        const double upper = a[p * n + k], lower = a[q * n + k];
        a[p * n + k] = cosine * upper - sine * lower;
        a[q * n + k] = sine * upper + cosine * lower;
    }
    for (uint32_t k = 0; k < n; k++) {
        const double left = vectors[k * n + p], right = vectors[k * n + q];
        vectors[k * n + p] = cosine * left - sine * right;
        vectors[k * n + q] = sine * left + cosine * right;
    }
}

static double off_diagonal(uint32_t n, const double *a) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t j = 0; j < n; j++) sum += i == j ? 0 : fabs(a[i * n + j]);
    }
    return sum;
}

void evaluator_symmetric_pinv_apply(uint32_t n, const double *a, const double *b, double *y) {
    double work[ELEMENTS_MAX], vectors[ELEMENTS_MAX] = {0}, result[EVALUATOR_SYMMETRIC_MAX] = {0};
    if (evaluator_symmetric_factor(n, a, work)) {
        evaluator_symmetric_solve(n, work, b, y);
        return;
    }
    memcpy(work, a, n * n * sizeof *a);
    for (uint32_t i = 0; i < n; i++) vectors[i * n + i] = 1;
    for (int sweep = 0; sweep < SWEEPS_MAX && off_diagonal(n, work) > 0; sweep++) {
        for (uint32_t p = 0; p + 1 < n; p++) {
            for (uint32_t q = p + 1; q < n; q++) rotate(n, work, vectors, p, q);
        }
    }
    double largest = 0;
    for (uint32_t i = 0; i < n; i++) largest = fmax(largest, fabs(work[i * n + i]));
    for (uint32_t i = 0; i < n; i++) {
        if (fabs(work[i * n + i]) <= eigenvalue_least * largest) continue;
        double along = 0;
        for (uint32_t k = 0; k < n; k++) along += vectors[k * n + i] * b[k];
        along /= work[i * n + i];
        for (uint32_t k = 0; k < n; k++) result[k] += vectors[k * n + i] * along;
    }
    memcpy(y, result, n * sizeof *y);
}
