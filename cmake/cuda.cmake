# The GPU's compiler, where there is one: kernels are then built for the cards named here, and as PTX
# for later ones. PIPELINE_REQUIRE_CUDA=1 in the environment makes its absence an error.
include(CheckLanguage)
option(PIPELINE_CUDA "Build the GPU's kernels when nvcc is found" ON)
set(PIPELINE_CUDA_ARCHITECTURES "80-real;89-real;90-real;120" CACHE STRING
    "A100, RTX 40, H100, RTX 50; a number without -real has PTX too")

if(PIPELINE_CUDA)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    # the last place is where scripts/setup.sh --cuda puts one
    find_program(PIPELINE_NVCC nvcc HINTS $ENV{CUDA_HOME}/bin /usr/local/cuda/bin
        ${PIPELINE_CACHE}/cuda-13.0/bin)
    if(PIPELINE_NVCC)
      set(CMAKE_CUDA_COMPILER ${PIPELINE_NVCC})
    endif()
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${PIPELINE_CUDA_ARCHITECTURES})
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
  endif()
endif()
set(PIPELINE_HAS_CUDA OFF)
if(PIPELINE_CUDA AND CMAKE_CUDA_COMPILER)
  set(PIPELINE_HAS_CUDA ON)
  message(STATUS "CUDA ${CMAKE_CUDA_COMPILER_VERSION}: kernels for ${PIPELINE_CUDA_ARCHITECTURES}")
elseif("$ENV{PIPELINE_REQUIRE_CUDA}" STREQUAL "1")
  message(FATAL_ERROR "PIPELINE_REQUIRE_CUDA is 1 and there is no nvcc on PATH, in CUDA_HOME or in "
      "/usr/local/cuda: run scripts/setup.sh --cuda, which fetches a CUDA toolkit without root, or "
      "unset it to build for the CPU alone")
else()
  message(STATUS "no nvcc: kernels of the GPU are built for the simulator only "
      "(scripts/setup.sh --cuda fetches a CUDA toolkit)")
endif()

# pipeline_kernels(name sources...): a library of kernels. Local memory is an error of the compiler:
# a kernel that spills or that keeps an array per thread is a mistake here.
function(pipeline_kernels name)
  add_library(${name} STATIC ${ARGN})
  set_target_properties(${name} PROPERTIES CUDA_STANDARD 17 CUDA_STANDARD_REQUIRED ON)
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE -Xcompiler=-Wall,-Wextra
      -Xptxas=-warn-spills,-warn-lmem-usage $<$<BOOL:${PIPELINE_WERROR}>:-Werror=all-warnings>)
endfunction()

# pipeline_module(name sources... [LINK libraries...]): lib<name>.so, which the programs load at run
# time (proto/module.h). It exports what its sources mark as visible and takes nothing from the
# program that loads it. Libraries are found beside it, and in the build where they were linked from.
function(pipeline_module name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(${name} MODULE ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE pipeline_flags ${arg_LINK})
  target_compile_options(${name} PRIVATE -fvisibility=hidden)
  target_link_options(${name} PRIVATE -Wl,--exclude-libs,ALL)
  if(NOT PIPELINE_SANITIZE)  # a sanitizer's own functions are the program's
    target_link_options(${name} PRIVATE -Wl,--no-undefined)
  endif()
  set_target_properties(${name} PROPERTIES LINKER_LANGUAGE CXX
      LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib INSTALL_RPATH "$ORIGIN"
      CUDA_RUNTIME_LIBRARY Shared CUDA_RESOLVE_DEVICE_SYMBOLS OFF)
endfunction()
