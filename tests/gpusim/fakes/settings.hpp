// tests/gpusim/fakes/settings.hpp - what the environment says of the simulated machine. A value
// that cannot be read ends the program as a broken rule does: a test that misspells one must not
// pass.
//
//     GPUSIM_DEVICES=2         GPUs of the machine; 1 without it. 0: none, and no driver unless
//                              GPUSIM_DRIVER is set. CUDA_VISIBLE_DEVICES chooses among them
//     GPUSIM_DRIVER=12080      version of the driver; 0: there is none
//     GPUSIM_MEMORY=268435456  bytes of each GPU; 8 GiB without it
//     GPUSIM_DELAY=7           work of streams runs late, in a legal order drawn from this seed;
//                              0 or unset: as soon as it may
//     GPUSIM_PROTECT=1         host code that follows a device pointer ends the program by name
//     GPUSIM_NCCL_REMOTE=1     a peer that has died is reported, as ncclRemoteError; without it
//                              collectives wait for it until they are aborted
//     GPUSIM_FAULT=cudaMalloc@1:3:2,ncclAllReduce:5:1
//                              the 3rd cudaMalloc with device 1 current returns error 2; the 5th
//                              ncclAllReduce returns 1. A launch of a kernel is cudaLaunchKernel
//     GPUSIM_FAULT_ONCE=FILE   a fault happens only to the process that makes this file, so that
//                              what is started again goes well
#ifndef TESTS_GPUSIM_FAKES_SETTINGS_HPP
#define TESTS_GPUSIM_FAKES_SETTINGS_HPP

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gpusim {

struct settings {
    std::vector<int> devices;  // that the program sees, by their number in the machine
    int driver_version;
    size_t memory_bytes;
    uint64_t delay;
    bool protect, remote_errors;
};
const settings &machine();

// The error that this call of `function` must return with `device` current; 0: none.
int planned_fault(const char *function, int device);

}  // namespace gpusim

#endif
