# Flags and the three kinds of target of this project: a folder's library, a program, a folder's tests.
set(PIPELINE_WARNINGS -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wvla
    -Wformat=2
    -Wno-format-truncation)  # texts are cut on purpose; paths are checked where they are made
if(PIPELINE_WERROR)
  list(APPEND PIPELINE_WARNINGS -Werror)
endif()

# Flags that every target of ours is compiled with.
add_library(pipeline_flags INTERFACE)
target_compile_options(pipeline_flags INTERFACE ${PIPELINE_WARNINGS}
    $<$<COMPILE_LANGUAGE:C>:-Wmissing-prototypes -Wstrict-prototypes>)
target_compile_definitions(pipeline_flags INTERFACE _GNU_SOURCE
    PIPELINE_VERSION="${PROJECT_VERSION}")
target_include_directories(pipeline_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_link_libraries(pipeline_flags INTERFACE Threads::Threads m)
if(PIPELINE_SANITIZE)
  target_compile_options(pipeline_flags INTERFACE -fsanitize=${PIPELINE_SANITIZE}
      -fno-omit-frame-pointer)
  target_link_options(pipeline_flags INTERFACE -fsanitize=${PIPELINE_SANITIZE})
endif()
option(PIPELINE_FUZZ "Build tests/fuzz for libFuzzer, with its sanitizers (clang)" OFF)
if(PIPELINE_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "PIPELINE_FUZZ needs clang: CC=clang CXX=clang++ cmake ...")
  endif()
  target_compile_options(pipeline_flags INTERFACE -fsanitize=fuzzer-no-link,address,undefined)
  target_link_options(pipeline_flags INTERFACE -fsanitize=address,undefined)
endif()

# pipeline_library(name sources... [LINK libraries...])
function(pipeline_library name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_library(${name} STATIC ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC pipeline_flags ${arg_LINK})
endfunction()

# pipeline_program(name sources... [LINK libraries...]): lands in build/bin, is installed.
function(pipeline_program name)
  cmake_parse_arguments(arg "" "" "LINK" ${ARGN})
  add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE pipeline_flags ${arg_LINK})
  set_property(GLOBAL APPEND PROPERTY PIPELINE_PROGRAMS ${name})
endfunction()
