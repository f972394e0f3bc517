// model/pool.h - the threads of one CPU backend: every thread runs the same function on its part.
//
// Parts are a fixed function of (thread, threads), so that results are the same bits every time.
// The caller is thread 0. Workers spin for some microseconds after a task, because the next one of
// a training step usually comes at once, and then sleep.
#ifndef MODEL_POOL_H
#define MODEL_POOL_H

#include "proto/error.h"

#include <stdint.h>

struct model_pool;
typedef void model_task(void *context, uint32_t thread, uint32_t threads);

PROTO_MUST_CHECK bool model_pool_new(uint32_t threads, struct model_pool **pool,
                                     struct proto_error *error);
void model_pool_free(struct model_pool **pool);  // accepts NULL; leaves NULL behind
// Returns when all parts are done. One caller at a time; a task must not run another.
void model_pool_run(struct model_pool *pool, model_task *task, void *context);

// The part of 0..count-1 that belongs to a thread, in multiples of `grain` (the last may be short).
struct model_part {
    size_t begin, end;
};
struct model_part model_part_of(size_t count, size_t grain, uint32_t thread, uint32_t threads);

#endif
