// tests/gpusim/gpusim_test.c - the simulator catches what it says it catches: each known bug is
// planted in a kernel, and the mode that claims to see it must name it. Oracle: the right kernel
// passes every mode at every seed, so that a finding is the bug's own.
//
// Modes: plain (eight orders of threads), address (with the undefined sanitizer), thread.
#include "tests/check.h"

#include "proto/error.h"
#include "tests/gpusim/gpusim.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

enum mode { PLAIN, ADDRESS, THREAD };
static const char *const programs[] = {
    GPUSIM_PROGRAMS "/gpusim_bugs_plain",
    GPUSIM_PROGRAMS "/gpusim_bugs_address",
    GPUSIM_PROGRAMS "/gpusim_bugs_thread",
};
#define SEEDS 8

// Runs one bug with one seed; what it printed is in `text`. Returns the exit code.
static int run_bug(enum mode mode, const char *bug, int seed, char *text, size_t size) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    char order[32];
    snprintf(order, sizeof order, "GPUSIM_SEED=%d", seed);
    char *const environment[] = {order,
                                 (char *)(uintptr_t) "ASAN_OPTIONS=detect_leaks=0:symbolize=0",
                                 (char *)(uintptr_t) "UBSAN_OPTIONS=symbolize=0",
                                 (char *)(uintptr_t) "TSAN_OPTIONS=symbolize=0", NULL};
    char *const words[] = {(char *)(uintptr_t)programs[mode], (char *)(uintptr_t)bug, NULL};
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execve(words[0], words, environment);
        _exit(127);
    }
    close(ends[1]);
    size_t filled = 0;
    for (;;) {
        char rest[512];
        const bool room = filled + 1 < size;
        const ssize_t n = room ? read(ends[0], text + filled, size - 1 - filled)
                               : read(ends[0], rest, sizeof rest);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        if (room) filled += (size_t)n;
    }
    text[filled] = '\0';
    close(ends[0]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

TEST(gpusim_finds_nothing_in_right_kernels) {
    char text[8192];
    for (int mode = PLAIN; mode <= THREAD; mode++)
        for (int seed = 1; seed <= (mode == PLAIN ? SEEDS : 3); seed++) {
            TEST_CASE(programs[mode]);
            const int code = run_bug((enum mode)mode, "none", seed, text, sizeof text);
            CHECK_TEXT(text, "right\n");
            CHECK_INT(code, 0);
        }
}

// What a mode says about a bug. Rules of CUDA are checked whatever the order, so every seed must
// say so; a missing barrier needs an order that shows it, so some seed must.
static const struct {
    const char *bug;
    enum mode mode;
    bool every_seed;
    const char *says;
} caught[] = {
    {"divergent_barrier", PLAIN, true, "__syncthreads in a divergent branch: kernel rows_kernel"},
    {"early_exit", PLAIN, true, "a thread left the kernel before a __syncthreads"},
    {"mask", PLAIN, true, "a lane calls a collective whose mask leaves it out"},
    {"lost_lanes", PLAIN, true, "a warp collective waits for lanes that never come"},
    {"outside_mask", PLAIN, true, "a shuffle reads a lane outside its mask"},
    {"threads_too_many", PLAIN, true, "the number of threads is 1056, a GPU takes 1 to 1024"},
    {"shared_too_much", PLAIN, true, "shared memory in bytes is 49153, a GPU takes 1 to 49152"},
    {"not_asked_for", PLAIN, true, "dynamic shared memory that the launch did not ask for"},
    {"unwritten", PLAIN, true, "wrong value"},
    {"no_barrier", PLAIN, false, "wrong value"},
    {"no_reuse", PLAIN, false, "wrong value"},
    {"global_end", ADDRESS, true, "heap-buffer-overflow"},
    {"shared_end", ADDRESS, true, "out of bounds for type"},
    {"no_barrier", THREAD, true, "data race"},
    {"no_reuse", THREAD, true, "data race"},
    {"blocks_race", THREAD, true, "data race"},
    {"no_syncwarp", THREAD, true, "data race"},
};

TEST(gpusim_catches_each_planted_bug_by_name) {
    char text[8192];
    for (size_t i = 0; i < PROTO_COUNT(caught); i++) {
        TEST_CASE(caught[i].bug);
        const int seeds = caught[i].mode == PLAIN ? SEEDS : 1;
        int said = 0;
        for (int seed = 1; seed <= seeds; seed++) {
            const int code = run_bug(caught[i].mode, caught[i].bug, seed, text, sizeof text);
            const bool says = strstr(text, caught[i].says) != NULL;
            said += says;
            if (says) CHECK(code != 0);
            if (caught[i].every_seed && !says) CHECK_HAS(text, caught[i].says);
        }
        if (said == 0) CHECK_HAS(text, caught[i].says);
    }
}

// The place is named: kernel, block, thread and line, so that a finding can be acted on.
TEST(gpusim_names_the_place) {
    char text[8192];
    const int code = run_bug(PLAIN, "early_exit", 1, text, sizeof text);
    CHECK_INT(code, GPUSIM_EXIT);
    CHECK_HAS(text, "kernel rows_kernel, block (");
    CHECK_HAS(text, "thread 17, line ");
    CHECK_HAS(text, "; the others at line ");
}

TEST_MAIN(UNIT(gpusim_finds_nothing_in_right_kernels),
          UNIT(gpusim_catches_each_planted_bug_by_name), UNIT(gpusim_names_the_place))
