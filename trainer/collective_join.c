// trainer/collective_join.c - how the ranks of one machine find each other.
//
// Rank 0 makes a memfd and listens on an abstract socket whose name is made from the run's name and
// the epoch; every other rank says who it is and gets the descriptor. Neither the memory nor the
// socket has a place in a file system, so a kill at any moment leaves nothing behind, and ranks of
// an older attempt that still live cannot join a newer one. Only processes of the same user are
// answered. The sizes of the memory are sealed: no peer can shrink it under another's feet.
#include "trainer/collective_backend.h"

#include "proto/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define JOIN_SLICE_MS 50        // how often a waiting rank looks whether it should still wait
#define JOIN_RETRY_MS 10        // an abstract name has no event for "now it is bound"
#define JOIN_HELLO_MS_MAX 2000  // from connect to hello
#define JOIN_MAGIC 0x70697065436f6c31ull

// What a joining rank says, and what it is told. `text` is empty when the memory comes along.
struct join_hello {
    uint64_t magic, epoch, size_bytes, elements_max;
    uint32_t rank, size;
};
struct join_answer {
    uint64_t magic;
    char text[768];  // as in struct proto_error
};

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static socklen_t join_address(const struct trainer_collective_settings *settings,
                              struct sockaddr_un *address) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    const int length =
        snprintf(address->sun_path + 1, sizeof address->sun_path - 1,
                 "pipeline-ranks-%u-%016" PRIx64 "-%" PRIu64, (unsigned)getuid(),
                 proto_hash(settings->name, strlen(settings->name)), settings->epoch);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
}

static struct join_hello join_hello_of(const struct trainer_collective_settings *settings,
                                       size_t size_bytes) {
    return (struct join_hello){.magic = JOIN_MAGIC,
                               .epoch = settings->epoch,
                               .size_bytes = size_bytes,
                               .elements_max = settings->elements_max,
                               .rank = settings->rank,
                               .size = settings->size};
}

// Waits for the descriptor in slices; *ready false at `end_ms`. Fails when the wait is called off.
static bool join_wait(const struct trainer_collective_settings *settings, int descriptor,
                      int64_t end_ms, bool *ready, struct proto_error *error) {
    *ready = false;
    for (;;) {
        if (settings->cancelled && settings->cancelled(settings->context))
            return proto_fail(error, PROTO_FAILED, "stopped while the ranks were joining");
        const int64_t left_ms = end_ms - now_ms();
        if (left_ms <= 0) return true;
        struct pollfd wait = {.fd = descriptor, .events = POLLIN};
        const int count = poll(&wait, 1, (int)(left_ms < JOIN_SLICE_MS ? left_ms : JOIN_SLICE_MS));
        if (count < 0 && errno != EINTR)
            return proto_fail_errno(error, PROTO_FAILED, "waiting for ranks to join");
        if (count > 0) {
            *ready = true;
            return true;
        }
    }
}

static bool join_memory(size_t size_bytes, int *memory, struct proto_error *error) {
    const int descriptor = memfd_create("pipeline-ranks", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) return proto_fail_errno(error, PROTO_MISSING, "memory shared by ranks");
    // reserved now, so that lack of memory is an error here and not a SIGBUS in a step
    const int failure = posix_fallocate(descriptor, 0, (off_t)size_bytes);
    errno = failure;
    if (failure != 0 || fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        proto_fail_errno(error, PROTO_EXHAUSTED, "%zu bytes of memory shared by ranks", size_bytes);
        close(descriptor);
        return false;
    }
    *memory = descriptor;
    return true;
}

static void join_answer_send(int connection, const char *text, int memory) {
    struct join_answer answer = {.magic = JOIN_MAGIC};
    snprintf(answer.text, sizeof answer.text, "%s", text);
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof answer};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (memory >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &memory, sizeof memory);
    }
    // a peer that is gone by now is noticed at the first wait
    (void)!sendmsg(connection, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// Answers one connection. A stranger is dropped; a rank that disagrees ends the group on both
// sides.
static bool join_welcome(const struct trainer_collective_settings *settings, size_t size_bytes,
                         int connection, int memory, int32_t *pids, struct proto_error *error) {
    struct ucred peer = {0};
    socklen_t peer_size = sizeof peer;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &peer_size) != 0 ||
        peer.uid != getuid())
        return true;
    bool ready = false;
    if (!join_wait(settings, connection, now_ms() + JOIN_HELLO_MS_MAX, &ready, error)) return false;
    struct join_hello hello = {0};
    const ssize_t size = ready ? recv(connection, &hello, sizeof hello, MSG_DONTWAIT) : 0;
    if (size != sizeof hello || hello.magic != JOIN_MAGIC) return true;
    const struct join_hello ours = join_hello_of(settings, size_bytes);
    if (hello.epoch != ours.epoch || hello.size != ours.size ||
        hello.size_bytes != ours.size_bytes || hello.elements_max != ours.elements_max ||
        hello.rank == 0 || hello.rank >= ours.size) {
        proto_fail(error, PROTO_FAILED,
                   "rank %u expects %u ranks and %" PRIu64 " elements in attempt %" PRIu64
                   ", rank 0 expects %u ranks and %" PRIu64 " in attempt %" PRIu64
                   ": they were started with different configurations",
                   hello.rank, hello.size, hello.elements_max, hello.epoch, ours.size,
                   ours.elements_max, ours.epoch);
        join_answer_send(connection, error->text, -1);
        return false;
    }
    if (pids[hello.rank] != 0) {
        proto_fail(error, PROTO_FAILED, "rank %u joined twice: processes %d and %d", hello.rank,
                   (int)pids[hello.rank], (int)peer.pid);
        join_answer_send(connection, error->text, -1);
        return false;
    }
    pids[hello.rank] = peer.pid > 0 ? peer.pid : -1;
    join_answer_send(connection, "", memory);
    return true;
}

static uint32_t join_missing(const struct trainer_collective_settings *settings,
                             const int32_t *pids) {
    for (uint32_t rank = 1; rank < settings->size; rank++)
        if (pids[rank] == 0) return rank;
    return settings->size;
}

static bool join_as_first(const struct trainer_collective_settings *settings, size_t size_bytes,
                          int *memory, int32_t *pids, struct proto_error *error) {
    bool done = false;
    int shared = -1;
    struct sockaddr_un address;
    const socklen_t address_size = join_address(settings, &address);
    const int64_t end_ms = now_ms() + (int64_t)(settings->deadline_s * 1000);
    const int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (listener < 0) return proto_fail_errno(error, PROTO_FAILED, "socket where ranks join");
    if (!join_memory(size_bytes, &shared, error)) goto end;
    if (bind(listener, (struct sockaddr *)&address, address_size) != 0 ||
        listen(listener, TRAINER_RANKS_MAX) != 0) {
        proto_fail_errno(error, PROTO_FAILED,
                         "cannot listen for the other ranks; does an older rank 0 of this run and "
                         "attempt %" PRIu64 " still live?",
                         settings->epoch);
        goto end;
    }
    pids[0] = getpid();
    while (join_missing(settings, pids) < settings->size) {
        bool ready = false;
        if (!join_wait(settings, listener, end_ms, &ready, error)) goto end;
        if (!ready) {
            proto_fail(error, PROTO_FAILED, "rank %u did not join within %g s",
                       join_missing(settings, pids), settings->deadline_s);
            goto end;
        }
        const int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0) continue;
        const bool welcome = join_welcome(settings, size_bytes, connection, shared, pids, error);
        close(connection);
        if (!welcome) goto end;
    }
    *memory = shared;
    shared = -1;  // moved to the caller
    done = true;
end:
    if (shared >= 0) close(shared);
    close(listener);
    return done;
}

// Takes rank 0's answer: a descriptor of the right size, or the reason for none.
static bool join_answer_take(int connection, size_t size_bytes, int *memory,
                             struct proto_error *error) {
    struct join_answer answer = {0};
    struct iovec part = {.iov_base = &answer, .iov_len = sizeof answer};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    const ssize_t size = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
    int descriptor = -1;
    const struct cmsghdr *header = size > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&descriptor, CMSG_DATA(header), sizeof descriptor);
    answer.text[sizeof answer.text - 1] = '\0';
    struct stat status;
    if (size == sizeof answer && answer.magic == JOIN_MAGIC && answer.text[0] == '\0' &&
        descriptor >= 0 && fstat(descriptor, &status) == 0 && status.st_size == (off_t)size_bytes) {
        *memory = descriptor;
        return true;
    }
    if (descriptor >= 0) close(descriptor);
    if (size == sizeof answer && answer.text[0] != '\0')
        return proto_fail(error, PROTO_FAILED, "%s", answer.text);
    return proto_fail(error, PROTO_FAILED, "rank 0 left while the ranks were joining");
}

static bool join_as_other(const struct trainer_collective_settings *settings, size_t size_bytes,
                          int *memory, struct proto_error *error) {
    bool done = false, ready = false;
    struct sockaddr_un address;
    const socklen_t address_size = join_address(settings, &address);
    const int64_t end_ms = now_ms() + (int64_t)(settings->deadline_s * 1000);
    const struct join_hello hello = join_hello_of(settings, size_bytes);
    const int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connection < 0) return proto_fail_errno(error, PROTO_FAILED, "socket to rank 0");
    while (connect(connection, (struct sockaddr *)&address, address_size) != 0) {
        if (errno != ECONNREFUSED && errno != EAGAIN && errno != EINTR) {
            proto_fail_errno(error, PROTO_FAILED, "cannot connect to rank 0");
            goto end;
        }
        if (now_ms() >= end_ms) goto late;
        if (settings->cancelled && settings->cancelled(settings->context)) {
            proto_fail(error, PROTO_FAILED, "stopped while the ranks were joining");
            goto end;
        }
        poll(NULL, 0, JOIN_RETRY_MS);
    }
    // a failed send shows as an answer that does not come
    (void)!send(connection, &hello, sizeof hello, MSG_NOSIGNAL);
    if (!join_wait(settings, connection, end_ms, &ready, error)) goto end;
    if (!ready) goto late;
    done = join_answer_take(connection, size_bytes, memory, error);
    goto end;
late:
    proto_fail(error, PROTO_FAILED, "rank 0 did not let rank %u join within %g s", settings->rank,
               settings->deadline_s);
end:
    close(connection);
    return done;
}

bool trainer_collective_join(const struct trainer_collective_settings *settings, size_t size_bytes,
                             int *memory, int32_t pids[static TRAINER_RANKS_MAX],
                             struct proto_error *error) {
    memset(pids, 0, TRAINER_RANKS_MAX * sizeof *pids);
    if (settings->rank == 0) return join_as_first(settings, size_bytes, memory, pids, error);
    return join_as_other(settings, size_bytes, memory, error);
}
