// tests/gpusim/gpusim.cpp - runs a grid: one block at a time, every thread of it a fiber.
//
// Order is the simulator's to choose, as it is a GPU's: blocks and threads run in an order drawn
// from the seed, a thread until it waits or ends. A barrier opens when every thread stands at the
// same line of it; a warp collective is computed when the lanes of its mask have all arrived.
// Shared memory starts with all bits set. Nothing here is instrumented, so that the thread
// sanitizer sees the kernels' own accesses only, ordered by barriers and by nothing else.
#include "gpusim/gpusim.h"

#include "gpusim/device_words.hpp"
#include "gpusim/fiber.hpp"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sys/mman.h>

namespace gpusim {

static constexpr unsigned threads_max = 1024, warp_size = 32, arrays_max = 32;
static constexpr size_t shared_bytes_max = 48 << 10;  // more needs an opt-in that we do not use
static constexpr size_t arena_bytes = 256 << 10;

enum class state { fresh, ready, at_barrier, at_warp, done };
enum class collective { shuffle, ballot, sync };

struct thread : context {
    gpusim::state state;
    fiber *stack;
    int line;  // of the last barrier or collective
    collective operation;
    unsigned mask, source;
    bool vote;
    uint64_t value;
};
struct warp {
    unsigned arrived;  // lanes
    unsigned syncs;    // __syncwarp so far
};
struct shared_array {
    const void *key;
    void *memory;
    size_t size_bytes;
};

// Addresses that the thread sanitizer orders by: two per barrier, for this one and the next.
struct edges {
    char barrier[2], warps[threads_max / warp_size][2];
};

static struct {
    const char *kernel;
    const std::function<void()> *body;
    thread threads[threads_max];
    warp warps[threads_max / warp_size];
    thread *running;
    unsigned count, alive, waiting, barriers;
    shared_array arrays[arrays_max];
    unsigned array_count;
    size_t shared_bytes, dynamic_bytes;
    void *dynamic;
    char *arena;  // with the thread sanitizer: new addresses for every block
    size_t arena_used;
    gpusim::edges *edges, own_edges;
    char launch_begins, launch_ends;
    uint64_t random;
    bool seeded;
    uint64_t launches;
} sim;
static std::mutex one_launch;

const context *current;

[[noreturn]] static void die(const thread *t, const char *rule, int other_line = 0) {
    char other[48] = "";
    if (other_line != 0) snprintf(other, sizeof other, "; the others at line %d", other_line);
    fprintf(stderr, "gpusim: %s: kernel %s, block (%u, %u, %u), thread %u, line %d%s\n", rule,
            sim.kernel, t->block.x, t->block.y, t->block.z, t->place, t->line, other);
    _Exit(GPUSIM_EXIT);
}
[[noreturn]] static void refuse(const char *what, size_t found, size_t limit) {
    fprintf(stderr, "gpusim: kernel %s: %s is %zu, a GPU takes 1 to %zu\n", sim.kernel, what, found,
            limit);
    _Exit(GPUSIM_EXIT);
}

static uint32_t draw() {
    sim.random = sim.random * 6364136223846793005u + 1442695040888963407u;
    return uint32_t(sim.random >> 33);
}

// Walks 0 .. count-1 in an order of its own.
struct walk {
    unsigned count, at, step;
    explicit walk(unsigned n) : count(n), at(draw() % n), step(1) {
        if (draw() % 4 == 0) return;  // often enough, threads follow each other as on a GPU
        step = draw() % n | 1u;
        while (!coprime(step, n)) step = step > 1 ? step - 1 : 1;
    }
    static bool coprime(unsigned a, unsigned b) {
        while (b != 0) {
            const unsigned rest = a % b;
            a = b;
            b = rest;
        }
        return a == 1;
    }
    unsigned next() {
        const unsigned now = at;
        at = unsigned((uint64_t(at) + step) % count);
        return now;
    }
};

// ---- shared memory ----

// All bits set, word by word: memset would be seen by the thread sanitizer.
static void poison(void *memory, size_t size_bytes) {
    auto *bytes = static_cast<volatile unsigned char *>(memory);
    size_t i = 0;
    for (; i + 8 <= size_bytes; i += 8)
        *reinterpret_cast<volatile uint64_t *>(bytes + i) = ~uint64_t(0);
    for (; i < size_bytes; i++) bytes[i] = 0xff;
}

static void *shared_memory(size_t size_bytes) {
    sim.shared_bytes += size_bytes;
    if (sim.shared_bytes > shared_bytes_max)
        refuse("shared memory in bytes", sim.shared_bytes, shared_bytes_max);
    void *memory = nullptr;
#ifdef GPUSIM_THREAD
    memory = sim.arena + sim.arena_used;
    sim.arena_used += (size_bytes + 63) / 64 * 64;
#else
    if (posix_memalign(&memory, 16, size_bytes) != 0) refuse("shared memory to be had", 0, 1);
#endif
    poison(memory, size_bytes);
    return memory;
}

void *shared(const void *key, size_t size_bytes) {
    for (unsigned i = 0; i < sim.array_count; i++)
        if (sim.arrays[i].key == key) return sim.arrays[i].memory;
    if (sim.array_count == arrays_max) refuse("the number of shared arrays", arrays_max + 1, 32);
    void *memory = shared_memory(size_bytes);
    sim.arrays[sim.array_count++] = {key, memory, size_bytes};
    return memory;
}
void *dynamic_shared() {
    if (!sim.dynamic) die(sim.running, "dynamic shared memory that the launch did not ask for");
    return sim.dynamic;
}

static void forget_shared() {
#ifndef GPUSIM_THREAD
    for (unsigned i = 0; i < sim.array_count; i++) free(sim.arrays[i].memory);
    free(sim.dynamic);
#endif
    sim.array_count = 0;
    sim.shared_bytes = 0;
    sim.dynamic = nullptr;
}

static void begin_shared() {
#ifdef GPUSIM_THREAD
    sim.arena = static_cast<char *>(
        mmap(nullptr, arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (sim.arena == MAP_FAILED) refuse("shared memory to be had", 0, 1);
    sim.edges = reinterpret_cast<gpusim::edges *>(sim.arena);
    sim.arena_used = (sizeof(gpusim::edges) + 63) / 64 * 64;
    forget_shared();
#else
    sim.edges = &sim.own_edges;
#endif
    // arrays of the last block serve this one
    for (unsigned i = 0; i < sim.array_count; i++)
        poison(sim.arrays[i].memory, sim.arrays[i].size_bytes);
    if (sim.dynamic) poison(sim.dynamic, sim.dynamic_bytes);
    if (!sim.dynamic && sim.dynamic_bytes > 0) sim.dynamic = shared_memory(sim.dynamic_bytes);
}
static void end_shared() {
#ifdef GPUSIM_THREAD
    munmap(sim.arena, arena_bytes);
#endif
}

// ---- barriers and collectives ----

void sync_block(int line) {
    thread *t = sim.running;
    char *edge = &sim.edges->barrier[sim.barriers % 2];
    t->line = line;
    t->state = state::at_barrier;
    sim.waiting++;
    release(edge);
    fiber_leave();
    acquire(edge);
}

// Every living thread waits: it must be at one barrier, and nobody may have left.
static void open_barrier() {
    const int line = sim.running->line;
    for (unsigned i = 0; i < sim.count; i++) {
        thread *t = &sim.threads[i];
        if (t->state == state::done)
            die(t, "a thread left the kernel before a __syncthreads", line);
        if (t->line != line) die(t, "__syncthreads in a divergent branch", line);
    }
    for (unsigned i = 0; i < sim.count; i++) sim.threads[i].state = state::ready;
    sim.waiting = 0;
    sim.barriers++;
}

static bool in(unsigned mask, unsigned lane) { return mask >> lane & 1; }

// All lanes of the mask have arrived.
static void finish_collective(thread *lanes, unsigned mask) {
    const thread *first = &lanes[__builtin_ctz(mask)];
    uint64_t values[warp_size] = {0};
    unsigned votes = 0;
    for (unsigned l = 0; l < warp_size; l++) {
        if (!in(mask, l)) continue;
        if (lanes[l].operation != first->operation || lanes[l].mask != mask)
            die(&lanes[l], "lanes of a warp disagree on the collective", first->line);
        values[l] = lanes[l].value;
        votes |= unsigned(lanes[l].vote) << l;
    }
    for (unsigned l = 0; l < warp_size; l++) {
        if (!in(mask, l)) continue;
        thread *t = &lanes[l];
        t->state = state::ready;
        if (t->operation == collective::ballot) t->value = votes;
        if (t->operation != collective::shuffle) continue;
        if (!in(mask, t->source)) die(t, "a shuffle reads a lane outside its mask");
        t->value = values[t->source];
    }
}

static void join_collective(collective operation, unsigned mask, int line) {
    thread *t = sim.running;
    const unsigned number = t->place / warp_size, lane = t->place % warp_size;
    warp *w = &sim.warps[number];
    t->line = line;
    t->operation = operation;
    t->mask = mask;
    if (!in(mask, lane)) die(t, "a lane calls a collective whose mask leaves it out");
    const bool orders = operation == collective::sync;
    char *edge = &sim.edges->warps[number][w->syncs % 2];
    if (orders) release(edge);
    t->state = state::at_warp;
    w->arrived |= 1u << lane;
    if ((w->arrived & mask) == mask) {
        w->arrived &= ~mask;
        if (orders) w->syncs++;
        finish_collective(&sim.threads[number * warp_size], mask);
    } else {
        fiber_leave();
    }
    if (orders) acquire(edge);
}
void sync_warp(unsigned mask, int line) { join_collective(collective::sync, mask, line); }
uint64_t shuffle(unsigned mask, uint64_t value, unsigned source, int line) {
    thread *t = sim.running;
    t->value = value;
    t->source = source;
    join_collective(collective::shuffle, mask, line);
    return t->value;
}
unsigned ballot(unsigned mask, bool vote, int line) {
    thread *t = sim.running;
    t->vote = vote;
    join_collective(collective::ballot, mask, line);
    return unsigned(t->value);
}

// ---- blocks ----

static void thread_body() {
    acquire(&sim.launch_begins);
    (*sim.body)();
    release(&sim.launch_ends);
}

static void resume(thread *t) {
    if (t->state == state::fresh) t->stack = fiber_take(thread_body);
    t->state = state::ready;
    sim.running = t;
    current = t;
    if (!fiber_resume(t->stack)) return;
    t->state = state::done;
    sim.alive--;
    fiber_give(t->stack);
}

static void run_block(uint3 block, dim3 block_size, dim3 grid_size) {
    sim.alive = sim.count;
    sim.waiting = sim.barriers = 0;
    for (warp &w : sim.warps) w = {};
    for (unsigned i = 0; i < sim.count; i++) {
        thread *t = &sim.threads[i];
        *t = {};
        t->thread_at = {i % block_size.x, i / block_size.x % block_size.y,
                        i / (block_size.x * block_size.y)};
        t->block = block;
        t->block_size = block_size;
        t->grid_size = grid_size;
        t->place = i;
    }
    while (sim.alive > 0) {
        bool moved = false;
        walk order(sim.count);
        for (unsigned i = 0; i < sim.count; i++) {
            thread *t = &sim.threads[order.next()];
            if (t->state != state::fresh && t->state != state::ready) continue;
            resume(t);
            moved = true;
        }
        if (sim.alive > 0 && sim.waiting == sim.alive) {
            open_barrier();
            moved = true;
        }
        for (unsigned i = 0; !moved && sim.alive > 0 && i < sim.count; i++)
            if (sim.threads[i].state == state::at_warp)
                die(&sim.threads[i], "a warp collective waits for lanes that never come");
        if (!moved && sim.alive > 0) die(sim.running, "a barrier that never opens");
    }
}

static void check_limits(dim3 grid, dim3 block, size_t shared_bytes) {
    if (grid.x < 1 || grid.x > 0x7fffffff) refuse("the grid's x", grid.x, 0x7fffffff);
    if (grid.y < 1 || grid.y > 65535) refuse("the grid's y", grid.y, 65535);
    if (grid.z < 1 || grid.z > 65535) refuse("the grid's z", grid.z, 65535);
    if (block.z < 1 || block.z > 64) refuse("the block's z", block.z, 64);
    const size_t count = size_t(block.x) * block.y * block.z;
    if (count < 1 || count > threads_max) refuse("the number of threads", count, threads_max);
    if (shared_bytes > shared_bytes_max)
        refuse("shared memory in bytes", shared_bytes, shared_bytes_max);
}

static void seed(uint64_t value) {
    sim.random = value * 7919 + 1;
    sim.seeded = true;
    for (int i = 0; i < 8; i++) draw();
}

static void run(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes,
                const std::function<void()> &body) {
    const std::lock_guard<std::mutex> lock(one_launch);
    sim.kernel = kernel;
    check_limits(grid, block, shared_bytes);
    if (!sim.seeded) {
        const char *text = getenv("GPUSIM_SEED");
        seed(text ? strtoull(text, nullptr, 10) : 1);
    }
    sim.body = &body;
    sim.count = block.x * block.y * block.z;
    sim.dynamic_bytes = shared_bytes;
    sim.launches++;
    release(&sim.launch_begins);
    const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
    if (blocks > UINT32_MAX) refuse("the number of blocks here", blocks, UINT32_MAX);
    walk order{unsigned(blocks)};
    for (uint64_t i = 0; i < blocks; i++) {
        const unsigned b = order.next();
        begin_shared();
        run_block({b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y}, block, grid);
        end_shared();
    }
    acquire(&sim.launch_ends);
    forget_shared();
}

static launch_queue queue;
void set_launch_queue(launch_queue given) { queue = given; }

void launch(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes, CUstream_st *stream,
            std::function<void()> body) {
    if (!queue) return run(kernel, grid, block, shared_bytes, body);
    queue(stream, kernel,
          [=, body = std::move(body)] { run(kernel, grid, block, shared_bytes, body); });
}

}  // namespace gpusim

void *gpusim_alloc(size_t size_bytes) {
    void *memory = nullptr;
    if (posix_memalign(&memory, 256, size_bytes > 0 ? size_bytes : 1) != 0) return nullptr;
    gpusim::poison(memory, size_bytes);
    return memory;
}
void gpusim_free(void *memory) { free(memory); }
void gpusim_seed(uint64_t seed) { gpusim::seed(seed); }
uint64_t gpusim_launches(void) { return gpusim::sim.launches; }
