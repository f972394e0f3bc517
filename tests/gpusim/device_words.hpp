// tests/gpusim/device_words.hpp - the words of CUDA that our kernels use, for the C++ compiler:
// qualifiers, built-in variables, barriers, warp collectives, atomics and the functions of its
// mathematics. What is not here does not compile, so that nothing runs unsimulated.
#ifndef TESTS_GPUSIM_DEVICE_WORDS_HPP
#define TESTS_GPUSIM_DEVICE_WORDS_HPP

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>

#define __global__ static
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __restrict__ __restrict

struct CUstream_st;

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(size_t x_ = 1, size_t y_ = 1, size_t z_ = 1)
        : x(unsigned(x_)), y(unsigned(y_)), z(unsigned(z_)) {}
};

namespace gpusim {

// Where a thread is; `place` is its number within the block.
struct context {
    uint3 thread_at, block;
    dim3 block_size, grid_size;
    unsigned place;
};
extern const context *current;

void *shared(const void *key, size_t size_bytes);  // the same for all threads of a block
void *dynamic_shared();
void sync_block(int line);
void sync_warp(unsigned mask, int line);
uint64_t shuffle(unsigned mask, uint64_t value, unsigned source, int line);
unsigned ballot(unsigned mask, bool vote, int line);
// Runs a grid to its end, or hands it to the queue of streams. Sizes beyond a GPU's limits end the
// program as any broken rule.
void launch(const char *kernel, dim3 grid, dim3 block, size_t shared_bytes, CUstream_st *stream,
            std::function<void()> body);
// With a queue, a launch is what a stream runs when its turn comes (tests/gpusim/fakes).
using launch_queue = void (*)(CUstream_st *stream, const char *kernel, std::function<void()> run);
void set_launch_queue(launch_queue queue);

// A kernel with its arguments, which are copied now, as a launch does.
template <typename Kernel, typename... Arguments>
std::function<void()> call(Kernel kernel, Arguments... arguments) {
    return [=] { kernel(arguments...); };
}

template <typename T> T shuffle_of(unsigned mask, T value, unsigned source, int line) {
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves at most eight bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = shuffle(mask, bits, source, line);
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline unsigned lane() { return current->place % 32; }

}  // namespace gpusim

#define threadIdx (gpusim::current->thread_at)
#define blockIdx (gpusim::current->block)
#define blockDim (gpusim::current->block_size)
#define gridDim (gpusim::current->grid_size)

// The three macros that a kernel's source needs in two spellings (model/backend_gpu.cuh).
#define SHARED(type, name, dims)                                                                   \
    using name##_type = type dims;                                                                 \
    static const char name##_key = 0;                                                              \
    name##_type &name =                                                                            \
        *static_cast<name##_type *>(gpusim::shared(&name##_key, sizeof(name##_type)))
#define DYN_SHARED(type, name) type *name = static_cast<type *>(gpusim::dynamic_shared())
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                     \
    gpusim::launch(#kernel, grid, block, shared_bytes, stream, gpusim::call(kernel, __VA_ARGS__))

inline void __syncthreads(int line = __builtin_LINE()) { gpusim::sync_block(line); }
inline void __syncwarp(unsigned mask = ~0u, int line = __builtin_LINE()) {
    gpusim::sync_warp(mask, line);
}
template <typename T>
T __shfl_sync(unsigned mask, T value, unsigned source, int line = __builtin_LINE()) {
    return gpusim::shuffle_of(mask, value, source % 32, line);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, unsigned bits, int line = __builtin_LINE()) {
    return gpusim::shuffle_of(mask, value, (gpusim::lane() ^ bits) % 32, line);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int line = __builtin_LINE()) {
    const unsigned source = gpusim::lane() + by;
    return gpusim::shuffle_of(mask, value, source < 32 ? source : gpusim::lane(), line);
}
inline unsigned __ballot_sync(unsigned mask, int vote, int line = __builtin_LINE()) {
    return gpusim::ballot(mask, vote != 0, line);
}

inline unsigned atomicAdd(unsigned *address, unsigned value) {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
inline float atomicAdd(float *address, float value) {
    auto *word = reinterpret_cast<uint32_t *>(address);
    uint32_t old_bits = __atomic_load_n(word, __ATOMIC_RELAXED), new_bits = 0;
    float old = 0;
    do {
        memcpy(&old, &old_bits, sizeof old);
        const float sum = old + value;
        memcpy(&new_bits, &sum, sizeof sum);
    } while (!__atomic_compare_exchange_n(word, &old_bits, new_bits, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return old;
}

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float sinpif(float x) { return float(sin(M_PI * double(x))); }
inline float cospif(float x) { return float(cos(M_PI * double(x))); }

#endif
