// tests/gpusim/fiber.cpp - stacks and the switch between them. This file is never instrumented;
// GPUSIM_ADDRESS or GPUSIM_THREAD says which sanitizer the program is linked with.
#include "gpusim/fiber.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sys/mman.h>
#include <vector>

#if !defined(__x86_64__)
#error "gpusim switches stacks in x86-64 assembly"
#endif

#ifdef GPUSIM_ADDRESS
extern "C" {
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **bottom, size_t *size);
}
#endif
#ifdef GPUSIM_THREAD
extern "C" {
void *__tsan_get_current_fiber();
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
void __tsan_acquire(void *address);
void __tsan_release(void *address);
}
#endif

// Saves the registers that a call preserves on this stack, its top in *from, and goes on with `to`.
extern "C" void gpusim_switch(void **from, void *to);
asm(R"(
    .text
    .globl gpusim_switch
    .type gpusim_switch, @function
gpusim_switch:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size gpusim_switch, . - gpusim_switch
)");

namespace gpusim {

static constexpr size_t stack_bytes = 64 << 10, guard_bytes = 4096;

struct fiber {
    void *top;    // saved stack pointer
    void *stack;  // lowest address, with its guard page
    void (*body)();
    bool done;
    void *fake_stack;  // the address sanitizer's
    void *record;      // the thread sanitizer's
};

struct host {
    void *top;
    fiber *running;
    void *fake_stack;
    const void *bottom;
    size_t size;
    void *record;
};
static host main_stack;

static std::vector<fiber *> &idle() {
    static std::vector<fiber *> &list = *new std::vector<fiber *>;
    return list;
}

void release(void *address) {
#ifdef GPUSIM_THREAD
    __tsan_release(address);
#else
    (void)address;
#endif
}
void acquire(void *address) {
#ifdef GPUSIM_THREAD
    __tsan_acquire(address);
#else
    (void)address;
#endif
}

static void arrived_in_fiber(fiber *f) {
#ifdef GPUSIM_ADDRESS
    __sanitizer_finish_switch_fiber(f->fake_stack, &main_stack.bottom, &main_stack.size);
#else
    (void)f;
#endif
}

void fiber_leave() {
    fiber *f = main_stack.running;
#ifdef GPUSIM_ADDRESS
    __sanitizer_start_switch_fiber(&f->fake_stack, main_stack.bottom, main_stack.size);
#endif
#ifdef GPUSIM_THREAD
    __tsan_switch_to_fiber(main_stack.record, 1);
#endif
    gpusim_switch(&f->top, main_stack.top);
    arrived_in_fiber(f);
}

static void entry() {
    arrived_in_fiber(main_stack.running);
    for (;;) {
        main_stack.running->body();
        main_stack.running->done = true;
        fiber_leave();
    }
}

static fiber *fiber_new() {
    fiber *f = new fiber();
    const size_t bytes = stack_bytes + guard_bytes;
    f->stack = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (f->stack == MAP_FAILED || mprotect(f->stack, guard_bytes, PROT_NONE) != 0) {
        fprintf(stderr, "gpusim: no memory for a stack\n");
        _Exit(99);
    }
    // stacks begin at different cache lines, or a thousand of them would share one set of the cache
    static unsigned colour;
    auto *top = reinterpret_cast<uint64_t *>(static_cast<char *>(f->stack) + bytes);
    top -= 8 * (colour++ % 64);
    *--top = 0;  // entry is called, as it were, from nowhere
    *--top = reinterpret_cast<uint64_t>(&entry);
    top -= 6;
    f->top = top;
    return f;
}

fiber *fiber_take(void (*body)()) {
    fiber *f = nullptr;
    if (idle().empty()) {
        f = fiber_new();
    } else {
        f = idle().back();
        idle().pop_back();
    }
    f->body = body;
#ifdef GPUSIM_THREAD
    f->record = __tsan_create_fiber(0);
#endif
    return f;
}

bool fiber_resume(fiber *f) {
    main_stack.running = f;
    f->done = false;
#ifdef GPUSIM_ADDRESS
    __sanitizer_start_switch_fiber(&main_stack.fake_stack,
                                   static_cast<char *>(f->stack) + guard_bytes, stack_bytes);
#endif
#ifdef GPUSIM_THREAD
    main_stack.record = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->record, 1);
#endif
    gpusim_switch(&main_stack.top, f->top);
#ifdef GPUSIM_ADDRESS
    __sanitizer_finish_switch_fiber(main_stack.fake_stack, nullptr, nullptr);
#endif
    return f->done;
}

void fiber_give(fiber *f) {
#ifdef GPUSIM_THREAD
    // a stack that is used again would bring its history along
    __tsan_destroy_fiber(f->record);
    munmap(f->stack, stack_bytes + guard_bytes);
    delete f;
#else
    idle().push_back(f);
#endif
}

}  // namespace gpusim
