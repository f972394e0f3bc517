// evaluator/guard.c - see guard.h. Jumping out of libmujoco is safe for what we call: an error is
// raised before it returns to us, in the thread that called.
#include "evaluator/guard.h"

#include <assert.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>

#include <mujoco/mujoco.h>

struct guard {
    jmp_buf back;
    char text[512];
};
static _Thread_local struct guard *innermost;
static _Thread_local char warning_last[512], warning_asked[512];

static void on_error(const char *text) {
    struct guard *guard = innermost;
    assert(guard);  // a call that can fail stands outside a guard: our bug
    snprintf(guard->text, sizeof guard->text, "%s", text);
    longjmp(guard->back, 1);
}

static void on_warning(const char *text) {
    snprintf(warning_last, sizeof warning_last, "%s", text);
}

static void install(void) {
    mju_user_error = on_error;
    mju_user_warning = on_warning;
}

bool evaluator_guard_run(void (*work)(void *context), void *context, struct proto_error *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    struct guard *const outer = innermost;
    struct guard guard;
    guard.text[0] = '\0';
    innermost = &guard;
    if (setjmp(guard.back) == 0) {
        work(context);
        innermost = outer;
        return true;
    }
    innermost = outer;
    return proto_fail(error, PROTO_FAILED, "libmujoco: %s", guard.text);
}

const char *evaluator_guard_warning(void) {
    snprintf(warning_asked, sizeof warning_asked, "%s", warning_last);
    warning_last[0] = '\0';
    return warning_asked;
}
