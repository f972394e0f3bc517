// proto/config_options.c - the table of options as data that code can walk.
#include "proto/config.h"

#include <string.h>

#define OPTION_ROW(section_, key_, type_, default_, min_, max_, choices_, unit_, resume_, help_)   \
    {.section = #section_,                                                                         \
     .key = #key_,                                                                                 \
     .type = PROTO_OPTION_##type_,                                                                 \
     .default_value = default_,                                                                    \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .choices = choices_,                                                                          \
     .unit = unit_,                                                                                \
     .resume = PROTO_RESUME_##resume_,                                                             \
     .help = help_,                                                                                \
     .offset = offsetof(struct proto_config, section_.key_)},

static const struct proto_option options[] = {PROTO_OPTIONS(OPTION_ROW)};
_Static_assert(PROTO_COUNT(options) == PROTO_OPTION_COUNT, "each row is counted once");

const struct proto_option *proto_options(size_t *count) {
    *count = PROTO_COUNT(options);
    return options;
}

const struct proto_option *proto_option_find(const char *section, const char *key) {
    for (size_t i = 0; i < PROTO_COUNT(options); i++)
        if (strcmp(options[i].section, section) == 0 && strcmp(options[i].key, key) == 0)
            return &options[i];
    return NULL;
}

const char *proto_option_type_name(enum proto_option_type type) {
    static const char *const names[] = {"an integer", "a real number", "a boolean", "a text",
                                        "a text",     "a list",        "a table"};
    return names[type];
}

bool proto_option_choice(const struct proto_option *option, const char *value) {
    const size_t value_bytes = strlen(value);
    const char *choice = option->choices;
    for (;;) {
        const size_t choice_bytes = strcspn(choice, "|");
        if (choice_bytes == value_bytes && memcmp(choice, value, value_bytes) == 0) return true;
        if (choice[choice_bytes] == '\0') return false;
        choice += choice_bytes + 1;
    }
}
