// loader/episode.c - reads the low-dimensional arrays of a demonstration into channels.
#include "loader/episode.h"

#include "loader/array.h"
#include "loader/channels.h"
#include "loader/hdf5.h"

#include <stdlib.h>

// The attribute num_samples against what is there; files of other recorders may lack it.
static bool num_samples_check(const struct loader_dataset *dataset, const char *group, size_t steps,
                              struct proto_error *error) {
    int64_t declared = 0;
    bool found = false;
    const hid_t demo = H5Gopen2(dataset->file, group, H5P_DEFAULT);
    if (demo < 0) return loader_hdf5_fail(error, "cannot be opened as a group");
    const bool read = loader_hdf5_integer(demo, "num_samples", &declared, &found, error);
    H5Gclose(demo);
    if (!read) return false;
    if (found && (declared < 0 || (uint64_t)declared != steps))
        return proto_fail(error, PROTO_DAMAGED,
                          "attribute num_samples is %lld, the actions have %zu rows: was the "
                          "recording cut off?",
                          (long long)declared, steps);
    return true;
}

bool loader_episode_steps(const struct loader_dataset *dataset, const char *group,
                          const char *action_key, uint32_t *steps, struct proto_error *error) {
    struct loader_array array;
    if (!loader_array_open(dataset, group, action_key, &array, error)) return false;
    const size_t rows = array.shape[0];
    loader_array_close(&array);
    if (rows < LOADER_STEPS_MIN) {
        proto_fail(error, PROTO_DAMAGED,
                   "the episode has %zu steps; a sample needs an observation and the action "
                   "after it, so at least %d: remove it or record it again",
                   rows, LOADER_STEPS_MIN);
        return proto_error_where(error, "%s: %s/%s", dataset->path, group, action_key);
    }
    *steps = (uint32_t)rows;  // at most LOADER_STEPS_MAX
    return num_samples_check(dataset, group, rows, error) ||
           proto_error_where(error, "%s: %s", dataset->path, group);
}

// One field's components of every step, from `source`, into column `first` of out [steps, width].
static bool field_read(const struct loader_dataset *dataset, const char *group,
                       const struct proto_field *field, const char *source, uint32_t first,
                       uint32_t width, uint32_t steps, double *out, struct proto_error *error) {
    const uint32_t columns = proto_field_columns(field, source);
    double *rows = proto_alloc_array((size_t)steps * columns, sizeof *rows, error);
    bool done = rows && loader_array_numbers(dataset, group, source, steps, columns, rows, error);
    for (size_t t = 0; done && t < steps; t++)
        if (!proto_field_derive(field, source, rows + t * columns, columns,
                                out + t * width + first)) {
            proto_fail(error, PROTO_DAMAGED, "%s cannot serve the field %s", source, field->name);
            done = proto_error_where(error, "%s: %s", dataset->path, group);
        }
    free(rows);
    return done;
}

static bool state_read(const struct loader_dataset *dataset, const char *group,
                       const struct proto_codec *codec, struct loader_episode *episode,
                       struct proto_error *error) {
    uint32_t components = 0;
    for (uint32_t i = 0; i < codec->state_count; i += components) {
        const struct proto_channel *channel = &codec->state[i];
        components = channel->field->components;
        // a folder may mix LIBERO's and robomimic's names; one that is nowhere is reported as the
        // one that the codec names
        const char *source =
            loader_channels_source(dataset, group, channel->field, channel->source);
        if (!field_read(dataset, group, channel->field, source ? source : channel->source, i,
                        codec->state_count, episode->steps, episode->state, error))
            return false;
    }
    return true;
}

static bool action_read(const struct loader_dataset *dataset, const char *group,
                        const struct proto_codec *codec, struct loader_episode *episode,
                        struct proto_error *error) {
    const char *source = codec->action[0].source;
    const uint32_t width = codec->action_count;
    double *rows = proto_alloc_array((size_t)episode->steps * width, sizeof *rows, error);
    bool done =
        rows && loader_array_numbers(dataset, group, source, episode->steps, width, rows, error);
    uint32_t components = 0;
    for (uint32_t i = 0; done && i < width; i += components) {
        const struct proto_field *field = codec->action[i].field;
        components = field->components;
        for (size_t t = 0; done && t < episode->steps; t++)
            done = proto_field_derive(field, source, rows + t * width + i, components,
                                      episode->action + t * width + i) ||
                   proto_fail(error, PROTO_DAMAGED, "cannot serve the field %s", field->name);
    }
    free(rows);
    return done;
}

bool loader_episode_read(const struct loader_dataset *dataset, const char *group,
                         const struct proto_codec *codec, struct loader_episode *episode,
                         struct proto_error *error) {
    uint32_t steps = 0;
    if (!loader_episode_steps(dataset, group, codec->action[0].source, &steps, error)) return false;
    const size_t width = codec->state_count + codec->action_count;
    double *numbers = proto_alloc_array(steps * width, sizeof *numbers, error);
    if (!numbers) return false;
    *episode = (struct loader_episode){
        .steps = steps,
        .state = numbers,
        .action = numbers + (size_t)steps * codec->state_count,
        .size_bytes = steps * width * sizeof *numbers,
    };
    if (state_read(dataset, group, codec, episode, error) &&
        action_read(dataset, group, codec, episode, error))
        return true;
    loader_episode_free(episode);
    return false;
}

void loader_episode_free(struct loader_episode *episode) {
    free(episode->state);
    *episode = (struct loader_episode){0};
}
