// proto/module.c - finds and loads parts of the programs.
#include "proto/module.h"

#include "proto/files.h"
#include "proto/programs.h"

#include <ctype.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef PIPELINE_LIBDIR
#define PIPELINE_LIBDIR "lib"
#endif

// PIPELINE_CUDA_MODULE for "cuda".
static void module_variable(const char *name, char text[static 64]) {
    snprintf(text, 64, "PIPELINE_%.32s_MODULE", name);
    for (char *at = text; *at; at++) *at = (char)toupper((unsigned char)*at);
}

// The folder above the program's own: bin and lib lie side by side in it.
static bool module_prefix(char prefix[static PROTO_PATH_MAX], struct proto_error *error) {
    if (!proto_programs_folder(prefix, error)) return false;
    char *end = strrchr(prefix, '/');
    if (end) *end = '\0';
    return true;
}

bool proto_module_find(const char *name, char path[static PROTO_PATH_MAX],
                       struct proto_error *error) {
    static const char *const folders[] = {"lib", PIPELINE_LIBDIR, "lib64"};
    char variable[64], prefix[PROTO_PATH_MAX];
    module_variable(name, variable);
    const char *named = getenv(variable);
    if (named && *named) {
        snprintf(path, PROTO_PATH_MAX, "%s", named);
        return proto_path_exists(path) ||
               proto_fail(error, PROTO_MISSING, "%s is %s, where there is no file", variable,
                          named);
    }
    if (!module_prefix(prefix, error)) return false;
    for (size_t i = 0; i < PROTO_COUNT(folders); i++) {
        const int length =
            snprintf(path, PROTO_PATH_MAX, "%s/%s/libpipeline_%s.so", prefix, folders[i], name);
        if (length > 0 && length < PROTO_PATH_MAX && proto_path_exists(path)) return true;
    }
    return proto_fail(error, PROTO_MISSING,
                      "there is no libpipeline_%s.so in %.400s/lib: this build has no %s part; "
                      "%s may name another",
                      name, prefix, name, variable);
}

bool proto_module_is_there(const char *name) {
    char path[PROTO_PATH_MAX];
    struct proto_error error;
    return proto_module_find(name, path, &error);
}

bool proto_module_open(const char *name, const char *symbol, void **entry,
                       struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    if (!proto_module_find(name, path, error)) return false;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        const char *why = dlerror();
        return proto_fail(error, PROTO_MISSING, "cannot load %.300s: %.400s", path,
                          why ? why : "no reason given");
    }
    *entry = dlsym(module, symbol);
    return *entry || proto_fail(error, PROTO_MISSING, "%.400s has no %s: it is not this program's",
                                path, symbol);
}
