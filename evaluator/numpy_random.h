// evaluator/numpy_random.h - numpy's legacy random numbers, bit for bit: LIBERO draws placements
// from the global generator, so the same seed must give the same scene. MT19937 seeded with one
// 32-bit number (Matsumoto & Nishimura 1998, init_genrand), doubles of 53 bits, Gaussian numbers by
// the polar method in pairs with the second one kept.
#ifndef EVALUATOR_NUMPY_RANDOM_H
#define EVALUATOR_NUMPY_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

#define EVALUATOR_TWISTER_WORDS 624

struct evaluator_numpy_random {
    uint32_t words[EVALUATOR_TWISTER_WORDS];
    uint32_t position;  // of the next word; EVALUATOR_TWISTER_WORDS: all used
    double kept;        // second Gaussian of a pair
    bool has_kept;
};
void evaluator_numpy_seed(struct evaluator_numpy_random *random, uint32_t seed);
double evaluator_numpy_double(struct evaluator_numpy_random *random);  // [0, 1)
// low + (high - low) * double: one double is drawn even where low == high.
double evaluator_numpy_uniform(struct evaluator_numpy_random *random, double low, double high);
double evaluator_numpy_normal(struct evaluator_numpy_random *random);  // randn

#endif
