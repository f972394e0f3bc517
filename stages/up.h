// stages/up.h - the verb `up` below its command line, so that tests can give it other programs.
#ifndef STAGES_UP_H
#define STAGES_UP_H

#include "proto/error.h"

#include <stddef.h>
#include <stdint.h>

struct stage_up_settings {
    const char *file;  // configuration
    const char *const *sets;
    size_t set_count;
    const char *programs;  // folder of the stage programs; NULL: beside this one
    int output;            // descriptor for people
    int64_t stuck_ms;      // 0: as usual
    // Called once with the run folder when all trainers are ready; may be NULL.
    void (*started)(void *context, const char *run);
    void *context;
};

// Checks, locks the run folder, starts or resumes the run and stays until its end. *code is the
// exit code; false: *error ended it, and *code is its status.
PROTO_MUST_CHECK bool stage_up_run(const struct stage_up_settings *settings, int *code,
                                   struct proto_error *error);

#endif
