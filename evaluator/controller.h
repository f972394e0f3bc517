// evaluator/controller.h - OSC_POSE of robosuite 1.4.0 and the gripper's integrator: what turns an
// action into nine actuator inputs in each of the 25 substeps of a control step.
//
// Operational space control (Khatib 1987) with position and orientation decoupled and a nullspace
// term that pulls the arm to its initial pose. The controller acts on a snapshot of the robot that
// is older than the state in one case: the first substep after a reset uses the snapshot of the
// reset, taken at the initial arm pose, even when a start state has been set since.
#ifndef EVALUATOR_CONTROLLER_H
#define EVALUATOR_CONTROLLER_H

#include "proto/error.h"

#include <mujoco/mujoco.h>
#include <stdint.h>

#define EVALUATOR_ARM_JOINTS 7
#define EVALUATOR_ACTION_WIDTH 7

// Ids and addresses of the robot's parts in a model.
struct evaluator_robot {
    int32_t arm_qpos[EVALUATOR_ARM_JOINTS], arm_dof[EVALUATOR_ARM_JOINTS];
    int32_t arm_motor[EVALUATOR_ARM_JOINTS];
    int32_t finger_qpos[2], finger_dof[2], finger_motor[2];
    int32_t grip_site, hand_body;
};
// PROTO_DAMAGED names the part that the model lacks.
PROTO_MUST_CHECK bool evaluator_robot_find(const mjModel *model, struct evaluator_robot *robot,
                                           struct proto_error *error);
extern const double evaluator_arm_start[EVALUATOR_ARM_JOINTS];  // rad

struct evaluator_controller {
    // snapshot of the robot, of the grip site: m, m/s, rad/s; rotation row-major
    double position[3], rotation[9], linear[3], angular[3];
    double joints[EVALUATOR_ARM_JOINTS], joint_speeds[EVALUATOR_ARM_JOINTS];
    double jacobian[6 * EVALUATOR_ARM_JOINTS];  // rows: linear, angular
    double mass[EVALUATOR_ARM_JOINTS * EVALUATOR_ARM_JOINTS];
    double goal_position[3], goal_rotation[9];
    double gripper[2];  // -1 open .. +1 closed, integrated in every substep
    bool outdated;      // the snapshot is to be taken anew before it is used
    double *scratch;    // [6, nv], owned
};
PROTO_MUST_CHECK bool evaluator_controller_new(const mjModel *model,
                                               struct evaluator_controller *controller,
                                               struct proto_error *error);
void evaluator_controller_free(struct evaluator_controller *controller);

// As robosuite makes a controller: snapshot now, goal here, gripper at rest.
void evaluator_controller_start(struct evaluator_controller *controller,
                                const struct evaluator_robot *robot, const mjModel *model,
                                mjData *data);
// Needs position and velocity stages of `data`.
void evaluator_controller_snapshot(struct evaluator_controller *controller,
                                   const struct evaluator_robot *robot, const mjModel *model,
                                   mjData *data);
// At the first substep of a control step: a new goal from the snapshot.
void evaluator_controller_aim(struct evaluator_controller *controller,
                              const double action[EVALUATOR_ACTION_WIDTH]);
// Writes data->ctrl; marks the snapshot outdated.
void evaluator_controller_drive(struct evaluator_controller *controller,
                                const struct evaluator_robot *robot, const mjModel *model,
                                mjData *data, const double action[EVALUATOR_ACTION_WIDTH]);

// Rotation matrix of a rotation vector, rounded where robosuite rounds: the quaternion and its
// products are float32.
void evaluator_rotation_of(const double vector[3], double matrix[9]);

#endif
