// tests/evaluator/model_compare.h - two compiled models, number by number and name by name: every
// field that libmujoco's own list of fields has, options, visual settings and statistics. Left out
// is only what tells where the asset files lie (paths and their addresses, sizes that count them)
// and the signature of the text.
#ifndef TESTS_EVALUATOR_MODEL_COMPARE_H
#define TESTS_EVALUATOR_MODEL_COMPARE_H

#include <stdint.h>

#include <mujoco/mujoco.h>

struct model_difference {
    double largest;      // of all fields; infinite when a size or name differs, or a NaN is there
    uint32_t fields;     // compared
    uint32_t differing;  // of them
    char first[256];     // field, index and both values of the first that differs; "" if equal
};
void model_compare(const mjModel *ours, const mjModel *theirs, struct model_difference *difference);

// Recorded models name their assets relative to the unpacked folder: compiles the file with `root`
// put in front of them. NULL and words on failure.
mjModel *model_read(const char *path, const char *root, char *words, int words_size);

#endif
