// trainer/collective_device.h - what collectives of device memory have in common: small numbers,
// barriers, aborts and deaths go over the shared memory of a `host` collective that they own.
// Included by the kinds themselves only.
#ifndef TRAINER_COLLECTIVE_DEVICE_H
#define TRAINER_COLLECTIVE_DEVICE_H

#include "trainer/collective_backend.h"

// The first member of their structs.
struct trainer_collective_device {
    struct trainer_collective base;
    struct trainer_collective *control;
};

// Slots of the table of operations.
bool trainer_collective_device_status(struct trainer_collective *collective,
                                      struct proto_error *error);
bool trainer_collective_device_sum(struct trainer_collective *collective, double *data,
                                   uint32_t count, struct proto_error *error);
bool trainer_collective_device_sum_u64(struct trainer_collective *collective, uint64_t *data,
                                       uint32_t count, struct proto_error *error);
bool trainer_collective_device_gather(struct trainer_collective *collective, const double *data,
                                      uint32_t count, double *gathered, struct proto_error *error);
bool trainer_collective_device_barrier(struct trainer_collective *collective,
                                       struct proto_error *error);
bool trainer_collective_device_late(struct trainer_collective *collective,
                                    struct proto_error *error);
void trainer_collective_device_abort(struct trainer_collective *collective,
                                     enum proto_status status, const char *text);

// A pause between two looks at a device, which has no event for the host: none for the first, then
// tens of microseconds. looks: how often was looked already.
void trainer_collective_device_pause(uint64_t looks);

#endif
