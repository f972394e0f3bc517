// tests/gpusim/fakes/memory.cpp - mappings with guard pages, and the tables of what is where.
#include "gpusim/fakes/memory.hpp"

#include "gpusim/fakes/settings.hpp"
#include "gpusim/gpusim.h"

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace gpusim {

static constexpr size_t page_bytes = 4096;
static constexpr size_t alignment_bytes = 256;  // of cudaMalloc
static constexpr char edge = 0x5a;              // beside an allocation, within its pages

using table = std::map<uintptr_t, allocation>;
static table &devices() {
    static table &t = *new table;
    return t;
}
static table &pinned() {
    static table &t = *new table;
    return t;
}
static std::map<int, size_t> &used() {
    static std::map<int, size_t> &u = *new std::map<int, size_t>;
    return u;
}
static std::map<int, int> &working() {
    static std::map<int, int> &w = *new std::map<int, int>;
    return w;
}

static size_t rounded(size_t size_bytes, size_t unit) {
    return (size_bytes + unit - 1) / unit * unit;
}

static const allocation *find(const table &t, const void *address) {
    auto next = t.upper_bound(reinterpret_cast<uintptr_t>(address));
    if (next == t.begin()) return nullptr;
    const allocation &a = std::prev(next)->second;
    return static_cast<const char *>(address) < a.begin + a.size_bytes ? &a : nullptr;
}

// Maps size_bytes that end, but for alignment, at a page that nobody may touch.
static bool map(size_t size_bytes, int device, allocation *a) {
    const size_t inside = rounded(size_bytes, alignment_bytes);
    const size_t usable = rounded(inside, page_bytes), whole = usable + 2 * page_bytes;
    if (usable < size_bytes || whole < usable) return false;
    void *mapping =
        mmap(nullptr, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED) return false;
    char *first = static_cast<char *>(mapping) + page_bytes;
    if (mprotect(first, usable, PROT_READ | PROT_WRITE) != 0) {
        munmap(mapping, whole);
        return false;
    }
    *a = {first + usable - inside, size_bytes, device, static_cast<char *>(mapping), whole};
    memset(first, edge, usable);
    memset(a->begin, 0xff, size_bytes);
    return true;
}

// Nobody may have written beside the allocation, within its pages.
static void check_edges(const allocation &a) {
    const char *first = a.mapping + page_bytes, *end = a.mapping + a.mapping_bytes - page_bytes;
    for (const char *p = first; p < end; p++) {
        if (p >= a.begin && p < a.begin + a.size_bytes) continue;
        if (*p == edge) continue;
        fprintf(stderr, "gpusim: device memory of %zu bytes was written at byte %td of it\n",
                a.size_bytes, p - a.begin);
        _Exit(GPUSIM_EXIT);
    }
}

static void protect(const allocation &a, int rights) {
    mprotect(a.mapping + page_bytes, a.mapping_bytes - 2 * page_bytes, rights);
}

// ---- an access that is not allowed, named ----

static struct sigaction before;

static void on_fault(int signal, siginfo_t *info, void *context) {
    (void)context;
    const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    for (const auto &entry : devices()) {
        const allocation &a = entry.second;
        const auto begin = reinterpret_cast<uintptr_t>(a.mapping);
        if (address < begin || address >= begin + a.mapping_bytes) continue;
        char text[256];
        const int size = snprintf(
            text, sizeof text, "gpusim: memory of device %d was touched at byte %td of %zu, %s\n",
            a.device, static_cast<char *>(info->si_addr) - a.begin, a.size_bytes,
            working()[a.device] > 0 ? "by its work" : "by host code");
        if (size > 0 && write(STDERR_FILENO, text, size_t(size)) < 0) _Exit(GPUSIM_EXIT);
        _Exit(GPUSIM_EXIT);
    }
    sigaction(signal, &before, nullptr);  // somebody else's: it happens again, to them
}

static void watch() {
    static bool watched;
    if (watched || !machine().protect) return;
    watched = true;
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before);
}

// ---- devices ----

void *device_alloc(int device, size_t size_bytes) {
    watch();
    const size_t left = machine().memory_bytes - used()[device];
    allocation a = {};
    if (rounded(size_bytes, alignment_bytes) > left || size_bytes > left) return nullptr;
    if (!map(size_bytes, device, &a)) return nullptr;
    used()[device] += rounded(size_bytes, alignment_bytes);
    devices()[reinterpret_cast<uintptr_t>(a.begin)] = a;
    if (machine().protect && working()[device] == 0) protect(a, PROT_NONE);
    return a.begin;
}

bool device_free(void *memory) {
    auto entry = devices().find(reinterpret_cast<uintptr_t>(memory));
    if (entry == devices().end()) return false;
    const allocation a = entry->second;
    if (machine().protect) protect(a, PROT_READ | PROT_WRITE);
    check_edges(a);
    used()[a.device] -= rounded(a.size_bytes, alignment_bytes);
    devices().erase(entry);
    munmap(a.mapping, a.mapping_bytes);
    return true;
}

size_t device_used(int device) { return used()[device]; }
const allocation *device_find(const void *address) { return find(devices(), address); }
const allocation *device_holds(const void *address, size_t size_bytes) {
    const allocation *a = find(devices(), address);
    const size_t at = a ? size_t(static_cast<const char *>(address) - a->begin) : 0;
    return a && size_bytes <= a->size_bytes - at ? a : nullptr;
}

device_works::device_works(int device) : device_(device) {
    if (!machine().protect || working()[device]++ > 0) return;
    for (const auto &entry : devices())
        if (entry.second.device == device) protect(entry.second, PROT_READ | PROT_WRITE);
}
device_works::~device_works() {
    if (!machine().protect || --working()[device_] > 0) return;
    for (const auto &entry : devices())
        if (entry.second.device == device_) protect(entry.second, PROT_NONE);
}

// ---- pinned memory ----

void *pinned_alloc(int device, size_t size_bytes) {
    allocation a = {};
    if (!map(size_bytes, device, &a)) return nullptr;
    pinned()[reinterpret_cast<uintptr_t>(a.begin)] = a;
    return a.begin;
}

bool pinned_free(void *memory) {
    auto entry = pinned().find(reinterpret_cast<uintptr_t>(memory));
    if (entry == pinned().end() || !entry->second.mapping) return false;
    munmap(entry->second.mapping, entry->second.mapping_bytes);
    pinned().erase(entry);
    return true;
}

bool pinned_add(int device, void *memory, size_t size_bytes) {
    char *begin = static_cast<char *>(memory);
    auto next = pinned().lower_bound(reinterpret_cast<uintptr_t>(memory));
    if (pinned_find(memory)) return false;
    if (next != pinned().end() && next->second.begin < begin + size_bytes) return false;
    pinned()[reinterpret_cast<uintptr_t>(memory)] = {begin, size_bytes, device, nullptr, 0};
    return true;
}

bool pinned_remove(void *memory) {
    auto entry = pinned().find(reinterpret_cast<uintptr_t>(memory));
    if (entry == pinned().end() || entry->second.mapping) return false;
    pinned().erase(entry);
    return true;
}

const allocation *pinned_find(const void *address) { return find(pinned(), address); }

}  // namespace gpusim
