// trainer/cards.h - kinds of device that a forecast is made for, and the speeds it assumes of them.
// Peaks and sizes are the makers'; what is sustained is an assumption until a device was measured.
#ifndef TRAINER_CARDS_H
#define TRAINER_CARDS_H

#include "model/rdt.h"

#include <stddef.h>

struct trainer_card {
    const char *name;        // "RTX 4090"
    const char *matches[4];  // in the name that the driver gives
    double memory_bytes;     // as sold
    double peak_flops;       // dense bf16 products with f32 sums, per second
    double large_flops;      // sustained in products of at least TRAINER_CARD_LARGE_FLOP
    double small_flops;      // and in smaller ones
    double f32_flops;        // sustained in f32 products
    double bandwidth;        // bytes/s of its memory, sustained
    double host_bandwidth;   // bytes/s to and from the host
    double link_bandwidth;   // bytes/s that one card sends to the other
    const char *link;        // over what
    double launch_s;         // of an operation
    bool whole_passes;       // the speeds of products hold whole passes, all that moves included
};
#define TRAINER_CARD_LARGE_FLOP 64e9

// The table, smallest memory first.
const struct trainer_card *trainer_cards(size_t *count);
// By the driver's name for a device, "NVIDIA H100 80GB HBM3"; NULL: of no known kind.
const struct trainer_card *trainer_card_find(const char *device);

// The processor of this machine as a card, measured for some tenths of a second with the threads of
// one rank: the passes of this very network over a few samples, or, where one sample would take too
// long, a product of its sizes; and plain copies.
PROTO_MUST_CHECK bool trainer_card_measure(const struct model_rdt_sizes *sizes,
                                           double flop_per_sample, uint32_t rank_batch,
                                           uint32_t lang_length, uint32_t threads,
                                           struct trainer_card *card, struct proto_error *error);

#endif
