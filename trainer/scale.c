// trainer/scale.c - when the loss scale changes.
#include "trainer/scale.h"

struct trainer_scale trainer_scale_start(bool dynamic) {
    return (struct trainer_scale){.factor = dynamic ? TRAINER_SCALE_START : 1, .dynamic = dynamic};
}

struct trainer_scale trainer_scale_restore(bool dynamic, double factor, uint64_t good,
                                           uint64_t skipped) {
    struct trainer_scale scale = trainer_scale_start(dynamic);
    scale.skipped = skipped;  // the optimiser is that many steps behind, whatever comes now
    if (!dynamic || factor < 1) return scale;
    scale.factor = factor;
    scale.good = good;
    return scale;
}

bool trainer_scale_update(struct trainer_scale *scale, bool finite, struct proto_error *error) {
    if (finite) {
        if (!scale->dynamic || ++scale->good < TRAINER_SCALE_GOOD_STEPS) return true;
        scale->good = 0;
        if (scale->factor < TRAINER_SCALE_MAX) scale->factor *= 2;
        return true;
    }
    if (!scale->dynamic)
        return proto_fail(error, PROTO_FAILED,
                          "the loss or its gradient is not finite any more; the newest checkpoint "
                          "is whole. Lower trainer.learning_rate or trainer.max_grad_norm and "
                          "resume");
    if (scale->factor <= 1)
        return proto_fail(error, PROTO_FAILED,
                          "the gradient is not finite at any loss scale; the newest checkpoint is "
                          "whole. Resume with trainer.mixed_precision = \"bf16\" or \"no\", or a "
                          "lower trainer.learning_rate");
    scale->factor /= 2;
    scale->good = 0;
    scale->skipped++;
    return true;
}
