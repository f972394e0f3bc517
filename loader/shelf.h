// loader/shelf.h - what a loader keeps open: files and episodes, within a budget of memory.
//
// A file is opened when its first episode is asked for, and compared with the index: one that
// changed is refused by name. An episode holds all its numbers and the way to its frames; the one
// that was not used for longest goes first. Only the episode asked for last is sure to stay.
#ifndef LOADER_SHELF_H
#define LOADER_SHELF_H

#include "loader/episode.h"
#include "loader/frames.h"
#include "proto/index.h"

struct loader_shelf;

// All borrowed until close.
struct loader_shelf_settings {
    const struct proto_index *index;
    const struct proto_codec *codec;
    size_t budget_bytes;  // of numbers and unpacked chunks; the newest episode may exceed it
    uint32_t files_max;   // open at once
};

struct loader_held {
    struct loader_episode episode;
    struct loader_frames cameras[PROTO_CAMERAS_MAX];  // [camera_count] of the codec
    uint64_t *frame_ids;  // [steps, cameras] content hash; 0: not known yet. For the holder to fill
};

PROTO_MUST_CHECK bool loader_shelf_open(const struct loader_shelf_settings *settings,
                                        struct loader_shelf **shelf, struct proto_error *error);
void loader_shelf_close(struct loader_shelf **shelf);  // accepts NULL; leaves NULL behind

// The episode of that row of the index; borrowed until the next take. PROTO_DAMAGED: the file is
// not the one of the index any more, or cannot be read; the shelf is as before.
PROTO_MUST_CHECK bool loader_shelf_take(struct loader_shelf *shelf, uint32_t row,
                                        struct loader_held **held, struct proto_error *error);

struct loader_shelf_counters {
    uint32_t files, episodes;  // open now
    uint64_t bytes;            // of the budget in use
    uint64_t opened;           // episodes read since open
};
struct loader_shelf_counters loader_shelf_counters(const struct loader_shelf *shelf);

#endif
