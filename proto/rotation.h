// proto/rotation.h - the forms in which robots write an orientation, and RDT's 6-D form of it.
//
// A rotation here is a matrix R [9], row by row. Recordings disagree on the form: LIBERO's ee_ori
// is an axis-angle vector that was long read as Euler angles; robomimic writes quaternions.
#ifndef PROTO_ROTATION_H
#define PROTO_ROTATION_H

// v [3] = axis times angle in rad, any angle; smooth at 0 (Rodrigues' formula).
void proto_rotation_from_axis_angle(const double v[static 3], double R[static 9]);
// q [4] = x, y, z, w; of any length but 0, for which R is NaN.
void proto_rotation_from_quaternion(const double q[static 4], double R[static 9]);
// six = first column of R, then the second: r00 r10 r20 r01 r11 r21 (Zhou et al. 2019).
void proto_rotation_to_6d(const double R[static 9], double six[static 6]);
// The rotation nearest in the sense of official RDT: x = a / |a|, z = x cross b, normalised, y = z
// cross x, lengths floored at 1e-8; six need not be orthonormal, as a network's output is not.
void proto_rotation_from_6d(const double six[static 6], double R[static 9]);

#endif
