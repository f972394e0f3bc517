// trainer/collective_host.c - how ranks of one machine meet, wait for each other, and learn that
// one died, stopped or gave up: over shared memory.
#include "trainer/collective_host.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HOST_CHUNK_ELEMENTS ((size_t)1 << 20)  // 4 MiB of a rank's vector at a time
#define HOST_SPINS 200                         // pauses before sleeping: some microseconds
#define HOST_SLICE_MS 50                       // between looks whether peers live

static const char *const host_kind_names[] = {
    "nothing",   "join",    "all_reduce",     "sum",       "sum_u64", "gather",
    "broadcast", "barrier", "reduce_scatter", "all_gather"};

enum host_reason {
    HOST_GOES_ON = 0,
    HOST_ABORTED,
    HOST_MISMATCH,
    HOST_LATE,
    HOST_DIED,
    HOST_LEFT,
    HOST_STALLED
};

static void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void event_raise(struct host_segment *segment) {
    atomic_fetch_add(&segment->event, 1);
    if (atomic_load(&segment->sleepers) > 0)
        syscall(SYS_futex, &segment->event, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
}

static void event_sleep(struct host_segment *segment, uint32_t seen, double seconds) {
    const struct timespec timeout = {.tv_sec = (time_t)seconds,
                                     .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    atomic_fetch_add(&segment->sleepers, 1);
    syscall(SYS_futex, &segment->event, FUTEX_WAIT, seen, &timeout, NULL, 0);
    atomic_fetch_sub(&segment->sleepers, 1);
}

// The first reason stands. Async-signal-safe.
static void abort_set(struct host *host, enum host_reason reason, uint32_t about) {
    uint32_t expected = 0;
    const uint32_t word = (uint32_t)reason | host->base.rank << 8 | about << 20;
    const int saved = errno;
    atomic_compare_exchange_strong(&host->segment->abort, &expected, word);
    event_raise(host->segment);
    errno = saved;
}

static bool abort_explain(const struct host *host, uint32_t word, struct proto_error *error) {
    const uint32_t by = word >> 8 & 0xfff, about = word >> 20;
    switch ((enum host_reason)(word & 0xff)) {
    case HOST_MISMATCH:
        return proto_fail(error, PROTO_FAILED,
                          "rank %u found ranks in different operations; the collective is closed",
                          by);
    case HOST_LATE:
        return proto_fail(error, PROTO_FAILED,
                          "rank %u gave up waiting for rank %u, which is stopped or hung", by,
                          about);
    case HOST_DIED:
        return proto_fail(error, PROTO_FAILED, "rank %u died (rank %u saw it)", about, by);
    case HOST_LEFT:
        return proto_fail(error, PROTO_FAILED, "rank %u left (rank %u waited for it)", about, by);
    case HOST_STALLED:
        return proto_fail(error, PROTO_FAILED,
                          "rank %u gave up waiting for its device; the collective is closed", by);
    case HOST_ABORTED:
    case HOST_GOES_ON:
        break;
    }
    const enum proto_status status = about != 0 ? (enum proto_status)about : PROTO_FAILED;
    char reason[sizeof host->segment->slots[0].reason];
    memcpy(reason, host->segment->slots[by % TRAINER_RANKS_MAX].reason, sizeof reason);
    reason[sizeof reason - 1] = '\0';
    if (reason[0] == '\0' && status != PROTO_FAILED)
        snprintf(reason, sizeof reason, "%s", proto_status_meaning(status));
    return proto_fail(error, status, "rank %u aborted the collective%s%s", by,
                      reason[0] ? ": " : "", reason);
}

// The first rank that has not arrived as often as this one, or size.
static uint32_t host_missing(const struct host *host) {
    for (uint32_t rank = 0; rank < host->base.size; rank++) {
        const struct host_slot *slot = &host->segment->slots[rank];
        if (atomic_load_explicit(&slot->arrived, memory_order_acquire) < host->arrivals)
            return rank;
    }
    return host->base.size;
}

// Is the process of a rank gone? A rank whose process cannot be watched counts as alive: the
// deadline is left.
static bool peer_died(struct host *host, uint32_t rank) {
    const int32_t pid = atomic_load(&host->segment->slots[rank].pid);
    if (rank == host->base.rank || pid <= 0) return false;
    if (host->peers[rank] < 0) {
        host->peers[rank] = (int)syscall(SYS_pidfd_open, pid, 0);
        if (host->peers[rank] < 0) return errno == ESRCH;
    }
    struct pollfd look = {.fd = host->peers[rank], .events = POLLIN};
    return poll(&look, 1, 0) > 0;
}

// Fails when a rank that is waited for will not come. It may have arrived just before it went, so
// arrivals are read again behind the look.
static bool host_look(struct host *host, struct proto_error *error) {
    const uint32_t word = atomic_load(&host->segment->abort);
    if (word != 0) return host_missing(host) == host->base.size || abort_explain(host, word, error);
    for (uint32_t rank = 0; rank < host->base.size; rank++) {
        struct host_slot *slot = &host->segment->slots[rank];
        const bool left = atomic_load(&slot->left) != 0;
        if (!left && !peer_died(host, rank)) continue;
        if (atomic_load(&slot->arrived) >= host->arrivals) continue;
        abort_set(host, left ? HOST_LEFT : HOST_DIED, rank);
        return proto_fail(error, PROTO_FAILED, "rank %u (process %d) %s during operation %" PRIu64,
                          rank, (int)atomic_load(&slot->pid), left ? "left" : "died",
                          host->sequence);
    }
    return true;
}

// The group as a whole, whatever this rank waits for. Writes nothing that another thread reads, but
// for the word of the abort.
static bool host_status(struct trainer_collective *collective, struct proto_error *error) {
    struct host *host = host_of(collective);
    const uint32_t word = atomic_load(&host->segment->abort);
    if (word != 0) return abort_explain(host, word, error);
    for (uint32_t rank = 0; rank < host->base.size; rank++) {
        struct host_slot *slot = &host->segment->slots[rank];
        struct pollfd look = {.fd = host->peers[rank], .events = POLLIN};
        if (look.fd < 0 || poll(&look, 1, 0) <= 0) continue;
        if (atomic_load(&slot->left) != 0) continue;  // it was done
        abort_set(host, HOST_DIED, rank);
        return proto_fail(error, PROTO_FAILED, "rank %u (process %d) died", rank,
                          (int)atomic_load(&slot->pid));
    }
    return true;
}

static bool host_stalled(struct trainer_collective *collective, struct proto_error *error) {
    struct host *host = host_of(collective);
    abort_set(host, HOST_STALLED, 0);
    return proto_fail(error, PROTO_FAILED,
                      "the device did not finish what the ranks do together within %g s "
                      "(collective.deadline_s): a rank is stopped, or a device hangs",
                      host->deadline_s);
}

static bool host_late(struct host *host, struct proto_error *error) {
    const uint32_t rank = host_missing(host);
    if (rank == host->base.size) return true;
    abort_set(host, HOST_LATE, rank);
    return proto_fail(error, PROTO_FAILED,
                      "rank %u (process %d) did not come to operation %" PRIu64
                      " within %g s (collective.deadline_s): it is stopped or hung",
                      rank, (int)atomic_load(&host->segment->slots[rank].pid), host->sequence,
                      host->deadline_s);
}

bool trainer_host_arrive(struct host *host, struct proto_error *error) {
    struct host_segment *segment = host->segment;
    host->arrivals++;
    atomic_store_explicit(&segment->slots[host->base.rank].arrived, host->arrivals,
                          memory_order_release);
    event_raise(segment);
    for (uint32_t spin = 0; spin < HOST_SPINS; spin++) {
        if (host_missing(host) == host->base.size) return true;
        cpu_pause();
    }
    const double start_s = trainer_collective_now_s();
    double look_s = start_s + HOST_SLICE_MS * 1e-3;
    bool done = false;
    for (;;) {
        const uint32_t seen = atomic_load(&segment->event);
        if (host_missing(host) == host->base.size) {
            done = true;
            break;
        }
        const double time_s = trainer_collective_now_s();
        if (atomic_load(&segment->abort) != 0 || time_s >= look_s) {
            if (!host_look(host, error)) break;
            look_s = time_s + HOST_SLICE_MS * 1e-3;
        }
        if (time_s - start_s >= host->deadline_s) {
            if (!host_late(host, error)) break;
            continue;
        }
        event_sleep(segment, seen, HOST_SLICE_MS * 1e-3);
    }
    host->base.waited_s += trainer_collective_now_s() - start_s;
    return done;
}

static void tag_print(const struct host_tag *tag, uint32_t rank, char text[static 128]) {
    const char *name = tag->kind < PROTO_COUNT(host_kind_names) ? host_kind_names[tag->kind] : "?";
    snprintf(text, 128,
             "rank %u is at operation %" PRIu64 ", %s of %" PRIu64 " (attempt %" PRIu64 ")", rank,
             tag->sequence, name, tag->count, tag->epoch);
}

bool trainer_host_meet(struct host *host, enum host_kind kind, uint32_t root, uint64_t count,
                       struct proto_error *error) {
    struct host_segment *segment = host->segment;
    const uint32_t parity = host->round & 1;
    struct host_tag *mine = &segment->slots[host->base.rank].tags[parity];
    *mine = (struct host_tag){host->epoch, host->sequence, count, (uint32_t)kind, root};
    if (!trainer_host_arrive(host, error)) return false;
    const struct host_tag *first = &segment->slots[0].tags[parity];
    for (uint32_t rank = 1; rank < host->base.size; rank++) {
        const struct host_tag *tag = &segment->slots[rank].tags[parity];
        if (tag->epoch == first->epoch && tag->sequence == first->sequence &&
            tag->count == first->count && tag->kind == first->kind && tag->root == first->root)
            continue;
        char one[128], other[128];
        tag_print(first, 0, one);
        tag_print(tag, rank, other);
        abort_set(host, HOST_MISMATCH, rank);
        return proto_fail(error, PROTO_FAILED, "ranks disagree about what to do: %s; %s%s", one,
                          other, tag->root != first->root ? "; the roots differ" : "");
    }
    return true;
}

bool trainer_host_begin(struct host *host, struct proto_error *error) {
    const uint32_t word = atomic_load(&host->segment->abort);
    if (word != 0) return abort_explain(host, word, error);
    host->sequence++;
    return true;
}

// The reason is cut to what fits; it may be read while another thread of this rank writes one, and
// ends in any case.
static void host_abort(struct trainer_collective *collective, enum proto_status status,
                       const char *text) {
    struct host_slot *slot = &host_of(collective)->segment->slots[collective->rank];
    const size_t length = strlen(text);
    if (length > 0 && slot->reason[0] == '\0')
        memcpy(slot->reason, text, length < sizeof slot->reason ? length : sizeof slot->reason - 1);
    abort_set(host_of(collective), HOST_ABORTED, (uint32_t)status);
}

static void host_close(struct trainer_collective *collective) {
    struct host *host = host_of(collective);
    if (host->segment) {
        atomic_store(&host->segment->slots[host->base.rank].left, 1);
        event_raise(host->segment);
        munmap(host->segment, host->segment_bytes);
    }
    for (uint32_t rank = 0; rank < TRAINER_RANKS_MAX; rank++)
        if (host->peers[rank] >= 0) close(host->peers[rank]);
    free(host);
}

static const struct trainer_collective_ops host_ops = {
    .on_device = false,
    .status = host_status,
    .start = trainer_host_all_reduce,
    .finish = trainer_host_finish,
    .reduce_scatter = trainer_host_reduce_scatter,
    .all_gather = trainer_host_all_gather,
    .sum = trainer_host_sum,
    .sum_u64 = trainer_host_sum_u64,
    .gather = trainer_host_gather,
    .broadcast = trainer_host_broadcast,
    .barrier = trainer_host_barrier,
    .late = host_stalled,
    .abort = host_abort,
    .close = host_close,
};

// Maps the memory and meets the others in it for the first time.
static bool host_enter(struct host *host, const struct trainer_collective_settings *settings,
                       struct proto_error *error) {
    int memory = -1;
    int32_t pids[TRAINER_RANKS_MAX] = {0};
    if (host->base.size > 1 &&
        !trainer_collective_join(settings, host->segment_bytes, &memory, pids, error))
        return false;
    const int flags = memory >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    void *mapped = mmap(NULL, host->segment_bytes, PROT_READ | PROT_WRITE, flags, memory, 0);
    if (memory >= 0) close(memory);
    if (mapped == MAP_FAILED)
        return proto_fail_errno(error, PROTO_EXHAUSTED, "mapping memory shared by ranks");
    host->segment = mapped;
    host->vectors = (float *)(host->segment + 1);
    if (host->base.size == 1) return true;
    if (host->base.rank == 0)
        for (uint32_t rank = 0; rank < host->base.size; rank++)
            atomic_store(&host->segment->slots[rank].pid, pids[rank]);
    if (!trainer_host_begin(host, error) ||
        !trainer_host_meet(host, HOST_JOIN, 0, settings->size, error))
        return false;
    // all process ids are known now; from here on the list is only read
    for (uint32_t rank = 0; rank < host->base.size; rank++) (void)peer_died(host, rank);
    return true;
}

void trainer_collective_host_move(struct trainer_collective *collective,
                                  const struct trainer_collective_mover *mover, void **memory,
                                  size_t *bytes) {
    struct host *host = host_of(collective);
    host->mover = *mover;
    *memory = host->segment;
    *bytes = host->segment_bytes;
}

bool trainer_collective_host_open(const struct trainer_collective_settings *settings,
                                  struct trainer_collective **collective,
                                  struct proto_error *error) {
    struct host *host = proto_alloc(sizeof *host, error);
    if (!host) return false;
    // every rank has a piece of a chunk
    const size_t wanted =
        settings->elements_max > TRAINER_RANKS_MAX ? settings->elements_max : TRAINER_RANKS_MAX;
    const size_t chunk = wanted < HOST_CHUNK_ELEMENTS ? wanted : HOST_CHUNK_ELEMENTS;
    host->base = (struct trainer_collective){&host_ops, settings->rank, settings->size, 0};
    host->chunk = (chunk + HOST_SHARD_STEP - 1) / HOST_SHARD_STEP * HOST_SHARD_STEP;
    host->segment_bytes = sizeof *host->segment + 2 * settings->size * host->chunk * sizeof(float);
    host->mover = (struct trainer_collective_mover){NULL, trainer_host_copy, trainer_host_copy};
    host->epoch = settings->epoch;
    host->deadline_s = settings->deadline_s;
    for (uint32_t rank = 0; rank < TRAINER_RANKS_MAX; rank++) host->peers[rank] = -1;
    if (!host_enter(host, settings, error)) {
        host_close(&host->base);
        return false;
    }
    host->base.waited_s = 0;
    *collective = &host->base;
    return true;
}
