// stages/nvml.c - a dozen functions of libnvidia-ml.so.1, found by name. Their types and numbers
// are those of NVIDIA's documented interface, written out here so that no toolkit is needed.
#include "stages/nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int nvml_code;  // 0: success
typedef struct nvml_device *nvml_handle;
struct nvml_utilisation {
    unsigned gpu, memory;
};
struct nvml_memory {
    unsigned long long total, free, used;
};
#define NVML_TEMPERATURE_GPU 0
#define NVML_P2P_READ 0
#define NVML_P2P_WRITE 1
#define NVML_P2P_NVLINK 2

// Name, the function's type; optional ones may be missing in an old driver.
#define NVML_FUNCTIONS(X)                                                                          \
    X(nvmlInit_v2, true, (void))                                                                   \
    X(nvmlShutdown, true, (void))                                                                  \
    X(nvmlSystemGetDriverVersion, true, (char *text, unsigned size))                               \
    X(nvmlDeviceGetCount_v2, true, (unsigned *count))                                              \
    X(nvmlDeviceGetHandleByUUID, true, (const char *uuid, nvml_handle *device))                    \
    X(nvmlDeviceGetUtilizationRates, false, (nvml_handle device, struct nvml_utilisation * rates)) \
    X(nvmlDeviceGetMemoryInfo, false, (nvml_handle device, struct nvml_memory * memory))           \
    X(nvmlDeviceGetPowerUsage, false, (nvml_handle device, unsigned *milliwatt))                   \
    X(nvmlDeviceGetTemperature, false, (nvml_handle device, int sensor, unsigned *degrees))        \
    X(nvmlDeviceGetP2PStatus, false,                                                               \
      (nvml_handle first, nvml_handle second, int what, int *status))                              \
    X(nvmlDeviceGetTopologyCommonAncestor, false,                                                  \
      (nvml_handle first, nvml_handle second, int *level))

struct stage_nvml {
    void *library;
    bool started;
    char driver[80];
    unsigned count;
    const char *(*error_text)(nvml_code code);
#define DECLARE_FUNCTION(name, needed, arguments) nvml_code(*name) arguments;
    NVML_FUNCTIONS(DECLARE_FUNCTION)
};

static bool nvml_failed(const struct stage_nvml *nvml, const char *what, nvml_code code,
                        struct proto_error *error) {
    const char *text = nvml->error_text ? nvml->error_text(code) : NULL;
    return proto_fail(error, PROTO_FAILED, "NVML: %s: %s (%d)", what, text ? text : "failed", code);
}

static bool nvml_find(struct stage_nvml *nvml, struct proto_error *error) {
    const struct {
        const char *name;
        bool needed;
        void *slot;
    } functions[] = {
#define FIND_FUNCTION(name, needed, arguments) {#name, needed, (void *)&nvml->name},
        NVML_FUNCTIONS(FIND_FUNCTION){"nvmlErrorString", false, (void *)&nvml->error_text}};
    for (size_t i = 0; i < PROTO_COUNT(functions); i++) {
        void *found = dlsym(nvml->library, functions[i].name);
        if (!found && functions[i].needed)
            return proto_fail(error, PROTO_MISSING, "the driver's NVML has no %s: it is too old",
                              functions[i].name);
        memcpy(functions[i].slot, &found, sizeof found);
    }
    return true;
}

bool stage_nvml_open(struct stage_nvml **out, struct proto_error *error) {
    const char *named = getenv("PIPELINE_NVML");
    const char *file = named && *named ? named : "libnvidia-ml.so.1";
    struct stage_nvml *nvml = proto_alloc(sizeof *nvml, error);
    if (!nvml) return false;
    nvml->library = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (!nvml->library) {
        proto_fail(error, PROTO_MISSING, "%.300s cannot be loaded: there is no NVIDIA driver here",
                   file);
        goto failed;
    }
    if (!nvml_find(nvml, error)) goto failed;
    const nvml_code code = nvml->nvmlInit_v2();
    nvml->started = code == 0;
    if (!nvml->started) {
        nvml_failed(nvml, "start", code, error);
        error->status = PROTO_MISSING;
        goto failed;
    }
    if (nvml->nvmlSystemGetDriverVersion(nvml->driver, sizeof nvml->driver) != 0)
        snprintf(nvml->driver, sizeof nvml->driver, "unknown");
    if (nvml->nvmlDeviceGetCount_v2(&nvml->count) != 0) nvml->count = 0;
    *out = nvml;
    return true;
failed:
    stage_nvml_close(&nvml);
    return false;
}

void stage_nvml_close(struct stage_nvml **nvml) {
    if (!*nvml) return;
    if ((*nvml)->started) (void)(*nvml)->nvmlShutdown();
    if ((*nvml)->library) dlclose((*nvml)->library);
    free(*nvml);
    *nvml = NULL;
}

const char *stage_nvml_driver(const struct stage_nvml *nvml) { return nvml->driver; }
uint32_t stage_nvml_count(const struct stage_nvml *nvml) { return nvml->count; }

static bool nvml_device(const struct stage_nvml *nvml, const char *uuid, nvml_handle *device,
                        struct proto_error *error) {
    const nvml_code code = nvml->nvmlDeviceGetHandleByUUID(uuid, device);
    return code == 0 || nvml_failed(nvml, uuid, code, error);
}

bool stage_nvml_read(struct stage_nvml *nvml, const char *uuid, struct stage_nvml_reading *reading,
                     struct proto_error *error) {
    nvml_handle device = NULL;
    struct nvml_utilisation rates = {0};
    struct nvml_memory memory = {0};
    unsigned milliwatt = 0, degrees = 0;
    *reading = (struct stage_nvml_reading){-1, -1, -1, -1, -1};
    if (!nvml_device(nvml, uuid, &device, error)) return false;
    if (nvml->nvmlDeviceGetUtilizationRates &&
        nvml->nvmlDeviceGetUtilizationRates(device, &rates) == 0)
        reading->utilisation = (int)rates.gpu;
    if (nvml->nvmlDeviceGetMemoryInfo && nvml->nvmlDeviceGetMemoryInfo(device, &memory) == 0) {
        reading->used_bytes = (int64_t)memory.used;
        reading->total_bytes = (int64_t)memory.total;
    }
    if (nvml->nvmlDeviceGetPowerUsage && nvml->nvmlDeviceGetPowerUsage(device, &milliwatt) == 0)
        reading->power_w = milliwatt / 1000.0;
    if (nvml->nvmlDeviceGetTemperature &&
        nvml->nvmlDeviceGetTemperature(device, NVML_TEMPERATURE_GPU, &degrees) == 0)
        reading->temperature_c = (int)degrees;
    return true;
}

static const char *peer_reason(int status) {
    static const char *const reasons[] = {
        "",
        "the chipset does not support it",
        "these GPUs do not support it",
        "they hang on different processors (IOH)",
        "it is switched off in the driver's settings",
        "it is not supported",
    };
    return status > 0 && (size_t)status < PROTO_COUNT(reasons) ? reasons[status]
                                                               : "the driver does not say why";
}

static const char *path_name(int level) {
    static const struct {
        int level;
        const char *name;
    } names[] = {
        {0, "one board"},
        {10, "one PCIe switch"},
        {20, "several PCIe switches"},
        {30, "the host bridge of one processor"},
        {40, "several host bridges of one processor"},
        {50, "the link between processors"},
    };
    for (size_t i = 0; i < PROTO_COUNT(names); i++)
        if (names[i].level == level) return names[i].name;
    return "";
}

bool stage_nvml_peers(struct stage_nvml *nvml, const char *first, const char *second,
                      struct stage_nvml_peers *peers, struct proto_error *error) {
    nvml_handle a = NULL, b = NULL;
    int read = 6, write = 6, link = 6, level = -1;
    *peers = (struct stage_nvml_peers){.why = "", .path = ""};
    if (!nvml_device(nvml, first, &a, error) || !nvml_device(nvml, second, &b, error)) return false;
    if (nvml->nvmlDeviceGetTopologyCommonAncestor &&
        nvml->nvmlDeviceGetTopologyCommonAncestor(a, b, &level) == 0)
        peers->path = path_name(level);
    if (!nvml->nvmlDeviceGetP2PStatus)
        return proto_fail(error, PROTO_MISSING, "the driver does not say how GPUs are connected");
    const nvml_code code = nvml->nvmlDeviceGetP2PStatus(a, b, NVML_P2P_READ, &read);
    if (code != 0 || nvml->nvmlDeviceGetP2PStatus(a, b, NVML_P2P_WRITE, &write) != 0)
        return nvml_failed(nvml, "peer access", code, error);
    peers->nvlink = nvml->nvmlDeviceGetP2PStatus(a, b, NVML_P2P_NVLINK, &link) == 0 && link == 0;
    peers->direct = read == 0 && write == 0;
    if (!peers->direct) peers->why = peer_reason(read != 0 ? read : write);
    return true;
}
