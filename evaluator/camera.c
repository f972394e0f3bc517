// evaluator/camera.c - libmujoco's visualiser and renderer over a GL context of our own. Calls that
// may fail inside libmujoco run in a guard. Everything libmujoco frees in GL goes to the context
// that is current at that time, so the own one is made current before anything is freed.
#include "evaluator/camera.h"

#include "evaluator/gl.h"
#include "evaluator/guard.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mujoco/mujoco.h>

// robosuite's scene and offscreen buffer; a larger picture makes the buffer larger.
enum { GEOMS_MAX = 1000, FONT_SCALE = 150, BUFFER_WIDTH = 640, BUFFER_HEIGHT = 480 };

struct evaluator_camera {
    struct evaluator_gl *gl;
    mjrContext renderer;
    mjvScene scene;
    mjvOption option;
    uint32_t height, width;
    bool renderer_made;
};

// libmujoco writes the addresses of GL's functions into its global variables whenever a renderer is
// made; the values are the same each time, but two threads must not write at once.
static pthread_mutex_t loading = PTHREAD_MUTEX_INITIALIZER;

struct make {
    struct evaluator_camera *camera;
    const mjModel *model;
};
static void renderer_make(void *context) {
    const struct make *make = context;
    struct evaluator_camera *camera = make->camera;
    const int width = (int)camera->width, height = (int)camera->height;
    mjv_makeScene(make->model, &camera->scene, GEOMS_MAX);
    mjr_makeContext(make->model, &camera->renderer, FONT_SCALE);
    camera->renderer_made = true;
    mjr_resizeOffscreen(width > BUFFER_WIDTH ? width : BUFFER_WIDTH,
                        height > BUFFER_HEIGHT ? height : BUFFER_HEIGHT, &camera->renderer);
    mjr_setBuffer(mjFB_OFFSCREEN, &camera->renderer);
}

static bool renderer_open(struct evaluator_camera *camera, const mjModel *model,
                          struct proto_error *error) {
    struct make make = {.camera = camera, .model = model};
    mjv_defaultScene(&camera->scene);
    mjv_defaultOption(&camera->option);
    camera->option.geomgroup[0] = 0;  // collision shapes
    mjr_defaultContext(&camera->renderer);
    if (!evaluator_gl_enter(camera->gl, error)) return false;
    pthread_mutex_lock(&loading);
    bool done = evaluator_guard_run(renderer_make, &make, error);
    pthread_mutex_unlock(&loading);
    if (done && camera->renderer.currentBuffer != mjFB_OFFSCREEN)
        done = proto_fail(error, PROTO_MISSING, "%s gives no offscreen buffer",
                          evaluator_gl_name(camera->gl));
    evaluator_gl_leave(camera->gl);
    return done;
}

bool evaluator_camera_open_model(const mjModel *model, const char *render, uint32_t height,
                                 uint32_t width, struct evaluator_camera **opened,
                                 struct proto_error *error) {
    if (height < 1 || width < 1 || height > EVALUATOR_CAMERA_SIDE_MAX ||
        width > EVALUATOR_CAMERA_SIDE_MAX)
        return proto_fail(error, PROTO_USAGE, "a picture of %ux%u pixels; sides must be 1..%d",
                          width, height, EVALUATOR_CAMERA_SIDE_MAX);
    struct evaluator_camera *camera = proto_alloc(sizeof *camera, error);
    if (!camera) return false;
    camera->height = height;
    camera->width = width;
    if (!evaluator_gl_open(render, &camera->gl, error)) {
        free(camera);
        return false;
    }
    if (!renderer_open(camera, model, error)) {
        evaluator_camera_close(&camera);
        return false;
    }
    *opened = camera;
    return true;
}

static void renderer_free(void *context) {
    struct evaluator_camera *camera = context;
    mjr_freeContext(&camera->renderer);
}

void evaluator_camera_close(struct evaluator_camera **closed) {
    struct evaluator_camera *camera = *closed;
    struct proto_error ignored;  // nothing to do about a context that is gone
    if (!camera) return;
    if (camera->renderer_made && evaluator_gl_enter(camera->gl, &ignored)) {
        (void)!evaluator_guard_run(renderer_free, camera, &ignored);
        evaluator_gl_leave(camera->gl);
    }
    mjv_freeScene(&camera->scene);
    evaluator_gl_close(&camera->gl);
    free(camera);
    *closed = NULL;
}

const char *evaluator_camera_renderer(const struct evaluator_camera *camera) {
    return evaluator_gl_name(camera->gl);
}
bool evaluator_camera_software(const struct evaluator_camera *camera) {
    return evaluator_gl_software(camera->gl);
}

// The id of a camera of the model; "eye_in_hand" stands for the robot's.
static int camera_find(const mjModel *model, const char *name) {
    const int id = mj_name2id(model, mjOBJ_CAMERA, name);
    char prefixed[128];
    if (id >= 0 || snprintf(prefixed, sizeof prefixed, "robot0_%s", name) >= (int)sizeof prefixed)
        return id;
    return mj_name2id(model, mjOBJ_CAMERA, prefixed);
}

static bool camera_unknown(const mjModel *model, const char *name, struct proto_error *error) {
    char known[400] = "";
    size_t length = 0;
    for (int i = 0; i < model->ncam; i++) {
        const char *one = mj_id2name(model, mjOBJ_CAMERA, i);
        const size_t room = sizeof known - length;
        const int added =
            snprintf(known + length, room, "%s%s", length > 0 ? ", " : "", one ? one : "-");
        if (added < 0 || (size_t)added >= room) break;
        length += (size_t)added;
    }
    return proto_fail(error, PROTO_USAGE, "the scene has no camera %.60s; it has %s", name, known);
}

struct draw {
    struct evaluator_camera *camera;
    const mjModel *model;
    mjData *data;
    uint8_t *rgb;
    int id;
};
static void draw_one(void *context) {
    const struct draw *draw = context;
    struct evaluator_camera *camera = draw->camera;
    const mjrRect viewport = {0, 0, (int)camera->width, (int)camera->height};
    mjvCamera view;
    mjv_defaultCamera(&view);
    view.type = mjCAMERA_FIXED;
    view.fixedcamid = draw->id;
    mjv_updateScene(draw->model, draw->data, &camera->option, NULL, &view, mjCAT_ALL,
                    &camera->scene);
    mjr_render(viewport, &camera->scene, &camera->renderer);
    mjr_readPixels(draw->rgb, NULL, viewport, &camera->renderer);
}

bool evaluator_camera_draw_data(struct evaluator_camera *camera, const mjModel *model, mjData *data,
                                const char *name, uint8_t *rgb, struct proto_error *error) {
    struct draw draw = {.camera = camera, .model = model, .data = data, .rgb = rgb};
    draw.id = camera_find(model, name);
    if (draw.id < 0) return camera_unknown(model, name, error);
    if (!evaluator_gl_enter(camera->gl, error)) return false;
    const bool done = evaluator_guard_run(draw_one, &draw, error);
    evaluator_gl_leave(camera->gl);
    return done;
}
