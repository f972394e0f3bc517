// proto/libero_root.c - looks for LIBERO's files in the order of libero_root.h.
#include "proto/libero_root.h"

#include "proto/files.h"

#include <ctype.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CONFIG_BYTES_MAX 65536

static const char *const part_names[] = {"assets", "bddl_files", "init_files"};

const char *proto_libero_part_name(enum proto_libero_part part) { return part_names[part]; }

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

// Where a part may lie below a place, "" the place itself. A folder of assets alone is known by its
// scenes.
static const struct {
    enum proto_libero_part part;
    const char *folder, *proof;
} layouts[] = {
    {PROTO_LIBERO_ASSETS, "assets", "assets"},
    {PROTO_LIBERO_ASSETS, "libero/libero/assets", "libero/libero/assets"},
    {PROTO_LIBERO_ASSETS, "libero", "libero/scenes"},
    {PROTO_LIBERO_ASSETS, "", "scenes"},
    {PROTO_LIBERO_BDDL_FILES, "bddl_files", "bddl_files"},
    {PROTO_LIBERO_BDDL_FILES, "libero/libero/bddl_files", "libero/libero/bddl_files"},
    {PROTO_LIBERO_INIT_FILES, "init_files", "init_files"},
    {PROTO_LIBERO_INIT_FILES, "libero/libero/init_files", "libero/libero/init_files"},
};

static void find_parts(struct proto_libero_place *place) {
    for (size_t i = 0; i < PROTO_COUNT(layouts); i++) {
        char proof[PROTO_LIBERO_PATH_MAX], *part = place->parts[layouts[i].part];
        if (part[0] != '\0' || !path_print(proof, "%s/%s", place->path, layouts[i].proof) ||
            !proto_path_is_folder(proof))
            continue;
        const bool itself = layouts[i].folder[0] == '\0';
        if (!path_print(part, "%s%s%s", place->path, itself ? "" : "/", layouts[i].folder))
            part[0] = '\0';
    }
}

// Says what a place lacks; the first that lacks nothing is chosen.
static void judge(struct proto_libero_root *out, struct proto_libero_place *place) {
    size_t used = 0;
    for (size_t i = 0; i < PROTO_LIBERO_PARTS; i++)
        if (place->parts[i][0] == '\0')
            used += (size_t)snprintf(place->missing + used, sizeof place->missing - used, "%s%s",
                                     used > 0 ? ", " : "no ", part_names[i]);
    if (place->missing[0] == '\0' && !out->chosen) out->chosen = place;
}

static void add_folder(struct proto_libero_root *out, const char *rule, const char *path) {
    struct proto_libero_place *place = add(out, rule, path);
    if (!place) return;
    if (!proto_path_is_folder(path)) {
        snprintf(place->missing, sizeof place->missing, "no such folder");
        return;
    }
    find_parts(place);
    judge(out, place);
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

// The folders that LIBERO's own configuration names; each of its keys wins over what lies below
// benchmark_root. A relative one is relative to benchmark_root.
static void add_configured(struct proto_libero_root *out, const char *rule, const char *path,
                           const char *text) {
    static const char *const keys[] = {"assets", "bddl_files", "init_states"};
    char root[PROTO_LIBERO_PATH_MAX] = "", named[PROTO_LIBERO_PATH_MAX];
    const bool has_root = yaml_value(text, "benchmark_root", root);
    struct proto_libero_place *place = add(out, rule, has_root ? root : path);
    if (!place) return;
    bool any = has_root;
    for (size_t i = 0; i < PROTO_LIBERO_PARTS; i++) {
        char *part = place->parts[i];
        if (!yaml_value(text, keys[i], named)) continue;
        any = true;
        if (!path_print(part, "%s%s%s", named[0] == '/' ? "" : root, named[0] == '/' ? "" : "/",
                        named) ||
            !proto_path_is_folder(part))
            part[0] = '\0';
    }
    if (has_root) find_parts(place);
    if (!any)
        snprintf(place->missing, sizeof place->missing, "has no benchmark_root");
    else if (has_root && !proto_path_is_folder(root))
        snprintf(place->missing, sizeof place->missing, "no such folder");
    else
        judge(out, place);
}

static void add_config(struct proto_libero_root *out) {
    const char *folder = getenv("LIBERO_CONFIG_PATH"), *home = getenv("HOME");
    const bool named = folder && *folder != '\0';
    const char *rule = named ? "LIBERO_CONFIG_PATH" : "~/.libero";
    char path[PROTO_LIBERO_PATH_MAX];
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
    if (!missing) {
        add_configured(out, rule, path, text);
    } else {
        struct proto_libero_place *place = add(out, rule, path);
        if (place) snprintf(place->missing, sizeof place->missing, "%s", missing);
    }
    free(text);
}

// ---- installed packages ------------------------------------------------------------------------

static void add_prefix(struct proto_libero_prefixes *prefixes, const char *path) {
    if (prefixes->count == PROTO_COUNT(prefixes->paths)) return;
    for (size_t i = 0; i < prefixes->count; i++)
        if (strcmp(prefixes->paths[i], path) == 0) return;
    if (path_print(prefixes->paths[prefixes->count], "%s", path)) prefixes->count++;
}

// The folder above the bin/ in which a shell would find python3; links stay links, because a
// virtual environment's python3 is one.
static void add_python(struct proto_libero_prefixes *prefixes) {
    const char *folder = getenv("PATH");
    char python[PROTO_LIBERO_PATH_MAX];
    while (folder && *folder != '\0') {
        const size_t bytes = strcspn(folder, ":");
        if (path_print(python, "%.*s/python3", (int)bytes, folder) && access(python, X_OK) == 0) {
            static const char ending[] = "/bin/python3";
            const size_t length = strlen(python), tail = sizeof ending - 1;
            if (length > tail && strcmp(python + length - tail, ending) == 0) {
                python[length - tail] = '\0';
                add_prefix(prefixes, python);
            }
            return;
        }
        folder += bytes + (folder[bytes] == ':');
    }
}

void proto_libero_prefixes(struct proto_libero_prefixes *prefixes) {
    static const char *const variables[] = {"VIRTUAL_ENV", "CONDA_PREFIX"};
    prefixes->count = 0;
    add_python(prefixes);
    for (size_t i = 0; i < PROTO_COUNT(variables); i++) {
        const char *prefix = getenv(variables[i]);
        if (prefix && *prefix != '\0') add_prefix(prefixes, prefix);
    }
    char local[PROTO_LIBERO_PATH_MAX];
    const char *home = getenv("HOME");
    if (home && path_print(local, "%s/.local", home)) add_prefix(prefixes, local);
    add_prefix(prefixes, "/usr/local");
    add_prefix(prefixes, "/usr");
}

// hf-libero and LIBERO itself both install as libero/libero.
static bool add_packages(struct proto_libero_root *out, const char *prefix) {
    static const char *const inside[] = {
        "lib/python3*/site-packages/libero/libero",
        "lib/python3*/dist-packages/libero/libero",
    };
    bool found = false;
    for (size_t i = 0; i < PROTO_COUNT(inside); i++) {
        char pattern[PROTO_LIBERO_PATH_MAX];
        glob_t matches;
        if (!path_print(pattern, "%s/%s", prefix, inside[i])) continue;
        if (glob(pattern, 0, NULL, &matches) == 0) {
            for (size_t j = 0; j < matches.gl_pathc; j++)
                add_folder(out, "package libero", matches.gl_pathv[j]);
            found = found || matches.gl_pathc > 0;
        }
        globfree(&matches);
    }
    return found;
}

static void add_installed(struct proto_libero_root *out) {
    struct proto_libero_prefixes prefixes;
    bool found = false;
    proto_libero_prefixes(&prefixes);
    for (size_t i = 0; i < prefixes.count; i++) found |= add_packages(out, prefixes.paths[i]);
    if (found) return;
    struct proto_libero_place *place =
        add(out, "package libero",
            "python3 on the PATH, $VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, /usr/local, /usr");
    if (place) snprintf(place->missing, sizeof place->missing, "not installed");
}

// ---- caches ------------------------------------------------------------------------------------

bool proto_libero_cache(const char *name, char path[PROTO_LIBERO_PATH_MAX]) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache != '\0') return path_print(path, "%s/pipeline/%s", cache, name);
    return home && path_print(path, "%s/.cache/pipeline/%s", home, name);
}

static void add_fetched_tasks(struct proto_libero_root *out) {
    char path[PROTO_LIBERO_PATH_MAX];
    if (proto_libero_cache("libero-tasks-0.1.4/libero/libero", path))
        add_folder(out, "fetched by set-up", path);
}

static void add_fetched_assets(struct proto_libero_root *out) {
    char path[PROTO_LIBERO_PATH_MAX];
    const char *home = getenv("HOME");
    if (home && path_print(path, "%s/.cache/libero/assets", home) && proto_path_is_folder(path))
        add_folder(out, "assets of hf-libero", path);
}

// Parts of the chosen place, else of the first place that has each.
static void choose_parts(struct proto_libero_root *out) {
    for (size_t part = 0; part < PROTO_LIBERO_PARTS; part++) {
        if (out->chosen) out->parts[part] = out->chosen->parts[part];
        for (size_t i = 0; i < out->count && !out->parts[part]; i++)
            if (out->places[i].parts[part][0] != '\0')
                out->parts[part] = out->places[i].parts[part];
    }
}

void proto_libero_find(const char *root, struct proto_libero_root *out) {
    *out = (struct proto_libero_root){0};
    if (root[0] != '\0') {
        add_folder(out, "libero.root", root);
        const struct proto_libero_place *place = &out->places[0];
        if (place->parts[PROTO_LIBERO_ASSETS][0] != '\0' &&
            place->parts[PROTO_LIBERO_BDDL_FILES][0] == '\0' &&
            place->parts[PROTO_LIBERO_INIT_FILES][0] == '\0')
            add_fetched_tasks(out);
    } else {
        add_config(out);
        add_installed(out);
        add_fetched_assets(out);
        add_fetched_tasks(out);
    }
    choose_parts(out);
}
