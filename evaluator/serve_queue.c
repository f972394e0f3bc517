// evaluator/serve_queue.c - see serve_queue.h.
#include "evaluator/serve_queue.h"

#include "proto/evaluated.h"

static bool wanted(const struct evaluator_serve_run *run, const struct evaluator_serve_item *item) {
    const uint64_t newest = run->last ? run->items[run->count - 1].step : 0;
    return proto_evaluated_wanted(item->step, newest, run->period, run->every);
}

static bool controls_wanted(const struct evaluator_serve_run *run,
                            const struct evaluator_serve_item *item) {
    if (item->controls || !item->done) return false;
    return run->controls == EVALUATOR_ALL ||
           (run->controls == EVALUATOR_BEST && run->best_known && run->best_step == item->step);
}

struct evaluator_serve_next evaluator_serve_next(const struct evaluator_serve_run *run) {
    struct evaluator_serve_next next = {.action = EVALUATOR_SERVE_LEAVE};
    bool others = false, found = false;
    for (size_t i = run->count; i > 0; i--) {
        const struct evaluator_serve_item *item = &run->items[i - 1];
        if (item->done || item->failed || !wanted(run, item)) continue;
        next.waiting++;
        others = others || item->others;
        if (item->others || found) continue;
        found = true;
        next.step = item->step;
    }
    if (found) {
        next.action = EVALUATOR_SERVE_EVALUATE;
        next.waiting--;
        return next;
    }
    // which is the best shows when all are done: until then the others' work may change it
    if (run->last && !others)
        for (size_t i = run->count; i > 0; i--) {
            const struct evaluator_serve_item *item = &run->items[i - 1];
            if (item->failed || !controls_wanted(run, item)) continue;
            others = others || item->others;
            if (item->others) continue;
            next.action = EVALUATOR_SERVE_CONTROLS;
            next.step = item->step;
            return next;
        }
    next.action = others      ? EVALUATOR_SERVE_LOOK
                  : run->last ? EVALUATOR_SERVE_LEAVE
                              : EVALUATOR_SERVE_WAIT;
    return next;
}
