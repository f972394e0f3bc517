// evaluator/gl_kind.h - what a way to a GL context must offer; between gl.c and its ways.
#ifndef EVALUATOR_GL_KIND_H
#define EVALUATOR_GL_KIND_H

#include "proto/error.h"

// One way. No slot is NULL.
struct evaluator_gl_kind {
    const char *name;     // "EGL on a GPU", as people read it
    const char *install;  // what to do where it lacks
    bool software;
    // Makes context number `device` of this way, 0..; *more says whether a next one may exist.
    // On failure *error says why; nothing is left behind.
    bool (*open)(unsigned device, void **context, bool *more, struct proto_error *error);
    void (*close)(void *context);
    bool (*enter)(void *context);
    void (*leave)(void *context);
    // Lets libmujoco find the library among the symbols of the process. Only once a context of this
    // way is kept: with two libraries in sight it takes the wrong one.
    void (*publish)(void);
    void *(*function)(const char *name);  // address of a GL function, once a context was made
};

extern const struct evaluator_gl_kind evaluator_gl_egl_gpu, evaluator_gl_egl_software,
    evaluator_gl_osmesa;

#endif
