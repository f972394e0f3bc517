// tests/model/rdt_golden.c - the program `rdt_golden [--device cuda:0] [--recompute] DIR`: checks a
// folder of recorded tensors of the official network (layout as in goldens/rdt) against this
// implementation, group by group, and says for each the largest errors beside the tolerance.
//
// Tolerances follow from fp32: u = 6e-8 is one rounding. Rounding of a sum of n terms of mixed
// signs grows with sqrt(n) u, and errors of successive layers add; measured against fp64 at hidden
// 64 and depth 4 that is 5 to 50 u for values and up to 300 u for gradients that pass small norms,
// with a factor 3 to 5 of room. For larger networks tolerances grow with sqrt(hidden * depth).
#include "tests/model/golden.h"

#include "proto/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct golden_class forward_classes[] = {
    {"gradients d.*", "d.", 2e-5, 0},
    {"loss", "loss", 3e-6, 0},
    {"noisy_action", "noisy_action", 5e-7, 0},
    {"pred", "pred", 2e-6, 0},
    {"intermediates", "", 1e-5, 0},
};
// the timestep's sinusoid differs from the reference by one unit of one frequency
static const struct golden_class gradient_classes[] = {
    {"t_embedder", "t_embedder", 1e-4, 0},
    {"loss, norm", "loss", 3e-6, 0},
    {"norm", "accum_norm", 3e-6, 0},
    {"gradients", "", 2e-5, 0},
};
static const struct golden_class mean_square_classes[] = {
    {"t_embedder", "t_embedder", 1e-4, 0},
    {"loss", "loss", 3e-6, 0},
    {"gradients", "d.", 2e-5, 0},
    {"values", "", 1e-5, 0},
};
static const struct golden_class optim_classes[] = {
    {"decay", "ema_decay", 2e-7, 0},
    {"loss", "loss", 3e-6, 0},
    {"norm", "grad_norm", 3e-6, 0},
    {"weights", "final.", 5e-6, 0},
    {"moments of t_embedder", "t_embedder", 1e-4, 0},
    {"moments", "", 2e-5, 0},
};
static const struct golden_class strong_classes[] = {
    {"decay", "ema_decay", 2e-7, 0},
    {"loss, norm", "strong.loss", 2e-5, 0},
    {"norm", "grad_norm", 2e-5, 0},
    {"weights", "", 2e-4, 0},
};
static const struct golden_class ema_classes[] = {{"weights", "", 5e-6, 0}};
static const struct golden_class sampler_classes[] = {
    {"timesteps", ".t", 0, 0},
    {"values", "", 3e-6, 0},
};
static const struct golden_class schedule_classes[] = {
    {"timesteps", "timesteps", 0, 0},
    {"sigmas", "sigmas", 2e-7, 0},
    {"coefficients", "coef_", 1e-6, 0},
    {"sinusoid", "sinusoid.rows", 0, 7e-5},
    {"tables", "", 2e-7, 0},
};
static const struct golden_class init_classes[] = {{"tables", "", 2e-7, 0}};
static const struct golden_class block_classes[] = {{"values", "", 5e-6, 0}};

const struct golden_group golden_groups[] = {
    {"forward", "forward", true, golden_forward, forward_classes, "", NULL},
    {"grads", "grads", true, golden_grads, gradient_classes, "", NULL},
    {"mean_square", "mean_square", true, golden_mean_square, mean_square_classes, "", NULL},
    {"optim", "optim", true, golden_optim, optim_classes, "", "strong."},
    {"strong", "optim", true, golden_strong, strong_classes, "strong.", NULL},
    {"ema", "ema", true, golden_ema, ema_classes, "", NULL},
    {"parallel", "parallel", true, golden_parallel, gradient_classes, "", NULL},
    {"sampler", "sampler", true, golden_sampler, sampler_classes, "", NULL},
    {"schedule", "schedule", false, golden_schedule, schedule_classes, "", NULL},
    {"init", "init", false, golden_init, init_classes, "", NULL},
    {"block2048", "block2048", false, golden_block, block_classes, "", NULL},
};
const size_t golden_group_count = PROTO_COUNT(golden_groups);

// ---- comparing ----

// "sub7.name" is stride 7 of "name".
static const char *plain_name(const char *name, size_t *stride) {
    unsigned long k = 0;
    int used = 0;
    *stride = 1;
    if (sscanf(name, "sub%lu.%n", &k, &used) != 1 || used == 0 || k == 0) return name;
    *stride = k;
    return name + used;
}

// Is the tensor one of the group's? Prefixes are of the plain name.
static bool belongs(const struct golden_group *group, const char *plain) {
    if (strncmp(plain, group->only, strlen(group->only)) != 0) return false;
    return !group->except || strncmp(plain, group->except, strlen(group->except)) != 0;
}

struct worst {
    uint32_t tensors;
    double absolute, relative;
    double ratio;  // error / tolerance
    char name[128];
};

// Errors of one tensor into `worst`. A wrong size or a NaN is an infinite error.
static void compare(const float *found, size_t count, const float *recorded, size_t recorded_count,
                    size_t stride, const struct golden_class *class, double growth,
                    const char *name, struct worst *worst) {
    double absolute = 0, largest = 0;
    if ((count + stride - 1) / stride != recorded_count) absolute = INFINITY;
    for (size_t i = 0; i < recorded_count && isfinite(absolute); i++) {
        const double off = fabs((double)found[i * stride] - (double)recorded[i]);
        if (!(off <= absolute)) absolute = isnan(off) ? (double)INFINITY : off;
        if (fabs((double)recorded[i]) > largest) largest = fabs((double)recorded[i]);
    }
    const double relative = largest > 0 ? absolute / largest : absolute > 0 ? INFINITY : 0;
    const double tolerance =
        class->absolute > 0 ? class->absolute : class->relative * growth * largest;
    const double ratio = tolerance > 0 ? absolute / tolerance : absolute > 0 ? INFINITY : 0;
    worst->tensors++;
    if (absolute > worst->absolute) worst->absolute = absolute;
    if (relative > worst->relative) worst->relative = relative;
    if (ratio > worst->ratio || worst->name[0] == '\0') {
        worst->ratio = ratio;
        snprintf(worst->name, sizeof worst->name, "%s", name);
    }
}

static bool compare_file(struct golden *g, const struct golden_group *group,
                         const struct proto_safetensors *file, const struct golden_results *results,
                         uint32_t *tensors, struct proto_error *error) {
    struct worst worst[16] = {0};
    bool passed = true;
    for (size_t i = 0; i < proto_safetensors_count(file); i++) {
        const char *name = proto_safetensors_at(file, i)->name;
        size_t stride = 1;
        const char *plain = plain_name(name, &stride);
        if (!belongs(group, plain)) continue;
        ++*tensors;
        const struct golden_result *result = golden_find(results, plain);
        if (!result) {
            printf("  %-10s %-24s recorded, but there is no such result\n", group->name, name);
            passed = false;
            continue;
        }
        size_t k = 0;
        while (!strstr(plain, group->classes[k].contains)) k++;
        float *recorded = NULL;
        size_t count = 0;
        if (!golden_read(file, name, &recorded, &count, error)) return false;
        compare(result->data, result->count, recorded, count, stride, &group->classes[k],
                group->network ? g->growth : 1, name, &worst[k]);
        free(recorded);
    }
    for (size_t k = 0; k < PROTO_COUNT(worst); k++) {
        if (worst[k].tensors == 0) continue;
        const struct golden_class *class = &group->classes[k];
        const double growth = group->network ? g->growth : 1;
        const bool good = worst[k].ratio <= 1;
        printf("  %-22s %4u tensors  abs %8.2e  rel %8.2e  tolerance %s %7.1e  %5.1f %% of it: "
               "%s%s\n",
               class->label, worst[k].tensors, worst[k].absolute, worst[k].relative,
               class->absolute > 0 ? "abs" : "rel",
               class->absolute > 0 ? class->absolute : class->relative * growth,
               100 * worst[k].ratio, worst[k].name, good ? "" : "  FAILED");
        if (!good) passed = false;
    }
    return passed || proto_fail(error, PROTO_FAILED, "errors above the tolerance");
}

static void skip(struct golden *g, const char *name, const char *why) {
    printf("%-12s skipped: %s\n", name, why);
    g->skipped++;
}

static void run_group(struct golden *g, const struct golden_group *group) {
    struct proto_error error = {0};
    struct proto_safetensors *file = NULL;
    struct golden_results results = {0};
    uint32_t tensors = 0, expected = 0;
    bool passed = golden_open(g, group->file, &file, &error);
    if (passed && !file) {
        skip(g, group->name, "the folder has no such file");
        return;
    }
    for (size_t i = 0; passed && i < proto_safetensors_count(file); i++) {
        size_t stride = 1;
        expected += belongs(group, plain_name(proto_safetensors_at(file, i)->name, &stride));
    }
    if (passed && expected == 0) {
        skip(g, group->name, "the file has no tensor of it");
        proto_safetensors_close(&file);
        return;
    }
    if (passed && group->network && (!g->weights || !g->batches)) {
        skip(g, group->name, "it needs weights.safetensors and batches.safetensors");
        proto_safetensors_close(&file);
        return;
    }
    printf("%s\n", group->name);
    passed = passed && group->run(g, &results, &error) &&
             compare_file(g, group, file, &results, &tensors, &error);
    if (passed)
        g->passed++;
    else {
        printf("%-12s FAILED: %s%s%s\n", group->name, error.where, *error.where ? ": " : "",
               error.text);
        g->failed++;
    }
    golden_results_free(&results);
    proto_safetensors_close(&file);
}

// ---- opening ----

static bool read_sizes(struct golden *g, struct proto_error *error) {
    uint32_t lang_rows = 0;
    struct {
        const char *path;
        uint32_t *value;
    } rows[] = {
        {"model.hidden", &g->sizes.hidden},
        {"model.depth", &g->sizes.depth},
        {"model.heads", &g->sizes.heads},
        {"model.horizon", &g->sizes.chunk},
        {"model.lang_dim", &g->sizes.lang_dim},
        {"model.img_dim", &g->sizes.img_dim},
        {"model.grid.0", &g->sizes.img_history},
        {"model.grid.1", &g->sizes.img_cameras},
        {"model.grid.2", &g->sizes.img_patches},
        {"model.max_lang", &lang_rows},
        {"model.batch", &g->batch},
        {"model.lang_len", &g->lang_length},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        double value = 0;
        if (!golden_number(g, rows[i].path, &value, error)) return false;
        if (!(value >= 1 && value <= 1e6))
            return proto_fail(error, PROTO_DAMAGED, "info.json: %s is %g", rows[i].path, value);
        *rows[i].value = (uint32_t)value;
    }
    if (g->batch > GOLDEN_BATCHES_MAX)
        return proto_fail(error, PROTO_DAMAGED, "info.json: model.batch is %u, must be 1..%d",
                          g->batch, GOLDEN_BATCHES_MAX);
    g->sizes.lang_rows = lang_rows;
    g->sizes.epsilon = MODEL_EPSILON;
    g->sizes.width = 128;  // state and action of the official network, unless the batches differ
    const struct proto_tensor_info *state =
        g->batches ? proto_safetensors_find(g->batches, "step0.state") : NULL;
    if (state && state->dimensions > 0)
        g->sizes.width = (uint32_t)state->shape[state->dimensions - 1];
    const double size = (double)g->sizes.hidden * g->sizes.depth / (64.0 * 4);
    g->growth = size > 1 ? sqrt(size) : 1;
    return true;
}

static bool open_network(struct golden *g, struct proto_error *error) {
    if (!model_parameters_new(&g->sizes, &g->table, error)) return false;
    if (!g->weights || !g->batches) return true;
    const size_t bytes = g->table->elements * sizeof(float);
    const struct model_rdt_plan plan = {.batch_max = g->batch,
                                        .lang_max = g->lang_length,
                                        .training = true,
                                        .recompute = g->recompute};
    return (g->initial = proto_alloc(bytes, error)) != NULL &&
           model_parameters_read(g->table, g->weights, "", g->initial, error) &&
           (g->device = model_backend_alloc(g->backend, bytes, error)) != NULL &&
           (g->gradients = model_backend_alloc(g->backend, bytes, error)) != NULL &&
           model_rdt_open(g->backend, &g->sizes, &plan, &g->rdt, error);
}

static bool open_folder(struct golden *g, struct proto_error *error) {
    char *path = proto_format(error, "%s/info.json", g->folder);
    if (!path) return false;
    g->info = proto_json_read(path, 1 << 20, error);
    free(path);
    return g->info && model_backend_open(g->device_name, 0, &g->backend, error) &&
           golden_open(g, "weights", &g->weights, error) &&
           golden_open(g, "batches", &g->batches, error) && read_sizes(g, error) &&
           open_network(g, error);
}

static void close_folder(struct golden *g) {
    model_rdt_close(&g->rdt);
    if (g->backend) {
        model_backend_free(g->backend, g->device);
        model_backend_free(g->backend, g->gradients);
    }
    model_backend_close(&g->backend);
    free(g->initial);
    model_parameters_free(&g->table);
    proto_safetensors_close(&g->weights);
    proto_safetensors_close(&g->batches);
    json_decref(g->info);
}

int main(int count, char **arguments) {
    struct proto_error error = {0};
    struct golden golden = {.device_name = "cpu"};
    int next = 1;
    if (next + 1 < count && strcmp(arguments[next], "--device") == 0) {
        golden.device_name = arguments[next + 1];
        next += 2;
    }
    if (next < count && strcmp(arguments[next], "--recompute") == 0) {
        golden.recompute = true;
        next++;
    }
    if (next + 1 != count) {
        fprintf(stderr, "usage: rdt_golden [--device cpu|cuda:N] [--recompute] DIR\n");
        return PROTO_USAGE;
    }
    golden.folder = arguments[next];
    if (!open_folder(&golden, &error)) {
        close_folder(&golden);
        return proto_error_print("rdt_golden", &error);
    }
    printf("kernels %s, %u threads\n", model_backend_kernels(golden.backend),
           model_backend_threads(golden.backend));
    for (size_t i = 0; i < golden_group_count; i++) run_group(&golden, &golden_groups[i]);
    skip(&golden, "official_save", "there is no reader of pickled weights yet");
    printf("%u passed, %u failed, %u skipped\n", golden.passed, golden.failed, golden.skipped);
    const bool good = golden.failed == 0 && golden.passed > 0;
    close_folder(&golden);
    return good ? PROTO_DONE : PROTO_FAILED;
}
