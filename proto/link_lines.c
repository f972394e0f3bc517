// proto/link_lines.c - the lines of proto/link, for both ends: cutting a stream of bytes into
// messages, the pair of sockets, and what the supervisor sends.
#include "proto/json.h"
#include "proto/link.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct proto_link_reader {
    size_t used;
    bool skipping;  // inside a line that is too long
    char line[PROTO_LINK_LINE_MAX];
};

const char *proto_stop_name(enum proto_stop stop) {
    switch (stop) {
    case PROTO_STOP_DRAIN:
        return "drain";
    case PROTO_STOP_CHECKPOINT:
        return "checkpoint";
    case PROTO_STOP_NOW:
        return "now";
    default:
        return "";
    }
}

bool proto_link_reader_new(struct proto_link_reader **reader, struct proto_error *error) {
    *reader = proto_alloc(sizeof **reader, error);
    return *reader != NULL;
}

void proto_link_reader_free(struct proto_link_reader **reader) {
    free(*reader);
    *reader = NULL;
}

// Hands one complete line to the sink, as a message or as refused.
static void line_take(const char *line, size_t length, const struct proto_link_sink *sink) {
    struct proto_error error = {0};
    const char *kind = NULL;
    json_t *message = proto_json_parse(line, length, &error);
    if (message && proto_json_text(message, "kind", &kind, &error))
        sink->message(sink->context, kind, message);
    else if (sink->refused)
        sink->refused(sink->context, &error);
    json_decref(message);
}

static void line_too_long(const struct proto_link_sink *sink) {
    struct proto_error error = {0};
    proto_fail(&error, PROTO_DAMAGED, "a line has over %d bytes", PROTO_LINK_LINE_MAX);
    if (sink->refused) sink->refused(sink->context, &error);
}

void proto_link_reader_feed(struct proto_link_reader *reader, const char *bytes, size_t count,
                            const struct proto_link_sink *sink) {
    while (count > 0) {
        const char *newline = memchr(bytes, '\n', count);
        const size_t part = newline ? (size_t)(newline - bytes) : count;
        // a line with its newline fits PROTO_LINK_LINE_MAX
        const bool fits = part < sizeof reader->line - reader->used;
        if (!fits && !reader->skipping) {
            line_too_long(sink);
            reader->skipping = true;
        }
        if (!reader->skipping) {
            memcpy(reader->line + reader->used, bytes, part);
            reader->used += part;
        }
        if (!newline) return;
        if (!reader->skipping && reader->used > 0) line_take(reader->line, reader->used, sink);
        reader->used = 0;
        reader->skipping = false;
        bytes += part + 1;
        count -= part + 1;
    }
}

bool proto_link_pair(int ends[2], struct proto_error *error) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        return proto_fail_errno(error, PROTO_FAILED, "no pair of sockets for a stage");
    const int flags = fcntl(ends[0], F_GETFL);
    if (flags >= 0 && fcntl(ends[0], F_SETFL, flags | O_NONBLOCK) == 0 &&
        fcntl(ends[1], F_SETFD, 0) == 0)
        return true;
    proto_fail_errno(error, PROTO_FAILED, "no pair of sockets for a stage");
    close(ends[0]);
    close(ends[1]);
    return false;
}

// A line this short goes whole or not at all.
static bool line_send(int end, const char *line, int length) {
    return send(end, line, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT) == length;
}

bool proto_link_send_stop(int end, enum proto_stop stop, struct proto_error *error) {
    char line[64];
    const int length = snprintf(line, sizeof line, "{\"kind\": \"stop\", \"mode\": \"%s\"}\n",
                                proto_stop_name(stop));
    if (line_send(end, line, length)) return true;
    return proto_fail_errno(error, PROTO_FAILED, "the stage cannot be told to stop");
}

bool proto_link_send_checkpoints(int end, bool last, struct proto_error *error) {
    char line[64];
    const int length = snprintf(line, sizeof line, "{\"kind\": \"checkpoints\", \"last\": %s}\n",
                                last ? "true" : "false");
    if (line_send(end, line, length)) return true;
    return proto_fail_errno(error, PROTO_FAILED, "the evaluator cannot be told of checkpoints");
}
