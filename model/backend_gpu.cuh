// model/backend_gpu.cuh - the one place where a kernel's two targets differ: nvcc compiles the same
// source for the GPU, and the C++ compiler for the simulator of tests/gpusim.
//
// Three words are written as macros, because CUDA's own syntax is no C++:
//     SHARED(float, sums, [8]);            an array that the threads of a block share
//     DYN_SHARED(float, row);              the same, as large as the launch says
//     LAUNCH(kernel, grid, block, shared_bytes, stream, arguments...);
// Everything else is plain CUDA, as far as tests/gpusim/*_words.hpp know it.
#ifndef MODEL_BACKEND_GPU_CUH
#define MODEL_BACKEND_GPU_CUH

#ifdef __CUDACC__
#include <cstddef>
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define SHARED(type, name, dims) __shared__ type name dims
#define DYN_SHARED(type, name)                                                                     \
    extern __shared__ __align__(16) unsigned char name##_bytes[];                                  \
    type *name = reinterpret_cast<type *>(name##_bytes)
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                     \
    (kernel)<<<dim3(unsigned(grid)), dim3(unsigned(block)), shared_bytes, stream>>>(__VA_ARGS__)
#else
#include "gpusim/device_words.hpp"  // of tests/, in the simulator's build only
#include "gpusim/half_words.hpp"
#endif

#endif
