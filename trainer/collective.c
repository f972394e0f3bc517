// trainer/collective.c - the door to what ranks do together: picks the kind by name and checks the
// sizes that no kind has to check again.
#include "trainer/collective.h"

#include "trainer/collective_backend.h"

#include <assert.h>
#include <string.h>

bool trainer_collective_open(const struct trainer_collective_settings *settings,
                             struct trainer_collective **collective, struct proto_error *error) {
    if (settings->size < 1 || settings->size > TRAINER_RANKS_MAX ||
        settings->rank >= settings->size)
        return proto_fail(error, PROTO_FAILED, "rank %u of %u, must be 0..%d of at most %d",
                          settings->rank, settings->size, TRAINER_RANKS_MAX - 1, TRAINER_RANKS_MAX);
    if (strcmp(settings->backend, "host") == 0)
        return trainer_collective_host_open(settings, collective, error);
    return proto_fail(error, PROTO_MISSING,
                      "collective.backend = \"%s\" is not in this build; use \"host\"",
                      settings->backend);
}

void trainer_collective_close(struct trainer_collective **collective) {
    if (!*collective) return;
    (*collective)->ops->close(*collective);
    *collective = NULL;
}

void trainer_collective_abort(struct trainer_collective *collective) {
    collective->ops->abort(collective, PROTO_FAILED);
}

void trainer_collective_fail(struct trainer_collective *collective, enum proto_status status) {
    collective->ops->abort(collective, status);
}

bool trainer_collective_all_reduce(struct trainer_collective *collective, float *data, size_t count,
                                   float scale, struct proto_error *error) {
    return collective->ops->all_reduce(collective, data, count, scale, error);
}

bool trainer_collective_sum(struct trainer_collective *collective, double *data, uint32_t count,
                            struct proto_error *error) {
    assert(count <= TRAINER_COLLECTIVE_SMALL_MAX);
    return collective->ops->sum(collective, data, count, error);
}

bool trainer_collective_sum_u64(struct trainer_collective *collective, uint64_t *data,
                                uint32_t count, struct proto_error *error) {
    assert(count <= TRAINER_COLLECTIVE_SMALL_MAX);
    return collective->ops->sum_u64(collective, data, count, error);
}

bool trainer_collective_gather(struct trainer_collective *collective, const double *data,
                               uint32_t count, double *gathered, struct proto_error *error) {
    assert(count <= TRAINER_COLLECTIVE_SMALL_MAX);
    return collective->ops->gather(collective, data, count, gathered, error);
}

bool trainer_collective_broadcast(struct trainer_collective *collective, float *data, size_t count,
                                  uint32_t root, struct proto_error *error) {
    assert(root < collective->size);
    return collective->ops->broadcast(collective, data, count, root, error);
}

bool trainer_collective_barrier(struct trainer_collective *collective, struct proto_error *error) {
    return collective->ops->barrier(collective, error);
}

uint32_t trainer_collective_size(const struct trainer_collective *collective) {
    return collective->size;
}

double trainer_collective_waited_s(struct trainer_collective *collective) {
    const double waited_s = collective->waited_s;
    collective->waited_s = 0;
    return waited_s;
}
