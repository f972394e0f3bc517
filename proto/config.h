// proto/config.h - one TOML file describes one run; this is what a program sees of it.
//
// Every option is one row of PROTO_OPTIONS (proto/config_options.h): the struct below, the parser,
// the checks, `--set`, `--help`, docs/configuration.md and the table of what may change on resume
// are all made from the rows. A value of 0 or "" in [model] means "as the preset says"; reading
// replaces it, so that a stage never sees it.
#ifndef PROTO_CONFIG_H
#define PROTO_CONFIG_H

#include "proto/config_options.h"
#include "proto/error.h"

#include <stddef.h>
#include <stdint.h>

// A list of texts: a TOML array of strings, or one string. A table (collective.env) is a list of
// "KEY=value". Owned by the configuration.
struct proto_list {
    char **items;
    size_t count;
};

#define PROTO_OPTION_MEMBER_INTEGER(key) int64_t key;
#define PROTO_OPTION_MEMBER_REAL(key) double key;
#define PROTO_OPTION_MEMBER_BOOLEAN(key) bool key;
#define PROTO_OPTION_MEMBER_TEXT(key) char *key;
#define PROTO_OPTION_MEMBER_CHOICE(key) char *key;
#define PROTO_OPTION_MEMBER_LIST(key) struct proto_list key;
#define PROTO_OPTION_MEMBER_TABLE(key) struct proto_list key;
#define PROTO_OPTION_MEMBER(section, key, type, ...) PROTO_OPTION_MEMBER_##type(key)

// config->trainer.learning_rate and so on.
struct proto_config {
    struct {
        PROTO_OPTIONS_RUN(PROTO_OPTION_MEMBER)
    } run;
    struct {
        PROTO_OPTIONS_DATA(PROTO_OPTION_MEMBER)
    } data;
    struct {
        PROTO_OPTIONS_LOADER(PROTO_OPTION_MEMBER)
    } loader;
    struct {
        PROTO_OPTIONS_MODEL(PROTO_OPTION_MEMBER)
    } model;
    struct {
        PROTO_OPTIONS_VISION(PROTO_OPTION_MEMBER)
    } vision;
    struct {
        PROTO_OPTIONS_LANGUAGE(PROTO_OPTION_MEMBER)
    } language;
    struct {
        PROTO_OPTIONS_TRAINER(PROTO_OPTION_MEMBER)
    } trainer;
    struct {
        PROTO_OPTIONS_COLLECTIVE(PROTO_OPTION_MEMBER)
    } collective;
    struct {
        PROTO_OPTIONS_SUPERVISOR(PROTO_OPTION_MEMBER)
    } supervisor;
    struct {
        PROTO_OPTIONS_EVALUATOR(PROTO_OPTION_MEMBER)
    } evaluator;
    struct {
        PROTO_OPTIONS_LIBERO(PROTO_OPTION_MEMBER)
    } libero;
    struct proto_config_places *places;  // where each value was written; see proto_config_place
};

#define PROTO_OPTION_ONE(...) +1
#define PROTO_OPTION_COUNT (0 PROTO_OPTIONS(PROTO_OPTION_ONE))

enum proto_option_type {
    PROTO_OPTION_INTEGER,
    PROTO_OPTION_REAL,
    PROTO_OPTION_BOOLEAN,
    PROTO_OPTION_TEXT,
    PROTO_OPTION_CHOICE,  // a text out of "a|b|c"
    PROTO_OPTION_LIST,
    PROTO_OPTION_TABLE,
};

// What a resumed run may do with an option (docs/resume.md is made from it).
enum proto_resume {
    PROTO_RESUME_FREE,    // may change
    PROTO_RESUME_NOTICE,  // may change, and the log says so
    PROTO_RESUME_FIXED,   // a change is refused
};

// One row as data, in the order of the table.
struct proto_option {
    const char *section, *key;
    enum proto_option_type type;
    const char *default_value;  // as TOML
    double min, max;            // INTEGER and REAL
    const char *choices;        // CHOICE: "a|b|c"; else ""
    const char *unit;           // "" where there is none
    enum proto_resume resume;
    const char *help;
    size_t offset;  // in struct proto_config
};
const struct proto_option *proto_options(size_t *count);
const struct proto_option *proto_option_find(const char *section, const char *key);  // or NULL
const char *proto_option_type_name(enum proto_option_type type);                     // "a list"
bool proto_option_choice(const struct proto_option *option, const char *value);      // is it one?

// Reads the file, applies `sets` ("section.key=value", the value TOML or else a string) in order,
// checks every value and resolves presets. Errors say file:line:column, the key, the nearest known
// key; for a --set they say "--set section.key". path NULL: defaults and sets only.
// On success *config is owned by the caller, who calls proto_config_free.
PROTO_MUST_CHECK
bool proto_config_read(const char *path, const char *const *sets, size_t set_count,
                       struct proto_config **config, struct proto_error *error);
void proto_config_free(struct proto_config **config);  // accepts NULL; leaves NULL behind

// Puts the place where an option's value was written in front of error->where:
// "2gpu.toml:14:1: trainer.devices", "--set trainer.devices" or "trainer.devices (default)".
// Returns false, for `return`. The option must exist.
bool proto_config_place(const struct proto_config *config, const char *section, const char *key,
                        struct proto_error *error);

// Can this build on this machine do what the configuration asks for? PROTO_MISSING (a device or a
// library is not there) with the reason and what would run instead. Reading a file does not ask.
PROTO_MUST_CHECK
bool proto_config_check_machine(const struct proto_config *config, struct proto_error *error);

// The resolved configuration as TOML that proto_config_read gives the same struct for. The caller
// frees the text.
PROTO_MUST_CHECK
bool proto_config_print(const struct proto_config *config, char **toml, struct proto_error *error);

// Compares the FIXED and NOTICE options of a run with those it was started with. Refuses a changed
// FIXED option by name with both values; hands each NOTICE to `notice` as one line.
PROTO_MUST_CHECK
bool proto_config_may_resume(const struct proto_config *before, const struct proto_config *now,
                             void (*notice)(void *context, const char *line), void *context,
                             struct proto_error *error);

// Hash over all FIXED options, for trainer_state.json.
uint64_t proto_config_hash(const struct proto_config *config);

#endif
