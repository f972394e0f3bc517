// trainer/collective.c - the door to what ranks do together: picks the kind by name and checks the
// sizes that no kind has to check again.
#include "trainer/collective.h"

#include "proto/module.h"
#include "trainer/collective_module.h"

#include <assert.h>
#include <string.h>

static bool nccl_module(const struct trainer_collective_module **module,
                        struct proto_error *error) {
    void *found = NULL;
    if (!proto_module_open("nccl", TRAINER_COLLECTIVE_MODULE_SYMBOL, &found, error)) return false;
    trainer_collective_module_entry *entry = NULL;
    static_assert(sizeof entry == sizeof found, "a function's address fits a pointer");
    memcpy(&entry, &found, sizeof entry);
    *module = entry();
    if ((*module)->version == TRAINER_COLLECTIVE_MODULE_VERSION &&
        (*module)->ops_bytes == sizeof(struct trainer_collective_ops))
        return true;
    return proto_fail(error, PROTO_MISSING,
                      "the NCCL module is of another build (version %u of its interface, this "
                      "program has %d): build and install both together",
                      (*module)->version, TRAINER_COLLECTIVE_MODULE_VERSION);
}

// The module is looked for before the ranks meet: its absence is the same on all of them.
static bool nccl_open(const struct trainer_collective_settings *settings,
                      struct trainer_collective **collective, struct proto_error *error) {
    const struct trainer_collective_module *module = NULL;
    struct trainer_collective *control = NULL;
    struct trainer_collective_settings small = *settings;
    small.elements_max = 0;  // vectors do not go there
    if (!nccl_module(&module, error)) return false;
    assert(settings->device);
    return trainer_collective_host_open(&small, &control, error) &&
           module->open(settings, control, collective, error);
}

static bool staged_open(const struct trainer_collective_settings *settings,
                        struct trainer_collective **collective, struct proto_error *error) {
    struct trainer_collective *host = NULL;
    return trainer_collective_host_open(settings, &host, error) &&
           trainer_collective_staged_open(settings, host, collective, error);
}

bool trainer_collective_open(const struct trainer_collective_settings *settings,
                             struct trainer_collective **collective, struct proto_error *error) {
    if (settings->size < 1 || settings->size > TRAINER_RANKS_MAX ||
        settings->rank >= settings->size)
        return proto_fail(error, PROTO_FAILED, "rank %u of %u, must be 0..%d of at most %d",
                          settings->rank, settings->size, TRAINER_RANKS_MAX - 1, TRAINER_RANKS_MAX);
    if (strcmp(settings->backend, "host") == 0)
        return trainer_collective_host_open(settings, collective, error);
    if (strcmp(settings->backend, "staged") == 0) return staged_open(settings, collective, error);
    if (strcmp(settings->backend, "nccl") == 0) return nccl_open(settings, collective, error);
    return proto_fail(error, PROTO_MISSING,
                      "collective.backend = \"%s\" is not known; use \"nccl\", \"staged\" or "
                      "\"host\"",
                      settings->backend);
}

void trainer_collective_close(struct trainer_collective **collective) {
    if (!*collective) return;
    (*collective)->ops->close(*collective);
    *collective = NULL;
}

void trainer_collective_abort(struct trainer_collective *collective) {
    collective->ops->abort(collective, PROTO_FAILED, "");
}

void trainer_collective_fail(struct trainer_collective *collective,
                             const struct proto_error *error) {
    collective->ops->abort(collective, error->status, error->text);
}

bool trainer_collective_status(struct trainer_collective *collective, struct proto_error *error) {
    return collective->ops->status(collective, error);
}

bool trainer_collective_on_device(const struct trainer_collective *collective) {
    return collective->ops->on_device;
}

bool trainer_collective_all_reduce(struct trainer_collective *collective, float *data, size_t count,
                                   float scale, struct proto_error *error) {
    return collective->ops->start(collective, data, count, scale, error) &&
           collective->ops->finish(collective, error);
}

bool trainer_collective_start(struct trainer_collective *collective, float *data, size_t count,
                              float scale, struct proto_error *error) {
    return collective->ops->start(collective, data, count, scale, error);
}

bool trainer_collective_finish(struct trainer_collective *collective, struct proto_error *error) {
    return collective->ops->finish(collective, error);
}

bool trainer_collective_reduce_scatter(struct trainer_collective *collective, const float *data,
                                       float *shard, size_t count, float scale,
                                       struct proto_error *error) {
    return collective->ops->reduce_scatter(collective, data, shard, count, scale, error);
}

bool trainer_collective_all_gather(struct trainer_collective *collective, const float *shard,
                                   float *data, size_t count, struct proto_error *error) {
    return collective->ops->all_gather(collective, shard, data, count, error);
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
