// loader/proof.h - the proof that nothing is lost between a robot's numbers and the network's:
// decode(encode(x)) on every step of every demonstration, against what f32 allows.
#ifndef LOADER_PROOF_H
#define LOADER_PROOF_H

#include "loader/survey.h"

// Of one channel, over all steps of all tasks, in the recorded unit.
struct loader_proof_channel {
    double error;      // largest |decode(encode(x)) - x|
    double bound;      // what one rounding to f32 can cost at most, where the error was largest
    double excess;     // largest error / bound; at most 1
    uint64_t clipped;  // commands outside the controller's range: compared with the clipped value
};

struct loader_proof {
    struct loader_proof_channel state[PROTO_CHANNELS_MAX], action[PROTO_CHANNELS_MAX];
    uint64_t steps;
};

// encode rounds (x - mean) / scale to f32, which costs at most 2^-24 of it; the rest is double
// arithmetic. So |error| <= 2^-24 |x - mean| + 2^-50 (|x| + |mean|) + 2^-149 scale.
// PROTO_REFUSED naming the channel that exceeds it; *proof is filled all the same.
PROTO_MUST_CHECK bool loader_proof_run(const struct loader_survey *survey,
                                       struct loader_proof *proof, struct proto_error *error);

#endif
