// proto/codec.h - the one mapping between a robot's own numbers and the network's vector, used by
// loader and evaluator alike and stored in every checkpoint (codec.json).
//
// Names of fields and their places in RDT's 128-slot vector are the rows of proto_fields. A channel
// is one number of a field. Per task, a channel has a row {mean, scale}: encoded = (x - mean) /
// scale, decoded = encoded * scale + mean. Encoding never clips; decoded actions are clipped to the
// controller's range. Constant channels (max - min <= 1e-6) are scaled by 1 and reported.
#ifndef PROTO_CODEC_H
#define PROTO_CODEC_H

#include "proto/error.h"

#include <stdint.h>

#define PROTO_UNIFIED_WIDTH 128
#define PROTO_CHANNELS_MAX 64  // of state, and of action
#define PROTO_CAMERAS_MAX 4
#define PROTO_HISTORY_MAX 4
#define PROTO_CHUNK_MAX 256
#define PROTO_IMAGE_SIDE_MAX 4096
#define PROTO_UNIT_COMMAND "command"  // a controller's native units: commands lie in [-1, 1]

enum proto_channel_kind { PROTO_CHANNEL_CONTINUOUS, PROTO_CHANNEL_GRIPPER };

// One named field of a robot: "joint_pos" is 7 numbers in slots 0-6, rad, absolute.
struct proto_field {
    const char *name;
    bool action;          // an action field; else a state field
    uint32_t first_slot;  // unified vector
    uint32_t components;
    const char *unit;
    bool delta;
    enum proto_channel_kind kind;
    const char
        *sources[4];  // datasets below the episode that can serve it, best first; a quat or
                      // axis-angle source of a rot6d field is converted by proto_field_derive
};
const struct proto_field *proto_fields(size_t *count);
const struct proto_field *proto_field_find(const char *name, bool action);

// Turns a source's numbers (`in`, `columns` of them) into the field's components. Quaternions are
// xyzw, ee_ori is axis-angle (libero.md 8), 6-D rotation is column 1 then column 2 of R.
// False: this source cannot serve the field with that many columns.
bool proto_field_derive(const struct proto_field *field, const char *source, const double *in,
                        uint32_t columns, double *out);

// What a recording of a robot is known to hold: "obs/ee_states" is 6 columns, of which eef_pos
// takes the first 3. 0: this source cannot serve the field. An action field takes its columns as
// they are from whatever dataset the configuration names.
uint32_t proto_field_columns(const struct proto_field *field, const char *source);

struct proto_statistics {
    double mean, std, min, max, q01, q99;  // population std; quantiles linearly interpolated
    uint64_t count;
};

struct proto_channel {
    const struct proto_field *field;
    uint32_t component;
    char source[64];  // dataset it is read from, "obs/joint_states"
    uint32_t slot;    // in the 128
    uint32_t column;  // in the network's vector: slot (unified) or running number (compact)
};

// A task's rows. The arrays have state_count and action_count entries.
struct proto_codec_row {
    double mean, scale;
    bool constant;
    struct proto_statistics statistics;  // in the recorded unit
};
struct proto_codec_task {
    char *name, *instruction;
    struct proto_codec_row state[PROTO_CHANNELS_MAX], action[PROTO_CHANNELS_MAX];
};

enum proto_transform { PROTO_ZSCORE, PROTO_Q01Q99, PROTO_IDENTITY };

struct proto_codec {
    enum proto_transform transform;
    bool compact;
    uint32_t width;  // of the network's state and action vector: 128, or max(state, action) count
    uint32_t state_count, action_count;
    struct proto_channel state[PROTO_CHANNELS_MAX], action[PROTO_CHANNELS_MAX];
    struct proto_codec_task *tasks;
    uint32_t task_count;
    double action_min, action_max;  // decoded actions are clipped to it: -1, 1
    double control_freq_hz;
    uint32_t action_stride;  // file steps per action step: 1
    bool after;              // alignment of the data it was made from
    uint32_t chunk, history;
    char cameras[PROTO_CAMERAS_MAX][64];
    uint32_t camera_count;  // cameras with data
    uint32_t image_height, image_width;
    char image_orientation[16];      // "opengl": row 0 is the bottom, as LIBERO stores it
    float image_mean[3], image_std;  // of training frames, 0..1 RGB: for the pixels encoder
    uint64_t hash;                   // of codec.json's content; set by read and write
};

// "joint_pos.3"; a field of one component is just its name.
#define PROTO_CHANNEL_NAME_MAX 80
void proto_channel_name(const struct proto_channel *channel,
                        char name[static PROTO_CHANNEL_NAME_MAX]);

// Building one: append fields in the configuration's order, read from `source`, then lay out, which
// gives every channel its column and the codec its width (codec->compact must be set). PROTO_USAGE:
// too many channels, or two fields want the same slot ("gripper_opening and gripper_qpos both
// ...").
PROTO_MUST_CHECK bool proto_codec_append(struct proto_codec *codec, const struct proto_field *field,
                                         const char *source, struct proto_error *error);
PROTO_MUST_CHECK bool proto_codec_layout(struct proto_codec *codec, struct proto_error *error);

// Everything that must hold of a whole codec: what read demands of a file and write of its caller.
// PROTO_DAMAGED naming the place.
PROTO_MUST_CHECK bool proto_codec_check(const struct proto_codec *codec, struct proto_error *error);

PROTO_MUST_CHECK bool proto_codec_read(const char *path, struct proto_codec **codec,
                                       struct proto_error *error);
PROTO_MUST_CHECK bool proto_codec_write(const char *path, struct proto_codec *codec,
                                        struct proto_error *error);
void proto_codec_free(struct proto_codec **codec);
uint64_t proto_codec_hash(const struct proto_codec *codec);

// Fills mean, scale and constant of a row from its statistics.
void proto_codec_row_fit(struct proto_codec_row *row, const struct proto_channel *channel,
                         enum proto_transform transform);

// x [state_count] in recorded units -> y [width], zero in unused columns; mask [width] 1 where
// used, or NULL.
void proto_codec_encode_state(const struct proto_codec *codec, uint32_t task, const double *x,
                              float *y, float *mask);
void proto_codec_encode_action(const struct proto_codec *codec, uint32_t task, const double *x,
                               float *y, float *mask);
// y [width] -> x [action_count] in recorded units. Channels in controller units
// (PROTO_UNIT_COMMAND) are clipped to action_min .. action_max; absolute targets in rad or m are
// not.
void proto_codec_decode_action(const struct proto_codec *codec, uint32_t task, const float *y,
                               double *x);
// For round-trip proofs: not clipped.
void proto_codec_decode_state(const struct proto_codec *codec, uint32_t task, const float *y,
                              double *x);
// The action of no motion in recorded units, given the last real one: 0 in delta channels, `last`
// in absolute and gripper channels. Also pads the end of an episode.
void proto_codec_rest_action(const struct proto_codec *codec, const double *last, double *x);

// Spreads that should make a person look, one line each, for `check`: continuous channels of one
// unit, of one task, whose std differ by more than 10x, and a channel whose std differs by more
// than 10x between tasks (metres in one file, centimetres in the other). Returns the number of
// lines.
uint32_t proto_codec_spread_report(const struct proto_codec *codec,
                                   void (*line)(void *context, const char *text), void *context);

#endif
