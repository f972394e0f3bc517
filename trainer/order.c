// trainer/order.c - walks training and validation tickets in the order they are consumed.
#include "trainer/order.h"

struct trainer_order trainer_order_from(const struct trainer_plan *plan, uint64_t steps_done,
                                        uint64_t cursor) {
    // a run that is at its end has its last validation left
    if (steps_done >= plan->steps)
        return (struct trainer_order){
            .plan = plan, .step = plan->steps, .cursor = cursor, .micro = plan->accumulation};
    return (struct trainer_order){.plan = plan, .step = steps_done + 1, .cursor = cursor};
}

bool trainer_order_validates(const struct trainer_plan *plan, uint64_t step) {
    if (plan->validation_set == 0) return false;
    return step == plan->steps || (plan->sample_period > 0 && step % plan->sample_period == 0);
}

struct proto_slice trainer_order_validation_slice(const struct trainer_plan *plan, uint64_t first) {
    const uint64_t left = plan->validation_set - first;
    const uint32_t whole = left < plan->validation_batch ? (uint32_t)left : plan->validation_batch;
    const uint32_t share = (whole + plan->ranks - 1) / plan->ranks;
    const uint32_t before = share * plan->rank < whole ? share * plan->rank : whole;
    const uint32_t rest = whole - before;
    return (struct proto_slice){.first = first + before, .count = rest < share ? rest : share};
}

static void order_step(struct trainer_order *order) {
    order->cursor += (uint64_t)order->plan->batch * order->plan->accumulation;
    order->step++;
    order->micro = 0;
    order->validated = 0;
}

bool trainer_order_next(struct trainer_order *order, struct trainer_wanted *wanted) {
    const struct trainer_plan *plan = order->plan;
    while (order->step <= plan->steps) {
        if (order->micro < plan->accumulation) {
            const struct proto_slice slice = proto_stream_slice(
                order->cursor, order->micro++, plan->batch, plan->ranks, plan->rank);
            *wanted = (struct trainer_wanted){.first = slice.first, .count = slice.count};
            return true;
        }
        while (trainer_order_validates(plan, order->step) &&
               order->validated < plan->validation_set) {
            const struct proto_slice slice = trainer_order_validation_slice(plan, order->validated);
            order->validated += plan->validation_batch;
            if (slice.count == 0) continue;
            *wanted = (struct trainer_wanted){true, slice.first, slice.count};
            return true;
        }
        order_step(order);
    }
    return false;
}
