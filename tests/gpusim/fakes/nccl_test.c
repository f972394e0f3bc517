// tests/gpusim/fakes/nccl_test.c - the fakes' NCCL between real processes. Oracles: sums of whole
// numbers, exact in every type used; the library's manual for states; and, for peers that died,
// wait or disagree, that nothing completes until the communicator is aborted.
#include "tests/gpusim/fakes/fakes_world.h"

#include <nccl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <time.h>

#define RANKS 3
#define HANGS_MS 300  // so long nothing may complete; what is right takes a few

// What the processes of a test share.
static struct {
    atomic_int has_id, arrived, left;
    ncclUniqueId id;
} * shared;

static int ranks_of_test = RANKS;

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}
static void wait_for_count(atomic_int *count, int least) {
    while (atomic_load(count) < least) sched_yield();
}

// Runs `host(rank)` in a process per rank; codes[r] is how each ended. Before that, a new meeting.
static void run_ranks(const char *environment, int ranks, int (*host)(int), int codes[]) {
    static char texts[RANKS][sizeof said];
    pid_t pids[RANKS];
    int ends[RANKS];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    ranks_of_test = ranks;
    for (int r = 0; r < ranks; r++) pids[r] = start(environment, host, r, &ends[r]);
    said[0] = '\0';
    for (int r = 0; r < ranks; r++) {
        codes[r] = finish(pids[r], ends[r], texts[r], sizeof texts[r]);
        const size_t length = strlen(said);
        snprintf(said + length, sizeof said - length, "%s", texts[r]);
    }
    munmap(shared, sizeof *shared);
}
static void check_ranks(const char *environment, int ranks, int (*host)(int)) {
    int codes[RANKS];
    run_ranks(environment, ranks, host, codes);
    for (int r = 0; r < ranks; r++) CHECK_RIGHT(codes[r]);
}

// ---- in a rank ----

static cudaStream_t stream;

// Until the communicator has nothing in progress, or for so long.
static ncclResult_t settled(ncclComm_t comm, double limit_ms) {
    ncclResult_t state = ncclInProgress;
    const double begin = now_ms();
    while (ncclCommGetAsyncError(comm, &state) == ncclSuccess && state == ncclInProgress &&
           now_ms() - begin < limit_ms)
        sched_yield();
    return state;
}
static int done(ncclComm_t comm, ncclResult_t result) {
    if (result == ncclInProgress) result = settled(comm, 20000);
    return (int)result;
}
static bool completes(double limit_ms) {
    const double begin = now_ms();
    while (cudaStreamQuery(stream) == cudaErrorNotReady) {
        if (now_ms() - begin > limit_ms) return false;
        sched_yield();
    }
    return true;
}

static int begin(int rank, int device, ncclComm_t *comm) {
    MUST(cudaSetDevice(device));
    MUST(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    if (rank == 0) {
        MUST(ncclGetUniqueId(&shared->id));
        atomic_store(&shared->has_id, 1);
    }
    wait_for_count(&shared->has_id, 1);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    EXPECT(ncclCommInitRankConfig(comm, ranks_of_test, shared->id, rank, &config), ncclInProgress);
    return RIGHT;
}
static int joined(int rank, ncclComm_t *comm) {
    MUST(begin(rank, rank, comm));
    EXPECT(settled(*comm, 20000), ncclSuccess);
    return RIGHT;
}
static int end(ncclComm_t comm) {
    MUST(done(comm, ncclCommFinalize(comm)));
    MUST(ncclCommDestroy(comm));
    EXPECT(ncclCommDestroy(comm), ncclInvalidArgument);
    return RIGHT;
}

// ---- results ----

#define LARGE 700001  // elements: several chunks, the last one odd

static float *send, *receive, *host_memory;

static int fill(int rank, size_t count) {
    for (size_t i = 0; i < count; i++) host_memory[i] = (float)(rank + 1) * (float)(i % 1000);
    MUST(cudaMemcpyAsync(send, host_memory, count * sizeof *send, cudaMemcpyHostToDevice, stream));
    MUST(cudaMemsetAsync(receive, 0xff, LARGE * sizeof *receive, stream));
    MUST(cudaStreamSynchronize(stream));
    return RIGHT;
}
static int fetch(size_t count) {
    MUST(cudaMemcpyAsync(host_memory, receive, count * sizeof *receive, cudaMemcpyDeviceToHost,
                         stream));
    MUST(cudaStreamSynchronize(stream));
    return RIGHT;
}
static float element(size_t i) { return (float)(i % 1000); }

static int sums(ncclComm_t comm, int rank, size_t count) {
    const float all = RANKS * (RANKS + 1) / 2;
    MUST(fill(rank, count));
    MUST(done(comm, ncclAllReduce(send, receive, count, ncclFloat32, ncclSum, comm, stream)));
    MUST(fetch(count));
    for (size_t i = 0; i < count; i++) EXPECT(host_memory[i] == all * element(i), true);

    const size_t part = count / RANKS;
    MUST(fill(rank, count));
    MUST(done(comm, ncclReduceScatter(send, receive, part, ncclFloat32, ncclSum, comm, stream)));
    MUST(fetch(part));
    for (size_t i = 0; i < part; i++)
        EXPECT(host_memory[i] == all * element((size_t)rank * part + i), true);

    // of rank 2 alone
    MUST(fill(rank, count));
    MUST(done(comm, ncclReduce(send, rank == 2 ? receive : NULL, count, ncclFloat32, ncclMax, 2,
                               comm, stream)));
    MUST(fetch(count));
    for (size_t i = 0; i < count && rank == 2; i++)
        EXPECT(host_memory[i] == RANKS * element(i), true);
    return RIGHT;
}
static int moves(ncclComm_t comm, int rank, size_t count) {
    MUST(fill(rank, count));
    MUST(done(comm, ncclBroadcast(send, receive, count, ncclFloat32, 1, comm, stream)));
    MUST(fetch(count));
    for (size_t i = 0; i < count; i++) EXPECT(host_memory[i] == 2 * element(i), true);

    const size_t part = count / RANKS;
    MUST(fill(rank, part));
    MUST(done(comm, ncclAllGather(send, receive, part, ncclFloat32, comm, stream)));
    MUST(fetch(part * RANKS));
    for (size_t i = 0; i < part * RANKS; i++)
        EXPECT(host_memory[i] == (float)(i / part + 1) * element(i % part), true);
    return RIGHT;
}
static int results(int rank) {
    ncclComm_t comm = NULL;
    int value = -1;
    MUST(joined(rank, &comm));
    MUST(ncclCommCount(comm, &value));
    EXPECT(value, RANKS);
    MUST(ncclCommUserRank(comm, &value));
    EXPECT(value, rank);
    MUST(cudaMalloc((void **)&send, LARGE * sizeof *send));
    MUST(cudaMalloc((void **)&receive, LARGE * sizeof *receive));
    MUST(cudaHostAlloc((void **)&host_memory, LARGE * sizeof *host_memory, 0));
    const size_t counts[] = {RANKS, 999, LARGE};
    for (size_t i = 0; i < PROTO_COUNT(counts); i++) {
        MUST(sums(comm, rank, counts[i]));
        MUST(moves(comm, rank, counts[i]));
    }
    return end(comm);
}
TEST(ranks_get_the_sums_and_parts_of_all) {
    check_ranks("GPUSIM_DEVICES=3", RANKS, results);
    check_ranks("GPUSIM_DEVICES=3 GPUSIM_DELAY=1", RANKS, results);
    check_ranks("GPUSIM_DEVICES=3 GPUSIM_DELAY=2 GPUSIM_PROTECT=1", RANKS, results);
}

// Halves and averages: exact here. Two operations in a group, the second on what the first gave.
static int halves(int rank) {
    ncclComm_t comm = NULL;
    uint16_t *device = NULL, host[4] = {0x3f80, 0x4000, 0xbf80, 0x0000};  // 1 2 -1 0 in bf16
    MUST(joined(rank, &comm));
    MUST(cudaMalloc((void **)&device, sizeof host));
    MUST(cudaMemcpy(device, host, sizeof host, cudaMemcpyHostToDevice));
    MUST(cudaStreamSynchronize(NULL));
    MUST(ncclGroupStart());
    MUST(ncclAllReduce(device, device, 4, ncclBfloat16, ncclSum, comm, stream));
    MUST(ncclAllReduce(device, device, 4, ncclBfloat16, ncclAvg, comm, stream));
    MUST(done(comm, ncclGroupEnd()));
    MUST(cudaStreamSynchronize(stream));
    MUST(cudaMemcpy(host, device, sizeof host, cudaMemcpyDeviceToHost));
    const uint16_t expected[4] = {0x4000, 0x4080, 0xc000, 0x0000};
    EXPECT(memcmp(host, expected, sizeof host), 0);
    return end(comm);
}
TEST(groups_and_halves) { check_ranks("GPUSIM_DEVICES=2 GPUSIM_DELAY=3", 2, halves); }

// ---- answers that come later ----

// ncclInProgress means that nothing is on the stream yet.
static int impatient(int rank) {
    ncclComm_t comm = NULL;
    float *device = NULL, value = 1;
    int wrong = 0;
    MUST(joined(rank, &comm));
    MUST(cudaMalloc((void **)&device, sizeof *device));
    for (int turn = 0; turn < 20; turn++) {
        value = 1;
        MUST(cudaMemcpy(device, &value, sizeof value, cudaMemcpyHostToDevice));
        MUST(cudaStreamSynchronize(NULL));
        const ncclResult_t result =
            ncclAllReduce(device, device, 1, ncclFloat32, ncclSum, comm, stream);
        if (result == ncclInProgress) {
            EXPECT(ncclAllReduce(device, device, 1, ncclFloat32, ncclSum, comm, stream),
                   ncclInvalidArgument);
            MUST(cudaStreamSynchronize(stream));
            MUST(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
            wrong += value == 1;  // nothing happened
        }
        MUST(done(comm, result));
        MUST(cudaStreamSynchronize(stream));
        MUST(cudaMemcpy(&value, device, sizeof value, cudaMemcpyDeviceToHost));
        EXPECT(value == 2, true);
    }
    EXPECT(wrong > 0, true);
    return end(comm);
}
TEST(an_operation_in_progress_is_not_yet_on_its_stream) {
    check_ranks("GPUSIM_DEVICES=2 GPUSIM_DELAY=4", 2, impatient);
}

// ---- what goes wrong ----

static int duplicate(int rank) {
    ncclComm_t comm = NULL;
    MUST(begin(rank, 0, &comm));
    EXPECT(settled(comm, 20000), ncclInvalidUsage);
    EXPECT(strncmp(ncclGetLastError(comm), "Duplicate GPU detected", 22), 0);
    return (int)ncclCommAbort(comm);
}
TEST(two_ranks_on_one_device_are_refused) {
    check_ranks("GPUSIM_DEVICES=2", 2, duplicate);
    // nor are they told apart by how each counts its devices
    check_ranks("GPUSIM_DEVICES=2 CUDA_VISIBLE_DEVICES=1", 2, duplicate);
}

static void *abort_soon(void *comm) {
    ncclCommAbort(comm);
    return NULL;
}
// Nothing completes, until another thread aborts; then a wait for the stream ends.
static int hangs_until_abort(ncclComm_t comm) {
    EXPECT(completes(HANGS_MS), false);
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, abort_soon, comm));
    MUST(cudaStreamSynchronize(stream));
    MUST(pthread_join(thread, NULL));
    EXPECT(ncclCommAbort(comm), ncclInvalidArgument);
    return RIGHT;
}

// Rank 1 dies before its part; the others wait, and hear of it only when the test allows.
static int widow(int rank) {
    ncclComm_t comm = NULL;
    float *device = NULL;
    const bool told = getenv("GPUSIM_NCCL_REMOTE") != NULL;
    MUST(joined(rank, &comm));
    atomic_fetch_add(&shared->arrived, 1);
    wait_for_count(&shared->arrived, ranks_of_test);
    if (rank == 1) raise(SIGKILL);
    MUST(cudaMalloc((void **)&device, 1 << 20));
    const ncclResult_t result =
        ncclAllReduce(device, device, 1000, ncclFloat32, ncclSum, comm, stream);
    if (told) {
        ncclResult_t state = ncclSuccess;
        const double begin_ms = now_ms();
        while (state != ncclRemoteError && now_ms() - begin_ms < 20000)
            MUST(ncclCommGetAsyncError(comm, &state));
        EXPECT(state, ncclRemoteError);
        return (int)ncclCommAbort(comm);
    }
    MUST(done(comm, result));
    return hangs_until_abort(comm);
}
TEST(a_dead_peer_is_waited_for_until_abort) {
    static const char *const environments[] = {"GPUSIM_DEVICES=3",
                                               "GPUSIM_DEVICES=3 GPUSIM_DELAY=5",
                                               "GPUSIM_DEVICES=3 GPUSIM_NCCL_REMOTE=1"};
    for (size_t i = 0; i < PROTO_COUNT(environments); i++) {
        int codes[RANKS];
        TEST_CASE(environments[i]);
        run_ranks(environments[i], RANKS, widow, codes);
        CHECK_RIGHT(codes[0]);
        CHECK_INT(codes[1], 128 + SIGKILL);
        CHECK_RIGHT(codes[2]);
    }
}

// Counts, types or operations that differ: never done.
static int mismatch(int rank) {
    ncclComm_t comm = NULL;
    float *device = NULL;
    MUST(joined(rank, &comm));
    MUST(cudaMalloc((void **)&device, 1 << 20));
    MUST(done(comm, ncclAllReduce(device, device, rank == 0 ? 1000 : 999, ncclFloat32, ncclSum,
                                  comm, stream)));
    MUST(hangs_until_abort(comm));
    atomic_fetch_add(&shared->left, 1);
    wait_for_count(&shared->left, ranks_of_test);
    return RIGHT;
}
TEST(operations_that_differ_hang) { check_ranks("GPUSIM_DEVICES=2", 2, mismatch); }

// A rank that never comes: in progress for good, and abort is a way out.
static int alone(int rank) {
    ncclComm_t comm = NULL;
    ranks_of_test = 2;
    MUST(begin(rank, rank, &comm));
    EXPECT(settled(comm, HANGS_MS), ncclInProgress);
    return (int)ncclCommAbort(comm);
}
TEST(a_rank_that_never_comes_is_waited_for) { check_ranks("", 1, alone); }

// Whoever made the id has gone.
static int orphan(int unused) {
    (void)unused;
    int ends[2];
    ncclUniqueId id;
    ncclComm_t comm = NULL;
    MUST(pipe(ends));
    const pid_t child = fork();
    if (child == 0) _exit(ncclGetUniqueId(&id) || write(ends[1], &id, sizeof id) != sizeof id);
    EXPECT(waitpid(child, NULL, 0), child);
    EXPECT(read(ends[0], &id, sizeof id), sizeof id);
    EXPECT(ncclCommInitRank(&comm, 2, id, 1), ncclSystemError);
    return (int)ncclCommAbort(comm);
}
static int without_driver(int unused) {
    (void)unused;
    ncclUniqueId id;
    ncclComm_t comm = NULL;
    MUST(ncclGetUniqueId(&id));
    EXPECT(ncclCommInitRank(&comm, 1, id, 0), ncclUnhandledCudaError);
    return RIGHT;
}
TEST(joining_fails_by_name) {
    CHECK_RIGHT(run("", orphan, 0));
    CHECK_RIGHT(run("GPUSIM_DEVICES=0", without_driver, 0));
}

TEST_MAIN(UNIT(ranks_get_the_sums_and_parts_of_all), UNIT(groups_and_halves),
          UNIT(an_operation_in_progress_is_not_yet_on_its_stream),
          UNIT(two_ranks_on_one_device_are_refused), UNIT(a_dead_peer_is_waited_for_until_abort),
          UNIT(operations_that_differ_hang), UNIT(a_rank_that_never_comes_is_waited_for),
          UNIT(joining_fails_by_name))
