// trainer/instructions.c - encodes every task's instruction once.
#include "trainer/instructions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *instruction_text(const struct proto_codec *codec, uint32_t row) {
    return row < codec->task_count ? codec->tasks[row].instruction : "";
}

static bool instructions_measure(struct model_language *language, const struct proto_codec *codec,
                                 uint32_t lang_rows, struct trainer_instructions *out,
                                 struct proto_error *error) {
    for (uint32_t row = 0; row <= codec->task_count; row++) {
        const char *text = instruction_text(codec, row);
        if (!model_language_length(language, text, &out->rows[row], error)) return false;
        if (out->rows[row] > lang_rows)
            return proto_fail(error, PROTO_USAGE,
                              "\"%s\" has %u tokens, model.max_lang_cond_len is %u", text,
                              out->rows[row], lang_rows);
        if (out->rows[row] > out->length) out->length = out->rows[row];
    }
    return true;
}

bool trainer_instructions_encode(struct model_language *language, const struct proto_codec *codec,
                                 uint32_t lang_rows, struct trainer_instructions *out,
                                 struct proto_error *error) {
    const size_t count = (size_t)codec->task_count + 1;
    size_t row_floats = 0, floats = 0;
    memset(out, 0, sizeof *out);
    out->task_count = codec->task_count;
    out->width = language->token_width;
    out->rows = proto_alloc_array(count, sizeof *out->rows, error);
    if (!out->rows) return false;
    out->names = proto_alloc_array(count, sizeof *out->names, error);
    if (!out->names || !instructions_measure(language, codec, lang_rows, out, error)) return false;
    if (!proto_mul(out->length, out->width, &row_floats) || !proto_mul(count, row_floats, &floats))
        return proto_fail(error, PROTO_EXHAUSTED, "%zu instructions do not fit any memory", count);
    out->tokens = proto_alloc_array(floats, sizeof *out->tokens, error);
    if (!out->tokens) return false;
    out->mask = proto_alloc_array(count, out->length, error);
    if (!out->mask) return false;
    for (uint32_t row = 0; row < count; row++) {
        float *tokens = out->tokens + row * row_floats;
        if (!model_language_encode(language, instruction_text(codec, row), out->rows[row], tokens,
                                   error))
            return false;
        memset(out->mask + (size_t)row * out->length, 1, out->rows[row]);
        if (row < out->task_count)
            snprintf(out->names[row], sizeof out->names[row], "task.%u", row);
        else
            snprintf(out->names[row], sizeof out->names[row], "empty");
    }
    return true;
}

void trainer_instructions_free(struct trainer_instructions *instructions) {
    free(instructions->tokens);
    free(instructions->mask);
    free(instructions->rows);
    free(instructions->names);
    memset(instructions, 0, sizeof *instructions);
}

void trainer_instructions_tensors(const struct trainer_instructions *instructions,
                                  struct proto_tensor_out *out) {
    const size_t row_floats = (size_t)instructions->length * instructions->width;
    for (uint32_t row = 0; row <= instructions->task_count; row++)
        out[row] = (struct proto_tensor_out){
            .name = instructions->names[row],
            .dtype = PROTO_F32,
            .dimensions = 2,
            .shape = {instructions->rows[row], instructions->width},
            .data = instructions->tokens + row * row_floats,
        };
}
