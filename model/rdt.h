// model/rdt.h - the Robotics Diffusion Transformer (arXiv:2410.07864; layout of the published
// weights): forward, loss, backward, over one flat buffer of parameters.
//
// The stream of a sample is [timestep, control frequency, state, action_0 .. action_{chunk-1}].
// Blocks are pre-norm: self-attention, cross-attention (even blocks: language with mask, odd
// blocks: images), feed-forward of ratio 1. The network predicts the clean actions (x0).
//
// All memory is taken at open; a step allocates nothing. Inputs are device buffers planned at open
// that the caller fills. Weights and gradients are flat f32 device buffers of the caller's, laid
// out by the parameter table, so that the same network runs on raw or averaged weights. Example:
//
//     struct model_parameters *table = NULL;
//     struct model_rdt *rdt = NULL;
//     const struct model_rdt_plan plan = {.batch_max = 16, .lang_max = 32, .training = true};
//     if (!model_parameters_new(&sizes, &table, error)) ...
//     if (!model_rdt_open(backend, &sizes, &plan, &rdt, error)) ...
//     const size_t bytes = table->elements * sizeof(float);
//     float *weights = model_backend_alloc(backend, bytes, error);    // device
//     float *gradients = model_backend_alloc(backend, bytes, error);  // device
//     model_parameters_initialise(table, seed, host);                 // or model_weights_read
//     if (!model_backend_upload(backend, weights, host, bytes, error)) ...
//
//     // each optimiser step
//     if (!model_backend_fill(backend, gradients, 0, bytes, error)) ...
//     for (each micro batch) {
//         const struct model_rdt_inputs *in = model_rdt_inputs(rdt);
//         if (!model_backend_upload(backend, in->state, batch->state, ..., error)) ...  // and so
//         on if (!encoder->encode_images(encoder, &images, in->img_tokens, error)) ... const struct
//         model_rdt_call call = {
//             .batch = b, .lang_length = l, .timesteps = t, .ctrl_freq = batch->ctrl_freq};
//         if (!model_rdt_train(rdt, &call, weights, gradients, 1.0f / micro_batches, &loss, error))
//     }
//     // all-reduce gradients (mean over ranks), then trainer_optimizer_step
#ifndef MODEL_RDT_H
#define MODEL_RDT_H

#include "model/backend.h"
#include "proto/safetensors.h"

struct model_rdt_sizes {
    uint32_t hidden, depth, heads, chunk;
    uint32_t width;              // of the state and action vector: 128, or less when compact
    uint32_t lang_dim, img_dim;  // of condition tokens
    uint32_t lang_rows;          // rows of the language position table: longest instruction
    uint32_t img_history, img_cameras, img_patches;  // image tokens: their product
    enum model_norm_stat norm_stat;
    float epsilon;  // of all norms: 1e-6
};
#define MODEL_TIMESTEPS 1000  // of the diffusion
#define MODEL_SINUSOID 256    // width of a timestep's features
#define MODEL_EPSILON 1e-6f

// PROTO_USAGE, naming the size and its limits.
PROTO_MUST_CHECK bool model_rdt_sizes_check(const struct model_rdt_sizes *sizes,
                                            struct proto_error *error);
uint32_t model_rdt_img_length(const struct model_rdt_sizes *sizes);  // history * cameras * patches

// ---- parameters ----

// How a parameter starts when there are no weights (the official initialisation).
enum model_initial {
    MODEL_INITIAL_XAVIER,   // uniform, +- sqrt(6 / (in + out)): linear weights of the core
    MODEL_INITIAL_NORMAL,   // N(0, 0.02): weights of the timestep and frequency embedders
    MODEL_INITIAL_UNIFORM,  // +- 1/sqrt(in): weights and biases of the adaptors
    MODEL_INITIAL_ZERO,     // biases of the core; the last layer
    MODEL_INITIAL_ONE,      // norms
    MODEL_INITIAL_X_TABLE,  // sine-cosine tables
    MODEL_INITIAL_LANG_TABLE,
    MODEL_INITIAL_IMG_TABLE,
};
struct model_rdt_layout;
struct model_parameter {
    char name[64];  // as in the published weights
    uint32_t dimensions;
    size_t shape[3];
    size_t offset, elements;  // in the flat buffer
    size_t fan_in, fan_out;   // of the linear layer it belongs to
    enum model_initial initial;
};
struct model_parameters {
    struct model_rdt_sizes sizes;
    struct model_parameter *items;  // in the order of the flat buffer
    size_t count;
    size_t elements;                  // of the flat buffer: no gaps, it is the number of parameters
    struct model_rdt_layout *layout;  // for the network itself
};
PROTO_MUST_CHECK bool model_parameters_new(const struct model_rdt_sizes *sizes,
                                           struct model_parameters **table,
                                           struct proto_error *error);
void model_parameters_free(struct model_parameters **table);  // accepts NULL; leaves NULL behind
const struct model_parameter *model_parameters_find(const struct model_parameters *table,
                                                    const char *name);  // NULL: none
// flat: host [elements]. A pure function of sizes and seed: parameter i is drawn from
// proto_random_at(seed, PROTO_PURPOSE_INITIALISATION, i).
void model_parameters_initialise(const struct model_parameters *table, uint64_t seed, float *flat);
// Parameter i alone: out [items[i].elements].
void model_parameter_initialise(const struct model_parameters *table, size_t i, uint64_t seed,
                                float *out);

// Descriptions for proto_safetensors_write of a flat host buffer: one F32 tensor per parameter,
// named prefix + name ("" for weights, "m." for a moment). out [count]; names [count][80] is the
// caller's storage; both borrowed from until written.
#define MODEL_TENSOR_NAME_MAX 80
void model_parameters_tensors(const struct model_parameters *table, const char *prefix,
                              const float *flat, char (*names)[MODEL_TENSOR_NAME_MAX],
                              struct proto_tensor_out *out);
// Fills flat from a file, strictly: every prefix + name is there with its shape, and no other
// tensor begins with the prefix ("" then means: no other tensor at all). PROTO_DAMAGED, naming it.
PROTO_MUST_CHECK bool model_parameters_read(const struct model_parameters *table,
                                            const struct proto_safetensors *file,
                                            const char *prefix, float *flat,
                                            struct proto_error *error);

// ---- the network ----

struct model_rdt_plan {
    uint32_t batch_max;
    uint32_t lang_max;  // longest instruction of a call, <= sizes.lang_rows
    bool training;      // false: no memory for the backward pass
    // training keeps each block's input only, and keys and values of one block at a time; the
    // backward pass computes the rest again, to the same bits, for about a third more work
    bool recompute;
};
// Device bytes that open takes for activations and inputs (not weights, gradients, optimiser).
PROTO_MUST_CHECK bool model_rdt_memory(const struct model_backend *backend,
                                       const struct model_rdt_sizes *sizes,
                                       const struct model_rdt_plan *plan, size_t *size_bytes,
                                       struct proto_error *error);
struct model_rdt;
// The backend is borrowed until close.
PROTO_MUST_CHECK bool model_rdt_open(struct model_backend *backend,
                                     const struct model_rdt_sizes *sizes,
                                     const struct model_rdt_plan *plan, struct model_rdt **rdt,
                                     struct proto_error *error);
void model_rdt_close(struct model_rdt **rdt);  // accepts NULL; leaves NULL behind
const struct model_rdt_sizes *model_rdt_sizes(const struct model_rdt *rdt);
struct model_backend *model_rdt_backend(const struct model_rdt *rdt);
uint32_t model_rdt_batch_max(const struct model_rdt *rdt);
const struct model_parameters *model_rdt_parameters(const struct model_rdt *rdt);

// Device buffers to fill before a call; only the first `batch` samples are read. Language rows are
// packed for the call's length.
struct model_rdt_inputs {
    float *state, *state_mask, *action_mask;  // [batch, width]
    float *action, *noise;  // [batch, chunk, width]; training only, NULL otherwise
    float *lang_tokens;     // [batch, lang_length, lang_dim]
    uint8_t *lang_mask;     // [batch, lang_length] 1: real; at least one per sample
    float *img_tokens;      // [batch, history * cameras * patches, img_dim]
};
const struct model_rdt_inputs *model_rdt_inputs(const struct model_rdt *rdt);

// Told, during the backward pass, that the gradients [first, first + count) of the flat buffer get
// nothing more from this call: they are final behind what the backend's queue holds at that moment.
// Every parameter is named once, in an order that depends on the sizes only. It must not touch the
// network.
struct model_rdt_ready {
    void *context;
    bool (*take)(void *context, size_t first, size_t count, struct proto_error *error);
};
struct model_rdt_call {
    uint32_t batch, lang_length;
    const uint32_t *timesteps;  // host [batch], 0..999; training only
    const float *ctrl_freq;     // host [batch] Hz; 0: unknown
    // Conditions that the caller knows to be the same in every sample: only the first sample's
    // tokens are read, and adaptor, keys and values are computed once. Predictions and gradients
    // are those of the same tokens in every sample, but for the rounding of sums over the batch.
    bool lang_shared;           // lang_tokens; lang_mask is read of every sample
    const uint8_t *img_shared;  // nullable host [history * cameras] 1: tokens of that image
    const struct model_rdt_ready *ready;  // nullable; training only
};

// Noising, forward, loss, backward: gradients += scale * dloss/dweights. loss: host, nullable
// (then nothing waits for the device).
PROTO_MUST_CHECK bool model_rdt_train(struct model_rdt *rdt, const struct model_rdt_call *call,
                                      const float *weights, float *gradients, float scale,
                                      double *loss, struct proto_error *error);
// The prediction of the last train or denoise: device [batch, chunk, width].
const float *model_rdt_prediction(const struct model_rdt *rdt);

// Inference in two parts: what does not depend on the noisy actions (conditions and their keys and
// values, state, frequency) once, then the denoiser as often as a solver likes with the same call
// and weights. noisy: device [batch, chunk, width]; every sample at the same timestep.
PROTO_MUST_CHECK bool model_rdt_condition(struct model_rdt *rdt, const struct model_rdt_call *call,
                                          const float *weights, struct proto_error *error);
PROTO_MUST_CHECK bool model_rdt_denoise(struct model_rdt *rdt, const struct model_rdt_call *call,
                                        const float *weights, const float *noisy, uint32_t timestep,
                                        struct proto_error *error);

// Tests look inside through taps: called for every named intermediate and, in backward, for its
// gradient ("d." in front), with device values [rows, width] (row stride in elements). Names are
// those of the recorded tensors: "block0.norm1", "d.block0.cond", "t_embed", "pred" ... A tap may
// download; it must not change anything. NULL turns it off.
struct model_tap {
    void *context;
    bool (*see)(void *context, const char *name, const float *device, size_t rows, size_t width,
                size_t stride, struct proto_error *error);
};
void model_rdt_watch(struct model_rdt *rdt, const struct model_tap *tap);

#endif
