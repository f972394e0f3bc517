// proto/stream.c - the stream's permutation, the ledger's entries, the slices of the ranks.
//
// The permutation of an epoch is a balanced Feistel network over the smallest power of four that is
// >= n (at least 256: networks over fewer points reach only some of the permutations), walked until
// it falls below n again (Black and Rogaway 2002). A walk takes four turns or fewer on average from
// n = 65 on.
#include "proto/stream.h"

#include <xxhash.h>

#define FEISTEL_ROUNDS 8
#define FEISTEL_HALF_BITS_MIN 4

// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): every input bit reaches every output bit.
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t feistel(uint64_t x, uint32_t half_bits, const uint64_t keys[FEISTEL_ROUNDS]) {
    const uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t left = x >> half_bits, right = x & mask;
    for (int round = 0; round < FEISTEL_ROUNDS; round++) {
        const uint64_t next = left ^ (mix(right + keys[round]) & mask);
        left = right;
        right = next;
    }
    return left << half_bits | right;
}

uint64_t proto_stream_sample(const struct proto_stream *stream, uint64_t g) {
    const uint64_t n = stream->n;
    uint32_t half_bits = FEISTEL_HALF_BITS_MIN;
    while ((uint64_t)1 << 2 * half_bits < n) half_bits++;

    // the keys of an epoch are its own numbers of (seed, purpose)
    struct proto_random random = proto_random_at(stream->seed, stream->purpose, g / n);
    uint64_t keys[FEISTEL_ROUNDS];
    for (int round = 0; round < FEISTEL_ROUNDS; round++) {
        const uint64_t high = proto_random_u32(&random);
        keys[round] = high << 32 | proto_random_u32(&random);
    }
    // the walk follows the cycle that g mod n lies on, so it comes back below n
    uint64_t sample = g % n;
    do {
        sample = feistel(sample, half_bits, keys);
    } while (sample >= n);
    return sample;
}

uint64_t proto_ledger_entry(uint64_t g, uint64_t sample) {
    uint8_t bytes[16];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(g >> 8 * i);
        bytes[8 + i] = (uint8_t)(sample >> 8 * i);
    }
    return XXH64(bytes, sizeof bytes, 0);
}

struct proto_slice proto_stream_slice(uint64_t start, uint64_t micro_step, uint32_t batch,
                                      uint32_t ranks, uint32_t rank) {
    const uint32_t count = batch / ranks;
    return (struct proto_slice){start + micro_step * batch + (uint64_t)rank * count, count};
}
