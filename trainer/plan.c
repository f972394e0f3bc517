// trainer/plan.c - reads what a run folder says and checks that this rank can do it.
#include "trainer/plan.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

static uint32_t cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return (uint32_t)CPU_COUNT(&set);
}

static uint32_t clamp_u64(uint64_t value, uint32_t min, uint32_t max) {
    return value < min ? min : value > max ? max : (uint32_t)value;
}

static bool plan_file(const struct trainer_plan *plan, const char *name,
                      char path[static PROTO_PATH_MAX], struct proto_error *error) {
    return proto_run_path(plan->run, name, path, error);
}

// The option knows no other words.
static bool plan_devices(struct trainer_plan *plan, struct proto_error *error) {
    const struct proto_config *config = plan->config;
    const size_t ranks = config->trainer.devices.count;
    if (ranks < 1 || plan->rank >= ranks) {
        proto_fail(error, PROTO_USAGE, "there is no device for rank %u: trainer.devices has %zu",
                   plan->rank, ranks);
        return false;
    }
    plan->ranks = (uint32_t)ranks;
    plan->device = config->trainer.devices.items[plan->rank];
    const bool cpu = strcmp(plan->device, "cpu") == 0;
    if (cpu && strcmp(config->trainer.mixed_precision, "no") != 0)
        return proto_fail(error, PROTO_USAGE,
                          "trainer.mixed_precision is \"%s\", a cpu rank computes in fp32: write "
                          "mixed_precision = \"no\"",
                          config->trainer.mixed_precision);
    plan->precision = trainer_config_precision(config);
    if (config->trainer.threads > 0)
        plan->threads = (uint32_t)config->trainer.threads;
    else
        plan->threads = cores() / plan->ranks > 0 ? cores() / plan->ranks : 1;
    return true;
}

static bool plan_batches(struct trainer_plan *plan, struct proto_error *error) {
    const struct proto_config *config = plan->config;
    plan->batch = (uint32_t)config->trainer.train_batch_size;
    plan->accumulation = (uint32_t)config->trainer.gradient_accumulation_steps;
    if (plan->batch % plan->ranks != 0)
        return proto_fail(error, PROTO_USAGE,
                          "trainer.train_batch_size is %u, which does not divide by %u ranks",
                          plan->batch, plan->ranks);
    plan->rank_batch = plan->batch / plan->ranks;
    plan->validation_set = plan->index->validation_set;
    plan->validation_batch = (uint32_t)config->trainer.sample_batch_size;
    plan->rank_validation_batch = (plan->validation_batch + plan->ranks - 1) / plan->ranks;
    plan->batch_max = plan->rank_batch;
    if (plan->validation_set > 0 && plan->rank_validation_batch > plan->batch_max)
        plan->batch_max = plan->rank_validation_batch;
    if (plan->batch_max > PROTO_TICKET_SAMPLES_MAX)
        return proto_fail(error, PROTO_USAGE,
                          "a rank would take %u samples at once, at most %d: use more "
                          "trainer.gradient_accumulation_steps and a smaller batch",
                          plan->batch_max, PROTO_TICKET_SAMPLES_MAX);
    plan->window =
        clamp_u64((uint64_t)config->loader.batches_in_flight * (uint64_t)config->loader.workers,
                  TRAINER_WINDOW_MIN, TRAINER_WINDOW_MAX);
    plan->steps = (uint64_t)config->run.max_train_steps;
    plan->sample_period = (uint64_t)config->trainer.sample_period;
    plan->checkpoint_period = (uint64_t)config->trainer.checkpointing_period;
    return true;
}

static bool plan_data(struct trainer_plan *plan, struct proto_error *error) {
    const struct proto_codec *codec = plan->codec;
    const struct proto_config *config = plan->config;
    if (plan->index->train_samples < 1)
        return proto_fail(error, PROTO_DAMAGED, "index.json has no sample to train on");
    if (codec->task_count != plan->index->task_count)
        return proto_fail(error, PROTO_DAMAGED, "codec.json has %u tasks, index.json %u",
                          codec->task_count, plan->index->task_count);
    if (codec->chunk != (uint64_t)config->model.chunk_size ||
        codec->history != (uint64_t)config->model.img_history_size ||
        codec->camera_count > (uint64_t)config->model.num_cameras)
        return proto_fail(
            error, PROTO_USAGE,
            "codec.json is for %u actions, %u frames and %u cameras, [model] says "
            "%lld, %lld and %lld: index the run again",
            codec->chunk, codec->history, codec->camera_count, (long long)config->model.chunk_size,
            (long long)config->model.img_history_size, (long long)config->model.num_cameras);
    plan->training = (struct proto_stream){.seed = (uint64_t)config->run.seed,
                                           .n = plan->index->train_samples,
                                           .purpose = PROTO_PURPOSE_SHUFFLE};
    return true;
}

bool trainer_plan_read(const char *run, uint32_t rank, uint32_t attempt, struct trainer_plan *plan,
                       struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    memset(plan, 0, sizeof *plan);
    if (strlen(run) >= sizeof plan->run)
        return proto_fail(error, PROTO_USAGE, "the run folder's path is too long: %s", run);
    memcpy(plan->run, run, strlen(run) + 1);
    plan->rank = rank;
    plan->attempt = attempt;
    if (!plan_file(plan, "pipeline.toml", path, error) ||
        !proto_config_read(path, NULL, 0, &plan->config, error))
        return false;
    if (!plan_devices(plan, error)) return proto_error_where(error, "%s", path);
    plan->config_hash = proto_config_hash(plan->config);
    if (!plan_file(plan, "index.json", path, error) ||
        !proto_index_read(path, &plan->index, error) ||
        !plan_file(plan, "codec.json", path, error) || !proto_codec_read(path, &plan->codec, error))
        return false;
    if (!plan_data(plan, error) || !plan_batches(plan, error))
        return proto_error_where(error, "%s", run);
    return true;
}

void trainer_plan_free(struct trainer_plan *plan) {
    proto_config_free(&plan->config);
    proto_index_free(&plan->index);
    proto_codec_free(&plan->codec);
}

struct model_vision_settings trainer_plan_vision(const struct trainer_plan *plan) {
    const struct proto_config *config = plan->config;
    const struct proto_codec *codec = plan->codec;
    struct model_vision_settings settings = {
        .encoder = config->vision.encoder,
        .path = config->vision.path,
        .patch_grid = (uint32_t)config->vision.patch_grid,
        .patch_size = (uint32_t)config->vision.patch_size,
        .deviation = codec->image_std,
        .height = codec->image_height,
        .width = codec->image_width,
        .images_max = plan->batch_max * codec->history * (uint32_t)config->model.num_cameras,
    };
    memcpy(settings.mean, codec->image_mean, sizeof settings.mean);
    return settings;
}

enum model_precision trainer_config_precision(const struct proto_config *config) {
    const char *word = config->trainer.mixed_precision;
    if (strcmp(word, "bf16") == 0) return MODEL_BF16;
    return strcmp(word, "fp16") == 0 ? MODEL_FP16 : MODEL_F32;
}

struct model_rdt_sizes trainer_config_sizes(const struct proto_config *config) {
    return (struct model_rdt_sizes){
        .hidden = (uint32_t)config->model.hidden_size,
        .depth = (uint32_t)config->model.depth,
        .heads = (uint32_t)config->model.num_heads,
        .chunk = (uint32_t)config->model.chunk_size,
        .lang_rows = (uint32_t)config->model.max_lang_cond_len,
        .img_history = (uint32_t)config->model.img_history_size,
        .img_cameras = (uint32_t)config->model.num_cameras,
        .norm_stat =
            strcmp(config->model.norm_stat, "variance") == 0 ? MODEL_VARIANCE : MODEL_MEAN_SQUARE,
        .epsilon = MODEL_EPSILON,
    };
}

bool trainer_plan_sizes(const struct trainer_plan *plan, const struct model_language *language,
                        struct model_rdt_sizes *sizes, struct proto_error *error) {
    const struct model_vision_settings vision = trainer_plan_vision(plan);
    *sizes = trainer_config_sizes(plan->config);
    sizes->width = plan->codec->width;
    sizes->lang_dim = language->token_width;
    return model_vision_shape(&vision, &sizes->img_patches, &sizes->img_dim, error) &&
           model_rdt_sizes_check(sizes, error);
}
