// proto/libero_root.h - where LIBERO's own files (assets, bddl_files, init_files) are: the rule
// that `pipeline doctor` prints and everything that needs them follows.
//
//   1. libero.root of the configuration (`--libero ROOT`); when it is set, nothing else is asked
//   2. benchmark_root in $LIBERO_CONFIG_PATH/config.yaml, else in ~/.libero/config.yaml
//   3. an installed package libero: in $VIRTUAL_ENV, $CONDA_PREFIX, ~/.local, /usr/local, /usr
// The first that holds all three folders is taken.
#ifndef PROTO_LIBERO_ROOT_H
#define PROTO_LIBERO_ROOT_H

#include "proto/error.h"

#define PROTO_LIBERO_PATH_MAX 1024
#define PROTO_LIBERO_PLACES_MAX 16

struct proto_libero_place {
    char rule[128];                    // who named it: "LIBERO_CONFIG_PATH"
    char path[PROTO_LIBERO_PATH_MAX];  // the folder, or where a configuration was looked for
    char missing[128];                 // "" when it can be used, else why not
};

struct proto_libero_root {
    struct proto_libero_place places[PROTO_LIBERO_PLACES_MAX];  // in the order looked
    size_t count;
    const struct proto_libero_place *chosen;  // NULL: none can be used
};

// Looks at the file system and the environment; root is libero.root, may be "".
void proto_libero_find(const char *root, struct proto_libero_root *out);

#endif
