// evaluator/env.c - an environment: its memory, and one control step.
//
// The official order solves the constraints three times in each substep, at the same positions and
// velocities: twice before the controller looks, once with its torques. Each solve starts from the
// result of the one before, so their number changes the last digits; but the position and velocity
// stages would give the same numbers each time and run once.
#include "evaluator/env.h"

#include "evaluator/env_parts.h"
#include "evaluator/guard.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- memory -------------------------------------------------------------------------------------

static bool own_model_new(const mjModel *model, struct evaluator_own_model *own,
                          struct proto_error *error) {
    const size_t bodies = (size_t)model->nbody;
    own->model = *model;
    own->body_pos = proto_alloc_array(bodies * 3, sizeof(double), error);
    own->body_quat = proto_alloc_array(bodies * 4, sizeof(double), error);
    own->site_rgba = proto_alloc_array((size_t)model->nsite * 4, sizeof(float), error);
    own->geom_rgba = proto_alloc_array((size_t)model->ngeom * 4, sizeof(float), error);
    if (!own->body_pos || !own->body_quat || !own->site_rgba || !own->geom_rgba) return false;
    own->model.body_pos = own->body_pos;
    own->model.body_quat = own->body_quat;
    own->model.site_rgba = own->site_rgba;
    own->model.geom_rgba = own->geom_rgba;
    return true;
}

void evaluator_env_restore_model(struct evaluator_env *env) {
    const mjModel *model = env->world->model;
    const size_t bodies = (size_t)model->nbody;
    memcpy(env->own.body_pos, model->body_pos, bodies * 3 * sizeof(double));
    memcpy(env->own.body_quat, model->body_quat, bodies * 4 * sizeof(double));
    memcpy(env->own.site_rgba, model->site_rgba, (size_t)model->nsite * 4 * sizeof(float));
    memcpy(env->own.geom_rgba, model->geom_rgba, (size_t)model->ngeom * 4 * sizeof(float));
}

static void make_data(void *context) {
    struct evaluator_env *env = context;
    env->data = mj_makeData(&env->own.model);
}

static void make_picture(void *context) {
    struct evaluator_env *env = context;
    env->picture = mj_makeData(&env->own.model);
}

bool evaluator_env_new(struct evaluator_world *world, struct evaluator_env **env,
                       struct proto_error *error) {
    struct evaluator_env *made = proto_alloc(sizeof *made, error);
    *env = NULL;
    if (!made) return false;
    made->world = world;
    bool done = own_model_new(world->model, &made->own, error) &&
                evaluator_controller_new(world->model, &made->controller, error);
    if (done) {
        made->placed = proto_alloc_array(world->plan->placement_count, sizeof *made->placed, error);
        made->goals = proto_alloc_array(world->scene->bddl->goal_count, sizeof *made->goals, error);
        made->picture_rgba =
            proto_alloc_array((size_t)world->model->nsite * 4, sizeof(float), error);
        done = made->placed && made->goals && made->picture_rgba;
    }
    if (done) {
        evaluator_env_restore_model(made);
        evaluator_env_seed(made, 0);
        done = evaluator_guard_run(make_data, made, error);
        if (done && !made->data)
            done = proto_fail(error, PROTO_EXHAUSTED, "no memory for a simulation");
    }
    if (!done) {
        evaluator_env_free(&made);
        return false;
    }
    *env = made;
    return true;
}

void evaluator_env_free(struct evaluator_env **env) {
    if (!*env) return;
    struct evaluator_env *old = *env;
    if (old->data) mj_deleteData(old->data);
    if (old->picture) mj_deleteData(old->picture);
    evaluator_controller_free(&old->controller);
    free(old->own.body_pos);
    free(old->own.body_quat);
    free(old->own.site_rgba);
    free(old->own.geom_rgba);
    free(old->placed);
    free(old->goals);
    free(old->picture_rgba);
    free(old);
    *env = NULL;
}

bool evaluator_env_guarded(struct evaluator_env *env, void (*work)(void *context), void *context,
                           struct proto_error *error) {
    if (evaluator_guard_run(work, context, error)) return true;
    env->broken = true;
    return false;
}

void evaluator_env_seed(struct evaluator_env *env, uint32_t seed) {
    evaluator_env_seed_after(env, seed, 0);
}

void evaluator_env_seed_after(struct evaluator_env *env, uint32_t seed, uint32_t resets) {
    evaluator_numpy_seed(&env->random, seed);
    env->resets = resets;
}

// ---- looking ------------------------------------------------------------------------------------

// Copies what drawing needs; the first time also makes room for it.
static void take_picture(struct evaluator_env *env) {
    const size_t colours = (size_t)env->own.model.nsite * 4 * sizeof(float);
    env->picture_model = env->own.model;
    env->picture_model.site_rgba = env->picture_rgba;
    memcpy(env->picture_rgba, env->own.site_rgba, colours);
    mj_copyData(env->picture, &env->own.model, env->data);
    env->has_picture = true;
}

void evaluator_env_observe(struct evaluator_env *env, uint32_t substep, bool force) {
    if (!evaluator_observer_update(&env->observer, &env->world->robot, env->data, substep, force))
        return;
    env->has_picture = false;
    if (env->keeps_pictures && env->picture) take_picture(env);
}

void evaluator_env_judge(struct evaluator_env *env) {
    const struct evaluator_world *world = env->world;
    const mjModel *model = &env->own.model;
    for (uint32_t i = 0; i < world->scene->bddl->goal_count; i++)
        env->goals[i] = evaluator_fact_holds(world, model, env->data, &world->goals[i]);
    for (uint32_t i = 0; i < world->scene->thing_count; i++) {
        const struct evaluator_thing_place *place = &world->things[i];
        const struct evaluator_category *category = world->scene->things[i].category;
        if (place->burner < 0 || isnan(category->on_above)) continue;
        bool on = false;
        for (uint32_t j = 0; j < place->joint_count; j++) {
            on = on ||
                 evaluator_category_says(category, EVALUATOR_TURNON,
                                         env->data->qpos[model->jnt_qposadr[place->joints[j]]]);
        }
        env->own.site_rgba[4 * place->burner + 3] = on ? 1 : 0;
    }
}

const struct evaluator_observation *evaluator_env_observation(const struct evaluator_env *env) {
    return &env->observer.seen;
}

uint32_t evaluator_env_goal_count(const struct evaluator_env *env) {
    return env->world->scene->bddl->goal_count;
}

bool evaluator_env_goal(const struct evaluator_env *env, uint32_t conjunct) {
    return conjunct < evaluator_env_goal_count(env) && env->goals[conjunct];
}

bool evaluator_env_predicate(const struct evaluator_env *env, enum evaluator_predicate predicate,
                             const char *first, const char *second, bool *truth,
                             struct proto_error *error) {
    struct evaluator_fact fact;
    if (!evaluator_fact_resolve(env->world, predicate, first, second, &fact, error)) return false;
    *truth = evaluator_fact_holds(env->world, &env->own.model, env->data, &fact);
    return true;
}

void evaluator_env_keep_pictures(struct evaluator_env *env, bool on) {
    struct proto_error error;
    env->keeps_pictures = on;
    // without memory for a copy the present state is drawn, as evaluator_env_picture says
    if (on && !env->picture && !evaluator_guard_run(make_picture, env, &error)) env->picture = NULL;
}

struct mjModel_ *evaluator_env_model(struct evaluator_env *env) {
    return &env->own.model;
}

struct mjData_ *evaluator_env_data(struct evaluator_env *env) {
    return env->data;
}

const struct mjModel_ *evaluator_env_picture_model(const struct evaluator_env *env) {
    return env->has_picture ? &env->picture_model : &env->own.model;
}

struct mjData_ *evaluator_env_picture(struct evaluator_env *env) {
    return env->has_picture ? env->picture : env->data;
}

void evaluator_env_watch(struct evaluator_env *env, void (*seen)(void *context, uint32_t substep),
                         void *context) {
    env->seen = seen;
    env->seen_context = context;
}

// ---- stepping -----------------------------------------------------------------------------------

static bool sound(const double *values, int count) {
    for (int i = 0; i < count; i++) {
        if (!(fabs(values[i]) <= mjMAXVAL)) return false;  // NaN too
    }
    return true;
}

struct step {
    struct evaluator_env *env;
    const double *action;
    const char *unsound;  // what left its bounds
    uint32_t substep;
};
static void step_work(void *context) {
    struct step *step = context;
    struct evaluator_env *env = step->env;
    const struct evaluator_robot *robot = &env->world->robot;
    const mjModel *model = &env->own.model;
    mjData *data = env->data;
    for (; step->substep < EVALUATOR_CONTROL_SUBSTEPS; step->substep++) {
        step->unsound = !sound(data->qpos, model->nq)   ? "a position"
                        : !sound(data->qvel, model->nv) ? "a velocity"
                                                        : NULL;
        if (step->unsound) return;
        // sensors are never read: the last argument leaves them out
        mj_forwardSkip(model, data, mjSTAGE_NONE, 1);
        if (env->controller.outdated) {
            mj_forwardSkip(model, data, mjSTAGE_VEL, 1);
            evaluator_controller_snapshot(&env->controller, robot, model, data);
        }
        if (step->substep == 0) evaluator_controller_aim(&env->controller, step->action);
        evaluator_controller_drive(&env->controller, robot, model, data, step->action);
        mj_forwardSkip(model, data, mjSTAGE_VEL, 1);
        step->unsound = sound(data->qacc, model->nv) ? NULL : "an acceleration";
        if (step->unsound) return;
        mj_Euler(model, data);
        evaluator_env_observe(env, step->substep, false);
        if (env->seen) env->seen(env->seen_context, step->substep);
    }
    if (!sound(data->qpos, model->nq) || !sound(data->qvel, model->nv)) step->unsound = "the state";
    if (!step->unsound) evaluator_env_judge(env);
}

bool evaluator_env_step(struct evaluator_env *env, const double action[7], bool *success,
                        struct proto_error *error) {
    *success = false;
    if (!env->started) return proto_fail(error, PROTO_USAGE, "a step before the first reset");
    if (env->broken)
        return proto_fail(error, PROTO_FAILED, "physics blew up before; reset the environment");
    for (int i = 0; i < EVALUATOR_ACTION_WIDTH; i++) {
        if (!isfinite(action[i]))
            return proto_fail(error, PROTO_FAILED, "action[%d] is %g, must be a finite number", i,
                              action[i]);
    }
    struct step step = {.env = env, .action = action};
    if (!evaluator_env_guarded(env, step_work, &step, error)) return false;
    if (step.unsound) {
        env->broken = true;
        return proto_fail(error, PROTO_FAILED,
                          "physics blew up: %s left +-%g in substep %u at %.3f s of the simulation",
                          step.unsound, mjMAXVAL, step.substep, env->data->time);
    }
    *success = true;
    for (uint32_t i = 0; i < evaluator_env_goal_count(env); i++)
        *success = *success && env->goals[i];
    return true;
}
