// trainer/saver.c - the thread that writes checkpoints.
#include "trainer/saver.h"

#include "model/encoder_config.h"
#include "model/weights.h"
#include "proto/json.h"
#include "proto/run.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SAVER_SETS 3  // of tensors in optimizer.safetensors: master weights and two moments

struct trainer_saver {
    struct trainer_saver_settings settings;
    struct trainer_snapshot snapshot;  // the loop's while `idle`, else the thread's
    json_t *config;
    struct proto_tensor_out *model, *ema, *optimizer, *language;
    char (*names)[MODEL_TENSOR_NAME_MAX];  // of the optimizer's tensors; the first third is bare
    char codec_path[PROTO_PATH_MAX], statistics_path[PROTO_PATH_MAX];
    char open_loop_path[PROTO_PATH_MAX];
    double stall_s;
    pthread_t thread;
    bool thread_runs;

    pthread_mutex_t lock;  // everything below
    pthread_cond_t changed;
    bool due, idle, closing, failed;
    struct proto_error error;  // when failed
};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void saver_describe(struct trainer_saver *saver) {
    const struct model_parameters *table = saver->settings.table;
    const struct trainer_snapshot *snapshot = &saver->snapshot;
    const struct {
        const char *prefix;
        const float *flat;
        struct proto_tensor_out *out;
    } sets[] = {
        {"", snapshot->weights, saver->model},
        {"", snapshot->ema, saver->ema},
        {"master.", snapshot->weights, saver->optimizer},
        {"exp_avg.", snapshot->m, saver->optimizer + table->count},
        {"exp_avg_sq.", snapshot->v, saver->optimizer + 2 * table->count},
    };
    for (size_t i = 0; i < PROTO_COUNT(sets); i++)
        model_parameters_tensors(table, sets[i].prefix, sets[i].flat,
                                 saver->names + i * table->count, sets[i].out);
    trainer_instructions_tensors(saver->settings.instructions, saver->language);
}

static struct proto_checkpoint saver_checkpoint(const struct trainer_saver *saver) {
    const struct trainer_plan *plan = saver->settings.plan;
    const struct trainer_scale *scale = &saver->snapshot.scale;
    const size_t count = saver->settings.table->count;
    struct proto_checkpoint checkpoint = {
        .state = {.step = saver->snapshot.step,
                  .cursor = saver->snapshot.cursor,
                  .ema_counter = saver->snapshot.ema_counter,
                  .seed = plan->training.seed,
                  .config_hash = plan->config_hash,
                  .index_hash = plan->index->hash,
                  .codec_hash = plan->codec->hash,
                  .attempt = plan->attempt,
                  .ranks = plan->ranks,
                  .threads = plan->threads,
                  .train_batch_size = plan->batch,
                  .gradient_accumulation_steps = plan->accumulation,
                  .loss_scale = scale->dynamic ? scale->factor : 0,
                  .loss_scale_steps = scale->good,
                  .skipped_steps = scale->skipped},
        .config = saver->config,
        .codec_path = saver->codec_path,
        .statistics_path = saver->statistics_path,
        .open_loop_path = saver->open_loop_path,
        .model = saver->model,
        .ema = saver->ema,
        .optimizer = saver->optimizer,
        .language = saver->language,
        .model_count = count,
        .ema_count = count,
        .optimizer_count = SAVER_SETS * count,
        .language_count = saver->settings.instructions->task_count + 1,
    };
    snprintf(checkpoint.state.kernels, sizeof checkpoint.state.kernels, "%s",
             saver->settings.kernels);
    return checkpoint;
}

// Two sets of weights and the optimizer's three; the small files do not count.
static uint64_t saver_bytes(const struct trainer_saver *saver) {
    return (2 + SAVER_SETS) * saver->settings.table->elements * sizeof(float);
}

static void saver_tell(const struct trainer_saver *saver, double wrote_s) {
    const uint64_t step = saver->snapshot.step;
    char path[PROTO_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/checkpoint-%" PRIu64, saver->settings.plan->run, step);
    proto_link_event(saver->settings.link, "checkpoint",
                     json_pack("{s:I, s:o, s:f, s:f, s:I}", "step", (json_int_t)step, "path",
                               proto_json_string(path), "seconds", wrote_s, "checkpoint_stall_s",
                               saver->stall_s, "bytes", (json_int_t)saver_bytes(saver)));
    proto_link_say(saver->settings.link,
                   "checkpoint-%" PRIu64 ": %.1f MiB written in %.2f s, training stood %.3f s",
                   step, (double)saver_bytes(saver) / (1 << 20), wrote_s, saver->stall_s);
}

// Runs on the saver's thread.
static bool saver_write(struct trainer_saver *saver, struct proto_error *error) {
    const struct trainer_plan *plan = saver->settings.plan;
    const struct proto_checkpoint checkpoint = saver_checkpoint(saver);
    const double start_s = now_s();
    if (!trainer_metrics_sync(saver->settings.metrics, error) ||
        !proto_checkpoint_write(plan->run, &checkpoint, error))
        return proto_error_where(error, "checkpoint-%" PRIu64, checkpoint.state.step);
    const double wrote_s = now_s() - start_s;
    if (saver->settings.link) saver_tell(saver, wrote_s);
    return proto_checkpoint_rotate(plan->run,
                                   (uint64_t)plan->config->trainer.checkpoints_total_limit, error);
}

static void *saver_run(void *context) {
    struct trainer_saver *saver = context;
    pthread_mutex_lock(&saver->lock);
    for (;;) {
        while (!saver->due && !saver->closing) pthread_cond_wait(&saver->changed, &saver->lock);
        if (!saver->due) break;
        pthread_mutex_unlock(&saver->lock);
        struct proto_error error = {0};
        const bool written = saver_write(saver, &error);
        pthread_mutex_lock(&saver->lock);
        saver->due = false;
        saver->idle = true;
        if (!written) {
            saver->failed = true;
            saver->error = error;
        }
        pthread_cond_broadcast(&saver->changed);
    }
    pthread_mutex_unlock(&saver->lock);
    return NULL;
}

// config.json says which encoders the network belongs to.
static bool saver_encoders(const struct trainer_plan *plan, json_t *config,
                           struct proto_error *error) {
    const struct proto_config *own = plan->config;
    struct model_encoder_config encoders = {
        .patch_grid = (uint32_t)own->vision.patch_grid,
        .patch_size = (uint32_t)own->vision.patch_size,
        .token_dim = (uint32_t)own->language.token_dim,
    };
    const struct {
        const char *text;
        char *place;
        size_t size;
    } texts[] = {
        {own->vision.encoder, encoders.vision, sizeof encoders.vision},
        {own->vision.path, encoders.vision_path, sizeof encoders.vision_path},
        {own->language.encoder, encoders.language, sizeof encoders.language},
        {own->language.path, encoders.language_path, sizeof encoders.language_path},
    };
    for (size_t i = 0; i < PROTO_COUNT(texts); i++) {
        const size_t size = strlen(texts[i].text) + 1;
        if (size > texts[i].size)
            return proto_fail(error, PROTO_USAGE, "vision.path or language.path is too long: %s",
                              texts[i].text);
        memcpy(texts[i].place, texts[i].text, size);
    }
    return model_encoder_config_store(&encoders, config, error);
}

static bool saver_prepare(struct trainer_saver *saver, struct proto_error *error) {
    const struct trainer_plan *plan = saver->settings.plan;
    const size_t count = saver->settings.table->count;
    const size_t texts = (size_t)saver->settings.instructions->task_count + 1;
    saver->model = proto_alloc_array(count, sizeof *saver->model, error);
    saver->ema = saver->model ? proto_alloc_array(count, sizeof *saver->ema, error) : NULL;
    saver->optimizer =
        saver->ema ? proto_alloc_array(SAVER_SETS * count, sizeof *saver->optimizer, error) : NULL;
    saver->language =
        saver->optimizer ? proto_alloc_array(texts, sizeof *saver->language, error) : NULL;
    saver->names = saver->language
                       ? proto_alloc_array((2 + SAVER_SETS) * count, sizeof *saver->names, error)
                       : NULL;
    if (!saver->names ||
        !trainer_snapshot_new(saver->settings.table->elements, true, &saver->snapshot, error))
        return false;
    saver->config =
        model_weights_config(&saver->settings.table->sizes,
                             (uint32_t)plan->config->trainer.num_inference_timesteps, error);
    if (!saver->config || !saver_encoders(plan, saver->config, error) ||
        !proto_run_path(plan->run, "codec.json", saver->codec_path, error) ||
        !proto_run_path(plan->run, "dataset_statistics.json", saver->statistics_path, error) ||
        !proto_run_path(plan->run, "open_loop.json", saver->open_loop_path, error))
        return false;
    saver_describe(saver);
    return true;
}

bool trainer_saver_open(const struct trainer_saver_settings *settings, struct trainer_saver **saver,
                        struct proto_error *error) {
    struct trainer_saver *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->settings = *settings;
    opened->idle = true;
    pthread_mutex_init(&opened->lock, NULL);
    pthread_cond_init(&opened->changed, NULL);
    bool done = saver_prepare(opened, error);
    if (done) {
        opened->thread_runs = pthread_create(&opened->thread, NULL, saver_run, opened) == 0;
        done = opened->thread_runs ||
               proto_fail(error, PROTO_EXHAUSTED, "no thread for writing checkpoints");
    }
    if (!done) {
        trainer_saver_close(&opened);
        return false;
    }
    *saver = opened;
    return true;
}

void trainer_saver_close(struct trainer_saver **saver) {
    struct trainer_saver *closed = *saver;
    if (!closed) return;
    pthread_mutex_lock(&closed->lock);
    closed->closing = true;
    pthread_cond_broadcast(&closed->changed);
    pthread_mutex_unlock(&closed->lock);
    if (closed->thread_runs) pthread_join(closed->thread, NULL);
    pthread_cond_destroy(&closed->changed);
    pthread_mutex_destroy(&closed->lock);
    trainer_snapshot_free(&closed->snapshot);
    json_decref(closed->config);
    free(closed->model);
    free(closed->ema);
    free(closed->optimizer);
    free(closed->language);
    free(closed->names);
    free(closed);
    *saver = NULL;
}

bool trainer_saver_finish(struct trainer_saver *saver, struct proto_error *error) {
    pthread_mutex_lock(&saver->lock);
    while (!saver->idle) pthread_cond_wait(&saver->changed, &saver->lock);
    const bool failed = saver->failed;
    if (failed) *error = saver->error;
    pthread_mutex_unlock(&saver->lock);
    return !failed;
}

bool trainer_saver_snapshot(struct trainer_saver *saver, struct trainer_snapshot **snapshot,
                            struct proto_error *error) {
    if (!trainer_saver_finish(saver, error)) return false;
    *snapshot = &saver->snapshot;
    return true;
}

void trainer_saver_write(struct trainer_saver *saver, double stall_s) {
    pthread_mutex_lock(&saver->lock);
    saver->stall_s = stall_s;
    saver->due = true;
    saver->idle = false;
    pthread_cond_broadcast(&saver->changed);
    pthread_mutex_unlock(&saver->lock);
}

bool trainer_saver_check(struct trainer_saver *saver, struct proto_error *error) {
    pthread_mutex_lock(&saver->lock);
    const bool failed = saver->failed;
    if (failed) *error = saver->error;
    pthread_mutex_unlock(&saver->lock);
    return !failed;
}
