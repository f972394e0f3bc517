// bench/wire_bench.c - our wire against a bare ZeroMQ pair: the same frames, the same sizes, the
// same credits, without header, hashes and checks.
//
//     build/bench/wire_bench [ENDPOINT]      default ipc, a file in $TMPDIR
//
// Two threads, a context each, as two processes would have. Three ways, interleaved, medians:
//   ours   loader/serve's way out (batches on loan) and trainer/feed's way in (into a batch)
//   plain  zmq_send from a batch, zmq_recv into a batch: the peer to be compared with
//   lent   zmq_msg_init_data from a batch, and the receiver never looks at the bytes
// Goal: ours at least 80 % of plain.
#include "proto/pool.h"
#include "proto/wire.h"
#include "proto/wire_messages.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { SAMPLES = 8, CREDITS = 4, MESSAGES = 200, ROUNDS = 9 };
enum way { OURS, PLAIN, LENT, WAYS };
static const char *const way_names[] = {"ours", "plain", "lent"};

// The frames of one agentview and one eye-in-hand camera, two moments each.
static const struct proto_codec codec = {
    .width = 128,
    .chunk = 64,
    .history = 2,
    .camera_count = 2,
    .image_height = 128,
    .image_width = 128,
    .task_count = 1,
};

struct run {
    enum way way;
    char endpoint[256];
    struct proto_batch *target;
    double seconds;
    uint64_t bytes;
};

static double clock_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void must(bool done, const struct proto_error *error) {
    if (done) return;
    fprintf(stderr, "wire_bench: %s\n", error->text);
    exit(1);
}

static void wait_for(void *socket, short events) {
    zmq_pollitem_t item = {.socket = socket, .events = events};
    if (zmq_poll(&item, 1, 20000) != 1) {
        fprintf(stderr, "wire_bench: nothing moves for 20 s\n");
        exit(1);
    }
}

static void no_release(void *data, void *hint) {
    (void)data;
    (void)hint;
}

// One message of the bare pair: a header's worth of bytes and the tensors.
static void bare_send(void *socket, const struct proto_batch *batch, bool lent) {
    static const uint8_t header[1400];
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    zmq_send(socket, header, sizeof header, ZMQ_SNDMORE);
    for (size_t i = 0; i < count; i++) {
        struct proto_wire_tensor tensor;
        if (!proto_wire_part_describe(&parts[i], batch, SAMPLES, &tensor)) exit(1);
        void *data = proto_wire_part_data(&parts[i], batch);
        const int more = i + 1 < count ? ZMQ_SNDMORE : 0;
        if (lent) {
            zmq_msg_t frame;
            zmq_msg_init_data(&frame, data, tensor.bytes, no_release, NULL);
            zmq_msg_send(&frame, socket, more);
        } else
            zmq_send(socket, data, tensor.bytes, more);
    }
}

static void bare_receive(void *socket, struct proto_batch *target, bool lent,
                         struct proto_identity *from) {
    static uint8_t header[4096];
    size_t count = 0;
    const struct proto_wire_part *parts = proto_wire_parts(&count);
    from->size = (uint8_t)zmq_recv(socket, from->bytes, sizeof from->bytes, 0);
    zmq_recv(socket, header, sizeof header, 0);
    for (size_t i = 0; i < count; i++) {
        struct proto_wire_tensor tensor;
        if (!proto_wire_part_describe(&parts[i], target, SAMPLES, &tensor)) exit(1);
        if (lent) {
            zmq_msg_t frame;
            zmq_msg_init(&frame);
            zmq_msg_recv(&frame, socket, 0);
            zmq_msg_close(&frame);
        } else
            zmq_recv(socket, proto_wire_part_data(&parts[i], target), tensor.bytes, 0);
    }
}

static void *receive_run(void *argument) {
    struct run *run = argument;
    struct proto_error error = {0};
    void *context = zmq_ctx_new(), *socket = NULL;
    const struct proto_wire_settings settings = {
        .router = true, .send_max = 100, .receive_max = 100, .batch = run->target};
    must(proto_wire_open(context, &settings, &socket, &error), &error);
    if (zmq_bind(socket, run->endpoint) != 0) must(false, &error);
    static struct proto_message message;
    double begin_s = 0;
    for (int n = 0; n < MESSAGES; n++) {
        struct proto_identity from = {.size = 0};
        struct proto_wire_sent sent;
        bool received = false;
        wait_for(socket, ZMQ_POLLIN);
        if (run->way == OURS)
            must(proto_wire_receive(socket, &from, run->target, &message, &received, &error),
                 &error);
        else
            bare_receive(socket, run->target, run->way == LENT, &from);
        if (n == 0) begin_s = clock_s();
        const struct proto_message credit = {.kind = PROTO_KIND_TICKETS};
        if (run->way == OURS)
            must(proto_wire_send(socket, &from, &credit, PROTO_RAW, &sent, &error), &error);
        else {
            zmq_send(socket, from.bytes, from.size, ZMQ_SNDMORE);
            zmq_send(socket, "credit of 28 bytes, as ours.", 28, 0);
        }
    }
    run->seconds = clock_s() - begin_s;
    zmq_recv(socket, (char[64]){0}, 64, 0);  // the sender says that it is done
    zmq_close(socket);
    zmq_ctx_term(context);
    return NULL;
}

static void *send_run(void *argument) {
    struct run *run = argument;
    struct proto_error error = {0};
    struct proto_pool *pool = NULL;
    void *context = zmq_ctx_new(), *socket = NULL;
    static struct proto_batch *batches[CREDITS];
    const struct proto_wire_settings settings = {.send_max = 100, .receive_max = 100};
    must(proto_wire_open(context, &settings, &socket, &error), &error);
    must(proto_pool_new(&codec, CREDITS, &pool, &error), &error);
    for (int i = 0; i < CREDITS; i++)
        if (!batches[i]) must(proto_batch_new(&codec, SAMPLES, &batches[i], &error), &error);
    if (zmq_connect(socket, run->endpoint) != 0) must(false, &error);
    static struct proto_message message;
    run->bytes = proto_wire_batch_bytes(batches[0], SAMPLES);
    for (int n = 0; n < MESSAGES + CREDITS; n++) {
        bool received = false;
        struct proto_wire_sent sent = {.delivery = PROTO_NO_ROOM};
        if (n >= CREDITS) {
            wait_for(socket, ZMQ_POLLIN);
            if (run->way == OURS)
                must(proto_wire_receive(socket, NULL, NULL, &message, &received, &error), &error);
            else
                zmq_recv(socket, (char[64]){0}, 64, 0);
        }
        if (n >= MESSAGES) continue;
        wait_for(socket, ZMQ_POLLOUT);
        if (run->way != OURS) {
            bare_send(socket, batches[n % CREDITS], run->way == LENT);
            continue;
        }
        struct proto_loan *loan = NULL;
        while (!loan) {
            must(proto_pool_take(pool, SAMPLES, &loan, &error), &error);
            zmq_pollitem_t item = {.fd = proto_pool_descriptor(pool), .events = ZMQ_POLLIN};
            if (!loan && zmq_poll(&item, 1, 20000) == 1) proto_pool_settle(pool);
        }
        message.kind = PROTO_KIND_BATCH;
        message.batch.ticket = (uint64_t)n + 1;
        message.batch.count = SAMPLES;
        message.batch.batch = proto_loan_batch(loan);
        message.batch.loan = loan;
        must(proto_wire_send(socket, NULL, &message, PROTO_RAW, &sent, &error), &error);
        proto_loan_drop(loan);
    }
    const int linger_ms = 5000;
    zmq_send(socket, "done", 4, 0);
    zmq_setsockopt(socket, ZMQ_LINGER, &linger_ms, sizeof linger_ms);
    zmq_close(socket);
    zmq_ctx_term(context);
    proto_pool_free(&pool);
    return NULL;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int count, char **arguments) {
    static double rates[WAYS][ROUNDS];
    struct run run = {0};
    struct proto_error error = {0};
    const char *folder = getenv("TMPDIR");
    must(proto_batch_new(&codec, SAMPLES, &run.target, &error), &error);
    for (int round = 0; round < ROUNDS; round++)
        for (int way = 0; way < WAYS; way++) {
            pthread_t threads[2];
            run.way = (enum way)way;
            if (count > 1)
                snprintf(run.endpoint, sizeof run.endpoint, "%s", arguments[1]);
            else
                snprintf(run.endpoint, sizeof run.endpoint, "ipc://%s/wire_bench.%d",
                         folder ? folder : "/tmp", (int)getpid());
            pthread_create(&threads[0], NULL, receive_run, &run);
            pthread_create(&threads[1], NULL, send_run, &run);
            for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
            rates[way][round] = (MESSAGES - 1) / run.seconds;
        }
    printf("%d messages of %.2f MB in 12 tensors, %d credits, %d interleaved rounds, medians\n",
           MESSAGES, 1e-6 * (double)run.bytes, CREDITS, ROUNDS);
    for (int way = 0; way < WAYS; way++) {
        qsort(rates[way], ROUNDS, sizeof(double), by_value);
        const double median = rates[way][ROUNDS / 2];
        printf("%-6s %8.0f messages/s %6.2f GB/s   %.0f .. %.0f\n", way_names[way], median,
               1e-9 * median * (double)run.bytes, rates[way][0], rates[way][ROUNDS - 1]);
    }
    printf("ours / plain %.0f %% (goal 80 %%), ours / lent %.0f %%\n",
           100 * rates[OURS][ROUNDS / 2] / rates[PLAIN][ROUNDS / 2],
           100 * rates[OURS][ROUNDS / 2] / rates[LENT][ROUNDS / 2]);
    proto_batch_free(&run.target);
    return 0;
}
