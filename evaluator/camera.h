// evaluator/camera.h - pictures of an environment without any display: EGL on a GPU, EGL's software
// device, or OSMesa, chosen and named aloud. A frame is drawn only when somebody asks for it.
//
//     struct evaluator_camera *camera = NULL;
//     uint8_t rgb[128 * 128 * 3];
//     if (!evaluator_camera_open(world, "auto", 128, 128, &camera, error)) ...
//     evaluator_env_keep_pictures(env, true);
//     ...evaluator_env_step...
//     if (!evaluator_camera_draw(camera, env, "agentview", rgb, error)) ...
//
// Drawing is what robosuite 1.4.0 does: geom group 0 hidden, everything else as libmujoco's
// visualiser has it, of the data as the observation saw them, nothing computed anew.
#ifndef EVALUATOR_CAMERA_H
#define EVALUATOR_CAMERA_H

#include "evaluator/env.h"
#include "evaluator/png.h"

#define EVALUATOR_CAMERA_SIDE_MAX 4096  // pixels

// One GL context and one scene renderer per world, used by one thread at a time.
struct evaluator_camera;
// render: "auto" | "gpu" | "cpu". PROTO_MISSING: no GL at all, saying what was tried and what to
// install; state-only use of environments still works.
PROTO_MUST_CHECK bool evaluator_camera_open(struct evaluator_world *world, const char *render,
                                            uint32_t height, uint32_t width,
                                            struct evaluator_camera **camera,
                                            struct proto_error *error);
void evaluator_camera_close(struct evaluator_camera **camera);
const char *evaluator_camera_renderer(const struct evaluator_camera *camera);  // GL_RENDERER, how
bool evaluator_camera_software(const struct evaluator_camera *camera);

// Draws `name` ("agentview", "robot0_eye_in_hand"; "eye_in_hand" is taken too) of the last
// observation. rgb u8 [height, width, 3], bottom row first, as LIBERO's datasets store it.
PROTO_MUST_CHECK bool evaluator_camera_draw(struct evaluator_camera *camera,
                                            struct evaluator_env *env, const char *name,
                                            uint8_t *rgb, struct proto_error *error);

// The same for a model and data of any origin. The camera borrows nothing of the model but keeps
// its meshes and textures: draw only models compiled from the same text.
PROTO_MUST_CHECK bool evaluator_camera_open_model(const struct mjModel_ *model, const char *render,
                                                  uint32_t height, uint32_t width,
                                                  struct evaluator_camera **camera,
                                                  struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_camera_draw_data(struct evaluator_camera *camera,
                                                 const struct mjModel_ *model, struct mjData_ *data,
                                                 const char *name, uint8_t *rgb,
                                                 struct proto_error *error);
#endif
