// proto/probe.c - a child, a pipe and a deadline.
#include "proto/probe.h"

#include "proto/json.h"
#include "proto/programs.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX 65536

extern char **environ;

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Starts `program verb --json more...` with its stdout in a pipe and its stderr nowhere.
static bool start(const char *program, const char *verb, const char *const *more, pid_t *child,
                  int *answers, struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    int ends[2];
    char *words[PROTO_PROBE_WORDS_MAX + 4] = {(char *)(uintptr_t)program, (char *)(uintptr_t)verb,
                                              "--json"};
    for (size_t i = 0; more && more[i] && i < PROTO_PROBE_WORDS_MAX; i++)
        words[3 + i] = (char *)(uintptr_t)more[i];
    posix_spawn_file_actions_t actions;
    if (!proto_programs_path(program, path, error)) return false;
    if (pipe2(ends, O_CLOEXEC) != 0) return proto_fail_errno(error, PROTO_EXHAUSTED, "no pipe");
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed == 0) {
        failed = posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
        if (failed == 0)
            failed =
                posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        if (failed == 0) failed = posix_spawn(child, path, &actions, NULL, words, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (failed != 0) {
        close(ends[0]);
        errno = failed;
        return proto_fail_errno(error, PROTO_MISSING, "%s cannot be started", path);
    }
    *answers = ends[0];
    return true;
}

// Everything until end of file or the deadline.
static bool read_all(int answers, int deadline_ms, char *text, size_t *size_bytes,
                     struct proto_error *error) {
    const int64_t end_ms = now_ms() + deadline_ms;
    *size_bytes = 0;
    for (;;) {
        const int64_t left_ms = end_ms - now_ms();
        struct pollfd wait = {.fd = answers, .events = POLLIN};
        if (left_ms <= 0) return proto_fail(error, PROTO_FAILED, "no answer in time");
        const int ready = poll(&wait, 1, (int)left_ms);
        if (ready <= 0) continue;  // a signal, or the deadline: looked at above
        const ssize_t got = read(answers, text + *size_bytes, ANSWER_BYTES_MAX - *size_bytes);
        if (got == 0) return true;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return proto_fail_errno(error, PROTO_FAILED, "its answer cannot be read");
        *size_bytes += (size_t)got;
        if (*size_bytes >= ANSWER_BYTES_MAX)
            return proto_fail(error, PROTO_FAILED, "an answer of over %d bytes", ANSWER_BYTES_MAX);
    }
}

json_t *proto_probe(const char *program, const char *verb, struct proto_error *error) {
    return proto_probe_with(program, verb, NULL, PROTO_PROBE_MS, error);
}

json_t *proto_probe_with(const char *program, const char *verb, const char *const *words,
                         int deadline_ms, struct proto_error *error) {
    pid_t child;
    int answers, status = 0;
    size_t size_bytes = 0;
    json_t *answer = NULL;
    if (!start(program, verb, words, &child, &answers, error)) return NULL;
    char *text = proto_alloc(ANSWER_BYTES_MAX, error);
    const bool read = text && read_all(answers, deadline_ms, text, &size_bytes, error);
    close(answers);
    if (!read) kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    if (read && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
        proto_fail(error, PROTO_FAILED, "%s %s did not end well", program, verb);
    else if (read)
        answer = proto_json_parse(text, size_bytes, error);
    free(text);
    if (!answer) proto_error_where(error, "%s %s --json", program, verb);
    return answer;
}
