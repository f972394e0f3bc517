// tests/gpusim/fakes/nccl_meeting.cpp - the memory is found through /proc of the id's maker.
#include "gpusim/fakes/nccl_meeting.hpp"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

namespace gpusim {

struct address {
    char magic[8];
    uint64_t nonce;
    int32_t pid, file;
};
static_assert(sizeof(address) <= sizeof(ncclUniqueId), "the address fits");
static constexpr char magic[8] = "gpusim1";

static meeting *map(int file) {
    void *memory = mmap(nullptr, sizeof(meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return memory == MAP_FAILED ? nullptr : static_cast<meeting *>(memory);
}

bool meeting_make(ncclUniqueId *id) {
    address a = {{}, 0, getpid(), -1};
    memcpy(a.magic, magic, sizeof a.magic);
    if (getrandom(&a.nonce, sizeof a.nonce, 0) != ssize_t(sizeof a.nonce)) return false;
    a.file = memfd_create("gpusim-nccl", MFD_CLOEXEC);  // stays open: others come through it
    if (a.file < 0 || ftruncate(a.file, sizeof(meeting)) != 0) return false;
    meeting *m = map(a.file);
    if (!m) return false;
    m->nonce = a.nonce;
    munmap(m, sizeof *m);
    memset(id, 0, sizeof *id);
    memcpy(id->internal, &a, sizeof a);
    return true;
}

meeting *meeting_enter(const ncclUniqueId &id) {
    address a = {};
    memcpy(&a, id.internal, sizeof a);
    if (memcmp(a.magic, magic, sizeof a.magic) != 0) return nullptr;
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/%d", a.pid, a.file);
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return nullptr;
    struct stat status = {};
    meeting *m = fstat(file, &status) == 0 && size_t(status.st_size) == sizeof(meeting) ? map(file)
                                                                                        : nullptr;
    close(file);
    if (m && m->nonce != a.nonce) {
        munmap(m, sizeof *m);
        m = nullptr;
    }
    return m;
}
void meeting_leave(meeting *m) {
    if (m) munmap(m, sizeof *m);
}

bool is_alive(int32_t pid) {
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    const ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = '\0';
    const char *state = strrchr(text, ')');
    return state && state[1] == ' ' && state[2] != 'Z' && state[2] != 'X';
}

}  // namespace gpusim
