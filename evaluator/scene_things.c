// evaluator/scene_things.c - objects and fixtures: from the XML of a category to bodies and assets
// named after the instance, and what placement and predicates need to know of them.
#include "evaluator/scene_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Classes are written out, since <default> of a part is not merged: attributes of the class are
// added where they lack. Nested classes inherit nothing.
static bool inline_classes(struct evaluator_tree *part, struct proto_error *error) {
    const xmlNode *defaults = evaluator_node_first(part->root, "default");
    for (xmlNode *node = part->root; node; node = evaluator_node_walk(node, part->root)) {
        if (evaluator_node_is(node, "default")) continue;
        const xmlNode *above = node->parent;
        if (above->type == XML_ELEMENT_NODE && evaluator_node_is(above, "default")) continue;
        const char *class = evaluator_node_get(node, "class");
        if (!class) continue;
        const xmlNode *row = defaults ? evaluator_node_first(defaults, "default") : NULL;
        for (; row; row = evaluator_node_next(row, "default")) {
            const char *its = evaluator_node_get(row, "class");
            if (its && strcmp(its, class) == 0) break;
        }
        if (!row)
            return proto_fail(error, PROTO_DAMAGED, "%s:%ld: class \"%s\" is not in its <default>",
                              part->path, xmlGetLineNo(node), class);
        const xmlNode *values = evaluator_node_first(row, (const char *)node->name);
        for (const xmlAttr *attr = values ? values->properties : NULL; attr; attr = attr->next) {
            const char *name = (const char *)attr->name;
            if (!evaluator_node_get(node, name))
                evaluator_node_set(part, node, name, "%s", evaluator_node_get(values, name));
        }
        evaluator_node_unset(node, "class");
    }
    return evaluator_tree_sound(part, error);
}

// Coordinate `axis` of the position of a metadata site of the outer body.
static bool read_metadata(const struct evaluator_tree *part, const xmlNode *outer, const char *name,
                          int axis, double *value, struct proto_error *error) {
    const xmlNode *site = evaluator_node_first(outer, "site");
    for (; site; site = evaluator_node_next(site, "site")) {
        const char *its = evaluator_node_get(site, "name");
        if (its && strcmp(its, name) == 0) break;
    }
    const char *pos = site ? evaluator_node_get(site, "pos") : NULL;
    double xyz[3];
    for (int i = 0; pos && i < 3; i++) {
        char *end;
        xyz[i] = strtod(pos, &end);
        pos = end == pos || !isfinite(xyz[i]) ? NULL : end;
    }
    if (!pos)
        return proto_fail(error, PROTO_DAMAGED,
                          "%s: its outer body needs a site \"%s\" with pos=\"x y z\"", part->path,
                          name);
    *value = xyz[axis];
    return true;
}

static bool names_grow(char ***names, uint32_t *count, const char *name,
                       struct proto_error *error) {
    char **more = realloc(*names, (*count + 1u) * sizeof *more);
    if (!more) return proto_fail(error, PROTO_EXHAUSTED, "no memory for the names of a scene");
    *names = more;
    more[*count] = proto_format(error, "%s", name);
    if (!more[*count]) return false;
    (*count)++;
    return true;
}

static void name_geoms(struct evaluator_tree *part, xmlNode *object) {
    uint32_t number = 0;
    for (xmlNode *node = object; node; node = evaluator_node_walk(node, object)) {
        if (!evaluator_node_is(node, "geom")) continue;
        if (!evaluator_node_get(node, "name"))
            evaluator_node_set(part, node, "name", "g%u", number);
        number++;
    }
}

// The free joint of an object, and a site at its origin.
static void add_origin(struct evaluator_tree *part, xmlNode *object, bool fixture) {
    xmlNode *joint = fixture ? NULL : evaluator_node_add(part, object, "joint");
    if (joint) {
        // damping on a <joint> acts on all six degrees of freedom, on a <freejoint> it would not
        evaluator_node_set(part, joint, "name", "joint0");
        evaluator_node_set(part, joint, "type", "free");
        evaluator_node_set(part, joint, "damping", "0.0005");
    }
    xmlNode *site = evaluator_node_add(part, object, "site");
    if (!site) return;
    evaluator_node_set(part, site, "name", "default_site");
    evaluator_node_set(part, site, "pos", "0 0 0");
    evaluator_node_set(part, site, "size", "0.002 0.002 0.002");
    evaluator_node_set(part, site, "rgba", "1 0 0 0");
    evaluator_node_set(part, site, "type", "sphere");
    evaluator_node_set(part, site, "group", "0");
}

// Joints and contact geoms of the named object.
static bool list_parts(xmlNode *object, struct evaluator_thing *thing, struct proto_error *error) {
    for (xmlNode *node = object; node; node = evaluator_node_walk(node, object)) {
        const char *name = evaluator_node_get(node, "name");
        if (!name) continue;
        if (evaluator_node_is(node, "joint") &&
            !names_grow(&thing->joints, &thing->joint_count, name, error))
            return false;
        if (evaluator_node_is(node, "geom") && evaluator_geom_collides(node) &&
            !names_grow(&thing->contact_geoms, &thing->contact_geom_count, name, error))
            return false;
    }
    return true;
}

// The body whose joints belong to a site, as LIBERO looks for it: of the bodies that hold the site
// at any depth the last one met in document order; a body without any site ends the search.
static const xmlNode *site_holder(const xmlNode *object, const char *name) {
    const xmlNode *holder = NULL;
    for (const xmlNode *body = object; body; body = evaluator_node_walk(body, object)) {
        if (!evaluator_node_is(body, "body")) continue;
        bool any = false;
        for (const xmlNode *node = evaluator_node_walk(body, body); node;
             node = evaluator_node_walk(node, body))
            any = any || evaluator_node_is(node, "site");
        if (!any) break;
        if (evaluator_node_find(body, "site", name)) holder = body;
    }
    return holder;
}

// Regions that are sites of this thing. A region is found by its full name in whichever thing has
// such a site; one that no thing has is ignored, as LIBERO does.
static bool find_sites(struct evaluator_composer *composer, const xmlNode *object, uint32_t index,
                       struct proto_error *error) {
    struct evaluator_scene *scene = composer->scene;
    for (uint32_t i = 0; i < composer->bddl->region_count; i++) {
        const struct evaluator_region *region = &composer->bddl->regions[i];
        if (strstr(region->name, composer->arena->workspace)) continue;
        const xmlNode *holder = site_holder(object, region->name);
        if (!holder) continue;
        if (scene->site_count == composer->bddl->region_count)
            return proto_fail(error, PROTO_DAMAGED, "%s: region %s is a site of two things",
                              composer->bddl_path, region->name);
        struct evaluator_site *site = &scene->sites[scene->site_count];
        site->thing = (int32_t)index;
        site->name = proto_format(error, "%s", region->name);
        if (!site->name) return false;
        scene->site_count++;
        for (const xmlNode *joint = evaluator_node_first(holder, "joint"); joint;
             joint = evaluator_node_next(joint, "joint")) {
            const char *name = evaluator_node_get(joint, "name");
            if (name && !names_grow(&site->joints, &site->joint_count, name, error)) return false;
        }
    }
    return true;
}

// The outer body of the file, which is dropped, and in it the body that is used.
static bool find_object(const struct evaluator_tree *part, const xmlNode **outer, xmlNode **object,
                        struct proto_error *error) {
    const xmlNode *world = evaluator_node_first(part->root, "worldbody");
    *outer = world ? evaluator_node_first(world, "body") : NULL;
    *object = *outer ? evaluator_node_first(*outer, "body") : NULL;
    for (; *object; *object = evaluator_node_next(*object, "body")) {
        const char *name = evaluator_node_get(*object, "name");
        if (name && strcmp(name, "object") == 0) return true;
    }
    return proto_fail(error, PROTO_DAMAGED,
                      "%s: expected worldbody/body/body with the name \"object\"", part->path);
}

static bool compose(struct evaluator_composer *composer, struct evaluator_tree *part,
                    struct evaluator_thing *thing, uint32_t index, struct proto_error *error) {
    const xmlNode *outer = NULL;
    xmlNode *object = NULL;
    char *prefix = proto_format(error, "%s_", thing->name);
    bool done = prefix && inline_classes(part, error) && find_object(part, &outer, &object, error);
    done = done && read_metadata(part, outer, "bottom_site", 2, &thing->bottom_z, error) &&
           read_metadata(part, outer, "top_site", 2, &thing->top_z, error) &&
           read_metadata(part, outer, "horizontal_radius_site", 0, &thing->radius, error);
    if (!done) goto end;

    evaluator_node_set(part, object, "name", "main");
    name_geoms(part, object);
    evaluator_node_prefix(part, part->root, prefix);
    done = evaluator_tree_sound(part, error) && find_sites(composer, object, index, error);
    if (!done) goto end;
    add_origin(part, object, thing->fixture);
    evaluator_node_prefix(part, object, prefix);
    done = evaluator_tree_sound(part, error) && list_parts(object, thing, error);
    if (!done) goto end;

    xmlNode *world = evaluator_node_first(composer->tree.root, "worldbody");
    (void)evaluator_node_append(&composer->tree, world, object);
    static const char *const sections[] = {"asset",  "actuator", "sensor",
                                           "tendon", "equality", "contact"};
    for (size_t i = 0; i < PROTO_COUNT(sections); i++)
        evaluator_tree_merge(&composer->tree, part, sections[i]);
    done = evaluator_tree_sound(&composer->tree, error);
end:
    free(prefix);
    return done;
}

bool evaluator_compose_thing(struct evaluator_composer *composer, const struct evaluator_item *item,
                             bool fixture, uint32_t index, struct proto_error *error) {
    struct evaluator_thing *thing = &composer->scene->things[index];
    thing->fixture = fixture;
    thing->category = evaluator_category_find(item->type);
    if (!thing->category) {
        (void)proto_fail(error, PROTO_DAMAGED, "is of category \"%s\", which LIBERO does not have",
                         item->type);
        return proto_error_where(error, "%s:%u: %s", composer->bddl_path, item->line, item->name);
    }
    char path[EVALUATOR_PATH_MAX];
    struct evaluator_tree part = {0};
    thing->name = proto_format(error, "%s", item->name);
    const bool done =
        thing->name && evaluator_category_path(composer->libero, thing->category, path, error) &&
        evaluator_tree_read(path, &part, error) && compose(composer, &part, thing, index, error);
    evaluator_tree_free(&part);
    if (!done)
        (void)proto_error_where(error, "%s:%u: %s", composer->bddl_path, item->line, item->name);
    return done;
}
