// stages/doctor_gpus.h - `pipeline doctor` about GPUs, and `pipeline doctor nccl`.
#ifndef STAGES_DOCTOR_GPUS_H
#define STAGES_DOCTOR_GPUS_H

#include <jansson.h>
#include <stdbool.h>

// Rows "CUDA", "GPU n", "NCCL", "NVML" (proto/findings.h).
void stage_doctor_gpus(json_t *findings);
// The whole verb; returns the exit code, 1 when there is something to complain of.
int stage_doctor_nccl(bool json);

#endif
