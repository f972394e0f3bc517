// evaluator/controller.c - see controller.h. Arithmetic is float64 except where robosuite's is not.
#include "evaluator/controller.h"

#include "evaluator/symmetric.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARM = EVALUATOR_ARM_JOINTS };

const double evaluator_arm_start[ARM] = {0,         -0.161037389,          0, -2.44459747, 0,
                                         2.2267522, 0.78539816339744830962};

static const double position_scale_m = 0.05, rotation_scale_rad = 0.5;  // of an action of 1
static const double stiffness = 150, damping = 24.494897427831781;      // 2 sqrt(stiffness)
static const double null_stiffness = 10, null_damping = 6.3245553203367587;
static const double gripper_speed = 0.01;  // per substep

// ---- parts of the robot -------------------------------------------------------------------------

static bool find(const mjModel *model, mjtObj type, const char *name, int32_t *id,
                 struct proto_error *error) {
    *id = mj_name2id(model, type, name);
    if (*id < 0)
        return proto_fail(error, PROTO_DAMAGED, "the model has no %s \"%s\"", mju_type2Str(type),
                          name);
    return true;
}

static bool find_joint(const mjModel *model, const char *name, int32_t *qpos, int32_t *dof,
                       struct proto_error *error) {
    int32_t id;
    if (!find(model, mjOBJ_JOINT, name, &id, error)) return false;
    *qpos = model->jnt_qposadr[id];
    *dof = model->jnt_dofadr[id];
    return true;
}

bool evaluator_robot_find(const mjModel *model, struct evaluator_robot *robot,
                          struct proto_error *error) {
    char name[64];
    for (int i = 0; i < ARM; i++) {
        snprintf(name, sizeof name, "robot0_joint%d", i + 1);
        if (!find_joint(model, name, &robot->arm_qpos[i], &robot->arm_dof[i], error)) return false;
        snprintf(name, sizeof name, "robot0_torq_j%d", i + 1);
        if (!find(model, mjOBJ_ACTUATOR, name, &robot->arm_motor[i], error)) return false;
    }
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "gripper0_finger_joint%d", i + 1);
        if (!find_joint(model, name, &robot->finger_qpos[i], &robot->finger_dof[i], error))
            return false;
        snprintf(name, sizeof name, "gripper0_gripper_finger_joint%d", i + 1);
        if (!find(model, mjOBJ_ACTUATOR, name, &robot->finger_motor[i], error)) return false;
    }
    return find(model, mjOBJ_SITE, "gripper0_grip_site", &robot->grip_site, error) &&
           find(model, mjOBJ_BODY, "robot0_right_hand", &robot->hand_body, error);
}

bool evaluator_controller_new(const mjModel *model, struct evaluator_controller *controller,
                              struct proto_error *error) {
    *controller = (struct evaluator_controller){0};
    controller->scratch = proto_alloc_array((size_t)model->nv * 6, sizeof(double), error);
    return controller->scratch != NULL;
}

void evaluator_controller_free(struct evaluator_controller *controller) {
    free(controller->scratch);
    controller->scratch = NULL;
}

// ---- snapshot -----------------------------------------------------------------------------------

// The arm's block of the joint-space inertia, from MuJoCo's sparse form: row `dof` lists the dof
// itself, then its ancestors.
static void read_mass(const struct evaluator_robot *robot, const mjModel *model, const mjData *data,
                      double mass[ARM * ARM]) {
    for (int i = 0; i < ARM; i++) {
        int address = model->dof_Madr[robot->arm_dof[i]];
        for (int dof = robot->arm_dof[i]; dof >= 0; dof = model->dof_parentid[dof], address++) {
            for (int j = 0; j <= i; j++) {
                if (robot->arm_dof[j] != dof) continue;
                mass[i * ARM + j] = mass[j * ARM + i] = data->qM[address];
            }
        }
    }
}

void evaluator_controller_snapshot(struct evaluator_controller *controller,
                                   const struct evaluator_robot *robot, const mjModel *model,
                                   mjData *data) {
    const int nv = model->nv;
    double *const jacobian = controller->scratch;  // [6, nv]
    memcpy(controller->position, data->site_xpos + 3 * robot->grip_site, 3 * sizeof(double));
    memcpy(controller->rotation, data->site_xmat + 9 * robot->grip_site, 9 * sizeof(double));
    mj_jacSite(model, data, jacobian, jacobian + 3 * nv, robot->grip_site);
    mju_mulMatVec(controller->linear, jacobian, data->qvel, 3, nv);
    mju_mulMatVec(controller->angular, jacobian + 3 * nv, data->qvel, 3, nv);
    for (int j = 0; j < ARM; j++) {
        controller->joints[j] = data->qpos[robot->arm_qpos[j]];
        controller->joint_speeds[j] = data->qvel[robot->arm_dof[j]];
        for (int i = 0; i < 6; i++)
            controller->jacobian[i * ARM + j] = jacobian[i * nv + robot->arm_dof[j]];
    }
    read_mass(robot, model, data, controller->mass);
    controller->outdated = false;
}

void evaluator_controller_start(struct evaluator_controller *controller,
                                const struct evaluator_robot *robot, const mjModel *model,
                                mjData *data) {
    evaluator_controller_snapshot(controller, robot, model, data);
    memcpy(controller->goal_position, controller->position, sizeof controller->goal_position);
    memcpy(controller->goal_rotation, controller->rotation, sizeof controller->goal_rotation);
    controller->gripper[0] = controller->gripper[1] = 0;
}

// ---- goal ---------------------------------------------------------------------------------------

void evaluator_rotation_of(const double vector[3], double matrix[9]) {
    const double angle =
        sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
    const double sine = angle > 0 ? sin(angle / 2) : 0;
    float q[4] = {(float)cos(angle / 2), 0, 0, 0};  // w x y z
    for (int i = 0; i < 3; i++) q[i + 1] = angle > 0 ? (float)(vector[i] / angle * sine) : 0;

    // the squares are rounded to float32, their sum is not until its end
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        const float square = q[i] * q[i];
        sum += (double)square;
    }
    const double factor = sqrt(2.0 / (double)(float)sum);
    for (int i = 0; i < 4; i++) q[i] = (float)((double)q[i] * factor);
    float p[4][4];
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++) p[i][j] = q[i] * q[j];
    }
    const float off[6] = {p[1][2] - p[3][0], p[1][3] + p[2][0], p[1][2] + p[3][0],
                          p[2][3] - p[1][0], p[1][3] - p[2][0], p[2][3] + p[1][0]};
    const double result[9] = {
        1.0 - (double)p[2][2] - (double)p[3][3], (double)off[0], (double)off[1], (double)off[2],
        1.0 - (double)p[1][1] - (double)p[3][3], (double)off[3], (double)off[4], (double)off[5],
        1.0 - (double)p[1][1] - (double)p[2][2]};
    memcpy(matrix, result, sizeof result);
}

static double clipped(double value) { return value < -1 ? -1 : value > 1 ? 1 : value; }

void evaluator_controller_aim(struct evaluator_controller *controller,
                              const double action[EVALUATOR_ACTION_WIDTH]) {
    double turn[3];
    bool turns = false;
    for (int i = 0; i < 3; i++) {
        controller->goal_position[i] =
            controller->position[i] + clipped(action[i]) * position_scale_m;
        turn[i] = clipped(action[3 + i]) * rotation_scale_rad;
        turns = turns || turn[i] != 0;
    }
    if (!turns) return;  // the orientation goal stays where it was, drift included
    double matrix[9];
    evaluator_rotation_of(turn, matrix);
    mju_mulMatMat(controller->goal_rotation, matrix, controller->rotation, 3, 3, 3);
}

// ---- torques ------------------------------------------------------------------------------------

// Half the sum of the cross products of the columns of both rotations.
static void orientation_error(const double now[9], const double goal[9], double error[3]) {
    for (int i = 0; i < 3; i++) error[i] = 0;
    for (int column = 0; column < 3; column++) {
        const double a[3] = {now[column], now[3 + column], now[6 + column]};
        const double b[3] = {goal[column], goal[3 + column], goal[6 + column]};
        double cross[3];
        mju_cross(cross, a, b);
        for (int i = 0; i < 3; i++) error[i] += cross[i];
    }
    for (int i = 0; i < 3; i++) error[i] *= 0.5;
}

// Inverse of the operational space inertia, J M^-1 J' [6, 6].
static void mobility(const struct evaluator_controller *controller, double inverse[36]) {
    double factor[ARM * ARM], column[ARM];
    const bool positive = evaluator_symmetric_factor(ARM, controller->mass, factor);
    for (int i = 0; i < 6; i++) {
        const double *row = controller->jacobian + i * ARM;
        if (positive)
            evaluator_symmetric_solve(ARM, factor, row, column);
        else
            evaluator_symmetric_pinv_apply(ARM, controller->mass, row, column);
        for (int j = 0; j < 6; j++)
            inverse[i * 6 + j] = mju_dot(controller->jacobian + j * ARM, column, ARM);
    }
}

// What the arm is to do in its own space: pull towards the initial joints where the hand does not
// feel it, N'(M a) with N = I - M^-1 J' L J, so M a - J' L J a.
static void null_torques(const struct evaluator_controller *controller, const double inverse[36],
                         double torques[ARM]) {
    double wish[ARM], moved[6], held[6], back[ARM];
    for (int i = 0; i < ARM; i++) {
        wish[i] = null_stiffness * (evaluator_arm_start[i] - controller->joints[i]) -
                  null_damping * controller->joint_speeds[i];
    }
    mju_mulMatVec(torques, controller->mass, wish, ARM, ARM);
    mju_mulMatVec(moved, controller->jacobian, wish, 6, ARM);
    evaluator_symmetric_pinv_apply(6, inverse, moved, held);
    mju_mulMatTVec(back, controller->jacobian, held, 6, ARM);
    for (int i = 0; i < ARM; i++) torques[i] -= back[i];
}

static void arm_torques(const struct evaluator_controller *controller, double torques[ARM]) {
    double error[3], inverse[36], force[6], wrench[6], null[ARM];
    orientation_error(controller->rotation, controller->goal_rotation, error);
    for (int i = 0; i < 3; i++) {
        force[i] = stiffness * (controller->goal_position[i] - controller->position[i]) -
                   damping * controller->linear[i];
        force[3 + i] = stiffness * error[i] - damping * controller->angular[i];
    }
    mobility(controller, inverse);
    for (int block = 0; block < 6; block += 3) {
        double part[9];
        for (int i = 0; i < 3; i++)
            memcpy(part + 3 * i, inverse + (block + i) * 6 + block, 3 * sizeof *part);
        evaluator_symmetric_pinv_apply(3, part, force + block, wrench + block);
    }
    mju_mulMatTVec(torques, controller->jacobian, wrench, 6, ARM);
    null_torques(controller, inverse, null);
    for (int i = 0; i < ARM; i++) torques[i] += null[i];
}

void evaluator_controller_drive(struct evaluator_controller *controller,
                                const struct evaluator_robot *robot, const mjModel *model,
                                mjData *data, const double action[EVALUATOR_ACTION_WIDTH]) {
    double torques[ARM];
    arm_torques(controller, torques);
    for (int i = 0; i < ARM; i++) {
        const double *range = model->actuator_ctrlrange + 2 * robot->arm_motor[i];
        const double torque = torques[i] + data->qfrc_bias[robot->arm_dof[i]];
        data->ctrl[robot->arm_motor[i]] = mju_clip(torque, range[0], range[1]);
    }
    const double sign = action[6] > 0 ? 1 : action[6] < 0 ? -1 : 0;
    for (int i = 0; i < 2; i++) {
        const double *range = model->actuator_ctrlrange + 2 * robot->finger_motor[i];
        const double direction = i == 0 ? -1 : 1;
        controller->gripper[i] = clipped(controller->gripper[i] + direction * gripper_speed * sign);
        data->ctrl[robot->finger_motor[i]] =
            0.5 * (range[1] + range[0]) + 0.5 * (range[1] - range[0]) * controller->gripper[i];
    }
    controller->outdated = true;
}
