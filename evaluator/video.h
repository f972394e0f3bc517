// evaluator/video.h - episodes as videos for people: what the exterior camera sees, with the
// instruction, the step and the outcome drawn on the frame; H.264 in MP4, playable in a browser.
//
// Files are <folder>/<task>-<row>-<pilot>-<success|failure>.mp4; they have another name until they
// are whole.
#ifndef EVALUATOR_VIDEO_H
#define EVALUATOR_VIDEO_H

#include "evaluator/evaluation.h"

struct evaluator_video;
struct evaluator_video_settings {
    const char *folder;  // made when it is not there
    const char *render;  // of evaluator_camera_open
    uint32_t episodes;   // of the policy, from row_first on, of each task
    uint32_t row_first;
    // Where it is set, a failure (a full disk) ends the videos and not the evaluation: it is told,
    // once, and no more frames are drawn.
    void (*dropped)(void *context, const struct proto_error *error);
    void *context;
};
// PROTO_MISSING: this build has no encoder.
PROTO_MUST_CHECK bool evaluator_video_open(const struct evaluator_video_settings *settings,
                                           struct evaluator_video **video,
                                           struct proto_error *error);
void evaluator_video_close(struct evaluator_video **video);  // accepts NULL
struct evaluator_cinema evaluator_video_cinema(struct evaluator_video *video);

#endif
