// evaluator/scene_robot.c - the Panda with its mount and gripper, named and coloured as robosuite
// 1.4.0 does. The mount is merged before the gripper: that order fixes the mesh ids.
#include "evaluator/scene_parts.h"

#include <stdio.h>
#include <string.h>

#define JOINT_COUNT 7

static bool read_part(const struct evaluator_composer *composer, const char *file,
                      struct evaluator_tree *part, struct proto_error *error) {
    char path[2 * EVALUATOR_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", composer->libero->robosuite, file);
    return evaluator_tree_read(path, part, error);
}

// Unnamed geoms are counted apart as collision and visual ones; collision geoms get one colour.
static void name_geoms(struct evaluator_tree *part, const char *rgba) {
    uint32_t collisions = 0, visuals = 0;
    for (xmlNode *node = part->root; node; node = evaluator_node_walk(node, part->root)) {
        if (!evaluator_node_is(node, "geom")) continue;
        const bool collides = evaluator_geom_collides(node);
        const uint32_t number = collides ? collisions++ : visuals++;
        if (!evaluator_node_get(node, "name"))
            evaluator_node_set(part, node, "name", "g%u_%s", number, collides ? "col" : "vis");
        if (!collides) continue;
        evaluator_node_set(part, node, "rgba", "%s", rgba);
        evaluator_node_unset(node, "material");
    }
}

static bool set_joints(struct evaluator_tree *arm, struct proto_error *error) {
    static const char *const damping[JOINT_COUNT] = {"0.1", "0.1",  "0.1", "0.1",
                                                     "0.1", "0.01", "0.01"};
    int count = 0;
    for (xmlNode *node = arm->root; node; node = evaluator_node_walk(node, arm->root)) {
        if (!evaluator_node_is(node, "joint")) continue;
        if (count == JOINT_COUNT)
            return proto_fail(error, PROTO_DAMAGED, "%s: has more than %d joints", arm->path,
                              JOINT_COUNT);
        evaluator_node_set(arm, node, "damping", "%s", damping[count]);
        if (!evaluator_node_get(node, "frictionloss"))
            evaluator_node_set(arm, node, "frictionloss", "0.1");
        if (!evaluator_node_get(node, "armature"))
            evaluator_node_set(arm, node, "armature", "%.17g", 5.0 / (count + 1));
        count++;
    }
    return count == JOINT_COUNT ||
           proto_fail(error, PROTO_DAMAGED, "%s: has %d joints, expected %d", arm->path, count,
                      JOINT_COUNT);
}

// Appends the bodies of `part` to the body `name` of the arm, and its other sections to the arm's.
static bool attach(struct evaluator_tree *arm, const struct evaluator_tree *part, const char *name,
                   struct proto_error *error) {
    xmlNode *body = evaluator_node_find(arm->root, "body", name);
    const xmlNode *world = evaluator_node_first(part->root, "worldbody");
    if (!body || !world)
        return proto_fail(error, PROTO_DAMAGED, "%s: has no %s", body ? part->path : arm->path,
                          body ? "<worldbody>" : name);
    for (xmlNode *node = evaluator_node_first(world, NULL); node;
         node = evaluator_node_next(node, NULL))
        (void)evaluator_node_append(arm, body, node);
    evaluator_tree_merge(arm, part, "asset");
    evaluator_tree_merge(arm, part, "actuator");
    evaluator_tree_merge(arm, part, "sensor");
    return evaluator_tree_sound(arm, error);
}

static bool add_mount(struct evaluator_composer *composer, struct evaluator_tree *arm,
                      struct proto_error *error) {
    xmlNode *base = evaluator_node_find(arm->root, "body", "robot0_base");
    if (!base) return proto_fail(error, PROTO_DAMAGED, "%s: has no body \"base\"", arm->path);
    evaluator_node_set(arm, base, "pos", "%s", composer->arena->robot_pos);
    if (!composer->arena->mounted) {
        xmlNode *empty = evaluator_node_add(arm, base, "body");
        if (empty) evaluator_node_set(arm, empty, "name", "mount0_base");
        return evaluator_tree_sound(arm, error);
    }
    struct evaluator_tree mount;
    if (!read_part(composer, "mounts/rethink_mount.xml", &mount, error)) return false;
    bool done = false;
    name_geoms(&mount, "0.5 0.5 0 1");
    evaluator_node_prefix(&mount, mount.root, "mount0_");
    xmlNode *foot = evaluator_node_find(mount.root, "body", "mount0_base");
    if (!foot) {
        (void)proto_fail(error, PROTO_DAMAGED, "%s: has no body \"base\"", mount.path);
        goto end;
    }
    evaluator_node_set(&mount, foot, "pos", "0 0 0.01");
    done = evaluator_tree_sound(&mount, error) && attach(arm, &mount, "robot0_base", error);
end:
    evaluator_tree_free(&mount);
    return done;
}

static bool add_gripper(struct evaluator_composer *composer, struct evaluator_tree *arm,
                        struct proto_error *error) {
    struct evaluator_tree gripper;
    if (!read_part(composer, "grippers/panda_gripper.xml", &gripper, error)) return false;
    name_geoms(&gripper, "0 0 0.5 1");
    evaluator_node_prefix(&gripper, gripper.root, "gripper0_");
    const bool done =
        evaluator_tree_sound(&gripper, error) && attach(arm, &gripper, "robot0_right_hand", error);
    evaluator_tree_free(&gripper);
    return done;
}

static void remove_node(xmlNode *node) {
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

// Replaces what is drawn of a robot: its collision geoms stand in for the fine meshes, which go.
static void draw_plainly(struct evaluator_tree *arm) {
    const xmlNode *assets = evaluator_node_first(arm->root, "asset");
    for (xmlNode *node = arm->root, *next; node; node = next) {
        next = evaluator_node_walk(node, arm->root);
        if (!evaluator_node_is(node, "geom")) continue;
        if (!evaluator_geom_collides(node)) {
            const char *mesh = evaluator_node_get(node, "mesh");
            xmlNode *asset = mesh && assets ? evaluator_node_find(assets, "mesh", mesh) : NULL;
            if (asset) remove_node(asset);
            remove_node(node);  // has no elements below it, so next is another one's
        }
    }
    for (xmlNode *node = arm->root; node; node = evaluator_node_walk(node, arm->root)) {
        if (!evaluator_node_is(node, "geom") || !evaluator_geom_collides(node)) continue;
        xmlNode *twin = evaluator_node_append(arm, node->parent, node);
        if (!twin) return;
        evaluator_node_set(arm, twin, "name", "%s_drawn", evaluator_node_get(node, "name"));
        evaluator_node_set(arm, twin, "group", "1");
        evaluator_node_set(arm, twin, "contype", "0");
        evaluator_node_set(arm, twin, "conaffinity", "0");
        evaluator_node_set(arm, twin, "mass", "0");
        evaluator_node_set(arm, twin, "rgba", "0.8 0.8 0.8 1");
    }
}

bool evaluator_compose_robot(struct evaluator_composer *composer, struct proto_error *error) {
    struct evaluator_tree arm;
    if (!read_part(composer, "robots/panda/robot.xml", &arm, error)) return false;
    name_geoms(&arm, "0 0.5 0 1");
    evaluator_node_prefix(&arm, arm.root, "robot0_");
    const bool done = set_joints(&arm, error) && add_mount(composer, &arm, error) &&
                      add_gripper(composer, &arm, error);
    if (done && composer->arena->plain_robot) draw_plainly(&arm);
    if (done)
        for (size_t i = 0; i < 4; i++)
            evaluator_tree_merge(
                &composer->tree, &arm,
                (const char *const[]){"asset", "worldbody", "actuator", "sensor"}[i]);
    evaluator_tree_free(&arm);
    return done && evaluator_tree_sound(&composer->tree, error);
}
