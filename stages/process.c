// stages/process.c - see process.h.
#include "stages/process.h"

#include "proto/place.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXEC_FAILED 127

void stage_process_init(struct stage_process *process, enum stage_role role, uint32_t number) {
    *process = (struct stage_process){
        .role = role, .number = number, .state = STAGE_DONE, .handle = -1, .line = -1, .place = -1};
}

void stage_process_name(const struct stage_process *process, char text[static 32]) {
    if (process->role == STAGE_INDEX || process->role == STAGE_CHECK)
        snprintf(text, 32, "%s", stage_role_name(process->role));
    else
        snprintf(text, 32, "%s %u", stage_role_name(process->role), process->number);
}

void stage_process_label(const struct stage_process *process, char text[static 32]) {
    snprintf(text, 32, "%s-%u", stage_role_name(process->role), process->number);
}

static bool same_key(const char *a, const char *b) {
    const size_t length = strcspn(a, "=");
    return strncmp(a, b, length) == 0 && b[length] == '=';
}

// Our environment without the keys that `added` and the two descriptors set, then those. The array
// is the caller's to free; its texts are borrowed.
static char **environment_make(const char *const *added, const char *line, const char *place,
                               struct proto_error *error) {
    size_t own = 0, more = 0;
    while (environ[own]) own++;
    while (added && added[more]) more++;
    char **made = proto_alloc_array(own + more + 3, sizeof *made, error);
    if (!made) return NULL;
    size_t count = 0;
    for (size_t i = 0; i < own; i++) {
        bool replaced = same_key(line, environ[i]) || same_key("PIPELINE_PLACE=", environ[i]);
        for (size_t j = 0; j < more && !replaced; j++) replaced = same_key(added[j], environ[i]);
        if (!replaced) made[count++] = environ[i];
    }
    for (size_t j = 0; j < more; j++) made[count++] = (char *)(uintptr_t)added[j];
    made[count++] = (char *)(uintptr_t)line;
    if (place) made[count++] = (char *)(uintptr_t)place;
    return made;
}

// Between fork and exec: only calls that are safe there. Never returns.
static _Noreturn void child_become(const struct stage_launch *launch, char **environment, int line,
                                   int place, pid_t supervisor) {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != supervisor) _exit(EXEC_FAILED);  // it died before the line above
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (nothing < 0 || dup2(nothing, 0) < 0 || dup2(launch->log, 1) < 0 || dup2(launch->log, 2) < 0)
        _exit(EXEC_FAILED);
    if (fcntl(line, F_SETFD, 0) != 0 || (place >= 0 && fcntl(place, F_SETFD, 0) != 0))
        _exit(EXEC_FAILED);
    execve(launch->program, (char *const *)(uintptr_t)launch->words, environment);
    dprintf(2, "%s: cannot be executed: %s\n", launch->program, strerror(errno));
    _exit(EXEC_FAILED);
}

static void process_forget(struct stage_process *process) {
    if (process->handle >= 0) close(process->handle);
    if (process->place >= 0) close(process->place);
    proto_link_reader_free(&process->reader);
    if (process->line >= 0) close(process->line);
    process->handle = process->place = process->line = -1;
    process->pid = 0;
}

bool stage_process_spawn(struct stage_process *process, const struct stage_launch *launch,
                         int64_t now_ms, struct proto_error *error) {
    char line_text[48], place_text[48];
    int ends[2] = {-1, -1};
    char **environment = NULL;
    bool done = false;
    if (access(launch->program, X_OK) != 0)
        return proto_fail_errno(error, PROTO_MISSING, "%s is needed and cannot be executed",
                                launch->program);
    if (!proto_link_pair(ends, error)) goto end;
    process->line = ends[0];
    if (!proto_link_reader_new(&process->reader, error)) goto end;
    if (launch->place && !proto_place_new(&process->place, error)) goto end;
    snprintf(line_text, sizeof line_text, "PIPELINE_LINK=%d", ends[1]);
    snprintf(place_text, sizeof place_text, "PIPELINE_PLACE=%d", process->place);
    environment = environment_make(launch->environment, line_text,
                                   process->place >= 0 ? place_text : NULL, error);
    if (!environment) goto end;
    const pid_t supervisor = getpid();
    const pid_t pid = fork();
    if (pid == 0) child_become(launch, environment, ends[1], process->place, supervisor);
    if (pid < 0) {
        proto_fail_errno(error, PROTO_EXHAUSTED, "no new process for %s", launch->program);
        goto end;
    }
    setpgid(pid, pid);  // also here, so that it holds from now on whoever is faster
    process->pid = pid;
    process->handle = pidfd_open(pid, 0);
    if (process->handle < 0) {
        proto_fail_errno(error, PROTO_FAILED, "pidfd_open");
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        goto end;
    }
    process->failed = process->stuck = process->done_known = false;
    process->failure = (struct proto_error){0};
    process->done = process->done_at_first = 0;
    process->started_ms = process->heard_ms = now_ms;
    process->done_grew_ms = process->idle_ms = now_ms;
    process->asked = PROTO_GO_ON;
    process->sampled_ms = 0;
    process->sampled_cpu_s = process->cpu = 0;
    process->rss_bytes = 0;
    json_decref(process->counters);
    process->counters = NULL;
    done = true;
end:
    if (!done) process_forget(process);
    free(environment);
    if (ends[1] >= 0) close(ends[1]);
    return done;
}

void stage_process_ask(struct stage_process *process, enum proto_stop mode, int64_t now_ms,
                       int64_t grace_ms) {
    if (process->pid == 0 || mode <= process->asked) return;
    struct proto_error ignored = {0};  // a line that is closed belongs to a process that is dead
    process->asked = mode;
    process->deadline_ms = now_ms + grace_ms;
    if (!proto_link_send_stop(process->line, mode, &ignored)) return;
}

void stage_process_kill(const struct stage_process *process) {
    if (process->pid > 0) kill(-process->pid, SIGKILL);
}

bool stage_process_dead(struct stage_process *process, bool *signalled, int *code,
                        char place[static STAGE_PLACE_BYTES]) {
    siginfo_t info = {0};
    if (process->pid == 0 ||
        waitid(P_PIDFD, (id_t)process->handle, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return false;
    // what it may have started goes with it, before its number can become anybody else's
    kill(-process->pid, SIGKILL);
    waitid(P_PIDFD, (id_t)process->handle, &info, WEXITED);
    *signalled = info.si_code != CLD_EXITED;
    *code = info.si_status;
    place[0] = '\0';
    if (process->place >= 0) proto_place_read(process->place, place, STAGE_PLACE_BYTES);
    return true;
}

void stage_process_bury(struct stage_process *process) { process_forget(process); }

bool stage_usage_read(pid_t pid, uint64_t *rss_bytes, double *cpu_s) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    if (count <= 0) return false;
    text[count] = '\0';
    // the name in brackets may hold anything: start behind its end, at field 3
    const char *field = strrchr(text, ')');
    unsigned long long user = 0, system = 0;
    long long pages = 0;
    if (!field || sscanf(field + 2,
                         "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
                         "%*d %*d %*u %*u %lld",
                         &user, &system, &pages) != 3)
        return false;
    *cpu_s = (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
    *rss_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    return true;
}

void stage_process_sample(struct stage_process *process, int64_t now_ms) {
    double cpu_s = 0;
    if (process->pid == 0 || !stage_usage_read(process->pid, &process->rss_bytes, &cpu_s)) {
        process->rss_bytes = 0;
        process->cpu = 0;
        return;
    }
    const int64_t since_ms = process->sampled_ms ? process->sampled_ms : process->started_ms;
    // the kernel counts in ticks of 10 ms: over less than half a second they say little
    if (process->sampled_ms && now_ms - since_ms < 500) return;
    if (now_ms > since_ms)
        process->cpu = (cpu_s - process->sampled_cpu_s) * 1000 / (double)(now_ms - since_ms);
    process->sampled_ms = now_ms;
    process->sampled_cpu_s = cpu_s;
}
