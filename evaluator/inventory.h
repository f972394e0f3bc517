// evaluator/inventory.h - which files the tasks of LIBERO need, and which of them are not there.
#ifndef EVALUATOR_INVENTORY_H
#define EVALUATOR_INVENTORY_H

#include "evaluator/libero.h"

#define EVALUATOR_INVENTORY_SHOWN 16

struct evaluator_inventory {
    uint32_t task_count;     // tasks whose BDDL file is there and sound
    uint32_t scene_count;    // scene files, robot files and categories looked into
    uint32_t file_count;     // files that they and the tasks name
    uint32_t missing_count;  // of these
    char missing[EVALUATOR_INVENTORY_SHOWN][EVALUATOR_PATH_MAX];  // the first of them
};
// Reads the BDDL and XML files of all tasks, but of meshes and textures only whether they are
// there. Parts that `libero` lacks ("") are left out. False: no memory.
PROTO_MUST_CHECK bool evaluator_inventory_take(const struct evaluator_libero *libero,
                                               struct evaluator_inventory *inventory,
                                               struct proto_error *error);

#endif
