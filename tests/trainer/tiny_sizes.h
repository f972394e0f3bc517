// tests/trainer/tiny_sizes.h - the network that the smallest preset comes to on two cameras of 64
// patches: what forecasts and measurements are tried on.
#ifndef TESTS_TRAINER_TINY_SIZES_H
#define TESTS_TRAINER_TINY_SIZES_H

#include "model/rdt.h"

static inline struct model_rdt_sizes tiny_sizes(uint32_t depth) {
    return (struct model_rdt_sizes){.hidden = 128,
                                    .depth = depth,
                                    .heads = 4,
                                    .chunk = 8,
                                    .width = 15,
                                    .lang_dim = 64,
                                    .img_dim = 210,
                                    .lang_rows = 32,
                                    .img_history = 1,
                                    .img_cameras = 2,
                                    .img_patches = 64,
                                    .epsilon = 1e-6f};
}

#endif
