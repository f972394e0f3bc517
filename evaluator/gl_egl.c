// evaluator/gl_egl.c - contexts from EGL's list of devices. No surface is made: libmujoco draws
// into framebuffers of its own. A display is never terminated, because that would end the contexts
// of all others who got the same one; the library stays until the process ends.
#include "evaluator/gl_kind.h"

#include <EGL/egl.h>
#include <EGL/eglext.h>

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICES_MAX = 64 };

// The functions of libEGL that are used; all are found before any is called.
struct egl {
    PFNEGLGETPROCADDRESSPROC GetProcAddress;
    PFNEGLQUERYDEVICESEXTPROC QueryDevices;
    PFNEGLQUERYDEVICESTRINGEXTPROC QueryDeviceString;
    PFNEGLGETPLATFORMDISPLAYEXTPROC GetPlatformDisplay;
    PFNEGLINITIALIZEPROC Initialize;
    PFNEGLCHOOSECONFIGPROC ChooseConfig;
    PFNEGLBINDAPIPROC BindAPI;
    PFNEGLCREATECONTEXTPROC CreateContext;
    PFNEGLDESTROYCONTEXTPROC DestroyContext;
    PFNEGLMAKECURRENTPROC MakeCurrent;
    PFNEGLGETERRORPROC GetError;
};
struct context {
    struct egl egl;
    EGLDisplay display;
    EGLContext handle;
};

// ISO C has no cast from an object's address to a function's; POSIX promises that the bytes do.
static bool take(void *function, size_t size, const void *found) {
    memcpy(function, &found, size);
    return found != NULL;
}

static bool egl_find(struct egl *egl, struct proto_error *error) {
    void *library = dlopen("libEGL.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) return proto_fail(error, PROTO_MISSING, "%s", dlerror());
    if (!take(&egl->GetProcAddress, sizeof egl->GetProcAddress,
              dlsym(library, "eglGetProcAddress")))
        return proto_fail(error, PROTO_MISSING, "libEGL.so.1 lacks eglGetProcAddress");
    const struct {
        const char *name;
        void *function;
    } needed[] = {
        {"eglQueryDevicesEXT", &egl->QueryDevices},
        {"eglQueryDeviceStringEXT", &egl->QueryDeviceString},
        {"eglGetPlatformDisplayEXT", &egl->GetPlatformDisplay},
        {"eglInitialize", &egl->Initialize},
        {"eglChooseConfig", &egl->ChooseConfig},
        {"eglBindAPI", &egl->BindAPI},
        {"eglCreateContext", &egl->CreateContext},
        {"eglDestroyContext", &egl->DestroyContext},
        {"eglMakeCurrent", &egl->MakeCurrent},
        {"eglGetError", &egl->GetError},
    };
    for (size_t i = 0; i < PROTO_COUNT(needed); i++) {
        const __eglMustCastToProperFunctionPointerType found = egl->GetProcAddress(needed[i].name);
        memcpy(needed[i].function, &found, sizeof found);
        if (!found) return proto_fail(error, PROTO_MISSING, "libEGL.so.1 lacks %s", needed[i].name);
    }
    return true;
}

// The device-th of the devices that are software, or are not.
static bool device_find(const struct egl *egl, bool software, unsigned device, EGLDeviceEXT *found,
                        bool *more, struct proto_error *error) {
    EGLDeviceEXT devices[DEVICES_MAX];
    EGLint count = 0;
    unsigned seen = 0;
    if (!egl->QueryDevices(DEVICES_MAX, devices, &count))
        return proto_fail(error, PROTO_MISSING, "EGL lists no devices (error 0x%x)",
                          (unsigned)egl->GetError());
    *more = false;
    for (EGLint i = 0; i < count && i < DEVICES_MAX; i++) {
        const char *extensions = egl->QueryDeviceString(devices[i], EGL_EXTENSIONS);
        const bool soft = extensions && strstr(extensions, "EGL_MESA_device_software");
        if (soft != software) continue;
        if (seen == device) *found = devices[i];
        if (seen > device) *more = true;
        seen++;
    }
    return seen > device ||
           proto_fail(error, PROTO_MISSING, "EGL lists %d device%s, none of this kind", (int)count,
                      count == 1 ? "" : "s");
}

static bool context_make(struct context *context, EGLDeviceEXT device, struct proto_error *error) {
    const struct egl *egl = &context->egl;
    static const EGLint wanted[] = {EGL_RED_SIZE,
                                    8,
                                    EGL_GREEN_SIZE,
                                    8,
                                    EGL_BLUE_SIZE,
                                    8,
                                    EGL_ALPHA_SIZE,
                                    8,
                                    EGL_DEPTH_SIZE,
                                    24,
                                    EGL_STENCIL_SIZE,
                                    8,
                                    EGL_SURFACE_TYPE,
                                    EGL_PBUFFER_BIT,
                                    EGL_RENDERABLE_TYPE,
                                    EGL_OPENGL_BIT,
                                    EGL_NONE};
    EGLConfig config;
    EGLint count = 0;
    const char *step = "eglGetPlatformDisplay";
    context->display = egl->GetPlatformDisplay(EGL_PLATFORM_DEVICE_EXT, device, NULL);
    if (context->display == EGL_NO_DISPLAY) goto failed;
    step = "eglInitialize";
    if (!egl->Initialize(context->display, NULL, NULL)) goto failed;
    step = "eglChooseConfig";
    if (!egl->ChooseConfig(context->display, wanted, &config, 1, &count) || count < 1) goto failed;
    step = "eglBindAPI(OpenGL)";
    if (!egl->BindAPI(EGL_OPENGL_API)) goto failed;
    step = "eglCreateContext";
    context->handle = egl->CreateContext(context->display, config, EGL_NO_CONTEXT, NULL);
    if (context->handle != EGL_NO_CONTEXT) return true;
failed:
    return proto_fail(error, PROTO_MISSING, "%s failed (error 0x%x)", step,
                      (unsigned)egl->GetError());
}

static bool egl_open(bool software, unsigned device, void **made, bool *more,
                     struct proto_error *error) {
    *more = false;
    struct context *context = proto_alloc(sizeof *context, error);
    EGLDeviceEXT found = NULL;
    if (context && egl_find(&context->egl, error) &&
        device_find(&context->egl, software, device, &found, more, error) &&
        context_make(context, found, error)) {
        *made = context;
        return true;
    }
    free(context);
    return false;
}
static bool gpu_open(unsigned device, void **context, bool *more, struct proto_error *error) {
    return egl_open(false, device, context, more, error);
}
static bool software_open(unsigned device, void **context, bool *more, struct proto_error *error) {
    return egl_open(true, device, context, more, error);
}

static void egl_close(void *opened) {
    struct context *context = opened;
    context->egl.DestroyContext(context->display, context->handle);
    free(context);
}

static bool egl_enter(void *opened) {
    const struct context *context = opened;
    // the API is a setting of the thread
    return context->egl.BindAPI(EGL_OPENGL_API) &&
           context->egl.MakeCurrent(context->display, EGL_NO_SURFACE, EGL_NO_SURFACE,
                                    context->handle);
}

static void egl_leave(void *opened) {
    const struct context *context = opened;
    context->egl.MakeCurrent(context->display, EGL_NO_SURFACE, EGL_NO_SURFACE, EGL_NO_CONTEXT);
}

static void egl_publish(void) {
    (void)!dlopen("libEGL.so.1", RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);  // it is loaded already
}

static void *egl_function(const char *name) {
    struct egl egl;
    struct proto_error error;
    if (!egl_find(&egl, &error)) return NULL;
    const __eglMustCastToProperFunctionPointerType found = egl.GetProcAddress(name);
    void *address;
    memcpy(&address, &found, sizeof address);
    return address;
}

const struct evaluator_gl_kind evaluator_gl_egl_gpu = {
    .name = "EGL on a GPU",
    .install = "the GPU's driver with its EGL (for NVIDIA libnvidia-gl of the driver's version)",
    .open = gpu_open,
    .close = egl_close,
    .enter = egl_enter,
    .leave = egl_leave,
    .publish = egl_publish,
    .function = egl_function,
};
const struct evaluator_gl_kind evaluator_gl_egl_software = {
    .name = "EGL software device",
    .install = "apt-get install libegl1 libgl1-mesa-dri",
    .software = true,
    .open = software_open,
    .close = egl_close,
    .enter = egl_enter,
    .leave = egl_leave,
    .publish = egl_publish,
    .function = egl_function,
};
