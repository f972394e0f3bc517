// proto/preset.h - named sizes of the network: what model.preset stands for.
#ifndef PROTO_PRESET_H
#define PROTO_PRESET_H

#include <stddef.h>
#include <stdint.h>

// The official 1B and 170M networks (configs/base.yaml of the RDT repository and the config.json
// of the published weights), and one small enough for two CPU cores.
struct proto_preset {
    const char *name;
    int64_t hidden_size, depth, num_heads, chunk_size, img_history_size, num_cameras,
        max_lang_cond_len;
    const char *layout;  // "unified" or "compact"
};
const struct proto_preset *proto_presets(size_t *count);
const struct proto_preset *proto_preset_find(const char *name);  // NULL: no such preset

#endif
