// loader/numbers.h - the low-dimensional numbers of one episode, as recorded: what statistics,
// alignment and baselines are computed from. Images are not among them.
#ifndef LOADER_NUMBERS_H
#define LOADER_NUMBERS_H

#include <stdint.h>

// Borrowed from whoever read the file. Channels are those of the codec, in its order.
struct loader_episode_numbers {
    const double *state;   // [steps, state_count] recorded units
    const double *action;  // [steps, action_count] recorded units
    uint32_t steps;        // T
    uint32_t task;         // row of index.json
};

#endif
