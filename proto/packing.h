// proto/packing.h - a tensor's bytes on the wire: as they are, or as one lz4 frame.
//
// lz4 pays where the line is slower than the compressor: never between processes of one host
// (measured: it takes a loader to 55 % of its rate), often between hosts. `auto` therefore means
// raw on ipc, inproc and loopback, and elsewhere lz4 when the first batches shrink enough.
#ifndef PROTO_PACKING_H
#define PROTO_PACKING_H

#include "proto/error.h"

#include <stdint.h>

enum proto_packing { PROTO_RAW, PROTO_LZ4 };

#define PROTO_PACK_BYTES_MIN 4096     // smaller tensors always travel raw
#define PROTO_PACK_MEASURE_BATCHES 4  // that `auto` packs before it decides
#define PROTO_PACK_RATIO_MIN 1.25     // unpacked / packed from which lz4 pays on 1 Gbit/s

// Room for the frame of size_bytes; 0 when there is no such frame.
size_t proto_pack_bound(size_t size_bytes);
// One lz4 frame, content size and checksum in it. `out` has proto_pack_bound(size_bytes).
PROTO_MUST_CHECK bool proto_pack(const void *data, size_t size_bytes, void *out, size_t out_bytes,
                                 size_t *packed_bytes, struct proto_error *error);
// Fills `out` with exactly size_bytes or fails with PROTO_DAMAGED: a frame that ends early, goes
// on, is of another size or fails its checksum. Never writes past size_bytes.
PROTO_MUST_CHECK bool proto_unpack(const void *frame, size_t frame_bytes, void *out,
                                   size_t size_bytes, struct proto_error *error);

// The choice for one line of loader.packing.
struct proto_packing_choice {
    bool measuring;
    enum proto_packing packing;  // of the next batch
    uint32_t batches;
    uint64_t unpacked_bytes, packed_bytes;
};
struct proto_packing_choice proto_packing_choose(const char *option, const char *endpoint);
// Tells what a sent batch came to; ends the measuring when enough is known.
void proto_packing_learn(struct proto_packing_choice *choice, uint64_t unpacked_bytes,
                         uint64_t packed_bytes);

#endif
