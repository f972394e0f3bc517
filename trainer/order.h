// trainer/order.h - the order in which a rank takes batches: a pure function of the plan. The loop
// walks it twice, once ahead to ask for tickets and once to know what the next batch is.
//
// Step s (from 1) is `accumulation` micro steps; validation follows a step when it is due. A rank
// whose slice of a validation batch is empty has no ticket for it.
#ifndef TRAINER_ORDER_H
#define TRAINER_ORDER_H

#include "trainer/plan.h"

struct trainer_order {
    const struct trainer_plan *plan;
    uint64_t step, cursor;  // of the step being walked; cursor is its first position
    uint32_t micro;         // next micro step
    uint64_t validated;     // next position of the validation set
};
struct trainer_wanted {
    bool validation;
    uint64_t first;
    uint32_t count;
};

// From behind `steps_done` steps, with `cursor` the next position of the stream.
struct trainer_order trainer_order_from(const struct trainer_plan *plan, uint64_t steps_done,
                                        uint64_t cursor);
// False: the run is at its end.
bool trainer_order_next(struct trainer_order *order, struct trainer_wanted *wanted);
// Is there validation behind this step?
bool trainer_order_validates(const struct trainer_plan *plan, uint64_t step);
// This rank's part of the validation batch that begins at `first`; count may be 0.
struct proto_slice trainer_order_validation_slice(const struct trainer_plan *plan, uint64_t first);

#endif
