// evaluator/recorded.h - what a replay needs of one recorded demonstration: its states and the
// model it was recorded in. Reads strangers' HDF5 files: call it in a guarded child first
// (loader/guard.h).
#ifndef EVALUATOR_RECORDED_H
#define EVALUATOR_RECORDED_H

#include "loader/dataset.h"

struct evaluator_recorded {
    uint32_t steps, state_width;
    double *states;    // [steps, state_width] time, qpos, qvel; each before the action of that step
    char *model_file;  // MJCF text
};

// PROTO_DAMAGED, with file, demonstration and dataset in `where`: no states or not one for each of
// `steps` actions, no attribute model_file.
PROTO_MUST_CHECK bool evaluator_recorded_read(const struct loader_dataset *dataset,
                                              const char *group, uint32_t steps,
                                              struct evaluator_recorded *recorded,
                                              struct proto_error *error);
void evaluator_recorded_free(struct evaluator_recorded *recorded);

#endif
