// loader/channels.c - from the configuration's field names to channels of the codec.
#include "loader/channels.h"

#include "loader/array.h"

#include <stdio.h>
#include <string.h>

const char *loader_channels_source(const struct loader_dataset *dataset, const char *group,
                                   const struct proto_field *field, const char *first) {
    if (first && loader_array_exists(dataset, group, first)) return first;
    for (size_t i = 0; i < PROTO_COUNT(field->sources) && field->sources[i]; i++)
        if (loader_array_exists(dataset, group, field->sources[i])) return field->sources[i];
    return NULL;
}

// "a, b, c" of the fields of one side, or of the sources of one field.
static void names_of_fields(bool action, char *text, size_t size_bytes) {
    size_t count = 0, used = 0;
    const struct proto_field *fields = proto_fields(&count);
    text[0] = '\0';
    for (size_t i = 0; i < count && used < size_bytes; i++)
        if (fields[i].action == action)
            used += (size_t)snprintf(text + used, size_bytes - used, "%s%s", used > 0 ? ", " : "",
                                     fields[i].name);
}

static const struct proto_field *field_named(const char *name, bool action,
                                             struct proto_error *error) {
    const struct proto_field *field = proto_field_find(name, action);
    if (field) return field;
    char known[320];
    names_of_fields(action, known, sizeof known);
    proto_fail(error, PROTO_USAGE, "there is no %s field \"%s\"; known: %s",
               action ? "action" : "state", name, known);
    proto_error_where(error, action ? "data.action" : "data.state");
    return NULL;
}

static bool state_find(const struct proto_list *names, const struct loader_dataset *dataset,
                       const char *group, struct proto_codec *codec, struct proto_error *error) {
    for (size_t i = 0; i < names->count; i++) {
        const struct proto_field *field = field_named(names->items[i], false, error);
        if (!field) return false;
        const char *source = loader_channels_source(dataset, group, field, NULL);
        if (!source) {
            char tried[320] = "";
            size_t used = 0;
            for (size_t k = 0; k < PROTO_COUNT(field->sources) && field->sources[k]; k++)
                used += (size_t)snprintf(tried + used, sizeof tried - used, "%s%s",
                                         used > 0 ? ", " : "", field->sources[k]);
            proto_fail(error, PROTO_DAMAGED,
                       "no dataset serves the state field %s: looked for %s; leave the field out "
                       "of data.state if the robot has none",
                       field->name, tried);
            return proto_error_where(error, "%s: %s", dataset->path, group);
        }
        if (!proto_codec_append(codec, field, source, error))
            return proto_error_where(error, "data.state");
    }
    return true;
}

static bool action_find(const struct proto_config *config, const struct loader_dataset *dataset,
                        const char *group, struct proto_codec *codec, struct proto_error *error) {
    const struct proto_list *names = &config->data.action;
    for (size_t i = 0; i < names->count; i++) {
        const struct proto_field *field = field_named(names->items[i], true, error);
        if (!field) return false;
        if (!proto_codec_append(codec, field, config->data.action_key, error))
            return proto_error_where(error, "data.action");
    }
    struct loader_array array;
    if (!loader_array_open(dataset, group, config->data.action_key, &array, error)) return false;
    const size_t columns = array.rank == 1 ? 1 : array.shape[1];
    const bool fits = array.rank <= 2 && columns == codec->action_count;
    const uint32_t rank = array.rank;
    loader_array_close(&array);
    if (fits) return true;
    if (rank > 2)
        proto_fail(error, PROTO_DAMAGED, "has %u axes; expected [steps, %u]", rank,
                   codec->action_count);
    else
        proto_fail(error, PROTO_DAMAGED,
                   "has %zu columns; the fields of data.action have %u components together",
                   columns, codec->action_count);
    return proto_error_where(error, "%s: %s/%s", dataset->path, group, config->data.action_key);
}

bool loader_channels_find(const struct proto_config *config, const struct loader_dataset *dataset,
                          const char *group, struct proto_codec *codec, struct proto_error *error) {
    return state_find(&config->data.state, dataset, group, codec, error) &&
           action_find(config, dataset, group, codec, error) && proto_codec_layout(codec, error);
}
