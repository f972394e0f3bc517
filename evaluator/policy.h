// evaluator/policy.h - a checkpoint as a policy: moments in, chunks of actions out, by the
// checkpoint's own codec, masks, camera order, history, prompts and weights. Nothing about units or
// normalisation is decided here: windows go through proto_sample_build and model_conditions_fill,
// the functions that the network was trained through.
//
//     struct evaluator_policy *policy = NULL;
//     if (!evaluator_policy_open(&settings, &policy, error)) ...
//     if (!evaluator_policy_task(policy, "TASK", "the sentence", &task, error)) ...  // for each
//     if (!evaluator_policy_start(policy, error)) ...
//     if (!evaluator_policy_predict(policy, queries, count, error)) ...
//
// Noise is keyed by (seed, task's name, start state, control step), and the network always computes
// `batch` rows at once, filled up with copies of a query. On the cpu that is 1 unless said
// otherwise: then not one bit depends on who asks together with whom. With more rows the place of
// a query in its batch may change the last digits of its sums (at most 1e-5 of an action's range
// in the tests), never its noise.
#ifndef EVALUATOR_POLICY_H
#define EVALUATOR_POLICY_H

#include "proto/open_loop.h"
#include "proto/sample.h"

#define EVALUATOR_POLICY_BATCH_MAX 256
#define EVALUATOR_POLICY_PATH_MAX 1024

struct evaluator_policy;
struct evaluator_policy_settings {
    const char *checkpoint;  // checkpoint folder, or a .safetensors: then the nearest folder above
                             // it that has a codec.json
    bool raw;                // of a folder: the weights as trained, not the averaged ones
    const char *device;      // "cpu"
    uint32_t threads;        // 0: as many as cores
    uint32_t batch;          // rows of one forward; 0: what suits the device
    uint64_t seed;           // of the noise
};
// Reads everything but the weights and pins the checkpoint until close. PROTO_USAGE: no such
// checkpoint; PROTO_DAMAGED: a file of it is missing (codec.json, named) or not what was written;
// PROTO_MISSING: device or encoder that this build has not.
PROTO_MUST_CHECK bool evaluator_policy_open(const struct evaluator_policy_settings *settings,
                                            struct evaluator_policy **policy,
                                            struct proto_error *error);
void evaluator_policy_close(struct evaluator_policy **policy);  // accepts NULL

struct evaluator_policy_facts {
    char folder[EVALUATOR_POLICY_PATH_MAX];   // of the checkpoint
    char weights[EVALUATOR_POLICY_PATH_MAX];  // the file
    char vision[32], language[32];            // encoders
    uint64_t step;                            // of training; 0: not known
    uint64_t checkpoint_hash;                 // xxh64 of the weights' file
    const struct proto_codec *codec;
    const struct proto_open_loop *open_loop;
};
const struct evaluator_policy_facts *evaluator_policy_facts(const struct evaluator_policy *policy);

// A task to be asked for. A trained one has the prompt of codec.json. One that was not trained on
// takes `sentence`, encoded by the encoder at hand, and the codec's only set of rows. PROTO_REFUSED
// with the reason where that is impossible: the others may still be evaluated. Before start.
struct evaluator_policy_task {
    char *name, *prompt;  // owned by the policy
    uint32_t rows;        // codec task whose rows serve it
    bool seen;
};
PROTO_MUST_CHECK bool evaluator_policy_task(struct evaluator_policy *policy, const char *name,
                                            const char *sentence, uint32_t *task,
                                            struct proto_error *error);
const struct evaluator_policy_task *evaluator_policy_task_at(const struct evaluator_policy *policy,
                                                             uint32_t task);

// Loads the network.
PROTO_MUST_CHECK bool evaluator_policy_start(struct evaluator_policy *policy,
                                             struct proto_error *error);

struct evaluator_query {
    uint32_t task;
    // [codec->history] oldest first, NULL before the episode began; an image that is NULL is not
    // seen (the network then sees the background, as under condition dropout)
    const struct proto_observation *const *history;
    uint64_t noise;   // evaluator_policy_noise
    double *actions;  // out: [chunk, action_count] recorded units, commands clipped
};
// Where the noise of a query is drawn.
uint64_t evaluator_policy_noise(const char *task, uint32_t row, uint32_t step);
PROTO_MUST_CHECK bool evaluator_policy_predict(struct evaluator_policy *policy,
                                               const struct evaluator_query *queries,
                                               uint32_t count, struct proto_error *error);
// Seconds spent in predict and rows computed so far.
void evaluator_policy_cost(const struct evaluator_policy *policy, double *seconds, uint64_t *rows);
// For tests: the encoded prediction of the last forward, [batch, chunk, width].
const float *evaluator_policy_encoded(const struct evaluator_policy *policy);

#endif
