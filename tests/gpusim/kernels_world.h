// tests/gpusim/kernels_world.h - what tests of kernels share: arrays on both sides, the CPU
// backend's and the simulated GPU's, whose memory starts as NaN, so that a value never written
// fails.
#ifndef TESTS_GPUSIM_KERNELS_WORLD_H
#define TESTS_GPUSIM_KERNELS_WORLD_H

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

static inline struct pair pair_of(size_t n) {
    CHECK(pair_count < PROTO_COUNT(pairs));
    struct pair p = {calloc(n, sizeof *p.cpu), gpusim_alloc(n * sizeof *p.gpu), n};
    CHECK(p.cpu && p.gpu);
    pairs[pair_count++] = p;
    return p;
}
// Numbers in [-1, 1) on both sides.
static inline struct pair given(size_t n, uint32_t seed) {
    struct pair p = pair_of(n);
    for (size_t i = 0; i < n; i++) p.cpu[i] = p.gpu[i] = device_random(&seed);
    return p;
}
static inline void check_near(struct pair p, double limit) {
    for (size_t i = 0; i < p.n; i++)
        CHECK_NEAR(p.gpu[i], p.cpu[i], limit * fmax(1, fabs((double)p.cpu[i])));
}
static inline void done(void) {
    while (pair_count > 0) {
        pair_count--;
        free(pairs[pair_count].cpu);
        gpusim_free(pairs[pair_count].gpu);
    }
}
static inline void *scratch(size_t size_bytes) { return pair_of((size_bytes + 3) / 4).gpu; }

// Runs one operation on both sides: `a` names arrays by their cpu or gpu member.
#define ON_CPU(name, ...)                                                                          \
    do {                                                                                           \
        struct proto_error error = {0};                                                            \
        const struct model_##name args = __VA_ARGS__;                                              \
        CHECK_OK(model_##name(cpu, &args, &error), error);                                         \
    } while (0)

static inline int setup(void **state) {
    (void)state;
    cpu = device_open(NULL, 1);
    return cpu ? 0 : -1;
}
static inline int teardown(void **state) {
    (void)state;
    model_backend_close(&cpu);
    return 0;
}

#endif
