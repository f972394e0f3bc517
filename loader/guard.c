// loader/guard.c - a child process, a page where it notes what it reads, and a file for its words.
#include "loader/guard.h"

#include "proto/place.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};

// What child and parent share beside the note of the place. The error's pointers are to constants
// of this very program, so they mean the same on both sides of a fork.
struct report {
    bool done;
    struct proto_error error;
};

struct guard {
    const struct loader_guard_work *work;
    struct report *report;  // shared memory
    FILE *words;            // an unlinked file: what the child prints
    int place;
};

static bool is_fault(int signal) {
    for (size_t i = 0; i < PROTO_COUNT(faults); i++)
        if (faults[i] == signal) return true;
    return false;
}

// The child's whole life.
_Noreturn static void child(const struct guard *guard) {
    struct proto_error error = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it never outlives who waits for it
    for (size_t i = 0; i < PROTO_COUNT(faults); i++) signal(faults[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    bool done = proto_place_attach(guard->place, &error) &&
                guard->work->run(guard->work->context, guard->words, &error);
    if (fflush(guard->words) != 0 && done)
        done = proto_fail_errno(&error, PROTO_FAILED, "the output cannot be kept");
    guard->report->error = error;
    guard->report->done = done;
    _exit(0);
}

static bool child_wait(pid_t pid, int *status, struct proto_error *error) {
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR) return proto_fail_errno(error, PROTO_FAILED, "a child is lost");
    return true;
}

// Copies what the child printed to stdout.
static bool words_print(FILE *words, struct proto_error *error) {
    char bytes[4096];
    size_t count = 0;
    rewind(words);
    while ((count = fread(bytes, 1, sizeof bytes, words)) > 0)
        if (fwrite(bytes, 1, count, stdout) != count) break;
    if (ferror(words) || fflush(stdout) != 0 || ferror(stdout))
        return proto_fail_errno(error, PROTO_FAILED, "stdout cannot be written");
    return true;
}

// One child. *signal is the fault it died of, 0 when the work has ended by itself.
static bool attempt(struct guard *guard, int *fault, struct proto_error *error) {
    *fault = 0;
    *guard->report = (struct report){0};
    if (fflush(guard->words) != 0 || ftruncate(fileno(guard->words), 0) != 0)
        return proto_fail_errno(error, PROTO_FAILED, "a file for the output");
    rewind(guard->words);
    fflush(NULL);  // or the child would print what waits in our streams once more
    const pid_t pid = fork();
    if (pid < 0) return proto_fail_errno(error, PROTO_EXHAUSTED, "a child cannot be started");
    if (pid == 0) child(guard);
    int status = 0;
    if (!child_wait(pid, &status, error)) return false;
    if (WIFSIGNALED(status) && is_fault(WTERMSIG(status))) {
        *fault = WTERMSIG(status);
        return true;
    }
    if (WIFSIGNALED(status) || WEXITSTATUS(status) != 0) {
        char place[512];
        if (WIFSIGNALED(status))
            proto_fail(error, PROTO_FAILED, "the reading process was ended by signal %d (%s)",
                       WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
            proto_fail(error, PROTO_FAILED, "the reading process left with code %d",
                       WEXITSTATUS(status));
        if (proto_place_read(guard->place, place, sizeof place))
            proto_error_where(error, "%s", place);
        return false;
    }
    const bool done = guard->report->done;
    if (!done) *error = guard->report->error;
    struct proto_error printing;
    if (words_print(guard->words, done ? error : &printing)) return done;
    return false;
}

static bool attempts(struct guard *guard, struct proto_error *error) {
    char before[512] = "", place[512];
    int fault = 0;
    for (int i = 0; i < LOADER_GUARD_FAULTS_MAX; i++) {
        if (!attempt(guard, &fault, error)) return false;
        if (fault == 0) return true;
        if (!proto_place_read(guard->place, place, sizeof place))
            return proto_fail(error, PROTO_FAILED, "the reading process died of signal %d (%s)",
                              fault, strsignal(fault));
        if (strcmp(place, before) == 0) break;
        memcpy(before, place, sizeof before);
    }
    proto_fail(error, PROTO_DAMAGED,
               "the HDF5 library crashed twice while reading it (signal %d, %s): the file is "
               "damaged; copy or record it again",
               fault, strsignal(fault));
    return proto_error_where(error, "%s", place);
}

bool loader_guard_run(const struct loader_guard_work *work, struct proto_error *error) {
    struct guard guard = {.work = work, .report = MAP_FAILED, .place = -1};
    bool done = false;
    guard.words = tmpfile();
    if (guard.words)
        guard.report = mmap(NULL, sizeof *guard.report, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (!guard.words || guard.report == MAP_FAILED)
        proto_fail_errno(error, PROTO_FAILED, "a file and a page shared with a child");
    else if (proto_place_new(&guard.place, error))
        done = attempts(&guard, error);
    if (guard.place >= 0) close(guard.place);
    if (guard.report != MAP_FAILED) munmap(guard.report, sizeof *guard.report);
    if (guard.words) fclose(guard.words);
    return done;
}
