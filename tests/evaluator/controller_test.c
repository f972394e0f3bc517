// tests/evaluator/controller_test.c - the controller's goal, torques and gripper. Oracles: rotation
// matrices printed by numpy with robosuite's float32 steps; the torque formula written out with an
// explicit inverse; recorded torques of the official controller are in libero_golden.
#include "tests/check.h"

#include "evaluator/controller.h"

#include <math.h>

enum { ARM = EVALUATOR_ARM_JOINTS };

// An arm of seven links with the robot's names, motors and fingers; a free ball in front so that
// the arm's numbers do not begin at 0.
static char *arm_xml(void) {
    static char text[8192];
    size_t used = 0;
#define ADD(...) used += (size_t)snprintf(text + used, sizeof text - used, __VA_ARGS__)
    ADD("<mujoco><worldbody><body name='ball' pos='3 0 0'><freejoint/><geom size='.1'/></body>");
    for (int i = 0; i < ARM; i++)
        ADD("<body %s pos='0 0 0.2'><joint name='robot0_joint%d' axis='%d %d %d' armature='.1'/>"
            "<geom type='capsule' fromto='0 0 0 0 0 .2' size='.03' contype='0'/>",
            i == ARM - 1 ? "name='robot0_right_hand'" : "", i + 1, i % 3 == 0, i % 3 == 1,
            i % 3 == 2);
    ADD("<site name='gripper0_grip_site' pos='.05 .02 .1'/>");
    for (int i = 0; i < 2; i++)
        ADD("<body><joint name='gripper0_finger_joint%d' type='slide'/><geom size='.01' "
            "contype='0'/></body>",
            i + 1);
    for (int i = 0; i < ARM; i++) ADD("</body>");
    ADD("</worldbody><actuator>");
    for (int i = 0; i < ARM; i++)
        ADD("<motor name='robot0_torq_j%d' joint='robot0_joint%d' ctrllimited='true' "
            "ctrlrange='-%d %d'/>",
            i + 1, i + 1, i < 5 ? 80 : 12, i < 5 ? 80 : 12);
    for (int i = 0; i < 2; i++)
        ADD("<position name='gripper0_gripper_finger_joint%d' joint='gripper0_finger_joint%d' "
            "ctrllimited='true' ctrlrange='%s'/>",
            i + 1, i + 1, i == 0 ? "0 0.04" : "-0.04 0");
    ADD("</actuator></mujoco>");
#undef ADD
    return text;
}

struct arm {
    mjModel *model;
    mjData *data;
    struct evaluator_robot robot;
    struct evaluator_controller controller;
};
static void arm_open(struct arm *arm) {
    char words[512] = "";
    struct proto_error error = {0};
    mjSpec *spec = mj_parseXMLString(arm_xml(), NULL, words, sizeof words);
    if (!spec) fail_msg("%s", words);
    arm->model = mj_compile(spec, NULL);
    if (!arm->model) fail_msg("%s", mjs_getError(spec));
    mj_deleteSpec(spec);
    arm->data = mj_makeData(arm->model);
    CHECK_OK(evaluator_robot_find(arm->model, &arm->robot, &error), error);
    CHECK_OK(evaluator_controller_new(arm->model, &arm->controller, &error), error);
    for (int i = 0; i < ARM; i++) {
        arm->data->qpos[arm->robot.arm_qpos[i]] = 0.3 * (i + 1) - 1;
        arm->data->qvel[arm->robot.arm_dof[i]] = 0.1 * (3 - i);
    }
    mj_forward(arm->model, arm->data);
    evaluator_controller_start(&arm->controller, &arm->robot, arm->model, arm->data);
}
static void arm_close(struct arm *arm) {
    evaluator_controller_free(&arm->controller);
    mj_deleteData(arm->data);
    mj_deleteModel(arm->model);
}

TEST(controller_rotation_is_rounded_as_robosuites) {
    static const struct {
        double vector[3], matrix[9];
    } cases[] = {
        {{0.1, -0.2, 0.3},
         {0.9357548039406538, -0.3029327392578125, -0.180540069937706, 0.28316497802734375,
          0.950580617878586, -0.1273345798254013, 0.21019171178340912, 0.06803131848573685,
          0.9752903101034462}},
        {{0, 0, 0.5},
         {0.8775825574994087, -0.4794255197048187, 0.0, 0.4794255197048187, 0.8775825574994087, 0.0,
          0.0, 0.0, 1.0}},
        {{0.001, 0, 0},
         {1.0, 0.0, 0.0, 0.0, 0.9999995000000581, -0.0009999998146668077, 0.0,
          0.0009999998146668077, 0.9999995000000581}},
        {{0, 0, 0}, {1, 0, 0, 0, 1, 0, 0, 0, 1}},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        double matrix[9];
        evaluator_rotation_of(cases[i].vector, matrix);
        for (int j = 0; j < 9; j++) CHECK(matrix[j] == cases[i].matrix[j]);
    }
}

TEST(controller_aims_from_the_snapshot_and_clips) {
    struct arm arm;
    double before[9], turned[9], expected[9];
    const double push[7] = {2, -0.5, 0, 0, 0, 0, 1}, turn[7] = {0, 0, 0, 0, 0, -3, 0};
    arm_open(&arm);
    memcpy(before, arm.controller.goal_rotation, sizeof before);
    arm.controller.goal_position[2] = 77;  // a goal does not add to the one before
    evaluator_controller_aim(&arm.controller, push);
    CHECK(arm.controller.goal_position[0] == arm.controller.position[0] + 0.05);
    CHECK(arm.controller.goal_position[1] == arm.controller.position[1] - 0.5 * 0.05);
    CHECK(arm.controller.goal_position[2] == arm.controller.position[2]);
    arm.controller.rotation[0] += 0.1;  // without a turn the orientation goal stays what it was
    evaluator_controller_aim(&arm.controller, push);
    CHECK(memcmp(arm.controller.goal_rotation, before, sizeof before) == 0);
    evaluator_controller_aim(&arm.controller, turn);
    evaluator_rotation_of((double[3]){0, 0, -0.5}, turned);
    mju_mulMatMat(expected, turned, arm.controller.rotation, 3, 3, 3);
    for (int i = 0; i < 9; i++) CHECK(arm.controller.goal_rotation[i] == expected[i]);
    arm_close(&arm);
}

// a^-1 by Gauss and Jordan with pivots, [n, n] in place.
static void invert(int n, double *a) {
    double wide[7][14] = {{0}};
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) wide[i][j] = a[i * n + j];
        wide[i][n + i] = 1;
    }
    for (int column = 0; column < n; column++) {
        int pivot = column;
        for (int i = column; i < n; i++)
            if (fabs(wide[i][column]) > fabs(wide[pivot][column])) pivot = i;
        for (int j = 0; j < 2 * n; j++) {
            const double held = wide[column][j];
            wide[column][j] = wide[pivot][j];
            wide[pivot][j] = held;
        }
        const double scale = wide[column][column];
        for (int j = 0; j < 2 * n; j++) wide[column][j] /= scale;
        for (int i = 0; i < n; i++) {
            const double factor = i == column ? 0 : wide[i][column];
            for (int j = 0; j < 2 * n; j++) wide[i][j] -= factor * wide[column][j];
        }
    }
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) a[i * n + j] = wide[i][n + j];
}

// tau = J' [Lp F; Lr T] + bias + (I - J' L J M^-1) M (10 (q0 - q) - 2 sqrt(10) qd), with every
// matrix of the formula formed, from MuJoCo's dense inertia and Jacobian.
static void written_out(const struct arm *arm, const double force[6], double torques[ARM]) {
    const int nv = arm->model->nv;
    double *full = calloc((size_t)(nv * nv), sizeof *full), *jac = calloc((size_t)(6 * nv), 8);
    double m[49], mass[49], j[42], mj[42], l[36], lp[9], lr[9], jlj[49];
    CHECK(full && jac);
    mj_fullM(arm->model, full, arm->data->qM);
    mj_jacSite(arm->model, arm->data, jac, jac + 3 * nv, arm->robot.grip_site);
    for (int a = 0; a < ARM; a++) {
        for (int b = 0; b < ARM; b++)
            mass[a * ARM + b] = full[arm->robot.arm_dof[a] * nv + arm->robot.arm_dof[b]];
        for (int i = 0; i < 6; i++) j[i * ARM + a] = jac[i * nv + arm->robot.arm_dof[a]];
    }
    memcpy(m, mass, sizeof m);
    invert(ARM, m);
    mju_mulMatMat(mj, j, m, 6, ARM, ARM);
    mju_mulMatMatT(l, mj, j, 6, ARM, 6);
    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++) {
            lp[a * 3 + b] = l[a * 6 + b];
            lr[a * 3 + b] = l[(3 + a) * 6 + 3 + b];
        }
    }
    invert(6, l);
    invert(3, lp);
    invert(3, lr);
    double wrench[6], lj[42], pose[ARM], pull[ARM], mjl[ARM];
    mju_mulMatVec(wrench, lp, force, 3, 3);
    mju_mulMatVec(wrench + 3, lr, force + 3, 3, 3);
    mju_mulMatTVec(torques, j, wrench, 6, ARM);
    for (int a = 0; a < ARM; a++)
        pull[a] = 10 * (evaluator_arm_start[a] - arm->data->qpos[arm->robot.arm_qpos[a]]) -
                  2 * sqrt(10) * arm->data->qvel[arm->robot.arm_dof[a]];
    mju_mulMatVec(pose, mass, pull, ARM, ARM);
    mju_mulMatMat(lj, l, mj, 6, 6, ARM);  // L J M^-1
    mju_mulMatTMat(jlj, j, lj, 6, ARM, ARM);
    mju_mulMatVec(mjl, jlj, pose, ARM, ARM);
    for (int a = 0; a < ARM; a++)
        torques[a] += pose[a] - mjl[a] + arm->data->qfrc_bias[arm->robot.arm_dof[a]];
    free(full);
    free(jac);
}

TEST(controller_torques_are_the_formula) {
    struct arm arm;
    double force[6], expected[ARM];
    const double action[7] = {0.1, -0.05, 0.08, 0, 0, 0, 0};
    arm_open(&arm);
    evaluator_controller_aim(&arm.controller, action);
    for (int i = 0; i < 3; i++) {
        force[i] = 150 * 0.05 * action[i] - 2 * sqrt(150) * arm.controller.linear[i];
        force[3 + i] = -2 * sqrt(150) * arm.controller.angular[i];
    }
    written_out(&arm, force, expected);
    evaluator_controller_drive(&arm.controller, &arm.robot, arm.model, arm.data, action);
    for (int i = 0; i < ARM; i++) {
        const double limit = i < 5 ? 80 : 12;
        // explicit inverses of condition 1e4 lose that many of 1e-16, times torques of 10
        CHECK_NEAR(arm.data->ctrl[arm.robot.arm_motor[i]], mju_clip(expected[i], -limit, limit),
                   1e-9);
    }
    CHECK(arm.controller.outdated);
    arm_close(&arm);
}

TEST(controller_torques_are_clipped_to_the_motors) {
    struct arm arm;
    const double action[7] = {0};
    arm_open(&arm);
    arm.controller.goal_position[0] += 1000;  // far beyond what a motor can do
    evaluator_controller_drive(&arm.controller, &arm.robot, arm.model, arm.data, action);
    double largest = 0;
    for (int i = 0; i < ARM; i++) {
        const double torque = fabs(arm.data->ctrl[arm.robot.arm_motor[i]]);
        CHECK(torque <= (i < 5 ? 80 : 12));
        largest = fmax(largest, torque);
    }
    CHECK(largest == 80);
    arm_close(&arm);
}

TEST(controller_gripper_integrates_holds_and_saturates) {
    struct arm arm;
    double action[7] = {0};
    arm_open(&arm);
#define FINGER(i) arm.data->ctrl[arm.robot.finger_motor[i]]
#define DRIVE(count, value)                                                                        \
    for (int n = (action[6] = (value), 0); n < (count); n++)                                       \
    evaluator_controller_drive(&arm.controller, &arm.robot, arm.model, arm.data, action)
    DRIVE(1, 0);
    CHECK(FINGER(0) == 0.02 && FINGER(1) == -0.02);  // the middle of both ranges
    DRIVE(100, -1);                                  // opens from the middle
    CHECK_NEAR(FINGER(0), 0.04, 1e-15);
    CHECK_NEAR(FINGER(1), -0.04, 1e-15);
    DRIVE(50, -0.001);  // only the sign counts, and it saturates
    CHECK(arm.controller.gripper[0] == 1 && arm.controller.gripper[1] == -1);
    DRIVE(199, 0.3);
    CHECK(FINGER(0) > 1e-6);
    DRIVE(2, 1);  // a whole stroke is 200 substeps
    CHECK_NEAR(FINGER(0), 0, 1e-15);
    DRIVE(1, 0);  // holds
    CHECK_NEAR(FINGER(0), 0, 1e-15);
    arm_close(&arm);
}

TEST(controller_names_a_part_that_the_model_lacks) {
    static const char bare[] = "<mujoco><worldbody><body><joint name='robot0_joint1'/>"
                               "<geom size='1'/></body></worldbody></mujoco>";
    char words[256];
    struct evaluator_robot robot;
    struct proto_error error = {0};
    mjSpec *spec = mj_parseXMLString(bare, NULL, words, sizeof words);
    mjModel *model = mj_compile(spec, NULL);
    CHECK(model);
    CHECK(!evaluator_robot_find(model, &robot, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_TEXT(error.text, "the model has no actuator \"robot0_torq_j1\"");
    mj_deleteModel(model);
    mj_deleteSpec(spec);
}

TEST_MAIN(UNIT(controller_rotation_is_rounded_as_robosuites),
          UNIT(controller_aims_from_the_snapshot_and_clips),
          UNIT(controller_torques_are_the_formula),
          UNIT(controller_torques_are_clipped_to_the_motors),
          UNIT(controller_gripper_integrates_holds_and_saturates),
          UNIT(controller_names_a_part_that_the_model_lacks))
