// tests/stages/control_test.c - what the control socket of a run takes from whoever connects, and
// who may. Oracle: the limits of control.h and one JSON answer for each line.
#include "tests/stages/world.h"

#include "stages/control.h"

#include <sys/socket.h>
#include <sys/un.h>

static int dial(const struct world *world) {
    struct proto_error error = {0};
    int line = -1;
    CHECK_OK(stage_client_open(world->run, &line, &error), error);
    return line;
}

// Sends raw bytes and gives the answer as JSON, or NULL when the line was closed.
static json_t *exchange(int line, const char *bytes, size_t count) {
    char answer[8192];
    size_t used = 0;
    CHECK(send(line, bytes, count, MSG_NOSIGNAL) == (ssize_t)count);
    for (;;) {
        struct pollfd set = {.fd = line, .events = POLLIN};
        CHECK(poll(&set, 1, WORLD_DEADLINE_MS) == 1);
        const ssize_t got = recv(line, answer + used, sizeof answer - used, 0);
        if (got <= 0) return NULL;
        used += (size_t)got;
        if (answer[used - 1] == '\n') break;
        CHECK(used < sizeof answer);
    }
    json_t *object = json_loadb(answer, used, 0, NULL);
    CHECK(object != NULL);
    return object;
}

static void check_refused(int line, const char *request, size_t count, const char *says) {
    json_t *answer = exchange(line, request, count);
    CHECK(answer != NULL);
    CHECK(json_is_false(json_object_get(answer, "ok")));
    CHECK_HAS(json_string_value(json_object_get(answer, "error")), says);
    json_decref(answer);
}

static void stop(struct world *world) {
    CHECK(kill(world->up, SIGTERM) == 0);
    CHECK_INT(world_wait(world), 143);
    world_close(world);
}

TEST(control_answers_every_malformed_request_with_a_reason) {
    static const struct {
        const char *request, *says;
    } cases[] = {
        {"nonsense\n", ""},
        {"[1, 2]\n", "a request is a JSON object"},
        {"{}\n", "needs a text \"verb\""},
        {"{\"verb\": 7}\n", "needs a text \"verb\""},
        {"{\"verb\": \"status\", \"verb\": \"down\"}\n", ""},
        {"{\"verb\": \"explode\"}\n", "explode is not a request"},
        {"{\"verb\": \"scale\"}\n", "only loader and evaluator can be scaled"},
        {"{\"verb\": \"scale\", \"stage\": \"trainer\", \"count\": 2}\n", "only loader"},
        {"{\"verb\": \"scale\", \"stage\": \"loader\"}\n", "1..256"},
        {"{\"verb\": \"scale\", \"stage\": \"loader\", \"count\": 0}\n", "1..256"},
        {"{\"verb\": \"scale\", \"stage\": \"loader\", \"count\": 257}\n", "1..256"},
        {"{\"verb\": \"scale\", \"stage\": \"loader\", \"count\": 1e99}\n", "1..256"},
        {"{\"verb\": \"scale\", \"stage\": \"loader\", \"count\": -9223372036854775808}\n",
         "1..256"},
    };
    struct world world;
    world_open(&world);
    world_running(&world);
    const int line = dial(&world);  // all on one connection: an error does not end it
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].request);
        check_refused(line, cases[i].request, strlen(cases[i].request), cases[i].says);
    }
    TEST_CASE("");
    const char binary[] = "\x00\xff\xfe{\x01\n";
    check_refused(line, binary, sizeof binary - 1, "");
    close(line);
    CHECK_INT(world_count(&world, "loader", "running", NULL, 0), 2);
    stop(&world);
}

TEST(control_closes_a_line_without_end) {
    struct world world;
    static char endless[STAGE_CONTROL_REQUEST_BYTES_MAX + 1];
    world_open(&world);
    world_running(&world);
    const int line = dial(&world);
    memset(endless, 'x', sizeof endless);
    check_refused(line, endless, STAGE_CONTROL_REQUEST_BYTES_MAX, "less than 4096 bytes");
    char byte;
    CHECK(recv(line, &byte, 1, 0) == 0);
    close(line);
    stop(&world);
}

TEST(control_serves_on_while_others_say_nothing_or_never_read) {
    struct world world;
    int silent[STAGE_CONTROL_CLIENTS_MAX - 2];
    world_open(&world);
    world_running(&world);
    for (size_t i = 0; i < PROTO_COUNT(silent); i++) silent[i] = dial(&world);
    // asks for more than socket and queue hold, and reads nothing
    const int greedy = dial(&world);
    const char request[] = "{\"verb\": \"status\"}\n";
    for (int i = 0; i < 20000; i++)
        if (send(greedy, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) break;
    json_decref(world_status(&world));
    // one that hangs up in the middle of a request
    const int half = dial(&world);
    CHECK(send(half, request, 5, MSG_NOSIGNAL) == 5);
    close(half);
    json_decref(world_status(&world));
    for (size_t i = 0; i < PROTO_COUNT(silent); i++) close(silent[i]);
    close(greedy);
    stop(&world);
}

TEST(control_keeps_clients_beyond_its_limit_waiting) {
    struct world world;
    int clients[STAGE_CONTROL_CLIENTS_MAX];
    world_open(&world);
    world_running(&world);
    for (size_t i = 0; i < PROTO_COUNT(clients); i++) clients[i] = dial(&world);
    json_t *first = exchange(clients[0], "{\"verb\": \"status\"}\n", 19);
    json_decref(first);
    const int late = dial(&world);
    CHECK(send(late, "{\"verb\": \"status\"}\n", 19, MSG_NOSIGNAL) == 19);
    close(clients[3]);
    json_t *answer = exchange(late, "", 0);
    CHECK(json_is_true(json_object_get(answer, "ok")));
    json_decref(answer);
    close(late);
    for (size_t i = 0; i < PROTO_COUNT(clients); i++)
        if (i != 3) close(clients[i]);
    stop(&world);
}

TEST(control_is_private_and_gone_after_the_run) {
    struct world world;
    struct proto_error error = {0};
    char path[PROTO_PATH_MAX], folder[PROTO_PATH_MAX];
    struct stat info;
    world_open(&world);
    world_running(&world);
    CHECK_OK(proto_run_control(world.run, path, &error), error);
    CHECK_OK(proto_run_sockets(world.run, folder, &error), error);
    CHECK(stat(path, &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0600);
    CHECK(stat(folder, &info) == 0);
    CHECK_INT(info.st_mode & 0777, 0700);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    CHECK(stat(path, &info) != 0);
    int line = -1;
    CHECK(!stage_client_open(world.run, &line, &error));
    CHECK_HAS(error.text, "no run is at work here");
    world_close(&world);
}

TEST_MAIN(UNIT(control_answers_every_malformed_request_with_a_reason),
          UNIT(control_closes_a_line_without_end),
          UNIT(control_serves_on_while_others_say_nothing_or_never_read),
          UNIT(control_keeps_clients_beyond_its_limit_waiting),
          UNIT(control_is_private_and_gone_after_the_run))
