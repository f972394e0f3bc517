// loader/frames.h - the images of one camera in one episode, read a frame at a time into memory of
// the caller's.
//
// A contiguous array, as LIBERO writes it, is read from the file directly: one copy from the page
// cache. A chunked one goes through libhdf5, whose chunk cache is sized here, so that a frame is
// not unpacked again for its neighbour as long as the budget given at open allows.
#ifndef LOADER_FRAMES_H
#define LOADER_FRAMES_H

#include "loader/array.h"

struct loader_frames {
    const struct loader_dataset *dataset;  // borrowed; must stay open
    char path[320];                        // "data/demo_3/obs/agentview_rgb"
    struct loader_array array;             // [steps, height, width, 3] u1
    uint32_t steps, height, width;
    size_t frame_bytes;
    size_t cache_bytes;  // what the library may keep for it
};

// The dataset that serves `camera`: "agentview" is obs/agentview_rgb (LIBERO) or
// obs/agentview_image (robomimic); "eye_in_hand" also obs/robot0_eye_in_hand_image. PROTO_DAMAGED
// naming what there is.
PROTO_MUST_CHECK bool loader_frames_find(const struct loader_dataset *dataset, const char *group,
                                         const char *camera, char name[static 128],
                                         struct proto_error *error);

// Opens it; must have `steps` frames. The library keeps at most about cache_bytes of unpacked
// chunks, at least the chunks that one frame lies in.
PROTO_MUST_CHECK bool loader_frames_open(const struct loader_dataset *dataset, const char *group,
                                         const char *camera, uint32_t steps, size_t cache_bytes,
                                         struct loader_frames *frames, struct proto_error *error);
void loader_frames_close(struct loader_frames *frames);

// Frame j (below steps) into out [height, width, 3], as recorded.
PROTO_MUST_CHECK bool loader_frames_read(const struct loader_frames *frames, uint32_t j,
                                         uint8_t *out, struct proto_error *error);

#endif
