// tests/model/golden.h - what the parts of rdt_golden share: the folder under test, results by
// name, and the comparison of a recorded file with them.
//
// A group computes results under the names of the recorded tensors; golden_compare walks the
// recorded file, so that whatever is recorded is checked: a tensor without a result is a failure.
// "subK.name" is every K-th element of the flattened tensor.
#ifndef TESTS_MODEL_GOLDEN_H
#define TESTS_MODEL_GOLDEN_H

#include "model/rdt.h"
#include "proto/safetensors.h"
#include "trainer/optimizer.h"

#include <jansson.h>

#define GOLDEN_BATCHES_MAX 64

// A tolerance: error <= factor of the sizes * relative * max|recorded|, or absolute where given.
struct golden_class {
    const char *label;     // "" for the group's ordinary tensors
    const char *contains;  // part of the tensor's name
    double relative, absolute;
};

struct golden_result {
    char *name;
    float *data;
    size_t count;
};
struct golden_results {
    struct golden_result *items;
    size_t count, room;
};

struct golden {
    const char *folder, *device_name;
    bool recompute;  // of the network's plan
    struct model_backend *backend;
    json_t *info;
    struct model_rdt_sizes sizes;
    uint32_t batch, lang_length;
    double growth;  // of tolerances with the sizes, 1 for hidden 64 and depth 4 or less
    // NULL when the folder lacks them
    struct proto_safetensors *weights, *batches;
    struct model_parameters *table;
    float *initial;             // host [table->elements]: weights.safetensors
    float *device, *gradients;  // device
    struct model_rdt *rdt;
    uint32_t passed, failed, skipped;
};

// false: *error; skipped: a file or key that the group needs is not there, named in *why.
struct golden_group {
    const char *name, *file;
    bool network;  // needs weights and batches
    bool (*run)(struct golden *g, struct golden_results *results, struct proto_error *error);
    const struct golden_class *classes;  // first match counts; the last has contains ""
    const char *only, *except;           // prefix of the tensors that belong to it
};
extern const struct golden_group golden_groups[];
extern const size_t golden_group_count;

// Copies. The name is printf's.
PROTO_MUST_CHECK bool golden_add(struct golden_results *results, const float *data, size_t count,
                                 struct proto_error *error, const char *name, ...)
    PROTO_PRINTF(5, 6);
PROTO_MUST_CHECK bool golden_add_double(struct golden_results *results, const double *data,
                                        size_t count, struct proto_error *error, const char *name,
                                        ...) PROTO_PRINTF(5, 6);
// One result per parameter, named prefix + name.
PROTO_MUST_CHECK bool golden_add_parameters(struct golden *g, struct golden_results *results,
                                            const char *prefix, const float *flat,
                                            struct proto_error *error);
const struct golden_result *golden_find(const struct golden_results *results, const char *name);
void golden_results_free(struct golden_results *results);

// Opens a file of the folder; *file NULL when it is not there.
PROTO_MUST_CHECK bool golden_open(const struct golden *g, const char *name,
                                  struct proto_safetensors **file, struct proto_error *error);
// A tensor as f32; the caller frees *data.
PROTO_MUST_CHECK bool golden_read(const struct proto_safetensors *file, const char *name,
                                  float **data, size_t *count, struct proto_error *error);
// info.json: "settings.optim.weak.learning_rate". PROTO_DAMAGED when it is not there.
PROTO_MUST_CHECK bool golden_number(const struct golden *g, const char *path, double *value,
                                    struct proto_error *error);

// Uploads rows first..first+count-1 of batch "stepK." and describes the call. Timesteps and
// frequencies live in *held.
struct golden_call {
    struct model_rdt_call call;
    uint32_t timesteps[GOLDEN_BATCHES_MAX];
    float freqs[GOLDEN_BATCHES_MAX];
};
PROTO_MUST_CHECK bool golden_batch(struct golden *g, const char *step, uint32_t first,
                                   uint32_t count, struct golden_call *held,
                                   struct proto_error *error);
// Weights and zero gradients onto the device.
PROTO_MUST_CHECK bool golden_restart(struct golden *g, struct proto_error *error);
// Gradients of a batch, from the device.
PROTO_MUST_CHECK bool golden_gradients(struct golden *g, float **flat, struct proto_error *error);

// Groups by file.
bool golden_forward(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_grads(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_mean_square(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_parallel(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_optim(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_strong(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_ema(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_sampler(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_schedule(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_init(struct golden *g, struct golden_results *r, struct proto_error *error);
bool golden_block(struct golden *g, struct golden_results *r, struct proto_error *error);

#endif
