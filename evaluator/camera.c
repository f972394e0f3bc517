// evaluator/camera.c - libmujoco's visualiser and renderer over a GL context of our own. Calls that
// may fail inside libmujoco run in a guard. Everything libmujoco frees in GL goes to the context
// that is current at that time, so the own one is made current before anything is freed.
#include "evaluator/camera.h"

#include "evaluator/gl.h"
#include "evaluator/guard.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <mujoco/mujoco.h>

enum { GEOMS_MAX = 1000, FONT_SCALE = 150 };  // robosuite's

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
    mjv_makeScene(make->model, &camera->scene, GEOMS_MAX);
    mjr_makeContext(make->model, &camera->renderer, FONT_SCALE);
    camera->renderer_made = true;
    // the buffer is cleared for each picture: it is no larger than that
    mjr_resizeOffscreen((int)camera->width, (int)camera->height, &camera->renderer);
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

// ---- what cannot be seen ------------------------------------------------------------------------

// The four sides of a camera's view: planes through its position, unit normals pointing out.
struct view {
    float position[3], sides[4][3];
};

static struct view view_of(const mjvScene *scene, const mjrRect *viewport) {
    const mjvGLCamera eye = mjv_averageCamera(&scene->camera[0], &scene->camera[1]);
    const float half = 0.5f * (eye.frustum_top - eye.frustum_bottom) * (float)viewport->width /
                       (float)viewport->height;
    struct view view;
    float right[3];
    memcpy(view.position, eye.pos, sizeof view.position);
    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        right[i] = eye.forward[j] * eye.up[k] - eye.forward[k] * eye.up[j];
    }
    const struct {
        const float *axis;
        float edge, sign;  // where the side is on the near plane, and which way is out
    } sides[4] = {{right, eye.frustum_center - half, -1},
                  {right, eye.frustum_center + half, 1},
                  {eye.up, eye.frustum_bottom, -1},
                  {eye.up, eye.frustum_top, 1}};
    for (int side = 0; side < 4; side++) {
        const float length = hypotf(eye.frustum_near, sides[side].edge);
        for (int i = 0; i < 3; i++)
            view.sides[side][i] =
                sides[side].sign *
                (sides[side].axis[i] * eye.frustum_near - eye.forward[i] * sides[side].edge) /
                length;
    }
    return view;
}

// Whether the sphere around a geom is wholly beyond one side of the view.
static bool geom_unseen(const mjvGeom *geom, const struct view *view) {
    const float radius = 1.001f * geom->modelrbound;  // the rest is room for rounding
    for (int side = 0; side < 4; side++) {
        float distance = 0;
        for (int i = 0; i < 3; i++)
            distance += view->sides[side][i] * (geom->pos[i] - view->position[i]);
        if (distance > radius) return true;
    }
    return false;
}

// Takes away what is outside the view. libmujoco draws everything, and for a renderer in software
// the vertices of a mesh outside the picture cost as much as of one inside. The picture stays the
// same to the bit; with mirrors and shadows the unseen can be seen, and all is kept.
static void scene_trim(mjvScene *scene, const mjrRect *viewport) {
    for (int i = 0; i < scene->nlight; i++)
        if (scene->lights[i].castshadow) return;
    for (int i = 0; i < scene->ngeom; i++)
        if (scene->geoms[i].reflectance > 0) return;
    const struct view view = view_of(scene, viewport);
    int kept = 0;
    for (int i = 0; i < scene->ngeom; i++) {
        const mjvGeom *geom = &scene->geoms[i];
        const bool sized = geom->modelrbound > 0;  // planes, and what is no geom of the model
        if (!sized || !geom_unseen(geom, &view)) scene->geoms[kept++] = *geom;
    }
    scene->ngeom = kept;
}

// ---- drawing ------------------------------------------------------------------------------------

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
    scene_trim(&camera->scene, &viewport);
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
