// tests/stages/fake_nvml.c - a libnvidia-ml.so.1 for tests, loaded through PIPELINE_NVML: two
// devices whose numbers are told by their place; FAKE_NVML=no-driver, no-peers changes it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct nvml_device {
    const char *uuid;
    unsigned number;
};
// In the order of the bus, which is not the order of CUDA.
static struct nvml_device devices[] = {{"GPU-00000000-0000-0000-0000-0000000000b0", 0},
                                       {"GPU-00000000-0000-0000-0000-0000000000a1", 1}};

static int is(const char *what) {
    const char *mode = getenv("FAKE_NVML");
    return mode && strcmp(mode, what) == 0;
}

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int code);
int nvmlSystemGetDriverVersion(char *text, unsigned size);
int nvmlDeviceGetCount_v2(unsigned *count);
int nvmlDeviceGetHandleByUUID(const char *uuid, struct nvml_device **device);
int nvmlDeviceGetUtilizationRates(struct nvml_device *device, unsigned rates[2]);
int nvmlDeviceGetMemoryInfo(struct nvml_device *device, unsigned long long memory[3]);
int nvmlDeviceGetPowerUsage(struct nvml_device *device, unsigned *milliwatt);
int nvmlDeviceGetP2PStatus(struct nvml_device *a, struct nvml_device *b, int what, int *status);
int nvmlDeviceGetTopologyCommonAncestor(struct nvml_device *a, struct nvml_device *b, int *level);

int nvmlInit_v2(void) { return is("no-driver") ? 9 : 0; }
int nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Not Found"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "580.00");
    return 0;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 2;
    return 0;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, struct nvml_device **device) {
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
        if (strcmp(devices[i].uuid, uuid) == 0) {
            *device = &devices[i];
            return 0;
        }
    return 6;
}
int nvmlDeviceGetUtilizationRates(struct nvml_device *device, unsigned rates[2]) {
    rates[0] = 90 + device->number;
    rates[1] = 1;
    return 0;
}
int nvmlDeviceGetMemoryInfo(struct nvml_device *device, unsigned long long memory[3]) {
    memory[0] = 80ull << 30;
    memory[1] = (40ull - device->number) << 30;
    memory[2] = (40ull + device->number) << 30;
    return 0;
}
int nvmlDeviceGetPowerUsage(struct nvml_device *device, unsigned *milliwatt) {
    *milliwatt = 300500 + 1000 * device->number;
    return 0;
}
int nvmlDeviceGetP2PStatus(struct nvml_device *a, struct nvml_device *b, int what, int *status) {
    *status = is("no-peers") ? 1 : a == b || what > 2 ? 5 : 0;
    return 0;
}
int nvmlDeviceGetTopologyCommonAncestor(struct nvml_device *a, struct nvml_device *b, int *level) {
    *level = a == b ? 0 : is("no-peers") ? 50 : 10;
    return 0;
}
