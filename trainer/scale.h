// trainer/scale.h - the loss scale of fp16: gradients are computed many times too large, so that
// small ones do not vanish where products round them, and divided again before they are used.
//
// Starts at 65536. A step whose gradient is not finite is skipped and the scale halved; after 2000
// good steps in a row it is doubled. As torch.amp.GradScaler does, with its settings.
#ifndef TRAINER_SCALE_H
#define TRAINER_SCALE_H

#include "proto/error.h"

#include <stdint.h>

#define TRAINER_SCALE_START 65536.0
#define TRAINER_SCALE_MAX 16777216.0  // 2^24: the smallest number of fp16 becomes 1
#define TRAINER_SCALE_GOOD_STEPS 2000

struct trainer_scale {
    double factor;     // a power of two; 1 and fixed without fp16
    uint64_t good;     // steps since it changed
    uint64_t skipped;  // steps of the whole run
    bool dynamic;
};

struct trainer_scale trainer_scale_start(bool dynamic);
// What a checkpoint holds. One that was trained without fp16 (factor 0) begins anew.
struct trainer_scale trainer_scale_restore(bool dynamic, double factor, uint64_t good,
                                           uint64_t skipped);
// Behind each step: was its gradient finite? PROTO_FAILED: not even unscaled, or nothing is scaled.
PROTO_MUST_CHECK bool trainer_scale_update(struct trainer_scale *scale, bool finite,
                                           struct proto_error *error);

#endif
