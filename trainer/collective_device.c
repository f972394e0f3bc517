// trainer/collective_device.c - hands on to the host collective below. Part of the trainer and of
// the NCCL module.
#include "trainer/collective_device.h"

#include <poll.h>
#include <sched.h>
#include <time.h>

#define LOOKS_AT_ONCE 200  // some tens of microseconds
#define PAUSE_NS 50000
#define LOOKS_LONG 1200  // some tens of milliseconds
#define PAUSE_LONG_NS 500000

double trainer_collective_now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static struct trainer_collective_device *device_of(struct trainer_collective *collective) {
    return (struct trainer_collective_device *)collective;
}

// Waits for peers belong to this rank, whichever part waited.
static bool device_waited(struct trainer_collective_device *device, bool done) {
    device->base.waited_s += device->control->waited_s;
    device->control->waited_s = 0;
    return done;
}

bool trainer_collective_device_status(struct trainer_collective *collective,
                                      struct proto_error *error) {
    struct trainer_collective *control = device_of(collective)->control;
    return control->ops->status(control, error);
}

bool trainer_collective_device_sum(struct trainer_collective *collective, double *data,
                                   uint32_t count, struct proto_error *error) {
    struct trainer_collective_device *device = device_of(collective);
    return device_waited(device, device->control->ops->sum(device->control, data, count, error));
}

bool trainer_collective_device_sum_u64(struct trainer_collective *collective, uint64_t *data,
                                       uint32_t count, struct proto_error *error) {
    struct trainer_collective_device *device = device_of(collective);
    return device_waited(device,
                         device->control->ops->sum_u64(device->control, data, count, error));
}

bool trainer_collective_device_gather(struct trainer_collective *collective, const double *data,
                                      uint32_t count, double *gathered, struct proto_error *error) {
    struct trainer_collective_device *device = device_of(collective);
    return device_waited(
        device, device->control->ops->gather(device->control, data, count, gathered, error));
}

bool trainer_collective_device_barrier(struct trainer_collective *collective,
                                       struct proto_error *error) {
    struct trainer_collective_device *device = device_of(collective);
    return device_waited(device, device->control->ops->barrier(device->control, error));
}

bool trainer_collective_device_late(struct trainer_collective *collective,
                                    struct proto_error *error) {
    struct trainer_collective *control = device_of(collective)->control;
    return control->ops->late(control, error);
}

void trainer_collective_device_abort(struct trainer_collective *collective,
                                     enum proto_status status, const char *text) {
    struct trainer_collective *control = device_of(collective)->control;
    control->ops->abort(control, status, text);
}

void trainer_collective_device_pause(uint64_t looks) {
    const struct timespec pause = {.tv_nsec = looks < LOOKS_LONG ? PAUSE_NS : PAUSE_LONG_NS};
    if (looks > LOOKS_AT_ONCE)
        ppoll(NULL, 0, &pause, NULL);
    else
        sched_yield();
}
