// tests/evaluator/guard_test.c - what libmujoco raises comes back as values, in the thread that
// called.
#include "evaluator/guard.h"

#include "tests/check.h"

#include <mujoco/mujoco.h>
#include <pthread.h>
#include <unistd.h>

static void raise_error(void *context) { mju_error("%s is %d", (const char *)context, 7); }
static void raise_warning(void *context) { mju_warning("careful: %s", (const char *)context); }
static void nothing(void *context) { *(int *)context += 1; }
static void raise_within(void *context) {
    struct proto_error inner = {0};
    CHECK(!evaluator_guard_run(raise_error, context, &inner));
    CHECK_TEXT(inner.text, "libmujoco: inner is 7");
    mju_error("outer");
}

TEST(guard_returns_errors_of_any_depth_with_their_words) {
    struct proto_error error = {0};
    char inner[] = "inner";
    int calls = 0;
    CHECK_OK(evaluator_guard_run(nothing, &calls, &error), error);
    CHECK_INT(calls, 1);
    CHECK(!evaluator_guard_run(raise_within, inner, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    CHECK_TEXT(error.text, "libmujoco: outer");
    CHECK_OK(evaluator_guard_run(nothing, &calls, &error), error);
}

// libmujoco's own handler would write MUJOCO_LOG.TXT into the working folder.
TEST(guard_keeps_warnings_for_whoever_asks) {
    char folder[256], here[4096], words[] = "edge";
    struct proto_error error = {0};
    check_folder(folder);
    CHECK(getcwd(here, sizeof here) && chdir(folder) == 0);
    CHECK_OK(evaluator_guard_run(raise_warning, words, &error), error);
    CHECK_TEXT(evaluator_guard_warning(), "careful: edge");
    CHECK_TEXT(evaluator_guard_warning(), "");
    CHECK(access("MUJOCO_LOG.TXT", F_OK) != 0);
    CHECK_INT(chdir(here), 0);
    CHECK_INT(rmdir(folder), 0);
}

static void *in_thread(void *context) {
    struct proto_error error = {0};
    for (int i = 0; i < 1000; i++)
        if (evaluator_guard_run(raise_error, context, &error) ||
            strcmp(error.text, "libmujoco: thread is 7") != 0)
            return context;
    return NULL;
}

TEST(guard_of_one_thread_never_lands_in_another) {
    pthread_t threads[2];
    char words[] = "thread";
    for (size_t i = 0; i < 2; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, in_thread, words), 0);
    for (size_t i = 0; i < 2; i++) {
        void *wrong = NULL;
        CHECK_INT(pthread_join(threads[i], &wrong), 0);
        CHECK(!wrong);
    }
}

TEST_MAIN(UNIT(guard_returns_errors_of_any_depth_with_their_words),
          UNIT(guard_keeps_warnings_for_whoever_asks),
          UNIT(guard_of_one_thread_never_lands_in_another))
