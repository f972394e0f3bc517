// proto/config_print.c - a configuration as text: the resolved copy in the run folder, its hash,
// and what a resumed run changed.
#include "proto/config.h"
#include "proto/config_value.h"
#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void close_quietly(FILE *file) {
    if (file) (void)fclose(file);
}

// "section.key = value" or, with sections, whole [section] blocks. Only rows that `wanted` takes.
static bool print_rows(const struct proto_config *config, bool sections,
                       bool (*wanted)(const struct proto_option *), FILE *out,
                       struct proto_error *error) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    const char *section = "";
    for (size_t i = 0; i < count; i++) {
        if (wanted && !wanted(&options[i])) continue;
        char *value = proto_value_print(config, &options[i], error);
        if (!value) return false;
        if (sections && strcmp(section, options[i].section) != 0)
            fprintf(out, "%s[%s]\n", *section ? "\n" : "", options[i].section);
        section = options[i].section;
        if (sections)
            fprintf(out, "%s = %s\n", options[i].key, value);
        else
            fprintf(out, "%s.%s = %s\n", options[i].section, options[i].key, value);
        free(value);
    }
    return true;
}

static bool print_text(const struct proto_config *config, bool sections,
                       bool (*wanted)(const struct proto_option *), char **text, size_t *size_bytes,
                       struct proto_error *error) {
    char *made = NULL;
    FILE *out = open_memstream(&made, size_bytes);
    if (!out) return proto_fail_errno(error, PROTO_EXHAUSTED, "no memory for the configuration");
    bool done = print_rows(config, sections, wanted, out, error);
    if (done && (ferror(out) || fflush(out) != 0))
        done = proto_fail(error, PROTO_EXHAUSTED, "no memory for the configuration");
    close_quietly(out);
    if (!done) {
        free(made);
        return false;
    }
    *text = made;
    return true;
}

bool proto_config_print(const struct proto_config *config, char **toml, struct proto_error *error) {
    size_t size_bytes;
    return print_text(config, true, NULL, toml, &size_bytes, error);
}

static bool fixed(const struct proto_option *option) {
    return option->resume == PROTO_RESUME_FIXED;
}

uint64_t proto_config_hash(const struct proto_config *config) {
    struct proto_error error;
    char *text = NULL;
    size_t size_bytes = 0;
    // without memory for 4 KiB of text there is no hash: 0, which no text has in practice
    if (!print_text(config, false, fixed, &text, &size_bytes, &error)) return 0;
    const uint64_t hash = proto_hash(text, size_bytes);
    free(text);
    return hash;
}

static bool compare(const struct proto_option *option, const struct proto_config *before,
                    const struct proto_config *now, void (*notice)(void *context, const char *line),
                    void *context, struct proto_error *error) {
    if (option->resume == PROTO_RESUME_FREE) return true;
    bool done = false;
    char *line = NULL;
    char *old_value = proto_value_print(before, option, error);
    char *new_value = old_value ? proto_value_print(now, option, error) : NULL;
    if (!new_value) goto end;
    done = true;
    if (strcmp(old_value, new_value) == 0) goto end;
    if (option->resume == PROTO_RESUME_FIXED) {
        done =
            proto_fail(error, PROTO_USAGE,
                       "is %.200s, but the run was started with %.200s, which must stay: go back "
                       "to it, or start a run of its own with another run.output_dir",
                       new_value, old_value);
        proto_config_place(now, option->section, option->key, error);
        goto end;
    }
    line = proto_format(error, "%s.%s is %s now; the run was started with %s", option->section,
                        option->key, new_value, old_value);
    if (line)
        notice(context, line);
    else
        done = false;
end:
    free(line);
    free(new_value);
    free(old_value);
    return done;
}

bool proto_config_may_resume(const struct proto_config *before, const struct proto_config *now,
                             void (*notice)(void *context, const char *line), void *context,
                             struct proto_error *error) {
    size_t count;
    const struct proto_option *options = proto_options(&count);
    // refusals first: a notice about a run that is then refused would mislead
    for (size_t i = 0; i < count; i++)
        if (options[i].resume == PROTO_RESUME_FIXED &&
            !compare(&options[i], before, now, notice, context, error))
            return false;
    for (size_t i = 0; i < count; i++)
        if (options[i].resume == PROTO_RESUME_NOTICE &&
            !compare(&options[i], before, now, notice, context, error))
            return false;
    return true;
}
