// tests/memory.h - jansson running out of memory at a chosen allocation, so that every place that
// builds or reads JSON is seen failing cleanly (run under the address sanitizer, without a leak).
#ifndef TESTS_MEMORY_H
#define TESTS_MEMORY_H

#include "tests/check.h"

#include <jansson.h>

static size_t memory_left;  // allocations that still succeed

static inline void *memory_take(size_t size_bytes) {
    if (memory_left == 0) return NULL;
    memory_left--;
    return malloc(size_bytes);
}
// The next `count` allocations of jansson succeed, then none.
static inline void memory_allow(size_t count) {
    memory_left = count;
    json_set_alloc_funcs(memory_take, free);
}
static inline void memory_restore(void) { json_set_alloc_funcs(malloc, free); }

// Which allocations to fail: each of the first hundred, then ever fewer of them.
static inline size_t memory_next(size_t count) { return count < 100 ? count + 1 : count * 9 / 8; }

#endif
