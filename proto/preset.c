// proto/preset.c - the table of presets.
#include "proto/preset.h"

#include "proto/error.h"

#include <string.h>

static const struct proto_preset presets[] = {
    {.name = "rdt-1b",
     .hidden_size = 2048,
     .depth = 28,
     .num_heads = 32,
     .chunk_size = 64,
     .img_history_size = 2,
     .num_cameras = 3,
     .max_lang_cond_len = 1024,
     .layout = "unified"},
    {.name = "rdt-170m",
     .hidden_size = 1024,
     .depth = 14,
     .num_heads = 32,
     .chunk_size = 64,
     .img_history_size = 2,
     .num_cameras = 3,
     .max_lang_cond_len = 1024,
     .layout = "unified"},
    {.name = "rdt-tiny",
     .hidden_size = 128,
     .depth = 4,
     .num_heads = 4,
     .chunk_size = 8,
     .img_history_size = 1,
     .num_cameras = 2,
     .max_lang_cond_len = 32,
     .layout = "compact"},
};

const struct proto_preset *proto_presets(size_t *count) {
    *count = PROTO_COUNT(presets);
    return presets;
}

const struct proto_preset *proto_preset_find(const char *name) {
    for (size_t i = 0; i < PROTO_COUNT(presets); i++)
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
    return NULL;
}
