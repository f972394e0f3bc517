// tests/evaluator/observation_test.c - the timer of observations has robosuite's phase, and what is
// seen are the right numbers. Oracle: substeps at which the official environment was seen to
// sample: 24 after a reset, 23 after a start state was set, one earlier for each further one.
#include "tests/check.h"

#include "evaluator/observation.h"

#include <math.h>

// A model with the robot's parts where the observer looks for them: one hinge for each.
static const char xml[] =
    "<mujoco><worldbody><body name='b'><geom size='1'/><site name='s' pos='1 2 3'/>"
    "<joint name='a0' axis='1 0 0'/><joint name='a1' axis='0 1 0'/><joint name='a2' axis='0 0 1'/>"
    "</body></worldbody></mujoco>";

struct scene {
    mjModel *model;
    mjData *data;
    struct evaluator_robot robot;
};
static void scene_open(struct scene *scene) {
    char words[256];
    mjSpec *spec = mj_parseXMLString(xml, NULL, words, sizeof words);
    CHECK(spec);
    scene->model = mj_compile(spec, NULL);
    mj_deleteSpec(spec);
    CHECK(scene->model);
    scene->data = mj_makeData(scene->model);
    scene->robot = (struct evaluator_robot){.hand_body = 1, .grip_site = 0};
    for (int i = 0; i < EVALUATOR_ARM_JOINTS; i++)
        scene->robot.arm_qpos[i] = scene->robot.arm_dof[i] = i % 3;
    scene->robot.finger_qpos[0] = scene->robot.finger_dof[0] = 1;
    scene->robot.finger_qpos[1] = scene->robot.finger_dof[1] = 2;
}
static void scene_close(struct scene *scene) {
    mj_deleteData(scene->data);
    mj_deleteModel(scene->model);
}

TEST(observation_phase_depends_on_forced_updates) {
    static const uint32_t substep_of[] = {0, 24, 23, 22, 21};  // by number of forced updates
    struct scene scene;
    scene_open(&scene);
    for (uint32_t forced = 1; forced < PROTO_COUNT(substep_of); forced++) {
        struct evaluator_observer observer;
        evaluator_observer_restart(&observer);
        for (uint32_t i = 0; i < forced; i++)
            CHECK(evaluator_observer_update(&observer, &scene.robot, scene.data, 0, true));
        for (uint32_t step = 0; step < 2000; step++) {
            uint32_t samples = 0;
            for (uint32_t k = 0; k < EVALUATOR_CONTROL_SUBSTEPS; k++)
                samples += evaluator_observer_update(&observer, &scene.robot, scene.data, k, false);
            CHECK_INT(samples, 1);
            CHECK_INT(observer.seen.substep, substep_of[forced]);
        }
    }
    scene_close(&scene);
}

TEST(observation_settled_is_as_after_a_start_state) {
    struct scene scene;
    struct evaluator_observer settled, started;
    scene_open(&scene);
    evaluator_observer_restart(&settled);
    evaluator_observer_restart(&started);
    evaluator_observer_settle(&settled);
    for (int i = 0; i < 2; i++)
        (void)evaluator_observer_update(&started, &scene.robot, scene.data, 0, true);
    CHECK(settled.since_s == started.since_s);
    CHECK(settled.sampled == started.sampled);
    scene_close(&scene);
}

TEST(observation_takes_joints_as_they_are_and_frames_as_they_were) {
    struct scene scene;
    struct evaluator_observer observer;
    scene_open(&scene);
    scene.data->qpos[0] = 0.5;
    mj_forward(scene.model, scene.data);
    scene.data->qpos[0] = 0.75;  // integrated since
    scene.data->qvel[1] = -2;
    evaluator_observer_restart(&observer);
    CHECK(evaluator_observer_update(&observer, &scene.robot, scene.data, 7, true));
    const struct evaluator_observation *seen = &observer.seen;
    CHECK(seen->joint_pos[0] == 0.75 && seen->joint_pos[3] == 0.75);
    CHECK(seen->joint_vel[1] == -2 && seen->gripper_qvel[0] == -2);
    CHECK_INT(seen->substep, 7);
    // rotation by 0.5 about x: xyzw, and back as axis times angle; some roundings of 1e-16
    CHECK_NEAR(seen->eef_quat[0], sin(0.25), 1e-15);
    CHECK_NEAR(seen->eef_quat[3], cos(0.25), 1e-15);
    CHECK_NEAR(seen->ee_ori[0], 0.5, 1e-14);
    CHECK_NEAR(seen->ee_ori[1], 0, 0);
    CHECK_NEAR(seen->eef_pos[1], 2 * cos(0.5) - 3 * sin(0.5), 1e-14);
    scene_close(&scene);
}

TEST(observation_of_no_rotation_has_no_axis) {
    struct scene scene;
    struct evaluator_observer observer;
    scene_open(&scene);
    mj_forward(scene.model, scene.data);
    evaluator_observer_restart(&observer);
    CHECK(evaluator_observer_update(&observer, &scene.robot, scene.data, 0, true));
    for (int i = 0; i < 3; i++) CHECK(observer.seen.ee_ori[i] == 0);
    scene_close(&scene);
}

TEST_MAIN(UNIT(observation_phase_depends_on_forced_updates),
          UNIT(observation_settled_is_as_after_a_start_state),
          UNIT(observation_takes_joints_as_they_are_and_frames_as_they_were),
          UNIT(observation_of_no_rotation_has_no_axis))
