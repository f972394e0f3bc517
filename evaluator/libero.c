// evaluator/libero.c - LIBERO's files by the rule of proto/libero_root.h, and robosuite's beside
// them.
#include "evaluator/libero.h"

#include "proto/files.h"
#include "proto/libero_root.h"

#include <assert.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static_assert(EVALUATOR_PATH_MAX == PROTO_LIBERO_PATH_MAX, "paths are copied as they are");

PROTO_PRINTF(2, 3)
static void tell(struct evaluator_libero *libero, const char *format, ...) {
    const size_t used = strlen(libero->how);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(libero->how + used, sizeof libero->how - used, format, arguments);
    va_end(arguments);
}

// The absolute path, links resolved: scenes name their files so. As it is when it cannot be had.
static void make_absolute(char path[EVALUATOR_PATH_MAX]) {
    char *real = path[0] != '\0' ? realpath(path, NULL) : NULL;
    if (real && strlen(real) < EVALUATOR_PATH_MAX) memcpy(path, real, strlen(real) + 1);
    free(real);
}

// Takes a folder of robosuite's assets when none is taken yet; what every scene begins with must
// be in it.
static void offer(struct evaluator_libero *libero, const char *rule, const char *path) {
    char file[EVALUATOR_PATH_MAX];
    if (libero->robosuite[0] != '\0') return;
    const int length = snprintf(file, sizeof file, "%s/base.xml", path);
    if (length < 0 || length >= (int)sizeof file || !proto_path_exists(file)) return;
    const size_t bytes = strlen(path);
    if (bytes >= sizeof libero->robosuite) return;
    memcpy(libero->robosuite, path, bytes + 1);
    tell(libero, "robosuite: %s: %s  <- taken\n", rule, libero->robosuite);
}

PROTO_PRINTF(3, 4)
static void offer_below(struct evaluator_libero *libero, const char *rule, const char *format,
                        ...) {
    char path[EVALUATOR_PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    if (length > 0 && length < EVALUATOR_PATH_MAX) offer(libero, rule, path);
}

// Every python3 below a prefix has its own packages.
static void offer_packages(struct evaluator_libero *libero, const char *prefix) {
    static const char *const inside[] = {"lib/python3*/site-packages/robosuite/models/assets",
                                         "lib/python3*/dist-packages/robosuite/models/assets"};
    for (size_t i = 0; i < PROTO_COUNT(inside); i++) {
        char pattern[2 * EVALUATOR_PATH_MAX];
        glob_t matches;
        snprintf(pattern, sizeof pattern, "%s/%s", prefix, inside[i]);
        if (glob(pattern, 0, NULL, &matches) == 0)
            for (size_t j = 0; j < matches.gl_pathc; j++)
                offer(libero, "package robosuite", matches.gl_pathv[j]);
        globfree(&matches);
    }
}

static void find_robosuite(const struct proto_libero_root *root, struct evaluator_libero *libero) {
    // below or beside the place of the assets, be it a checkout or its inner folder
    static const char *const near[] = {
        "robosuite", "../robosuite/models/assets", "../robosuite/robosuite/models/assets",
        "../../robosuite/models/assets", "../../../robosuite/robosuite/models/assets"};
    for (size_t i = 0; i < root->count; i++) {
        const struct proto_libero_place *place = &root->places[i];
        if (root->parts[PROTO_LIBERO_ASSETS] != place->parts[PROTO_LIBERO_ASSETS]) continue;
        for (size_t j = 0; j < PROTO_COUNT(near); j++)
            offer_below(libero, j == 0 ? "in it" : "beside it", "%s/%s", place->path, near[j]);
    }
    struct proto_libero_prefixes prefixes;
    proto_libero_prefixes(&prefixes);
    for (size_t i = 0; i < prefixes.count; i++) offer_packages(libero, prefixes.paths[i]);
    char fetched[PROTO_LIBERO_PATH_MAX];
    if (proto_libero_cache("robosuite-1.4.0", fetched))
        offer_below(libero, "fetched by set-up", "%s/robosuite/models/assets", fetched);
    if (libero->robosuite[0] == '\0')
        tell(libero, "robosuite: not beside LIBERO, no package robosuite, not fetched by set-up\n");
}

static void take_parts(const struct proto_libero_root *root, struct evaluator_libero *libero) {
    char *const parts[] = {libero->assets, libero->bddl_files, libero->init_files};
    for (size_t i = 0; i < root->count; i++) {
        const struct proto_libero_place *place = &root->places[i];
        tell(libero, "%s: %s%s%s%s\n", place->rule, place->path, place->missing[0] ? ": " : "",
             place->missing, place == root->chosen ? "  <- taken" : "");
    }
    for (size_t i = 0; i < PROTO_LIBERO_PARTS; i++) {
        if (!root->parts[i]) continue;
        snprintf(parts[i], EVALUATOR_PATH_MAX, "%s", root->parts[i]);
        if (!root->chosen)
            tell(libero, "%s: %s  <- taken\n", proto_libero_part_name((enum proto_libero_part)i),
                 parts[i]);
    }
}

bool evaluator_libero_find(const char *root, struct evaluator_libero *libero,
                           struct proto_error *error) {
    struct proto_libero_root *found = proto_alloc(sizeof *found, error);
    if (!found) return false;
    *libero = (struct evaluator_libero){0};
    proto_libero_find(root ? root : "", found);
    take_parts(found, libero);
    find_robosuite(found, libero);
    free(found);
    make_absolute(libero->assets);
    make_absolute(libero->bddl_files);
    make_absolute(libero->init_files);
    make_absolute(libero->robosuite);
    const struct {
        const char *path, *name;
    } parts[] = {{libero->assets, "assets"},
                 {libero->bddl_files, "bddl_files"},
                 {libero->init_files, "init_files"},
                 {libero->robosuite, "robosuite files (scripts/setup.sh fetches them)"}};
    char lacking[128] = "";
    for (size_t i = 0; i < PROTO_COUNT(parts); i++) {
        const size_t used = strlen(lacking);
        if (parts[i].path[0] == '\0')
            snprintf(lacking + used, sizeof lacking - used, "%s%s", used > 0 ? ", " : "",
                     parts[i].name);
    }
    if (lacking[0] == '\0') return true;
    char looked[512];
    snprintf(looked, sizeof looked, "%.500s", libero->how);
    for (char *c = looked; *c; c++)
        if (*c == '\n') *c = c[1] == '\0' ? '\0' : ';';
    return proto_fail(
        error, PROTO_MISSING,
        "LIBERO is not complete, there are no %s; give --libero ROOT (libero.root): a "
        "LIBERO checkout or a folder with its files; looked at: %s",
        lacking, looked);
}
