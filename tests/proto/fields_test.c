// tests/proto/fields_test.c - the table of fields: places in RDT's vector, and what LIBERO's and
// robomimic's datasets give for each field.
#include "tests/check.h"

#include "proto/codec.h"
#include "proto/rotation.h"

#include <math.h>

TEST(fields_stay_inside_the_vector_and_have_one_name_each) {
    size_t count = 0;
    const struct proto_field *fields = proto_fields(&count);
    CHECK(count >= 10);
    for (size_t i = 0; i < count; i++) {
        TEST_CASE(fields[i].name);
        CHECK(fields[i].components >= 1);
        CHECK(fields[i].first_slot + fields[i].components <= PROTO_UNIFIED_WIDTH);
        CHECK(proto_field_find(fields[i].name, fields[i].action) == &fields[i]);
        // every source it names can serve it; a state field has one at least
        CHECK(fields[i].action || fields[i].sources[0]);
        for (size_t k = 0; k < 4 && fields[i].sources[k]; k++)
            CHECK(proto_field_columns(&fields[i], fields[i].sources[k]) >= 1);
    }
    CHECK(!proto_field_find("no_such_field", false));
    CHECK(!proto_field_find("eef_delta_pos", false));  // an action field only
}

TEST(fields_have_the_official_slots) {
    static const struct {
        const char *name;
        bool action;
        uint32_t slot, components;
        const char *unit;
        bool delta;
    } expected[] = {
        {"joint_pos", false, 0, 7, "rad", false},
        {"gripper_qpos", false, 10, 2, "m", false},
        {"gripper_opening", false, 10, 1, "m", false},
        {"eef_pos", false, 30, 3, "m", false},
        {"eef_rot6d", false, 33, 6, "1", false},
        {"joint_vel", false, 15, 7, "rad/s", false},
        {"eef_delta_pos", true, 39, 3, "command", true},
        {"eef_delta_rot", true, 42, 3, "command", true},
        {"gripper", true, 10, 1, "command", false},
        {"joint_pos", true, 0, 7, "rad", false},
        {"eef_pos", true, 30, 3, "m", false},
    };
    for (size_t i = 0; i < PROTO_COUNT(expected); i++) {
        TEST_CASE(expected[i].name);
        const struct proto_field *field = proto_field_find(expected[i].name, expected[i].action);
        CHECK(field);
        CHECK_INT(field->first_slot, expected[i].slot);
        CHECK_INT(field->components, expected[i].components);
        CHECK_TEXT(field->unit, expected[i].unit);
        CHECK_INT(field->delta, expected[i].delta);
    }
    CHECK_INT(proto_field_find("gripper", true)->kind, PROTO_CHANNEL_GRIPPER);
    CHECK_INT(proto_field_find("gripper_qpos", false)->kind, PROTO_CHANNEL_CONTINUOUS);
}

TEST(fields_positions_are_taken_as_they_are) {
    const double joints[7] = {1, 2, 3, 4, 5, 6, 7};
    double out[7];
    const struct proto_field *field = proto_field_find("joint_pos", false);
    CHECK(proto_field_derive(field, "obs/joint_states", joints, 7, out));
    for (int i = 0; i < 7; i++) CHECK_NEAR(out[i], joints[i], 0);
    CHECK(proto_field_derive(field, "obs/robot0_joint_pos", joints, 7, out));
    CHECK(!proto_field_derive(field, "obs/joint_states", joints, 6, out));
    CHECK(!proto_field_derive(field, "obs/ee_pos", joints, 3, out));
    CHECK(!proto_field_derive(field, "obs/unknown", joints, 7, out));
}

// The fingers move in opposite directions: their distance is q0 - q1, not their sum.
TEST(fields_gripper_opening_is_the_distance_of_the_fingers) {
    const double fingers[2] = {0.039, -0.041};
    double out = 0;
    const struct proto_field *field = proto_field_find("gripper_opening", false);
    CHECK(proto_field_derive(field, "obs/gripper_states", fingers, 2, &out));
    CHECK_NEAR(out, 0.08, 1e-17);
    CHECK(proto_field_derive(field, "obs/robot0_gripper_qpos", fingers, 2, &out));
    CHECK_NEAR(out, 0.08, 1e-17);
}

// One pose written in every form there is: ee_ori is axis-angle, robot_states and eef_quat xyzw.
TEST(fields_one_orientation_in_all_forms_gives_the_same_six_numbers) {
    const double angle = 3.1, s = sin(angle / 2), c = cos(angle / 2);
    const double axis[3] = {0.6, -0.64, 0.48};  // length 1
    const double states[6] = {0.1, 0.2, 0.9, axis[0] * angle, axis[1] * angle, axis[2] * angle};
    const double robot[9] = {0.03, -0.03, 0.1, 0.2, 0.9, axis[0] * s, axis[1] * s, axis[2] * s, c};
    double from_ori[6], from_states[6], from_quat[6], from_robot[6], position[3], R[9], six[6];
    const struct proto_field *field = proto_field_find("eef_rot6d", false);
    CHECK(proto_field_derive(field, "obs/ee_ori", states + 3, 3, from_ori));
    CHECK(proto_field_derive(field, "obs/ee_states", states, 6, from_states));
    CHECK(proto_field_derive(field, "obs/robot0_eef_quat", robot + 5, 4, from_quat));
    CHECK(proto_field_derive(field, "robot_states", robot, 9, from_robot));
    // oracle: Rodrigues by hand, columns one and two
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            const int other = 3 - i - k;  // the third index, when i != k
            const double sign = (k - i + 3) % 3 == 1 ? -1 : 1;
            R[3 * i + k] = axis[i] * axis[k] * (1 - cos(angle)) +
                           (i == k ? cos(angle) : sign * axis[other] * sin(angle));
        }
    proto_rotation_to_6d(R, six);
    for (int i = 0; i < 6; i++) {
        CHECK_NEAR(from_ori[i], six[i], 2e-15);
        CHECK_NEAR(from_states[i], six[i], 2e-15);
        CHECK_NEAR(from_quat[i], six[i], 2e-15);
        CHECK_NEAR(from_robot[i], six[i], 2e-15);
    }
    field = proto_field_find("eef_pos", false);
    CHECK(proto_field_derive(field, "robot_states", robot, 9, position));
    CHECK_NEAR(position[2], 0.9, 0);
    CHECK(proto_field_derive(field, "obs/ee_states", states, 6, position));
    CHECK_NEAR(position[0], 0.1, 0);
}

TEST(fields_an_action_takes_its_columns_from_any_dataset) {
    const double columns[3] = {-1, 0.5, 1};
    double out[3];
    const struct proto_field *field = proto_field_find("eef_delta_pos", true);
    CHECK_INT(proto_field_columns(field, "actions_clean"), 3);
    CHECK(proto_field_derive(field, "actions_clean", columns, 3, out));
    for (int i = 0; i < 3; i++) CHECK_NEAR(out[i], columns[i], 0);
    CHECK(!proto_field_derive(field, "actions_clean", columns, 2, out));
}

TEST_MAIN(UNIT(fields_stay_inside_the_vector_and_have_one_name_each),
          UNIT(fields_have_the_official_slots), UNIT(fields_positions_are_taken_as_they_are),
          UNIT(fields_gripper_opening_is_the_distance_of_the_fingers),
          UNIT(fields_one_orientation_in_all_forms_gives_the_same_six_numbers),
          UNIT(fields_an_action_takes_its_columns_from_any_dataset))
