// evaluator/recording.c - observations to channels, channels to actions.
#include "evaluator/recording.h"

#include <assert.h>
#include <string.h>

#define COLUMNS_MAX 9
#define COMPONENTS_MAX 16

// The columns of a source as LIBERO's and robomimic's files hold it; 0: the simulator has none.
static uint32_t source_columns(const char *source, const struct evaluator_observation *seen,
                               double out[static COLUMNS_MAX]) {
    const struct {
        const char *name;
        const double *values[3];
        uint32_t counts[3];
    } sources[] = {
        {"obs/joint_states", {seen->joint_pos}, {7}},
        {"obs/robot0_joint_pos", {seen->joint_pos}, {7}},
        {"obs/robot0_joint_vel", {seen->joint_vel}, {7}},
        {"obs/gripper_states", {seen->gripper_qpos}, {2}},
        {"obs/robot0_gripper_qpos", {seen->gripper_qpos}, {2}},
        {"obs/robot0_gripper_qvel", {seen->gripper_qvel}, {2}},
        {"obs/ee_pos", {seen->eef_pos}, {3}},
        {"obs/ee_ori", {seen->ee_ori}, {3}},
        {"obs/ee_states", {seen->eef_pos, seen->ee_ori}, {3, 3}},
        {"obs/robot0_eef_pos", {seen->eef_pos}, {3}},
        {"obs/robot0_eef_quat", {seen->eef_quat}, {4}},
        {"robot_states", {seen->gripper_qpos, seen->eef_pos, seen->eef_quat}, {2, 3, 4}},
    };
    for (size_t i = 0; i < PROTO_COUNT(sources); i++) {
        if (strcmp(sources[i].name, source) != 0) continue;
        uint32_t columns = 0;
        for (size_t part = 0; part < 3 && sources[i].counts[part] > 0; part++) {
            memcpy(out + columns, sources[i].values[part],
                   sources[i].counts[part] * sizeof(double));
            columns += sources[i].counts[part];
        }
        return columns;
    }
    return 0;
}

static bool channel_state(const struct proto_channel *channel,
                          const struct evaluator_observation *seen, double *value) {
    double columns[COLUMNS_MAX], components[COMPONENTS_MAX];
    const uint32_t count = source_columns(channel->source, seen, columns);
    if (channel->field->components > COMPONENTS_MAX ||
        !proto_field_derive(channel->field, channel->source, columns, count, components))
        return false;
    *value = components[channel->component];
    return true;
}

// Where a channel of an action goes; -1: the controller takes no such thing.
static int action_place(const struct proto_channel *channel) {
    static const struct {
        const char *field;
        int first;
    } places[] = {{"eef_delta_pos", 0}, {"eef_delta_rot", 3}, {"gripper", 6}};
    for (size_t i = 0; i < PROTO_COUNT(places); i++)
        if (strcmp(places[i].field, channel->field->name) == 0)
            return places[i].first + (int)channel->component;
    return -1;
}

bool evaluator_recording_check(const struct proto_codec *codec, struct proto_error *error) {
    // a robot that stands at 0, with a quaternion that is a rotation
    const struct evaluator_observation still = {.eef_quat = {0, 0, 0, 1}};
    char name[PROTO_CHANNEL_NAME_MAX];
    double value;
    for (uint32_t i = 0; i < codec->state_count; i++) {
        if (channel_state(&codec->state[i], &still, &value)) continue;
        proto_channel_name(&codec->state[i], name);
        return proto_fail(
            error, PROTO_DAMAGED,
            "the codec's state channel %s comes from \"%s\", which the simulator does "
            "not have: this policy cannot be rolled out here",
            name, codec->state[i].source);
    }
    for (uint32_t i = 0; i < codec->action_count; i++) {
        if (action_place(&codec->action[i]) >= 0) continue;
        proto_channel_name(&codec->action[i], name);
        return proto_fail(error, PROTO_DAMAGED,
                          "the codec's action channel %s is none that the simulator's controller "
                          "takes (eef_delta_pos, eef_delta_rot, gripper): this policy cannot be "
                          "rolled out here",
                          name);
    }
    return true;
}

void evaluator_recording_state(const struct proto_codec *codec,
                               const struct evaluator_observation *seen, double *state) {
    for (uint32_t i = 0; i < codec->state_count; i++) {
        const bool there = channel_state(&codec->state[i], seen, &state[i]);
        assert(there);
        (void)there;
    }
}

void evaluator_recording_action(const struct proto_codec *codec, const double *x,
                                double action[7]) {
    memset(action, 0, 7 * sizeof *action);
    for (uint32_t i = 0; i < codec->action_count; i++) {
        const int place = action_place(&codec->action[i]);
        assert(place >= 0);
        action[place] = x[i];
    }
}
