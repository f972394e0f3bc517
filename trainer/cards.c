// trainer/cards.c - the table of cards.
#include "trainer/cards.h"

#include "proto/error.h"

#include <string.h>

// Sustained: 85 % of the peak in large products on the smaller cards, 60 % on those of a data
// centre, which are harder to feed; half of that in small products; 90 % of the memory's bandwidth.
static const struct trainer_card cards[] = {
    {.name = "RTX 4090",
     .matches = {"RTX 4090"},
     .memory_bytes = 24e9,
     .peak_flops = 165e12,
     .large_flops = 140e12,
     .small_flops = 70e12,
     .f32_flops = 60e12,
     .bandwidth = 0.9e12,
     .host_bandwidth = 20e9,
     .link_bandwidth = 10e9,
     .link = "the host's memory (no peer access between these cards)",
     .launch_s = 3e-6},
    {.name = "RTX 6000 Ada, L40S",
     .matches = {"RTX 6000 Ada", "L40S", "L40"},
     .memory_bytes = 48e9,
     .peak_flops = 362e12,
     .large_flops = 220e12,
     .small_flops = 110e12,
     .f32_flops = 60e12,
     .bandwidth = 0.78e12,
     .host_bandwidth = 20e9,
     .link_bandwidth = 20e9,
     .link = "PCIe 4",
     .launch_s = 3e-6},
    {.name = "A100 80GB",
     .matches = {"A100"},
     .memory_bytes = 80e9,
     .peak_flops = 312e12,
     .large_flops = 220e12,
     .small_flops = 110e12,
     .f32_flops = 16e12,
     .bandwidth = 1.75e12,
     .host_bandwidth = 20e9,
     .link_bandwidth = 200e9,
     .link = "NVLink 3",
     .launch_s = 3e-6},
    {.name = "H100 80GB",
     .matches = {"H100", "H200", "H800"},
     .memory_bytes = 80e9,
     .peak_flops = 989e12,
     .large_flops = 600e12,
     .small_flops = 300e12,
     .f32_flops = 45e12,
     .bandwidth = 2.8e12,
     .host_bandwidth = 40e9,
     .link_bandwidth = 350e9,
     .link = "NVLink 4",
     .launch_s = 3e-6},
};

const struct trainer_card *trainer_cards(size_t *count) {
    *count = PROTO_COUNT(cards);
    return cards;
}

const struct trainer_card *trainer_card_find(const char *device) {
    for (size_t i = 0; i < PROTO_COUNT(cards); i++)
        for (size_t k = 0; k < PROTO_COUNT(cards[i].matches) && cards[i].matches[k]; k++)
            if (strstr(device, cards[i].matches[k])) return &cards[i];
    return NULL;
}
