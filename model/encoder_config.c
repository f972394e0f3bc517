// model/encoder_config.c - encoders of a checkpoint to JSON and back.
#include "model/encoder_config.h"

#include "proto/json.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_BYTES_MAX (1 << 20)

bool model_encoder_config_store(const struct model_encoder_config *encoders, json_t *config,
                                struct proto_error *error) {
    json_t *vision = json_pack("{s:s, s:s, s:i, s:i}", "encoder", encoders->vision, "path",
                               encoders->vision_path, "patch_grid", (int)encoders->patch_grid,
                               "patch_size", (int)encoders->patch_size);
    json_t *language = json_pack("{s:s, s:s, s:i}", "encoder", encoders->language, "path",
                                 encoders->language_path, "token_dim", (int)encoders->token_dim);
    // both are given away, also when one of them is NULL
    const bool kept = (json_object_set_new(config, "vision", vision) == 0) &
                      (json_object_set_new(config, "language", language) == 0);
    if (kept) return true;
    return proto_fail(error, PROTO_EXHAUSTED,
                      "the encoders do not go into config.json: no memory, or a path that is not "
                      "UTF-8 text (vision.path, language.path)");
}

static bool read_text(const json_t *object, const char *key, char *text, size_t size,
                      struct proto_error *error) {
    const char *found = NULL;
    if (!proto_json_text(object, key, &found, error)) return false;
    if (strlen(found) >= size)
        return proto_fail(error, PROTO_DAMAGED, "%s has %zu bytes, at most %zu are known", key,
                          strlen(found), size - 1);
    memcpy(text, found, strlen(found) + 1);
    return true;
}

static bool read_size(const json_t *object, const char *key, uint32_t *size,
                      struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(object, key, 1, 1 << 20, &number, error)) return false;
    *size = (uint32_t)number;
    return true;
}

static bool config_parse(const json_t *config, struct model_encoder_config *out,
                         struct proto_error *error) {
    const json_t *vision = NULL, *language = NULL;
    if (!proto_json_object(config, "vision", &vision, error) ||
        !proto_json_object(config, "language", &language, error))
        return false;
    if (!read_text(vision, "encoder", out->vision, sizeof out->vision, error) ||
        !read_text(vision, "path", out->vision_path, sizeof out->vision_path, error) ||
        !read_size(vision, "patch_grid", &out->patch_grid, error) ||
        !read_size(vision, "patch_size", &out->patch_size, error))
        return proto_error_where(error, "vision");
    if (!read_text(language, "encoder", out->language, sizeof out->language, error) ||
        !read_text(language, "path", out->language_path, sizeof out->language_path, error) ||
        !read_size(language, "token_dim", &out->token_dim, error))
        return proto_error_where(error, "language");
    return true;
}

bool model_encoder_config_read(const char *folder, struct model_encoder_config *encoders,
                               struct proto_error *error) {
    struct model_encoder_config found = {0};
    char *path = proto_format(error, "%s/config.json", folder);
    if (!path) return false;
    json_t *config = proto_json_read(path, CONFIG_BYTES_MAX, error);
    bool done = false;
    if (config) done = config_parse(config, &found, error) || proto_error_where(error, "%s", path);
    json_decref(config);
    free(path);
    if (done) *encoders = found;
    return done;
}
