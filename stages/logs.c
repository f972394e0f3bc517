// stages/logs.c - `pipeline logs`: what the stages wrote to RUN/logs/<stage>-<n>.log, each line
// behind its stage, all or from now on.
#include "proto/files.h"
#include "proto/words.h"
#include "stages/client.h"
#include "stages/lock.h"
#include "stages/verb.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOLLOW_BYTES 4096  // of each log that are shown when following begins
#define LINE_BYTES 4096    // longer lines are shown in pieces
#define LIFE_MS 1000       // between two looks whether the run still lives

struct log_file {
    char label[64];  // "loader-0"
    int descriptor;
    size_t used;
    char line[LINE_BYTES];
};

struct logs {
    char folder[PROTO_PATH_MAX];
    const char *wanted;  // stage or stage-number; NULL: all
    bool follow;
    struct log_file *files;
    size_t count;
};

// "loader-3.log" is wanted as loader, loader-3 and without a word.
static bool logs_wants(const struct logs *logs, const char *name) {
    const size_t length = strlen(name), tail = strlen(".log");
    if (length <= tail || length - tail >= sizeof logs->files->label ||
        strcmp(name + length - tail, ".log") != 0)
        return false;
    if (!logs->wanted) return true;
    const size_t wanted = strlen(logs->wanted);
    return strncmp(name, logs->wanted, wanted) == 0 && wanted <= length - tail &&
           (name[wanted] == '-' || wanted == length - tail);
}

static bool logs_add(struct logs *logs, const char *name, bool from_end,
                     struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    struct stat info;
    if (!proto_run_path(logs->folder, name, path, error)) return false;
    struct log_file *grown = reallocarray(logs->files, logs->count + 1, sizeof *logs->files);
    if (!grown) return proto_fail(error, PROTO_EXHAUSTED, "no memory for another log");
    logs->files = grown;
    struct log_file *file = &grown[logs->count];
    *file = (struct log_file){.descriptor = open(path, O_RDONLY | O_CLOEXEC)};
    if (file->descriptor < 0) return proto_fail_errno(error, PROTO_FAILED, "%s", path);
    snprintf(file->label, sizeof file->label, "%.*s", (int)(strlen(name) - strlen(".log")), name);
    if (from_end && fstat(file->descriptor, &info) == 0 && info.st_size > FOLLOW_BYTES)
        lseek(file->descriptor, -FOLLOW_BYTES, SEEK_END);
    logs->count++;
    return true;
}

// Opens logs that were not there before.
static bool logs_scan(struct logs *logs, bool from_end, struct proto_error *error) {
    struct proto_names names = {0};
    if (!proto_folder_list(logs->folder, &names, error)) return false;
    bool done = true;
    for (size_t i = 0; i < names.count && done; i++) {
        bool known = !logs_wants(logs, names.items[i]);
        for (size_t j = 0; j < logs->count && !known; j++) {
            const size_t length = strlen(logs->files[j].label);
            known = strncmp(names.items[i], logs->files[j].label, length) == 0 &&
                    strcmp(names.items[i] + length, ".log") == 0;
        }
        if (!known) done = logs_add(logs, names.items[i], from_end, error);
    }
    proto_names_free(&names);
    return done;
}

static void print_line(const struct log_file *file) {
    printf("%-11s | %.*s\n", file->label, (int)file->used, file->line);
}

// Prints whole lines that have come since; the rest too when `all`.
static void logs_print(struct log_file *file, bool all) {
    char block[16384];
    ssize_t count;
    while ((count = read(file->descriptor, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < count; i++) {
            if (block[i] != '\n') file->line[file->used++] = block[i];
            if (block[i] != '\n' && file->used < sizeof file->line) continue;
            print_line(file);
            file->used = 0;
        }
    }
    if (!all || file->used == 0) return;
    print_line(file);
    file->used = 0;
}

// Until the run ends or the reader hangs up.
static bool logs_follow(struct logs *logs, const char *run, struct proto_error *error) {
    char events[4096];
    pid_t pid = 0;
    const int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, logs->folder, IN_MODIFY | IN_CREATE) < 0) {
        proto_fail_errno(error, PROTO_FAILED, "%s cannot be watched", logs->folder);
        if (watch >= 0) close(watch);
        return false;
    }
    bool done = true, live = true;
    while (done && live) {
        live = stage_lock_held(run, &pid);
        done = logs_scan(logs, false, error);
        for (size_t i = 0; i < logs->count; i++) logs_print(&logs->files[i], !live);
        if (fflush(stdout) != 0) break;
        struct pollfd set = {.fd = watch, .events = POLLIN};
        if (live && poll(&set, 1, LIFE_MS) > 0)
            while (read(watch, events, sizeof events) > 0) continue;
    }
    close(watch);
    return done;
}

int stage_logs(int count, char **words) {
    struct proto_error error = {0};
    struct logs logs = {0};
    const char *given = NULL;
    char run[PROTO_PATH_MAX];
    size_t rest = 0;
    const struct proto_word options[] = {{"-f", PROTO_WORD_FLAG, &logs.follow},
                                         {"--follow", PROTO_WORD_FLAG, &logs.follow},
                                         {"--run", PROTO_WORD_TEXT, &given}};
    bool done = proto_words_read(count, words, options, PROTO_COUNT(options), &logs.wanted, 1,
                                 &rest, &error) &&
                stage_run_find(given, run, &error) &&
                proto_run_path(run, "logs", logs.folder, &error) &&
                logs_scan(&logs, logs.follow, &error);
    if (done && logs.count == 0 && !logs.follow) {
        done = proto_fail(&error, PROTO_USAGE,
                          "no log of %s; stages are index, loader, "
                          "trainer, evaluator",
                          logs.wanted ? logs.wanted : "any stage");
        proto_error_where(&error, "%s", logs.folder);
    }
    for (size_t i = 0; i < logs.count && done; i++) logs_print(&logs.files[i], !logs.follow);
    if (done && logs.follow) done = logs_follow(&logs, run, &error);
    for (size_t i = 0; i < logs.count; i++) close(logs.files[i].descriptor);
    free(logs.files);
    fflush(stdout);
    return done ? PROTO_DONE : proto_error_print("pipeline logs", &error);
}
