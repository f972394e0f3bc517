// model/weights.c - a folder of weights: config.json in the official form beside model.safetensors.
// The official loader lets missing keys pass in silence; this one names the first.
#include "model/weights.h"
#include "proto/files.h"
#include "proto/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_BYTES_MAX (1 << 20)

static bool path_in(const char *folder, const char *name, char **path, struct proto_error *error) {
    return (*path = proto_format(error, "%s/%s", folder, name)) != NULL;
}

// ---- config.json to sizes ----

static bool read_u32(const json_t *object, const char *key, uint32_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(object, key, 1, 1 << 20, &number, error)) return false;
    *value = (uint32_t)number;
    return true;
}

// An axis that is not embedded is written with a minus sign.
static bool axis(const json_t *value, const char *key, uint32_t *out, struct proto_error *error) {
    const json_int_t number = json_integer_value(value);
    const json_int_t size = number < 0 ? -number : number;
    if (!json_is_integer(value) || size < 1 || size > 1 << 20)
        return proto_fail(error, PROTO_DAMAGED, "%s holds an axis that is no size", key);
    *out = (uint32_t)size;
    return true;
}

// img_pos_embed_config: [["image", [history, cameras, -patches]]].
static bool read_image_axes(const json_t *config, struct model_rdt_sizes *sizes,
                            struct proto_error *error) {
    const char *key = "img_pos_embed_config";
    const json_t *list = NULL;
    if (!proto_json_array(config, key, 1, &list, error)) return false;
    const json_t *axes = json_array_get(json_array_get(list, 0), 1);
    if (json_array_size(axes) != 3)
        return proto_fail(error, PROTO_DAMAGED,
                          "%s must be [[\"image\", [history, cameras, -patches]]]", key);
    return axis(json_array_get(axes, 0), key, &sizes->img_history, error) &&
           axis(json_array_get(axes, 1), key, &sizes->img_cameras, error) &&
           axis(json_array_get(axes, 2), key, &sizes->img_patches, error);
}

static bool expect_text(const json_t *config, const char *key, const char *expected,
                        struct proto_error *error) {
    const char *found = NULL;
    if (!proto_json_text(config, key, &found, error)) return false;
    if (strcmp(found, expected) == 0) return true;
    return proto_fail(error, PROTO_REFUSED, "%s is \"%s\", this program has \"%s\" only", key,
                      found, expected);
}

static bool sizes_of(const json_t *config, struct model_rdt_sizes *sizes,
                     struct proto_error *error) {
    const json_t *rdt = json_object_get(config, "rdt");
    if (!json_is_object(rdt)) return proto_fail(error, PROTO_DAMAGED, "rdt is missing");
    *sizes = (struct model_rdt_sizes){.norm_stat = MODEL_VARIANCE, .epsilon = MODEL_EPSILON};
    uint32_t state = 0, img_length = 0;
    if (!read_u32(rdt, "hidden_size", &sizes->hidden, error) ||
        !read_u32(rdt, "depth", &sizes->depth, error) ||
        !read_u32(rdt, "num_heads", &sizes->heads, error) ||
        !read_u32(config, "pred_horizon", &sizes->chunk, error) ||
        !read_u32(config, "action_dim", &sizes->width, error) ||
        !read_u32(config, "state_token_dim", &state, error) ||
        !read_u32(config, "lang_token_dim", &sizes->lang_dim, error) ||
        !read_u32(config, "img_token_dim", &sizes->img_dim, error) ||
        !read_u32(config, "max_lang_cond_len", &sizes->lang_rows, error) ||
        !read_u32(config, "img_cond_len", &img_length, error) ||
        !read_image_axes(config, sizes, error) ||
        !expect_text(config, "lang_adaptor", "mlp2x_gelu", error) ||
        !expect_text(config, "img_adaptor", "mlp2x_gelu", error) ||
        !expect_text(config, "state_adaptor", "mlp3x_gelu", error))
        return false;
    if (state != sizes->width)
        return proto_fail(error, PROTO_REFUSED,
                          "state_token_dim is %u and action_dim %u, must be equal", state,
                          sizes->width);
    if (img_length != model_rdt_img_length(sizes))
        return proto_fail(error, PROTO_DAMAGED, "img_cond_len is %u, its axes give %u", img_length,
                          model_rdt_img_length(sizes));
    const json_t *stat = json_object_get(config, "norm_stat");
    if (!stat) return true;
    if (json_is_string(stat) && strcmp(json_string_value(stat), "mean_square") == 0)
        sizes->norm_stat = MODEL_MEAN_SQUARE;
    else if (!json_is_string(stat) || strcmp(json_string_value(stat), "variance") != 0)
        return proto_fail(error, PROTO_DAMAGED, "norm_stat must be variance or mean_square");
    return true;
}

bool model_weights_sizes(const char *folder, struct model_rdt_sizes *sizes,
                         struct proto_error *error) {
    char *path = NULL;
    if (!path_in(folder, "config.json", &path, error)) return false;
    bool done = false;
    if (!proto_path_is_folder(folder)) {
        proto_fail(error, PROTO_USAGE, "there is no folder %s", folder);
    } else if (!proto_path_exists(path)) {
        proto_fail(error, PROTO_USAGE,
                   "there is no %s: a folder of weights holds config.json and "
                   "model.safetensors",
                   path);
    } else {
        json_t *config = proto_json_read(path, CONFIG_BYTES_MAX, error);
        done = config && sizes_of(config, sizes, error);
        if (config && !done) proto_error_where(error, "%s", path);
        json_decref(config);
    }
    free(path);
    return done;
}

// ---- reading ----

static bool sizes_equal(const struct model_rdt_sizes *found, const struct model_rdt_sizes *own,
                        struct proto_error *error) {
    const struct {
        const char *key;
        uint32_t found, own;
    } rows[] = {
        {"hidden_size", found->hidden, own->hidden},
        {"depth", found->depth, own->depth},
        {"num_heads", found->heads, own->heads},
        {"pred_horizon (model.chunk_size)", found->chunk, own->chunk},
        {"action_dim (model.layout)", found->width, own->width},
        {"lang_token_dim", found->lang_dim, own->lang_dim},
        {"img_token_dim", found->img_dim, own->img_dim},
        {"max_lang_cond_len", found->lang_rows, own->lang_rows},
        {"img_history_size", found->img_history, own->img_history},
        {"num_cameras", found->img_cameras, own->img_cameras},
        {"patches of an image", found->img_patches, own->img_patches},
        {"norm_stat", found->norm_stat, own->norm_stat},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (rows[i].found != rows[i].own)
            return proto_fail(error, PROTO_USAGE,
                              "%s of the weights is %u, of this run %u; set it to the weights' "
                              "value, or start from random weights (model.pretrained = \"\")",
                              rows[i].key, rows[i].found, rows[i].own);
    return true;
}

// Weights that are not finite make every loss so, long after the file that holds them was named.
static bool tensors_finite(const struct model_parameters *table, const float *flat,
                           struct proto_error *error) {
    for (size_t i = 0; i < table->count; i++) {
        const struct model_parameter *item = &table->items[i];
        for (size_t k = 0; k < item->elements; k++)
            if (!isfinite(flat[item->offset + k]))
                return proto_fail(error, PROTO_DAMAGED,
                                  "tensor %s holds %s at element %zu; every weight must be finite",
                                  item->name,
                                  isnan(flat[item->offset + k]) ? "NaN" : "an infinite number", k);
    }
    return true;
}

static bool tensors_read(const char *folder, const char *path, const struct model_parameters *table,
                         float *flat, struct proto_error *error) {
    if (!proto_path_exists(path)) {
        char *pickle = NULL;
        if (!path_in(folder, "pytorch_model.bin", &pickle, error)) return false;
        const bool pickled = proto_path_exists(pickle);
        free(pickle);
        if (pickled)
            proto_fail(error, PROTO_MISSING,
                       "the weights are pickled (pytorch_model.bin), which this build does "
                       "not read; save them as model.safetensors, for example with "
                       "safetensors.torch.save_model");
        else
            proto_fail(error, PROTO_USAGE, "there is no model.safetensors");
        return proto_error_where(error, "%s", folder);
    }
    struct proto_safetensors *file = NULL;
    if (!proto_safetensors_open(path, &file, error)) return false;
    const bool done =
        model_parameters_read(table, file, "", flat, error) && tensors_finite(table, flat, error);
    proto_safetensors_close(&file);
    if (!done && error->where[0] == '\0') proto_error_where(error, "%s", path);
    return done;
}

bool model_weights_read(const char *folder, const struct model_parameters *table, float *flat,
                        struct proto_error *error) {
    struct model_rdt_sizes sizes;
    char *path = NULL;
    if (!model_weights_sizes(folder, &sizes, error)) return false;
    if (!sizes_equal(&sizes, &table->sizes, error))
        return proto_error_where(error, "%s/config.json", folder);
    if (!path_in(folder, "model.safetensors", &path, error)) return false;
    const bool done = tensors_read(folder, path, table, flat, error);
    free(path);
    return done;
}

// ---- writing ----

json_t *model_weights_config(const struct model_rdt_sizes *s, uint32_t inference_steps,
                             struct proto_error *error) {
    json_t *config = json_pack(
        "{s:i, s:s, s:i, s:[[s, [i, i, i]]], s:i, s:s, s:[[s, i]], s:i, s:i,"
        " s:{s:s, s:b, s:i, s:i, s:s, s:s}, s:i, s:{s:s, s:i, s:i, s:i}, s:s, s:i}",
        "action_dim", (int)s->width, "img_adaptor", "mlp2x_gelu", "img_cond_len",
        (int)model_rdt_img_length(s), "img_pos_embed_config", "image", (int)s->img_history,
        (int)s->img_cameras, -(int)s->img_patches, "img_token_dim", (int)s->img_dim, "lang_adaptor",
        "mlp2x_gelu", "lang_pos_embed_config", "lang", -(int)s->lang_rows, "lang_token_dim",
        (int)s->lang_dim, "max_lang_cond_len", (int)s->lang_rows, "noise_scheduler",
        "beta_schedule", "squaredcos_cap_v2", "clip_sample", 0, "num_inference_timesteps",
        (int)inference_steps, "num_train_timesteps", MODEL_TIMESTEPS, "prediction_type", "sample",
        "type", "ddpm", "pred_horizon", (int)s->chunk, "rdt", "cond_pos_embed_type", "multimodal",
        "depth", (int)s->depth, "hidden_size", (int)s->hidden, "num_heads", (int)s->heads,
        "state_adaptor", "mlp3x_gelu", "state_token_dim", (int)s->width);
    // not a key of the official form, so only where the network departs from it
    if (config && s->norm_stat == MODEL_MEAN_SQUARE &&
        json_object_set_new(config, "norm_stat", json_string("mean_square")) != 0) {
        json_decref(config);
        config = NULL;
    }
    if (!config) proto_fail(error, PROTO_EXHAUSTED, "no memory for config.json");
    return config;
}
