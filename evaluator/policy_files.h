// evaluator/policy_files.h - what a policy reads of a checkpoint's folder before its weights: which
// file the weights are in, codec, open loop, solver steps, prompts. Only for policy*.c.
#ifndef EVALUATOR_POLICY_FILES_H
#define EVALUATOR_POLICY_FILES_H

#include "evaluator/policy.h"
#include "model/encoder_config.h"
#include "model/rdt.h"

struct evaluator_policy_files {
    struct evaluator_policy_facts facts;
    struct proto_codec *codec;
    struct proto_open_loop *open_loop;
    struct model_encoder_config encoders;
    struct model_rdt_sizes sizes;
    uint32_t solver_steps;
    int pin;  // descriptor, -1: none
};
// Close also after a failure.
PROTO_MUST_CHECK bool evaluator_policy_files_open(const char *checkpoint, bool raw,
                                                  struct evaluator_policy_files *files,
                                                  struct proto_error *error);
void evaluator_policy_files_close(struct evaluator_policy_files *files);

// The prompts as tokens: one more row at each append.
struct evaluator_prompts {
    uint32_t count, width, length;  // length: of the longest
    float **tokens;                 // [count] each [rows[i], width]
    uint32_t *rows;                 // [count] real tokens
    float *packed;                  // [count, length, width], by pack
    uint8_t *mask;                  // [count, length]
};
// From the checkpoint's language.safetensors: name "task.3" or "empty".
PROTO_MUST_CHECK bool evaluator_prompts_read(struct evaluator_prompts *prompts, const char *folder,
                                             const char *name, struct proto_error *error);
// By the encoder. PROTO_REFUSED: longer than the network's table of positions.
PROTO_MUST_CHECK bool evaluator_prompts_encode(struct evaluator_prompts *prompts,
                                               struct model_language *language, const char *text,
                                               uint32_t rows_max, struct proto_error *error);
PROTO_MUST_CHECK bool evaluator_prompts_pack(struct evaluator_prompts *prompts,
                                             struct proto_error *error);
void evaluator_prompts_free(struct evaluator_prompts *prompts);

#endif
