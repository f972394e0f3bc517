// tests/gpusim/fakes/abi_rows.cpp - what headers of CUDA say, as a table: values of enumerators,
// sizes and places of members, and types of functions as the C++ compiler spells them. Compiled
// once with our headers and once with the toolkit's (abi_test.cpp compares).
#include "gpusim/fakes/abi_rows.hpp"

// of the runtime, its functions in C alone: the toolkit adds templates of the same names
#define __CUDA_RUNTIME_H__
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <cstddef>
#include <typeinfo>

#define VALUE(what)                                                                                \
    { #what, (long long)(what), "" }
#define MEMBER(type, what)                                                                         \
    { #type "." #what, (long long)(offsetof(type, what)), typeid(decltype(type::what)).name() }
#define SIZE(type)                                                                                 \
    { "size of " #type, (long long)(sizeof(type)), "" }
#define FUNCTION(what)                                                                             \
    { #what, 0, typeid(decltype(&(what))).name() }

const abi_row ABI_ROWS[] = {
#include "gpusim/fakes/abi_names.inc"
    {nullptr, 0, nullptr},
};
