// evaluator/demos_file.h - writes demonstrations in LIBERO's own HDF5 layout: one file, groups
// /data/demo_0, demo_1, ..., arrays contiguous and not compressed, texts as h5py writes them.
//
// states[j] is before action j, everything in obs and robot_states[j] after it. `actions` is what
// was executed; `actions_clean`, which LIBERO's files lack, is what the expert wanted before noise
// was added.
//
// The file is written beside its name as NAME.partial and renamed when it is finished, so a name
// either does not exist or is a whole file. The same demonstrations give the same bytes.
#ifndef EVALUATOR_DEMOS_FILE_H
#define EVALUATOR_DEMOS_FILE_H

#include "evaluator/env.h"

struct evaluator_demos_file;  // one writer, one thread

// What is true of all demonstrations of a file. Texts are borrowed until the call returns.
struct evaluator_demos_about {
    const char *problem;       // "libero_kitchen_tabletop_manipulation"
    const char *language;      // the BDDL file's sentence
    const char *bddl_name;     // "libero_90/KITCHEN_..._cabinet.bddl"
    const char *bddl_content;  // its text
    uint32_t state_width;      // 1 + nq + nv
    uint32_t height, width;    // of images, pixels
};

// One demonstration; everything is borrowed until the call returns.
struct evaluator_demo {
    uint32_t steps;
    const double *actions, *actions_clean;             // [steps, 7]
    const double *states;                              // [steps, state_width]
    const struct evaluator_observation *observations;  // [steps]
    const uint8_t *agentview, *eye_in_hand;            // [steps, height, width, 3], row 0 at the
                                                       // bottom; NULL: no images are written
    const char *model_file;                            // composed MJCF with placed fixtures
    int64_t init_row, reset_seed;                      // attributes of those names
};

// PROTO_USAGE: something of that name exists already; it is not touched.
PROTO_MUST_CHECK bool evaluator_demos_file_create(const char *path,
                                                  const struct evaluator_demos_about *about,
                                                  struct evaluator_demos_file **file,
                                                  struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_demos_file_append(struct evaluator_demos_file *file,
                                                  const struct evaluator_demo *demo,
                                                  struct proto_error *error);
// Writes the totals, makes it durable and gives it its name; frees `file` in any case.
PROTO_MUST_CHECK bool evaluator_demos_file_finish(struct evaluator_demos_file **file,
                                                  struct proto_error *error);
void evaluator_demos_file_abandon(struct evaluator_demos_file **file);  // removes it; accepts NULL

#endif
