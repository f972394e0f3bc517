// stages/lock.h - one `pipeline up` per run folder. The lock is the kernel's (of the open file,
// F_OFD_SETLK), so it ends with its holder however that dies; pid and host inside are for the
// message to the second one.
#ifndef STAGES_LOCK_H
#define STAGES_LOCK_H

#include "proto/error.h"

#include <sys/types.h>

// Takes RUN/lock; the caller closes *descriptor at the end of the run. Held by another:
// PROTO_FAILED naming its pid and host.
PROTO_MUST_CHECK bool stage_lock_take(const char *run, int *descriptor, struct proto_error *error);
// True while some process holds it. *pid is its number on *this* host, 0 when it runs elsewhere or
// is unknown.
bool stage_lock_held(const char *run, pid_t *pid);

#endif
