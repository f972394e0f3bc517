// model/parameters.c - the table of parameters: names and shapes of the published weights, their
// places in one flat buffer, how each starts, and their way from and to safetensors.
#include "model/rdt_layout.h"
#include "proto/random.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint32_t model_rdt_img_length(const struct model_rdt_sizes *s) {
    return s->img_history * s->img_cameras * s->img_patches;
}

bool model_rdt_sizes_check(const struct model_rdt_sizes *s, struct proto_error *error) {
    const struct {
        const char *name;
        uint32_t value, min, max;
    } rows[] = {
        {"hidden_size", s->hidden, 4, 16384},
        {"depth", s->depth, 1, 256},
        {"num_heads", s->heads, 1, 256},
        {"chunk_size", s->chunk, 1, 256},
        {"width", s->width, 1, 1024},
        {"lang_token_dim", s->lang_dim, 1, 65536},
        {"img_token_dim", s->img_dim, 1, 65536},
        {"max_lang_cond_len", s->lang_rows, 1, 4096},
        {"img_history_size", s->img_history, 1, 16},
        {"num_cameras", s->img_cameras, 1, 16},
        {"image patches", s->img_patches, 1, 4096},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (rows[i].value < rows[i].min || rows[i].value > rows[i].max)
            return proto_fail(error, PROTO_USAGE, "%s is %u, must be %u..%u", rows[i].name,
                              rows[i].value, rows[i].min, rows[i].max);
    if (s->hidden % 4 != 0 || s->hidden % s->heads != 0 || s->hidden / s->heads < 2)
        return proto_fail(error, PROTO_USAGE,
                          "hidden_size is %u, must be a multiple of 4 and of num_heads (%u), at "
                          "least 2 per head",
                          s->hidden, s->heads);
    if (!(s->epsilon > 0))
        return proto_fail(error, PROTO_USAGE, "epsilon is %g, must be above 0", (double)s->epsilon);
    return true;
}

// ---- the table ----

struct row {
    size_t shape[3];
    uint32_t dimensions;
    size_t fan_in, fan_out;
    enum model_initial initial;
};

PROTO_PRINTF(3, 4)
static size_t add(struct model_parameters *table, struct row row, const char *name, ...) {
    struct model_parameter *item = &table->items[table->count++];
    va_list arguments;
    va_start(arguments, name);
    const int length = vsnprintf(item->name, sizeof item->name, name, arguments);
    va_end(arguments);
    assert(length > 0 && (size_t)length < sizeof item->name);
    item->dimensions = row.dimensions;
    item->elements = 1;
    for (uint32_t i = 0; i < row.dimensions; i++) {
        item->shape[i] = row.shape[i];
        item->elements *= row.shape[i];
    }
    item->fan_in = row.fan_in;
    item->fan_out = row.fan_out;
    item->initial = row.initial;
    item->offset = table->elements;
    table->elements += item->elements;
    return item->offset;
}
static struct row matrix(size_t in, size_t out, enum model_initial initial) {
    return (struct row){{out, in, 0}, 2, in, out, initial};
}
static struct row vector(size_t n, size_t in, size_t out, enum model_initial initial) {
    return (struct row){{n, 0, 0}, 1, in, out, initial};
}
static struct row position(size_t rows, size_t width, enum model_initial initial) {
    return (struct row){{1, rows, width}, 3, 0, 0, initial};
}
static struct rdt_linear_at add_linear(struct model_parameters *table, const char *name, size_t in,
                                       size_t out, enum model_initial weight,
                                       enum model_initial bias) {
    struct rdt_linear_at at;
    at.weight = add(table, matrix(in, out, weight), "%s.weight", name);
    at.bias = add(table, vector(out, in, out, bias), "%s.bias", name);
    return at;
}

static void add_adaptor(struct model_parameters *table, const char *name, size_t in, int layers,
                        struct rdt_linear_at *at) {
    const size_t hidden = table->sizes.hidden;
    for (int i = 0; i < layers; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "%s.%d", name, 2 * i);
        at[i] = add_linear(table, layer, i == 0 ? in : hidden, hidden, MODEL_INITIAL_UNIFORM,
                           MODEL_INITIAL_UNIFORM);
    }
}
static void add_embedder(struct model_parameters *table, const char *name,
                         struct rdt_linear_at *at) {
    const size_t hidden = table->sizes.hidden;
    for (int i = 0; i < 2; i++) {
        char layer[64];
        snprintf(layer, sizeof layer, "model.%s.mlp.%d", name, 2 * i);
        at[i] = add_linear(table, layer, i == 0 ? MODEL_SINUSOID : hidden, hidden,
                           MODEL_INITIAL_NORMAL, MODEL_INITIAL_ZERO);
    }
}

static struct rdt_linear_at add_block_linear(struct model_parameters *table, uint32_t block,
                                             const char *name, size_t out) {
    char full[64];
    snprintf(full, sizeof full, "model.blocks.%u.%s", block, name);
    return add_linear(table, full, table->sizes.hidden, out, MODEL_INITIAL_XAVIER,
                      MODEL_INITIAL_ZERO);
}
static void add_block(struct model_parameters *table, uint32_t i, struct rdt_block_at *at) {
    const size_t hidden = table->sizes.hidden, head = hidden / table->sizes.heads;
    const struct row gain = vector(hidden, 0, 0, MODEL_INITIAL_ONE);
    const struct row head_gain = vector(head, 0, 0, MODEL_INITIAL_ONE);
    at->norm1 = add(table, gain, "model.blocks.%u.norm1.weight", i);
    at->qkv = add_block_linear(table, i, "attn.qkv", 3 * hidden);
    at->q_norm = add(table, head_gain, "model.blocks.%u.attn.q_norm.weight", i);
    at->k_norm = add(table, head_gain, "model.blocks.%u.attn.k_norm.weight", i);
    at->proj = add_block_linear(table, i, "attn.proj", hidden);
    at->norm2 = add(table, gain, "model.blocks.%u.norm2.weight", i);
    at->q = add_block_linear(table, i, "cross_attn.q", hidden);
    at->cross_q_norm = add(table, head_gain, "model.blocks.%u.cross_attn.q_norm.weight", i);
    at->cross_k_norm = add(table, head_gain, "model.blocks.%u.cross_attn.k_norm.weight", i);
    at->cross_proj = add_block_linear(table, i, "cross_attn.proj", hidden);
    at->norm3 = add(table, gain, "model.blocks.%u.norm3.weight", i);
    at->fc1 = add_block_linear(table, i, "ffn.fc1", hidden);
    at->fc2 = add_block_linear(table, i, "ffn.fc2", hidden);
}
// Weights of all blocks of a condition, then their biases.
static struct rdt_linear_at add_keys_values(struct model_parameters *table, uint32_t first) {
    const size_t hidden = table->sizes.hidden;
    struct rdt_linear_at at = {.weight = table->elements};
    for (uint32_t i = first; i < table->sizes.depth; i += 2)
        add(table, matrix(hidden, 2 * hidden, MODEL_INITIAL_XAVIER),
            "model.blocks.%u.cross_attn.kv.weight", i);
    at.bias = table->elements;
    for (uint32_t i = first; i < table->sizes.depth; i += 2)
        add(table, vector(2 * hidden, hidden, 2 * hidden, MODEL_INITIAL_ZERO),
            "model.blocks.%u.cross_attn.kv.bias", i);
    return at;
}

bool model_parameters_new(const struct model_rdt_sizes *sizes, struct model_parameters **out,
                          struct proto_error *error) {
    if (!model_rdt_sizes_check(sizes, error)) return false;
    struct model_parameters *table = proto_alloc(sizeof *table, error);
    if (!table) return false;
    const size_t hidden = sizes->hidden;
    table->sizes = *sizes;
    table->items = proto_alloc_array(21u * sizes->depth + 30u, sizeof *table->items, error);
    struct model_rdt_layout *at =
        proto_alloc(sizeof *at + sizes->depth * sizeof at->blocks[0], error);
    table->layout = at;
    if (!table->items || !at) {
        model_parameters_free(&table);
        return false;
    }
    add_adaptor(table, "lang_adaptor", sizes->lang_dim, 2, at->lang);
    add_adaptor(table, "img_adaptor", sizes->img_dim, 2, at->img);
    add_adaptor(table, "state_adaptor", 2u * (size_t)sizes->width, 3, at->state);
    at->x_position =
        add(table, position(3u + sizes->chunk, hidden, MODEL_INITIAL_X_TABLE), "model.x_pos_embed");
    at->lang_position = add(table, position(sizes->lang_rows, hidden, MODEL_INITIAL_LANG_TABLE),
                            "model.lang_cond_pos_embed");
    at->img_position =
        add(table, position(model_rdt_img_length(sizes), hidden, MODEL_INITIAL_IMG_TABLE),
            "model.img_cond_pos_embed");
    add_embedder(table, "t_embedder", at->time);
    add_embedder(table, "freq_embedder", at->freq);
    for (uint32_t i = 0; i < sizes->depth; i++) add_block(table, i, &at->blocks[i]);
    at->lang_kv = add_keys_values(table, 0);
    at->img_kv = add_keys_values(table, 1);
    at->final_norm =
        add(table, vector(hidden, 0, 0, MODEL_INITIAL_ONE), "model.final_layer.norm_final.weight");
    at->final_fc1 = add_linear(table, "model.final_layer.ffn_final.fc1", hidden, hidden,
                               MODEL_INITIAL_XAVIER, MODEL_INITIAL_ZERO);
    at->final_fc2 = add_linear(table, "model.final_layer.ffn_final.fc2", hidden, sizes->width,
                               MODEL_INITIAL_ZERO, MODEL_INITIAL_ZERO);
    assert(table->count == 21u * sizes->depth + 30u);
    *out = table;
    return true;
}

void model_parameters_free(struct model_parameters **table) {
    if (!*table) return;
    free((*table)->items);
    free((*table)->layout);
    free(*table);
    *table = NULL;
}

const struct model_parameter *model_parameters_find(const struct model_parameters *table,
                                                    const char *name) {
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->items[i].name, name) == 0) return &table->items[i];
    return NULL;
}

// ---- initial values ----

// [sin(p w_k), cos(p w_k)], w_k = 10000^(-k / (d / 2)); double, then f32.
static void sine_cosine(size_t p, size_t d, float *out) {
    const size_t half = d / 2;
    for (size_t k = 0; k < half; k++) {
        const double w = pow(10000.0, -(double)k / (double)half);
        out[k] = (float)sin((double)p * w);
        out[half + k] = (float)cos((double)p * w);
    }
}
static void fill_x_table(const struct model_rdt_sizes *s, float *out) {
    const size_t half = s->hidden / 2;
    for (size_t r = 0; r < 3u + s->chunk; r++) {
        sine_cosine(r < 3 ? r : 3, half, out + r * s->hidden);
        sine_cosine(r < 3 ? 0 : r - 3, half, out + r * s->hidden + half);
    }
}
static void fill_img_table(const struct model_rdt_sizes *s, float *out) {
    const size_t half = s->hidden / 2;
    for (size_t h = 0; h < s->img_history; h++)
        for (size_t c = 0; c < s->img_cameras; c++)
            for (size_t p = 0; p < s->img_patches; p++) {
                sine_cosine(h, half, out);
                sine_cosine(c, half, out + half);
                out += s->hidden;
            }
}
static void fill_uniform(struct proto_random *random, double limit, float *out, size_t n) {
    for (size_t i = 0; i < n; i++) out[i] = (float)((2 * proto_random_uniform(random) - 1) * limit);
}

void model_parameter_initialise(const struct model_parameters *table, size_t i, uint64_t seed,
                                float *out) {
    const struct model_parameter *item = &table->items[i];
    struct proto_random random = proto_random_at(seed, PROTO_PURPOSE_INITIALISATION, i);
    const double in = (double)item->fan_in, both = in + (double)item->fan_out;
    switch (item->initial) {
    case MODEL_INITIAL_XAVIER:
        fill_uniform(&random, sqrt(6.0 / both), out, item->elements);
        break;
    case MODEL_INITIAL_UNIFORM:
        fill_uniform(&random, 1.0 / sqrt(in), out, item->elements);
        break;
    case MODEL_INITIAL_NORMAL:
        proto_random_normal(&random, out, item->elements);
        for (size_t j = 0; j < item->elements; j++) out[j] *= 0.02f;
        break;
    case MODEL_INITIAL_ZERO:
    case MODEL_INITIAL_ONE:
        for (size_t j = 0; j < item->elements; j++)
            out[j] = item->initial == MODEL_INITIAL_ONE ? 1.0f : 0.0f;
        break;
    case MODEL_INITIAL_X_TABLE:
        fill_x_table(&table->sizes, out);
        break;
    case MODEL_INITIAL_LANG_TABLE:
        for (size_t r = 0; r < item->shape[1]; r++)
            sine_cosine(0, item->shape[2], out + r * item->shape[2]);
        break;
    case MODEL_INITIAL_IMG_TABLE:
        fill_img_table(&table->sizes, out);
        break;
    }
}

void model_parameters_initialise(const struct model_parameters *table, uint64_t seed, float *flat) {
    for (size_t i = 0; i < table->count; i++)
        model_parameter_initialise(table, i, seed, flat + table->items[i].offset);
}

// ---- files ----

void model_parameters_tensors(const struct model_parameters *table, const char *prefix,
                              const float *flat, char (*names)[MODEL_TENSOR_NAME_MAX],
                              struct proto_tensor_out *out) {
    for (size_t i = 0; i < table->count; i++) {
        const struct model_parameter *item = &table->items[i];
        const int length = snprintf(names[i], MODEL_TENSOR_NAME_MAX, "%s%s", prefix, item->name);
        assert(length > 0 && length < MODEL_TENSOR_NAME_MAX);
        out[i] = (struct proto_tensor_out){.name = names[i],
                                           .dtype = PROTO_F32,
                                           .dimensions = item->dimensions,
                                           .data = flat + item->offset};
        for (uint32_t d = 0; d < item->dimensions; d++) out[i].shape[d] = item->shape[d];
    }
}

static bool read_one(const struct model_parameter *item, const struct proto_safetensors *file,
                     const char *name, float *out, struct proto_error *error) {
    const struct proto_tensor_info *info = proto_safetensors_find(file, name);
    if (!info) return proto_fail(error, PROTO_DAMAGED, "tensor %s is missing", name);
    bool same = info->dimensions == item->dimensions;
    for (uint32_t d = 0; same && d < item->dimensions; d++) same = info->shape[d] == item->shape[d];
    if (!same) {
        char found[96] = "", expected[96] = "";
        for (uint32_t d = 0; d < info->dimensions; d++)
            snprintf(found + strlen(found), sizeof found - strlen(found), "%s%zu", d ? ", " : "",
                     info->shape[d]);
        for (uint32_t d = 0; d < item->dimensions; d++)
            snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%zu",
                     d ? ", " : "", item->shape[d]);
        return proto_fail(error, PROTO_DAMAGED, "tensor %s has shape [%s], this network's is [%s]",
                          name, found, expected);
    }
    if (info->dtype != PROTO_F32 && info->dtype != PROTO_BF16 && info->dtype != PROTO_F16)
        return proto_fail(error, PROTO_DAMAGED, "tensor %s is %s, must be F32, BF16 or F16", name,
                          proto_dtype_name(info->dtype));
    return proto_safetensors_read_f32(file, info, out, item->elements, error);
}

bool model_parameters_read(const struct model_parameters *table,
                           const struct proto_safetensors *file, const char *prefix, float *flat,
                           struct proto_error *error) {
    char name[MODEL_TENSOR_NAME_MAX];
    for (size_t i = 0; i < table->count; i++) {
        const struct model_parameter *item = &table->items[i];
        const int length = snprintf(name, sizeof name, "%s%s", prefix, item->name);
        assert(length > 0 && (size_t)length < sizeof name);
        if (!read_one(item, file, name, flat + item->offset, error)) return false;
    }
    for (size_t i = 0; i < proto_safetensors_count(file); i++) {
        const char *found = proto_safetensors_at(file, i)->name;
        if (strncmp(found, prefix, strlen(prefix)) != 0) continue;
        if (!model_parameters_find(table, found + strlen(prefix)))
            return proto_fail(error, PROTO_DAMAGED, "tensor %s is not one of this network", found);
    }
    return true;
}
