// tests/gpusim/fakes/nccl_meeting.hpp - where the processes of a communicator meet: memory without
// a name, whose maker is in the unique id. Nothing is left when all have died. As with the library,
// whoever made the id must live until all have come.
#ifndef TESTS_GPUSIM_FAKES_NCCL_MEETING_HPP
#define TESTS_GPUSIM_FAKES_NCCL_MEETING_HPP

#include <nccl.h>

#include <atomic>
#include <cstdint>

namespace gpusim {

static constexpr int ranks_max = 64;
static constexpr size_t chunk_bytes = size_t(1) << 20;

// What a rank wants done; ranks that want different things never get it done.
struct wish {
    uint64_t number, count;
    int32_t kind, type, op, root;
};
struct seat {
    std::atomic<int32_t> pid;  // 0: nobody has come
    std::atomic<int32_t> device;
    std::atomic<uint64_t> put, taken;  // chunks of data written by this rank, and read by it
    gpusim::wish wish;                 // of the chunk that was put last
};
struct meeting {
    uint64_t nonce;
    std::atomic<int32_t> ranks;  // how many there will be; 0: nobody has come
    seat seats[ranks_max];
    alignas(4096) unsigned char data[ranks_max][chunk_bytes];
};

bool meeting_make(ncclUniqueId *id);
meeting *meeting_enter(const ncclUniqueId &id);  // NULL: its maker has gone
void meeting_leave(meeting *m);
bool is_alive(int32_t pid);

}  // namespace gpusim

#endif
