// evaluator/recording.h - the simulator's numbers under the names that recordings have for them, so
// that a codec finds its sources, and a decoded action as what the controller takes.
#ifndef EVALUATOR_RECORDING_H
#define EVALUATOR_RECORDING_H

#include "evaluator/env.h"
#include "proto/codec.h"

// PROTO_DAMAGED naming the channel when the simulator has no such source, or its controller no such
// action: a codec that passes can be rolled out.
PROTO_MUST_CHECK bool evaluator_recording_check(const struct proto_codec *codec,
                                                struct proto_error *error);
// state [state_count], recorded units. The codec has passed the check.
void evaluator_recording_state(const struct proto_codec *codec,
                               const struct evaluator_observation *seen, double *state);
// x [action_count] -> dx dy dz, rx ry rz, gripper; what the codec does not have is 0 (no motion).
void evaluator_recording_action(const struct proto_codec *codec, const double *x, double action[7]);

#endif
