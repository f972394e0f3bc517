// tests/gpusim/fiber.hpp - a stack of its own for each simulated thread of a GPU, switched by hand:
// a switch costs a few instructions and no system call. The sanitizers are told of every switch.
#ifndef TESTS_GPUSIM_FIBER_HPP
#define TESTS_GPUSIM_FIBER_HPP

namespace gpusim {

struct fiber;

// A fiber that runs `body` on each resume that follows a finished one; `body` never returns before
// it has finished its work. Stacks are 64 KiB above a page that nobody may touch.
fiber *fiber_take(void (*body)());
// Runs the fiber until it calls fiber_leave or its body returns; true: the body returned.
bool fiber_resume(fiber *f);
// Back to the caller of fiber_resume.
void fiber_leave();
// The fiber's body has returned: it may be taken again.
void fiber_give(fiber *f);

// What happened before `release` in one fiber is seen after `acquire` in another (to the thread
// sanitizer, for which switches themselves order nothing).
void release(void *address);
void acquire(void *address);

}  // namespace gpusim

#endif
