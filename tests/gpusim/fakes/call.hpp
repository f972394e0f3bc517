// tests/gpusim/fakes/call.hpp - what every function of the interfaces does first: is there a
// driver, has the program forked, was this very call told to fail, is the device lost.
#ifndef TESTS_GPUSIM_FAKES_CALL_HPP
#define TESTS_GPUSIM_FAKES_CALL_HPP

#include "gpusim/fakes/queue.hpp"
#include "gpusim/fakes/settings.hpp"

namespace gpusim {

int current_device();      // of this thread, as the program counts
int physical(int device);  // its number in the machine
bool device_exists(int device);

// Why nothing can be called: no driver, no device, a fork; cudaSuccess when there is no reason.
cudaError_t obstacle();
// The fault planned for this call; an error that a device does not survive is remembered.
cudaError_t fault_of_call(const char *function);
cudaError_t remember(cudaError_t error);  // for cudaGetLastError; returns it

// Runs `body(lock)` with the world's lock held, unless something stands against it.
template <typename Body> cudaError_t called(const char *function, Body body) {
    if (in_host_function()) return remember(cudaErrorNotPermitted);
    world_lock lock = take_world();
    cudaError_t error = obstacle();
    if (error == cudaSuccess) error = fault_of_call(function);
    if (error == cudaSuccess) error = device_lost(current_device());
    if (error == cudaSuccess) error = body(lock);
    // what was waited for may have lost the device
    if (error == cudaSuccess) error = device_lost(current_device());
    return remember(error);
}

}  // namespace gpusim

#endif
