// loader/guard.h - runs work that opens other people's HDF5 files in a child process, because a
// damaged file can crash the library (5 of 4,000 damaged files did).
//
// A child that dies by a fault (SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE) is started once more: a
// second fault in the same dataset is damage, and named. Any other signal is an error of its own.
#ifndef LOADER_GUARD_H
#define LOADER_GUARD_H

#include "proto/error.h"

#include <stdio.h>

// The work of the child. What it prints to `out` reaches the parent's stdout once, whole, when the
// child has ended by itself, whether it succeeded or failed.
struct loader_guard_work {
    bool (*run)(void *context, FILE *out, struct proto_error *error);
    void *context;  // borrowed; the child works on its own copy of all memory
};

// As if `run` had been called here: its result, its error. PROTO_DAMAGED with file and dataset in
// `where` after two faults in the same dataset, or LOADER_GUARD_FAULTS_MAX in any. Call it before
// this process has threads.
#define LOADER_GUARD_FAULTS_MAX 6
PROTO_MUST_CHECK bool loader_guard_run(const struct loader_guard_work *work,
                                       struct proto_error *error);

#endif
