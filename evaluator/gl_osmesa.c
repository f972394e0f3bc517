// evaluator/gl_osmesa.c - Mesa's off-screen library, for machines whose EGL knows no software
// device. Its few prototypes are written here (Mesa's GL/osmesa.h, version 22), so that no header
// package is needed.
#include "evaluator/gl_kind.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { RGBA = 0x1908, UNSIGNED_BYTE = 0x1401, SIDE = 64 };  // GL_RGBA, GL_UNSIGNED_BYTE

struct osmesa {
    void *(*CreateContextExt)(unsigned format, int depth_bits, int stencil_bits, int accum_bits,
                              void *share);
    void (*DestroyContext)(void *context);
    unsigned char (*MakeCurrent)(void *context, void *buffer, unsigned type, int width, int height);
    void (*(*GetProcAddress)(const char *name))(void);
};
struct context {
    struct osmesa osmesa;
    void *handle;
    unsigned char buffer[SIDE * SIDE * 4];  // the window of the context; nothing draws into it
};

static void *library_open(int visible) {
    static const char *const names[] = {"libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"};
    void *library = NULL;
    for (size_t i = 0; i < PROTO_COUNT(names) && !library; i++)
        library = dlopen(names[i], RTLD_NOW | visible | RTLD_NODELETE);
    return library;
}

static bool osmesa_find(struct osmesa *osmesa, struct proto_error *error) {
    void *library = library_open(RTLD_LOCAL);
    if (!library) return proto_fail(error, PROTO_MISSING, "%s", dlerror());
    const struct {
        const char *name;
        void *function;
    } needed[] = {
        {"OSMesaCreateContextExt", &osmesa->CreateContextExt},
        {"OSMesaDestroyContext", &osmesa->DestroyContext},
        {"OSMesaMakeCurrent", &osmesa->MakeCurrent},
        {"OSMesaGetProcAddress", &osmesa->GetProcAddress},
    };
    for (size_t i = 0; i < PROTO_COUNT(needed); i++) {
        void *const found = dlsym(library, needed[i].name);
        if (!found) return proto_fail(error, PROTO_MISSING, "libOSMesa lacks %s", needed[i].name);
        memcpy(needed[i].function, &found, sizeof found);
    }
    return true;
}

static bool osmesa_open(unsigned device, void **made, bool *more, struct proto_error *error) {
    (void)device;
    *more = false;
    struct context *context = proto_alloc(sizeof *context, error);
    if (!context) return false;
    if (osmesa_find(&context->osmesa, error)) {
        context->handle = context->osmesa.CreateContextExt(RGBA, 24, 8, 0, NULL);
        if (context->handle) {
            *made = context;
            return true;
        }
        proto_fail(error, PROTO_MISSING, "OSMesaCreateContextExt failed");
    }
    free(context);
    return false;
}

static void osmesa_close(void *opened) {
    struct context *context = opened;
    context->osmesa.DestroyContext(context->handle);
    free(context);
}

static bool osmesa_enter(void *opened) {
    struct context *context = opened;
    return context->osmesa.MakeCurrent(context->handle, context->buffer, UNSIGNED_BYTE, SIDE, SIDE);
}

static void osmesa_leave(void *opened) {
    struct context *context = opened;
    context->osmesa.MakeCurrent(NULL, NULL, UNSIGNED_BYTE, 0, 0);
}

static void osmesa_publish(void) {
    (void)!library_open(RTLD_GLOBAL);  // it is loaded already
}

static void *osmesa_function(const char *name) {
    struct osmesa osmesa;
    struct proto_error error;
    if (!osmesa_find(&osmesa, &error)) return NULL;
    void (*const found)(void) = osmesa.GetProcAddress(name);
    void *address;
    memcpy(&address, &found, sizeof address);
    return address;
}

const struct evaluator_gl_kind evaluator_gl_osmesa = {
    .name = "OSMesa",
    .install = "apt-get install libosmesa6",
    .software = true,
    .open = osmesa_open,
    .close = osmesa_close,
    .enter = osmesa_enter,
    .leave = osmesa_leave,
    .publish = osmesa_publish,
    .function = osmesa_function,
};
