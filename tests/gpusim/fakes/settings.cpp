// tests/gpusim/fakes/settings.cpp - reads the environment once.
#include "gpusim/fakes/settings.hpp"

#include "gpusim/gpusim.h"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <unistd.h>

namespace gpusim {

static constexpr int devices_max = 16, driver_default = 13000;
static constexpr size_t memory_default = size_t(8) << 30;

struct fault {
    std::string function;
    int device;  // -1: any
    uint64_t number, seen;
    int error;
};

[[noreturn]] static void refuse(const char *name, const char *text, const char *expected) {
    fprintf(stderr, "gpusim: %s=%s: expected %s\n", name, text, expected);
    _Exit(GPUSIM_EXIT);
}

static uint64_t number_of(const char *name, uint64_t otherwise, uint64_t largest) {
    const char *text = getenv(name);
    if (!text || !*text) return otherwise;
    char *end = nullptr;
    errno = 0;
    const uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text == '-' || value > largest)
        refuse(name, text, "a whole number");
    return value;
}

// As the driver reads CUDA_VISIBLE_DEVICES: the list ends at the first entry that is no device.
static std::vector<int> visible_devices(int count) {
    std::vector<int> devices;
    const char *text = getenv("CUDA_VISIBLE_DEVICES");
    if (!text) {
        for (int i = 0; i < count; i++) devices.push_back(i);
        return devices;
    }
    while (*text != '\0') {
        char *end = nullptr;
        const long index = strtol(text, &end, 10);
        if (end == text || (*end != ',' && *end != '\0') || index < 0 || index >= count) break;
        devices.push_back(int(index));
        text = *end == ',' ? end + 1 : end;
    }
    return devices;
}

static settings read_settings() {
    settings s = {};
    const int count = int(number_of("GPUSIM_DEVICES", 1, devices_max));
    s.devices = visible_devices(count);
    s.driver_version = int(number_of("GPUSIM_DRIVER", count > 0 ? driver_default : 0, 1000000));
    s.memory_bytes = number_of("GPUSIM_MEMORY", memory_default, SIZE_MAX);
    s.delay = number_of("GPUSIM_DELAY", 0, UINT64_MAX);
    s.protect = number_of("GPUSIM_PROTECT", 0, 1) != 0;
    s.remote_errors = number_of("GPUSIM_NCCL_REMOTE", 0, 1) != 0;
    return s;
}

const settings &machine() {
    static const settings &s = *new settings(read_settings());
    return s;
}

// ---- faults ----

static const char *const fault_form = "FUNCTION[@DEVICE]:NUMBER:ERROR, several with commas";

static fault fault_of(const char *whole, const std::string &text) {
    const size_t first = text.find(':'), second = text.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos)
        refuse("GPUSIM_FAULT", whole, fault_form);
    fault f = {text.substr(0, first), -1, 0, 0, 0};
    const size_t at = f.function.find('@');
    if (at != std::string::npos) {
        f.device = int(strtol(f.function.c_str() + at + 1, nullptr, 10));
        f.function.resize(at);
    }
    f.number = strtoull(text.c_str() + first + 1, nullptr, 10);
    f.error = int(strtol(text.c_str() + second + 1, nullptr, 10));
    if (f.function.empty() || f.number == 0 || f.error == 0)
        refuse("GPUSIM_FAULT", whole, fault_form);
    return f;
}

static std::vector<fault> read_faults() {
    std::vector<fault> faults;
    const char *whole = getenv("GPUSIM_FAULT");
    if (!whole) return faults;
    std::string rest = whole;
    while (!rest.empty()) {
        const size_t comma = rest.find(',');
        faults.push_back(fault_of(whole, rest.substr(0, comma)));
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    }
    return faults;
}

static bool may_happen() {
    const char *path = getenv("GPUSIM_FAULT_ONCE");
    if (!path || !*path) return true;
    const int file = open(path, O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0600);
    if (file < 0) return false;
    close(file);
    return true;
}

int planned_fault(const char *function, int device) {
    static std::vector<fault> &faults = *new std::vector<fault>(read_faults());
    for (fault &f : faults) {
        if (f.function != function || (f.device >= 0 && f.device != device)) continue;
        if (++f.seen == f.number && may_happen()) return f.error;
    }
    return 0;
}

}  // namespace gpusim
