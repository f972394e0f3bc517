// tests/proto/link_test.c - a stage hears its supervisor, is heard by it, never waits for it, and
// does not outlive it. Every stage here is a real child process.
#include "proto/json.h"
#include "proto/link.h"
#include "tests/check.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS_MAX 20000  // a limit, not a pause: on a busy machine events may be late

// What the supervisor's side has heard of one stage.
struct heard {
    int end;
    pid_t child;
    bool ended;
    struct proto_link_reader *reader;
    json_t *messages;  // array
    size_t refused;
    char refusal[768];
};

static void take(void *context, const char *kind, const json_t *message) {
    struct heard *heard = context;
    CHECK_TEXT(kind, json_string_value(json_object_get(message, "kind")));
    json_array_append_new(heard->messages, json_deep_copy(message));
}
static void refuse(void *context, const struct proto_error *error) {
    struct heard *heard = context;
    heard->refused++;
    snprintf(heard->refusal, sizeof heard->refusal, "%s", error->text);
}
static struct proto_link_sink sink_of(struct heard *heard) {
    return (struct proto_link_sink){take, refuse, heard};
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Starts `stage` in a child that has the other end in PIPELINE_LINK.
static struct heard start(void (*stage)(void)) {
    struct proto_error error = {0};
    struct heard heard = {.messages = json_array()};
    int ends[2];
    CHECK_OK(proto_link_pair(ends, &error), error);
    CHECK_OK(proto_link_reader_new(&heard.reader, &error), error);
    fflush(stdout);
    heard.child = fork();
    if (heard.child == 0) {
        char text[16];
        close(ends[0]);
        snprintf(text, sizeof text, "%d", ends[1]);
        setenv("PIPELINE_LINK", text, 1);
        stage();
        _exit(0);
    }
    close(ends[1]);
    heard.end = ends[0];
    return heard;
}

// Reads once when there is something; false: nothing more will come.
static bool listen_once(struct heard *heard, int wait_ms) {
    struct pollfd set = {.fd = heard->end, .events = POLLIN};
    char bytes[3000];
    if (poll(&set, 1, wait_ms) <= 0) return true;
    const ssize_t got = recv(heard->end, bytes, sizeof bytes, 0);
    if (got <= 0) return false;
    const struct proto_link_sink sink = sink_of(heard);
    proto_link_reader_feed(heard->reader, bytes, (size_t)got, &sink);
    return true;
}

// Listens until a message of this kind (and, for events, of this name) is there.
static const json_t *listen_for(struct heard *heard, const char *kind, const char *event) {
    const int64_t until = now_ms() + WAIT_MS_MAX;
    for (size_t i = 0; now_ms() < until;) {
        for (; i < json_array_size(heard->messages); i++) {
            const json_t *message = json_array_get(heard->messages, i);
            const json_t *name = json_object_get(json_object_get(message, "event"), "event");
            if (strcmp(json_string_value(json_object_get(message, "kind")), kind) == 0 &&
                (!event || (name && strcmp(json_string_value(name), event) == 0)))
                return message;
        }
        if (heard->ended) break;
        heard->ended = !listen_once(heard, 100);
    }
    fail_msg("no message %s %s", kind, event ? event : "");
    return NULL;
}

// The exit status of the child, or 128 + signal.
static int finish(struct heard *heard) {
    int status = 0;
    while (!heard->ended) heard->ended = !listen_once(heard, WAIT_MS_MAX);
    CHECK(waitpid(heard->child, &status, 0) == heard->child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
static void forget(struct heard *heard) {
    if (heard->end >= 0) close(heard->end);
    proto_link_reader_free(&heard->reader);
    json_decref(heard->messages);
}
static size_t count_kind(const struct heard *heard, const char *kind) {
    size_t count = 0, i;
    const json_t *message;
    json_array_foreach(heard->messages, i, message) count +=
        strcmp(json_string_value(json_object_get(message, "kind")), kind) == 0;
    return count;
}

// In a stage: opens the line or leaves with 90.
static struct proto_link *opened(void) {
    struct proto_error error = {0};
    struct proto_link *link = NULL;
    if (!proto_link_open("loader", 3, &link, &error)) _exit(90);
    return link;
}
// In a stage: waits until a stop was asked for, without a clock of its own.
static enum proto_stop stop_wait(struct proto_link *link) {
    struct pollfd set = {.fd = proto_link_descriptor(link), .events = POLLIN};
    while (proto_link_stop(link) == PROTO_GO_ON) poll(&set, 1, WAIT_MS_MAX);
    return proto_link_stop(link);
}

static void talking_stage(void) {
    struct proto_link *link = opened();
    const struct proto_error error = {.status = PROTO_DAMAGED,
                                      .source_file = "x.c",
                                      .source_line = 7,
                                      .text = "bad \xff byte",
                                      .where = "a.hdf5"};
    if (!proto_link_supervised(link) || getenv("PIPELINE_LINK")) _exit(91);
    proto_link_ready(link);
    proto_link_progress(link, 17, json_pack("{s:i}", "step", 5));
    proto_link_say(link, "hello %d", 5);
    proto_link_event(link, "saved", json_pack("{s:i}", "step", 9));
    proto_link_event(link, "plain", NULL);
    proto_link_failed(link, &error);
    proto_link_close(&link);
}

TEST(link_what_a_stage_says_arrives_in_the_documented_form) {
    struct heard heard = start(talking_stage);
    CHECK_INT(finish(&heard), 0);
    const json_t *ready = listen_for(&heard, "ready", NULL);
    CHECK_TEXT(json_string_value(json_object_get(ready, "stage")), "loader");
    CHECK_INT(json_integer_value(json_object_get(ready, "number")), 3);
    CHECK_INT(json_integer_value(json_object_get(ready, "pid")), heard.child);
    const json_t *say = listen_for(&heard, "say", NULL);
    CHECK_TEXT(json_string_value(json_object_get(say, "text")), "hello 5");
    const json_t *saved = json_object_get(listen_for(&heard, "event", "saved"), "event");
    CHECK_INT(json_integer_value(json_object_get(saved, "step")), 9);
    CHECK_TEXT(json_object_iter_key(json_object_iter((json_t *)saved)), "event");
    listen_for(&heard, "event", "plain");
    const json_t *failed = listen_for(&heard, "failed", NULL);
    CHECK_INT(json_integer_value(json_object_get(failed, "status")), 3);
    CHECK_TEXT(json_string_value(json_object_get(failed, "text")), "bad ? byte");
    CHECK_TEXT(json_string_value(json_object_get(failed, "where")), "a.hdf5");
    CHECK_TEXT(json_string_value(json_object_get(failed, "source")), "x.c:7");
    // closing hands over the last counters, however short the stage lived
    const json_t *last = json_array_get(heard.messages, json_array_size(heard.messages) - 1);
    CHECK_TEXT(json_string_value(json_object_get(last, "kind")), "progress");
    CHECK_INT(json_integer_value(json_object_get(last, "done")), 17);
    last = json_object_get(last, "counters");
    CHECK_INT(json_integer_value(json_object_get(last, "step")), 5);
    CHECK_INT(heard.refused, 0);
    forget(&heard);
}

static void waiting_stage(void) {
    struct proto_link *link = opened();
    proto_link_ready(link);
    const int stop = (int)stop_wait(link);
    proto_link_close(&link);
    _exit(stop);
}

TEST(link_each_stop_arrives_as_itself_and_the_heartbeat_needs_nobody) {
    for (int stop = PROTO_STOP_DRAIN; stop <= PROTO_STOP_NOW; stop++) {
        struct proto_error error = {0};
        struct heard heard = start(waiting_stage);
        listen_for(&heard, "ready", NULL);
        const size_t before = count_kind(&heard, "progress");
        while (count_kind(&heard, "progress") < before + 2) CHECK(listen_once(&heard, 1000));
        CHECK_OK(proto_link_send_stop(heard.end, (enum proto_stop)stop, &error), error);
        CHECK_INT(finish(&heard), stop);
        forget(&heard);
    }
}

TEST(link_damaged_lines_are_passed_over_and_reported) {
    static const char *const lines[] = {
        "nonsense\n",
        "[]\n",
        "{\"kind\": 5}\n",
        "{\"kind\": \"dance\"}\n",
        "{\"kind\": \"stop\"}\n",
        "{\"kind\": \"stop\", \"mode\": \"soon\"}\n",
        "{\"kind\": \"checkpoints\"}\n",
        "{\"kind\": \"checkpoints\", \"last\": 1}\n",
        "\n",
        "{\"kind\": \"stop\", \"kind\": \"stop\", \"mode\": \"now\"}\n"};
    struct proto_error error = {0};
    struct heard heard = start(waiting_stage);
    listen_for(&heard, "ready", NULL);
    for (size_t i = 0; i < PROTO_COUNT(lines); i++)
        CHECK_INT(send(heard.end, lines[i], strlen(lines[i]), 0), strlen(lines[i]));
    char *flood = malloc(300000);
    memset(flood, 'x', 300000);
    flood[299999] = '\n';
    for (size_t sent = 0; sent < 300000;) {
        const ssize_t part = send(heard.end, flood + sent, 300000 - sent, 0);
        if (part > 0)
            sent += (size_t)part;
        else
            CHECK(listen_once(&heard, 10));
    }
    free(flood);
    while (proto_link_send_stop(heard.end, PROTO_STOP_DRAIN, &error) == false)
        CHECK(listen_once(&heard, 10));
    CHECK_INT(finish(&heard), PROTO_STOP_DRAIN);
    size_t refused = 0, i;
    const json_t *message;
    json_array_foreach(heard.messages, i, message) {
        const char *name =
            json_string_value(json_object_get(json_object_get(message, "event"), "event"));
        refused += name && strcmp(name, "link_refused") == 0;
    }
    CHECK_INT(refused, PROTO_COUNT(lines));  // the empty line is none; the flood is one
    forget(&heard);
}

// Says far more than the line holds while nobody reads; leaves with the time it took.
static void flooding_stage(void) {
    struct proto_link *link = opened();
    proto_link_ready(link);
    const int64_t begin = now_ms();
    for (int i = 0; i < 20000; i++) proto_link_say(link, "%0500d", i);
    const int64_t took = now_ms() - begin;
    proto_link_event(link, "flooded", NULL);
    if (stop_wait(link) != PROTO_STOP_DRAIN) _exit(92);
    // again room: what was lost is told
    proto_link_say(link, "took %d ms", (int)took);
    proto_link_close(&link);
}

TEST(link_a_supervisor_that_does_not_read_never_holds_up_the_stage) {
    struct proto_error error = {0};
    struct heard heard = start(flooding_stage);
    int64_t dropped = 0;
    // the stop is sent before anything is read: the stage must come to it by itself
    CHECK_OK(proto_link_send_stop(heard.end, PROTO_STOP_DRAIN, &error), error);
    CHECK_INT(finish(&heard), 0);
    size_t i;
    const json_t *message;
    json_array_foreach(heard.messages, i, message) {
        const json_t *event = json_object_get(message, "event");
        const char *name = json_string_value(json_object_get(event, "event"));
        if (name && strcmp(name, "link_dropped") == 0)
            dropped += json_integer_value(json_object_get(event, "count"));
    }
    CHECK(dropped > 0);
    // 20001 lines for people; heartbeats and the event may be among what was dropped
    const int64_t told = (int64_t)count_kind(&heard, "say") + dropped;
    CHECK(told >= 20001 && told < 20100);
    forget(&heard);
}

static int called_pipe = -1;
static void on_stop(void *context) {
    const char byte = *(const char *)context;
    if (write(called_pipe, &byte, 1) < 0) return;
    for (;;) pause();  // a callback that never returns must not save an orphan
}
static void hanging_stage(void) {
    static char letter = 'n';
    struct proto_link *link = opened();
    proto_link_on_stop_now(link, on_stop, &letter);
    proto_link_ready(link);
    signal(SIGTERM, SIG_IGN);
    for (;;) pause();  // whatever the stage does
}

TEST(link_an_orphan_ends_itself_whatever_it_does) {
    int pipes[2];
    char byte = 0;
    CHECK_INT(pipe(pipes), 0);
    called_pipe = pipes[1];
    struct heard heard = start(hanging_stage);
    listen_for(&heard, "ready", NULL);
    const int64_t begin = now_ms();
    close(heard.end);
    heard.end = -1;
    heard.ended = true;
    CHECK_INT(read(pipes[0], &byte, 1), 1);  // told at once
    CHECK(byte == 'n');
    const int64_t told = now_ms() - begin;
    CHECK_INT(finish(&heard), PROTO_FAILED);
    const int64_t took = now_ms() - begin;
    CHECK(took >= PROTO_ORPHAN_MS && took < PROTO_ORPHAN_MS + WAIT_MS_MAX);
    CHECK(told < PROTO_ORPHAN_MS);
    close(pipes[0]);
    close(pipes[1]);
    forget(&heard);
}

static void leaving_stage(void) {
    struct proto_link *link = opened();
    proto_link_ready(link);
    const enum proto_stop stop = stop_wait(link);
    proto_link_say(link, "nobody hears this");
    proto_link_close(&link);
    _exit(stop == PROTO_STOP_NOW ? 50 : 51);
}

TEST(link_an_orphan_that_looks_leaves_at_once_by_itself) {
    struct heard heard = start(leaving_stage);
    listen_for(&heard, "ready", NULL);
    close(heard.end);
    heard.end = -1;
    heard.ended = true;
    CHECK_INT(finish(&heard), 50);
    forget(&heard);
}

static void signalled_stage(void) {
    struct proto_link *link = opened();
    proto_link_signal_means(link, PROTO_STOP_CHECKPOINT);
    proto_link_ready(link);
    raise(SIGINT);  // ignored: the terminal's Ctrl-C is the supervisor's matter
    if (proto_link_stop(link) != PROTO_GO_ON || proto_link_signal(link) != 0) _exit(93);
    raise(SIGTERM);
    const int stop = (int)stop_wait(link);
    if (proto_link_signal(link) != SIGTERM) _exit(94);
    proto_link_close(&link);
    _exit(stop);
}

TEST(link_a_supervised_stage_ignores_interrupts_and_obeys_term) {
    struct heard heard = start(signalled_stage);
    CHECK_INT(finish(&heard), PROTO_STOP_CHECKPOINT);
    forget(&heard);
}

static bool readable(const struct proto_link *link, int wait_ms) {
    struct pollfd set = {.fd = proto_link_descriptor(link), .events = POLLIN};
    return poll(&set, 1, wait_ms) == 1;
}

// Looks whenever it is woken and says what it heard; after a stop it must stay awake.
static void looking_stage(void) {
    struct proto_link *link = opened();
    bool last = true;
    if (proto_link_checkpoints(link, &last) != 0 || last) _exit(95);
    proto_link_ready(link);
    while (proto_link_stop(link) == PROTO_GO_ON) {
        if (!readable(link, WAIT_MS_MAX)) _exit(96);
        const uint64_t count = proto_link_checkpoints(link, &last);
        // the line was taken, and the next is sent only after ours: nothing may wake us meanwhile
        if (proto_link_stop(link) == PROTO_GO_ON && readable(link, 0)) _exit(97);
        proto_link_say(link, "%d %s", (int)count, last ? "last" : "more");
    }
    for (int i = 0; i < 3; i++) {
        proto_link_checkpoints(link, &last);
        if (!readable(link, WAIT_MS_MAX)) _exit(98);
    }
    proto_link_close(&link);
}

TEST(link_checkpoints_wake_the_stage_once_each_and_a_stop_for_good) {
    static const bool lasts[] = {false, false, true, false, true};
    struct proto_error error = {0};
    struct heard heard = start(looking_stage);
    listen_for(&heard, "ready", NULL);
    for (size_t i = 0; i < PROTO_COUNT(lasts); i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu %s", i + 1, lasts[i] ? "last" : "more");
        TEST_CASE(text);
        CHECK_OK(proto_link_send_checkpoints(heard.end, lasts[i], &error), error);
        while (count_kind(&heard, "say") < i + 1 && !heard.ended)
            heard.ended = !listen_once(&heard, WAIT_MS_MAX);
        size_t said = 0, at;
        const json_t *message;
        json_array_foreach(heard.messages, at, message) {
            const char *line = json_string_value(json_object_get(message, "text"));
            if (line && said++ == i) CHECK_TEXT(line, text);
        }
        CHECK(said == i + 1);
    }
    TEST_CASE("");
    CHECK_OK(proto_link_send_stop(heard.end, PROTO_STOP_DRAIN, &error), error);
    CHECK_INT(finish(&heard), 0);
    forget(&heard);
}

TEST(link_by_hand_signals_are_the_stops) {
    fflush(stdout);
    int printed[2];
    CHECK_INT(pipe(printed), 0);
    const pid_t child = fork();
    if (child == 0) {
        unsetenv("PIPELINE_LINK");
        dup2(printed[1], 1);
        struct proto_link *link = opened();
        bool last = false;
        if (proto_link_supervised(link)) _exit(95);
        if (proto_link_checkpoints(link, &last) != 0 || !last) _exit(94);
        proto_link_ready(link);
        proto_link_event(link, "e", json_object());
        proto_link_progress(link, 1, json_object());
        proto_link_say(link, "said by hand");
        raise(SIGINT);
        if (stop_wait(link) != PROTO_STOP_DRAIN || proto_link_signal(link) != SIGINT) _exit(96);
        raise(SIGINT);
        if (proto_link_stop(link) != PROTO_STOP_NOW) _exit(97);
        proto_link_close(&link);
        raise(SIGTERM);  // late signals do not kill a stage on its way out
        _exit(0);
    }
    int status = 0;
    char text[100] = "";
    close(printed[1]);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
    CHECK(read(printed[0], text, sizeof text - 1) > 0);
    CHECK_TEXT(text, "said by hand\n");
    close(printed[0]);
}

TEST(link_an_unusable_descriptor_is_refused_by_name) {
    static const char *const texts[] = {"x", "-1", "99999", "1000000000000", "7 ", "0x3"};
    for (size_t i = 0; i < PROTO_COUNT(texts); i++) {
        struct proto_error error = {0};
        struct proto_link *link = NULL;
        TEST_CASE(texts[i]);
        setenv("PIPELINE_LINK", texts[i], 1);
        CHECK(!proto_link_open("loader", 0, &link, &error));
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_HAS(error.text, texts[i]);
    }
    TEST_CASE("");
    unsetenv("PIPELINE_LINK");
}

TEST(link_messages_are_cut_out_of_any_pieces) {
    static const char text[] = "{\"kind\": \"a\"}\n\n{\"kind\": \"b\", \"x\": 1}\nbad\n"
                               "{\"kind\": \"c\"}\n{\"kind\": \"d\"";
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct proto_error error = {0};
        struct heard heard = {.messages = json_array()};
        const struct proto_link_sink sink = sink_of(&heard);
        CHECK_OK(proto_link_reader_new(&heard.reader, &error), error);
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            const size_t left = sizeof text - 1 - at;
            proto_link_reader_feed(heard.reader, text + at, left < piece ? left : piece, &sink);
        }
        CHECK_INT(json_array_size(heard.messages), 3);
        CHECK_INT(count_kind(&heard, "b"), 1);
        CHECK_INT(heard.refused, 1);
        heard.end = -1;
        forget(&heard);
    }
}

TEST(link_the_limit_of_a_line_is_exact) {
    struct proto_error error = {0};
    struct heard heard = {.end = -1, .messages = json_array()};
    const struct proto_link_sink sink = sink_of(&heard);
    char *line = malloc(PROTO_LINK_LINE_MAX + 1);
    CHECK_OK(proto_link_reader_new(&heard.reader, &error), error);
    memset(line, ' ', PROTO_LINK_LINE_MAX + 1);
    memcpy(line, "{\"kind\": \"a\"}", 13);
    line[PROTO_LINK_LINE_MAX - 1] = '\n';
    proto_link_reader_feed(heard.reader, line, PROTO_LINK_LINE_MAX, &sink);
    CHECK_INT(json_array_size(heard.messages), 1);
    line[PROTO_LINK_LINE_MAX - 1] = ' ';
    line[PROTO_LINK_LINE_MAX] = '\n';
    proto_link_reader_feed(heard.reader, line, PROTO_LINK_LINE_MAX + 1, &sink);
    CHECK_INT(json_array_size(heard.messages), 1);
    CHECK_INT(heard.refused, 1);
    CHECK_HAS(heard.refusal, "over 65536 bytes");
    proto_link_reader_feed(heard.reader, "{\"kind\": \"a\"}\n", 14, &sink);
    CHECK_INT(json_array_size(heard.messages), 2);
    free(line);
    forget(&heard);
}

TEST(link_a_stage_that_is_gone_cannot_be_stopped_and_that_is_said) {
    struct proto_error error = {0};
    int ends[2];
    CHECK_OK(proto_link_pair(ends, &error), error);
    close(ends[1]);
    CHECK(!proto_link_send_stop(ends[0], PROTO_STOP_NOW, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    CHECK(!proto_link_send_checkpoints(ends[0], true, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    close(ends[0]);
}

TEST_MAIN(UNIT(link_what_a_stage_says_arrives_in_the_documented_form),
          UNIT(link_each_stop_arrives_as_itself_and_the_heartbeat_needs_nobody),
          UNIT(link_damaged_lines_are_passed_over_and_reported),
          UNIT(link_a_supervisor_that_does_not_read_never_holds_up_the_stage),
          UNIT(link_an_orphan_ends_itself_whatever_it_does),
          UNIT(link_an_orphan_that_looks_leaves_at_once_by_itself),
          UNIT(link_a_supervised_stage_ignores_interrupts_and_obeys_term),
          UNIT(link_checkpoints_wake_the_stage_once_each_and_a_stop_for_good),
          UNIT(link_by_hand_signals_are_the_stops),
          UNIT(link_an_unusable_descriptor_is_refused_by_name),
          UNIT(link_messages_are_cut_out_of_any_pieces), UNIT(link_the_limit_of_a_line_is_exact),
          UNIT(link_a_stage_that_is_gone_cannot_be_stopped_and_that_is_said))
