// tests/model/parameters_test.c - the table of parameters: counts and shapes of the published
// weights, the official initialisation, and the way through files.
#include "tests/check.h"

#include "model/rdt.h"
#include "model/weights.h"
#include "proto/files.h"

#include <math.h>

static const struct model_rdt_sizes rdt_1b = {.hidden = 2048,
                                              .depth = 28,
                                              .heads = 32,
                                              .chunk = 64,
                                              .width = 128,
                                              .lang_dim = 4096,
                                              .img_dim = 1152,
                                              .lang_rows = 1024,
                                              .img_history = 2,
                                              .img_cameras = 3,
                                              .img_patches = 729,
                                              .epsilon = MODEL_EPSILON};
static const struct model_rdt_sizes small = {.hidden = 32,
                                             .depth = 3,
                                             .heads = 4,
                                             .chunk = 5,
                                             .width = 7,
                                             .lang_dim = 9,
                                             .img_dim = 10,
                                             .lang_rows = 6,
                                             .img_history = 1,
                                             .img_cameras = 2,
                                             .img_patches = 3,
                                             .epsilon = MODEL_EPSILON};

static struct model_parameters *table_of(const struct model_rdt_sizes *sizes) {
    struct proto_error error = {0};
    struct model_parameters *table = NULL;
    CHECK_OK(model_parameters_new(sizes, &table, &error), error);
    return table;
}

// Oracle: the published models have 1,228,319,872 parameters in 618 tensors and 166,229,888 in 324.
TEST(parameters_count_as_published) {
    struct model_parameters *table = table_of(&rdt_1b);
    CHECK_INT(table->count, 618);
    CHECK_INT(table->elements, 1228319872);
    const struct model_parameter *kv =
        model_parameters_find(table, "model.blocks.27.cross_attn.kv.weight");
    CHECK(kv && kv->dimensions == 2 && kv->shape[0] == 4096 && kv->shape[1] == 2048);
    const struct model_parameter *x = model_parameters_find(table, "model.x_pos_embed");
    CHECK(x && x->dimensions == 3 && x->shape[0] == 1 && x->shape[1] == 67);
    CHECK(!model_parameters_find(table, "model.blocks.28.norm1.weight"));
    model_parameters_free(&table);
    struct model_rdt_sizes s = rdt_1b;
    s.hidden = 1024, s.depth = 14;
    table = table_of(&s);
    CHECK_INT(table->count, 324);
    CHECK_INT(table->elements, 166229888);
    model_parameters_free(&table);
}

TEST(parameters_lie_side_by_side) {
    struct model_parameters *table = table_of(&small);
    size_t at = 0;
    for (size_t i = 0; i < table->count; i++) {
        CHECK_INT(table->items[i].offset, at);
        at += table->items[i].elements;
    }
    CHECK_INT(at, table->elements);
    model_parameters_free(&table);
}

// A uniform number in +-a has deviation a / sqrt(3); its estimate from n numbers is off by about
// 1 / sqrt(n) of that, five times which is allowed.
static void check_spread(const struct model_parameters *table, const float *flat, const char *name,
                         double deviation, double limit) {
    const struct model_parameter *item = model_parameters_find(table, name);
    CHECK(item);
    double square = 0;
    TEST_CASE(name);
    for (size_t i = 0; i < item->elements; i++) {
        const double x = flat[item->offset + i];
        CHECK(fabs(x) <= limit);
        square += x * x / (double)item->elements;
    }
    CHECK_NEAR(sqrt(square), deviation, 5 * deviation / sqrt((double)item->elements));
}

TEST(parameters_start_as_official) {
    struct model_parameters *table = table_of(&small);
    float *flat = malloc(table->elements * sizeof *flat);
    float *again = malloc(table->elements * sizeof *flat);
    CHECK(flat && again);
    model_parameters_initialise(table, 7, flat);
    model_parameters_initialise(table, 7, again);
    CHECK(memcmp(flat, again, table->elements * sizeof *flat) == 0);
    model_parameters_initialise(table, 8, again);
    CHECK(memcmp(flat, again, table->elements * sizeof *flat) != 0);
    const double qkv = sqrt(6.0 / (32 + 96)), adaptor = 1 / sqrt(10.0);
    check_spread(table, flat, "model.blocks.1.attn.qkv.weight", qkv / sqrt(3), qkv);
    check_spread(table, flat, "img_adaptor.0.weight", adaptor / sqrt(3), adaptor);
    check_spread(table, flat, "img_adaptor.0.bias", adaptor / sqrt(3), adaptor);
    check_spread(table, flat, "model.t_embedder.mlp.0.weight", 0.02, 0.2);
    check_spread(table, flat, "model.blocks.0.attn.qkv.bias", 0, 0);
    check_spread(table, flat, "model.final_layer.ffn_final.fc2.weight", 0, 0);
    const struct model_parameter *gain =
        model_parameters_find(table, "model.blocks.2.cross_attn.k_norm.weight");
    CHECK_INT(gain->elements, 8);
    for (size_t i = 0; i < 8; i++) CHECK(flat[gain->offset + i] == 1);
    // "no position" of the language table is half zeros, half ones
    const struct model_parameter *lang = model_parameters_find(table, "model.lang_cond_pos_embed");
    for (size_t i = 0; i < lang->elements; i++)
        CHECK(flat[lang->offset + i] == (i % 32 < 16 ? 0 : 1));
    free(flat);
    free(again);
    model_parameters_free(&table);
}

TEST(parameters_refuse_sizes_by_name) {
    struct proto_error error = {0};
    struct model_parameters *table = NULL;
    struct model_rdt_sizes s = small;
    s.heads = 5;
    CHECK(!model_parameters_new(&s, &table, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "num_heads (5)");
    s = small, s.depth = 0;
    CHECK(!model_parameters_new(&s, &table, &error));
    CHECK_TEXT(error.text, "depth is 0, must be 1..256");
    CHECK(!table);
}

// ---- folders of weights ----

static void write_weights(const char *folder, const struct model_parameters *table,
                          const float *flat, size_t first, size_t count) {
    struct proto_error error = {0};
    struct proto_tensor_out *out = calloc(table->count + 1, sizeof *out);
    char(*names)[MODEL_TENSOR_NAME_MAX] = calloc(table->count, sizeof *names);
    char path[512];
    CHECK(out && names);
    model_parameters_tensors(table, "", flat, names, out);
    out[table->count] = out[0];
    out[table->count].name = "model.extra";
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    CHECK_OK(proto_safetensors_write(path, out + first, count, NULL, 0, &error), error);
    free(out);
    free(names);
}
static void write_config(const char *folder, const struct model_rdt_sizes *sizes) {
    struct proto_error error = {0};
    char path[512];
    json_t *config = model_weights_config(sizes, 5, &error);
    CHECK_OK(config != NULL, error);
    char *text = json_dumps(config, 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK_OK(proto_file_write(path, text, strlen(text), &error), error);
    free(text);
    json_decref(config);
}

TEST(weights_come_back_as_they_were_written) {
    char folder[256];
    check_folder(folder);
    struct proto_error error = {0};
    struct model_parameters *table = table_of(&small);
    float *flat = malloc(table->elements * sizeof *flat);
    float *back = calloc(table->elements, sizeof *flat);
    CHECK(flat && back);
    model_parameters_initialise(table, 1, flat);
    write_config(folder, &small);
    write_weights(folder, table, flat, 0, table->count);
    struct model_rdt_sizes sizes;
    CHECK_OK(model_weights_sizes(folder, &sizes, &error), error);
    CHECK(sizes.hidden == 32 && sizes.img_cameras == 2 && sizes.width == 7);
    CHECK_OK(model_weights_read(folder, table, back, &error), error);
    CHECK(memcmp(flat, back, table->elements * sizeof *flat) == 0);
    // strictly: one missing, one too many, another network
    write_weights(folder, table, flat, 1, table->count - 1);
    CHECK(!model_weights_read(folder, table, back, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_TEXT(error.text, "tensor lang_adaptor.0.weight is missing");
    CHECK_HAS(error.where, "model.safetensors");
    write_weights(folder, table, flat, 0, table->count + 1);
    CHECK(!model_weights_read(folder, table, back, &error));
    CHECK_TEXT(error.text, "tensor model.extra is not one of this network");
    sizes.chunk = 6;
    struct model_parameters *other = table_of(&sizes);
    CHECK(!model_weights_read(folder, other, back, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "pred_horizon (model.chunk_size) of the weights is 5, of this run 6");
    // a weight that is no number, named with its tensor
    flat[table->items[3].offset + 2] = NAN;
    write_weights(folder, table, flat, 0, table->count);
    CHECK(!model_weights_read(folder, table, back, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, table->items[3].name);
    CHECK_HAS(error.text, "holds NaN at element 2");
    CHECK_OK(proto_folder_remove(folder, &error), error);
    model_parameters_free(&other);
    model_parameters_free(&table);
    free(flat);
    free(back);
}

TEST(weights_that_are_not_there_say_what_would_be_read) {
    char folder[256], path[512];
    check_folder(folder);
    struct proto_error error = {0};
    struct model_parameters *table = table_of(&small);
    float *flat = malloc(table->elements * sizeof *flat);
    CHECK(flat);
    CHECK(!model_weights_read("/nowhere/at/all", table, flat, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK(!model_weights_read(folder, table, flat, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "config.json");
    write_config(folder, &small);
    snprintf(path, sizeof path, "%s/pytorch_model.bin", folder);
    CHECK_OK(proto_file_write(path, "PK", 2, &error), error);
    CHECK(!model_weights_read(folder, table, flat, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "model.safetensors");
    CHECK_OK(proto_folder_remove(folder, &error), error);
    model_parameters_free(&table);
    free(flat);
}

// Oracle: the recorded config.json of the official save_pretrained, key by key.
TEST(config_has_the_official_form) {
    NEED_SHARED();
    struct proto_error error = {0};
    char path[512];
    const struct model_rdt_sizes sizes = {.hidden = 64,
                                          .depth = 4,
                                          .heads = 4,
                                          .chunk = 16,
                                          .width = 128,
                                          .lang_dim = 48,
                                          .img_dim = 32,
                                          .lang_rows = 16,
                                          .img_history = 2,
                                          .img_cameras = 3,
                                          .img_patches = 9,
                                          .epsilon = MODEL_EPSILON};
    snprintf(path, sizeof path, "%s/goldens/rdt/official_save/config.json", check_shared());
    json_t *recorded = json_load_file(path, 0, NULL),
           *own = model_weights_config(&sizes, 5, &error);
    CHECK(recorded && own);
    CHECK(json_equal(recorded, own));
    json_decref(recorded);
    json_decref(own);
    struct model_rdt_sizes back;
    snprintf(path, sizeof path, "%s/goldens/rdt/official_save", check_shared());
    CHECK_OK(model_weights_sizes(path, &back, &error), error);
    CHECK(back.hidden == 64 && back.img_patches == 9 && back.lang_rows == 16);
}

TEST_MAIN(UNIT(parameters_count_as_published), UNIT(parameters_lie_side_by_side),
          UNIT(parameters_start_as_official), UNIT(parameters_refuse_sizes_by_name),
          UNIT(weights_come_back_as_they_were_written),
          UNIT(weights_that_are_not_there_say_what_would_be_read),
          UNIT(config_has_the_official_form))
