// trainer/cards.h - kinds of device that a forecast is made for, and the speeds it assumes of them.
// Peaks and sizes are the makers'; what is sustained is an assumption until a device was measured.
#ifndef TRAINER_CARDS_H
#define TRAINER_CARDS_H

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
};
#define TRAINER_CARD_LARGE_FLOP 64e9

// The table, smallest memory first.
const struct trainer_card *trainer_cards(size_t *count);
// By the driver's name for a device, "NVIDIA H100 80GB HBM3"; NULL: of no known kind.
const struct trainer_card *trainer_card_find(const char *device);

#endif
