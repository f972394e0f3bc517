// evaluator/assets_hash.c - walks the folders in the order of names.
#include "evaluator/assets_hash.h"

#include "proto/files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEPTH_MAX 16

static bool is_text(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".xml") == 0 || strcmp(dot, ".bddl") == 0);
}

// Adds one file to the chain: what was before, its name, its size, its content.
static bool add_file(const char *path, const char *name, uint64_t size, uint64_t *chain,
                     struct proto_error *error) {
    uint64_t link[] = {*chain, proto_hash(name, strlen(name)), size, 0};
    if (is_text(name) && !proto_file_hash(path, &link[3], error)) return false;
    *chain = proto_hash(link, sizeof link);
    return true;
}

static bool add_folder(const char *path, uint32_t depth, uint64_t *chain,
                       struct proto_error *error) {
    struct proto_names names = {0};
    if (!proto_path_is_folder(path) || depth > DEPTH_MAX) return true;
    if (!proto_folder_list(path, &names, error)) return false;
    bool done = true;
    for (size_t i = 0; done && i < names.count; i++) {
        struct stat status;
        char *inner = proto_format(error, "%s/%s", path, names.items[i]);
        done = inner != NULL;
        if (done && stat(inner, &status) == 0) {
            if (S_ISDIR(status.st_mode))
                done = add_folder(inner, depth + 1, chain, error);
            else if (S_ISREG(status.st_mode))
                done = add_file(inner, names.items[i], (uint64_t)status.st_size, chain, error);
        }
        free(inner);
    }
    proto_names_free(&names);
    return done;
}

bool evaluator_assets_hash(const struct evaluator_libero *libero, const char *suite, uint64_t *hash,
                           struct proto_error *error) {
    char bddl[2 * EVALUATOR_PATH_MAX], init[2 * EVALUATOR_PATH_MAX];
    snprintf(bddl, sizeof bddl, "%s/%s", libero->bddl_files, suite);
    snprintf(init, sizeof init, "%s/%s", libero->init_files, suite);
    const char *const folders[] = {libero->assets, libero->robosuite, bddl, init};
    *hash = 0;
    for (size_t i = 0; i < PROTO_COUNT(folders); i++)
        if (folders[i][0] != '\0' && !add_folder(folders[i], 0, hash, error)) return false;
    return true;
}
