// loader/verb_data.c - a configuration around a path.
#include "loader/verb_data.h"

#include <stdlib.h>
#include <string.h>

#define OWN 3  // settings before the user's

// data.path="..." as TOML: quotes and backslashes escaped. The caller frees it.
static char *path_setting(const char *path, struct proto_error *error) {
    static const char begin[] = "data.path=\"";
    char *text = proto_alloc(sizeof begin + 2 * strlen(path) + 2, error);
    if (!text) return NULL;
    memcpy(text, begin, sizeof begin - 1);
    char *end = text + sizeof begin - 1;
    for (const char *c = path; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') *end++ = '\\';
        *end++ = *c;
    }
    *end++ = '"';
    *end = '\0';
    return text;
}

bool loader_data_config(const struct loader_arguments *arguments, struct proto_config **config,
                        struct proto_error *error) {
    const char *sets[OWN + LOADER_WORDS_MAX];
    char *path = path_setting(arguments->file, error);
    if (!path) return false;
    sets[0] = path;
    sets[1] = "data.validation_episodes=0";
    sets[2] = "data.alignment=\"after\"";
    for (uint32_t i = 0; i < arguments->set_count; i++) sets[OWN + i] = arguments->sets[i];
    const bool done = proto_config_read(NULL, sets, OWN + arguments->set_count, config, error);
    free(path);
    return done;
}
