// tests/evaluator/libero_golden_trace.c - a recorded trace, stepped anew with its actions: torques
// and joints of the first substeps, joints and speeds of every step, observations and their phase,
// rewards, goals, frames.
//
// From the step on in which a geom of the robot first touches anything, limits are wider: there the
// last digit of one step becomes the sixth of the next. Episodes hold on to what they touch, so
// they get more room than the short random traces.
#include "tests/evaluator/libero_golden.h"

#include "evaluator/env_parts.h"
#include "proto/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 1 << 20, TRACED_MAX = 1 << 20 };
static const double start_limit = 1e-12, warmstart_limit = 1e-9;
static const double torque_limit = 1e-10, substep_limit = 1e-12;  // N m, N; rad, m
static const double free_position = 1e-10, free_velocity = 1e-8;

// One recorded series and its largest deviations before and after the first contact.
struct series {
    const char *name;
    size_t width;
    bool velocity;
    double *values;
    double free, touched;
    size_t free_step, touched_step;  // of the largest
};
enum { QPOS, QVEL, JOINT_POS, EEF_POS, EEF_QUAT, GRIPPER_QPOS, GRIP_SITE, SERIES };

struct trace {
    struct golden_task *task;
    size_t steps, traced;  // traced: substeps with recorded torques
    bool episode;
    struct series series[SERIES];
    double *actions, *reward, *success, *goals, *phase, *control, *joints;
    uint8_t *robot_geoms;  // [ngeom]
    size_t substeps;       // so far
    size_t touch_step;     // SIZE_MAX: none yet
    double control_off, joints_off;
    size_t phases, rewards, conjuncts;  // that differ
    char conjunct[96];
};

// ---- reading ------------------------------------------------------------------------------------

static bool array_shape(const struct golden_task *task, const char *name, size_t rank,
                        size_t *shape, struct proto_error *error) {
    const json_t *arrays, *array, *numbers;
    if (!proto_json_object(task->info, "arrays", &arrays, error) ||
        !proto_json_object(arrays, name, &array, error) ||
        !proto_json_array(array, "shape", 4, &numbers, error))
        return false;
    if (json_array_size(numbers) != rank)
        return proto_fail(error, PROTO_DAMAGED, "arrays.%s.shape has %zu numbers, must have %zu",
                          name, json_array_size(numbers), rank);
    for (size_t i = 0; i < rank; i++) {
        const json_int_t side = json_integer_value(json_array_get(numbers, i));
        if (side < 0 || side > STEPS_MAX)
            return proto_fail(error, PROTO_DAMAGED, "arrays.%s.shape[%zu] is out of range", name,
                              i);
        shape[i] = (size_t)side;
    }
    return true;
}

static bool read_arrays(struct trace *trace, struct proto_error *error) {
    const struct golden_task *task = trace->task;
    const mjModel *model = task->world->model;
    const size_t nq = (size_t)model->nq, nv = (size_t)model->nv, steps = trace->steps;
    const struct series series[SERIES] = {
        [QPOS] = {.name = "qpos", .width = nq},
        [QVEL] = {.name = "qvel", .width = nv, .velocity = true},
        [JOINT_POS] = {.name = "obs_joint_pos", .width = 7},
        [EEF_POS] = {.name = "obs_eef_pos", .width = 3},
        [EEF_QUAT] = {.name = "obs_eef_quat", .width = 4},
        [GRIPPER_QPOS] = {.name = "obs_gripper_qpos", .width = 2},
        [GRIP_SITE] = {.name = "site_xpos_grip", .width = 3},
    };
    for (size_t i = 0; i < SERIES; i++) {
        trace->series[i] = series[i];
        trace->series[i].values =
            golden_doubles(task, series[i].name, steps * series[i].width, error);
        if (!trace->series[i].values) return false;
    }
    const size_t goals = evaluator_env_goal_count(task->env);
    return (trace->actions = golden_doubles(task, "actions", steps * 7, error)) &&
           (trace->reward = golden_doubles(task, "reward", steps, error)) &&
           (trace->success = golden_doubles(task, "success", steps, error)) &&
           (trace->goals = golden_doubles(task, "goal_each", steps * goals, error)) &&
           (trace->phase = golden_doubles(task, "obs_substep", steps, error)) &&
           (trace->control =
                golden_doubles(task, "substep_ctrl", trace->traced * (size_t)model->nu, error)) &&
           (trace->joints = golden_doubles(task, "substep_qpos", trace->traced * nq, error));
}

static bool trace_open(struct trace *trace, struct proto_error *error) {
    const struct golden_task *task = trace->task;
    const mjModel *model = task->world->model;
    size_t actions[2] = {0}, substeps[3] = {0};
    if (!array_shape(task, "actions", 2, actions, error) ||
        !array_shape(task, "substep_ctrl", 3, substeps, error))
        return false;
    trace->steps = actions[0];
    trace->traced = substeps[0] * substeps[1];
    trace->touch_step = SIZE_MAX;
    trace->episode = json_object_get(task->info, "first_success_step") != NULL;
    trace->robot_geoms = proto_alloc_array((size_t)model->ngeom, 1, error);
    if (!trace->robot_geoms) return false;
    for (int i = 0; i < model->ngeom; i++) {
        const char *body = mj_id2name(model, mjOBJ_BODY, model->geom_bodyid[i]);
        trace->robot_geoms[i] =
            body && (strncmp(body, "robot0_", 7) == 0 || strncmp(body, "gripper0_", 9) == 0);
    }
    return read_arrays(trace, error);
}

static void trace_close(struct trace *trace) {
    for (size_t i = 0; i < SERIES; i++) free(trace->series[i].values);
    free(trace->actions);
    free(trace->reward);
    free(trace->success);
    free(trace->goals);
    free(trace->phase);
    free(trace->control);
    free(trace->joints);
    free(trace->robot_geoms);
}

// ---- the start ----------------------------------------------------------------------------------

static bool compare_start(struct trace *trace, struct proto_error *error) {
    struct golden_task *task = trace->task;
    const struct evaluator_controller *controller = &task->env->controller;
    const json_t *recorded, *fixtures;
    double goal[12], ours[12];
    if (!proto_json_object(task->info, "fixtures", &fixtures, error) ||
        !golden_fixtures_compare(task, fixtures, error) ||
        !proto_json_object(task->info, "controller", &recorded, error))
        return false;
    const json_t *position = json_object_get(recorded, "goal_pos");
    const json_t *rotation = json_object_get(recorded, "goal_ori");
    for (size_t i = 0; i < 3; i++) {
        goal[i] = json_number_value(json_array_get(position, i));
        for (size_t j = 0; j < 3; j++)
            goal[3 + 3 * i + j] = json_number_value(json_array_get(json_array_get(rotation, i), j));
    }
    memcpy(ours, controller->goal_position, sizeof controller->goal_position);
    memcpy(ours + 3, controller->goal_rotation, sizeof controller->goal_rotation);
    golden_report(task, "controller's first goal", golden_deviation(ours, goal, 12), start_limit,
                  "");

    const size_t width = evaluator_world_state_width(task->world);
    const size_t nv = (size_t)task->world->model->nv;
    double *state = golden_doubles(task, "init_state", width, error);
    double *warm = golden_doubles(task, "qacc_warmstart0", nv, error);
    const bool done =
        state && warm && evaluator_env_set_state(task->env, state, (uint32_t)width, error);
    if (done)
        golden_report(task, "warm start of the solver",
                      golden_deviation(warm, task->env->data->qacc_warmstart, nv), warmstart_limit,
                      "");
    free(state);
    free(warm);
    return done;
}

// ---- steps --------------------------------------------------------------------------------------

static void see_substep(void *context, uint32_t substep) {
    struct trace *trace = context;
    const mjModel *model = trace->task->world->model;
    const mjData *data = trace->task->env->data;
    const size_t nu = (size_t)model->nu, nq = (size_t)model->nq, k = trace->substeps++;
    (void)substep;
    if (k < trace->traced) {
        trace->control_off =
            fmax(trace->control_off, golden_deviation(data->ctrl, trace->control + k * nu, nu));
        trace->joints_off =
            fmax(trace->joints_off, golden_deviation(data->qpos, trace->joints + k * nq, nq));
    }
    for (int i = 0; trace->touch_step == SIZE_MAX && i < data->ncon; i++) {
        const int *geom = data->contact[i].geom;
        if ((geom[0] >= 0 && trace->robot_geoms[geom[0]]) ||
            (geom[1] >= 0 && trace->robot_geoms[geom[1]]))
            trace->touch_step = k / EVALUATOR_CONTROL_SUBSTEPS;
    }
}

static void compare_series(struct trace *trace, size_t step, size_t which, const double *ours) {
    struct series *series = &trace->series[which];
    const double off = golden_deviation(ours, series->values + step * series->width, series->width);
    const bool touched = step >= trace->touch_step;
    double *largest = touched ? &series->touched : &series->free;
    if (off <= *largest) return;
    *largest = off;
    *(touched ? &series->touched_step : &series->free_step) = step;
}

static void compare_step(struct trace *trace, size_t step, bool success) {
    const struct evaluator_env *env = trace->task->env;
    const struct evaluator_observation *seen = evaluator_env_observation(env);
    const size_t goals = evaluator_env_goal_count(env);
    compare_series(trace, step, QPOS, env->data->qpos);
    compare_series(trace, step, QVEL, env->data->qvel);
    compare_series(trace, step, JOINT_POS, seen->joint_pos);
    compare_series(trace, step, EEF_POS, seen->eef_pos);
    compare_series(trace, step, EEF_QUAT, seen->eef_quat);
    compare_series(trace, step, GRIPPER_QPOS, seen->gripper_qpos);
    compare_series(trace, step, GRIP_SITE,
                   env->data->site_xpos + 3 * trace->task->world->robot.grip_site);
    trace->phases += (double)seen->substep != trace->phase[step];
    trace->rewards +=
        success != (trace->success[step] != 0) || success != (trace->reward[step] != 0);
    for (size_t i = 0; i < goals; i++) {
        const bool holds = evaluator_env_goal(env, (uint32_t)i);
        if (holds != (trace->goals[step * goals + i] != 0) && trace->conjuncts++ == 0)
            snprintf(trace->conjunct, sizeof trace->conjunct, "step %zu, conjunct %zu is %d", step,
                     i, holds);
    }
}

static void report(struct trace *trace) {
    struct golden_task *task = trace->task;
    char what[64], place[96];
    golden_report(task, "torques of the first substeps", trace->control_off, torque_limit, "");
    golden_report(task, "qpos of the first substeps", trace->joints_off, substep_limit, "");
    for (size_t i = 0; i < SERIES; i++) {
        const struct series *series = &trace->series[i];
        snprintf(place, sizeof place, "step %zu", series->free_step);
        golden_report(task, series->name, series->free,
                      series->velocity ? free_velocity : free_position, place);
        if (trace->touch_step >= trace->steps) continue;
        const double wide =
            trace->episode ? (series->velocity ? 1 : 1e-3) : (series->velocity ? 1e-2 : 1e-5);
        snprintf(what, sizeof what, "%s after contact (step %zu)", series->name, trace->touch_step);
        snprintf(place, sizeof place, "step %zu", series->touched_step);
        golden_report(task, what, series->touched, wide, place);
    }
    golden_report_count(task, "substep of the observation", trace->phases, trace->steps, "");
    golden_report_count(task, "goal conjuncts", trace->conjuncts,
                        trace->steps * evaluator_env_goal_count(task->env), trace->conjunct);
    golden_report_count(task, "success and reward", trace->rewards, trace->steps, "");
}

static bool first_success(struct trace *trace, size_t step, struct proto_error *error) {
    int64_t recorded;
    if (!trace->episode) return true;
    if (!proto_json_integer(trace->task->info, "first_success_step", 0, STEPS_MAX, &recorded,
                            error))
        return false;
    char text[64];
    snprintf(text, sizeof text, "found %zd, recorded %lld", (ssize_t)step, (long long)recorded);
    golden_report_count(trace->task, "first step of success", step != (size_t)recorded, 1, text);
    return true;
}

bool golden_trace(struct golden_task *task, struct proto_error *error) {
    struct trace trace = {.task = task};
    struct golden_frames *frames = NULL;
    size_t success_step = SIZE_MAX;
    bool done = trace_open(&trace, error) && golden_frames_open(task, &frames, error) &&
                compare_start(&trace, error);
    evaluator_env_watch(task->env, see_substep, &trace);
    for (size_t step = 0; done && step < trace.steps; step++) {
        bool success;
        done = evaluator_env_step(task->env, trace.actions + 7 * step, &success, error);
        if (!done) {
            proto_error_where(error, "step %zu", step);
            break;
        }
        compare_step(&trace, step, success);
        if (success && success_step == SIZE_MAX) success_step = step;
        done = golden_frames_step(frames, (uint32_t)step, error);
    }
    evaluator_env_watch(task->env, NULL, NULL);
    if (done) {
        report(&trace);
        done = first_success(&trace, success_step, error);
    }
    golden_frames_close(&frames);
    trace_close(&trace);
    return done;
}
