// stages/nvml.h - what the driver's own library (NVML) knows of GPUs: how busy they are, how much
// memory is taken, how much power they draw, how two of them are connected. It is a part of the
// driver and loaded at run time; where there is none, nothing is shown.
//
// Devices are named by UUID: the numbers of NVML are not those of CUDA, which CUDA_VISIBLE_DEVICES
// and CUDA_DEVICE_ORDER change. PIPELINE_NVML names another file than libnvidia-ml.so.1.
#ifndef STAGES_NVML_H
#define STAGES_NVML_H

#include "proto/error.h"

#include <stdint.h>

struct stage_nvml;
// PROTO_MISSING: there is no such library, or it finds no driver.
PROTO_MUST_CHECK bool stage_nvml_open(struct stage_nvml **nvml, struct proto_error *error);
void stage_nvml_close(struct stage_nvml **nvml);  // accepts NULL; leaves NULL behind

const char *stage_nvml_driver(const struct stage_nvml *nvml);  // "580.82.07"
uint32_t stage_nvml_count(const struct stage_nvml *nvml);      // devices, hidden ones too

// What a device does not tell is negative.
struct stage_nvml_reading {
    int utilisation;  // percent of the last moments in which something ran
    int64_t used_bytes, total_bytes;
    double power_w;
    int temperature_c;
};
// PROTO_FAILED: no device of this UUID, or it is lost.
PROTO_MUST_CHECK bool stage_nvml_read(struct stage_nvml *nvml, const char *uuid,
                                      struct stage_nvml_reading *reading,
                                      struct proto_error *error);

// How two devices reach each other.
struct stage_nvml_peers {
    bool direct;  // each reads and writes the other's memory
    bool nvlink;
    const char *why;   // not direct: the driver's reason
    const char *path;  // "one PCIe switch", "the link between processors"; "": not told
};
PROTO_MUST_CHECK bool stage_nvml_peers(struct stage_nvml *nvml, const char *first,
                                       const char *second, struct stage_nvml_peers *peers,
                                       struct proto_error *error);

#endif
