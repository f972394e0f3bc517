// evaluator/placement.c - see placement.h. Sums are written in the official order of operations:
// fixture poses must be equal to the last bit.
#include "evaluator/placement.h"

#include "evaluator/predicates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES_MAX = 5000 };
static const double clearance_m = 0.01;  // of movable objects over a workspace or an object

// ---- what :init asks for ------------------------------------------------------------------------

static const struct evaluator_region *find_region(const struct evaluator_bddl *bddl,
                                                  const char *name) {
    for (uint32_t i = 0; i < bddl->region_count; i++) {
        if (strcmp(bddl->regions[i].name, name) == 0) return &bddl->regions[i];
    }
    return NULL;
}

static bool refuse(const struct evaluator_clause *clause, const char *what,
                   struct proto_error *error) {
    proto_fail(error, PROTO_DAMAGED, "(%s %s %s): %s", evaluator_predicate_name(clause->predicate),
               clause->arguments[0], clause->arguments[1] ? clause->arguments[1] : "", what);
    return proto_error_where(error, "line %u", clause->line);
}

// A clause of On or In as a placement; *place stays unset (thing -1) for one that places nothing,
// as On a fixture without a region.
static bool read_placement(const struct evaluator_world *world,
                           const struct evaluator_clause *clause, struct evaluator_placement *place,
                           struct proto_error *error) {
    const struct evaluator_scene *scene = world->scene;
    const char *const below = clause->arguments[1];
    const int32_t thing = evaluator_world_thing(world, clause->arguments[0]);
    const int32_t other = evaluator_world_thing(world, below);
    *place = (struct evaluator_placement){EVALUATOR_OBJECT_ON_OBJECT, -1, -1, -1, NULL};
    if (thing < 0) return refuse(clause, "the first name is no object or fixture", error);
    if (clause->predicate == EVALUATOR_ON && other >= 0) {
        place->reference = other;
        if (!scene->things[other].fixture) place->thing = thing;
        return true;
    }
    const struct evaluator_region *region = find_region(scene->bddl, below);
    if (!region) return refuse(clause, "the second name is no region", error);
    place->thing = thing;
    place->reference = evaluator_world_thing(world, region->target);
    if (place->reference >= 0) {
        place->kind =
            clause->predicate == EVALUATOR_ON ? EVALUATOR_OBJECT_ON_SITE : EVALUATOR_OBJECT_IN_SITE;
        place->site = evaluator_world_site(world, below);
        if (place->site < 0) return refuse(clause, "the region has no site in the scene", error);
        if (scene->things[thing].fixture)
            return refuse(clause, "fixtures stand on the workspace only", error);
        return true;
    }
    place->kind = scene->things[thing].fixture ? EVALUATOR_FIXTURE_ON_WORKSPACE
                                               : EVALUATOR_OBJECT_ON_WORKSPACE;
    place->region = region;
    if (clause->predicate != EVALUATOR_ON)
        return refuse(clause, "nothing is In a workspace; use On", error);
    if (!region->has_ranges) return refuse(clause, "the region has no :ranges", error);
    return true;
}

static bool read_articulation(const struct evaluator_world *world,
                              const struct evaluator_clause *clause,
                              struct evaluator_articulation *articulation,
                              struct proto_error *error) {
    struct evaluator_fact fact;
    if (!evaluator_fact_resolve(world, clause->predicate, clause->arguments[0], NULL, &fact,
                                error)) {
        error->status = PROTO_DAMAGED;
        return proto_error_where(error, "line %u", clause->line);
    }
    const bool site = fact.first.site >= 0;
    const struct evaluator_category *category = world->scene->things[fact.first.thing].category;
    articulation->joints =
        site ? world->sites[fact.first.site].joints : world->things[fact.first.thing].joints;
    articulation->joint_count = site ? world->sites[fact.first.site].joint_count
                                     : world->things[fact.first.thing].joint_count;
    switch (clause->predicate) {
    case EVALUATOR_OPEN:
        articulation->low = category->open.low;
        articulation->high = category->open.high;
        break;
    case EVALUATOR_CLOSE:
        articulation->low = category->close.low;
        articulation->high = category->close.high;
        break;
    case EVALUATOR_TURNON:
        articulation->low = category->on.low;
        articulation->high = category->on.high;
        break;
    default:
        articulation->low = category->off.low;
        articulation->high = category->off.high;
        break;
    }
    return true;
}

// Every thing is placed once, and after what it stands on.
static bool check_order(const struct evaluator_plan *plan, const struct evaluator_world *world,
                        struct proto_error *error) {
    for (uint32_t i = 0; i < plan->placement_count; i++) {
        const struct evaluator_placement *place = &plan->placements[i];
        bool ready = place->reference < 0;
        for (uint32_t j = 0; j < i; j++) {
            if (plan->placements[j].thing == place->thing)
                return proto_fail(error, PROTO_DAMAGED, ":init places \"%s\" twice",
                                  world->scene->things[place->thing].name);
            ready = ready || plan->placements[j].thing == place->reference;
        }
        if (!ready)
            return proto_fail(error, PROTO_DAMAGED,
                              ":init places \"%s\" at \"%s\", which it does not place before",
                              world->scene->things[place->thing].name,
                              world->scene->things[place->reference].name);
    }
    return true;
}

static bool is_place(enum evaluator_predicate predicate) {
    return predicate == EVALUATOR_ON || predicate == EVALUATOR_IN;
}

// One group of kinds of the clauses, in :init order.
static bool gather(const struct evaluator_world *world, enum evaluator_placement_kind from,
                   enum evaluator_placement_kind to, struct evaluator_plan *plan,
                   struct proto_error *error) {
    const struct evaluator_bddl *bddl = world->scene->bddl;
    for (uint32_t i = 0; i < bddl->init_count; i++) {
        struct evaluator_placement place;
        if (!is_place(bddl->init[i].predicate)) continue;
        if (!read_placement(world, &bddl->init[i], &place, error)) return false;
        if (place.thing < 0 || place.kind < from || place.kind > to) continue;
        plan->placements[plan->placement_count++] = place;
    }
    return true;
}

bool evaluator_plan_new(const struct evaluator_world *world, struct evaluator_plan **plan,
                        struct proto_error *error) {
    const struct evaluator_bddl *bddl = world->scene->bddl;
    struct evaluator_plan *made = proto_alloc(sizeof *made, error);
    *plan = NULL;
    if (!made) return false;
    made->placements = proto_alloc_array(bddl->init_count, sizeof *made->placements, error);
    made->articulations = proto_alloc_array(bddl->init_count, sizeof *made->articulations, error);
    bool done = made->placements && made->articulations;
    for (uint32_t i = 0; done && i < bddl->init_count; i++) {
        if (is_place(bddl->init[i].predicate) || bddl->init[i].predicate == EVALUATOR_UP) continue;
        done = read_articulation(world, &bddl->init[i],
                                 &made->articulations[made->articulation_count++], error);
    }
    done =
        done &&
        gather(world, EVALUATOR_FIXTURE_ON_WORKSPACE, EVALUATOR_OBJECT_ON_WORKSPACE, made, error) &&
        gather(world, EVALUATOR_OBJECT_ON_SITE, EVALUATOR_OBJECT_ON_SITE, made, error) &&
        gather(world, EVALUATOR_OBJECT_IN_SITE, EVALUATOR_OBJECT_IN_SITE, made, error) &&
        gather(world, EVALUATOR_OBJECT_ON_OBJECT, EVALUATOR_OBJECT_ON_OBJECT, made, error) &&
        check_order(made, world, error);
    if (!done) {
        evaluator_plan_free(&made);
        return proto_error_where(error, ":init");
    }
    *plan = made;
    return true;
}

void evaluator_plan_free(struct evaluator_plan **plan) {
    if (!*plan) return;
    free((*plan)->placements);
    free((*plan)->articulations);
    free(*plan);
    *plan = NULL;
}

// ---- draws --------------------------------------------------------------------------------------

void evaluator_plan_articulate(const struct evaluator_plan *plan, const mjModel *model,
                               mjData *data, uint32_t times,
                               struct evaluator_numpy_random *random) {
    for (uint32_t n = 0; n < times; n++) {
        for (uint32_t i = 0; i < plan->articulation_count; i++) {
            const struct evaluator_articulation *articulation = &plan->articulations[i];
            const double q = evaluator_numpy_uniform(random, articulation->low, articulation->high);
            for (uint32_t j = 0; j < articulation->joint_count; j++)
                data->qpos[model->jnt_qposadr[articulation->joints[j]]] = q;
        }
    }
}

// Rotation about an axis as (x, y, z, w).
static void turn(char axis, double angle, double quat[4]) {
    for (int i = 0; i < 3; i++) quat[i] = axis == "xyz"[i] ? sin(angle / 2) : 0;
    quat[3] = cos(angle / 2);
}

// The category's rotations. LIBERO makes (x, y, z, w) and writes it where MuJoCo reads (w, x, y,
// z): so do we. With two rotations the product is rounded to float32.
static void draw_rotation(const struct evaluator_category *category,
                          struct evaluator_numpy_random *random, double quat[4]) {
    double a[4];
    turn(category->rotation[0].axis,
         evaluator_numpy_uniform(random, category->rotation[0].low, category->rotation[0].high), a);
    memcpy(quat, a, sizeof a);
    if (category->rotation[1].axis == 0) return;
    double b[4];
    turn(category->rotation[1].axis,
         evaluator_numpy_uniform(random, category->rotation[1].low, category->rotation[1].high), b);
    const double product[4] = {
        b[0] * a[3] + b[1] * a[2] - b[2] * a[1] + b[3] * a[0],
        -b[0] * a[2] + b[1] * a[3] + b[2] * a[0] + b[3] * a[1],
        b[0] * a[1] - b[1] * a[0] + b[2] * a[3] + b[3] * a[2],
        -b[0] * a[0] - b[1] * a[1] - b[2] * a[2] + b[3] * a[3],
    };
    for (int i = 0; i < 4; i++) quat[i] = (double)(float)product[i];
}

// What a placement draws from: ranges around a base, a height.
struct sampler {
    double x[2], y[2], base[3], z_offset;
    bool separate;  // must not overlap what is placed
};

static const struct evaluator_placed *find_placed(const struct evaluator_placed *placed,
                                                  uint32_t count, int32_t thing) {
    for (uint32_t i = 0; i < count; i++) {
        if (placed[i].thing == thing) return &placed[i];
    }
    return NULL;
}

static void sampler_on_workspace(const struct evaluator_placement *place,
                                 const struct evaluator_scene *scene, struct sampler *sampler) {
    const bool fixture = place->kind == EVALUATOR_FIXTURE_ON_WORKSPACE;
    const double *ranges = place->region->ranges;
    const double radius =
        !fixture && scene->shrinks_ranges ? scene->things[place->thing].radius : 0;
    *sampler = (struct sampler){
        .x = {ranges[0] + radius, ranges[2] - radius},
        .y = {ranges[1] + radius, ranges[3] - radius},
        .base = {scene->workspace[0], scene->workspace[1], scene->workspace[2]},
        .z_offset = fixture ? scene->fixture_z_offset : clearance_m,
        .separate = !fixture,
    };
}

static void sampler_at_reference(const struct evaluator_placement *place,
                                 const struct evaluator_world *world, const mjData *data,
                                 const struct evaluator_placed *reference,
                                 struct sampler *sampler) {
    const struct evaluator_thing *below = &world->scene->things[place->reference];
    *sampler = (struct sampler){.z_offset = 0, .separate = true};
    memcpy(sampler->base, reference->pos, sizeof sampler->base);
    if (place->kind == EVALUATOR_OBJECT_ON_OBJECT) {
        sampler->base[2] += below->top_z;
        sampler->z_offset = clearance_m;
        sampler->separate = false;
        return;
    }
    const int32_t site = world->sites[place->site].site;
    double turned[3];
    mju_rotVecQuat(turned, data->site_xpos + 3 * site, reference->quat);
    mju_addTo3(sampler->base, turned);
    if (place->kind != EVALUATOR_OBJECT_ON_SITE) return;
    sampler->base[2] += below->top_z;
    const double *size = world->model->site_size + 3 * site;
    const double radius = world->scene->things[place->thing].radius;
    const double x = size[0] / 2 - radius, y = size[1] / 2 - radius;
    sampler->x[0] = -x;
    sampler->x[1] = x;
    sampler->y[0] = -y;
    sampler->y[1] = y;
}

static bool overlaps(const struct evaluator_scene *scene, const struct evaluator_thing *thing,
                     const double pos[3], const struct evaluator_placed *placed, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        const struct evaluator_thing *other = &scene->things[placed[i].thing];
        const double x = pos[0] - placed[i].pos[0], y = pos[1] - placed[i].pos[1];
        if (sqrt(x * x + y * y) <= other->radius + thing->radius &&
            pos[2] - placed[i].pos[2] <= other->top_z - thing->bottom_z)
            return true;
    }
    return false;
}

static bool place_one(const struct evaluator_placement *place, const struct evaluator_world *world,
                      const mjData *data, struct evaluator_numpy_random *random,
                      struct evaluator_placed *placed, uint32_t count) {
    const struct evaluator_scene *scene = world->scene;
    const struct evaluator_thing *thing = &scene->things[place->thing];
    struct evaluator_placed *result = &placed[count];
    struct sampler sampler;
    if (place->reference < 0)
        sampler_on_workspace(place, scene, &sampler);
    else
        sampler_at_reference(place, world, data, find_placed(placed, count, place->reference),
                             &sampler);
    result->thing = place->thing;
    for (int tries = 0; tries < TRIES_MAX; tries++) {
        result->pos[0] =
            evaluator_numpy_uniform(random, sampler.x[0], sampler.x[1]) + sampler.base[0];
        result->pos[1] =
            evaluator_numpy_uniform(random, sampler.y[0], sampler.y[1]) + sampler.base[1];
        result->pos[2] = sampler.z_offset + sampler.base[2] - thing->bottom_z;
        if (sampler.separate && overlaps(scene, thing, result->pos, placed, count)) continue;
        if (place->kind == EVALUATOR_FIXTURE_ON_WORKSPACE) {
            const double *yaw = place->region->yaw;  // 0, 0 where absent, and still drawn
            double quat[4];
            turn('z', evaluator_numpy_uniform(random, fmin(yaw[0], yaw[1]), fmax(yaw[0], yaw[1])),
                 quat);
            for (int i = 0; i < 4; i++) result->quat[i] = quat[(i + 3) % 4];
        } else {
            draw_rotation(thing->category, random, result->quat);
        }
        return true;
    }
    return false;
}

bool evaluator_plan_place(const struct evaluator_plan *plan, const struct evaluator_world *world,
                          const mjData *data, struct evaluator_numpy_random *random,
                          struct evaluator_placed *placed) {
    for (uint32_t i = 0; i < plan->placement_count; i++) {
        if (!place_one(&plan->placements[i], world, data, random, placed, i)) return false;
    }
    return true;
}
