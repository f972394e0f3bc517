// evaluator/recorder.h - lets a scripted expert do its task once and keeps what a demonstration
// consists of.
//
// As LIBERO's own recordings: a reset, a start state, five steps that are dropped (objects settle,
// the gripper gets where the expert wants it), then every step until the goal has held for
// EVALUATOR_RECORDER_HOLD more.
#ifndef EVALUATOR_RECORDER_H
#define EVALUATOR_RECORDER_H

#include "evaluator/camera.h"
#include "evaluator/demos_file.h"
#include "evaluator/expert.h"

#define EVALUATOR_RECORDER_STEPS_MAX 600
#define EVALUATOR_RECORDER_HOLD 7

struct evaluator_recorder;

struct evaluator_recorder_settings {
    struct evaluator_world *world;
    struct evaluator_env *env;
    struct evaluator_camera *camera;  // NULL: demonstrations without images
    uint32_t height, width;           // of the camera
    const struct evaluator_expert_task *task;
    double noise;                 // standard deviation, on the six motion commands
    bool (*stop)(void *context);  // asked at every step; NULL: never
    void *context;
};

struct evaluator_attempt {
    bool success, stopped;
    uint32_t success_step;
    char why[320];               // of a failure
    struct evaluator_demo demo;  // borrowed until the next attempt; without init_row
};

// Borrows all that the settings name until the recorder is freed.
PROTO_MUST_CHECK bool evaluator_recorder_new(const struct evaluator_recorder_settings *settings,
                                             struct evaluator_recorder **recorder,
                                             struct proto_error *error);
void evaluator_recorder_free(struct evaluator_recorder **recorder);  // accepts NULL

// One attempt from start state `state`, after a reset with `seed`, which also draws the noise. That
// the expert or the physics fails is no error: the attempt says so.
PROTO_MUST_CHECK bool evaluator_recorder_run(struct evaluator_recorder *recorder,
                                             const double *state, uint32_t width, uint32_t seed,
                                             struct evaluator_attempt *attempt,
                                             struct proto_error *error);

#endif
