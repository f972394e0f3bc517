// evaluator/expert.h - scripted experts: a table of poses per task that a hand goes through, so
// that demonstrations can be made where none are recorded.
//
// A plan is a list of phases. Each says where the hand shall be, relative to a body of the scene
// whose pose is looked up anew at every step, how fast, whether the fingers close, and what must
// hold before the next phase begins. The action is proportional to what is missing, so an expert
// corrects whatever disturbs it: noise, slipping, a drawer that sticks.
//
//     const struct evaluator_expert_task *task = evaluator_expert_find("turn_on_the_stove");
//     if (!evaluator_expert_new(task, env, &expert, error)) ...
//     evaluator_expert_begin(expert);                        // once per episode
//     while (evaluator_expert_act(expert, action)) ...       // false: stuck in a phase
#ifndef EVALUATOR_EXPERT_H
#define EVALUATOR_EXPERT_H

#include "evaluator/env.h"

#define EVALUATOR_EXPERT_BODIES 2  // that a plan may refer to

enum evaluator_expert_axes {
    EVALUATOR_AXES_WORLD,  // offsets and turns as the table of the world lies
    EVALUATOR_AXES_BODY,   // as the body lies: a drawer, a knob
};

struct evaluator_expert_phase {
    const char *what;                 // "down to the can"
    uint32_t body;                    // row of the task's bodies
    enum evaluator_expert_axes axes;  // of what follows
    double offset[3];                 // m, of the grip site from the body's origin
    double yaw, tilt;                 // rad: about z from the hand pointing down, then about x
    double grip;                      // -1 open .. +1 closed
    double pace;                      // largest translation action, of 1
    double near_m;                    // distance that counts as there; 0: not asked for
    double joint_above, joint_below;  // the task's joint must be beyond; NAN: not asked for
    uint32_t steps_min, steps_max;    // stays so long at least; stuck when it takes longer
};

struct evaluator_expert_task {
    const char *name;  // stem of the BDDL file
    const struct evaluator_expert_phase *phases;
    uint32_t phase_count;
    const char *bodies[EVALUATOR_EXPERT_BODIES];
    const char *joint;  // NULL: none
    double lift;        // m, added to every offset from the first body along z
    bool moves_only;    // the hand keeps its orientation: turning commands are 0, undisturbed too
    // what demonstrations are disturbed with unless told otherwise: n = memory n + N(0, noise)
    double noise, noise_memory;
};

const struct evaluator_expert_task *evaluator_expert_tasks(size_t *count);
const struct evaluator_expert_task *evaluator_expert_suite_tasks(size_t *count);  // of `demo`
const struct evaluator_expert_task *evaluator_expert_find(const char *name);      // NULL: no expert

struct evaluator_expert;
// Borrows task and env. PROTO_FAILED when the scene has no such body or joint.
PROTO_MUST_CHECK bool evaluator_expert_new(const struct evaluator_expert_task *task,
                                           struct evaluator_env *env,
                                           struct evaluator_expert **expert,
                                           struct proto_error *error);
void evaluator_expert_free(struct evaluator_expert **expert);  // accepts NULL; leaves NULL behind
void evaluator_expert_begin(struct evaluator_expert *expert);

// The action for the present state, within [-1, 1]. False when a phase took longer than its
// steps_max; the action is then to stay. Behind the last phase the hand stays where that one ended.
bool evaluator_expert_act(struct evaluator_expert *expert, double action[7]);
// "down to the can": the phase of the last action.
const char *evaluator_expert_doing(const struct evaluator_expert *expert);
// The gripper command of the first phase, with which a demonstration begins.
double evaluator_expert_first_grip(const struct evaluator_expert_task *task);

#endif
