// trainer/collective_backend.h - what a collective of one kind provides; only collective.c and the
// kinds themselves include it.
#ifndef TRAINER_COLLECTIVE_BACKEND_H
#define TRAINER_COLLECTIVE_BACKEND_H

#include "trainer/collective.h"

// One slot per operation, none NULL. Each is called by every rank in the same order; what they
// promise is written at the public functions in collective.h.
struct trainer_collective_ops {
    bool on_device;
    bool (*status)(struct trainer_collective *collective, struct proto_error *error);
    bool (*start)(struct trainer_collective *collective, float *data, size_t count, float scale,
                  struct proto_error *error);
    bool (*finish)(struct trainer_collective *collective, struct proto_error *error);
    bool (*reduce_scatter)(struct trainer_collective *collective, const float *data, float *shard,
                           size_t count, float scale, struct proto_error *error);
    bool (*all_gather)(struct trainer_collective *collective, const float *shard, float *data,
                       size_t count, struct proto_error *error);
    bool (*broadcast)(struct trainer_collective *collective, float *data, size_t count,
                      uint32_t root, struct proto_error *error);
    bool (*sum)(struct trainer_collective *collective, double *data, uint32_t count,
                struct proto_error *error);
    bool (*sum_u64)(struct trainer_collective *collective, uint64_t *data, uint32_t count,
                    struct proto_error *error);
    bool (*gather)(struct trainer_collective *collective, const double *data, uint32_t count,
                   double *gathered, struct proto_error *error);
    bool (*barrier)(struct trainer_collective *collective, struct proto_error *error);
    // The device is behind although every rank came: closes the group and says so.
    bool (*late)(struct trainer_collective *collective, struct proto_error *error);
    void (*abort)(struct trainer_collective *collective, enum proto_status status,
                  const char *text);
    void (*close)(struct trainer_collective *collective);
};

// The first member of every kind's own struct.
struct trainer_collective {
    const struct trainer_collective_ops *ops;
    uint32_t rank, size;
    double waited_s;  // since it was last asked for
};

// How the vectors of a rank come into the memory that ranks share, and back: plain copies, or
// through a device. Both return when it is done.
struct trainer_collective_mover {
    void *context;
    bool (*in)(void *context, float *shared, const float *data, size_t count,
               struct proto_error *error);
    bool (*out)(void *context, float *data, const float *shared, size_t count,
                struct proto_error *error);
};

PROTO_MUST_CHECK bool
trainer_collective_host_open(const struct trainer_collective_settings *settings,
                             struct trainer_collective **collective, struct proto_error *error);
// Before the first operation on a vector. The shared memory is [*bytes] at *memory.
void trainer_collective_host_move(struct trainer_collective *host,
                                  const struct trainer_collective_mover *mover, void **memory,
                                  size_t *bytes);

// staged: what it borrows is in the settings; *collective owns `host`, also after a failure.
PROTO_MUST_CHECK bool
trainer_collective_staged_open(const struct trainer_collective_settings *settings,
                               struct trainer_collective *host,
                               struct trainer_collective **collective, struct proto_error *error);

double trainer_collective_now_s(void);  // monotonic

// How ranks of one machine find each other (collective_join.c): leaves the descriptor of
// `size_bytes` of memory that all share, zeroed, and on rank 0 the process ids of all ranks.
PROTO_MUST_CHECK bool trainer_collective_join(const struct trainer_collective_settings *settings,
                                              size_t size_bytes, int *memory,
                                              int32_t pids[static TRAINER_RANKS_MAX],
                                              struct proto_error *error);

#endif
