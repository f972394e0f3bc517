// tests/gpusim/gpusim.h - what a test says to the simulated GPU: its memory, and the order in which
// its threads run.
//
// gpusim compiles the sources of our kernels with the C++ compiler and runs each thread of a block
// as a fiber, in an order drawn from a seed. A kernel that breaks a rule of CUDA ends the program
// with exit code 99 and one line: the rule, the kernel, the block, the thread and both places.
#ifndef TESTS_GPUSIM_GPUSIM_H
#define TESTS_GPUSIM_GPUSIM_H

#include <stddef.h>
#include <stdint.h>

#define GPUSIM_EXIT 99

#ifdef __cplusplus
extern "C" {
#endif

// Memory of the device, all bits set (a NaN in every format), so that a value never written shows.
// Exactly size_bytes: the address sanitizer knows its end. NULL when there is none.
void *gpusim_alloc(size_t size_bytes);
void gpusim_free(void *memory);  // accepts NULL

// The order of threads and blocks from here on; the environment's GPUSIM_SEED is the first.
void gpusim_seed(uint64_t seed);

// Launches so far, to prove that a test ran the kernels it names.
uint64_t gpusim_launches(void);

#ifdef __cplusplus
}
#endif

#endif
