// tests/trainer/collective_world.h - ranks of a collective as forked processes: what each found
// lies in memory shared with the test. alarm() bounds every case. Vectors lie where the collective
// wants them: on the host, or on a rank's device.
#ifndef TESTS_TRAINER_COLLECTIVE_WORLD_H
#define TESTS_TRAINER_COLLECTIVE_WORLD_H

#include "tests/check.h"

#include "model/backend.h"
#include "trainer/collective.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RANKS_MAX 4
#define CASE_SECONDS_MAX 60

struct finding {
    bool opened, done;
    uint64_t operations;
    char text[768];
};
static struct finding *findings;            // [RANKS_MAX], shared
static struct model_backend *world_device;  // of this rank; NULL: the host's memory

struct plan {
    uint32_t size;
    uint64_t epoch;
    size_t elements_max;
    double deadline_s;
    bool (*work)(struct trainer_collective *collective, uint32_t rank, struct proto_error *error);
    uint32_t other_size_of_last;  // the last rank believes in that size, 0: no
    bool other_epoch_of_last;
    const char *backend;  // NULL: "host"
    const char *device;   // of every rank; NULL: none
    bool device_each;     // "cuda:" and the rank's number
};

static char run_name[64];

static inline double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static inline void rank_main(const struct plan *plan, uint32_t rank) {
    struct proto_error error = {0};
    struct trainer_collective *collective = NULL;
    char device[32];
    struct trainer_collective_settings settings = {.backend =
                                                       plan->backend ? plan->backend : "host",
                                                   .name = run_name,
                                                   .rank = rank,
                                                   .size = plan->size,
                                                   .epoch = plan->epoch,
                                                   .elements_max = plan->elements_max,
                                                   .deadline_s = plan->deadline_s};
    const bool last = rank + 1 == plan->size;
    if (last && plan->other_size_of_last) settings.size = plan->other_size_of_last;
    if (last && plan->other_epoch_of_last) settings.epoch++;
    bool ready = true;
    if (plan->device) {
        if (plan->device_each)
            snprintf(device, sizeof device, "cuda:%u", rank);
        else
            snprintf(device, sizeof device, "%s", plan->device);
        ready = model_backend_open(device, 1, &world_device, &error);
        settings.device = world_device;
    }
    findings[rank].opened = ready && trainer_collective_open(&settings, &collective, &error);
    findings[rank].done = findings[rank].opened && plan->work(collective, rank, &error);
    snprintf(findings[rank].text, sizeof findings[rank].text, "%s", error.text);
    trainer_collective_close(&collective);
    model_backend_close(&world_device);
}

// A vector where the collective wants it; free with vector_free.
static inline float *vector_new(const float *host, size_t count, struct proto_error *error) {
    const size_t bytes = (count + 1) * sizeof *host;
    float *data = world_device ? model_backend_alloc(world_device, bytes, error) : malloc(bytes);
    if (!data) return NULL;
    if (!world_device) {
        memcpy(data, host, count * sizeof *host);
        return data;
    }
    const bool done =
        count == 0 || model_backend_upload(world_device, data, host, count * sizeof *host, error);
    return done ? data : NULL;
}
static inline bool vector_read(float *host, const float *data, size_t count,
                               struct proto_error *error) {
    if (count == 0) return true;
    if (world_device)
        return model_backend_download(world_device, host, data, count * sizeof *host, error);
    memcpy(host, data, count * sizeof *host);
    return true;
}
static inline void vector_free(float *data) {
    if (world_device)
        model_backend_free(world_device, data);
    else
        free(data);
}

static inline void ranks_start(const struct plan *plan, pid_t pids[static RANKS_MAX]) {
    if (!findings)
        findings = mmap(NULL, RANKS_MAX * sizeof *findings, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    memset(findings, 0, RANKS_MAX * sizeof *findings);
    snprintf(run_name, sizeof run_name, "collective-test-%d", (int)getpid());
    fflush(NULL);
    for (uint32_t rank = 0; rank < plan->size; rank++) {
        pids[rank] = fork();
        if (pids[rank] != 0) continue;
        alarm(CASE_SECONDS_MAX);
        rank_main(plan, rank);
        _exit(0);
    }
}
static inline void ranks_wait(const struct plan *plan, const pid_t *pids) {
    for (uint32_t rank = 0; rank < plan->size; rank++) waitpid(pids[rank], NULL, 0);
}
static inline void ranks_run(const struct plan *plan) {
    pid_t pids[RANKS_MAX];
    ranks_start(plan, pids);
    ranks_wait(plan, pids);
}

// Numbers of very different size, so that another order of the sum gives other bits.
static inline float number(uint32_t rank, size_t i) {
    uint64_t x = (i + 1) * 0x9e3779b97f4a7c15ull + rank * 0xbf58476d1ce4e5b9ull;
    x ^= x >> 29;
    x *= 0x94d049bb133111ebull;
    const double unit = (double)(x >> 40) / (1 << 24) - 0.5;
    return (float)(unit * (double)(1ull << (x & 31)));
}

#endif
