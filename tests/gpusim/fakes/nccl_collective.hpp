// tests/gpusim/fakes/nccl_collective.hpp - one operation of a communicator as work of a stream: it
// goes on as far as the other ranks let it, and is asked again.
#ifndef TESTS_GPUSIM_FAKES_NCCL_COLLECTIVE_HPP
#define TESTS_GPUSIM_FAKES_NCCL_COLLECTIVE_HPP

#include "gpusim/fakes/nccl_meeting.hpp"

namespace gpusim {

enum class kind { all_reduce, reduce, reduce_scatter, all_gather, broadcast };

struct collective {
    gpusim::meeting *meeting;
    int rank, ranks;
    gpusim::wish wish;
    const unsigned char *send;
    unsigned char *receive;
    uint64_t done_bytes;  // of the data that a rank puts in
    bool is_put;          // this rank's part of the chunk is there
};

size_t type_bytes(ncclDataType_t type);  // 0: there is no such, here
// Bytes that a rank puts in, and that it gets.
size_t put_bytes(const collective &c);
size_t got_bytes(const collective &c);
// Goes on; true: the result is there.
bool go_on(collective *c);

}  // namespace gpusim

#endif
