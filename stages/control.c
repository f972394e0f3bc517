// stages/control.c - see control.h.
#include "stages/control.h"

#include "proto/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

struct control_client {
    int descriptor;  // -1: free
    bool closing;    // closed as soon as its answers are sent
    size_t in_bytes;
    char in[STAGE_CONTROL_REQUEST_BYTES_MAX];
    char *out;  // answers not sent yet
    size_t out_bytes;
};

struct stage_control {
    int listener;
    char path[sizeof((struct sockaddr_un *)0)->sun_path];
    stage_control_answer *answer;
    void *context;
    struct control_client clients[STAGE_CONTROL_CLIENTS_MAX];
};

bool stage_control_open(const char *path, stage_control_answer *answer, void *context,
                        struct stage_control **control, struct proto_error *error) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return proto_fail(error, PROTO_FAILED,
                          "%s is too long for a socket (at most %zu bytes); set XDG_RUNTIME_DIR to "
                          "a shorter folder",
                          path, sizeof address.sun_path - 1);
    struct stage_control *made = proto_alloc(sizeof *made, error);
    if (!made) return false;
    for (size_t i = 0; i < STAGE_CONTROL_CLIENTS_MAX; i++) made->clients[i].descriptor = -1;
    made->answer = answer;
    made->context = context;
    memcpy(address.sun_path, path, strlen(path) + 1);
    memcpy(made->path, path, strlen(path) + 1);
    made->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unlink(path);
    const mode_t mask = umask(0177);
    const bool bound = made->listener >= 0 &&
                       bind(made->listener, (struct sockaddr *)&address, sizeof address) == 0 &&
                       listen(made->listener, STAGE_CONTROL_CLIENTS_MAX) == 0;
    umask(mask);
    if (!bound) {
        proto_fail_errno(error, PROTO_FAILED, "%s: the control socket cannot be made", path);
        if (made->listener >= 0) close(made->listener);
        free(made);
        return false;
    }
    *control = made;
    return true;
}

static void client_close(struct control_client *client) {
    if (client->descriptor >= 0) close(client->descriptor);
    free(client->out);
    *client = (struct control_client){.descriptor = -1};
}

void stage_control_polls(const struct stage_control *control, struct pollfd *polls) {
    bool room = false;
    for (size_t i = 0; i < STAGE_CONTROL_CLIENTS_MAX; i++) {
        const struct control_client *client = &control->clients[i];
        // a client with answers waiting is not read from: it cannot pile up work
        const short events = client->out_bytes > 0 ? POLLOUT : POLLIN;
        polls[i] = (struct pollfd){.fd = client->descriptor, .events = events};
        if (client->descriptor < 0) room = true;
    }
    // without room new clients wait in the listener's queue
    polls[STAGE_CONTROL_CLIENTS_MAX] =
        (struct pollfd){.fd = room ? control->listener : -1, .events = POLLIN};
}

static void client_send(struct control_client *client) {
    while (client->out_bytes > 0) {
        const ssize_t sent =
            send(client->descriptor, client->out, client->out_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN) client_close(client);
            return;
        }
        client->out_bytes -= (size_t)sent;
        memmove(client->out, client->out + sent, client->out_bytes);
    }
    free(client->out);
    client->out = NULL;
    if (client->closing) client_close(client);
}

// Queues one object as a line; a client whose queue is full has stopped reading and is closed.
static void client_queue(struct control_client *client, const json_t *object) {
    char *line = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    const size_t length = line ? strlen(line) + 1 : 0;
    char *grown = NULL;
    if (line && client->out_bytes + length <= STAGE_CONTROL_ANSWER_BYTES_MAX)
        grown = realloc(client->out, client->out_bytes + length);
    if (!grown) {
        free(line);
        client_close(client);
        return;
    }
    line[length - 1] = '\n';
    memcpy(grown + client->out_bytes, line, length);
    client->out = grown;
    client->out_bytes += length;
    free(line);
}

static void client_answer(struct stage_control *control, struct control_client *client,
                          const char *line, size_t length) {
    struct proto_error error = {0};
    json_t *answer = NULL;
    json_t *request = proto_json_parse(line, length, &error);
    bool done = false;
    if (!request)
        proto_error_where(&error, "request");
    else if (!json_is_object(request))
        proto_fail(&error, PROTO_USAGE, "a request is a JSON object with a \"verb\"");
    else
        done = control->answer(control->context, request, &answer, &error);
    if (!done) {
        json_decref(answer);
        answer = json_pack("{s:b, s:i, s:o, s:o}", "ok", 0, "status", (int)error.status, "error",
                           proto_json_string(error.text), "where", proto_json_string(error.where));
    }
    client_queue(client, answer);
    json_decref(answer);
    json_decref(request);
}

static void client_read(struct stage_control *control, struct control_client *client) {
    const ssize_t count = recv(client->descriptor, client->in + client->in_bytes,
                               sizeof client->in - client->in_bytes, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
        client_close(client);
        return;
    }
    client->in_bytes += (size_t)count;
    size_t begin = 0;
    while (client->descriptor >= 0) {
        const char *newline = memchr(client->in + begin, '\n', client->in_bytes - begin);
        if (!newline) break;
        const size_t end = (size_t)(newline - client->in);
        if (end > begin) client_answer(control, client, client->in + begin, end - begin);
        begin = end + 1;
    }
    if (client->descriptor < 0) return;
    client->in_bytes -= begin;
    memmove(client->in, client->in + begin, client->in_bytes);
    if (client->in_bytes == sizeof client->in) {
        char text[80];
        snprintf(text, sizeof text, "a request is one line of less than %zu bytes",
                 sizeof client->in);
        json_t *answer =
            json_pack("{s:b, s:i, s:s}", "ok", 0, "status", (int)PROTO_USAGE, "error", text);
        client->closing = true;
        client_queue(client, answer);
        json_decref(answer);
    }
    if (client->descriptor >= 0 && client->out_bytes > 0) client_send(client);
}

void stage_control_turn(struct stage_control *control, const struct pollfd *polls) {
    for (size_t i = 0; i < STAGE_CONTROL_CLIENTS_MAX; i++) {
        struct control_client *client = &control->clients[i];
        if (client->descriptor < 0 || client->descriptor != polls[i].fd) continue;
        if (client->out_bytes > 0) {
            if (polls[i].revents & (POLLOUT | POLLERR | POLLHUP)) client_send(client);
        } else if (polls[i].revents & (POLLIN | POLLERR | POLLHUP)) {
            client_read(control, client);
        }
    }
    if (!(polls[STAGE_CONTROL_CLIENTS_MAX].revents & POLLIN)) return;
    for (size_t i = 0; i < STAGE_CONTROL_CLIENTS_MAX; i++) {
        struct control_client *client = &control->clients[i];
        if (client->descriptor >= 0) continue;
        client->descriptor = accept4(control->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client->descriptor < 0) return;
    }
}

void stage_control_close(struct stage_control **control) {
    if (!*control) return;
    for (size_t i = 0; i < STAGE_CONTROL_CLIENTS_MAX; i++) {
        struct control_client *client = &(*control)->clients[i];
        if (client->descriptor >= 0 && client->out_bytes > 0) client_send(client);
        client_close(client);
    }
    close((*control)->listener);
    unlink((*control)->path);
    free(*control);
    *control = NULL;
}
