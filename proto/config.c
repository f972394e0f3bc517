// proto/config.c - reads a configuration: the table's defaults, then the file, then each --set, all
// three through the same TOML parser and the same checks.
#include "proto/config.h"

#include "proto/config_check.h"
#include "proto/config_value.h"
#include "proto/files.h"
#include "proto/nearest.h"
#include "proto/toml_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Where each option's value was written, by row of the table.
struct proto_config_places {
    char *path;  // of the file; NULL without one
    struct {
        bool set;               // by --set, which wins over the file
        uint32_t line, column;  // 0: the default
    } at[PROTO_OPTION_COUNT];
};

// What is being applied: a place for errors.
struct source {
    const char *path;  // file; NULL: a --set or the defaults
    bool set;
};

static size_t row_of(const struct proto_option *option) {
    size_t count;
    return (size_t)(option - proto_options(&count));
}

bool proto_config_place(const struct proto_config *config, const char *section, const char *key,
                        struct proto_error *error) {
    const struct proto_config_places *places = config->places;
    const struct proto_option *option = proto_option_find(section, key);
    if (!places || !option) return proto_error_where(error, "%s.%s", section, key);
    const size_t row = row_of(option);
    if (places->at[row].set) return proto_error_where(error, "--set %s.%s", section, key);
    if (places->at[row].line == 0) return proto_error_where(error, "%s.%s (default)", section, key);
    return proto_error_where(error, "%s:%u:%u: %s.%s", places->path, places->at[row].line,
                             places->at[row].column, section, key);
}

// ---- unknown names -----------------------------------------------------------------------------

// "[data] or [run]": the sections that have this key. False when none has.
static bool sections_with(const char *key, char text[static 128]) {
    size_t count, used = 0;
    const struct proto_option *options = proto_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(options[i].key, key) != 0 || used + 32 > 128) continue;
        used += (size_t)snprintf(text + used, 128 - used, "%s[%s]", used > 0 ? " or " : "",
                                 options[i].section);
    }
    return used > 0;
}

static bool unknown_section(const char *section, struct proto_error *error) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    struct proto_nearest nearest = {.wrong = section};
    char known[256];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp(options[i - 1].section, options[i].section) == 0) continue;
        proto_nearest_offer(&nearest, options[i].section);
        if (used + 32 < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                                     options[i].section);
    }
    char belongs[128];
    if (sections_with(section, belongs))
        return proto_fail(error, PROTO_USAGE, "unknown section; as a key it belongs to %s",
                          belongs);
    if (nearest.best)
        return proto_fail(error, PROTO_USAGE, "unknown section; nearest known: [%s]", nearest.best);
    return proto_fail(error, PROTO_USAGE, "unknown section; known are %s", known);
}

static bool unknown_key(const char *section, const char *key, struct proto_error *error) {
    char belongs[128];
    if (sections_with(key, belongs))
        return proto_fail(error, PROTO_USAGE, "unknown key; it belongs to %s", belongs);
    size_t count;
    const struct proto_option *options = proto_options(&count);
    struct proto_nearest here = {.wrong = key}, anywhere = {.wrong = key};
    const char *elsewhere = "";
    for (size_t i = 0; i < count; i++) {
        const char *before = anywhere.best;
        proto_nearest_offer(&anywhere, options[i].key);
        if (anywhere.best != before) elsewhere = options[i].section;
        if (strcmp(options[i].section, section) == 0) proto_nearest_offer(&here, options[i].key);
    }
    if (here.best)
        return proto_fail(error, PROTO_USAGE, "unknown key; nearest known: %s.%s", section,
                          here.best);
    if (anywhere.best)
        return proto_fail(error, PROTO_USAGE, "unknown key; nearest known: %s.%s", elsewhere,
                          anywhere.best);
    char known[512];
    size_t used = 0;
    known[0] = '\0';
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i].section, section) == 0 && used + 40 < sizeof known)
            used += (size_t)snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                                     options[i].key);
    return proto_fail(error, PROTO_USAGE, "unknown key; [%s] has %s", section, known);
}

static bool section_known(const char *section) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i].section, section) == 0) return true;
    return false;
}

// ---- a document --------------------------------------------------------------------------------

static void note_place(struct proto_config *config, const struct proto_option *option,
                       const struct source *source, const struct proto_toml_node *node) {
    if (!source->path && !source->set) return;  // the defaults
    const size_t row = row_of(option);
    config->places->at[row].set = source->set;
    config->places->at[row].line = node->line;
    config->places->at[row].column = node->column;
}

// One name and value directly below the document: it must be a known section's table.
static bool check_section(const struct proto_toml_node *node, struct proto_error *error) {
    if (!section_known(node->key)) return unknown_section(node->key, error);
    if (node->type == PROTO_TOML_TABLE) return true;
    return proto_fail(error, PROTO_USAGE, "found %s, expected the section [%s]",
                      proto_toml_type_name(node->type), node->key);
}

static bool apply_node(struct proto_config *config, const struct source *source,
                       const struct proto_toml *toml, uint32_t number, struct proto_error *error) {
    const struct proto_toml_node *node = &toml->nodes[number];
    const char *section = toml->nodes[node->parent].key;
    if (node->parent == 0) {
        if (check_section(node, error)) return true;
        return proto_error_where(error, "%s:%u:%u: %s", source->path, node->line, node->column,
                                 node->key);
    }
    const struct proto_option *option = proto_option_find(section, node->key);
    const bool done = option ? proto_value_take(config, option, toml, number, error)
                             : unknown_key(section, node->key, error);
    if (!done)
        return proto_error_where(error, "%s:%u:%u: %s.%s", source->path, node->line, node->column,
                                 section, node->key);
    note_place(config, option, source, node);
    return true;
}

static bool apply_document(struct proto_config *config, const struct source *source,
                           const struct proto_toml *toml, struct proto_error *error) {
    for (uint32_t i = 1; i < toml->count; i++) {
        const uint32_t parent = toml->nodes[i].parent;
        const bool deeper = parent != 0 && toml->nodes[parent].parent != 0;
        if (!deeper && !apply_node(config, source, toml, i, error)) return false;
    }
    return true;
}

// Each default is one line of TOML, so that defaults and files cannot differ in meaning.
static bool apply_defaults(struct proto_config *config, struct proto_error *error) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    for (size_t i = 0; i < count; i++) {
        struct proto_toml *toml = NULL;
        struct proto_toml_place at;
        char *text = proto_format(error, "%s = %s", options[i].key, options[i].default_value);
        bool done = text && proto_toml_parse(text, strlen(text), &toml, &at, error);
        done = done && proto_value_take(config, &options[i], toml, 1, error);
        proto_toml_free(&toml);
        free(text);
        if (!done)
            return proto_error_where(error, "default of %s.%s", options[i].section, options[i].key);
    }
    return true;
}

static bool apply_file(struct proto_config *config, const char *path, struct proto_error *error) {
    char *text = NULL;
    size_t size_bytes = 0;
    struct proto_toml *toml = NULL;
    bool done = false;
    const struct source source = {.path = path};
    config->places->path = proto_format(error, "%s", path);
    if (!config->places->path) return false;
    if (!proto_file_read(path, PROTO_TOML_BYTES_MAX, PROTO_USAGE, &text, &size_bytes, error)) {
        // too large is wrong input of the same kind as too small
        if (error->status == PROTO_DAMAGED) error->status = PROTO_USAGE;
        return false;
    }
    struct proto_toml_place at;
    if (proto_toml_parse(text, size_bytes, &toml, &at, error))
        done = apply_document(config, &source, toml, error);
    else if (at.line > 0)
        proto_error_where(error, "%s:%u:%u", path, at.line, at.column);
    else
        proto_error_where(error, "%s", path);
    proto_toml_free(&toml);
    free(text);
    return done;
}

// ---- --set -------------------------------------------------------------------------------------

#define SET_NAME_MAX 64

// A "section.key=value" or "section.key.name=value" taken apart; the value is borrowed.
struct set {
    char section[SET_NAME_MAX], key[SET_NAME_MAX], name[SET_NAME_MAX];
    const char *value;
};

// Copies text[0..length) when it fits.
static bool name_copy(char name[static SET_NAME_MAX], const char *text, size_t length) {
    if (length >= SET_NAME_MAX) return false;
    memcpy(name, text, length);
    name[length] = '\0';
    return true;
}

static bool set_split(const char *text, struct set *set, struct proto_error *error) {
    const size_t name_bytes = strcspn(text, "=");
    const size_t section_bytes = strcspn(text, ".=");
    *set = (struct set){.value = text + name_bytes + 1};
    if (text[name_bytes] != '=')
        return proto_fail(error, PROTO_USAGE, "no \"=\" in it, expected section.key=value");
    if (section_bytes == name_bytes) {
        char belongs[128], key[SET_NAME_MAX];
        const bool known = name_copy(key, text, name_bytes) && sections_with(key, belongs);
        return proto_fail(error, PROTO_USAGE, "expected section.key=value%s%s",
                          known ? "; this key belongs to " : "", known ? belongs : "");
    }
    const char *key = text + section_bytes + 1;
    const size_t key_bytes = strcspn(key, ".=");
    const char *name = key + key_bytes + (key[key_bytes] == '.');
    const size_t entry_bytes = (size_t)(text + name_bytes - name);
    if (name_copy(set->section, text, section_bytes) && name_copy(set->key, key, key_bytes) &&
        name_copy(set->name, name, entry_bytes))
        return true;
    return proto_fail(error, PROTO_USAGE, "unknown key, names are shorter than %d letters",
                      SET_NAME_MAX);
}

// Would this TOML value do where the option stands, or was a bare text meant?
static bool suits(const struct proto_option *option, enum proto_toml_type found) {
    switch (option->type) {
    case PROTO_OPTION_TEXT:
    case PROTO_OPTION_CHOICE:
        return found == PROTO_TOML_TEXT;
    case PROTO_OPTION_LIST:
        return found == PROTO_TOML_TEXT || found == PROTO_TOML_ARRAY;
    case PROTO_OPTION_INTEGER:
    case PROTO_OPTION_REAL:
    case PROTO_OPTION_BOOLEAN:
    case PROTO_OPTION_TABLE:
        break;
    }
    return true;
}

// value -> a document of one node, number 1: the TOML that it is, or else a text.
static bool set_parse(const struct proto_option *option, const char *value,
                      struct proto_toml **toml, struct proto_error *error) {
    struct proto_toml_place at;
    char *quoted = NULL, *text = proto_format(error, "value = %s", value);
    if (!text) return false;
    bool done = proto_toml_parse(text, strlen(text), toml, &at, error);
    if (!done && error->status != PROTO_USAGE) goto end;
    const bool list = option->type == PROTO_OPTION_LIST || option->type == PROTO_OPTION_TABLE;
    if (!done && list && (*value == '[' || *value == '{')) {
        proto_fail(error, PROTO_USAGE,
                   "%.200s is no TOML: quotes inside it must reach the program, for example "
                   "--set '%s.%s=%s'",
                   value, option->section, option->key,
                   *value == '[' ? "[\"a\", \"b\"]" : "{A = \"1\"}");
        goto end;
    }
    // a line break in the value must not bring keys of its own
    if (done && (*toml)->nodes[0].children == 1 && suits(option, (*toml)->nodes[1].type)) goto end;
    proto_toml_free(toml);
    free(text);
    quoted = proto_toml_quote(value, error);
    text = quoted ? proto_format(error, "value = %s", quoted) : NULL;
    done = text && proto_toml_parse(text, strlen(text), toml, &at, error);
end:
    free(quoted);
    free(text);
    return done;
}

static bool apply_set(struct proto_config *config, const char *text, struct proto_error *error) {
    struct set set;
    struct proto_toml *toml = NULL;
    const struct source source = {.set = true};
    if (!set_split(text, &set, error)) return proto_error_where(error, "--set %.100s", text);
    const struct proto_option *option = proto_option_find(set.section, set.key);
    bool done = false;
    if (!section_known(set.section))
        unknown_section(set.section, error);
    else if (!option)
        unknown_key(set.section, set.key, error);
    else if (set.name[0] != '\0' && option->type != PROTO_OPTION_TABLE)
        proto_fail(error, PROTO_USAGE, "unknown key; %s.%s is no table", set.section, set.key);
    else if (set.name[0] != '\0')
        done = proto_value_take_entry(config, option, set.name, set.value, error);
    else
        done = set_parse(option, set.value, &toml, error) &&
               proto_value_take(config, option, toml, 1, error);
    if (done) note_place(config, option, &source, &(struct proto_toml_node){.line = 1});
    proto_toml_free(&toml);
    return done ? true : proto_error_where(error, "--set %s.%s", set.section, set.key);
}

// ---- the whole ---------------------------------------------------------------------------------

bool proto_config_read(const char *path, const char *const *sets, size_t set_count,
                       struct proto_config **config, struct proto_error *error) {
    struct proto_config *made = proto_alloc(sizeof *made, error);
    if (!made) return false;
    made->places = proto_alloc(sizeof *made->places, error);
    bool done = made->places && apply_defaults(made, error);
    done = done && (!path || apply_file(made, path, error));
    for (size_t i = 0; done && i < set_count; i++) done = apply_set(made, sets[i], error);
    done = done && proto_config_resolve(made, error) && proto_config_check(made, error);
    if (!done) {
        proto_config_free(&made);
        return false;
    }
    *config = made;
    return true;
}

void proto_config_free(struct proto_config **config) {
    if (!config || !*config) return;
    size_t count;
    const struct proto_option *options = proto_options(&count);
    for (size_t i = 0; i < count; i++) proto_value_free(*config, &options[i]);
    if ((*config)->places) free((*config)->places->path);
    free((*config)->places);
    free(*config);
    *config = NULL;
}
