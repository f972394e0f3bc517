// trainer/schedule.h - learning rates by step, named and computed as diffusers does.
#ifndef TRAINER_SCHEDULE_H
#define TRAINER_SCHEDULE_H

#include "proto/error.h"

#include <stdint.h>

enum trainer_schedule_kind {
    TRAINER_CONSTANT,
    TRAINER_CONSTANT_WITH_WARMUP,
    TRAINER_LINEAR,
    TRAINER_COSINE,
    TRAINER_COSINE_WITH_RESTARTS,
    TRAINER_POLYNOMIAL,
};
struct trainer_schedule {
    enum trainer_schedule_kind kind;
    double rate;                   // peak
    uint64_t warmup, total;        // optimiser steps
    double cycles;                 // cosine_with_restarts
    double power, polynomial_end;  // polynomial: 1e-7 officially
};

// Name to schedule. PROTO_USAGE: an unknown name, or warm-up with plain "constant", which the
// official scheduler ignores without a word; the text says what to write instead.
PROTO_MUST_CHECK bool trainer_schedule_make(const char *name, double rate, uint64_t warmup,
                                            uint64_t total, double cycles, double power,
                                            struct trainer_schedule *schedule,
                                            struct proto_error *error);
// Rate of optimiser step s, from 0. With warm-up the first step has rate 0.
double trainer_schedule_rate(const struct trainer_schedule *schedule, uint64_t s);

#endif
