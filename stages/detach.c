// stages/detach.c - see detach.h. Two pipes lead from the child to its parent: one for lines, one
// for the news that it has started, which is the run folder's path.
#include "stages/detach.h"

#include "proto/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

// In the child: from now on its lines go to a file, and its parent may leave.
static void detach_started(void *context, const char *run) {
    const int *news = context;
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    const int log = proto_run_path(run, "logs/supervisor.log", path, &error)
                        ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)
                        : -1;
    const int target = log >= 0 ? log : open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (target >= 0) {
        dup2(target, STDOUT_FILENO);
        dup2(target, STDERR_FILENO);
        close(target);
    }
    const size_t length = strlen(run);
    if (write(*news, run, length) != (ssize_t)length) return;  // nobody waits any more
    close(*news);
}

static int detach_child(const struct stage_up_settings *settings,
                        int (*work)(const struct stage_up_settings *settings), int lines,
                        int news) {
    struct stage_up_settings detached = *settings;
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    setsid();
    if (nothing < 0 || dup2(nothing, STDIN_FILENO) < 0 || dup2(lines, STDOUT_FILENO) < 0)
        return PROTO_FAILED;
    close(lines);
    detached.output = STDOUT_FILENO;
    detached.started = detach_started;
    detached.context = &news;
    return work(&detached);
}

static int detach_parent(pid_t child, int lines, int news) {
    char block[4096], run[PROTO_PATH_MAX];
    ssize_t count = 0;
    while ((count = read(lines, block, sizeof block)) != 0) {
        if (count < 0 && errno != EINTR) break;
        if (count > 0) fwrite(block, 1, (size_t)count, stdout);
        fflush(stdout);
    }
    size_t used = 0;
    while (used < sizeof run - 1 && (count = read(news, run + used, sizeof run - 1 - used)) != 0) {
        if (count < 0 && errno != EINTR) break;
        if (count > 0) used += (size_t)count;
    }
    run[used] = '\0';
    if (used > 0) {
        printf("The run goes on in the background, process %ld.\n"
               "  pipeline status --watch --run %s\n  pipeline logs -f --run %s\n"
               "  pipeline down --run %s\n",
               (long)child, run, run, run);
        return PROTO_DONE;
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : PROTO_FAILED;
}

int stage_detach(const struct stage_up_settings *settings,
                 int (*work)(const struct stage_up_settings *settings)) {
    int lines[2] = {-1, -1}, news[2] = {-1, -1};
    struct proto_error error = {0};
    pid_t child = -1;
    fflush(stdout);
    if (pipe2(lines, O_CLOEXEC) == 0 && pipe2(news, O_CLOEXEC) == 0) child = fork();
    if (child < 0) {
        proto_fail_errno(&error, PROTO_EXHAUSTED, "no process for the background");
        return proto_error_print("pipeline up", &error);
    }
    if (child == 0) {
        close(lines[0]);
        close(news[0]);
        return detach_child(settings, work, lines[1], news[1]);
    }
    close(lines[1]);
    close(news[1]);
    return detach_parent(child, lines[0], news[0]);
}
