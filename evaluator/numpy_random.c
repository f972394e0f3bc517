// evaluator/numpy_random.c - the Mersenne Twister as numpy.random's legacy functions use it.
#include "evaluator/numpy_random.h"

#include <math.h>

enum { SHIFT = 397 };

void evaluator_numpy_seed(struct evaluator_numpy_random *random, uint32_t seed) {
    random->words[0] = seed;
    for (uint32_t i = 1; i < EVALUATOR_TWISTER_WORDS; i++) {
        const uint32_t before = random->words[i - 1];
        random->words[i] = 1812433253U * (before ^ (before >> 30)) + i;
    }
    random->position = EVALUATOR_TWISTER_WORDS;
    random->kept = 0;
    random->has_kept = false;
}

// All words anew, each from itself, its neighbour and the one SHIFT further on.
static void twist(uint32_t words[EVALUATOR_TWISTER_WORDS]) {
    for (uint32_t i = 0; i < EVALUATOR_TWISTER_WORDS; i++) {
        const uint32_t next = words[(i + 1) % EVALUATOR_TWISTER_WORDS];
        const uint32_t mixed = (words[i] & 0x80000000U) | (next & 0x7fffffffU);
        words[i] = words[(i + SHIFT) % EVALUATOR_TWISTER_WORDS] ^ (mixed >> 1) ^
                   ((mixed & 1U) ? 0x9908b0dfU : 0U);
    }
}

static uint32_t next_word(struct evaluator_numpy_random *random) {
    if (random->position >= EVALUATOR_TWISTER_WORDS) {
        twist(random->words);
        random->position = 0;
    }
    uint32_t word = random->words[random->position++];
    word ^= word >> 11;
    word ^= (word << 7) & 0x9d2c5680U;
    word ^= (word << 15) & 0xefc60000U;
    word ^= word >> 18;
    return word;
}

double evaluator_numpy_double(struct evaluator_numpy_random *random) {
    const uint32_t high = next_word(random) >> 5, low = next_word(random) >> 6;
    return (high * 67108864.0 + low) / 9007199254740992.0;
}

double evaluator_numpy_uniform(struct evaluator_numpy_random *random, double low, double high) {
    return low + (high - low) * evaluator_numpy_double(random);
}

double evaluator_numpy_normal(struct evaluator_numpy_random *random) {
    if (random->has_kept) {
        random->has_kept = false;
        return random->kept;
    }
    double x, y, square;
    do {
        x = 2.0 * evaluator_numpy_double(random) - 1.0;
        y = 2.0 * evaluator_numpy_double(random) - 1.0;
        square = x * x + y * y;
    } while (square >= 1.0 || square == 0.0);
    const double factor = sqrt(-2.0 * log(square) / square);
    random->kept = factor * x;
    random->has_kept = true;
    return factor * y;
}
