// trainer/instructions.h - the instruction of each task as language tokens: encoded once at the
// start, kept, and written into every checkpoint (language.safetensors), so that no evaluator needs
// the language encoder.
#ifndef TRAINER_INSTRUCTIONS_H
#define TRAINER_INSTRUCTIONS_H

#include "model/encoder.h"
#include "proto/codec.h"
#include "proto/safetensors.h"

// Row `task_count` is the empty instruction, which stands for dropped language. Rows are padded to
// the longest with zeros, masked out.
struct trainer_instructions {
    uint32_t task_count, length, width;
    float *tokens;      // [task_count + 1, length, width]
    uint8_t *mask;      // [task_count + 1, length]
    uint32_t *rows;     // [task_count + 1] real tokens
    char (*names)[32];  // of the tensors
};

// PROTO_USAGE: an instruction is longer than lang_rows. Free also after a failure.
PROTO_MUST_CHECK bool trainer_instructions_encode(struct model_language *language,
                                                  const struct proto_codec *codec,
                                                  uint32_t lang_rows,
                                                  struct trainer_instructions *out,
                                                  struct proto_error *error);
void trainer_instructions_free(struct trainer_instructions *instructions);

// "task.<row>" f32 [rows, width] for each task and "empty"; out [task_count + 1].
void trainer_instructions_tensors(const struct trainer_instructions *instructions,
                                  struct proto_tensor_out *out);

#endif
