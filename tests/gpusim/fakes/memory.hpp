// tests/gpusim/fakes/memory.hpp - memory of the simulated GPUs and pinned memory of the host: whose
// an address is, and who may touch it.
//
// Each allocation of a device lies alone, its end against a page that nobody may touch, and starts
// with all bits set. With GPUSIM_PROTECT it can be touched only while a device works. All of this
// is called with the world's lock held (queue.hpp).
#ifndef TESTS_GPUSIM_FAKES_MEMORY_HPP
#define TESTS_GPUSIM_FAKES_MEMORY_HPP

#include <cstddef>

namespace gpusim {

struct allocation {
    char *begin;
    size_t size_bytes;
    int device;     // whose it is; of pinned memory: which was current
    char *mapping;  // with its guard pages; null: memory of the program that was pinned
    size_t mapping_bytes;
};

// NULL: no room, within GPUSIM_MEMORY or at all.
void *device_alloc(int device, size_t size_bytes);
bool device_free(void *memory);  // false: it is not the begin of an allocation
size_t device_used(int device);
// The allocation that holds this address, or NULL; the same when all of size_bytes lies in it.
const allocation *device_find(const void *address);
const allocation *device_holds(const void *address, size_t size_bytes);

void *pinned_alloc(int device, size_t size_bytes);
bool pinned_free(void *memory);
bool pinned_add(int device, void *memory,
                size_t size_bytes);  // false: some of it is pinned already
bool pinned_remove(void *memory);
const allocation *pinned_find(const void *address);

// While one lives, the memory of this device may be touched.
class device_works {
  public:
    explicit device_works(int device);
    ~device_works();
    device_works(const device_works &) = delete;
    device_works &operator=(const device_works &) = delete;

  private:
    int device_;
};

}  // namespace gpusim

#endif
