// evaluator/scene_arena.c - the room, its table, its cameras and the region boxes on it. The values
// are those of LIBERO's envs/problems and envs/arenas.
#include "evaluator/scene_parts.h"

#include <stdio.h>
#include <string.h>

#define FRONT_QUAT "0.56 0.43 0.43 0.56"
#define HIGH_QUAT "0.6380177736282349 0.3048497438430786 0.30484986305236816 0.6380177736282349"
#define LOW_QUAT "0.6182166934013367 0.3432307541370392 0.3432314395904541 0.6182177066802979"
#define GALLERY                                                                                    \
    {                                                                                              \
        "galleryview", "2.844547668904445 2.1279684793440667 3.128616846013882",                   \
            "0.42261379957199097 0.23374411463737488 0.41646939516067505 0.7702690958976746"       \
    }
#define PAPER(pos)                                                                                 \
    { "paperview", pos, "0.513 0.353 0.443 0.645" }
#define PLASTER "light-gray-plaster.png"
#define PLANKS "seamless_wood_planks_floor.png"
#define TILE "light-gray-floor-tile.png"

static const struct evaluator_arena arenas[] = {
    {
        .problem = "libero_tabletop_manipulation",
        .scene = "libero_tabletop_base_style.xml",
        .workspace = "main_table",
        .type = "table",
        .robot_pos = "-0.66 0.0 0.912",
        .mounted = true,
        .workspace_ref = {0, 0, 0.90},
        .floor = TILE,
        .wall = PLASTER,
        .fixture_z_offset = -0.04,
        .shrinks_ranges = true,
        .table_friction = "0.6 0.005 0.0001",
        .region_body = "table",
        .region_pos = {0, 0, 0.02},
        .views = {{"agentview", "0.6586131746834771 0.0 1.6103500240372423", HIGH_QUAT},
                  {"frontview", "1.0 0.0 1.48", FRONT_QUAT},
                  GALLERY},
    },
    {
        .problem = "libero_kitchen_tabletop_manipulation",
        .scene = "libero_kitchen_tabletop_base_style.xml",
        .workspace = "kitchen_table",
        .type = "kitchen_table",
        .robot_pos = "-0.66 0.0 0.912",
        .mounted = true,
        .workspace_ref = {0, 0, 0.90},
        .floor = "gray_ceramic_tile.png",
        .wall = "yellow_linen_wall_texture.png",
        .fixture_z_offset = -0.04,
        .table_friction = "1 0.005 0.0001",
        .region_body = "table",
        .region_pos = {0, 0, 0},
        .views = {{"agentview", "0.6586131746834771 0.0 1.6103500240372423", HIGH_QUAT},
                  {"frontview", "1.0 0.0 1.48", FRONT_QUAT},
                  GALLERY,
                  PAPER("2.1 0.535 2.075")},
    },
    {
        .problem = "libero_study_tabletop_manipulation",
        .scene = "libero_study_base_style.xml",
        .workspace = "study_table",
        .type = "study_table",
        .robot_pos = "-0.75 0.0 0.912",
        .mounted = true,
        .workspace_ref = {-0.2, 0, 0.867},
        .floor = TILE,
        .wall = PLASTER,
        .fixture_z_offset = -0.04,
        .region_body = "study_table",
        .region_pos = {-0.2, 0, 0.867},
        .views = {{"agentview", "0.4586131746834771 0.0 1.6103500240372423", HIGH_QUAT},
                  {"frontview", "1.0 0.0 1.48", FRONT_QUAT},
                  GALLERY,
                  PAPER("2.1 0.535 2.075")},
    },
    {
        .problem = "libero_living_room_tabletop_manipulation",
        .scene = "libero_living_room_tabletop_base_style.xml",
        .workspace = "living_room_table",
        .type = "living_room_table",
        .robot_pos = "-0.51 0.0 0.42",
        .workspace_ref = {0, 0, 0.41},
        .floor = PLANKS,
        .wall = PLASTER,
        .fixture_z_offset = -0.014,
        .region_body = "living_room_table",
        .region_pos = {0, 0, 0.41},
        .views = {{"agentview", "0.6065773716836134 0.0 0.96", LOW_QUAT},
                  {"frontview", "1.5 0.0 0.9", FRONT_QUAT},
                  GALLERY,
                  PAPER("2.1 0.735 1.875")},
    },
    {
        .problem = "libero_floor_manipulation",
        .scene = "libero_floor_base_style.xml",
        .workspace = "floor",
        .type = "floor",
        .robot_pos = "-0.6 0.0 0.0",
        .workspace_ref = {0, 0, -0.035},
        .floor = TILE,
        .wall = PLASTER,
        .fixture_z_offset = -0.025,
        .shrinks_ranges = true,
        .region_body = "floor",
        .region_pos = {0, 0, 0.02},
        .views = {{"agentview", "0.8965773716836134 5.216182733499864e-07 0.65", LOW_QUAT},
                  {"frontview", "1.0 0.0 0.65", FRONT_QUAT},
                  GALLERY},
    },
    {
        .problem = "libero_coffee_table_manipulation",
        .scene = "libero_coffee_table_base_style.xml",
        .workspace = "coffee_table",
        .type = "coffee_table",
        .robot_pos = "-0.51 0.0 0.41",
        .workspace_ref = {0, 0, 0.41},
        .floor = PLANKS,
        .wall = PLASTER,
        .fixture_z_offset = -0.014,
        .region_body = "coffee_table",
        .region_pos = {0, 0, 0.02},
        .views = {{"agentview", "1.5 0.0 0.9", FRONT_QUAT},
                  GALLERY,
                  {"canonical_agentview", "0.5386131746834771 0.0 0.7903500240372423", HIGH_QUAT}},
    },
    {
        // our own, with the agentview and the table of the first one
        .problem = "demo_tabletop_manipulation",
        .scene = "demo_table.xml",
        .workspace = "main_table",
        .type = "table",
        .robot_pos = "-0.66 0.0 0.912",
        .mounted = true,
        .workspace_ref = {0, 0, 0.90},
        .plain_robot = true,
        .region_body = "table",
        .region_pos = {0, 0, 0.025},
        .views = {{"agentview", "0.6586131746834771 0.0 1.6103500240372423", HIGH_QUAT},
                  {"frontview", "1.0 0.0 1.48", FRONT_QUAT},
                  GALLERY},
    },
};

const struct evaluator_arena *evaluator_arena_find(const char *problem) {
    for (size_t i = 0; i < PROTO_COUNT(arenas); i++)
        if (strcmp(arenas[i].problem, problem) == 0) return &arenas[i];
    return NULL;
}

const char *evaluator_arena_names(void) {
    return "libero_tabletop_manipulation, libero_kitchen_tabletop_manipulation, "
           "libero_study_tabletop_manipulation, libero_living_room_tabletop_manipulation, "
           "libero_floor_manipulation, libero_coffee_table_manipulation, "
           "demo_tabletop_manipulation";
}

bool evaluator_arena_is_itself(const struct evaluator_arena *arena,
                               const struct evaluator_item *fixture) {
    return strcmp(fixture->type, arena->type) == 0;
}

// Another file of the same folder.
static void change_texture(struct evaluator_tree *room, const char *name, const char *file) {
    const xmlNode *assets = evaluator_node_first(room->root, "asset");
    xmlNode *texture = assets ? evaluator_node_find(assets, "texture", name) : NULL;
    const char *old = texture ? evaluator_node_get(texture, "file") : NULL;
    const char *slash = old ? strrchr(old, '/') : NULL;
    if (!slash) return;
    char folder[EVALUATOR_PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(slash - old), old);
    evaluator_node_set(room, texture, "file", "%s/%s", folder, file);
}

// The table top of 1 x 1.2 x 0.05 m and its four legs.
static bool size_table(struct evaluator_tree *room, const xmlNode *world, const char *friction,
                       struct proto_error *error) {
    static const struct {
        const char *tag, *name, *attribute, *value;
    } edits[] = {
        {"body", "table", "pos", "0 0 0.875"},
        {"geom", "table_collision", "size", "0.5 0.6 0.025"},
        {"geom", "table_visual", "size", "0.5 0.6 0.025"},
        {"site", "table_top", "pos", "0 0 0.025"},
        {"geom", "table_leg1_visual", "pos", "0.4 0.5 -0.4375"},
        {"geom", "table_leg1_visual", "size", "0.025 0.4375"},
        {"geom", "table_leg2_visual", "pos", "-0.4 0.5 -0.4375"},
        {"geom", "table_leg2_visual", "size", "0.025 0.4375"},
        {"geom", "table_leg3_visual", "pos", "-0.4 -0.5 -0.4375"},
        {"geom", "table_leg3_visual", "size", "0.025 0.4375"},
        {"geom", "table_leg4_visual", "pos", "0.4 -0.5 -0.4375"},
        {"geom", "table_leg4_visual", "size", "0.025 0.4375"},
    };
    for (size_t i = 0; i < PROTO_COUNT(edits); i++) {
        xmlNode *node = evaluator_node_find(world, edits[i].tag, edits[i].name);
        if (!node)
            return proto_fail(error, PROTO_DAMAGED, "%s: has no %s \"%s\"", room->path,
                              edits[i].tag, edits[i].name);
        evaluator_node_set(room, node, edits[i].attribute, "%s", edits[i].value);
    }
    evaluator_node_set(room, evaluator_node_find(world, "geom", "table_collision"), "friction",
                       "%s", friction);
    return true;
}

// Collision geoms are marked as such by their colour; nobody sees group 0.
static void colour_collisions(struct evaluator_tree *room, const xmlNode *world) {
    for (xmlNode *node = evaluator_node_walk(world, world); node;
         node = evaluator_node_walk(node, world)) {
        if (!evaluator_node_is(node, "geom") || !evaluator_geom_collides(node)) continue;
        const char *name = evaluator_node_get(node, "name");
        if (name && strcmp(name, "floor") == 0) continue;
        evaluator_node_set(room, node, "rgba", "0.5 0.5 0 1");
        evaluator_node_unset(node, "material");
    }
}

static void add_region(struct evaluator_composer *composer, struct evaluator_tree *room,
                       xmlNode *body, const struct evaluator_region *region) {
    const double *range = region->ranges, *ref = composer->arena->region_pos;
    const float *rgba = region->has_rgba ? region->rgba : (const float[]){0, 0, 1, 0};
    xmlNode *site = evaluator_node_add(room, body, "site");
    if (!site) return;
    evaluator_node_set(room, site, "name", "%s", region->name);
    evaluator_node_set(room, site, "type", "box");
    evaluator_node_set(room, site, "pos", "%.17g %.17g %.17g", (range[2] + range[0]) / 2 + ref[0],
                       (range[3] + range[1]) / 2 + ref[1], ref[2]);
    evaluator_node_set(room, site, "quat", "1 0 0 0");
    evaluator_node_set(room, site, "size", "%.17g %.17g 0.007", (range[2] - range[0]) / 2,
                       (range[3] - range[1]) / 2);
    evaluator_node_set(room, site, "rgba", "%.9g %.9g %.9g %.9g", (double)rgba[0], (double)rgba[1],
                       (double)rgba[2], (double)rgba[3]);
}

static bool add_regions(struct evaluator_composer *composer, struct evaluator_tree *room,
                        const xmlNode *world, struct proto_error *error) {
    const struct evaluator_bddl *bddl = composer->bddl;
    xmlNode *body = evaluator_node_find(world, "body", composer->arena->region_body);
    if (!body)
        return proto_fail(error, PROTO_DAMAGED, "%s: has no body \"%s\"", room->path,
                          composer->arena->region_body);
    for (uint32_t i = 0; i < bddl->region_count; i++) {
        const struct evaluator_region *region = &bddl->regions[i];
        if (!strstr(region->name, composer->arena->workspace)) continue;
        const double *range = region->ranges;
        if (!region->has_ranges || !(range[2] >= range[0] && range[3] >= range[1])) {
            (void)proto_fail(error, PROTO_DAMAGED,
                             "a region of the workspace needs :ranges ((x0 y0 x1 y1)) with "
                             "x0 <= x1 and y0 <= y1");
            return proto_error_where(error, "%s:%u: %s", composer->bddl_path, region->line,
                                     region->name);
        }
        add_region(composer, room, body, region);
        struct evaluator_site *site = &composer->scene->sites[composer->scene->site_count];
        site->thing = -1;
        site->name = proto_format(error, "%s", region->name);
        if (!site->name) return false;
        composer->scene->site_count++;
    }
    return true;
}

static void set_cameras(struct evaluator_tree *room, xmlNode *world,
                        const struct evaluator_view *views) {
    for (const struct evaluator_view *view = views; view->name; view++) {
        xmlNode *camera = evaluator_node_find(world, "camera", view->name);
        if (!camera) camera = evaluator_node_add(room, world, "camera");
        if (!camera) return;
        evaluator_node_set(room, camera, "name", "%s", view->name);
        evaluator_node_set(room, camera, "pos", "%s", view->pos);
        evaluator_node_set(room, camera, "quat", "%s", view->quat);
    }
}

static bool edit_room(struct evaluator_composer *composer, struct evaluator_tree *room,
                      struct proto_error *error) {
    const struct evaluator_arena *arena = composer->arena;
    xmlNode *world = evaluator_node_first(room->root, "worldbody");
    if (!world) return proto_fail(error, PROTO_DAMAGED, "%s: has no <worldbody>", room->path);
    change_texture(room, "texplane", arena->floor);
    change_texture(room, "tex-wall", arena->wall);
    if (arena->table_friction && !size_table(room, world, arena->table_friction, error))
        return false;
    colour_collisions(room, world);
    if (!add_regions(composer, room, world, error)) return false;
    set_cameras(room, world, arena->views);
    return evaluator_tree_sound(room, error);
}

bool evaluator_compose_arena(struct evaluator_composer *composer, struct proto_error *error) {
    char path[2 * EVALUATOR_PATH_MAX];
    snprintf(path, sizeof path, "%s/scenes/%s", composer->libero->assets, composer->arena->scene);
    struct evaluator_tree room;
    if (!evaluator_tree_read(path, &room, error)) return false;
    const bool done = edit_room(composer, &room, error);
    if (done) {
        evaluator_tree_merge(&composer->tree, &room, "asset");
        evaluator_tree_merge(&composer->tree, &room, "worldbody");
    }
    evaluator_tree_free(&room);
    return done && evaluator_tree_sound(&composer->tree, error);
}
