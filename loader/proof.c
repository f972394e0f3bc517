// loader/proof.c - there and back again, for every recorded number.
#include "loader/proof.h"

#include <math.h>
#include <string.h>

static double bound_of(const struct proto_codec_row *row, double x) {
    return 0x1p-24 * fabs(x - row->mean) + 0x1p-50 * (fabs(x) + fabs(row->mean)) +
           0x1p-149 * row->scale;
}

static void compare(struct loader_proof_channel *channel, const struct proto_codec_row *row,
                    double x, double back) {
    const double error = fabs(back - x), bound = bound_of(row, x);
    if (error >= channel->error) {
        channel->error = error;
        channel->bound = bound;
    }
    // bound is 0 only for x = mean = 0, which must come back as it is
    const double excess = bound > 0 ? error / bound : error > 0 ? INFINITY : 0;
    if (!(excess <= channel->excess)) channel->excess = excess;
}

// What the robot can be told: commands beyond the controller's range are clipped by it too.
static double commanded(const struct proto_codec *codec, const struct proto_channel *channel,
                        double x) {
    if (strcmp(channel->field->unit, PROTO_UNIT_COMMAND) != 0) return x;
    return fmin(fmax(x, codec->action_min), codec->action_max);
}

static void step_prove(const struct proto_codec *codec, uint32_t task, const double *state,
                       const double *action, struct loader_proof *proof) {
    float y[PROTO_UNIFIED_WIDTH], mask[PROTO_UNIFIED_WIDTH];
    double back[PROTO_CHANNELS_MAX];
    const struct proto_codec_task *rows = &codec->tasks[task];
    proto_codec_encode_state(codec, task, state, y, mask);
    proto_codec_decode_state(codec, task, y, back);
    for (uint32_t i = 0; i < codec->state_count; i++)
        compare(&proof->state[i], &rows->state[i], state[i], back[i]);
    proto_codec_encode_action(codec, task, action, y, mask);
    proto_codec_decode_action(codec, task, y, back);
    for (uint32_t i = 0; i < codec->action_count; i++) {
        const double x = commanded(codec, &codec->action[i], action[i]);
        if (x != action[i]) proof->action[i].clipped++;
        compare(&proof->action[i], &rows->action[i], x, back[i]);
    }
    proof->steps++;
}

static bool side_holds(const struct proto_channel *channels, uint32_t count,
                       const struct loader_proof_channel *proof, const char *side,
                       struct proto_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        if (proof[i].excess <= 1) continue;
        char name[PROTO_CHANNEL_NAME_MAX];
        proto_channel_name(&channels[i], name);
        return proto_fail(error, PROTO_REFUSED,
                          "%s channel %s does not survive the codec: decode(encode(x)) is off by "
                          "%g, f32 allows %g",
                          side, name, proof[i].error, proof[i].bound);
    }
    return true;
}

bool loader_proof_run(const struct loader_survey *survey, struct loader_proof *proof,
                      struct proto_error *error) {
    const struct proto_codec *codec = survey->codec;
    *proof = (struct loader_proof){0};
    for (uint32_t i = 0; i < survey->index->episode_count; i++) {
        const struct loader_episode_numbers *numbers = &survey->numbers[i];
        for (size_t t = 0; t < numbers->steps; t++)
            step_prove(codec, numbers->task, numbers->state + t * codec->state_count,
                       numbers->action + t * codec->action_count, proof);
    }
    return side_holds(codec->state, codec->state_count, proof->state, "state", error) &&
           side_holds(codec->action, codec->action_count, proof->action, "action", error);
}
