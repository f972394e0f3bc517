// trainer/session.c - opens and closes what a rank works with, and takes batches out of its feed.
#include "trainer/session.h"

#include "proto/checkpoint_aside.h"
#include "trainer/announce.h"
#include "trainer/expect.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TAKE_SLICE_MS 100  // between looks whether to leave

double trainer_now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// Device, encoders, network: what costs memory is said before it is taken.
static bool open_network(struct trainer_session *session, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const struct proto_config *config = plan->config;
    const struct model_vision_settings vision = trainer_plan_vision(plan);
    struct model_rdt_sizes sizes;
    if (!model_backend_open(plan->device, plan->threads, &session->backend, error) ||
        !model_backend_precision(session->backend, plan->precision, error) ||
        !model_language_open(config->language.encoder, config->language.path,
                             (uint32_t)config->language.token_dim, &session->language, error) ||
        !trainer_plan_sizes(plan, session->language, &sizes, error) ||
        !trainer_instructions_encode(session->language, plan->codec, sizes.lang_rows,
                                     &session->instructions, error))
        return false;
    const bool rounds = plan->precision != MODEL_F32;
    snprintf(session->kernels, sizeof session->kernels, "%.58s%s%s",
             model_backend_kernels(session->backend), rounds ? "+" : "",
             rounds ? config->trainer.mixed_precision : "");
    const struct model_rdt_plan network = {.batch_max = plan->batch_max,
                                           .lang_max = session->instructions.length,
                                           .training = true,
                                           .recompute = config->trainer.activation_checkpointing};
    if (!trainer_announce_memory(session, &sizes, &network, error)) return false;
    model_backend_purpose(session->backend, "activations");
    if (!model_vision_open(session->backend, &vision, &session->vision, error) ||
        !model_rdt_open(session->backend, &sizes, &network, &session->rdt, error))
        return false;
    if (plan->validation_set == 0) return true;
    const size_t floats = (size_t)plan->rank_validation_batch * sizes.chunk * sizes.width;
    session->prediction = proto_alloc_array(floats, sizeof(float), error);
    return session->prediction &&
           model_sampler_open(session->rdt, (uint32_t)config->trainer.num_inference_timesteps,
                              &session->sampler, error);
}

// Weights: of the checkpoint that run.resume means, or fresh ones.
static bool open_state(struct trainer_session *session, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    struct proto_trainer_state header = {0};
    char *checkpoint = NULL;
    if (!trainer_state_open(plan, session->backend, model_rdt_parameters(session->rdt),
                            &session->state, error) ||
        !proto_checkpoint_resolve(plan->run, plan->config->run.resume, &checkpoint, error))
        return false;
    bool done = true;
    if (checkpoint) {
        done = trainer_state_resume(&session->state, plan, checkpoint, &header, error);
        if (done) trainer_announce_resume(session, checkpoint, &header);
    } else {
        done = trainer_state_start(&session->state, plan, error);
        if (done) trainer_announce_start(session);
    }
    free(checkpoint);
    return done;
}

static bool session_cancelled(void *context) { return proto_link_stop(context) != PROTO_GO_ON; }

static void session_stop_now(void *context) {
    struct trainer_session *session = context;
    trainer_collective_abort(session->collective);
    trainer_feed_wake(session->feed);
}

// The feed first, so that loaders build while the ranks meet.
static bool open_peers(struct trainer_session *session, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    char endpoint[PROTO_PATH_MAX];
    if (!proto_run_rank_endpoint(plan->run, plan->rank, endpoint, error)) return false;
    const struct trainer_feed_settings feed = {
        .endpoint = endpoint,
        .codec = plan->codec,
        .index_hash = plan->index->hash,
        .attempt = plan->attempt,
        .batch_max = plan->batch_max,
        .window = plan->window,
        .lease_timeout_s = plan->config->loader.lease_timeout_s,
    };
    char *folder = realpath(plan->run, NULL);  // ranks may be given different names of it
    if (!folder) return proto_fail_errno(error, PROTO_USAGE, "%s", plan->run);
    const struct trainer_collective_settings collective = {
        // a rank alone adds nothing
        .backend = plan->ranks > 1 ? plan->config->collective.backend : "host",
        .name = folder,
        .rank = plan->rank,
        .size = plan->ranks,
        .epoch = plan->attempt,
        .elements_max = session->state.table->elements,
        .deadline_s = plan->config->collective.deadline_s,
        .device = session->backend,
        .cancelled = session_cancelled,
        .context = session->link,
    };
    const bool done = trainer_feed_open(&feed, &session->feed, error) &&
                      trainer_collective_open(&collective, &session->collective, error);
    free(folder);
    if (!done) return false;
    trainer_buckets_open(&session->buckets, session->backend, session->collective,
                         session->state.gradients, session->state.table->elements,
                         plan->config->collective.bucket_mib);
    proto_link_on_stop_now(session->link, session_stop_now, session);
    return true;
}

// What the run has of steps that it is about to do anew: lines of metrics.jsonl are cut off,
// checkpoints are set aside.
static bool open_history(struct trainer_session *session, size_t samples_max,
                         struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const uint64_t step = session->state.step;
    char path[PROTO_PATH_MAX];
    size_t aside = 0;
    uint64_t lines = 0;
    if (!proto_checkpoint_set_aside(plan->run, step, &aside, error)) return false;
    if (aside > 0)
        proto_link_say(session->link,
                       "notice: checkpoints behind step %" PRIu64 " are of the training before; "
                       "they are kept as checkpoint-<step>.aside",
                       step);
    if (!proto_run_path(plan->run, "metrics.jsonl", path, error) ||
        !trainer_metrics_open(path, step, plan->ranks, samples_max, &session->metrics, &lines,
                              error))
        return false;
    if (lines != step)
        proto_link_say(session->link,
                       "notice: metrics.jsonl holds %" PRIu64 " of the %" PRIu64
                       " steps up to here",
                       lines, step);
    return true;
}

// What rank 0 writes; the others keep a place for the weights that are compared.
static bool open_records(struct trainer_session *session, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const size_t elements = session->state.table->elements;
    const size_t step_samples = (size_t)plan->batch * plan->accumulation;
    const bool ledger = plan->config->trainer.ledger;
    session->gathered = proto_alloc_array((size_t)plan->ranks * TRAINER_COLLECTIVE_SMALL_MAX,
                                          sizeof *session->gathered, error);
    if (!session->gathered) return false;
    if (ledger) {
        session->ids = proto_alloc_array(step_samples, sizeof *session->ids, error);
        if (!session->ids) return false;
        session->all_ids = proto_alloc_array(step_samples, sizeof *session->all_ids, error);
        if (!session->all_ids) return false;
    }
    if (!trainer_snapshot_new(elements, false, &session->weights, error) ||
        !trainer_snapshot_take(&session->weights, &session->state, error) ||
        !trainer_snapshot_agree(&session->weights, elements, session->collective, plan->ranks,
                                error))
        return false;
    if (plan->rank != 0) return true;
    trainer_snapshot_free(&session->weights);  // the saver has its own
    if (!open_history(session, ledger ? step_samples : 0, error)) return false;
    const struct trainer_saver_settings saver = {
        .plan = plan,
        .table = session->state.table,
        .instructions = &session->instructions,
        .metrics = session->metrics,
        .link = session->link,
        .kernels = session->kernels,
    };
    // its memory is touched now: lack of it shows before the first step, and the first checkpoint
    // stalls training no longer than the others
    struct trainer_snapshot *snapshot = NULL;
    return trainer_saver_open(&saver, &session->saver, error) &&
           trainer_saver_snapshot(session->saver, &snapshot, error) &&
           trainer_snapshot_take(snapshot, &session->state, error);
}

bool trainer_session_open(const char *run, uint32_t rank, uint32_t attempt, struct proto_link *link,
                          struct trainer_session *session, struct proto_error *error) {
    memset(session, 0, sizeof *session);
    session->link = link;
    if (!trainer_plan_read(run, rank, attempt, &session->plan, error)) return false;
    const struct proto_config *config = session->plan.config;
    if (!trainer_schedule_make(config->trainer.lr_scheduler, config->trainer.learning_rate,
                               (uint64_t)config->trainer.lr_warmup_steps, session->plan.steps,
                               (double)config->trainer.lr_num_cycles, config->trainer.lr_power,
                               &session->schedule, error) ||
        !open_network(session, error) || !open_state(session, error))
        return false;
    const struct trainer_intake_settings intake = {.rdt = session->rdt,
                                                   .vision = session->vision,
                                                   .codec = session->plan.codec,
                                                   .instructions = &session->instructions,
                                                   .seed = session->plan.training.seed,
                                                   .batch_max = session->plan.batch_max};
    if (!trainer_intake_open(&intake, &session->intake, error)) return false;
    session->order = trainer_order_from(&session->plan, session->state.step, session->state.cursor);
    session->ahead = session->order;
    trainer_announce_run(session);
    trainer_expect_say(session);
    return open_peers(session, error) && open_records(session, error);
}

void trainer_session_close(struct trainer_session *session) {
    if (session->link) proto_link_on_stop_now(session->link, NULL, NULL);
    trainer_saver_close(&session->saver);
    trainer_metrics_close(&session->metrics);
    trainer_snapshot_free(&session->weights);
    trainer_collective_close(&session->collective);
    trainer_feed_close(&session->feed);
    trainer_intake_close(&session->intake);
    trainer_state_close(&session->state);
    model_sampler_close(&session->sampler);
    model_rdt_close(&session->rdt);
    model_vision_close(&session->vision);
    trainer_instructions_free(&session->instructions);
    model_language_close(&session->language);
    model_backend_close(&session->backend);
    trainer_plan_free(&session->plan);
    free(session->prediction);
    free(session->gathered);
    free(session->ids);
    free(session->all_ids);
    memset(session, 0, sizeof *session);
}

static void session_ask(struct trainer_session *session) {
    struct trainer_wanted wanted;
    while (trainer_feed_room(session->feed) && trainer_order_next(&session->ahead, &wanted))
        trainer_feed_want(session->feed, wanted.validation, wanted.first, wanted.count);
}

// A loader that sends other samples than the ticket's positions hold would spoil the run unseen.
static bool session_check(const struct trainer_session *session,
                          const struct trainer_wanted *wanted, const struct proto_batch *batch,
                          struct proto_error *error) {
    const struct proto_stream validation = {.seed = session->plan.training.seed,
                                            .n = session->plan.index->validation_samples,
                                            .purpose = PROTO_PURPOSE_VALIDATION};
    const struct proto_stream *stream = wanted->validation ? &validation : &session->plan.training;
    for (uint32_t i = 0; i < wanted->count; i++) {
        const uint64_t expected = proto_stream_sample(stream, wanted->first + i);
        if (batch->samples[i] != expected)
            return proto_fail(error, PROTO_FAILED,
                              "a loader sent sample %" PRIu64 " for position %" PRIu64
                              ", which holds %" PRIu64,
                              batch->samples[i], wanted->first + i, expected);
    }
    return true;
}

bool trainer_session_take(struct trainer_session *session, struct trainer_wanted *wanted,
                          const struct proto_batch **batch, struct proto_error *error) {
    const double start_s = trainer_now_s();
    if (!trainer_order_next(&session->order, wanted))
        return proto_fail(error, PROTO_FAILED, "the run has no further batch");
    do {
        if (proto_link_stop(session->link) == PROTO_STOP_NOW)
            return proto_fail(error, PROTO_RESUMABLE, "told to leave at once");
        session_ask(session);
        if (!trainer_feed_take(session->feed, TAKE_SLICE_MS, batch, error)) return false;
    } while (!*batch);
    session->data_wait_s += trainer_now_s() - start_s;
    session->done++;
    return session_check(session, wanted, *batch, error);
}

void trainer_session_release(struct trainer_session *session) {
    trainer_feed_release(session->feed);
    session_ask(session);
}

bool trainer_session_checkpoint(struct trainer_session *session, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const double start_s = trainer_now_s();
    struct trainer_snapshot *snapshot = &session->weights;
    if (session->saver && !trainer_saver_snapshot(session->saver, &snapshot, error)) return false;
    if (!trainer_snapshot_take(snapshot, &session->state, error) ||
        !trainer_snapshot_agree(snapshot, session->state.table->elements, session->collective,
                                plan->ranks, error))
        return false;
    if (session->saver) trainer_saver_write(session->saver, trainer_now_s() - start_s);
    return true;
}
