// evaluator/camera.h - pictures of an environment without any display: EGL on a GPU, EGL's software
// device, or OSMesa, chosen and named aloud. A frame is drawn only when somebody asks for it.
#ifndef EVALUATOR_CAMERA_H
#define EVALUATOR_CAMERA_H

#include "evaluator/env.h"

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

// Draws `name` ("agentview", "robot0_eye_in_hand"; "eye_in_hand" is taken too) of the last
// observation. rgb u8 [height, width, 3], bottom row first, as LIBERO's datasets store it.
PROTO_MUST_CHECK bool evaluator_camera_draw(struct evaluator_camera *camera,
                                            struct evaluator_env *env, const char *name,
                                            uint8_t *rgb, struct proto_error *error);
// PNG, top row first; `bottom_first` says how rgb lies.
PROTO_MUST_CHECK bool evaluator_png_write(const char *path, const uint8_t *rgb, uint32_t height,
                                          uint32_t width, bool bottom_first,
                                          struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_png_read(const char *path, uint8_t **rgb, uint32_t *height,
                                         uint32_t *width, struct proto_error *error);

#endif
