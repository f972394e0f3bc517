// evaluator/simulation.c - fills a rollout's table with environments of one world.
#include "evaluator/simulation.h"

#include "evaluator/recording.h"
#include "evaluator/suite.h"

#include <mujoco/mujoco.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct evaluator_simulation {
    const struct proto_codec *codec;
    struct evaluator_world *world;
    struct evaluator_rows rows;
    struct evaluator_env **envs;  // [count]
    uint32_t count;
    struct evaluator_camera *camera;  // NULL: nobody looks
    bool flip;                        // the codec's pictures have their top row first
};

// "eye_in_hand" is robot0's, as LIBERO's data sets call it.
static bool has_camera(const mjModel *model, const char *name) {
    if (strcmp(name, "eye_in_hand") == 0) name = "robot0_eye_in_hand";
    return mj_name2id(model, mjOBJ_CAMERA, name) >= 0;
}

static bool check_cameras(const struct evaluator_simulation *simulation,
                          struct proto_error *error) {
    const mjModel *model = evaluator_env_model(simulation->envs[0]);
    char known[256] = "";
    for (uint32_t c = 0; c < simulation->codec->camera_count; c++) {
        const char *name = simulation->codec->cameras[c];
        if (has_camera(model, name)) continue;
        for (int i = 0; i < model->ncam; i++) {
            const char *there = mj_id2name(model, mjOBJ_CAMERA, i);
            const size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                     there ? there : "?");
        }
        return proto_fail(
            error, PROTO_REFUSED,
            "the checkpoint was trained on a camera \"%s\", which the scene lacks; it "
            "has %s",
            name, known);
    }
    return true;
}

static bool open_all(const struct evaluator_simulation_settings *settings,
                     struct evaluator_simulation *simulation, struct proto_error *error) {
    const struct proto_codec *codec = settings->codec;
    if (!evaluator_recording_check(codec, error) ||
        !evaluator_world_open(settings->libero, settings->bddl_path, 0, &simulation->world, error))
        return false;
    if (settings->init_path[0] == '\0'
            ? !evaluator_suite_rows_make(simulation->world, &simulation->rows, error)
            : !evaluator_rows_read(settings->init_path, &simulation->rows, error))
        return false;
    const uint32_t width = evaluator_world_state_width(simulation->world);
    if (simulation->rows.width != width) {
        proto_fail(error, PROTO_DAMAGED,
                   "its start states have %u numbers, the scene has %u: not of this task",
                   simulation->rows.width, width);
        return proto_error_where(error, "%s", settings->init_path);
    }
    simulation->envs = proto_alloc_array(settings->environments, sizeof(void *), error);
    if (!simulation->envs) return false;
    for (uint32_t i = 0; i < settings->environments; i++) {
        if (!evaluator_env_new(simulation->world, &simulation->envs[i], error)) return false;
        simulation->count = i + 1;
        evaluator_env_keep_pictures(simulation->envs[i], settings->pictures);
    }
    if (!settings->pictures || codec->camera_count == 0) return true;
    return check_cameras(simulation, error) &&
           evaluator_camera_open(simulation->world, settings->render, codec->image_height,
                                 codec->image_width, &simulation->camera, error);
}

bool evaluator_simulation_open(const struct evaluator_simulation_settings *settings,
                               struct evaluator_simulation **simulation,
                               struct proto_error *error) {
    struct evaluator_simulation *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->codec = settings->codec;
    opened->flip = strcmp(settings->codec->image_orientation, "opencv") == 0;
    if (open_all(settings, opened, error)) {
        *simulation = opened;
        return true;
    }
    evaluator_simulation_close(&opened);
    return false;
}

void evaluator_simulation_close(struct evaluator_simulation **simulation) {
    struct evaluator_simulation *closed = *simulation;
    if (!closed) return;
    evaluator_camera_close(&closed->camera);
    for (uint32_t i = 0; i < closed->count; i++) evaluator_env_free(&closed->envs[i]);
    free(closed->envs);
    evaluator_world_close(&closed->world);
    evaluator_rows_free(&closed->rows);
    free(closed);
    *simulation = NULL;
}

uint32_t evaluator_simulation_rows(const struct evaluator_simulation *simulation) {
    return simulation->rows.count;
}

const char *evaluator_simulation_renderer(const struct evaluator_simulation *simulation) {
    return simulation->camera ? evaluator_camera_renderer(simulation->camera) : "none";
}

struct evaluator_world *evaluator_simulation_world(struct evaluator_simulation *simulation) {
    return simulation->world;
}

struct evaluator_env *evaluator_simulation_env(struct evaluator_simulation *simulation,
                                               uint32_t environment) {
    return simulation->envs[environment];
}

// ---- the table ----------------------------------------------------------------------------------

static bool begin(void *context, uint32_t environment, uint32_t row, uint32_t seed,
                  struct proto_error *error) {
    struct evaluator_simulation *simulation = context;
    struct evaluator_env *env = simulation->envs[environment];
    const struct evaluator_rows *rows = &simulation->rows;
    if (row >= rows->count)
        return proto_fail(error, PROTO_USAGE, "start state %u, the task has 0..%u", row,
                          rows->count - 1);
    evaluator_env_seed(env, seed);
    return evaluator_env_reset(env, error) &&
           evaluator_env_set_state(env, rows->values + (size_t)row * rows->width, rows->width,
                                   error);
}

static bool settle(void *context, uint32_t environment, struct proto_error *error) {
    static const double still[7] = {0, 0, 0, 0, 0, 0, -1};
    struct evaluator_simulation *simulation = context;
    bool success;
    return evaluator_env_step(simulation->envs[environment], still, &success, error);
}

static bool step(void *context, uint32_t environment, const double *x, bool *success,
                 struct proto_error *error) {
    struct evaluator_simulation *simulation = context;
    double action[7];
    evaluator_recording_action(simulation->codec, x, action);
    return evaluator_env_step(simulation->envs[environment], action, success, error);
}

static void flip_rows(uint8_t *rgb, uint32_t height, size_t row_bytes) {
    for (uint32_t top = 0, bottom = height - 1; top < bottom; top++, bottom--)
        for (size_t i = 0; i < row_bytes; i++) {
            const uint8_t byte = rgb[top * row_bytes + i];
            rgb[top * row_bytes + i] = rgb[bottom * row_bytes + i];
            rgb[bottom * row_bytes + i] = byte;
        }
}

static bool observe(void *context, uint32_t environment, double *state, uint8_t *const *images,
                    struct proto_error *error) {
    struct evaluator_simulation *simulation = context;
    const struct proto_codec *codec = simulation->codec;
    struct evaluator_env *env = simulation->envs[environment];
    evaluator_recording_state(codec, evaluator_env_observation(env), state);
    for (uint32_t c = 0; images && c < codec->camera_count; c++) {
        if (!evaluator_camera_draw(simulation->camera, env, codec->cameras[c], images[c], error)) {
            // not the robot's failure
            if (error->status == PROTO_FAILED) error->status = PROTO_MISSING;
            return false;
        }
        if (simulation->flip)
            flip_rows(images[c], codec->image_height, (size_t)codec->image_width * 3);
    }
    return true;
}

struct evaluator_simulator evaluator_simulation_table(struct evaluator_simulation *simulation) {
    return (struct evaluator_simulator){
        .context = simulation, .begin = begin, .settle = settle, .step = step, .observe = observe};
}
