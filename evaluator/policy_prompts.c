// evaluator/policy_prompts.c - instructions as language tokens, out of the checkpoint or the
// encoder.
#include "evaluator/policy_files.h"

#include <stdlib.h>
#include <string.h>

// Room for one more; tokens [rows, width] of it are the caller's to fill.
static float *append(struct evaluator_prompts *prompts, uint32_t rows, struct proto_error *error) {
    const size_t count = (size_t)prompts->count + 1;
    float **tokens = realloc(prompts->tokens, count * sizeof(float *));
    if (tokens) prompts->tokens = tokens;
    uint32_t *lengths = realloc(prompts->rows, count * sizeof *lengths);
    if (lengths) prompts->rows = lengths;
    if (!tokens || !lengths) {
        proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu prompts", count);
        return NULL;
    }
    float *made = proto_alloc_array((size_t)rows * prompts->width, sizeof *made, error);
    if (!made) return NULL;
    prompts->tokens[prompts->count] = made;
    prompts->rows[prompts->count++] = rows;
    if (rows > prompts->length) prompts->length = rows;
    return made;
}

bool evaluator_prompts_read(struct evaluator_prompts *prompts, const char *folder, const char *name,
                            struct proto_error *error) {
    struct proto_safetensors *file = NULL;
    char *path = proto_format(error, "%s/language.safetensors", folder);
    if (!path) return false;
    bool done = proto_safetensors_open(path, &file, error);
    if (done) {
        const struct proto_tensor_info *info = proto_safetensors_find(file, name);
        done = info && info->dimensions == 2 && info->shape[0] >= 1 && info->shape[0] <= 65536 &&
               info->shape[1] == prompts->width;
        if (!done) {
            proto_fail(error, PROTO_DAMAGED, "%s is no tensor [rows, %u]", name, prompts->width);
            proto_error_where(error, "%s", path);
        } else {
            float *tokens = append(prompts, (uint32_t)info->shape[0], error);
            done = tokens && proto_safetensors_read_f32(file, info, tokens, info->elements, error);
        }
    }
    proto_safetensors_close(&file);
    free(path);
    return done;
}

bool evaluator_prompts_encode(struct evaluator_prompts *prompts, struct model_language *language,
                              const char *text, uint32_t rows_max, struct proto_error *error) {
    uint32_t rows = 0;
    if (!model_language_length(language, text, &rows, error)) return false;
    if (rows > rows_max)
        return proto_fail(error, PROTO_REFUSED,
                          "\"%.200s\" has %u tokens, the network has positions for %u", text, rows,
                          rows_max);
    float *tokens = append(prompts, rows, error);
    return tokens && model_language_encode(language, text, rows, tokens, error);
}

bool evaluator_prompts_pack(struct evaluator_prompts *prompts, struct proto_error *error) {
    const size_t floats = (size_t)prompts->length * prompts->width;
    prompts->packed = proto_alloc_array(prompts->count * floats, sizeof *prompts->packed, error);
    if (!prompts->packed) return false;
    prompts->mask = proto_alloc_array(prompts->count, prompts->length, error);
    if (!prompts->mask) return false;
    for (uint32_t i = 0; i < prompts->count; i++) {
        memcpy(prompts->packed + i * floats, prompts->tokens[i],
               (size_t)prompts->rows[i] * prompts->width * sizeof(float));
        memset(prompts->mask + (size_t)i * prompts->length, 1, prompts->rows[i]);
    }
    return true;
}

void evaluator_prompts_free(struct evaluator_prompts *prompts) {
    for (uint32_t i = 0; i < prompts->count; i++) free(prompts->tokens[i]);
    free(prompts->tokens);
    free(prompts->rows);
    free(prompts->packed);
    free(prompts->mask);
    memset(prompts, 0, sizeof *prompts);
}
