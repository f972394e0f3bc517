// proto/random.c - Philox4x32-10: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as
// 1, 2, 3" (SC 2011). Ten rounds of two 32x32->64 products; the counter says which numbers, the
// key whose.
#include "proto/random.h"

#include <math.h>

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u  // golden ratio
#define PHILOX_W1 0xBB67AE85u  // sqrt(3) - 1
#define PHILOX_ROUNDS 10

#define TWO_PI 6.283185307179586476925286766559

void proto_philox4x32(const uint32_t counter[static 4], const uint32_t key[static 2],
                      uint32_t out[static 4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)PHILOX_M0 * c0, p1 = (uint64_t)PHILOX_M1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

struct proto_random proto_random_at(uint64_t seed, enum proto_purpose purpose, uint64_t position) {
    return (struct proto_random){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, (uint32_t)purpose, (uint32_t)position, (uint32_t)(position >> 32)},
        .used = 4,
    };
}

uint32_t proto_random_u32(struct proto_random *random) {
    if (random->used == 4) {
        proto_philox4x32(random->counter, random->key, random->block);
        random->counter[0]++;
        random->used = 0;
    }
    return random->block[random->used++];
}

double proto_random_uniform(struct proto_random *random) {
    return (double)proto_random_u32(random) * 0x1p-32;
}

uint32_t proto_random_below(struct proto_random *random, uint32_t n) {
    // Lemire 2019: the high half of number * n is unbiased once the few low halves that would
    // occur once too often are drawn again
    uint64_t product = (uint64_t)proto_random_u32(random) * n;
    if ((uint32_t)product < n) {
        const uint32_t threshold = (uint32_t)-n % n;
        while ((uint32_t)product < threshold) product = (uint64_t)proto_random_u32(random) * n;
    }
    return (uint32_t)(product >> 32);
}

void proto_random_normal(struct proto_random *random, float *out, uint64_t count) {
    for (uint64_t i = 0; i < count; i += 2) {
        // 1 - u is in (0, 1], so that the logarithm is finite
        const double radius = sqrt(-2 * log(1 - proto_random_uniform(random)));
        const double angle = TWO_PI * proto_random_uniform(random);
        out[i] = (float)(radius * cos(angle));
        if (i + 1 < count) out[i + 1] = (float)(radius * sin(angle));
    }
}
