// tests/proto/rotation_test.c - forms of a rotation against closed formulas: round trips, known
// turns, the neighbourhoods of 0 and pi. Limits are a few units in the last place of numbers up to
// 1 unless said.
#include "tests/check.h"

#include "proto/error.h"
#include "proto/random.h"
#include "proto/rotation.h"

#include <math.h>

#define PI 3.14159265358979323846
#define LIMIT 2e-15

static void check_matrix(const double *found, const double *expected, double limit) {
    for (int i = 0; i < 9; i++) CHECK_NEAR(found[i], expected[i], limit);
}

// A unit axis from draws of a fixed seed.
static void draw_axis(struct proto_random *random, double axis[static 3]) {
    const double z = 2 * proto_random_uniform(random) - 1;
    const double turn = 2 * PI * proto_random_uniform(random), r = sqrt(1 - z * z);
    axis[0] = r * cos(turn);
    axis[1] = r * sin(turn);
    axis[2] = z;
}

TEST(rotation_quarter_turns_are_the_known_matrices) {
    static const struct {
        const char *name;
        double v[3], R[9];
    } turns[] = {
        {"none", {0, 0, 0}, {1, 0, 0, 0, 1, 0, 0, 0, 1}},
        {"x", {PI / 2, 0, 0}, {1, 0, 0, 0, 0, -1, 0, 1, 0}},
        {"y", {0, PI / 2, 0}, {0, 0, 1, 0, 1, 0, -1, 0, 0}},
        {"z", {0, 0, PI / 2}, {0, -1, 0, 1, 0, 0, 0, 0, 1}},
        {"half about x", {PI, 0, 0}, {1, 0, 0, 0, -1, 0, 0, 0, -1}},
        {"three quarters about z", {0, 0, 1.5 * PI}, {0, 1, 0, -1, 0, 0, 0, 0, 1}},
    };
    for (size_t i = 0; i < PROTO_COUNT(turns); i++) {
        TEST_CASE(turns[i].name);
        double R[9];
        proto_rotation_from_axis_angle(turns[i].v, R);
        check_matrix(R, turns[i].R, LIMIT);
    }
}

// Oracle: q = (axis sin(t/2), cos(t/2)) is the same rotation. Angles near 0, near pi, beyond pi.
TEST(rotation_axis_angle_and_quaternion_agree) {
    static const double angles[] = {0,   1e-300, 1e-12,     1e-8, 0.9e-4,    1.1e-4, 1e-3,
                                    0.5, 1.9,    PI - 1e-9, PI,   PI + 1e-9, 4,      2 * PI - 1e-9};
    struct proto_random random = proto_random_at(1, PROTO_PURPOSE_WORD, 0);
    for (size_t i = 0; i < PROTO_COUNT(angles); i++)
        for (int n = 0; n < 20; n++) {
            double axis[3], v[3], q[4], from_v[9], from_q[9];
            draw_axis(&random, axis);
            for (int k = 0; k < 3; k++) {
                v[k] = axis[k] * angles[i];
                q[k] = axis[k] * sin(angles[i] / 2) * 3;  // any length
            }
            q[3] = cos(angles[i] / 2) * 3;
            proto_rotation_from_axis_angle(v, from_v);
            proto_rotation_from_quaternion(q, from_q);
            check_matrix(from_v, from_q, LIMIT);
        }
}

TEST(rotation_survives_six_numbers) {
    struct proto_random random = proto_random_at(2, PROTO_PURPOSE_WORD, 0);
    for (int n = 0; n < 500; n++) {
        double axis[3], R[9], back[9], six[6];
        draw_axis(&random, axis);
        const double angle = 2 * PI * proto_random_uniform(&random);
        for (int k = 0; k < 3; k++) axis[k] *= angle;
        proto_rotation_from_axis_angle(axis, R);
        proto_rotation_to_6d(R, six);
        CHECK_NEAR(six[1], R[3], 0);  // second number: second row of the first column
        CHECK_NEAR(six[3], R[1], 0);  // fourth: first row of the second column
        proto_rotation_from_6d(six, back);
        check_matrix(back, R, 4 * LIMIT);
    }
}

// A network's output is no rotation; what is made of it must be one, with x along the first column.
TEST(rotation_of_any_six_numbers_is_orthonormal) {
    struct proto_random random = proto_random_at(3, PROTO_PURPOSE_WORD, 0);
    for (int n = 0; n < 200; n++) {
        double six[6], R[9];
        float draws[6];
        proto_random_normal(&random, draws, 6);
        for (int k = 0; k < 6; k++) six[k] = (double)draws[k];
        proto_rotation_from_6d(six, R);
        for (int i = 0; i < 3; i++)
            for (int k = 0; k < 3; k++) {
                const double dot =
                    R[i] * R[k] + R[3 + i] * R[3 + k] + R[6 + i] * R[6 + k];  // columns
                CHECK_NEAR(dot, i == k, 1e-12);
            }
        const double determinant = R[0] * (R[4] * R[8] - R[5] * R[7]) -
                                   R[1] * (R[3] * R[8] - R[5] * R[6]) +
                                   R[2] * (R[3] * R[7] - R[4] * R[6]);
        CHECK_NEAR(determinant, 1, 1e-12);
        const double length = sqrt(six[0] * six[0] + six[1] * six[1] + six[2] * six[2]);
        CHECK_NEAR(R[0], six[0] / length, LIMIT);
    }
}

TEST(rotation_of_no_quaternion_is_not_a_number) {
    const double q[4] = {0, 0, 0, 0};
    double R[9];
    proto_rotation_from_quaternion(q, R);
    CHECK(isnan(R[0]));
}

TEST_MAIN(UNIT(rotation_quarter_turns_are_the_known_matrices),
          UNIT(rotation_axis_angle_and_quaternion_agree), UNIT(rotation_survives_six_numbers),
          UNIT(rotation_of_any_six_numbers_is_orthonormal),
          UNIT(rotation_of_no_quaternion_is_not_a_number))
