// trainer/state.c - memory, start and resume of what is trained.
#include "trainer/state.h"

#include "model/weights.h"
#include "proto/files.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct trainer_optimizer_settings optimizer_settings(const struct proto_config *config) {
    return (struct trainer_optimizer_settings){
        .beta1 = config->trainer.adam_beta1,
        .beta2 = config->trainer.adam_beta2,
        .epsilon = config->trainer.adam_epsilon,
        .weight_decay = config->trainer.adam_weight_decay,
        .max_grad_norm = config->trainer.max_grad_norm,
        .ema = {.update_after_step = (uint64_t)config->trainer.ema_update_after_step,
                .inv_gamma = config->trainer.ema_inv_gamma,
                .power = config->trainer.ema_power,
                .min = config->trainer.ema_min_decay,
                .max = config->trainer.ema_max_decay},
    };
}

bool trainer_state_open(const struct trainer_plan *plan, struct model_backend *backend,
                        const struct model_parameters *table, struct trainer_state *state,
                        struct proto_error *error) {
    const struct trainer_optimizer_settings settings = optimizer_settings(plan->config);
    const size_t bytes = table->elements * sizeof(float);
    memset(state, 0, sizeof *state);
    state->backend = backend;
    state->table = table;
    state->scale = trainer_scale_start(plan->precision == MODEL_FP16);
    model_backend_purpose(backend, "weights");
    state->weights = model_backend_alloc(backend, bytes, error);
    if (!state->weights ||
        !model_backend_parameters(backend, state->weights, table->elements, error))
        return false;
    model_backend_purpose(backend, "gradients");
    state->gradients = model_backend_alloc(backend, bytes, error);
    if (!state->gradients) return false;
    model_backend_purpose(backend, "AdamW and average");
    return trainer_optimizer_open(backend, &settings, table->elements, &state->optimizer, error);
}

void trainer_state_close(struct trainer_state *state) {
    trainer_optimizer_close(&state->optimizer);
    if (state->backend) {
        model_backend_free(state->backend, state->weights);
        model_backend_free(state->backend, state->gradients);
    }
    memset(state, 0, sizeof *state);
}

bool trainer_state_start(struct trainer_state *state, const struct trainer_plan *plan,
                         struct proto_error *error) {
    const char *pretrained = plan->config->model.pretrained;
    float *host = proto_alloc_array(state->table->elements, sizeof *host, error);
    if (!host) return false;
    bool done = true;
    if (*pretrained)
        done = model_weights_read(pretrained, state->table, host, error);
    else
        model_parameters_initialise(state->table, (uint64_t)plan->config->run.seed, host);
    done = done &&
           model_backend_upload(state->backend, state->weights, host,
                                state->table->elements * sizeof *host, error) &&
           trainer_optimizer_start(state->optimizer, state->weights, error);
    free(host);
    state->step = 0;
    state->cursor = 0;
    return done;
}

// A checkpoint belongs to one configuration, one set of data and one codec.
static bool resume_belongs(const struct trainer_plan *plan,
                           const struct proto_trainer_state *header, struct proto_error *error) {
    const struct {
        const char *file, *what;
        uint64_t found, expected;
    } rows[] = {
        {"pipeline.toml", "an option that a run is bound to (seed, data, sizes of the network)",
         plan->config_hash, header->config_hash},
        {"index.json", "the data", plan->index->hash, header->index_hash},
        {"codec.json", "the codec", plan->codec->hash, header->codec_hash},
        {"pipeline.toml: run.seed", "the seed", plan->training.seed, header->seed},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (rows[i].found != rows[i].expected)
            return proto_fail(
                error, PROTO_USAGE,
                "%s is not the one this checkpoint was trained with: %s changed (%016" PRIx64
                ", the checkpoint has %016" PRIx64
                "). Restore it, or start a new run in another folder",
                rows[i].file, rows[i].what, rows[i].found, rows[i].expected);
    return true;
}

// Reads one set of tensors of a file of the checkpoint into flat.
static bool resume_read(const struct model_parameters *table, const char *checkpoint,
                        const char *name, const char *prefix, float *flat,
                        struct proto_error *error) {
    struct proto_safetensors *file = NULL;
    char *path = proto_format(error, "%s/%s", checkpoint, name);
    if (!path) return false;
    bool done = proto_safetensors_open(path, &file, error);
    if (done && !model_parameters_read(table, file, prefix, flat, error))
        done = error->where[0] ? false : proto_error_where(error, "%s", path);
    proto_safetensors_close(&file);
    free(path);
    return done;
}

bool trainer_state_resume(struct trainer_state *state, const struct trainer_plan *plan,
                          const char *checkpoint, struct proto_trainer_state *header,
                          struct proto_error *error) {
    struct trainer_snapshot host = {0};
    if (!proto_checkpoint_check(checkpoint, error) ||
        !proto_checkpoint_state_read(checkpoint, header, error))
        return false;
    if (!resume_belongs(plan, header, error)) return proto_error_where(error, "%s", checkpoint);
    const char *const moments = "optimizer.safetensors";
    bool done = trainer_snapshot_new(state->table->elements, true, &host, error) &&
                resume_read(state->table, checkpoint, moments, "master.", host.weights, error) &&
                resume_read(state->table, checkpoint, moments, "exp_avg.", host.m, error) &&
                resume_read(state->table, checkpoint, moments, "exp_avg_sq.", host.v, error) &&
                resume_read(state->table, checkpoint, "ema/model.safetensors", "", host.ema, error);
    if (done) {
        // a skipped step moved nothing
        const struct trainer_optimizer_state moved = {.step = header->step - header->skipped_steps,
                                                      .ema_counter = header->ema_counter,
                                                      .m = host.m,
                                                      .v = host.v,
                                                      .ema = host.ema};
        done = model_backend_upload(state->backend, state->weights, host.weights,
                                    state->table->elements * sizeof(float), error) &&
               trainer_optimizer_restore(state->optimizer, &moved, error) &&
               model_backend_wait(state->backend, error);
    }
    trainer_snapshot_free(&host);
    state->step = header->step;
    state->cursor = header->cursor;
    state->scale = trainer_scale_restore(plan->precision == MODEL_FP16, header->loss_scale,
                                         header->loss_scale_steps, header->skipped_steps);
    return done;
}

bool trainer_snapshot_new(size_t elements, bool whole, struct trainer_snapshot *snapshot,
                          struct proto_error *error) {
    memset(snapshot, 0, sizeof *snapshot);
    float **const parts[] = {&snapshot->weights, &snapshot->m, &snapshot->v, &snapshot->ema};
    for (size_t i = 0; i < (whole ? PROTO_COUNT(parts) : 1); i++) {
        *parts[i] = proto_alloc_array(elements, sizeof(float), error);
        if (!*parts[i]) {
            trainer_snapshot_free(snapshot);
            return false;
        }
    }
    return true;
}

void trainer_snapshot_free(struct trainer_snapshot *snapshot) {
    free(snapshot->weights);
    free(snapshot->m);
    free(snapshot->v);
    free(snapshot->ema);
    memset(snapshot, 0, sizeof *snapshot);
}

bool trainer_snapshot_take(struct trainer_snapshot *snapshot, struct trainer_state *state,
                           struct proto_error *error) {
    snapshot->step = state->step;
    snapshot->cursor = state->cursor;
    snapshot->scale = state->scale;
    if (!model_backend_download(state->backend, snapshot->weights, state->weights,
                                state->table->elements * sizeof(float), error))
        return false;
    if (!snapshot->m) return true;
    struct trainer_optimizer_state moments = {
        .m = snapshot->m, .v = snapshot->v, .ema = snapshot->ema};
    if (!trainer_optimizer_snapshot(state->optimizer, &moments, error)) return false;
    snapshot->ema_counter = moments.ema_counter;
    return true;
}

bool trainer_snapshot_agree(const struct trainer_snapshot *snapshot, size_t elements,
                            struct trainer_collective *collective, uint32_t ranks,
                            struct proto_error *error) {
    const uint64_t hash = proto_hash(snapshot->weights, elements * sizeof(float));
    // doubles hold 53 bits, so a hash travels in halves
    const double mine[] = {(double)snapshot->step, (double)snapshot->cursor, (double)(uint32_t)hash,
                           (double)(hash >> 32)};
    double all[PROTO_COUNT(mine) * TRAINER_RANKS_MAX];
    if (!trainer_collective_gather(collective, mine, PROTO_COUNT(mine), all, error)) return false;
    for (uint32_t rank = 1; rank < ranks; rank++) {
        const double *theirs = all + rank * PROTO_COUNT(mine);
        if (memcmp(all, theirs, sizeof mine) == 0) continue;
        return proto_fail(
            error, PROTO_FAILED,
            "ranks have drifted apart: rank 0 is at step %.0f, position %.0f, rank %u "
            "at step %.0f, position %.0f%s; their weights must be equal bit for bit",
            all[0], all[1], rank, theirs[0], theirs[1],
            memcmp(all, theirs, 2 * sizeof *all) == 0 ? ", with other weights" : "");
    }
    return true;
}
