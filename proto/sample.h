// proto/sample.h - what the network sees, built by one function from a sequence of observations:
// the loader feeds it from a file, the evaluator from the simulator.
//
// A window never crosses an episode. Missing history is masked (image_mask 0; the network then sees
// the background, rdt.md 3.4), so the sample at step 0 has the shape of every other.
#ifndef PROTO_SAMPLE_H
#define PROTO_SAMPLE_H

#include "proto/codec.h"

// One moment as a robot records it. Borrowed.
struct proto_observation {
    const double *state;                       // [state_count] recorded units
    const uint8_t *images[PROTO_CAMERAS_MAX];  // [height, width, 3] RGB as recorded, codec's order
    uint64_t frame_ids[PROTO_CAMERAS_MAX];     // content hash of each image; 0: unknown
};

// A batch's tensors, the very ones that travel (docs/wire.md). One allocation, owned by the batch.
struct proto_batch {
    uint32_t batch, width, chunk, history, cameras, height, width_px;
    float *state, *state_mask, *action_mask;  // [B, width]
    float *action;                            // [B, chunk, width]
    uint8_t *images;                          // [B, history, cameras, height, width_px, 3]
    uint8_t *image_mask;                      // [B, history, cameras] 1: seen
    float *ctrl_freq;                         // [B] Hz; 0: dropped
    uint32_t *task;                           // [B] row of index.json
    uint8_t *language_kept;                   // [B] 0: dropped
    uint32_t *steps_valid;                    // [B] real actions of the chunk, the rest is padding
    uint64_t *frame_ids;                      // [B, history, cameras]
    uint64_t *samples;                        // [B] sample ids
};
// Tensors begin at multiples of 64 bytes and are zero. PROTO_DAMAGED: batch, chunk, width or image
// sizes out of range.
PROTO_MUST_CHECK bool proto_batch_new(const struct proto_codec *codec, uint32_t batch,
                                      struct proto_batch **out, struct proto_error *error);
void proto_batch_free(struct proto_batch **batch);

// Fills row `row` of the batch. history[0] is the oldest of codec->history moments, NULL: before
// the episode began; the last is the current one and never NULL. actions [action_rows,
// action_count] are those from the current moment on (recorded units, may be 0 rows when there is
// nothing to learn, as in a rollout); past their end the chunk is padded with
// proto_codec_rest_action (0 rows: zeros). Sets every tensor's row but `samples`, which is the
// caller's: ctrl_freq to the codec's, language_kept to 1, frame_ids to the observation's. An image
// that is NULL, or of a moment that is, has image_mask 0, frame id 0 and the background's pixels.
// An image that already lies in its place of the batch is left there.
// PROTO_DAMAGED: a state or action is not finite; PROTO_FAILED: task is none of the codec's.
#define PROTO_BACKGROUND 127  // int(0.5 * 255), the constant colour of official RDT
PROTO_MUST_CHECK
bool proto_sample_build(const struct proto_codec *codec, uint32_t task,
                        const struct proto_observation *const *history, const double *actions,
                        uint32_t action_rows, struct proto_batch *batch, uint32_t row,
                        struct proto_error *error);

// The error of one predicted chunk: mean over its first steps_valid steps and over the codec's
// action channels of (predicted - target)^2, both [chunk, width] and encoded; columns that no
// action uses do not count. A set's error is the mean over its samples, each counting the same.
// NaN for steps_valid 0, a sample that has nothing to say.
double proto_action_error(const struct proto_codec *codec, const float *predicted,
                          const float *target, uint32_t steps_valid);

#endif
