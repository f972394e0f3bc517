// model/lanes.h - a vector of floats as wide as the instruction set of this compilation, and the
// few functions on it that the loops need. Included by loops*.c only.
#ifndef MODEL_LANES_H
#define MODEL_LANES_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif
#define SUM_LANES 16  // of every sum, in every set
#define SUM_VECS (SUM_LANES / LANES)

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

static inline vec load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void store(float *p, vec v) { memcpy(p, &v, sizeof v); }
static inline vec all(float x) { return x - (vec){0}; }
// The first n < LANES elements; the rest is 0.
static inline vec load_part(const float *p, size_t n) {
    float t[LANES] = {0};
    for (size_t i = 0; i < n; i++) t[i] = p[i];
    return load(t);
}
static inline void store_part(float *p, vec v, size_t n) {
    float t[LANES];
    store(t, v);
    for (size_t i = 0; i < n; i++) p[i] = t[i];
}
#if LANES == 16
static inline vec max_of(vec a, vec b) { return (vec)_mm512_max_ps((__m512)a, (__m512)b); }
static inline vec min_of(vec a, vec b) { return (vec)_mm512_min_ps((__m512)a, (__m512)b); }
static inline vec root_of(vec a) { return (vec)_mm512_sqrt_ps((__m512)a); }
#elif LANES == 8
static inline vec max_of(vec a, vec b) { return (vec)_mm256_max_ps((__m256)a, (__m256)b); }
static inline vec min_of(vec a, vec b) { return (vec)_mm256_min_ps((__m256)a, (__m256)b); }
static inline vec root_of(vec a) { return (vec)_mm256_sqrt_ps((__m256)a); }
#elif defined(__x86_64__)
static inline vec max_of(vec a, vec b) { return (vec)_mm_max_ps((__m128)a, (__m128)b); }
static inline vec min_of(vec a, vec b) { return (vec)_mm_min_ps((__m128)a, (__m128)b); }
static inline vec root_of(vec a) { return (vec)_mm_sqrt_ps((__m128)a); }
#else
static inline vec max_of(vec a, vec b) {
    for (int i = 0; i < LANES; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}
static inline vec min_of(vec a, vec b) {
    for (int i = 0; i < LANES; i++) a[i] = a[i] < b[i] ? a[i] : b[i];
    return a;
}
static inline vec root_of(vec a) {
    for (int i = 0; i < LANES; i++) a[i] = sqrtf(a[i]);
    return a;
}
#endif

// Sixteen partial sums in a fixed tree.
struct sum {
    vec part[SUM_VECS];
};
static inline float sum_total(const struct sum *s) {
    typedef float quad __attribute__((vector_size(16)));
    quad q[SUM_LANES / 4];
    memcpy(q, s->part, sizeof q);
    const quad four = (q[0] + q[2]) + (q[1] + q[3]);  // lanes i, i + 8, then i + 4
    return (four[0] + four[2]) + (four[1] + four[3]);
}

// exp within 2 ulp on [-87, 88], clamped there: 2^n by the exponent's bits, the rest by the Taylor
// polynomial of degree 7 on [-ln 2 / 2, ln 2 / 2], whose remainder is below 6e-9.
static inline vec exp_of(vec x) {
    x = min_of(max_of(x, all(-87.0f)), all(88.0f));
    const vec shifted = x * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: rounds to an integer
    const vec n = shifted - 12582912.0f;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = all(1.0f / 5040);
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const ivec exponent = (__builtin_convertvector(n, ivec) + 127) << 23;
    vec scale;
    memcpy(&scale, &exponent, sizeof scale);
    return p * scale;
}

#endif
