// evaluator/guard.h - calls into libmujoco that may fail from inside. Its handlers for errors and
// warnings are global and an error handler must not return, so each is installed once and finds the
// caller through a variable of the thread.
//
//     static void load(void *context) { ...mjr_makeContext(...)... }
//     if (!evaluator_guard_run(load, &context, error)) ...   // libmujoco's own words
//
// What libmujoco had allocated when it failed is lost; its objects must not be used further, only
// freed.
#ifndef EVALUATOR_GUARD_H
#define EVALUATOR_GUARD_H

#include "proto/error.h"

// Runs work(context). PROTO_FAILED with libmujoco's text when it raised an error; work then ended
// in the middle. Guards nest. Warnings are kept, not printed, and no MUJOCO_LOG.TXT is written.
PROTO_MUST_CHECK bool evaluator_guard_run(void (*work)(void *context), void *context,
                                          struct proto_error *error);
// The last warning of this thread since it was last asked, or "". Clears it.
const char *evaluator_guard_warning(void);

#endif
