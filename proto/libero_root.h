// proto/libero_root.h - where LIBERO's own files (assets, bddl_files, init_files) are: the rule
// that `pipeline doctor` prints and everything that needs them follows.
//
//   1. libero.root of the configuration (`--libero ROOT`); when it is set, nothing else is asked,
//      except that a root with assets alone gets its tasks from 5
//   2. the folders named in $LIBERO_CONFIG_PATH/config.yaml, else in ~/.libero/config.yaml
//   3. an installed package libero or hf-libero: of the python3 on the PATH, in $VIRTUAL_ENV,
//      $CONDA_PREFIX, ~/.local, /usr/local, /usr
//   4. ~/.cache/libero/assets, where hf-libero puts the assets that it fetches
//   5. the tasks that scripts/setup.sh fetched into the user cache; they come without assets
// The first that holds all three folders is taken; when none does, each folder from the first that
// holds it. A place may be a LIBERO checkout (libero/libero/assets ...), its inner folder (assets,
// bddl_files, init_files), a folder with libero/scenes, bddl_files, init_files, or assets alone.
#ifndef PROTO_LIBERO_ROOT_H
#define PROTO_LIBERO_ROOT_H

#include "proto/error.h"

#define PROTO_LIBERO_PATH_MAX 1024
#define PROTO_LIBERO_PLACES_MAX 16

enum proto_libero_part {
    PROTO_LIBERO_ASSETS,  // scenes/, textures/, articulated_objects/ ...
    PROTO_LIBERO_BDDL_FILES,
    PROTO_LIBERO_INIT_FILES,
    PROTO_LIBERO_PARTS,
};

struct proto_libero_place {
    char rule[128];                    // who named it: "LIBERO_CONFIG_PATH"
    char path[PROTO_LIBERO_PATH_MAX];  // the folder, or where a configuration was looked for
    char missing[128];                 // "" when it has all three, else why not
    char parts[PROTO_LIBERO_PARTS][PROTO_LIBERO_PATH_MAX];  // "": not here
};

struct proto_libero_root {
    struct proto_libero_place places[PROTO_LIBERO_PLACES_MAX];  // in the order looked
    size_t count;
    const struct proto_libero_place *chosen;  // has all three; NULL: none has
    const char *parts[PROTO_LIBERO_PARTS];    // what is taken; NULL: nowhere
};

// Looks at the file system and the environment; root is libero.root, may be "".
void proto_libero_find(const char *root, struct proto_libero_root *out);
const char *proto_libero_part_name(enum proto_libero_part part);  // "bddl_files"

// The folder `name` of what set-up fetched: ${XDG_CACHE_HOME:-~/.cache}/pipeline/name.
// False: no home, or too long.
PROTO_MUST_CHECK bool proto_libero_cache(const char *name, char path[PROTO_LIBERO_PATH_MAX]);
// Prefixes whose lib/python3*/site-packages may hold packages, in the order of rule 3.
struct proto_libero_prefixes {
    char paths[8][PROTO_LIBERO_PATH_MAX];
    size_t count;
};
void proto_libero_prefixes(struct proto_libero_prefixes *prefixes);

#endif
