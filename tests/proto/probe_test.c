// tests/proto/probe_test.c - a program that is asked answers, or the reason is told: absent, other
// exit code, no JSON, too much, silence. The programs are scripts beside this test.
#include "proto/probe.h"

#include "proto/programs.h"
#include "tests/check.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

// Writes a script beside this test program; `name` is unique to the process.
static void script(char name[static 64], const char *body) {
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    snprintf(name, 64, "probe-test-%ld.sh", (long)getpid());
    CHECK_OK(proto_programs_path(name, path, &error), error);
    FILE *file = fopen(path, "w");
    CHECK(file && fprintf(file, "#!/bin/sh\n%s\n", body) > 0 && fclose(file) == 0);
    CHECK(chmod(path, 0755) == 0);
}

static void script_remove(const char *name) {
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    CHECK_OK(proto_programs_path(name, path, &error), error);
    CHECK(unlink(path) == 0);
}

TEST(probe_hands_over_the_answer) {
    char name[64];
    struct proto_error error = {0};
    script(name, "echo \"{\\\"verb\\\": \\\"$1\\\", \\\"flag\\\": \\\"$2\\\"}\"; echo noise >&2");
    json_t *answer = proto_probe(name, "version", &error);
    script_remove(name);
    CHECK_OK(answer, error);
    CHECK_TEXT(json_string_value(json_object_get(answer, "verb")), "version");
    CHECK_TEXT(json_string_value(json_object_get(answer, "flag")), "--json");
    json_decref(answer);
}

static const struct {
    const char *name, *body, *says;
} wrong[] = {
    {"other exit code", "echo '{}'; exit 3", "did not end well"},
    {"killed", "kill -9 $$", "did not end well"},
    {"no JSON", "echo hello", ""},
    {"nothing", "true", ""},
    {"too much", "head -c 100000 /dev/zero; exec sleep 100", "over 65536 bytes"},
};
TEST(probe_says_why_there_is_no_answer) {
    for (size_t i = 0; i < PROTO_COUNT(wrong); i++) {
        char name[64];
        struct proto_error error = {0};
        TEST_CASE(wrong[i].name);
        script(name, wrong[i].body);
        json_t *answer = proto_probe(name, "version", &error);
        script_remove(name);
        CHECK(answer == NULL);
        CHECK_HAS(error.text, wrong[i].says);
        CHECK_HAS(error.where, "version --json");
    }
    struct proto_error error = {0};
    TEST_CASE("absent");
    CHECK(proto_probe("no-such-program", "version", &error) == NULL);
    CHECK_INT(error.status, PROTO_MISSING);
}

TEST(probe_does_not_wait_for_ever) {
    char name[64];
    struct proto_error error = {0};
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    script(name, "exec sleep 100");
    CHECK(proto_probe(name, "version", &error) == NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    script_remove(name);
    CHECK_HAS(error.text, "no answer in time");
    CHECK(end.tv_sec - begin.tv_sec < PROTO_PROBE_MS / 1000 + 5);
}

TEST_MAIN(UNIT(probe_hands_over_the_answer), UNIT(probe_says_why_there_is_no_answer),
          UNIT(probe_does_not_wait_for_ever))
