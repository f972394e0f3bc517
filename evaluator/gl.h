// evaluator/gl.h - an OpenGL context without display, window system or environment variable: EGL on
// a GPU, EGL's software device, or OSMesa, each opened with dlopen when it is asked for.
//
// libmujoco keeps the addresses of the GL functions in global variables and finds them through the
// GL library of the process; so one process draws through EGL or through OSMesa, never both. A
// context is used by one thread at a time: enter it before GL is called, leave it behind.
#ifndef EVALUATOR_GL_H
#define EVALUATOR_GL_H

#include "proto/error.h"

#define EVALUATOR_GL_NAME_MAX 192

struct evaluator_gl;

// render: "auto" (a GPU, else software) | "gpu" | "cpu". PROTO_MISSING: none works; each way that
// was tried is named with what it said. PROTO_USAGE: another word.
PROTO_MUST_CHECK bool evaluator_gl_open(const char *render, struct evaluator_gl **gl,
                                        struct proto_error *error);
// The context must be left. What was made in it (textures, buffers) goes with it.
void evaluator_gl_close(struct evaluator_gl **gl);
PROTO_MUST_CHECK bool evaluator_gl_enter(struct evaluator_gl *gl, struct proto_error *error);
void evaluator_gl_leave(struct evaluator_gl *gl);
// "NVIDIA H100 (EGL on a GPU)", "llvmpipe (LLVM 15.0.6, 256 bits) (EGL software device)"
const char *evaluator_gl_name(const struct evaluator_gl *gl);
bool evaluator_gl_software(const struct evaluator_gl *gl);

#endif
