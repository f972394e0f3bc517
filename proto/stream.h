// proto/stream.h - the one stream of samples. What a step consumes is a pure function of the run's
// seed and the position g: never of how many loaders or ranks there are, who is fast, or who died.
//
// The stream is endless; position g holds sample permute(seed, g / n, g mod n): a keyed permutation
// of 0..n-1 per epoch (Feistel network with cycle walking, O(1) memory). n is 1 .. 2^40.
#ifndef PROTO_STREAM_H
#define PROTO_STREAM_H

#include "proto/error.h"
#include "proto/random.h"

#include <stdint.h>

struct proto_stream {
    uint64_t seed;
    uint64_t n;                  // samples of an epoch
    enum proto_purpose purpose;  // SHUFFLE for training, VALIDATION for the validation order
};
uint64_t proto_stream_sample(const struct proto_stream *stream, uint64_t g);

// One entry of the ledger: a step's ledger is the sum (mod 2^64) over its positions, in any order.
// xxh64 (seed 0) of g and sample as 16 little-endian bytes.
uint64_t proto_ledger_entry(uint64_t g, uint64_t sample);

// The slice of micro step m that belongs to a rank: positions first .. first + count - 1.
// batch must divide by ranks.
struct proto_slice {
    uint64_t first;
    uint32_t count;
};
struct proto_slice proto_stream_slice(uint64_t start, uint64_t micro_step, uint32_t batch,
                                      uint32_t ranks, uint32_t rank);

#endif
