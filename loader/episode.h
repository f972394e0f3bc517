// loader/episode.h - the numbers of one demonstration through the codec's channels: state and
// action of every step, as recorded. Its images are loader/frames.h.
#ifndef LOADER_EPISODE_H
#define LOADER_EPISODE_H

#include "loader/dataset.h"
#include "proto/codec.h"

#define LOADER_STEPS_MIN 2  // an observation and the action after it

struct loader_episode {
    uint32_t steps;     // T
    double *state;      // [steps, state_count] recorded units
    double *action;     // [steps, action_count] recorded units; in the same allocation
    size_t size_bytes;  // of that allocation
};

// How long a demonstration is: the rows of its actions, which must be what its attribute
// num_samples says, if it has one. PROTO_DAMAGED when it has fewer than LOADER_STEPS_MIN.
PROTO_MUST_CHECK bool loader_episode_steps(const struct loader_dataset *dataset, const char *group,
                                           const char *action_key, uint32_t *steps,
                                           struct proto_error *error);

// Reads it; the caller frees. Every array is checked against the length and the channels, every
// number must be finite. PROTO_DAMAGED with file, demonstration and dataset in `where`.
PROTO_MUST_CHECK bool loader_episode_read(const struct loader_dataset *dataset, const char *group,
                                          const struct proto_codec *codec,
                                          struct loader_episode *episode,
                                          struct proto_error *error);
void loader_episode_free(struct loader_episode *episode);

#endif
