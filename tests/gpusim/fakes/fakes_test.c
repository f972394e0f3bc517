// tests/gpusim/fakes/fakes_test.c - the fakes' CUDA runtime keeps the promises that host code
// relies on, and no more than those. Oracles: the manual of the runtime for return values;
// arithmetic on whole numbers, exact in f32, for results; and a planted-bug matrix, in which the
// right host code passes every seed and each wrong one must be caught by the mode that claims it.
#include "tests/gpusim/fakes/fakes_world.h"

#include "gpusim/gpusim.h"
#include "model/kernels.h"

#include <cuda_runtime_api.h>

#define N 3000
#define SEEDS 8

static float *host_of(size_t count) {
    float *memory = NULL;
    return cudaHostAlloc((void **)&memory, count * sizeof *memory, 0) == cudaSuccess ? memory
                                                                                     : NULL;
}
static void axpby(cudaStream_t stream, float a, const float *x, float b, float *y) {
    const struct model_axpby args = {.n = N, .a = a, .x = x, .b = b, .y = y};
    model_kernel_axpby(stream, &args);
}
// Is it base + step * i throughout?
static int compare(const float *found, float base, float step) {
    for (size_t i = 0; i < N; i++)
        if (found[i] != base + step * (float)i) return WRONG_VALUE;
    return RIGHT;
}

// ---- devices ----

static int no_driver(int expected) {
    int count = 7, version = 7;
    void *memory = NULL;
    EXPECT(cudaGetDeviceCount(&count), expected);
    EXPECT(count, 0);
    EXPECT(cudaMalloc(&memory, 4), expected);
    EXPECT(cudaSetDevice(0), expected);
    EXPECT(cudaGetLastError(), expected);
    EXPECT(cudaGetLastError(), cudaSuccess);
    MUST(cudaRuntimeGetVersion(&version));
    EXPECT(version, CUDART_VERSION);
    MUST(cudaDriverGetVersion(&version));
    return RIGHT;
}
TEST(machines_without_a_usable_driver_say_why) {
    CHECK_RIGHT(run("GPUSIM_DEVICES=0", no_driver, cudaErrorInsufficientDriver));
    CHECK_RIGHT(run("GPUSIM_DRIVER=12080", no_driver, cudaErrorInsufficientDriver));
    CHECK_RIGHT(run("GPUSIM_DEVICES=0 GPUSIM_DRIVER=13000", no_driver, cudaErrorNoDevice));
    CHECK_RIGHT(run("GPUSIM_DEVICES=2 CUDA_VISIBLE_DEVICES=", no_driver, cudaErrorNoDevice));
}

static int two_devices(int visible) {
    struct cudaDeviceProp first, second;
    char bus[32];
    int count = 0, device = -1;
    MUST(cudaGetDeviceCount(&count));
    EXPECT(count, visible);
    MUST(cudaGetDeviceProperties(&first, 0));
    EXPECT(strcmp(first.name, visible == 2 ? "Simulated GPU 0" : "Simulated GPU 1"), 0);
    EXPECT(first.totalGlobalMem, 1 << 20);
    EXPECT(cudaSetDevice(visible), cudaErrorInvalidDevice);
    MUST(cudaSetDevice(visible - 1));
    MUST(cudaGetDevice(&device));
    EXPECT(device, visible - 1);
    MUST(cudaGetDeviceProperties(&second, visible - 1));
    EXPECT(memcmp(&first.uuid, &second.uuid, sizeof first.uuid) == 0, visible == 1);
    MUST(cudaDeviceGetPCIBusId(bus, sizeof bus, visible - 1));
    MUST(cudaDeviceGetByPCIBusId(&device, bus));
    EXPECT(device, visible - 1);
    int major = 0;
    MUST(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    EXPECT(major, first.major);
    return RIGHT;
}
TEST(devices_are_told_apart_and_chosen_by_the_environment) {
    CHECK_RIGHT(run("GPUSIM_DEVICES=2 GPUSIM_MEMORY=1048576", two_devices, 2));
    CHECK_RIGHT(
        run("GPUSIM_DEVICES=2 GPUSIM_MEMORY=1048576 CUDA_VISIBLE_DEVICES=1", two_devices, 1));
}

// ---- memory ----

static int full(int unused) {
    (void)unused;
    void *first = NULL, *second = NULL;
    size_t left = 0, total = 0;
    MUST(cudaMalloc(&first, 700 << 10));
    EXPECT(cudaMalloc(&second, 400 << 10), cudaErrorMemoryAllocation);
    EXPECT(second == NULL, true);
    EXPECT(cudaGetLastError(), cudaErrorMemoryAllocation);
    MUST(cudaMemGetInfo(&left, &total));
    EXPECT(left, 324 << 10);
    MUST(cudaFree(first));
    MUST(cudaMalloc(&second, 400 << 10));
    EXPECT(cudaFree((char *)second + 1), cudaErrorInvalidValue);
    MUST(cudaSetDevice(1));  // has its own
    MUST(cudaMalloc(&first, 1 << 20));
    return RIGHT;
}
TEST(a_device_has_the_memory_that_the_test_gives_it) {
    CHECK_RIGHT(run("GPUSIM_MEMORY=1048576 GPUSIM_DEVICES=2", full, 0));
}

// Copies look at whose memory it is and how long.
static int copies(int unused) {
    (void)unused;
    char *device = NULL, host[64] = {0};
    MUST(cudaMalloc((void **)&device, 32));
    EXPECT(cudaMemcpy(device, host, 33, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
    EXPECT(cudaMemcpy(device, host, 32, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
    EXPECT(cudaMemset(device + 1, 0, 32), cudaErrorInvalidValue);
    MUST(cudaMemcpy(host, device, 32, cudaMemcpyDeviceToHost));
    for (int i = 0; i < 32; i++) EXPECT((unsigned char)host[i], 0xff);  // never written
    MUST(cudaMemset2DAsync(device, 8, 5, 4, 4, NULL));
    MUST(cudaMemcpy2DAsync(host, 16, device, 8, 4, 4, cudaMemcpyDefault, NULL));
    MUST(cudaStreamSynchronize(NULL));
    for (int i = 0; i < 64; i++) EXPECT((unsigned char)host[i], i % 16 < 4 ? 5 : i < 32 ? 0xff : 0);
    return RIGHT;
}
TEST(copies_are_checked_against_what_they_touch) { CHECK_RIGHT(run("GPUSIM_DELAY=3", copies, 0)); }

// ---- order ----

// Upload on one stream, work on another, download on the first, ordered by events alone.
static int pipeline(int turns) {
    cudaStream_t copy = NULL, work = NULL;
    cudaEvent_t there = NULL, done = NULL;
    float *x = NULL, *y = NULL, *host = host_of(N);
    MUST(cudaStreamCreateWithFlags(&copy, cudaStreamNonBlocking));
    MUST(cudaStreamCreateWithPriority(&work, cudaStreamNonBlocking, -1));
    MUST(cudaEventCreateWithFlags(&there, cudaEventDisableTiming));
    MUST(cudaEventCreateWithFlags(&done, cudaEventDisableTiming));
    MUST(cudaMalloc((void **)&x, N * sizeof *x));
    MUST(cudaMalloc((void **)&y, N * sizeof *y));
    MUST(cudaMemsetAsync(y, 0, N * sizeof *y, work));
    for (int turn = 1; turn <= turns; turn++) {
        for (size_t i = 0; i < N; i++) host[i] = (float)i;
        MUST(cudaMemcpyAsync(x, host, N * sizeof *x, cudaMemcpyHostToDevice, copy));
        MUST(cudaEventRecord(there, copy));
        MUST(cudaStreamWaitEvent(work, there, 0));
        axpby(work, 2, x, 1, y);
        MUST(cudaGetLastError());
        MUST(cudaEventRecord(done, work));
        MUST(cudaStreamWaitEvent(copy, done, 0));
        MUST(cudaMemcpyAsync(host, y, N * sizeof *y, cudaMemcpyDeviceToHost, copy));
        while (cudaStreamQuery(copy) == cudaErrorNotReady) (void)cudaGetLastError();
        MUST(compare(host, 0, 2 * (float)turn));
    }
    MUST(cudaFree(x));
    MUST(cudaFree(y));
    MUST(cudaFreeHost(host));
    MUST(cudaStreamDestroy(copy));
    EXPECT(cudaStreamQuery(copy), cudaErrorInvalidResourceHandle);
    return RIGHT;
}
TEST(order_that_events_make_holds_at_every_seed) {
    char environment[64];
    for (int seed = 0; seed <= SEEDS; seed++) {
        snprintf(environment, sizeof environment, "GPUSIM_PROTECT=1 GPUSIM_DELAY=%d", seed);
        TEST_CASE(environment);
        CHECK_RIGHT(run(environment, pipeline, 3));
    }
}

// The device's own stream and blocking streams follow each other; others do not.
static int own_stream(int flags) {
    cudaStream_t stream = NULL;
    float *x = NULL, *host = host_of(N);
    for (size_t i = 0; i < N; i++) host[i] = (float)i;
    MUST(cudaStreamCreateWithFlags(&stream, (unsigned)flags));
    MUST(cudaMalloc((void **)&x, N * sizeof *x));
    MUST(cudaMemcpyAsync(x, host, N * sizeof *x, cudaMemcpyHostToDevice, NULL));
    axpby(stream, 1, x, 1, x);
    MUST(cudaMemcpyAsync(host, x, N * sizeof *x, cudaMemcpyDeviceToHost, NULL));
    MUST(cudaStreamSynchronize(NULL));
    return compare(host, 0, 2);
}
TEST(the_devices_own_stream_orders_blocking_streams_only) {
    char environment[64];
    int wrong = 0;
    for (int seed = 1; seed <= SEEDS; seed++) {
        snprintf(environment, sizeof environment, "GPUSIM_DELAY=%d", seed);
        TEST_CASE(environment);
        CHECK_RIGHT(run(environment, own_stream, cudaStreamDefault));
        wrong += run(environment, own_stream, cudaStreamNonBlocking) == WRONG_VALUE;
    }
    CHECK(wrong > 0);
}

// Work goes on by itself, as on a GPU: nobody asks, and the host's memory changes all the same.
static int unasked(int unused) {
    (void)unused;
    volatile float *host = host_of(N);
    float *x = NULL;
    cudaStream_t stream = NULL;
    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    MUST(cudaMalloc((void **)&x, N * sizeof *x));
    MUST(cudaMemsetAsync(x, 0, N * sizeof *x, stream));
    host[N - 1] = 1;
    MUST(
        cudaMemcpyAsync((void *)(uintptr_t)host, x, N * sizeof *x, cudaMemcpyDeviceToHost, stream));
    while (host[N - 1] != 0) {
    }
    return RIGHT;
}
TEST(work_goes_on_without_being_asked) { CHECK_RIGHT(run("GPUSIM_DELAY=5", unasked, 0)); }

static int timing(int unused) {
    (void)unused;
    cudaEvent_t start_event = NULL, end_event = NULL, never = NULL;
    float ms = -1, *x = NULL;
    MUST(cudaEventCreate(&start_event));
    MUST(cudaEventCreate(&end_event));
    MUST(cudaEventCreate(&never));
    MUST(cudaMalloc((void **)&x, N * sizeof *x));
    MUST(cudaEventRecord(start_event, NULL));
    axpby(NULL, 1, x, 1, x);
    MUST(cudaEventRecord(end_event, NULL));
    MUST(cudaEventSynchronize(end_event));
    MUST(cudaEventElapsedTime(&ms, start_event, end_event));
    EXPECT(ms > 0 && ms < 10000, true);
    EXPECT(cudaEventElapsedTime(&ms, start_event, never), cudaErrorInvalidResourceHandle);
    MUST(cudaEventQuery(never));  // nothing to wait for
    MUST(cudaEventDestroy(never));
    EXPECT(cudaEventQuery(never), cudaErrorInvalidResourceHandle);
    return RIGHT;
}
TEST(events_measure_time) { CHECK_RIGHT(run("GPUSIM_DELAY=6", timing, 0)); }

// ---- planned faults ----

static int lost(int unused) {
    (void)unused;
    float *x = NULL;
    MUST(cudaSetDevice(0));
    MUST(cudaStreamSynchronize(NULL));
    MUST(cudaMalloc((void **)&x, N * sizeof *x));
    EXPECT(cudaStreamSynchronize(NULL), cudaErrorLaunchFailure);
    EXPECT(cudaFree(x), cudaErrorLaunchFailure);  // and from here on
    EXPECT(cudaDeviceSynchronize(), cudaErrorLaunchFailure);
    axpby(NULL, 1, x, 1, x);
    EXPECT(cudaGetLastError(), cudaErrorLaunchFailure);
    return RIGHT;
}
static int faulty(int unused) {
    (void)unused;
    void *memory = NULL;
    MUST(cudaSetDevice(1));
    MUST(cudaMalloc(&memory, 64));
    EXPECT(cudaMalloc(&memory, 64), cudaErrorMemoryAllocation);
    MUST(cudaMalloc(&memory, 64));
    axpby(NULL, 1, memory, 1, memory);
    EXPECT(cudaGetLastError(), cudaErrorLaunchOutOfResources);
    return RIGHT;
}
static int healthy(int unused) {
    (void)unused;
    void *memory = NULL;
    MUST(cudaMalloc(&memory, 64));
    return RIGHT;
}
TEST(planned_faults_happen_at_their_call) {
    CHECK_RIGHT(run("GPUSIM_FAULT=cudaStreamSynchronize:2:719", lost, 0));
    CHECK_RIGHT(run("GPUSIM_DEVICES=2 GPUSIM_FAULT=cudaMalloc@0:1:2,cudaMalloc@1:2:2,"
                    "cudaLaunchKernel:1:701",
                    faulty, 0));
    CHECK_INT(run("GPUSIM_FAULT=cudaMalloc", faulty, 0), GPUSIM_EXIT);
    CHECK_HAS(said, "GPUSIM_FAULT=cudaMalloc: expected FUNCTION");

    char folder[256], environment[512];
    check_folder(folder);
    snprintf(environment, sizeof environment, "GPUSIM_FAULT=cudaMalloc:1:2 GPUSIM_FAULT_ONCE=%s/x",
             folder);
    CHECK_INT(run(environment, healthy, 0), 2);
    CHECK_RIGHT(run(environment, healthy, 0));
    snprintf(environment, sizeof environment, "%s/x", folder);
    CHECK(unlink(environment) == 0 && rmdir(folder) == 0);
}

static int forked(int unused) {
    (void)unused;
    int count = 0;
    MUST(cudaGetDeviceCount(&count));
    const pid_t child = fork();
    if (child == 0) _exit(cudaGetDeviceCount(&count) == cudaErrorInitializationError ? 0 : 1);
    int status = 0;
    return waitpid(child, &status, 0) == child && status == 0 ? RIGHT : WRONG_VALUE;
}
TEST(a_fork_cannot_go_on_with_the_device) { CHECK_RIGHT(run("", forked, 0)); }

// ---- bugs of host code ----

enum bug {
    NONE,
    NO_SYNC,      // the result is read before the stream has ended
    NO_EVENT,     // another stream works on what was not yet uploaded
    EARLY_REUSE,  // the pinned buffer is filled again before its copy was made
    LATE_EVENT,   // the event is recorded before the work that it stands for
    READS_STALE,  // a second download comes without a wait: the first one's values are there
    HOST_READS,   // host code follows a device pointer
    OVERRUN,      // a kernel's arguments are longer than the memory
    DEVICE_EDGE,  // device memory is written beside the allocation, within its page
};

static int buggy(int bug) {
    cudaStream_t copy = NULL, work = NULL;
    cudaEvent_t there = NULL;
    float *x = NULL, *in = host_of(N), *out = host_of(N);
    MUST(cudaStreamCreateWithFlags(&copy, cudaStreamNonBlocking));
    MUST(cudaStreamCreateWithFlags(&work, cudaStreamNonBlocking));
    MUST(cudaEventCreateWithFlags(&there, cudaEventDisableTiming));
    MUST(cudaMalloc((void **)&x, N * sizeof *x - (bug == DEVICE_EDGE ? 4 : 0)));
    const size_t bytes = N * sizeof *x - (bug == DEVICE_EDGE ? 4 : 0);
    for (size_t i = 0; i < N; i++) in[i] = (float)i;
    if (bug == LATE_EVENT) MUST(cudaEventRecord(there, copy));
    MUST(cudaMemcpyAsync(x, in, bytes, cudaMemcpyHostToDevice, copy));
    if (bug != LATE_EVENT) MUST(cudaEventRecord(there, copy));
    if (bug == EARLY_REUSE)
        for (size_t i = 0; i < N; i++) in[i] = 5;
    if (bug != NO_EVENT) MUST(cudaStreamWaitEvent(work, there, 0));
    axpby(work, 1, x, 1, x + (bug == OVERRUN ? 2000 : 0));
    MUST(cudaMemcpyAsync(out, x, bytes, cudaMemcpyDeviceToHost, work));
    if (bug == NO_SYNC) return compare(out, 0, 2);
    MUST(cudaStreamSynchronize(work));
    if (bug == HOST_READS) return x[7] == 14 ? RIGHT : WRONG_VALUE;
    if (bug == DEVICE_EDGE) {
        MUST(cudaFree(x));
        return RIGHT;
    }
    if (compare(out, 0, 2) != RIGHT) return WRONG_VALUE;
    MUST(cudaMemcpyAsync(out, x, bytes, cudaMemcpyDeviceToHost, work));  // as it was
    if (bug != READS_STALE) MUST(cudaStreamSynchronize(work));
    return compare(out, 0, 2);
}

static const struct {
    enum bug bug;
    const char *name, *mode;  // besides a delay
    int code;
    bool every_seed;
    const char *says;
} caught[] = {
    {NO_SYNC, "no_sync", "", WRONG_VALUE, true, ""},
    {NO_EVENT, "no_event", "", WRONG_VALUE, false, ""},
    {EARLY_REUSE, "early_reuse", "", WRONG_VALUE, false, ""},
    {LATE_EVENT, "late_event", "", WRONG_VALUE, false, ""},
    {READS_STALE, "reads_stale", "", WRONG_VALUE, false, ""},
    {HOST_READS, "host_reads", " GPUSIM_PROTECT=1", GPUSIM_EXIT, true,
     "memory of device 0 was touched at byte 28 of 12000, by host code"},
    {OVERRUN, "overrun", " GPUSIM_PROTECT=1", GPUSIM_EXIT, true,
     "memory of device 0 was touched at byte"},
    {DEVICE_EDGE, "device_edge", "", GPUSIM_EXIT, true,
     "device memory of 11996 bytes was written at byte 1199"},
};

TEST(host_code_without_a_bug_passes_every_seed) {
    char environment[64];
    for (int seed = 0; seed <= SEEDS; seed++) {
        snprintf(environment, sizeof environment, "GPUSIM_PROTECT=1 GPUSIM_DELAY=%d", seed);
        TEST_CASE(environment);
        CHECK_RIGHT(run(environment, buggy, NONE));
    }
}
TEST(each_planted_bug_is_caught_by_its_mode) {
    char environment[64];
    for (size_t i = 0; i < PROTO_COUNT(caught); i++) {
        TEST_CASE(caught[i].name);
        int seen = 0;
        for (int seed = 1; seed <= SEEDS; seed++) {
            snprintf(environment, sizeof environment, "GPUSIM_DELAY=%d%s", seed, caught[i].mode);
            const int code = run(environment, buggy, caught[i].bug);
            seen += code == caught[i].code;
            if (caught[i].every_seed) CHECK_INT(code, caught[i].code);
            if (code == caught[i].code) CHECK_HAS(said, caught[i].says);
        }
        print_message("%s: %d of %d seeds\n", caught[i].name, seen, SEEDS);
        CHECK(seen > 0);
    }
}

TEST_MAIN(UNIT(machines_without_a_usable_driver_say_why),
          UNIT(devices_are_told_apart_and_chosen_by_the_environment),
          UNIT(a_device_has_the_memory_that_the_test_gives_it),
          UNIT(copies_are_checked_against_what_they_touch),
          UNIT(order_that_events_make_holds_at_every_seed),
          UNIT(the_devices_own_stream_orders_blocking_streams_only),
          UNIT(work_goes_on_without_being_asked), UNIT(events_measure_time),
          UNIT(planned_faults_happen_at_their_call), UNIT(a_fork_cannot_go_on_with_the_device),
          UNIT(host_code_without_a_bug_passes_every_seed),
          UNIT(each_planted_bug_is_caught_by_its_mode))
