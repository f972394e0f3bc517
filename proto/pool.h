// proto/pool.h - a fixed number of batches that go out on loan: to the builder that fills one, to
// ZeroMQ that still reads it while it travels, and back.
//
// A loan is held by whoever counts a hold on it; the last hold that is dropped puts it back, from
// whatever thread (ZeroMQ drops its holds from its own), and makes the pool's descriptor readable,
// so that a loop that waits for a free batch waits for an event. Memory: count * the largest batch.
#ifndef PROTO_POOL_H
#define PROTO_POOL_H

#include "proto/sample.h"

#include <stdint.h>

#define PROTO_POOL_MAX 64

struct proto_pool;
struct proto_loan;

// Makes no batch yet: each comes into being, or grows, when a take needs it. Borrows the codec.
PROTO_MUST_CHECK bool proto_pool_new(const struct proto_codec *codec, uint32_t count,
                                     struct proto_pool **pool, struct proto_error *error);
// All loans must be back. Accepts NULL; leaves NULL behind.
void proto_pool_free(struct proto_pool **pool);

// A batch with room for `rows` samples and one hold on it; *loan NULL when all are out. One thread.
PROTO_MUST_CHECK bool proto_pool_take(struct proto_pool *pool, uint32_t rows,
                                      struct proto_loan **loan, struct proto_error *error);
struct proto_batch *proto_loan_batch(struct proto_loan *loan);
void proto_loan_hold(struct proto_loan *loan);  // thread-safe; only with a hold of one's own
void proto_loan_drop(struct proto_loan *loan);  // thread-safe

// Readable once a loan came back. proto_pool_settle makes it unreadable again.
int proto_pool_descriptor(const struct proto_pool *pool);
void proto_pool_settle(struct proto_pool *pool);
// Loans out now.
uint32_t proto_pool_out(const struct proto_pool *pool);

#endif
