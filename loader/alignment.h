// loader/alignment.h - is obs[j] of a file from before or from after action[j]? Measured, not
// believed: files differ, and a policy trained one step off is silently worse.
//
// Let p[j] be the robot's pose (end-effector position; joint positions when the codec has none) and
// d[j] = p[j+1] - p[j] the motion from observation j to the next. Under `after`, d[j] is the work
// of action[j+1]; under `before`, of action[j]. A robot has momentum and its commands are smooth,
// so plain regression favours old commands (measured on LIBERO recordings, it picks the wrong lag).
// Therefore a motion model, d[j] ~ 1 + p[j] + d[j-1] + d[j-2], is fitted by least squares over all
// episodes first, and a lag's score is the share of the motion that model leaves unexplained which
// action[j+lag] explains: a partial R^2.
#ifndef LOADER_ALIGNMENT_H
#define LOADER_ALIGNMENT_H

#include "loader/numbers.h"
#include "proto/codec.h"

struct loader_alignment;

struct loader_alignment_verdict {
    double score[3];    // partial R^2 at lags -1, 0, +1; 0..1
    bool after;         // lag +1 wins: obs[j] was stored after action[j]
    double confidence;  // (best score - next best) / best: 0 a tie, 1 only the best explains
    uint64_t motions;   // d[j] that were used
    uint32_t episodes;
    const char *pose;  // "eef_pos" or "joint_pos": what the motion was taken from
};

// PROTO_REFUSED when the codec has neither eef_pos nor joint_pos in its state or no continuous
// action channel: it says to set data.alignment. Channels of the codec are all that is used.
PROTO_MUST_CHECK bool loader_alignment_new(const struct proto_codec *codec,
                                           struct loader_alignment **out,
                                           struct proto_error *error);
void loader_alignment_free(struct loader_alignment **alignment);  // accepts NULL

// Adds an episode, in any order, training and validation alike. Episodes under 5 steps say nothing.
void loader_alignment_add(struct loader_alignment *alignment,
                          const struct loader_episode_numbers *episode);

// The verdict. PROTO_REFUSED when it cannot be told (too little motion, no lag explains it, two
// explain it equally well, lag -1 explains it best): the text has the three scores and says to set
// data.alignment = "after" or "before"; *verdict is filled all the same as far as it is known.
PROTO_MUST_CHECK bool loader_alignment_decide(const struct loader_alignment *alignment,
                                              struct loader_alignment_verdict *verdict,
                                              struct proto_error *error);

#endif
