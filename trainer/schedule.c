// trainer/schedule.c - learning rates by step. A row per name; the formulas are diffusers' own,
// their oddities kept: cosine rises again past the total, polynomial stays at its end.
#include "trainer/schedule.h"

#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    enum trainer_schedule_kind kind;
} names[] = {
    {"constant", TRAINER_CONSTANT},
    {"constant_with_warmup", TRAINER_CONSTANT_WITH_WARMUP},
    {"linear", TRAINER_LINEAR},
    {"cosine", TRAINER_COSINE},
    {"cosine_with_restarts", TRAINER_COSINE_WITH_RESTARTS},
    {"polynomial", TRAINER_POLYNOMIAL},
};

bool trainer_schedule_make(const char *name, double rate, uint64_t warmup, uint64_t total,
                           double cycles, double power, struct trainer_schedule *schedule,
                           struct proto_error *error) {
    size_t found = 0;
    while (found < PROTO_COUNT(names) && strcmp(names[found].name, name) != 0) found++;
    if (found == PROTO_COUNT(names))
        return proto_fail(error, PROTO_USAGE,
                          "trainer.lr_scheduler is \"%s\", must be constant, "
                          "constant_with_warmup, linear, cosine, cosine_with_restarts or "
                          "polynomial",
                          name);
    if (names[found].kind == TRAINER_CONSTANT && warmup > 0)
        return proto_fail(error, PROTO_USAGE,
                          "trainer.lr_warmup_steps is %llu, but the scheduler \"constant\" has no "
                          "warm-up and would ignore it; write lr_scheduler = "
                          "\"constant_with_warmup\" or lr_warmup_steps = 0",
                          (unsigned long long)warmup);
    if (!(rate >= 0) || !isfinite(rate))
        return proto_fail(error, PROTO_USAGE, "trainer.learning_rate is %g, must be 0 or above",
                          rate);
    *schedule = (struct trainer_schedule){.kind = names[found].kind,
                                          .rate = rate,
                                          .warmup = warmup,
                                          .total = total,
                                          .cycles = cycles,
                                          .power = power,
                                          .polynomial_end = 1e-7};
    if (schedule->kind == TRAINER_POLYNOMIAL && rate <= schedule->polynomial_end)
        return proto_fail(error, PROTO_USAGE,
                          "trainer.learning_rate is %g; the polynomial schedule falls to %g and "
                          "needs a larger one",
                          rate, schedule->polynomial_end);
    return true;
}

double trainer_schedule_rate(const struct trainer_schedule *schedule, uint64_t s) {
    const double rate = schedule->rate;
    if (schedule->kind == TRAINER_CONSTANT) return rate;
    const double warmup = (double)schedule->warmup, step = (double)s;
    if (s < schedule->warmup) return rate * step / fmax(1, warmup);
    const double total = (double)schedule->total, length = fmax(1, total - warmup);
    const double progress = (step - warmup) / length;
    switch (schedule->kind) {
    case TRAINER_CONSTANT:
    case TRAINER_CONSTANT_WITH_WARMUP:
        return rate;
    case TRAINER_LINEAR:
        return rate * fmax(0, (total - step) / length);
    case TRAINER_COSINE:
        return rate * fmax(0, 0.5 * (1 + cos(M_PI * progress)));
    case TRAINER_COSINE_WITH_RESTARTS:
        if (progress >= 1) return 0;
        return rate * fmax(0, 0.5 * (1 + cos(M_PI * fmod(schedule->cycles * progress, 1))));
    case TRAINER_POLYNOMIAL:
        if (s > schedule->total) return schedule->polynomial_end;
        return (rate - schedule->polynomial_end) * pow(1 - progress, schedule->power) +
               schedule->polynomial_end;
    }
    return rate;
}
