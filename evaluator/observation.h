// evaluator/observation.h - when an observation is taken and what is in it.
//
// robosuite's observables sample once per control period by a timer of their own that counts
// substeps and forced updates. After a start state has been set the timer runs ahead, so that the
// observation a step returns was taken in its last substep but one: joint angles after that
// substep's integration, frames from before it. Evaluations and datasets have this staleness.
#ifndef EVALUATOR_OBSERVATION_H
#define EVALUATOR_OBSERVATION_H

#include "evaluator/world.h"

struct evaluator_observer {
    double since_s;  // last sample, in robosuite's own sums
    bool sampled;
    struct evaluator_observation seen;
};
// As a new environment has it: nothing sampled, time zero.
void evaluator_observer_restart(struct evaluator_observer *observer);
// As after a reset and a start state.
void evaluator_observer_settle(struct evaluator_observer *observer);
// After each substep, or with `force` at resets. True when it took an observation now.
bool evaluator_observer_update(struct evaluator_observer *observer,
                               const struct evaluator_robot *robot, const mjData *data,
                               uint32_t substep, bool force);

#endif
