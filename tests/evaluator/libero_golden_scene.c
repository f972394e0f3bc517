// tests/evaluator/libero_golden_scene.c - the composed model against the recorded one, and fixture
// poses against those that the recording's seed gave.
#include "tests/evaluator/libero_golden.h"

#include "evaluator/guard.h"
#include "evaluator/world.h"
#include "proto/json.h"
#include "tests/evaluator/model_compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double pose_limit = 1e-15;  // placement repeats the official sums

struct reading {
    char path[EVALUATOR_PATH_MAX], words[512];
    const char *links;
    mjModel *model;
};
static void read_recorded(void *context) {
    struct reading *reading = context;
    reading->model =
        model_read(reading->path, reading->links, reading->words, (int)sizeof reading->words);
}

bool golden_scene(struct golden_task *task, struct proto_error *error) {
    struct reading reading = {.links = task->links};
    snprintf(reading.path, sizeof reading.path, "%s/model.xml", task->folder);
    if (!evaluator_guard_run(read_recorded, &reading, error)) return false;
    if (!reading.model) {
        proto_fail(error, PROTO_DAMAGED, "%s", reading.words);
        return proto_error_where(error, "%s", reading.path);
    }
    struct model_difference difference;
    model_compare(task->world->model, reading.model, &difference);
    mj_deleteModel(reading.model);
    char what[64];
    snprintf(what, sizeof what, "composition, %u fields", difference.fields);
    golden_report(task, what, difference.largest, 0, difference.first);
    return true;
}

// Numbers of an array of exactly `count`.
static bool read_numbers(const json_t *object, const char *key, size_t count, double *values,
                         struct proto_error *error) {
    const json_t *array;
    if (!proto_json_array(object, key, count, &array, error)) return false;
    if (json_array_size(array) != count)
        return proto_fail(error, PROTO_DAMAGED, "%s: %zu numbers, must be %zu", key,
                          json_array_size(array), count);
    for (size_t i = 0; i < count; i++) values[i] = json_number_value(json_array_get(array, i));
    return true;
}

bool golden_fixtures_compare(struct golden_task *task, const json_t *fixtures,
                             struct proto_error *error) {
    const mjModel *model = evaluator_env_model(task->env);
    const char *name;
    json_t *fixture;
    double largest = 0;
    char worst[128] = "";
    json_object_foreach((json_t *)fixtures, name, fixture) {
        double pos[3], quat[4];
        if (!read_numbers(fixture, "body_pos", 3, pos, error) ||
            !read_numbers(fixture, "body_quat", 4, quat, error))
            return proto_error_where(error, "fixtures: %s", name);
        const int32_t thing = evaluator_world_thing(task->world, name);
        const int32_t body = thing < 0 ? -1 : task->world->things[thing].body;
        const double off = body < 0 ? INFINITY
                                    : fmax(golden_deviation(model->body_pos + 3 * body, pos, 3),
                                           golden_deviation(model->body_quat + 4 * body, quat, 4));
        if (!(off <= largest)) {
            largest = off;
            snprintf(worst, sizeof worst, "%s", name);
        }
    }
    golden_report(task, "fixtures from the seed", largest, pose_limit, worst);
    return true;
}

bool golden_fixtures_place(struct golden_task *task, const json_t *fixtures,
                           struct proto_error *error) {
    const char *name;
    json_t *fixture;
    json_object_foreach((json_t *)fixtures, name, fixture) {
        double pos[3], quat[4];
        if (!read_numbers(fixture, "body_pos", 3, pos, error) ||
            !read_numbers(fixture, "body_quat", 4, quat, error) ||
            !evaluator_env_place_fixture(task->env, name, pos, quat, error))
            return proto_error_where(error, "fixtures: %s", name);
    }
    return true;
}
