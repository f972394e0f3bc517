// tests/proto/checkpoint_crash_test.c - kill -9 and a full disk at every call by which a checkpoint
// is written, replaced or rotated: afterwards the old checkpoints are there, or the old and the
// whole new one; the newest one resumes; writing the step again works.
#include "tests/proto/checkpoint_case.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// A disk that ends the process, or answers `answer`, at call number `stop_at` (when torn: at that
// write).
static int calls, stop_at, answer;
static bool torn;       // a write that is stopped puts its first half
static bool for_good;   // every later call of the kind fails too: the disk stays full
static bool exchanges;  // the file system can exchange names

// True: the call is answered with an error, or is a write that puts half before the end.
static bool stops(bool is_write) {
    if (torn && !is_write) return false;
    calls++;
    if (answer == 0 && calls == stop_at && !torn) raise(SIGKILL);
    errno = answer;
    return for_good ? calls >= stop_at : calls == stop_at;
}
static int stop_open(const char *path, int flags, mode_t mode) {
    if (stops(false) && answer) return -1;
    return proto_disk_real.open(path, flags, mode);
}
static ssize_t stop_write(int descriptor, const void *data, size_t size) {
    const bool stopped = stops(true);
    if (stopped && answer) return -1;
    const ssize_t put_bytes = proto_disk_real.write(descriptor, data, stopped ? size / 2 : size);
    if (stopped) raise(SIGKILL);
    return put_bytes;
}
static int stop_fsync(int descriptor) {
    (void)descriptor;
    if (stops(false) && answer) return -1;
    return 0;  // kill -9 loses nothing that was written; fsync's order has a test of its own
}
static int stop_rename(const char *from, const char *to) {
    if (stops(false) && answer) return -1;
    return proto_disk_real.rename(from, to);
}
static int stop_exchange(const char *a, const char *b) {
    if (stops(false) && answer) return -1;
    errno = EINVAL;
    return exchanges ? proto_disk_real.exchange(a, b) : -1;
}
static int stop_mkdir(const char *path, mode_t mode) {
    if (stops(false) && answer) return -1;
    return proto_disk_real.mkdir(path, mode);
}
// removing needs no room, so only a kill stops it
static int stop_unlink(const char *path) {
    if (answer == 0) stops(false);
    return proto_disk_real.unlink(path);
}
static int stop_rmdir(const char *path) {
    if (answer == 0) stops(false);
    return proto_disk_real.rmdir(path);
}
static const struct proto_disk stopping = {stop_open,     stop_write, stop_fsync,  stop_rename,
                                           stop_exchange, stop_mkdir, stop_unlink, stop_rmdir};

static int no_fsync(int descriptor) {
    (void)descriptor;
    return 0;
}

// A disk that nobody waits for, between the calls that matter.
static void hurry(void) {
    static struct proto_disk quick;
    quick = proto_disk_real;
    quick.fsync = no_fsync;
    proto_disk_replace(&quick);
}

// Steps 1 and 2, version 1, and nothing else.
static void lay_out(void) {
    struct proto_error error = {0};
    struct proto_names names = {0};
    CHECK_OK(proto_folder_list(run, &names, &error), error);
    for (size_t i = 0; i < names.count; i++)
        if (strncmp(names.items[i], "checkpoint-", 11) == 0)
            CHECK_OK(proto_folder_remove(in(names.items[i]), &error), error);
    proto_names_free(&names);
    put(1, 1);
    put(2, 1);
}

static const char *left(void) {
    static char text[300];
    struct proto_error error = {0};
    uint64_t *steps = NULL;
    size_t count = 0, used = 0;
    CHECK_OK(proto_checkpoint_list(run, &steps, &count, &error), error);
    text[0] = '\0';
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i > 0 ? " " : "",
                                 (int)steps[i]);
    free(steps);
    return text;
}

// The newest checkpoint is whole; returns its step.
static uint64_t resumes(void) {
    struct proto_error error = {0};
    struct proto_trainer_state found = {0};
    char *path = NULL;
    CHECK_OK(proto_checkpoint_resolve(run, "auto", &path, &error), error);
    CHECK(path);
    CHECK_OK(proto_checkpoint_check(path, &error), error);
    CHECK_OK(proto_checkpoint_state_read(path, &found, &error), error);
    free(path);
    return found.step;
}

// In a child, on the stopping disk: writes `step`, version 2, and rotates. Its wait status.
static int write_in_child(uint64_t step, uint64_t keep) {
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        struct proto_error error;
        const struct proto_checkpoint checkpoint = case_checkpoint(step, 2);
        calls = 0;
        proto_disk_replace(&stopping);
        if (!proto_checkpoint_write(run, &checkpoint, &error)) _exit(1);
        _exit(proto_checkpoint_rotate(run, keep, &error) ? 0 : 2);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static int kill_everywhere(uint64_t step, void (*look)(void)) {
    int moments = 0;
    hurry();
    answer = 0;
    for (int half = 0; half < 2; half++) {
        bool finished = false;
        torn = half == 1;
        for (stop_at = 1; !finished; stop_at++) {
            char name[64];
            snprintf(name, sizeof name, "killed at call %d%s", stop_at, torn ? ", torn" : "");
            TEST_CASE(name);
            lay_out();
            const int status = write_in_child(step, 2);
            finished = WIFEXITED(status);
            if (finished) CHECK_INT(WEXITSTATUS(status), 0);
            if (!finished) CHECK_INT(WTERMSIG(status), SIGKILL);
            look();
            // going on: the same step is written again, and the left-overs go
            struct proto_error error = {0};
            put(step, 3);
            CHECK_INT(version_of(step), 3);
            CHECK_OK(proto_checkpoint_rotate(run, 2, &error), error);
            CHECK(resumes() == step);
            struct proto_names names = {0};
            CHECK_OK(proto_folder_list(run, &names, &error), error);
            for (size_t i = 0; i < names.count; i++)
                CHECK(strncmp(names.items[i], "checkpoint-", 11) != 0 ||
                      strchr(names.items[i], '.') == NULL);
            proto_names_free(&names);
            moments += !finished;
            CHECK(stop_at < 500);
        }
    }
    TEST_CASE("");
    return moments;
}

static void look_new_step(void) {
    const char *steps = left();
    const uint64_t newest = resumes();
    if (newest == 2) {
        CHECK_TEXT(steps, "1 2");
    } else {
        CHECK_INT(newest, 3);
        // old and new, or rotation had begun: step 1 is over the limit of two
        CHECK(strcmp(steps, "1 2 3") == 0 || strcmp(steps, "2 3") == 0);
        CHECK_INT(version_of(3), 2);
    }
    CHECK_INT(version_of(2), 1);
    if (steps[0] == '1') CHECK_INT(version_of(1), 1);
}

TEST(checkpoint_killed_at_any_call_of_a_new_step_is_old_or_old_and_new) {
    exchanges = true;
    const int moments = kill_everywhere(3, look_new_step);
    print_message("killed at %d moments\n", moments);
    CHECK(moments >= 60);
}

static void look_rewritten_step(void) {
    CHECK_INT(resumes(), 2);
    const int version = version_of(2);
    CHECK(version == 1 || version == 2);
    CHECK_INT(version_of(1), 1);
}

TEST(checkpoint_killed_at_any_call_of_a_rewrite_is_old_or_new) {
    exchanges = true;
    CHECK(kill_everywhere(2, look_rewritten_step) >= 60);
}

TEST(checkpoint_killed_at_any_call_of_a_rewrite_without_exchange_is_old_or_new) {
    exchanges = false;
    CHECK(kill_everywhere(2, look_rewritten_step) >= 60);
}

static void fill_everywhere(uint64_t step) {
    bool done = false;
    hurry();
    answer = ENOSPC;
    torn = false;
    for (stop_at = 1; !done; stop_at++) {
        struct proto_error error = {0};
        char name[64];
        snprintf(name, sizeof name, "full at call %d%s", stop_at, for_good ? " for good" : "");
        TEST_CASE(name);
        lay_out();
        const struct proto_checkpoint checkpoint = case_checkpoint(step, 2);
        calls = 0;
        proto_disk_replace(&stopping);
        done = proto_checkpoint_write(run, &checkpoint, &error);
        hurry();
        if (!done) {
            CHECK_INT(error.status, PROTO_EXHAUSTED);
            CHECK_HAS(error.text, strerror(ENOSPC));
        }
        // at the very last call, the fsync of the run folder, the new one has its name already
        const uint64_t newest = resumes();
        CHECK(newest == 2 || newest == step);
        const int version = version_of(2);
        CHECK(version == 1 || (version == 2 && step == 2));
        CHECK_INT(version_of(1), 1);
        if (newest != step) CHECK(!proto_path_exists(in("checkpoint-3.partial")));
        put(step, 3);
        CHECK_INT(version_of(step), 3);
        CHECK(stop_at < 500);
    }
    CHECK(stop_at > 30);
    TEST_CASE("");
}

TEST(checkpoint_a_full_disk_at_any_call_loses_nothing_and_says_so) {
    exchanges = true;
    for_good = false;
    fill_everywhere(3);
    fill_everywhere(2);
    for_good = true;
    fill_everywhere(3);
    for_good = false;
    exchanges = false;
    fill_everywhere(2);
}

// Everything that was changed and not yet made durable, as paths.
static char dirty[64][600];
static bool renamed;
static void mark(const char *path, bool is_dirty) {
    size_t empty = 64;
    for (size_t i = 0; i < 64; i++) {
        if (strcmp(dirty[i], path) == 0) {
            if (!is_dirty) dirty[i][0] = '\0';
            return;
        }
        if (dirty[i][0] == '\0') empty = i;
    }
    if (!is_dirty) return;
    CHECK(empty < 64);
    snprintf(dirty[empty], sizeof dirty[empty], "%s", path);
}
static void mark_above(const char *path) {
    char above[600];
    snprintf(above, sizeof above, "%s", path);
    char *slash = strrchr(above, '/');
    CHECK(slash);
    *slash = '\0';
    mark(above, true);
}
static const char *path_of(int descriptor) {
    static char path[600];
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    CHECK(length > 0);
    path[length] = '\0';
    return path;
}
static int durable_open(const char *path, int flags, mode_t mode) {
    mark_above(path);
    return proto_disk_real.open(path, flags, mode);
}
static ssize_t durable_write(int descriptor, const void *data, size_t size) {
    mark(path_of(descriptor), true);
    return proto_disk_real.write(descriptor, data, size);
}
static int durable_fsync(int descriptor) {
    mark(path_of(descriptor), false);
    return 0;
}
static void durable_name(const char *from) {
    for (size_t i = 0; i < 64; i++)
        if (strncmp(dirty[i], from, strlen(from)) == 0)
            fail_msg("%s gets its name before %s is durable", from, dirty[i]);
    mark_above(from);
    renamed = true;
}
static int durable_rename(const char *from, const char *to) {
    durable_name(from);
    return proto_disk_real.rename(from, to);
}
static int durable_exchange(const char *a, const char *b) {
    durable_name(a);
    return proto_disk_real.exchange(a, b);
}
static int durable_mkdir(const char *path, mode_t mode) {
    mark(path, true);
    mark_above(path);
    return proto_disk_real.mkdir(path, mode);
}
static int durable_unlink(const char *path) {
    // the older write of a step may go only when the newer name is durable
    for (size_t i = 0; renamed && i < 64; i++) CHECK(strcmp(dirty[i], run) != 0);
    return proto_disk_real.unlink(path);
}

// Loss of power keeps what was fsync'ed and may lose or reorder all else: so everything in the
// folder must be durable before the name, and the name before success is told.
TEST(checkpoint_everything_is_durable_before_the_name_and_the_name_before_success) {
    static const struct proto_disk durable = {
        durable_open,     durable_write, durable_fsync,  durable_rename,
        durable_exchange, durable_mkdir, durable_unlink, rmdir,
    };
    for (int version = 1; version <= 2; version++) {
        memset(dirty, 0, sizeof dirty);
        renamed = false;
        proto_disk_replace(&durable);
        put(4, version);
        proto_disk_replace(NULL);
        CHECK(renamed);
        for (size_t i = 0; i < 64; i++) CHECK_TEXT(dirty[i], "");
    }
}

// Writes and rotates without end; tells every step that was written by a byte on the pipe.
static void endless_child(uint64_t step, int told) {
    struct proto_error error;
    for (;; step++) {
        const struct proto_checkpoint checkpoint = case_checkpoint(step, 2);
        if (!proto_checkpoint_write(run, &checkpoint, &error)) _exit(1);
        if (write(told, "x", 1) != 1) _exit(2);
        if (!proto_checkpoint_rotate(run, 2, &error)) _exit(3);
    }
}

TEST(checkpoint_a_hundred_kills_at_random_times_lose_nothing_that_was_told) {
    uint64_t dice = 1, newest = 1;
    put(1, 2);
    for (int kills = 0; kills < 100; kills++) {
        int told[2];
        char bytes[4096];
        CHECK_INT(pipe2(told, O_CLOEXEC), 0);
        fflush(stdout);
        const pid_t child = fork();
        if (child == 0) endless_child(newest + 1, told[1]);
        close(told[1]);
        // 0 to 12 ms, a few writes long; the wait is the random moment, nothing depends on it
        dice = dice * 6364136223846793005u + 1442695040888963407u;
        const struct timespec moment = {0, (long)(dice >> 33) % 12000000};
        nanosleep(&moment, NULL);
        kill(child, SIGKILL);
        int status = 0;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        uint64_t written = newest;
        for (ssize_t got; (got = read(told[0], bytes, sizeof bytes)) > 0;) written += (uint64_t)got;
        close(told[0]);
        const uint64_t found = resumes();
        CHECK(found == written || found == written + 1);
        CHECK_INT(version_of(found), 2);
        newest = found;
    }
    print_message("%d checkpoints between 100 kills\n", (int)newest);
    CHECK(newest > 1);
}

TEST_MAIN(CASE(checkpoint_killed_at_any_call_of_a_new_step_is_old_or_old_and_new),
          CASE(checkpoint_killed_at_any_call_of_a_rewrite_is_old_or_new),
          CASE(checkpoint_killed_at_any_call_of_a_rewrite_without_exchange_is_old_or_new),
          CASE(checkpoint_a_full_disk_at_any_call_loses_nothing_and_says_so),
          CASE(checkpoint_everything_is_durable_before_the_name_and_the_name_before_success),
          CASE(checkpoint_a_hundred_kills_at_random_times_lose_nothing_that_was_told))
