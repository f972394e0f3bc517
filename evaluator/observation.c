// evaluator/observation.c - see observation.h.
#include "evaluator/observation.h"

#include <math.h>
#include <string.h>

static const double substep_s = 0.002, period_s = 0.05;

void evaluator_observer_restart(struct evaluator_observer *observer) {
    *observer = (struct evaluator_observer){0};
}

void evaluator_observer_settle(struct evaluator_observer *observer) {
    observer->since_s = substep_s + substep_s;
    observer->sampled = true;
}

// Axis times angle of a unit quaternion xyzw, angle in [0, 2 pi], zero where the axis is undefined.
static void axis_angle(const double quat[4], double axis[3]) {
    const double w = quat[3] > 1 ? 1 : quat[3] < -1 ? -1 : quat[3];
    const double sine = sqrt(1 - w * w);
    for (int i = 0; i < 3; i++) axis[i] = sine == 0 ? 0 : quat[i] * 2 * acos(w) / sine;
}

static void look(struct evaluator_observation *seen, const struct evaluator_robot *robot,
                 const mjData *data, uint32_t substep) {
    for (int i = 0; i < EVALUATOR_ARM_JOINTS; i++) {
        seen->joint_pos[i] = data->qpos[robot->arm_qpos[i]];
        seen->joint_vel[i] = data->qvel[robot->arm_dof[i]];
    }
    for (int i = 0; i < 2; i++) {
        seen->gripper_qpos[i] = data->qpos[robot->finger_qpos[i]];
        seen->gripper_qvel[i] = data->qvel[robot->finger_dof[i]];
    }
    memcpy(seen->eef_pos, data->site_xpos + 3 * robot->grip_site, sizeof seen->eef_pos);
    const double *quat = data->xquat + 4 * robot->hand_body;  // the hand's, not the grip site's
    for (int i = 0; i < 4; i++) seen->eef_quat[i] = quat[(i + 1) % 4];
    axis_angle(seen->eef_quat, seen->ee_ori);
    seen->substep = substep;
}

bool evaluator_observer_update(struct evaluator_observer *observer,
                               const struct evaluator_robot *robot, const mjData *data,
                               uint32_t substep, bool force) {
    observer->since_s += substep_s;
    const bool takes = force || (!observer->sampled && period_s >= observer->since_s);
    if (takes) {
        look(&observer->seen, robot, data, substep);
        observer->sampled = true;
    }
    if (observer->since_s >= period_s) {
        observer->since_s = fmod(observer->since_s, period_s);
        observer->sampled = false;
    }
    return takes;
}
