// tests/model/device.h - what tests of operations share: every set of loops of this machine, random
// numbers on both sides, and copies to and from the device. With TESTS_DEVICE in the environment
// ("cuda:0") the same tests run on that device instead, through the module that the programs load.
#ifndef TESTS_MODEL_DEVICE_H
#define TESTS_MODEL_DEVICE_H

#include "tests/check.h"

#include "model/backend_cpu.h"

#include <math.h>

static const char *const device_sets[] = {"sse4", "avx2", "avx512", "plain"};

// The device under test: NULL, the cpu with each set of loops.
static inline const char *device_named(void) {
    const char *name = getenv("TESTS_DEVICE");
    return name && *name ? name : NULL;
}

// Opens a backend with one set; NULL when this machine lacks it.
static inline struct model_backend *device_open(const char *set, uint32_t threads) {
    struct model_backend *backend = NULL;
    struct proto_error error = {0};
    if (device_named()) {
        if (set && strcmp(set, device_sets[0]) != 0) return NULL;
        CHECK_OK(model_backend_open(device_named(), threads, &backend, &error), error);
        return backend;
    }
    if (model_backend_cpu_open_set(threads, set, &backend, &error)) return backend;
    CHECK_INT(error.status, PROTO_MISSING);
    return NULL;
}

// A small fixed generator, so that a failure repeats: values in [-1, 1).
static inline float device_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-23f - 1;
}
static inline float *device_host(size_t n, uint32_t seed) {
    float *host = malloc(n * sizeof *host);
    CHECK(host);
    for (size_t i = 0; i < n; i++) host[i] = device_random(&seed);
    return host;
}
// Device memory with a copy of `host`, or zeros when it is NULL.
static inline void *device_copy(struct model_backend *backend, const void *host, size_t bytes) {
    struct proto_error error = {0};
    void *device = model_backend_alloc(backend, bytes, &error);
    CHECK_OK(device != NULL, error);
    if (host) CHECK_OK(model_backend_upload(backend, device, host, bytes, &error), error);
    return device;
}
static inline float *device_floats(struct model_backend *backend, const float *host, size_t n) {
    return device_copy(backend, host, n * sizeof *host);
}
static inline float *device_back(struct model_backend *backend, const float *device, size_t n) {
    struct proto_error error = {0};
    float *host = malloc(n * sizeof *host);
    CHECK(host);
    CHECK_OK(model_backend_download(backend, host, device, n * sizeof *host, &error), error);
    return host;
}

// Runs `body` with a backend of every set this machine has.
#define FOR_EACH_SET(threads, ...)                                                                 \
    for (size_t set_ = 0; set_ < PROTO_COUNT(device_sets); set_++) {                               \
        struct model_backend *backend = device_open(device_sets[set_], threads);                   \
        if (!backend) continue;                                                                    \
        TEST_CASE(device_sets[set_]);                                                              \
        __VA_ARGS__;                                                                               \
        model_backend_close(&backend);                                                             \
    }

#endif
