// evaluator/predicates.c - see predicates.h. Two formulas look wrong and are the official ones: On
// a region multiplies by the site's matrix where its transpose would be right, and In takes the
// absolute value after the product with the size, not before.
#include "evaluator/predicates.h"

#include <math.h>

static const double near_m = 0.03;       // On an object: distance of the centres seen from above
static const double on_below_m = 0.005;  // On a region: under its box
static const double on_above_m = 0.10;   // and over it
static const double in_below_m = 0.01;   // In a region: under its box
static const double up_m = 1.0;          // Up: height of the centre

// ---- lookup -------------------------------------------------------------------------------------

static bool resolve_name(const struct evaluator_world *world, const char *name, int32_t *thing,
                         int32_t *site, struct proto_error *error) {
    *thing = evaluator_world_thing(world, name);
    *site = *thing >= 0 ? -1 : evaluator_world_site(world, name);
    if (*site >= 0) *thing = world->scene->sites[*site].thing;
    if (*thing < 0 && *site < 0)
        return proto_fail(error, PROTO_USAGE,
                          "\"%s\" is no object, fixture or region of this scene", name);
    return true;
}

static bool has_joint_states(const struct evaluator_category *category,
                             enum evaluator_predicate predicate) {
    switch (predicate) {
    case EVALUATOR_OPEN:
        return !isnan(category->open_above) || !isnan(category->open_below);
    case EVALUATOR_CLOSE:
        return !isnan(category->close_above) || !isnan(category->close_below);
    case EVALUATOR_TURNON:
        return !isnan(category->on_above);
    case EVALUATOR_TURNOFF:
        return !isnan(category->off_below);
    default:
        return true;
    }
}

bool evaluator_fact_resolve(const struct evaluator_world *world, enum evaluator_predicate predicate,
                            const char *first, const char *second, struct evaluator_fact *fact,
                            struct proto_error *error) {
    const bool binary = predicate == EVALUATOR_ON || predicate == EVALUATOR_IN;
    const char *const verb = evaluator_predicate_name(predicate);
    *fact = (struct evaluator_fact){predicate, {-1, -1}, {-1, -1}};
    if (!first || binary != (second != NULL))
        return proto_fail(error, PROTO_USAGE, "%s takes %d names", verb, binary ? 2 : 1);
    if (!resolve_name(world, first, &fact->first.thing, &fact->first.site, error)) return false;
    if (binary) {
        if (fact->first.site >= 0)
            return proto_fail(error, PROTO_USAGE,
                              "%s of \"%s\", which is a region; must be an object", verb, first);
        if (!resolve_name(world, second, &fact->second.thing, &fact->second.site, error))
            return false;
        if (predicate == EVALUATOR_IN && fact->second.site < 0)
            return proto_fail(error, PROTO_USAGE, "In \"%s\", which is a thing; must be a region",
                              second);
        return true;
    }
    const bool turns = predicate == EVALUATOR_TURNON || predicate == EVALUATOR_TURNOFF;
    if (fact->first.thing < 0 || (fact->first.site >= 0 && (turns || predicate == EVALUATOR_UP)) ||
        !has_joint_states(world->scene->things[fact->first.thing].category, predicate))
        return proto_fail(error, PROTO_USAGE, "%s cannot be said of \"%s\"", verb, first);
    return true;
}

// ---- formulas -----------------------------------------------------------------------------------

static bool touches(const struct evaluator_world *world, const mjData *data, int32_t a, int32_t b) {
    for (int i = 0; i < data->ncon; i++) {
        const int left = data->contact[i].geom[0], right = data->contact[i].geom[1];
        if (left < 0 || right < 0) continue;
        const int32_t one = world->geom_things[left], other = world->geom_things[right];
        if ((one == a && other == b) || (one == b && other == a)) return true;
    }
    return false;
}

static const double *position(const struct evaluator_world *world, const mjData *data,
                              int32_t thing) {
    return data->xpos + 3 * world->things[thing].body;
}

static bool on_thing(const struct evaluator_world *world, const mjData *data, int32_t upper,
                     int32_t lower) {
    const double *a = position(world, data, upper), *b = position(world, data, lower);
    const double x = a[0] - b[0], y = a[1] - b[1];
    return b[2] <= a[2] && touches(world, data, upper, lower) && sqrt(x * x + y * y) < near_m;
}

static bool on_site(const struct evaluator_world *world, const mjModel *model, const mjData *data,
                    const struct evaluator_fact *fact) {
    const int32_t site = world->sites[fact->second.site].site;
    const double *size = model->site_size + 3 * site;
    double apart[3], d[3];
    mju_sub3(apart, position(world, data, fact->first.thing), data->site_xpos + 3 * site);
    mju_mulMatVec3(d, data->site_xmat + 9 * site, apart);
    if (!(size[2] - on_below_m < d[2] && d[2] < size[2] + on_above_m && fabs(d[0]) < size[0] &&
          fabs(d[1]) < size[1]))
        return false;
    return fact->second.thing < 0 || touches(world, data, fact->second.thing, fact->first.thing);
}

static bool in_site(const struct evaluator_world *world, const mjModel *model, const mjData *data,
                    const struct evaluator_fact *fact) {
    const int32_t site = world->sites[fact->second.site].site;
    const double *centre = data->site_xpos + 3 * site;
    const double *a = position(world, data, fact->first.thing);
    double half[3];
    mju_mulMatVec3(half, data->site_xmat + 9 * site, model->site_size + 3 * site);
    for (int i = 0; i < 3; i++) {
        const double reach = fabs(half[i]);
        const double below = centre[i] - reach - (i == 2 ? in_below_m : 0);
        if (!(a[i] > below && a[i] < centre[i] + reach)) return false;
    }
    return true;
}

bool evaluator_category_says(const struct evaluator_category *category,
                             enum evaluator_predicate predicate, double q) {
    switch (predicate) {
    case EVALUATOR_OPEN:
        return q > category->open_above || q < category->open_below;
    case EVALUATOR_CLOSE:
        return q > category->close_above || q < category->close_below;
    case EVALUATOR_TURNON:
        return q >= category->on_above;
    case EVALUATOR_TURNOFF:
        return q < category->off_below;
    default:
        return false;
    }
}

// Open and Turnon: any joint is so. Close and Turnoff: all are.
static bool joints_are(const struct evaluator_world *world, const mjModel *model,
                       const mjData *data, const struct evaluator_fact *fact) {
    const bool site = fact->first.site >= 0;
    const int32_t *joints =
        site ? world->sites[fact->first.site].joints : world->things[fact->first.thing].joints;
    const uint32_t count = site ? world->sites[fact->first.site].joint_count
                                : world->things[fact->first.thing].joint_count;
    const bool any = fact->predicate == EVALUATOR_OPEN || fact->predicate == EVALUATOR_TURNON;
    for (uint32_t i = 0; i < count; i++) {
        const bool is =
            evaluator_category_says(world->scene->things[fact->first.thing].category,
                                    fact->predicate, data->qpos[model->jnt_qposadr[joints[i]]]);
        if (is == any) return any;
    }
    return !any;
}

bool evaluator_fact_holds(const struct evaluator_world *world, const mjModel *model,
                          const mjData *data, const struct evaluator_fact *fact) {
    switch (fact->predicate) {
    case EVALUATOR_ON:
        return fact->second.site < 0 ? on_thing(world, data, fact->first.thing, fact->second.thing)
                                     : on_site(world, model, data, fact);
    case EVALUATOR_IN:
        return in_site(world, model, data, fact);
    case EVALUATOR_OPEN:
    case EVALUATOR_CLOSE:
    case EVALUATOR_TURNON:
    case EVALUATOR_TURNOFF:
        return joints_are(world, model, data, fact);
    case EVALUATOR_UP:
        return position(world, data, fact->first.thing)[2] >= up_m;
    }
    return false;
}
