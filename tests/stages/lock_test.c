// tests/stages/lock_test.c - one holder per run folder, named to the second one, whoever looks.
#include "tests/check.h"

#include "proto/files.h"
#include "stages/lock.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(lock_is_held_by_one_process_and_ends_with_it) {
    char folder[256], holder[64];
    struct proto_error error = {0};
    int lock = -1, ready[2];
    pid_t seen = 0;
    check_folder(folder);
    CHECK(!stage_lock_held(folder, &seen));
    CHECK(pipe(ready) == 0);
    fflush(NULL);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const bool taken = stage_lock_take(folder, &lock, &error);
        if (write(ready[1], taken ? "y" : "n", 1) != 1) _exit(1);
        for (;;) pause();
    }
    char answer = 0;
    CHECK(read(ready[0], &answer, 1) == 1);
    CHECK_INT(answer, 'y');
    CHECK(stage_lock_held(folder, &seen));
    CHECK_INT(seen, child);
    CHECK(!stage_lock_take(folder, &lock, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    snprintf(holder, sizeof holder, "pid %ld on host ", (long)child);
    CHECK_HAS(error.text, holder);
    CHECK_TEXT(error.where, folder);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, NULL, 0) == child);
    CHECK(!stage_lock_held(folder, &seen));
    CHECK_OK(stage_lock_take(folder, &lock, &error), error);
    close(lock);
    close(ready[0]);
    close(ready[1]);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(lock_with_a_holder_on_another_host_tells_no_pid) {
    char folder[256], path[300];
    struct proto_error error = {0};
    int lock = -1, status = 0;
    pid_t seen = 7;
    check_folder(folder);
    CHECK_OK(stage_lock_take(folder, &lock, &error), error);
    snprintf(path, sizeof path, "%s/lock", folder);
    FILE *file = fopen(path, "w");  // as the holder on another machine would have written it
    CHECK(file != NULL);
    fputs("pid 1 on host elsewhere.example\n", file);
    fclose(file);
    // asked by another process, as it is for everybody who looks
    fflush(NULL);
    const pid_t child = fork();
    if (child == 0) _exit(stage_lock_held(folder, &seen) && seen == 0 ? 0 : 1);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(WEXITSTATUS(status), 0);
    close(lock);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(lock_is_held_by_one_process_and_ends_with_it),
          UNIT(lock_with_a_holder_on_another_host_tells_no_pid))
