# Every library the build uses, each as an imported target whose headers count as system headers,
# so that our warning flags stop at them. scripts/setup.sh installs what is named here.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(zmq REQUIRED IMPORTED_TARGET libzmq)
# libzmq names headers of its own dependencies with -isystem, which CMake takes for folders in its first
# run and for flags in later ones: every command line would change, and everything be built again. zmq.h
# needs none of them.
get_target_property(zmq_folders PkgConfig::zmq INTERFACE_INCLUDE_DIRECTORIES)
if(zmq_folders)
  list(REMOVE_ITEM zmq_folders ${zmq_CFLAGS_OTHER} /usr/include/mit-krb5)
  set_target_properties(PkgConfig::zmq PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${zmq_folders}")
endif()
set_target_properties(PkgConfig::zmq PROPERTIES INTERFACE_COMPILE_OPTIONS "")
pkg_search_module(msgpack REQUIRED IMPORTED_TARGET msgpack-c msgpack)  # msgpack-c since its 6.0
pkg_check_modules(lz4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(hdf5 REQUIRED IMPORTED_TARGET hdf5)
pkg_check_modules(openblas REQUIRED IMPORTED_TARGET openblas)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
if(BUILD_TESTING OR NOT DEFINED BUILD_TESTING)
  pkg_check_modules(cmocka REQUIRED IMPORTED_TARGET cmocka)
endif()

# The simulator: libmujoco and its headers come from the user cache that scripts/fetch_simulator
# fills; only the versioned library name is in there, so it is imported by its full path.
pkg_check_modules(libxml2 REQUIRED IMPORTED_TARGET libxml-2.0)
pkg_check_modules(libpng REQUIRED IMPORTED_TARGET libpng)
# Video of episodes; Debian's build of these is under the GPL, and so is a binary that is given away
# with them.
pkg_check_modules(ffmpeg REQUIRED IMPORTED_TARGET libavformat libavcodec libswscale libavutil)
if(DEFINED ENV{XDG_CACHE_HOME} AND NOT "$ENV{XDG_CACHE_HOME}" STREQUAL "")
  set(PIPELINE_CACHE $ENV{XDG_CACHE_HOME}/pipeline)
else()
  set(PIPELINE_CACHE $ENV{HOME}/.cache/pipeline)
endif()
set(MUJOCO_ROOT ${PIPELINE_CACHE}/mujoco-3.3.2/mujoco CACHE PATH "libmujoco 3.3.2 and its headers")
if(EXISTS ${MUJOCO_ROOT}/libmujoco.so.3.3.2)
  add_library(mujoco SHARED IMPORTED)
  set_target_properties(mujoco PROPERTIES IMPORTED_LOCATION ${MUJOCO_ROOT}/libmujoco.so.3.3.2
      IMPORTED_SONAME libmujoco.so.3.3.2)
  target_include_directories(mujoco SYSTEM INTERFACE ${MUJOCO_ROOT}/include)
else()
  message(STATUS "no libmujoco in ${MUJOCO_ROOT}: the evaluator is not built (scripts/setup.sh fetches it)")
endif()
