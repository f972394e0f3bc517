// proto/random.h - counter-based random numbers (Philox4x32-10, Salmon et al. 2011): a draw is a
// pure function of (seed, purpose, position), so any process draws the same bytes for a sample.
#ifndef PROTO_RANDOM_H
#define PROTO_RANDOM_H

#include <stdint.h>

// What a draw is for: keys the generator, so that two purposes never share numbers.
enum proto_purpose {
    PROTO_PURPOSE_SHUFFLE = 1,     // the stream's permutation
    PROTO_PURPOSE_VALIDATION,      // order of the validation set
    PROTO_PURPOSE_DROPOUT,         // condition dropout of sample g
    PROTO_PURPOSE_STATE_NOISE,     // state noise of sample g
    PROTO_PURPOSE_DIFFUSION,       // noise of the diffusion of sample g
    PROTO_PURPOSE_TIMESTEP,        // diffusion step of sample g
    PROTO_PURPOSE_SAMPLING,        // initial noise of a prediction
    PROTO_PURPOSE_INITIALISATION,  // random weights, position = parameter number
    PROTO_PURPOSE_WORD,            // word vectors of the hash encoder
    PROTO_PURPOSE_EPISODE_SPLIT,   // which episodes are for validation
    PROTO_PURPOSE_EXPERT,          // noise on a scripted expert's actions, position = step
};

struct proto_random {
    uint32_t key[2];
    uint32_t counter[4];  // [0] block, [1] purpose, [2..3] position
    uint32_t block[4];
    uint32_t used;  // numbers of the block already given out, 4 = none left
};

struct proto_random proto_random_at(uint64_t seed, enum proto_purpose purpose, uint64_t position);
uint32_t proto_random_u32(struct proto_random *random);
double proto_random_uniform(struct proto_random *random);              // [0, 1), 32 bits
uint32_t proto_random_below(struct proto_random *random, uint32_t n);  // 0..n-1, unbiased; n >= 1
// Standard normal by Box-Muller in double; consumes two numbers for each pair.
void proto_random_normal(struct proto_random *random, float *out, uint64_t count);

// The raw block function, for tests against the published vectors.
void proto_philox4x32(const uint32_t counter[static 4], const uint32_t key[static 2],
                      uint32_t out[static 4]);

#endif
