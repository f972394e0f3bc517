// loader/augment.h - what is varied on purpose in a training sample: noise on the state and
// conditions that are dropped. Never applied to validation samples.
//
// Order as in the official recipe: noise is added to the state first, then conditions are dropped
// each by its own draw (frequency, state, every image, language), so a dropped state is the plain
// mean, not a noisy one. Draws are Philox numbers keyed by (seed, purpose, position g) and taken in
// a fixed order whatever the probabilities are, so any loader builds the same bytes for g.
//
// A training sample in order: copy the current state, loader_augment_state on the copy,
// proto_sample_build, loader_augment_conditions.
#ifndef LOADER_AUGMENT_H
#define LOADER_AUGMENT_H

#include "proto/sample.h"

struct loader_augment {
    uint64_t seed;           // of the run
    double state_noise_snr;  // dB; 0: no noise
    double cond_mask_prob;   // 0: nothing is dropped
};

// Adds N(0, std / 10^(snr / 20)) to each channel of state [state_count], in recorded units, std
// being the task's (40 dB: a hundredth of it).
void loader_augment_state(const struct loader_augment *augment, const struct proto_codec *codec,
                          uint32_t task, uint64_t g, double *state);

// Drops conditions of row `row` of a batch, each with probability cond_mask_prob: ctrl_freq -> 0;
// state -> the task's mean, state_mask and action_mask -> 0; an image -> image_mask 0, its pixels
// the background and its frame id 0; language -> language_kept 0.
void loader_augment_conditions(const struct loader_augment *augment,
                               const struct proto_codec *codec, uint32_t task, uint64_t g,
                               struct proto_batch *batch, uint32_t row);

#endif
