// tests/proto/place_test.c - after a death, what was being read can be named.
#include "proto/place.h"
#include "tests/check.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_signal(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(place_names_what_a_dead_child_was_reading) {
    struct proto_error error = {0};
    int page = -1;
    char text[4096];
    CHECK_OK(proto_place_new(&page, &error), error);
    CHECK(fcntl(page, F_GETFD) & FD_CLOEXEC);
    CHECK(!proto_place_read(page, text, sizeof text));
    CHECK_TEXT(text, "");
    const pid_t child = fork();
    if (child == 0) {
        struct proto_error ignored;
        if (!proto_place_attach(page, &ignored)) _exit(9);
        proto_place_note("a.hdf5", "");
        proto_place_note("b.hdf5", "data/demo_3/actions");
        signal(SIGSEGV, SIG_DFL);
        raise(SIGSEGV);
    }
    CHECK_INT(wait_signal(child), SIGSEGV);
    CHECK(proto_place_read(page, text, sizeof text));
    CHECK_TEXT(text, "b.hdf5: data/demo_3/actions");
    CHECK(proto_place_read(page, text, 7));  // cut to the reader's room
    CHECK_TEXT(text, "b.hdf5");
    close(page);
}

TEST(place_is_passed_on_over_exec) {
    struct proto_error error = {0};
    int page = -1;
    char text[100];
    CHECK_OK(proto_place_new(&page, &error), error);
    const pid_t child = fork();
    if (child == 0) {
        struct proto_error ignored;
        if (!proto_place_pass(page, &ignored)) _exit(9);
        execl("/proc/self/exe", "place_test", "note", (char *)NULL);
        _exit(9);
    }
    CHECK_INT(wait_signal(child), SIGKILL);
    CHECK(proto_place_read(page, text, sizeof text));
    CHECK_TEXT(text, "c.hdf5: obs");
    close(page);
}

TEST(place_after_the_reading_nothing_is_named) {
    struct proto_error error = {0};
    int page = -1;
    char text[100];
    CHECK_OK(proto_place_new(&page, &error), error);
    CHECK_OK(proto_place_attach(page, &error), error);
    proto_place_note("a", "b");
    CHECK(proto_place_read(page, text, sizeof text));
    proto_place_clear();
    CHECK(!proto_place_read(page, text, sizeof text));
    close(page);
}

TEST(place_a_death_while_noting_leaves_a_whole_note) {
    struct proto_error error = {0};
    char text[4096], x[1001], y[1001];
    int page = -1;
    memset(x, 'x', sizeof x - 1);
    memset(y, 'y', sizeof y - 1);
    x[1000] = y[1000] = '\0';
    CHECK_OK(proto_place_new(&page, &error), error);
    for (int round = 0; round < 50; round++) {
        int started[2];
        char byte;
        CHECK_INT(pipe(started), 0);
        const pid_t child = fork();
        if (child == 0) {
            struct proto_error ignored;
            if (!proto_place_attach(page, &ignored)) _exit(9);
            proto_place_note(x, y);
            if (write(started[1], "x", 1) != 1) _exit(9);
            for (;;) {
                proto_place_note(y, x);
                proto_place_note(x, y);
            }
        }
        CHECK_INT(read(started[0], &byte, 1), 1);
        kill(child, SIGKILL);
        CHECK_INT(wait_signal(child), SIGKILL);
        CHECK(proto_place_read(page, text, sizeof text));
        CHECK_INT(strlen(text), 2002);
        for (int i = 0; i < 1000; i++) CHECK(text[i] == text[0]);
        for (int i = 1002; i < 2002; i++) CHECK(text[i] == (text[0] == 'x' ? 'y' : 'x'));
        close(started[0]);
        close(started[1]);
    }
    close(page);
}

TEST(place_overlong_notes_are_cut_and_foreign_descriptors_refused) {
    struct proto_error error = {0};
    int page = -1, pipes[2];
    char text[4096], long_name[5000];
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    CHECK_OK(proto_place_new(&page, &error), error);
    CHECK_OK(proto_place_attach(page, &error), error);
    proto_place_note(long_name, long_name);
    CHECK(proto_place_read(page, text, sizeof text));
    CHECK(strlen(text) >= 2000 && strlen(text) < 2048);
    CHECK_INT(pipe(pipes), 0);
    CHECK(!proto_place_attach(pipes[0], &error));
    CHECK(!proto_place_attach(-1, &error));
    CHECK(!proto_place_read(-1, text, sizeof text));
    CHECK_TEXT(text, "");
    close(pipes[0]);
    close(pipes[1]);
    close(page);
}

int main(int count, char **arguments) {
    if (count == 2 && strcmp(arguments[1], "note") == 0) {
        proto_place_note("c.hdf5", "obs");
        raise(SIGKILL);
    }
    const struct CMUnitTest units[] = {
        UNIT(place_names_what_a_dead_child_was_reading), UNIT(place_is_passed_on_over_exec),
        UNIT(place_after_the_reading_nothing_is_named),
        UNIT(place_a_death_while_noting_leaves_a_whole_note),
        UNIT(place_overlong_notes_are_cut_and_foreign_descriptors_refused)};
    return cmocka_run_group_tests(units, NULL, NULL);
}
