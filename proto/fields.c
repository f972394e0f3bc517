// proto/fields.c - the table of fields a robot may have, their places in RDT's 128-slot vector, and
// how each is taken from what LIBERO and robomimic files hold. Declared in proto/codec.h.
//
// Slots (one arm: the first half): 0-9 joints, 10-14 gripper, 15-24 joint velocities, 25-29 gripper
// velocities, 30-32 end-effector position, 33-38 its 6-D rotation, 39-41 linear and 42-44 angular
// velocity. Commanded motions go into the velocity slots, as the authors of RDT advise: the pose
// slots mean absolute metres to the released weights.
#include "proto/codec.h"
#include "proto/rotation.h"

#include <math.h>
#include <string.h>

#define STATE(name, slot, components, unit, ...)                                                   \
    {                                                                                              \
        name, false, slot, components, unit, false, PROTO_CHANNEL_CONTINUOUS, { __VA_ARGS__ }      \
    }
#define ACTION(name, slot, components, unit, delta, kind)                                          \
    {                                                                                              \
        name, true, slot, components, unit, delta, PROTO_CHANNEL_##kind, { NULL }                  \
    }

static const struct proto_field fields[] = {
    STATE("joint_pos", 0, 7, "rad", "obs/joint_states", "obs/robot0_joint_pos"),
    STATE("gripper_qpos", 10, 2, "m", "obs/gripper_states", "obs/robot0_gripper_qpos",
          "robot_states"),
    // distance between the fingers; their sum would be 0, since they move in opposite directions
    STATE("gripper_opening", 10, 1, "m", "obs/gripper_states", "obs/robot0_gripper_qpos",
          "robot_states"),
    STATE("joint_vel", 15, 7, "rad/s", "obs/robot0_joint_vel"),
    STATE("gripper_qvel", 25, 2, "m/s", "obs/robot0_gripper_qvel"),
    STATE("eef_pos", 30, 3, "m", "obs/ee_pos", "obs/ee_states", "obs/robot0_eef_pos",
          "robot_states"),
    STATE("eef_rot6d", 33, 6, "1", "obs/ee_ori", "obs/ee_states", "obs/robot0_eef_quat",
          "robot_states"),
    STATE("eef_vel_lin", 39, 3, "m/s", "obs/robot0_eef_vel_lin"),
    STATE("eef_vel_ang", 42, 3, "rad/s", "obs/robot0_eef_vel_ang"),
    // Commands keep the controller's native units: robosuite's OSC_POSE takes 1 as 0.05 m and 0.5
    // rad per step. What the arm then does is less, and no scale of the command.
    ACTION("eef_delta_pos", 39, 3, PROTO_UNIT_COMMAND, true, CONTINUOUS),
    ACTION("eef_delta_rot", 42, 3, PROTO_UNIT_COMMAND, true, CONTINUOUS),
    ACTION("joint_delta_pos", 15, 7, PROTO_UNIT_COMMAND, true, CONTINUOUS),
    ACTION("gripper", 10, 1, PROTO_UNIT_COMMAND, false, GRIPPER),  // -1 open .. +1 closed
    ACTION("joint_pos", 0, 7, "rad", false, CONTINUOUS),
    ACTION("eef_pos", 30, 3, "m", false, CONTINUOUS),
    ACTION("eef_rot6d", 33, 6, "1", false, CONTINUOUS),
};

enum form { COPY, DIFFERENCE, AXIS_ANGLE, QUATERNION };

// What the known datasets hold. LIBERO's robot_states are fingers (2), position (3), quaternion
// (4).
static const struct part {
    const char *source, *field;
    uint32_t columns;  // of the dataset
    uint32_t first;    // of them that the field starts at
    enum form form;
} parts[] = {
    {"obs/joint_states", "joint_pos", 7, 0, COPY},
    {"obs/robot0_joint_pos", "joint_pos", 7, 0, COPY},
    {"obs/robot0_joint_vel", "joint_vel", 7, 0, COPY},
    {"obs/gripper_states", "gripper_qpos", 2, 0, COPY},
    {"obs/gripper_states", "gripper_opening", 2, 0, DIFFERENCE},
    {"obs/robot0_gripper_qpos", "gripper_qpos", 2, 0, COPY},
    {"obs/robot0_gripper_qpos", "gripper_opening", 2, 0, DIFFERENCE},
    {"obs/robot0_gripper_qvel", "gripper_qvel", 2, 0, COPY},
    {"obs/ee_pos", "eef_pos", 3, 0, COPY},
    {"obs/ee_ori", "eef_rot6d", 3, 0, AXIS_ANGLE},
    {"obs/ee_states", "eef_pos", 6, 0, COPY},
    {"obs/ee_states", "eef_rot6d", 6, 3, AXIS_ANGLE},
    {"obs/robot0_eef_pos", "eef_pos", 3, 0, COPY},
    {"obs/robot0_eef_quat", "eef_rot6d", 4, 0, QUATERNION},
    {"obs/robot0_eef_vel_lin", "eef_vel_lin", 3, 0, COPY},
    {"obs/robot0_eef_vel_ang", "eef_vel_ang", 3, 0, COPY},
    {"robot_states", "gripper_qpos", 9, 0, COPY},
    {"robot_states", "gripper_opening", 9, 0, DIFFERENCE},
    {"robot_states", "eef_pos", 9, 2, COPY},
    {"robot_states", "eef_rot6d", 9, 5, QUATERNION},
};

const struct proto_field *proto_fields(size_t *count) {
    *count = PROTO_COUNT(fields);
    return fields;
}

const struct proto_field *proto_field_find(const char *name, bool action) {
    for (size_t i = 0; i < PROTO_COUNT(fields); i++)
        if (fields[i].action == action && strcmp(fields[i].name, name) == 0) return &fields[i];
    return NULL;
}

static const struct part *part_find(const struct proto_field *field, const char *source) {
    for (size_t i = 0; i < PROTO_COUNT(parts); i++)
        if (strcmp(parts[i].source, source) == 0 && strcmp(parts[i].field, field->name) == 0)
            return &parts[i];
    return NULL;
}

uint32_t proto_field_columns(const struct proto_field *field, const char *source) {
    if (field->action) return field->components;
    const struct part *part = part_find(field, source);
    return part ? part->columns : 0;
}

bool proto_field_derive(const struct proto_field *field, const char *source, const double *in,
                        uint32_t columns, double *out) {
    if (columns == 0 || columns != proto_field_columns(field, source)) return false;
    const struct part *part = field->action ? NULL : part_find(field, source);
    const double *from = part ? in + part->first : in;
    double R[9];
    switch (part ? part->form : COPY) {
    case COPY:
        memcpy(out, from, field->components * sizeof *out);
        return true;
    case DIFFERENCE:
        out[0] = from[0] - from[1];
        return true;
    case AXIS_ANGLE:
        proto_rotation_from_axis_angle(from, R);
        break;
    case QUATERNION:
        proto_rotation_from_quaternion(from, R);
        break;
    }
    proto_rotation_to_6d(R, out);
    return true;
}
