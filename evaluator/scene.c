// evaluator/scene.c - see scene.h. The order of the steps fixes every id of the compiled model.
#include "evaluator/scene.h"

#include "evaluator/scene_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The file that everything is merged into; its compiler settings are those of the scene.
static bool open_base(struct evaluator_composer *composer, struct proto_error *error) {
    char path[2 * EVALUATOR_PATH_MAX];
    snprintf(path, sizeof path, "%s/base.xml", composer->libero->robosuite);
    if (!evaluator_tree_read(path, &composer->tree, error)) return false;
    xmlNode *option = evaluator_node_first(composer->tree.root, "option");
    if (!option || !evaluator_node_first(composer->tree.root, "worldbody"))
        return proto_fail(error, PROTO_DAMAGED, "%s: expected <option> and <worldbody>", path);
    evaluator_node_set(&composer->tree, option, "timestep", "0.002");
    return true;
}

static bool take_text(struct evaluator_composer *composer, struct proto_error *error) {
    xmlChar *text = NULL;
    int size = 0;
    // an element a line: libmujoco's messages name lines
    xmlDocDumpFormatMemoryEnc(composer->tree.doc, &text, &size, "UTF-8", 1);
    if (text && size > 0)
        composer->scene->xml = proto_format(error, "%s", (const char *)text);
    else
        (void)proto_fail(error, PROTO_EXHAUSTED, "no memory for the text of a scene");
    xmlFree(text);
    if (!composer->scene->xml) return false;
    composer->scene->xml_size = (size_t)size;
    return true;
}

static bool compose(struct evaluator_composer *composer, struct proto_error *error) {
    const struct evaluator_bddl *bddl = composer->bddl;
    struct evaluator_scene *scene = composer->scene;
    const struct evaluator_arena *arena = composer->arena = evaluator_arena_find(bddl->problem);
    if (!arena) {
        (void)proto_fail(error, PROTO_DAMAGED, "problem is \"%s\", expected one of %s",
                         bddl->problem, evaluator_arena_names());
        return proto_error_where(error, "%s", composer->bddl_path);
    }
    memcpy(scene->workspace, arena->workspace_ref, sizeof scene->workspace);
    scene->fixture_z_offset = arena->fixture_z_offset;
    scene->shrinks_ranges = arena->shrinks_ranges;
    scene->things = proto_alloc_array((size_t)bddl->object_count + bddl->fixture_count,
                                      sizeof *scene->things, error);
    scene->sites =
        scene->things ? proto_alloc_array(bddl->region_count, sizeof *scene->sites, error) : NULL;
    if (!scene->sites) return false;

    if (!open_base(composer, error) || !evaluator_compose_arena(composer, error) ||
        !evaluator_compose_robot(composer, error))
        return false;
    for (uint32_t i = 0; i < bddl->object_count; i++, scene->thing_count++)
        if (!evaluator_compose_thing(composer, &bddl->objects[i], false, scene->thing_count, error))
            return false;
    for (uint32_t i = 0; i < bddl->fixture_count; i++) {
        if (evaluator_arena_is_itself(arena, &bddl->fixtures[i])) continue;
        if (!evaluator_compose_thing(composer, &bddl->fixtures[i], true, scene->thing_count, error))
            return false;
        scene->thing_count++;
    }
    return take_text(composer, error);
}

bool evaluator_scene_compose(const struct evaluator_libero *libero, const char *bddl_path,
                             struct evaluator_scene **scene, struct proto_error *error) {
    if (!libero->assets[0] || !libero->robosuite[0])
        return proto_fail(error, PROTO_MISSING, "%s not found; looked at:\n%s",
                          libero->assets[0] ? "the robot's files of robosuite were"
                                            : "LIBERO's assets were",
                          libero->how);
    struct evaluator_scene *new = proto_alloc(sizeof *new, error);
    if (!new) return false;
    bool done = evaluator_bddl_read(bddl_path, &new->bddl, error);
    if (done) {
        struct evaluator_composer composer = {
            .libero = libero, .bddl_path = bddl_path, .bddl = new->bddl, .scene = new};
        done = compose(&composer, error);
        evaluator_tree_free(&composer.tree);
    }
    if (done)
        *scene = new;
    else
        evaluator_scene_free(&new);
    return done;
}

static void free_names(char **names, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

void evaluator_scene_free(struct evaluator_scene **scene) {
    struct evaluator_scene *old = *scene;
    if (!old) return;
    *scene = NULL;
    const uint32_t capacity = old->bddl ? old->bddl->object_count + old->bddl->fixture_count : 0;
    for (uint32_t i = 0; old->things && i < capacity; i++) {  // the last may be half filled
        free(old->things[i].name);
        free_names(old->things[i].joints, old->things[i].joint_count);
        free_names(old->things[i].contact_geoms, old->things[i].contact_geom_count);
    }
    for (uint32_t i = 0; i < old->site_count; i++) {
        free(old->sites[i].name);
        free_names(old->sites[i].joints, old->sites[i].joint_count);
    }
    free(old->things);
    free(old->sites);
    free(old->xml);
    evaluator_bddl_free(&old->bddl);
    free(old);
}
