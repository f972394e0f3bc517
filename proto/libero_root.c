// proto/libero_root.c - looks for LIBERO's files in the order of libero_root.h.
#include "proto/libero_root.h"

#include "proto/files.h"

#include <ctype.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_BYTES_MAX 65536

static const char *const needed[] = {"assets", "bddl_files", "init_files"};

// snprintf that says whether it fitted.
PROTO_PRINTF(2, 3)
static bool path_print(char path[static PROTO_LIBERO_PATH_MAX], const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(path, PROTO_LIBERO_PATH_MAX, format, arguments);
    va_end(arguments);
    return length >= 0 && length < PROTO_LIBERO_PATH_MAX;
}

static struct proto_libero_place *add(struct proto_libero_root *out, const char *rule,
                                      const char *path) {
    if (out->count >= PROTO_LIBERO_PLACES_MAX) return NULL;
    struct proto_libero_place *place = &out->places[out->count++];
    snprintf(place->rule, sizeof place->rule, "%s", rule);
    snprintf(place->path, sizeof place->path, "%s", path);
    return place;
}

// Adds a folder, with what it lacks; the first that lacks nothing is chosen.
static void add_folder(struct proto_libero_root *out, const char *rule, const char *path) {
    struct proto_libero_place *place = add(out, rule, path);
    if (!place) return;
    size_t used = 0;
    if (!proto_path_is_folder(path)) {
        snprintf(place->missing, sizeof place->missing, "no such folder");
        return;
    }
    for (size_t i = 0; i < PROTO_COUNT(needed); i++) {
        char inside[PROTO_LIBERO_PATH_MAX];
        if (path_print(inside, "%s/%s", path, needed[i]) && proto_path_is_folder(inside)) continue;
        used += (size_t)snprintf(place->missing + used, sizeof place->missing - used, "%s%s",
                                 used > 0 ? ", " : "no ", needed[i]);
    }
    if (place->missing[0] == '\0' && !out->chosen) out->chosen = place;
}

// The value of `key: value` at the beginning of a line of flat YAML, quotes taken off.
static bool yaml_value(const char *text, const char *key,
                       char value[static PROTO_LIBERO_PATH_MAX]) {
    const size_t key_bytes = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, key_bytes) != 0 || line[key_bytes] != ':') continue;
        const char *begin = line + key_bytes + 1;
        while (*begin == ' ') begin++;
        size_t length = strcspn(begin, "\r\n");
        while (length > 0 && isspace((unsigned char)begin[length - 1])) length--;
        if (length >= 2 && (*begin == '"' || *begin == '\'') && begin[length - 1] == *begin) {
            begin++;
            length -= 2;
        }
        return length > 0 && path_print(value, "%.*s", (int)length, begin);
    }
    return false;
}

static void add_config(struct proto_libero_root *out) {
    const char *folder = getenv("LIBERO_CONFIG_PATH"), *home = getenv("HOME");
    const bool named = folder && *folder != '\0';
    const char *rule = named ? "LIBERO_CONFIG_PATH" : "~/.libero";
    char path[PROTO_LIBERO_PATH_MAX], root[PROTO_LIBERO_PATH_MAX];
    char *text = NULL;
    size_t size_bytes = 0;
    struct proto_error error;
    if (!named && !home) return;
    if (named ? !path_print(path, "%s/config.yaml", folder)
              : !path_print(path, "%s/.libero/config.yaml", home))
        return;
    const char *missing = NULL;
    if (!proto_path_exists(path))
        missing = "no such file";
    else if (!proto_file_read(path, CONFIG_BYTES_MAX, PROTO_MISSING, &text, &size_bytes, &error))
        missing = "cannot be read";
    else if (!yaml_value(text, "benchmark_root", root))
        missing = "has no benchmark_root";
    if (!missing) {
        add_folder(out, rule, root);
    } else {
        struct proto_libero_place *place = add(out, rule, path);
        if (place) snprintf(place->missing, sizeof place->missing, "%s", missing);
    }
    free(text);
}

// Installed packages below one prefix; hf-libero and LIBERO itself both install as libero/libero.
static bool add_packages(struct proto_libero_root *out, const char *rule, const char *prefix) {
    static const char *const inside[] = {
        "lib/python3*/site-packages/libero/libero",
        "lib/python3*/dist-packages/libero/libero",
        "lib/python3/dist-packages/libero/libero",
    };
    bool found = false;
    for (size_t i = 0; i < PROTO_COUNT(inside); i++) {
        char pattern[PROTO_LIBERO_PATH_MAX];
        glob_t matches;
        if (!path_print(pattern, "%s/%s", prefix, inside[i])) continue;
        if (glob(pattern, 0, NULL, &matches) == 0) {
            for (size_t j = 0; j < matches.gl_pathc; j++)
                add_folder(out, rule, matches.gl_pathv[j]);
            found = found || matches.gl_pathc > 0;
        }
        globfree(&matches);
    }
    return found;
}

static void add_installed(struct proto_libero_root *out) {
    static const char *const variables[] = {"VIRTUAL_ENV", "CONDA_PREFIX"};
    static const char *const prefixes[] = {"/usr/local", "/usr"};
    bool found = false;
    for (size_t i = 0; i < PROTO_COUNT(variables); i++) {
        const char *prefix = getenv(variables[i]);
        if (prefix && *prefix != '\0') found |= add_packages(out, "package libero", prefix);
    }
    char local[PROTO_LIBERO_PATH_MAX];
    const char *home = getenv("HOME");
    if (home && path_print(local, "%s/.local", home))
        found |= add_packages(out, "package libero", local);
    for (size_t i = 0; i < PROTO_COUNT(prefixes); i++)
        found |= add_packages(out, "package libero", prefixes[i]);
    struct proto_libero_place *place =
        found
            ? NULL
            : add(out, "package libero", "$VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, /usr/local, /usr");
    if (place) snprintf(place->missing, sizeof place->missing, "not installed");
}

void proto_libero_find(const char *root, struct proto_libero_root *out) {
    *out = (struct proto_libero_root){0};
    if (root[0] != '\0') {
        add_folder(out, "libero.root", root);
        return;
    }
    add_config(out);
    add_installed(out);
}
