// evaluator/policy.c - opens the network of a checkpoint and asks it.
#include "evaluator/policy.h"

#include "evaluator/policy_files.h"
#include "model/conditions.h"
#include "model/sampler.h"
#include "proto/files.h"
#include "proto/random.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct evaluator_policy {
    struct evaluator_policy_settings settings;  // its texts are not kept
    char device[64];
    struct evaluator_policy_files files;
    struct evaluator_prompts prompts;     // of the tasks, then the empty one
    struct evaluator_policy_task *tasks;  // [task_count]
    uint32_t task_count, batch;
    struct model_backend *backend;
    struct model_vision *vision;
    struct model_rdt *rdt;
    struct model_sampler *sampler;
    struct model_conditions *conditions;
    float *weights;             // device
    struct proto_batch *rows;   // [batch]
    float *noise, *prediction;  // host [batch, chunk, width]
    double seconds;
    uint64_t computed;
};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// ---- open and tasks -----------------------------------------------------------------------------

bool evaluator_policy_open(const struct evaluator_policy_settings *settings,
                           struct evaluator_policy **policy, struct proto_error *error) {
    struct evaluator_policy *opened = proto_alloc(sizeof *opened, error);
    if (!opened) return false;
    opened->settings = *settings;
    opened->files.pin = -1;
    snprintf(opened->device, sizeof opened->device, "%s", settings->device);
    // a cpu gains nothing from wider matrices, and one row alone wastes nothing on filling up
    opened->batch = settings->batch > 0                    ? settings->batch
                    : strcmp(settings->device, "cpu") == 0 ? 1
                                                           : 16;
    bool done = opened->batch <= EVALUATOR_POLICY_BATCH_MAX ||
                proto_fail(error, PROTO_USAGE, "a batch of %u queries, at most %d", opened->batch,
                           EVALUATOR_POLICY_BATCH_MAX);
    done = done &&
           evaluator_policy_files_open(settings->checkpoint, settings->raw, &opened->files, error);
    if (done) {
        opened->prompts.width = opened->files.sizes.lang_dim;
        *policy = opened;
    } else {
        evaluator_policy_close(&opened);
    }
    return done;
}

const struct evaluator_policy_facts *evaluator_policy_facts(const struct evaluator_policy *policy) {
    return &policy->files.facts;
}

const struct evaluator_policy_task *evaluator_policy_task_at(const struct evaluator_policy *policy,
                                                             uint32_t task) {
    return &policy->tasks[task];
}

// All tasks of the codec scale alike: one set of rows, or a pooled one.
static bool rows_common(const struct proto_codec *codec) {
    const struct proto_codec_task *first = &codec->tasks[0];
    for (uint32_t t = 1; t < codec->task_count; t++) {
        const struct proto_codec_task *task = &codec->tasks[t];
        for (uint32_t i = 0; i < codec->state_count; i++)
            if (task->state[i].mean != first->state[i].mean ||
                task->state[i].scale != first->state[i].scale)
                return false;
        for (uint32_t i = 0; i < codec->action_count; i++)
            if (task->action[i].mean != first->action[i].mean ||
                task->action[i].scale != first->action[i].scale)
                return false;
    }
    return codec->task_count > 0;
}

static bool prompt_unseen(struct evaluator_policy *policy, const char *sentence,
                          struct proto_error *error) {
    const struct model_encoder_config *encoders = &policy->files.encoders;
    struct model_language *language = NULL;
    if (!rows_common(policy->files.codec))
        return proto_fail(error, PROTO_REFUSED,
                          "it was not trained on, and the codec has rows of their own for each of "
                          "its %u tasks: none is this task's (data.statistics = \"pooled\" gives "
                          "one set for all)",
                          policy->files.codec->task_count);
    bool done = model_language_open(encoders->language, encoders->language_path,
                                    encoders->token_dim, &language, error);
    if (!done) {
        // the caller goes on with other tasks
        struct proto_error reason = *error;
        return proto_fail(error, PROTO_REFUSED,
                          "it was not trained on, and its instruction cannot be encoded: %.400s",
                          reason.text);
    }
    done = language->token_width == policy->prompts.width ||
           proto_fail(error, PROTO_REFUSED, "the encoder at hand gives tokens of %u, must be %u",
                      language->token_width, policy->prompts.width);
    done = done && evaluator_prompts_encode(&policy->prompts, language, sentence,
                                            policy->files.sizes.lang_rows, error);
    model_language_close(&language);
    return done;
}

bool evaluator_policy_task(struct evaluator_policy *policy, const char *name, const char *sentence,
                           uint32_t *task, struct proto_error *error) {
    const struct proto_codec *codec = policy->files.codec;
    assert(!policy->rdt);
    for (*task = 0; *task < policy->task_count; (*task)++)
        if (strcmp(policy->tasks[*task].name, name) == 0) return true;
    uint32_t row = 0;
    while (row < codec->task_count && strcmp(codec->tasks[row].name, name) != 0) row++;
    struct evaluator_policy_task made = {.seen = row < codec->task_count};
    if (made.seen) {
        char tensor[32];
        snprintf(tensor, sizeof tensor, "task.%u", row);
        made.rows = row;
        sentence = codec->tasks[row].instruction;
        if (!evaluator_prompts_read(&policy->prompts, policy->files.facts.folder, tensor, error))
            return false;
    } else if (!prompt_unseen(policy, sentence, error)) {
        return false;
    }
    made.name = proto_format(error, "%s", name);
    made.prompt = made.name ? proto_format(error, "%s", sentence) : NULL;
    struct evaluator_policy_task *tasks =
        made.prompt ? realloc(policy->tasks, (policy->task_count + 1) * sizeof *tasks) : NULL;
    if (!tasks) {
        free(made.name);
        free(made.prompt);
        return proto_fail(error, PROTO_EXHAUSTED, "no memory for another task");
    }
    policy->tasks = tasks;
    policy->tasks[policy->task_count++] = made;
    return true;
}

// ---- the network --------------------------------------------------------------------------------

static bool open_vision(struct evaluator_policy *policy, struct proto_error *error) {
    const struct model_encoder_config *encoders = &policy->files.encoders;
    const struct proto_codec *codec = policy->files.codec;
    const struct model_rdt_sizes *sizes = &policy->files.sizes;
    struct model_vision_settings settings = {
        .encoder = encoders->vision,
        .path = encoders->vision_path,
        .patch_grid = encoders->patch_grid,
        .patch_size = encoders->patch_size,
        .deviation = codec->image_std,
        .height = codec->image_height,
        .width = codec->image_width,
        .images_max = policy->batch * sizes->img_history * sizes->img_cameras,
    };
    memcpy(settings.mean, codec->image_mean, sizeof settings.mean);
    if (!model_vision_open(policy->backend, &settings, &policy->vision, error)) return false;
    return (policy->vision->token_count == sizes->img_patches &&
            policy->vision->token_width == sizes->img_dim) ||
           proto_fail(error, PROTO_DAMAGED,
                      "%s gives %u tokens of %u, the network was trained on %u of %u",
                      encoders->vision, policy->vision->token_count, policy->vision->token_width,
                      sizes->img_patches, sizes->img_dim);
}

static bool load_weights(struct evaluator_policy *policy, struct proto_error *error) {
    const struct model_parameters *table = model_rdt_parameters(policy->rdt);
    const char *path = policy->files.facts.weights;
    const size_t bytes = table->elements * sizeof(float);
    struct proto_safetensors *file = NULL;
    policy->weights = model_backend_alloc(policy->backend, bytes, error);
    if (!policy->weights) return false;
    float *host = proto_alloc_array(table->elements, sizeof *host, error);
    if (!host) return false;
    bool done = proto_safetensors_open(path, &file, error);
    if (done)
        done = model_parameters_read(table, file, "", host, error) ||
               proto_error_where(error, "%s", path);
    proto_safetensors_close(&file);
    done = done && model_backend_upload(policy->backend, policy->weights, host, bytes, error) &&
           model_backend_wait(policy->backend, error);
    free(host);
    return done;
}

bool evaluator_policy_start(struct evaluator_policy *policy, struct proto_error *error) {
    const struct proto_codec *codec = policy->files.codec;
    const size_t floats = (size_t)policy->batch * codec->chunk * codec->width;
    assert(!policy->rdt);
    if (!evaluator_prompts_read(&policy->prompts, policy->files.facts.folder, "empty", error) ||
        !evaluator_prompts_pack(&policy->prompts, error))
        return false;
    const struct model_rdt_plan plan = {.batch_max = policy->batch,
                                        .lang_max = policy->prompts.length};
    if (!model_backend_open(policy->device, policy->settings.threads, &policy->backend, error) ||
        !open_vision(policy, error) ||
        !model_rdt_open(policy->backend, &policy->files.sizes, &plan, &policy->rdt, error) ||
        !load_weights(policy, error) ||
        !model_sampler_open(policy->rdt, policy->files.solver_steps, &policy->sampler, error))
        return false;
    const struct model_conditions_settings conditions = {
        .rdt = policy->rdt,
        .vision = policy->vision,
        .codec = codec,
        .texts = {.count = policy->task_count,
                  .length = policy->prompts.length,
                  .width = policy->prompts.width,
                  .tokens = policy->prompts.packed,
                  .mask = policy->prompts.mask},
        .batch_max = policy->batch,
    };
    return model_conditions_open(&conditions, &policy->conditions, error) &&
           proto_batch_new(codec, policy->batch, &policy->rows, error) &&
           (policy->noise = proto_alloc_array(floats, sizeof(float), error)) &&
           (policy->prediction = proto_alloc_array(floats, sizeof(float), error));
}

void evaluator_policy_close(struct evaluator_policy **policy) {
    struct evaluator_policy *closed = *policy;
    if (!closed) return;
    model_conditions_close(&closed->conditions);
    model_sampler_close(&closed->sampler);
    model_rdt_close(&closed->rdt);
    model_vision_close(&closed->vision);
    if (closed->backend) model_backend_free(closed->backend, closed->weights);
    model_backend_close(&closed->backend);
    proto_batch_free(&closed->rows);
    free(closed->noise);
    free(closed->prediction);
    for (uint32_t i = 0; i < closed->task_count; i++) {
        free(closed->tasks[i].name);
        free(closed->tasks[i].prompt);
    }
    free(closed->tasks);
    evaluator_prompts_free(&closed->prompts);
    evaluator_policy_files_close(&closed->files);
    free(closed);
    *policy = NULL;
}

// ---- prediction ---------------------------------------------------------------------------------

uint64_t evaluator_policy_noise(const char *task, uint32_t row, uint32_t step) {
    const uint64_t key[] = {proto_hash(task, strlen(task)), row, step};
    return proto_hash(key, sizeof key);
}

// Row i of the batch from a query.
static bool fill_row(struct evaluator_policy *policy, const struct evaluator_query *query,
                     uint32_t i, struct proto_error *error) {
    const struct proto_codec *codec = policy->files.codec;
    const uint64_t floats = (uint64_t)codec->chunk * codec->width;
    const struct evaluator_policy_task *task = &policy->tasks[query->task];
    assert(query->task < policy->task_count);
    if (!proto_sample_build(codec, task->rows, query->history, NULL, 0, policy->rows, i, error))
        return proto_error_where(error, "%s", task->name);
    policy->rows->task[i] = query->task;  // from here on it chooses the prompt
    struct proto_random random =
        proto_random_at(policy->settings.seed, PROTO_PURPOSE_SAMPLING, query->noise);
    proto_random_normal(&random, policy->noise + i * floats, floats);
    return true;
}

static bool predict_batch(struct evaluator_policy *policy, const struct evaluator_query *queries,
                          uint32_t count, struct proto_error *error) {
    const struct proto_codec *codec = policy->files.codec;
    const size_t floats = (size_t)codec->chunk * codec->width;
    for (uint32_t i = 0; i < policy->batch; i++)
        if (!fill_row(policy, &queries[i < count ? i : 0], i, error)) return false;
    const struct model_rdt_call call = {.batch = policy->batch,
                                        .lang_length = policy->prompts.length,
                                        .ctrl_freq = policy->rows->ctrl_freq,
                                        .img_shared = model_conditions_absent(policy->conditions)};
    if (!model_conditions_fill(policy->conditions, policy->rows, policy->batch, error) ||
        !model_sampler_run(policy->sampler, &call, policy->weights, policy->noise,
                           policy->prediction, error))
        return false;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t step = 0; step < codec->chunk; step++)
            proto_codec_decode_action(codec, policy->tasks[queries[i].task].rows,
                                      policy->prediction + i * floats + step * codec->width,
                                      queries[i].actions + (size_t)step * codec->action_count);
    return true;
}

bool evaluator_policy_predict(struct evaluator_policy *policy,
                              const struct evaluator_query *queries, uint32_t count,
                              struct proto_error *error) {
    const double start_s = now_s();
    assert(policy->rows);
    for (uint32_t first = 0; first < count; first += policy->batch) {
        const uint32_t left = count - first;
        if (!predict_batch(policy, queries + first, left < policy->batch ? left : policy->batch,
                           error))
            return false;
    }
    policy->computed += count;
    policy->seconds += now_s() - start_s;
    return true;
}

void evaluator_policy_cost(const struct evaluator_policy *policy, double *seconds, uint64_t *rows) {
    *seconds = policy->seconds;
    *rows = policy->computed;
}

const float *evaluator_policy_encoded(const struct evaluator_policy *policy) {
    return policy->prediction;
}
