// evaluator/predicates.h - what LIBERO's goals mean, formula by formula.
//
// A fact is a predicate whose names are looked up once, so that judging it in every control step
// costs little. Truth depends on joint positions, body and site frames and the contact list of the
// data as they lie there: after a step the frames and contacts are one substep older than the
// joints, as in the official environment.
#ifndef EVALUATOR_PREDICATES_H
#define EVALUATOR_PREDICATES_H

#include "evaluator/world.h"

struct evaluator_fact {
    enum evaluator_predicate predicate;
    struct {
        int32_t thing;  // object or fixture; of a region: its parent, -1 for a workspace
        int32_t site;   // region; -1: the thing itself
    } first, second;
};

// PROTO_USAGE names what is unknown, or what the predicate cannot be said of.
PROTO_MUST_CHECK bool evaluator_fact_resolve(const struct evaluator_world *world,
                                             enum evaluator_predicate predicate, const char *first,
                                             const char *second, struct evaluator_fact *fact,
                                             struct proto_error *error);
bool evaluator_fact_holds(const struct evaluator_world *world, const mjModel *model,
                          const mjData *data, const struct evaluator_fact *fact);

// True when a joint of category at `q` counts so; false for NaN limits.
bool evaluator_category_says(const struct evaluator_category *category,
                             enum evaluator_predicate predicate, double q);

#endif
