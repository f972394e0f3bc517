// evaluator/inventory.c - from the tasks to their scenes and categories, from these to their XML,
// from that to meshes and textures; each name is looked at once.
#include "evaluator/inventory.h"

#include "evaluator/scene_parts.h"
#include "proto/files.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX 4096  // all tasks name some 700

struct looker {
    const struct evaluator_libero *libero;
    struct evaluator_inventory *inventory;
    char **seen;  // paths looked at
    size_t seen_count;
};

// Whether a path is new; remembers it.
static bool is_new(struct looker *looker, const char *path, bool *exhausted) {
    for (size_t i = 0; i < looker->seen_count; i++)
        if (strcmp(looker->seen[i], path) == 0) return false;
    char *copy = looker->seen_count < FILES_MAX ? strdup(path) : NULL;
    *exhausted = *exhausted || !copy;
    if (copy) looker->seen[looker->seen_count++] = copy;
    return copy != NULL;
}

// `why` "" for a file that is not there.
static void miss(struct looker *looker, const char *path, const char *why) {
    struct evaluator_inventory *inventory = looker->inventory;
    if (inventory->missing_count < EVALUATOR_INVENTORY_SHOWN)
        snprintf(inventory->missing[inventory->missing_count], EVALUATOR_PATH_MAX,
                 "%.600s%s%.400s%s", path, *why ? " (" : "", why, *why ? ")" : "");
    inventory->missing_count++;
}

static bool look(struct looker *looker, const char *path, struct proto_error *error) {
    struct evaluator_inventory *inventory = looker->inventory;
    bool exhausted = false;
    if (!is_new(looker, path, &exhausted))
        return !exhausted ||
               proto_fail(error, PROTO_EXHAUSTED, "more than %d files, or no memory", FILES_MAX);
    inventory->file_count++;
    if (!proto_path_exists(path)) miss(looker, path, "");
    return true;
}

// An XML file and what its <asset> names, but for textures that every scene replaces.
static bool look_into(struct looker *looker, const char *path, struct proto_error *error) {
    struct evaluator_tree tree = {0};
    const size_t seen = looker->seen_count;
    if (!look(looker, path, error)) return false;
    if (looker->seen_count == seen || !proto_path_exists(path)) return true;
    looker->inventory->scene_count++;
    if (!evaluator_tree_read(path, &tree, error)) {
        if (error->status == PROTO_EXHAUSTED) return false;
        miss(looker, path, error->text);
        return true;
    }
    bool done = true;
    for (xmlNode *asset = evaluator_node_first(tree.root, "asset"); asset && done;
         asset = evaluator_node_next(asset, "asset"))
        for (xmlNode *node = evaluator_node_first(asset, NULL); node && done;
             node = evaluator_node_next(node, NULL)) {
            const char *file = evaluator_node_get(node, "file");
            const char *name = evaluator_node_get(node, "name");
            const bool replaced =
                name && (strcmp(name, "texplane") == 0 || strcmp(name, "tex-wall") == 0);
            if (file && !replaced) done = look(looker, file, error);
        }
    evaluator_tree_free(&tree);
    return done;
}

PROTO_PRINTF(4, 5)
static bool look_below(struct looker *looker,
                       bool (*how)(struct looker *looker, const char *path,
                                   struct proto_error *error),
                       struct proto_error *error, const char *format, ...) {
    char path[2 * EVALUATOR_PATH_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    return how(looker, path, error);
}

static bool look_at_robot(struct looker *looker, struct proto_error *error) {
    static const char *const files[] = {"base.xml", "robots/panda/robot.xml",
                                        "grippers/panda_gripper.xml", "mounts/rethink_mount.xml"};
    for (size_t i = 0; i < PROTO_COUNT(files); i++)
        if (!look_below(looker, look_into, error, "%s/%s", looker->libero->robosuite, files[i]))
            return false;
    return true;
}

static bool look_at_items(struct looker *looker, const struct evaluator_arena *arena,
                          const struct evaluator_item *items, uint32_t count,
                          struct proto_error *error) {
    for (uint32_t i = 0; i < count; i++) {
        const struct evaluator_category *category = evaluator_category_find(items[i].type);
        char path[EVALUATOR_PATH_MAX] = "";
        if (!category || (arena && evaluator_arena_is_itself(arena, &items[i]))) continue;
        if (evaluator_category_path(looker->libero, category, path, error)) {
            if (!look_into(looker, path, error)) return false;
        } else if (path[0] != '\0' && !look(looker, path, error)) {
            return false;
        }
    }
    return true;
}

static bool look_at_scene(struct looker *looker, const struct evaluator_bddl *bddl,
                          struct proto_error *error) {
    const char *assets = looker->libero->assets;
    const struct evaluator_arena *arena = evaluator_arena_find(bddl->problem);
    if (arena && (!look_below(looker, look_into, error, "%s/scenes/%s", assets, arena->scene) ||
                  !look_below(looker, look, error, "%s/textures/%s", assets, arena->floor) ||
                  !look_below(looker, look, error, "%s/textures/%s", assets, arena->wall)))
        return false;
    return look_at_items(looker, arena, bddl->objects, bddl->object_count, error) &&
           look_at_items(looker, arena, bddl->fixtures, bddl->fixture_count, error);
}

static bool look_at_task(struct looker *looker, const struct evaluator_task *task,
                         struct proto_error *error) {
    const struct evaluator_libero *libero = looker->libero;
    struct evaluator_bddl *bddl = NULL;
    char path[2 * EVALUATOR_PATH_MAX];
    if (libero->init_files[0] != '\0' && !look_below(looker, look, error, "%s/%s/%s.pruned_init",
                                                     libero->init_files, task->suite, task->name))
        return false;
    if (libero->bddl_files[0] == '\0') return true;
    snprintf(path, sizeof path, "%s/%s/%s.bddl", libero->bddl_files, task->suite, task->name);
    if (!look(looker, path, error)) return false;
    if (!evaluator_bddl_read(path, &bddl, error)) {
        if (error->status == PROTO_DAMAGED) miss(looker, path, error->text);
        return error->status != PROTO_EXHAUSTED;
    }
    looker->inventory->task_count++;
    const bool done = libero->assets[0] == '\0' || look_at_scene(looker, bddl, error);
    evaluator_bddl_free(&bddl);
    return done;
}

bool evaluator_inventory_take(const struct evaluator_libero *libero,
                              struct evaluator_inventory *inventory, struct proto_error *error) {
    size_t count;
    const struct evaluator_task *tasks = evaluator_tasks(&count);
    struct looker looker = {.libero = libero, .inventory = inventory};
    *inventory = (struct evaluator_inventory){0};
    looker.seen = proto_alloc_array(FILES_MAX, sizeof *looker.seen, error);
    if (!looker.seen) return false;
    bool done = libero->robosuite[0] == '\0' || look_at_robot(&looker, error);
    for (size_t i = 0; i < count && done; i++) done = look_at_task(&looker, &tasks[i], error);
    for (size_t i = 0; i < looker.seen_count; i++) free(looker.seen[i]);
    free(looker.seen);
    return done;
}
