// proto/link.c - the stage's end of the line.
//
// Two threads. The link's thread polls the line: it reads stops, writes what the stage queued, and
// repeats the newest progress as heartbeat. The watchdog sleeps until the line has ended and then
// ends the process PROTO_ORPHAN_MS later: apart, because the link's thread may be held up in
// on_stop. The stage's own threads only append to a bounded buffer under a lock.
//
// A signal handler stores the signal's number and wakes the stop descriptor; what the signal means
// is decided by whoever looks.
#include "proto/link.h"
#include "proto/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define QUEUE_BYTES_MAX ((size_t)4 * PROTO_LINK_LINE_MAX)
#define QUEUE_RESERVE_BYTES ((size_t)PROTO_LINK_LINE_MAX)  // for "ready" and "failed" only
#define SAY_BYTES_MAX 4096
#define CLOSE_MS_MAX 1000  // to hand over what is queued when the stage ends
#define DESCRIPTOR_MAX 1000000

struct proto_link {
    char stage[32];
    uint32_t number;
    int line;            // the socket, -1 by hand
    int stop_event;      // readable once a stop was asked for, or checkpoints are to be looked at
    int wake_event;      // wakes the link's thread
    atomic_int asked;    // enum proto_stop the supervisor asked for
    atomic_int meaning;  // enum proto_stop a signal asks for
    atomic_ullong checkpoints;  // lines that said so, times 2, plus 1 when the newest said "last"
    struct proto_link_reader *reader;
    pthread_t thread, watchdog;
    bool thread_runs, watchdog_runs;

    pthread_mutex_t lock;  // everything below
    pthread_cond_t changed;
    bool closing, ended;
    char *queue;  // [QUEUE_BYTES_MAX + QUEUE_RESERVE_BYTES], lines not yet sent
    size_t queue_used;
    uint64_t dropped;  // lines that found no room
    uint64_t done;
    json_t *counters;  // of the newest progress, NULL before the first
    void (*on_stop)(void *context);
    void *on_stop_context;
    bool on_stop_called, on_stop_runs;
};

// What a signal handler may touch. One link a process, so one of these.
static atomic_int signal_number, signal_interrupts, signal_event = -1;

static void wake(int event) {
    const uint64_t one = 1;
    // can only fail when the counter is full, and then the event is readable already
    if (write(event, &one, sizeof one) < 0) return;
}

static void on_signal(int number) {
    const int saved = errno, event = atomic_load(&signal_event);
    int none = 0;
    atomic_compare_exchange_strong(&signal_number, &none, number);
    if (number == SIGINT) atomic_fetch_add(&signal_interrupts, 1);
    if (event >= 0) wake(event);
    errno = saved;
}

static bool signals_install(const struct proto_link *link, struct proto_error *error) {
    struct sigaction stop = {.sa_handler = on_signal, .sa_flags = 0};
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigemptyset(&stop.sa_mask);
    atomic_store(&signal_number, 0);
    atomic_store(&signal_interrupts, 0);
    atomic_store(&signal_event, link->stop_event);
    // a file over the limit of its size is an error of that write, as a full disk is
    if (sigaction(SIGXFSZ, &ignore, NULL) == 0 && sigaction(SIGTERM, &stop, NULL) == 0 &&
        sigaction(SIGINT, link->line >= 0 ? &ignore : &stop, NULL) == 0)
        return true;
    return proto_fail_errno(error, PROTO_FAILED, "no handler for signals");
}

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Appends a message as a line; takes the reference. False: there was no room, and it is counted.
static bool queue_add(struct proto_link *link, json_t *message, size_t limit) {
    char *text = message ? json_dumps(message, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    json_decref(message);
    const size_t length = text ? strlen(text) + 1 : 0;
    pthread_mutex_lock(&link->lock);
    const bool fits =
        text && length <= PROTO_LINK_LINE_MAX && link->queue_used + length <= limit && !link->ended;
    if (fits) {
        memcpy(link->queue + link->queue_used, text, length - 1);
        link->queue[link->queue_used + length - 1] = '\n';
        link->queue_used += length;
    } else {
        link->dropped++;
    }
    pthread_mutex_unlock(&link->lock);
    free(text);
    wake(link->wake_event);
    return fits;
}

static json_t *event_message(const char *name, json_t *fields) {
    json_t *event = json_pack("{s:s}", "event", name);
    if (event && fields) json_object_update_missing(event, fields);
    json_decref(fields);
    return event ? json_pack("{s:s, s:o}", "kind", "event", "event", event) : NULL;
}

// Says how many lines were dropped, once there is room again.
static void dropped_report(struct proto_link *link) {
    pthread_mutex_lock(&link->lock);
    const uint64_t dropped = link->dropped;
    const bool room = link->queue_used == 0;
    if (dropped > 0 && room) link->dropped = 0;
    pthread_mutex_unlock(&link->lock);
    if (dropped == 0 || !room) return;
    queue_add(link, event_message("link_dropped", json_pack("{s:I}", "count", (json_int_t)dropped)),
              QUEUE_BYTES_MAX);
}

// Sends as much as the socket takes now. False: the supervisor is gone.
static bool queue_flush(struct proto_link *link) {
    bool open = true;
    pthread_mutex_lock(&link->lock);
    while (link->queue_used > 0) {
        const ssize_t sent =
            send(link->line, link->queue, link->queue_used, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) {
            open = errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
            break;
        }
        link->queue_used -= (size_t)sent;
        memmove(link->queue, link->queue + sent, link->queue_used);
    }
    pthread_mutex_unlock(&link->lock);
    return open;
}

// Raises the stop that was asked for; calls on_stop at the first PROTO_STOP_NOW.
static void stop_raise(struct proto_link *link, enum proto_stop stop) {
    if ((int)stop > atomic_load(&link->asked)) atomic_store(&link->asked, (int)stop);
    wake(link->stop_event);
    if (stop != PROTO_STOP_NOW) return;
    pthread_mutex_lock(&link->lock);
    void (*on_stop)(void *context) = link->on_stop_called ? NULL : link->on_stop;
    void *context = link->on_stop_context;
    if (on_stop) link->on_stop_called = link->on_stop_runs = true;
    pthread_mutex_unlock(&link->lock);
    if (!on_stop) return;
    on_stop(context);
    pthread_mutex_lock(&link->lock);
    link->on_stop_runs = false;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void refused_report(void *context, const struct proto_error *error) {
    json_t *fields = json_pack("{s:o}", "text", proto_json_string(error->text));
    queue_add(context, event_message("link_refused", fields), QUEUE_BYTES_MAX);
}

static bool stop_take(struct proto_link *link, const json_t *message, struct proto_error *error) {
    const char *mode = NULL;
    if (!proto_json_text(message, "mode", &mode, error)) return false;
    for (int stop = PROTO_STOP_DRAIN; stop <= PROTO_STOP_NOW; stop++)
        if (strcmp(mode, proto_stop_name((enum proto_stop)stop)) == 0) {
            stop_raise(link, (enum proto_stop)stop);
            return true;
        }
    return proto_fail(error, PROTO_DAMAGED, "the mode \"%.40s\" of stop is not known", mode);
}

// Only the link's thread writes the count.
static bool checkpoints_take(struct proto_link *link, const json_t *message,
                             struct proto_error *error) {
    bool last = false;
    if (!proto_json_boolean(message, "last", &last, error)) return false;
    const unsigned long long count = atomic_load(&link->checkpoints) / 2 + 1;
    atomic_store(&link->checkpoints, count * 2 + last);
    wake(link->stop_event);
    return true;
}

static void message_take(void *context, const char *kind, const json_t *message) {
    struct proto_link *link = context;
    struct proto_error error = {0};
    const bool taken =
        strcmp(kind, "stop") == 0 ? stop_take(link, message, &error)
        : strcmp(kind, "checkpoints") == 0
            ? checkpoints_take(link, message, &error)
            : proto_fail(&error, PROTO_DAMAGED, "the kind \"%.40s\" is not known", kind);
    if (!taken) refused_report(link, &error);
}

// Reads what there is. False: the supervisor is gone.
static bool line_read(struct proto_link *link) {
    const struct proto_link_sink sink = {message_take, refused_report, link};
    char bytes[4096];
    for (;;) {
        const ssize_t got = recv(link->line, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got == 0) return false;
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
        proto_link_reader_feed(link->reader, bytes, (size_t)got, &sink);
    }
}

static void heartbeat_add(struct proto_link *link) {
    pthread_mutex_lock(&link->lock);
    // a backlog means the supervisor is busy: the newest counters will do later
    const bool due = link->queue_used < QUEUE_BYTES_MAX / 2;
    const uint64_t done = link->done;
    json_t *counters = due && link->counters ? json_deep_copy(link->counters) : NULL;
    pthread_mutex_unlock(&link->lock);
    if (!due) return;
    if (!counters) counters = json_object();
    queue_add(link,
              json_pack("{s:s, s:I, s:o}", "kind", "progress", "done", (json_int_t)done, "counters",
                        counters),
              QUEUE_BYTES_MAX);
}

static bool is_closing(struct proto_link *link) {
    pthread_mutex_lock(&link->lock);
    const bool closing = link->closing;
    pthread_mutex_unlock(&link->lock);
    return closing;
}

static bool is_empty(struct proto_link *link) {
    pthread_mutex_lock(&link->lock);
    const bool empty = link->queue_used == 0;
    pthread_mutex_unlock(&link->lock);
    return empty;
}

// The supervisor is gone: start the watchdog's clock first, then tell the stage.
static void line_ended(struct proto_link *link) {
    pthread_mutex_lock(&link->lock);
    link->ended = true;
    link->queue_used = 0;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    stop_raise(link, PROTO_STOP_NOW);
}

static void *thread_run(void *context) {
    struct proto_link *link = context;
    int64_t heartbeat_ms = now_ms() + PROTO_PROGRESS_MS, close_ms = 0;
    for (;;) {
        const bool closing = is_closing(link);
        const int64_t now = now_ms();
        if (closing && close_ms == 0) {
            close_ms = now + CLOSE_MS_MAX;
            heartbeat_add(link);  // the last counters are told
        }
        dropped_report(link);
        if (closing && (is_empty(link) || now >= close_ms)) return NULL;
        if (now >= heartbeat_ms && !closing) {
            heartbeat_add(link);
            heartbeat_ms = now + PROTO_PROGRESS_MS;
        }
        struct pollfd set[2] = {{.fd = link->line, .events = POLLIN},
                                {.fd = link->wake_event, .events = POLLIN}};
        if (!is_empty(link)) set[0].events |= POLLOUT;
        const int64_t until = closing ? close_ms : heartbeat_ms;
        const int wait_ms = until > now ? (int)(until - now) : 0;
        if (poll(set, 2, wait_ms) < 0 && errno != EINTR) break;
        if (set[1].revents) {
            uint64_t count;
            if (read(link->wake_event, &count, sizeof count) < 0) continue;
        }
        const bool open = queue_flush(link) && (!(set[0].revents & ~POLLOUT) || line_read(link));
        if (!open) break;
    }
    line_ended(link);
    return NULL;
}

static void *watchdog_run(void *context) {
    struct proto_link *link = context;
    struct timespec until;
    pthread_mutex_lock(&link->lock);
    while (!link->ended && !link->closing) pthread_cond_wait(&link->changed, &link->lock);
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PROTO_ORPHAN_MS / 1000;
    until.tv_nsec += PROTO_ORPHAN_MS % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    while (!link->closing) {
        if (pthread_cond_timedwait(&link->changed, &link->lock, &until) == ETIMEDOUT)
            _exit(PROTO_FAILED);
    }
    pthread_mutex_unlock(&link->lock);
    return NULL;
}

// The socket of PIPELINE_LINK, or -1 without; nobody this process starts shall have it.
static bool line_find(int *line, struct proto_error *error) {
    const char *text = getenv("PIPELINE_LINK");
    *line = -1;
    if (!text || *text == '\0') return true;
    char *end = NULL;
    errno = 0;
    const long descriptor = strtol(text, &end, 10);
    struct stat status;
    if (errno != 0 || *end != '\0' || descriptor < 0 || descriptor > DESCRIPTOR_MAX ||
        fstat((int)descriptor, &status) != 0 || !S_ISSOCK(status.st_mode))
        return proto_fail(error, PROTO_USAGE,
                          "PIPELINE_LINK is \"%.40s\", must be the number of an inherited socket; "
                          "unset it to run a stage by hand",
                          text);
    if (fcntl((int)descriptor, F_SETFD, FD_CLOEXEC) != 0)
        return proto_fail_errno(error, PROTO_FAILED, "PIPELINE_LINK");
    unsetenv("PIPELINE_LINK");
    *line = (int)descriptor;
    return true;
}

// Starts both threads with every signal blocked, so that handlers run in the stage's own threads.
static bool threads_start(struct proto_link *link, struct proto_error *error) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    link->watchdog_runs = pthread_create(&link->watchdog, NULL, watchdog_run, link) == 0;
    link->thread_runs =
        link->watchdog_runs && pthread_create(&link->thread, NULL, thread_run, link) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return link->thread_runs || proto_fail(error, PROTO_EXHAUSTED, "no thread for the line");
}

bool proto_link_open(const char *stage, uint32_t number, struct proto_link **link,
                     struct proto_error *error) {
    struct proto_link *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->number = number;
    opened->line = -1;
    snprintf(opened->stage, sizeof opened->stage, "%s", stage);
    atomic_store(&opened->meaning, PROTO_STOP_DRAIN);
    pthread_mutex_init(&opened->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&opened->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    opened->stop_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    opened->wake_event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    opened->queue = proto_alloc(QUEUE_BYTES_MAX + QUEUE_RESERVE_BYTES, error);
    bool done = opened->queue != NULL;
    if (done && (opened->stop_event < 0 || opened->wake_event < 0))
        done = proto_fail_errno(error, PROTO_FAILED, "no descriptors for the line");
    done = done && line_find(&opened->line, error) &&
           proto_link_reader_new(&opened->reader, error) && signals_install(opened, error) &&
           (opened->line < 0 || threads_start(opened, error));
    if (!done) {
        proto_link_close(&opened);
        return false;
    }
    *link = opened;
    return true;
}

void proto_link_close(struct proto_link **link) {
    struct proto_link *closed = *link;
    if (!closed) return;
    pthread_mutex_lock(&closed->lock);
    closed->closing = true;
    pthread_cond_broadcast(&closed->changed);
    pthread_mutex_unlock(&closed->lock);
    wake(closed->wake_event);
    if (closed->thread_runs) pthread_join(closed->thread, NULL);
    if (closed->watchdog_runs) pthread_join(closed->watchdog, NULL);
    // handlers stay: a late signal must not kill a stage that is already on its way out
    atomic_store(&signal_event, -1);
    if (closed->line >= 0) close(closed->line);
    if (closed->stop_event >= 0) close(closed->stop_event);
    if (closed->wake_event >= 0) close(closed->wake_event);
    proto_link_reader_free(&closed->reader);
    json_decref(closed->counters);
    free(closed->queue);
    pthread_cond_destroy(&closed->changed);
    pthread_mutex_destroy(&closed->lock);
    free(closed);
    *link = NULL;
}

enum proto_stop proto_link_stop(const struct proto_link *link) {
    int stop = atomic_load(&link->asked);
    if (atomic_load(&signal_number) != 0) {
        const int meaning = atomic_load(&link->meaning);
        if (meaning > stop) stop = meaning;
        // whoever presses Ctrl-C twice does not want to wait
        if (link->line < 0 && atomic_load(&signal_interrupts) > 1) stop = PROTO_STOP_NOW;
    }
    return (enum proto_stop)stop;
}

void proto_link_signal_means(struct proto_link *link, enum proto_stop stop) {
    atomic_store(&link->meaning, (int)stop);
}

int proto_link_signal(const struct proto_link *link) {
    (void)link;
    return atomic_load(&signal_number);
}

bool proto_link_supervised(const struct proto_link *link) { return link->line >= 0; }
int proto_link_descriptor(const struct proto_link *link) { return link->stop_event; }

uint64_t proto_link_checkpoints(struct proto_link *link, bool *last) {
    uint64_t woken;
    // emptied before the count is read: a line that comes meanwhile wakes again. So does a stop.
    if (read(link->stop_event, &woken, sizeof woken) > 0 && proto_link_stop(link) != PROTO_GO_ON)
        wake(link->stop_event);
    const unsigned long long count = atomic_load(&link->checkpoints);
    *last = link->line < 0 || count % 2 == 1;
    return count / 2;
}

void proto_link_on_stop_now(struct proto_link *link, void (*on_stop)(void *context),
                            void *context) {
    pthread_mutex_lock(&link->lock);
    // what it was given may go away once this returns
    while (link->on_stop_runs) pthread_cond_wait(&link->changed, &link->lock);
    link->on_stop = on_stop;
    link->on_stop_context = context;
    const bool late =
        on_stop && atomic_load(&link->asked) == PROTO_STOP_NOW && !link->on_stop_called;
    if (late) link->on_stop_called = true;
    pthread_mutex_unlock(&link->lock);
    if (late) on_stop(context);
}

void proto_link_ready(struct proto_link *link) {
    if (link->line < 0) return;
    queue_add(link,
              json_pack("{s:s, s:s, s:I, s:I}", "kind", "ready", "stage", link->stage, "number",
                        (json_int_t)link->number, "pid", (json_int_t)getpid()),
              QUEUE_BYTES_MAX + QUEUE_RESERVE_BYTES);
}

void proto_link_progress(struct proto_link *link, uint64_t done, json_t *counters) {
    pthread_mutex_lock(&link->lock);
    json_t *before = link->counters;
    link->counters = counters;
    link->done = done;
    pthread_mutex_unlock(&link->lock);
    json_decref(before);
}

void proto_link_say(struct proto_link *link, const char *format, ...) {
    char text[SAY_BYTES_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (link->line < 0) {
        printf("%s\n", text);
        fflush(stdout);
        return;
    }
    queue_add(link, json_pack("{s:s, s:o}", "kind", "say", "text", proto_json_string(text)),
              QUEUE_BYTES_MAX);
}

void proto_link_event(struct proto_link *link, const char *name, json_t *fields) {
    if (link->line < 0) {
        json_decref(fields);
        return;
    }
    queue_add(link, event_message(name, fields), QUEUE_BYTES_MAX);
}

void proto_link_failed(struct proto_link *link, const struct proto_error *error) {
    char source[256], program[64];
    if (link->line < 0) {
        snprintf(program, sizeof program, "pipeline-%s", link->stage);
        proto_error_print(program, error);
        return;
    }
    snprintf(source, sizeof source, "%s:%d", error->source_file ? error->source_file : "",
             error->source_line);
    queue_add(link,
              json_pack("{s:s, s:i, s:o, s:o, s:s}", "kind", "failed", "status", (int)error->status,
                        "where", proto_json_string(error->where), "text",
                        proto_json_string(error->text), "source", source),
              QUEUE_BYTES_MAX + QUEUE_RESERVE_BYTES);
}
