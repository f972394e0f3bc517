// tests/gpusim/fakes/fakes_world.h - what tests of the fakes share: host code in a process of its
// own, with an environment of its own, because the simulated machine is read from it once.
#ifndef TESTS_GPUSIM_FAKES_WORLD_H
#define TESTS_GPUSIM_FAKES_WORLD_H

#include "tests/check.h"

#include "proto/error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#define RIGHT 0
#define WRONG_VALUE 3
#define ALARM_S 60  // nothing here may take longer, or it hangs

// Sets NAME=VALUE of a list with blanks between.
static inline void set_environment(const char *list) {
    char copy[512];
    snprintf(copy, sizeof copy, "%s", list);
    char *rest = copy, *word = NULL;
    while ((word = strsep(&rest, " ")) != NULL) {
        char *equals = strchr(word, '=');
        if (!equals) continue;
        *equals = '\0';
        setenv(word, equals + 1, 1);
    }
}

// Starts `host` in a child; what it and the fakes print goes into the pipe whose end is returned.
static inline pid_t start(const char *environment, int (*host)(int), int argument, int *text) {
    int ends[2];
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        set_environment(environment);
        alarm(ALARM_S);
        _exit(host(argument));
    }
    close(ends[1]);
    *text = ends[0];
    return child;
}
// Reads all that it says and returns its exit code, 128 + signal when it was killed.
static inline int finish(pid_t child, int text, char *said, size_t size) {
    size_t filled = 0;
    while (filled + 1 < size) {
        const ssize_t n = read(text, said + filled, size - 1 - filled);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        filled += (size_t)n;
    }
    said[filled] = '\0';
    close(text);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
static char said[4096];
static inline int run(const char *environment, int (*host)(int), int argument) {
    int text = -1;
    const pid_t child = start(environment, host, argument, &text);
    return finish(child, text, said, sizeof said);
}

// In the child: a call that must go well, and one that must end as said.
#define MUST(call)                                                                                 \
    do {                                                                                           \
        const int must = (int)(call);                                                              \
        if (must != 0) {                                                                           \
            fprintf(stderr, "line %d: %s is %d\n", __LINE__, #call, must);                         \
            return 2;                                                                              \
        }                                                                                          \
    } while (0)
#define EXPECT(call, expected)                                                                     \
    do {                                                                                           \
        const long long found = (long long)(call);                                                 \
        if (found != (long long)(expected)) {                                                      \
            fprintf(stderr, "line %d: %s is %lld\n", __LINE__, #call, found);                      \
            return 2;                                                                              \
        }                                                                                          \
    } while (0)
// In the test: the child found everything right.
#define CHECK_RIGHT(code)                                                                          \
    do {                                                                                           \
        const int check_code = (code);                                                             \
        if (check_code != RIGHT) fail_msg("%s: exit code %d: %s", check_case, check_code, said);   \
    } while (0)

#endif
