// stages/client.c - see client.h.
#include "stages/client.h"

#include "proto/files.h"
#include "proto/json.h"
#include "stages/clock.h"
#include "stages/control.h"
#include "stages/lock.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_WAIT_MS 10000
#define NOTE "run"  // name of the note in a run's socket folder; its content is the run folder

bool stage_run_note(const char *run, struct proto_error *error) {
    char sockets[PROTO_PATH_MAX], note[PROTO_PATH_MAX], real[PROTO_PATH_MAX];
    if (!proto_run_sockets(run, sockets, error)) return false;
    if (!proto_run_path(sockets, NOTE, note, error)) return false;
    char *whole = realpath(run, NULL);
    if (!whole) return proto_fail_errno(error, PROTO_FAILED, "%s has no real path", run);
    const int length = snprintf(real, sizeof real, "%s\n", whole);
    free(whole);
    if (length < 0 || (size_t)length >= sizeof real)
        return proto_fail(error, PROTO_USAGE, "%s: the path is too long", run);
    return proto_file_write(note, real, (size_t)length, error);
}

// Reads a note into `run`; false when it is not one or its run folder is gone.
static bool note_read(const char *note, char run[static PROTO_PATH_MAX]) {
    struct proto_error ignored = {0};
    char *data = NULL;
    size_t size_bytes = 0;
    if (!proto_file_read(note, PROTO_PATH_MAX - 1, PROTO_USAGE, &data, &size_bytes, &ignored))
        return false;
    data[strcspn(data, "\n")] = '\0';
    const bool fits = strlen(data) < PROTO_PATH_MAX;
    if (fits) memcpy(run, data, strlen(data) + 1);
    free(data);
    return fits && proto_path_is_folder(run);
}

bool stage_run_find(const char *given, char run[static PROTO_PATH_MAX], struct proto_error *error) {
    if (given) {
        if (strlen(given) >= PROTO_PATH_MAX)
            return proto_fail(error, PROTO_USAGE, "--run: the path is too long");
        if (!proto_path_is_folder(given))
            return proto_fail(error, PROTO_USAGE, "--run %s is not a folder", given);
        memcpy(run, given, strlen(given) + 1);
        return true;
    }
    char root[PROTO_PATH_MAX];
    struct proto_names names = {0};
    if (!proto_run_sockets_root(root, error)) return false;
    if (!proto_folder_list(root, &names, error)) return false;
    bool found = false, found_live = false;
    struct timespec newest = {0};
    for (size_t i = 0; i < names.count; i++) {
        char folder[PROTO_PATH_MAX], note[PROTO_PATH_MAX], candidate[PROTO_PATH_MAX];
        struct proto_error ignored = {0};
        struct stat info;
        pid_t pid = 0;
        if (!proto_run_path(root, names.items[i], folder, &ignored)) continue;
        if (!proto_run_path(folder, NOTE, note, &ignored)) continue;
        if (stat(note, &info) != 0 || !note_read(note, candidate)) continue;
        const bool live = stage_lock_held(candidate, &pid);
        const bool newer =
            info.st_mtim.tv_sec > newest.tv_sec ||
            (info.st_mtim.tv_sec == newest.tv_sec && info.st_mtim.tv_nsec > newest.tv_nsec);
        if (found && (live < found_live || (live == found_live && !newer))) continue;
        memcpy(run, candidate, strlen(candidate) + 1);
        newest = info.st_mtim;
        found = true;
        found_live = live;
    }
    proto_names_free(&names);
    if (found) return true;
    return proto_fail(error, PROTO_USAGE,
                      "no run of this user is known here; name its folder with --run DIR");
}

bool stage_client_open(const char *run, int *descriptor, struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!proto_run_control(run, path, error)) return false;
    if (strlen(path) >= sizeof address.sun_path)
        return proto_fail(error, PROTO_FAILED, "%s is too long for a socket", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    const int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0) return proto_fail_errno(error, PROTO_FAILED, "no socket");
    if (connect(made, (struct sockaddr *)&address, sizeof address) != 0) {
        pid_t pid = 0;
        const bool held = stage_lock_held(run, &pid);
        if (held && pid != 0)
            proto_fail(error, PROTO_FAILED,
                       "process %ld holds this run and cannot be reached: it is just starting or "
                       "ending",
                       (long)pid);
        else
            proto_fail(error, PROTO_FAILED, "no run is at work here%s",
                       held ? " on this host; RUN/lock names the host that runs it"
                            : "; `pipeline up FILE` starts or resumes one");
        proto_error_where(error, "%s", run);
        close(made);
        return false;
    }
    *descriptor = made;
    return true;
}

static bool client_send(int descriptor, const char *line, size_t length,
                        struct proto_error *error) {
    while (length > 0) {
        const ssize_t sent = send(descriptor, line, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return proto_fail_errno(error, PROTO_FAILED, "the supervisor hung up");
        line += sent;
        length -= (size_t)sent;
    }
    return true;
}

// Reads up to the first newline. The caller frees *line.
static bool client_receive(int descriptor, char **line, size_t *length, struct proto_error *error) {
    const int64_t end_ms = stage_now_ms() + ANSWER_WAIT_MS;
    char *text = proto_alloc(STAGE_CONTROL_ANSWER_BYTES_MAX, error);
    if (!text) return false;
    size_t used = 0;
    for (;;) {
        const int64_t left_ms = end_ms - stage_now_ms();
        struct pollfd set = {.fd = descriptor, .events = POLLIN};
        const int ready = left_ms > 0 ? poll(&set, 1, (int)left_ms) : 0;
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) {
            proto_fail(error, PROTO_FAILED, "the supervisor does not answer within %d s",
                       ANSWER_WAIT_MS / 1000);
            break;
        }
        const ssize_t count =
            recv(descriptor, text + used, STAGE_CONTROL_ANSWER_BYTES_MAX - used, 0);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) {
            proto_fail(error, PROTO_FAILED, "the supervisor ended without an answer");
            break;
        }
        const char *newline = memchr(text + used, '\n', (size_t)count);
        used += (size_t)count;
        if (newline) {
            *line = text;
            *length = (size_t)(newline - text);
            return true;
        }
        if (used == STAGE_CONTROL_ANSWER_BYTES_MAX) {
            proto_fail(error, PROTO_FAILED, "the supervisor's answer is too large");
            break;
        }
    }
    free(text);
    return false;
}

// An answer with "ok": false becomes the error it carries.
static bool client_judge(const json_t *answer, struct proto_error *error) {
    if (json_is_true(json_object_get(answer, "ok"))) return true;
    const char *text = json_string_value(json_object_get(answer, "error"));
    const char *where = json_string_value(json_object_get(answer, "where"));
    const json_t *status = json_object_get(answer, "status");
    const json_int_t code = json_is_integer(status) ? json_integer_value(status) : PROTO_FAILED;
    proto_fail(error, code > 0 && code < 256 ? (enum proto_status)code : PROTO_FAILED, "%s",
               text ? text : "the supervisor's answer has no meaning");
    if (where && where[0]) proto_error_where(error, "%s", where);
    return false;
}

bool stage_client_ask(int descriptor, json_t *request, json_t **answer, struct proto_error *error) {
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    json_decref(request);
    if (!text) return proto_fail(error, PROTO_EXHAUSTED, "no memory for the request");
    const size_t length = strlen(text);
    text[length] = '\n';
    const bool sent = client_send(descriptor, text, length + 1, error);
    free(text);
    char *line = NULL;
    size_t line_bytes = 0;
    if (!sent || !client_receive(descriptor, &line, &line_bytes, error)) return false;
    json_t *got = proto_json_parse(line, line_bytes, error);
    free(line);
    if (!got) return proto_error_where(error, "answer of the supervisor");
    if (!client_judge(got, error)) {
        json_decref(got);
        return false;
    }
    *answer = got;
    return true;
}

bool stage_client_call(const char *run, json_t *request, json_t **answer,
                       struct proto_error *error) {
    int descriptor = -1;
    if (!stage_client_open(run, &descriptor, error)) {
        json_decref(request);
        return false;
    }
    const bool done = stage_client_ask(descriptor, request, answer, error);
    close(descriptor);
    return done;
}
