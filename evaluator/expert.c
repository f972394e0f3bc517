// evaluator/expert.c - goes through the phases of a plan: pose wanted, pose found, action.
#include "evaluator/expert.h"

#include <math.h>
#include <mujoco/mujoco.h>
#include <stdlib.h>
#include <string.h>

// An action of 1 moves the controller's goal by so much (OSC_POSE).
#define METRES_PER_ACTION 0.05
#define RADIANS_PER_ACTION 0.5
// The controller's stiffness is 150 and its damping 24.5 per unit mass: a goal twice as far away as
// the target itself gets there with a damping of 0.7 of critical.
#define GAIN 2.0
#define TURN_ACTION_MAX 0.4  // keeps the arm from swinging when hand and place turn at once
#define NEAR_RAD 0.12

struct evaluator_expert {
    const struct evaluator_expert_task *task;
    struct evaluator_env *env;
    int bodies[EVALUATOR_EXPERT_BODIES], joint;
    uint32_t phase, steps;  // steps: in this phase
};

bool evaluator_expert_new(const struct evaluator_expert_task *task, struct evaluator_env *env,
                          struct evaluator_expert **out, struct proto_error *error) {
    struct evaluator_expert *expert = proto_alloc(sizeof *expert, error);
    if (!expert) return false;
    *expert = (struct evaluator_expert){.task = task, .env = env, .joint = -1};
    const mjModel *model = evaluator_env_model(env);
    const char *lacks = NULL;
    for (uint32_t i = 0; i < EVALUATOR_EXPERT_BODIES && task->bodies[i]; i++) {
        expert->bodies[i] = mj_name2id(model, mjOBJ_BODY, task->bodies[i]);
        if (expert->bodies[i] < 0) lacks = task->bodies[i];
    }
    if (task->joint) {
        expert->joint = mj_name2id(model, mjOBJ_JOINT, task->joint);
        if (expert->joint < 0) lacks = task->joint;
    }
    if (lacks) {
        evaluator_expert_free(&expert);
        return proto_fail(error, PROTO_FAILED,
                          "the scene has no %s, which the scripted expert of %s needs", lacks,
                          task->name);
    }
    *out = expert;
    return true;
}

void evaluator_expert_free(struct evaluator_expert **expert) {
    free(*expert);
    *expert = NULL;
}

void evaluator_expert_begin(struct evaluator_expert *expert) { expert->phase = expert->steps = 0; }

const char *evaluator_expert_doing(const struct evaluator_expert *expert) {
    return expert->task->phases[expert->phase].what;
}

double evaluator_expert_first_grip(const struct evaluator_expert_task *task) {
    return task->phases[0].grip;
}

// Where the phase wants the hand: position of the grip site and orientation of the hand, world.
static void pose_wanted(const struct evaluator_expert *expert,
                        const struct evaluator_expert_phase *phase, double position[3],
                        double quat[4]) {
    static const double down[4] = {0, 1, 0, 0};  // half a turn about x
    static const double x[3] = {1, 0, 0}, z[3] = {0, 0, 1};
    const mjData *data = evaluator_env_data(expert->env);
    const int body = expert->bodies[phase->body];
    double yaw[4], tilt[4], turn[4], hand[4], offset[3];
    mju_copy3(offset, phase->offset);
    if (phase->body == 0) offset[2] += expert->task->lift;
    mju_axisAngle2Quat(yaw, z, phase->yaw);
    mju_axisAngle2Quat(tilt, x, phase->tilt);
    mju_mulQuat(turn, tilt, yaw);
    mju_mulQuat(hand, turn, down);
    if (phase->axes == EVALUATOR_AXES_BODY) {
        mju_rotVecQuat(position, offset, data->xquat + 4 * body);
        mju_mulQuat(quat, data->xquat + 4 * body, hand);
    } else {
        mju_copy3(position, offset);
        mju_copy4(quat, hand);
    }
    mju_addTo3(position, data->xpos + 3 * body);
}

// What is missing from the pose found to the pose wanted: metres, and a rotation vector, world.
// Half a turn about the hand's own axis swaps its fingers and is the same grasp: the nearer one
// counts.
static void pose_missing(const struct evaluator_expert *expert,
                         const struct evaluator_expert_phase *phase, double metres[3],
                         double radians[3]) {
    const struct evaluator_observation *seen = evaluator_env_observation(expert->env);
    const double *q = seen->eef_quat;  // xyzw
    static const double swap[4] = {0, 0, 0, 1};
    double position[3], quat[4], swapped[4], back[4], turn[4], other[3];
    pose_wanted(expert, phase, position, quat);
    mju_sub3(metres, position, seen->eef_pos);
    mju_negQuat(back, (const double[4]){q[3], q[0], q[1], q[2]});
    mju_mulQuat(turn, quat, back);
    mju_quat2Vel(radians, turn, 1);
    mju_mulQuat(swapped, quat, swap);
    mju_mulQuat(turn, swapped, back);
    mju_quat2Vel(other, turn, 1);
    if (mju_norm3(other) < mju_norm3(radians)) mju_copy3(radians, other);
}

// Whether the phase has done its part.
static bool phase_over(const struct evaluator_expert *expert,
                       const struct evaluator_expert_phase *phase, const double metres[3],
                       const double radians[3]) {
    if (expert->steps < phase->steps_min) return false;
    const bool turned = expert->task->moves_only || mju_norm3(radians) <= NEAR_RAD;
    if (phase->near_m > 0 && !(mju_norm3(metres) <= phase->near_m && turned)) return false;
    if (expert->joint < 0) return true;
    const mjModel *model = evaluator_env_model(expert->env);
    const mjData *data = evaluator_env_data(expert->env);
    const double at = data->qpos[model->jnt_qposadr[expert->joint]];
    return !(at <= phase->joint_above) && !(at >= phase->joint_below);  // NAN: neither
}

// gain * missing, its length limited.
static void towards(double action[3], const double missing[3], double unit, double longest) {
    mju_scl3(action, missing, GAIN / unit);
    const double length = mju_norm3(action);
    if (length > longest) mju_scl3(action, action, longest / length);
}

bool evaluator_expert_act(struct evaluator_expert *expert, double action[7]) {
    const struct evaluator_expert_task *task = expert->task;
    const struct evaluator_expert_phase *phase = &task->phases[expert->phase];
    double metres[3], radians[3];
    pose_missing(expert, phase, metres, radians);
    while (expert->phase + 1 < task->phase_count && phase_over(expert, phase, metres, radians)) {
        phase = &task->phases[++expert->phase];
        expert->steps = 0;
        pose_missing(expert, phase, metres, radians);
    }
    expert->steps++;
    memset(action, 0, 6 * sizeof *action);
    action[6] = phase->grip;
    if (expert->steps > phase->steps_max) return false;
    towards(action, metres, METRES_PER_ACTION, phase->pace);
    if (!task->moves_only) towards(action + 3, radians, RADIANS_PER_ACTION, TURN_ACTION_MAX);
    return true;
}
