// stages/devices.h - what a run's GPUs are doing, for `pipeline status`: which they are is asked of
// pipeline-trainer once, how they do is read from the driver's library at every look.
#ifndef STAGES_DEVICES_H
#define STAGES_DEVICES_H

#include "proto/config.h"

#include <jansson.h>

struct stage_devices;
// NULL when none of the run's devices is a GPU, or nothing is known of it: then nothing is shown.
struct stage_devices *stage_devices_open(const struct proto_list *devices);
// The same with what `pipeline-trainer devices` answered, which is taken over.
struct stage_devices *stage_devices_new(const struct proto_list *devices, json_t *known);
void stage_devices_close(struct stage_devices **devices);  // accepts NULL; leaves NULL behind

// Adds to the row of rank i: "name", "uuid", "utilisation" (percent), "memory_used_bytes",
// "memory_bytes", "power_w", "temperature_c"; what is not known is left out.
void stage_devices_describe(struct stage_devices *devices, size_t i, json_t *row);

// One line for each row that knows more than its name; nothing otherwise.
void stage_devices_print(const json_t *rows);

#endif
