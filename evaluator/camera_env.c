// evaluator/camera_env.c - a camera over an environment: its model, and the data its last
// observation saw.
#include "evaluator/camera.h"

bool evaluator_camera_open(struct evaluator_world *world, const char *render, uint32_t height,
                           uint32_t width, struct evaluator_camera **camera,
                           struct proto_error *error) {
    struct evaluator_env *env = NULL;
    if (!evaluator_env_new(world, &env, error)) return false;
    const bool done =
        evaluator_camera_open_model(evaluator_env_model(env), render, height, width, camera, error);
    evaluator_env_free(&env);
    return done;
}

bool evaluator_camera_draw(struct evaluator_camera *camera, struct evaluator_env *env,
                           const char *name, uint8_t *rgb, struct proto_error *error) {
    return evaluator_camera_draw_data(camera, evaluator_env_picture_model(env),
                                      evaluator_env_picture(env), name, rgb, error);
}
