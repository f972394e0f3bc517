// tests/model/golden_block.c - one block at full width (2048, 32 heads), forward and backward,
// against the recording. Inputs and parameters are not stored: they are drawn from a counter hash
// of their names.
//
// Both conditions run through a network of one block, whose condition is the "language" one; the
// image condition has no mask, which a mask of ones equals.
#include "tests/model/golden.h"

#include "model/rdt_layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 67

// u(name, i) in [-1, 1), exact in fp32.
struct stream {
    uint64_t seed;
};
static struct stream stream_of(const char *name) {
    struct stream s = {0xcbf29ce484222325u};
    for (; *name; name++) s.seed = (s.seed ^ (unsigned char)*name) * 0x100000001b3u;
    return s;
}
static double stream_at(struct stream s, uint64_t i) {
    uint64_t z = s.seed + (i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 40) * 0x1p-23 - 1;
}

struct block {
    struct golden *g;
    const struct proto_safetensors *file;
    const char *tag, *part;  // "a", "lang"
    uint32_t length, valid;  // condition rows, attended rows
    uint32_t keep, keep_c;
    struct model_rdt *rdt;
    float *weights, *gradients;  // device
    float *host;                 // [table->elements]
};

// name "x" of tag "a" is "a.x"; factor * u + base.
static void draw(const struct block *b, const char *name, double base, double factor, float *out,
                 size_t count) {
    char full[192];
    snprintf(full, sizeof full, "%s.%s", b->tag, name);
    const struct stream s = stream_of(full);
    for (size_t i = 0; i < count; i++) out[i] = (float)(base + factor * stream_at(s, i));
}

static bool load_parameters(struct block *b, struct proto_error *error) {
    static const char prefix[] = "model.blocks.0.";
    const struct model_parameters *table = b->rdt->table;
    for (size_t i = 0; i < table->count; i++) {
        const struct model_parameter *item = &table->items[i];
        if (strncmp(item->name, prefix, sizeof prefix - 1) != 0) continue;
        char name[96];
        snprintf(name, sizeof name, "%s.%s", b->part, item->name + sizeof prefix - 1);
        const bool gain = item->initial == MODEL_INITIAL_ONE;
        const double factor = gain ? 1.0 / 4 : item->dimensions == 2 ? 1.0 / 32 : 1.0 / 8;
        draw(b, name, gain ? 1 : 0, factor, b->host, item->elements);
        if (!model_backend_upload(b->g->backend, b->weights + item->offset, b->host,
                                  item->elements * sizeof(float), error))
            return false;
    }
    return true;
}

static bool upload_drawn(struct block *b, const char *name, double factor, float *device,
                         size_t count, struct proto_error *error) {
    draw(b, name, 0, factor, b->host, count);
    return model_backend_upload(b->g->backend, device, b->host, count * sizeof(float), error);
}

static bool run(struct block *b, const struct model_rdt_call *call, struct proto_error *error) {
    struct model_rdt *rdt = b->rdt;
    const size_t hidden = rdt->sizes.hidden, stream = (size_t)TOKENS * hidden;
    char name[16];
    snprintf(name, sizeof name, "%s.c", b->part);
    uint8_t mask[4096];
    for (uint32_t i = 0; i < b->length; i++) mask[i] = i < b->valid;
    rdt->g = b->gradients;
    return rdt_begin(rdt, call, b->weights, error) && load_parameters(b, error) &&
           upload_drawn(b, "x", 2, rdt->blocks[0].in, stream, error) &&
           upload_drawn(b, name, 1, rdt->lang.cond, b->length * hidden, error) &&
           model_backend_upload(b->g->backend, rdt->inputs.lang_mask, mask, b->length, error) &&
           rdt_keys_values(rdt, &rdt->lang, 0, error) &&
           rdt_block_forward(rdt, 0, rdt->out, error) &&
           upload_drawn(b, "dy", 1, rdt->dx, stream, error) && rdt_block_backward(rdt, 0, error) &&
           rdt_condition_back(rdt, &rdt->lang, error);
}

// ---- results, under the recorded names ----

static bool add_rows(struct block *b, struct golden_results *r, const char *what,
                     const float *device, size_t rows, size_t stride, struct proto_error *error) {
    const size_t hidden = b->rdt->sizes.hidden;
    if (!model_backend_download(b->g->backend, b->host, device, rows * hidden * sizeof(float),
                                error))
        return false;
    double sum = 0;
    for (size_t i = 0; i < rows * hidden; i++) sum += fabs((double)b->host[i]);
    size_t kept = 0;
    for (size_t row = 0; row < rows; row += stride)
        memmove(b->host + kept++ * hidden, b->host + row * hidden, hidden * sizeof(float));
    return golden_add_double(r, &sum, 1, error, "%s.%s.sum_abs", b->part, what) &&
           golden_add(r, b->host, kept * hidden, error, "%s.%s", b->part, what);
}

// "lang.d.attn.qkv.weight", ".norm" of it, ".subK" of it.
static bool add_gradient(struct block *b, struct golden_results *r, const char *recorded,
                         struct proto_error *error) {
    char name[128] = "model.blocks.0.";
    const size_t begin = strlen(name), skip = strlen(b->part) + strlen(".d.");
    snprintf(name + begin, sizeof name - begin, "%s", recorded + skip);
    const struct model_parameter *item = model_parameters_find(b->rdt->table, name);
    char *last = strrchr(name, '.');
    size_t stride = 1;
    bool norm = false;
    if (!item && last) {
        norm = strcmp(last, ".norm") == 0;
        stride = strncmp(last, ".sub", 4) == 0 ? strtoul(last + 4, NULL, 10) : 1;
        *last = '\0';
        item = model_parameters_find(b->rdt->table, name);
    }
    if (!item || stride == 0) return true;  // reported as a tensor without a result
    if (!model_backend_download(b->g->backend, b->host, b->gradients + item->offset,
                                item->elements * sizeof(float), error))
        return false;
    double sum = 0;
    size_t kept = 0;
    for (size_t i = 0; i < item->elements; i++) sum += (double)b->host[i] * (double)b->host[i];
    for (size_t i = 0; i < item->elements; i += stride) b->host[kept++] = b->host[i];
    sum = sqrt(sum);
    return norm ? golden_add_double(r, &sum, 1, error, "%s", recorded)
                : golden_add(r, b->host, kept, error, "%s", recorded);
}

static bool add_results(struct block *b, struct golden_results *r, struct proto_error *error) {
    char prefix[16];
    snprintf(prefix, sizeof prefix, "%s.dc", b->part);
    const struct proto_tensor_info *dc = proto_safetensors_find(b->file, prefix);
    const size_t hidden = b->rdt->sizes.hidden;
    const bool whole = dc && dc->elements == b->length * hidden;
    if (!add_rows(b, r, "y", b->rdt->out, TOKENS, b->keep, error) ||
        !add_rows(b, r, "dx", b->rdt->dx, TOKENS, b->keep, error) ||
        !add_rows(b, r, "dc", b->rdt->lang.dcond, b->length, whole ? 1 : b->keep_c, error))
        return false;
    snprintf(prefix, sizeof prefix, "%s.d.", b->part);
    for (size_t i = 0; i < proto_safetensors_count(b->file); i++) {
        const char *name = proto_safetensors_at(b->file, i)->name;
        if (strncmp(name, prefix, strlen(prefix)) == 0 && !add_gradient(b, r, name, error))
            return false;
    }
    return true;
}

static bool run_part(struct block *b, struct golden_results *r, struct proto_error *error) {
    char name[64];
    snprintf(name, sizeof name, "%s.d.norm1.weight", b->part);
    const struct proto_tensor_info *wide = proto_safetensors_find(b->file, name);
    snprintf(name, sizeof name, "%s.d.attn.q_norm.weight", b->part);
    const struct proto_tensor_info *narrow = proto_safetensors_find(b->file, name);
    const size_t hidden = wide ? wide->elements : 2048, head = narrow ? narrow->elements : 64;
    const struct model_rdt_sizes sizes = {.hidden = (uint32_t)hidden,
                                          .depth = 1,
                                          .heads = (uint32_t)(hidden / head),
                                          .chunk = TOKENS - 3,
                                          .width = 1,
                                          .lang_dim = 1,
                                          .img_dim = 1,
                                          .lang_rows = b->length,
                                          .img_history = 1,
                                          .img_cameras = 1,
                                          .img_patches = 1,
                                          .epsilon = MODEL_EPSILON};
    const struct model_rdt_plan plan = {
        .batch_max = 1, .lang_max = b->length, .training = true, .recompute = b->g->recompute};
    const struct model_rdt_call call = {.batch = 1, .lang_length = b->length};
    bool done = model_rdt_open(b->g->backend, &sizes, &plan, &b->rdt, error);
    const size_t elements = done ? b->rdt->table->elements : 0;
    done =
        done && (b->weights = model_backend_alloc(b->g->backend, elements * 4, error)) != NULL &&
        (b->gradients = model_backend_alloc(b->g->backend, elements * 4, error)) != NULL &&
        (b->host = proto_alloc_array(3 * hidden * hidden + b->length * hidden, 4, error)) != NULL &&
        run(b, &call, error) && add_results(b, r, error);
    free(b->host);
    model_backend_free(b->g->backend, b->weights);
    model_backend_free(b->g->backend, b->gradients);
    model_rdt_close(&b->rdt);
    return done;
}

bool golden_block(struct golden *g, struct golden_results *r, struct proto_error *error) {
    struct proto_safetensors *file = NULL;
    double lang = 0, valid = 0, img = 0, keep = 0, keep_c = 0;
    const char *tag = json_string_value(
        json_object_get(json_object_get(json_object_get(g->info, "model"), "block"), "tag"));
    if (!tag) return proto_fail(error, PROTO_DAMAGED, "info.json: model.block.tag is not there");
    if (!golden_number(g, "model.block.lang", &lang, error) ||
        !golden_number(g, "model.block.lang_valid", &valid, error) ||
        !golden_number(g, "model.block.img", &img, error) ||
        !golden_number(g, "model.block.keep", &keep, error) ||
        !golden_number(g, "model.block.keep_c", &keep_c, error))
        return false;
    if (lang < 1 || lang > 4096 || img < 1 || img > 4096 || keep < 1 || keep_c < 1)
        return proto_fail(error, PROTO_DAMAGED, "info.json: model.block is out of range");
    if (!golden_open(g, "block2048", &file, error)) return false;
    const struct {
        const char *name;
        double length, valid;
    } parts[2] = {{"lang", lang, valid}, {"img", img, img}};
    bool done = true;
    for (size_t i = 0; done && i < 2; i++) {
        struct block block = {.g = g,
                              .file = file,
                              .tag = tag,
                              .part = parts[i].name,
                              .length = (uint32_t)parts[i].length,
                              .valid = (uint32_t)parts[i].valid,
                              .keep = (uint32_t)keep,
                              .keep_c = (uint32_t)keep_c};
        done = run_part(&block, r, error);
    }
    proto_safetensors_close(&file);
    return done;
}
