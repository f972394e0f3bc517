// evaluator/recorded.c - states and model_file of a demonstration, checked on the way.
#include "evaluator/recorded.h"

#include "loader/array.h"
#include "loader/hdf5.h"
#include "proto/place.h"

#include <stdlib.h>

static bool states_read(const struct loader_dataset *dataset, const char *group,
                        struct evaluator_recorded *recorded, struct proto_error *error) {
    struct loader_array array;
    if (!loader_array_open(dataset, group, "states", &array, error)) return false;
    const size_t rows = array.shape[0], columns = array.rank == 2 ? array.shape[1] : 0;
    loader_array_close(&array);
    if (rows != recorded->steps || columns < 1 || columns > LOADER_COLUMNS_MAX) {
        proto_fail(error, PROTO_DAMAGED,
                   "has %zu rows of %zu numbers; expected a state for each of the %u actions", rows,
                   columns, recorded->steps);
        return proto_error_where(error, "%s: %s/states", dataset->path, group);
    }
    recorded->state_width = (uint32_t)columns;
    recorded->states = proto_alloc_array(rows * columns, sizeof *recorded->states, error);
    return recorded->states &&
           loader_array_numbers(dataset, group, "states", rows, columns, recorded->states, error);
}

static bool model_file_read(const struct loader_dataset *dataset, const char *group,
                            struct evaluator_recorded *recorded, struct proto_error *error) {
    proto_place_note(dataset->path, group);
    const hid_t demo = H5Gopen2(dataset->file, group, H5P_DEFAULT);
    bool done = demo >= 0 ? loader_hdf5_text(demo, "model_file", &recorded->model_file, error)
                          : loader_hdf5_fail(error, "cannot be opened as a group");
    if (demo >= 0) H5Gclose(demo);
    if (done && !recorded->model_file)
        done = proto_fail(error, PROTO_DAMAGED,
                          "has no attribute model_file: where its fixtures stood is not known");
    return done || proto_error_where(error, "%s: %s", dataset->path, group);
}

bool evaluator_recorded_read(const struct loader_dataset *dataset, const char *group,
                             uint32_t steps, struct evaluator_recorded *recorded,
                             struct proto_error *error) {
    *recorded = (struct evaluator_recorded){.steps = steps};
    if (states_read(dataset, group, recorded, error) &&
        model_file_read(dataset, group, recorded, error))
        return true;
    evaluator_recorded_free(recorded);
    return false;
}

void evaluator_recorded_free(struct evaluator_recorded *recorded) {
    free(recorded->states);
    free(recorded->model_file);
    *recorded = (struct evaluator_recorded){.steps = 0};
}
