// evaluator/gl.c - tries the ways to a GL context in order and keeps the first that works. The
// reasons of those that did not are what a user reads when none did.
#include "evaluator/gl.h"

#include "evaluator/gl_kind.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GL_RENDERER_NAME = 0x1f01 };  // GL_RENDERER of GL/gl.h

struct evaluator_gl {
    const struct evaluator_gl_kind *kind;
    void *context;
    char name[EVALUATOR_GL_NAME_MAX];
    bool software;
};

// What a library said when it was tried.
struct refusals {
    char text[560];
    size_t length;
};
static void refusal_add(struct refusals *refusals, const struct evaluator_gl_kind *kind,
                        const char *reason) {
    const size_t room = sizeof refusals->text - refusals->length;
    const int added = snprintf(refusals->text + refusals->length, room, "%s%s: %.90s (%s)",
                               refusals->length > 0 ? "; " : "", kind->name, reason, kind->install);
    if (added > 0) refusals->length += (size_t)added < room ? (size_t)added : room - 1;
}

// libmujoco takes its GL functions from whichever library is in the process: EGL and OSMesa in one
// process would call each other's. The first that gives a context keeps the process.
static bool family_claim(const struct evaluator_gl_kind *kind, struct proto_error *error) {
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static const struct evaluator_gl_kind *first;
    pthread_mutex_lock(&lock);
    if (!first) first = kind;
    const bool same = (first == &evaluator_gl_osmesa) == (kind == &evaluator_gl_osmesa);
    const char *name = first->name;
    if (same) kind->publish();
    pthread_mutex_unlock(&lock);
    return same || proto_fail(error, PROTO_MISSING, "this process draws through %s already", name);
}

// Asks the context who draws. A GPU's driver that falls back to software is not a GPU.
static bool name_ask(struct evaluator_gl *gl, struct proto_error *error) {
    static const char *const software[] = {"llvmpipe", "softpipe", "swrast", "Software Rasterizer"};
    const unsigned char *(*get_string)(unsigned) = NULL;
    void *const found = gl->kind->function("glGetString");
    if (!found) return proto_fail(error, PROTO_MISSING, "it has no glGetString");
    memcpy(&get_string, &found, sizeof found);
    if (!evaluator_gl_enter(gl, error)) return false;
    const unsigned char *text = get_string(GL_RENDERER_NAME);
    char renderer[128];
    snprintf(renderer, sizeof renderer, "%s", text ? (const char *)text : "");
    evaluator_gl_leave(gl);
    if (!text) return proto_fail(error, PROTO_MISSING, "it does not say what draws");
    snprintf(gl->name, sizeof gl->name, "%s (%s)", renderer, gl->kind->name);
    gl->software = gl->kind->software;
    for (size_t i = 0; i < PROTO_COUNT(software); i++)
        gl->software = gl->software || strstr(renderer, software[i]);
    return gl->software == gl->kind->software ||
           proto_fail(error, PROTO_MISSING, "its driver draws with %.60s", renderer);
}

static bool kind_open(const struct evaluator_gl_kind *kind, struct evaluator_gl *gl,
                      struct proto_error *error) {
    bool more = true;
    for (unsigned device = 0; more; device++) {
        gl->kind = kind;
        if (!kind->open(device, &gl->context, &more, error)) continue;
        if (name_ask(gl, error) && family_claim(kind, error)) return true;
        kind->close(gl->context);
    }
    return false;
}

bool evaluator_gl_open(const char *render, struct evaluator_gl **opened,
                       struct proto_error *error) {
    static const struct evaluator_gl_kind *const kinds[] = {
        &evaluator_gl_egl_gpu, &evaluator_gl_egl_software, &evaluator_gl_osmesa};
    const bool gpu = strcmp(render, "gpu") == 0, cpu = strcmp(render, "cpu") == 0;
    struct refusals refusals = {.length = 0};
    if (!gpu && !cpu && strcmp(render, "auto") != 0)
        return proto_fail(error, PROTO_USAGE, "render is \"%.40s\", must be auto, gpu or cpu",
                          render);
    struct evaluator_gl *gl = proto_alloc(sizeof *gl, error);
    if (!gl) return false;
    for (size_t i = 0; i < PROTO_COUNT(kinds); i++) {
        struct proto_error reason = {0};
        if (kinds[i]->software ? gpu : cpu) continue;
        if (kind_open(kinds[i], gl, &reason)) {
            *opened = gl;
            return true;
        }
        refusal_add(&refusals, kinds[i], reason.text);
    }
    free(gl);
    return proto_fail(error, PROTO_MISSING, "nothing here can draw pictures (render = %s): %s",
                      render, refusals.text);
}

void evaluator_gl_close(struct evaluator_gl **gl) {
    if (!*gl) return;
    (*gl)->kind->close((*gl)->context);
    free(*gl);
    *gl = NULL;
}

bool evaluator_gl_enter(struct evaluator_gl *gl, struct proto_error *error) {
    return gl->kind->enter(gl->context) ||
           proto_fail(error, PROTO_FAILED, "%s: the GL context cannot be made current",
                      gl->name[0] != '\0' ? gl->name : gl->kind->name);
}
void evaluator_gl_leave(struct evaluator_gl *gl) { gl->kind->leave(gl->context); }
const char *evaluator_gl_name(const struct evaluator_gl *gl) { return gl->name; }
bool evaluator_gl_software(const struct evaluator_gl *gl) { return gl->software; }
