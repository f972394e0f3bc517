// evaluator/reset.c - a reset and a start state, step by step as robosuite and LIBERO take them.
// The model is not loaded anew: the data and the few arrays of the model that an environment
// writes are set back, which leaves every bit as loading would.
#include "evaluator/env_parts.h"

#include <math.h>
#include <string.h>

enum { ATTEMPTS_MAX = 50 };  // of placing everything, 5000 tries each
static const double fingers_start[2] = {0.020833, -0.020833};  // m

// The robot at its initial pose, a new controller, joints as :init asks.
static void start_robot(struct evaluator_env *env) {
    const struct evaluator_robot *robot = &env->world->robot;
    mjModel *model = &env->own.model;
    mjData *data = env->data;
    mj_resetData(model, data);
    mj_forward(model, data);
    for (int i = 0; i < EVALUATOR_ARM_JOINTS; i++) {
        (void)evaluator_numpy_normal(&env->random);  // initial noise, drawn with magnitude 0
        data->qpos[robot->arm_qpos[i]] = evaluator_arm_start[i];
    }
    mj_forward(model, data);
    mj_forward(model, data);
    evaluator_controller_start(&env->controller, robot, model, data);
    for (int i = 0; i < 2; i++) data->qpos[robot->finger_qpos[i]] = fingers_start[i];
}

static void apply(struct evaluator_env *env) {
    const struct evaluator_world *world = env->world;
    for (uint32_t i = 0; i < world->plan->placement_count; i++) {
        const struct evaluator_placed *placed = &env->placed[i];
        const struct evaluator_thing_place *thing = &world->things[placed->thing];
        const bool fixture = world->scene->things[placed->thing].fixture;
        double *pos =
            fixture ? env->own.body_pos + 3 * thing->body : env->data->qpos + thing->free_qpos;
        double *quat =
            fixture ? env->own.body_quat + 4 * thing->body : env->data->qpos + thing->free_qpos + 3;
        memcpy(pos, placed->pos, sizeof placed->pos);
        memcpy(quat, placed->quat, sizeof placed->quat);
    }
}

// The hand's marks are hidden: LIBERO negates what their opacity is.
static void hide_marks(struct evaluator_env *env) {
    const mjModel *model = &env->own.model;
    for (int i = 0; i < model->nsite; i++) {
        const char *name = mj_id2name(model, mjOBJ_SITE, i);
        float *opacity = env->own.site_rgba + 4 * i + 3;
        if (name && strncmp(name, "gripper0_", 9) == 0 && *opacity > 0) *opacity = -*opacity;
    }
}

struct attempt {
    struct evaluator_env *env;
    bool placed;
};
static void reset_work(void *context) {
    struct attempt *attempt = context;
    struct evaluator_env *env = attempt->env;
    evaluator_env_restore_model(env);
    env->resets++;
    start_robot(env);
    evaluator_plan_articulate(env->world->plan, &env->own.model, env->data, env->resets + 1,
                              &env->random);
    mj_step1(&env->own.model, env->data);
    attempt->placed =
        evaluator_plan_place(env->world->plan, env->world, env->data, &env->random, env->placed);
    if (!attempt->placed) return;
    apply(env);
    mj_forward(&env->own.model, env->data);
    hide_marks(env);
    evaluator_observer_restart(&env->observer);
    evaluator_env_observe(env, 0, true);
    for (uint32_t i = 0; i < env->world->scene->bddl->goal_count; i++) {
        env->goals[i] =
            evaluator_fact_holds(env->world, &env->own.model, env->data, &env->world->goals[i]);
    }
}

bool evaluator_env_reset(struct evaluator_env *env, struct proto_error *error) {
    struct attempt attempt = {env, false};
    env->started = env->broken = false;
    for (int i = 0; i < ATTEMPTS_MAX && !attempt.placed; i++) {
        if (!evaluator_env_guarded(env, reset_work, &attempt, error)) return false;
    }
    env->started = attempt.placed;
    if (!attempt.placed)
        return proto_fail(
            error, PROTO_FAILED,
            "no room for all objects in %d resets; the regions of :init are too tight",
            ATTEMPTS_MAX);
    return true;
}

// ---- start states -------------------------------------------------------------------------------

struct start {
    struct evaluator_env *env;
    const double *state;
};
static void set_state_work(void *context) {
    const struct start *start = context;
    struct evaluator_env *env = start->env;
    const mjModel *model = &env->own.model;
    mjData *data = env->data;
    data->time = start->state[0];
    memcpy(data->qpos, start->state + 1, (size_t)model->nq * sizeof(double));
    memcpy(data->qvel, start->state + 1 + model->nq, (size_t)model->nv * sizeof(double));
    mj_forward(model, data);
    evaluator_env_judge(env);
    evaluator_env_observe(env, 0, true);
}

bool evaluator_env_set_state(struct evaluator_env *env, const double *state, uint32_t width,
                             struct proto_error *error) {
    const uint32_t expected = evaluator_world_state_width(env->world);
    if (!env->started)
        return proto_fail(error, PROTO_USAGE, "a state is set before the first reset");
    if (width != expected)
        return proto_fail(error, PROTO_DAMAGED,
                          "a state has %u numbers, must be %u: time, %d qpos, %d qvel", width,
                          expected, env->own.model.nq, env->own.model.nv);
    for (uint32_t i = 0; i < width; i++) {
        if (!(fabs(state[i]) <= mjMAXVAL))
            return proto_fail(error, PROTO_DAMAGED, "number %u of the state is %g", i, state[i]);
    }
    struct start start = {env, state};
    env->broken = false;
    return evaluator_env_guarded(env, set_state_work, &start, error);
}

void evaluator_env_state(const struct evaluator_env *env, double *state) {
    const mjModel *model = &env->own.model;
    state[0] = env->data->time;
    memcpy(state + 1, env->data->qpos, (size_t)model->nq * sizeof(double));
    memcpy(state + 1 + model->nq, env->data->qvel, (size_t)model->nv * sizeof(double));
}

bool evaluator_env_place_fixture(struct evaluator_env *env, const char *name, const double pos[3],
                                 const double quat[4], struct proto_error *error) {
    const int32_t thing = evaluator_world_thing(env->world, name);
    if (thing < 0 || !env->world->scene->things[thing].fixture)
        return proto_fail(error, PROTO_USAGE, "\"%s\" is no fixture of this scene", name);
    double square = 0;
    for (int i = 0; i < 4; i++) square += quat[i] * quat[i];
    if (!(fabs(square - 1) < 1e-3) || !isfinite(pos[0] + pos[1] + pos[2]))
        return proto_fail(error, PROTO_DAMAGED,
                          "pose of \"%s\": position %g %g %g, quaternion of length^2 %g, must be 1",
                          name, pos[0], pos[1], pos[2], square);
    const int32_t body = env->world->things[thing].body;
    memcpy(env->own.body_pos + 3 * body, pos, 3 * sizeof *pos);
    memcpy(env->own.body_quat + 4 * body, quat, 4 * sizeof *quat);
    return true;
}

static void restart_work(void *context) {
    struct evaluator_env *env = context;
    evaluator_controller_start(&env->controller, &env->world->robot, &env->own.model, env->data);
}

void evaluator_env_restart_controller(struct evaluator_env *env, const double gripper[2]) {
    struct proto_error error;
    if (!evaluator_env_guarded(env, restart_work, env, &error)) return;  // the next step says so
    memcpy(env->controller.gripper, gripper, sizeof env->controller.gripper);
    env->controller.outdated = true;  // a recording's controller was running
    evaluator_observer_settle(&env->observer);
}
