// proto/rotation.c - conversions between forms of a rotation, in double.
#include "proto/rotation.h"

#include <math.h>

void proto_rotation_from_axis_angle(const double v[static 3], double R[static 9]) {
    const double x = v[0], y = v[1], z = v[2];
    const double angle2 = x * x + y * y + z * z, angle = sqrt(angle2);
    // R = I + s K + c K^2 with K = [v]x, s = sin(t) / t, c = (1 - cos(t)) / t^2. Below 1e-4 rad the
    // series' next terms are under 1e-17, while 1 - cos(t) would cancel.
    double s = 1 - angle2 / 6, c = 0.5 - angle2 / 24;
    if (angle > 1e-4) {
        const double half = sin(angle / 2) / angle;
        s = sin(angle) / angle;
        c = 2 * half * half;
    }
    R[0] = 1 - c * (y * y + z * z);
    R[1] = c * x * y - s * z;
    R[2] = c * x * z + s * y;
    R[3] = c * x * y + s * z;
    R[4] = 1 - c * (x * x + z * z);
    R[5] = c * y * z - s * x;
    R[6] = c * x * z - s * y;
    R[7] = c * y * z + s * x;
    R[8] = 1 - c * (x * x + y * y);
}

void proto_rotation_from_quaternion(const double q[static 4], double R[static 9]) {
    const double length = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    const double x = q[0] / length, y = q[1] / length, z = q[2] / length, w = q[3] / length;
    R[0] = 1 - 2 * (y * y + z * z);
    R[1] = 2 * (x * y - z * w);
    R[2] = 2 * (x * z + y * w);
    R[3] = 2 * (x * y + z * w);
    R[4] = 1 - 2 * (x * x + z * z);
    R[5] = 2 * (y * z - x * w);
    R[6] = 2 * (x * z - y * w);
    R[7] = 2 * (y * z + x * w);
    R[8] = 1 - 2 * (x * x + y * y);
}

void proto_rotation_to_6d(const double R[static 9], double six[static 6]) {
    for (int row = 0; row < 3; row++) {
        six[row] = R[3 * row];
        six[3 + row] = R[3 * row + 1];
    }
}

static void normalise(double v[static 3]) {
    const double length = fmax(sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]), 1e-8);
    for (int i = 0; i < 3; i++) v[i] /= length;
}

static void cross(const double a[static 3], const double b[static 3], double out[static 3]) {
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

void proto_rotation_from_6d(const double six[static 6], double R[static 9]) {
    double x[3] = {six[0], six[1], six[2]}, y[3], z[3];
    normalise(x);
    cross(x, six + 3, z);
    normalise(z);
    cross(z, x, y);
    for (int row = 0; row < 3; row++) {
        R[3 * row] = x[row];
        R[3 * row + 1] = y[row];
        R[3 * row + 2] = z[row];
    }
}
