// trainer/loop.c - optimiser steps, one after the other.
#include "trainer/loop.h"

#include "trainer/validation.h"

#include <inttypes.h>
#include <math.h>

#define PROGRESS_S 0.1  // between two progress messages
#define SMOOTHING 0.1   // of the newest step in the running mean
#define EXCHANGED 4     // numbers of a rank in the small exchange

// What a step came to, equal on all ranks but for the waits.
struct step {
    double start_s, step_s;
    double loss, rate;
    struct trainer_optimizer_report report;
    double data_wait_s[TRAINER_RANKS_MAX], collective_wait_s[TRAINER_RANKS_MAX];
    double loss_scale;  // that the gradients were made with
    uint64_t ledger;
    bool stop;
};

// One batch: loss and gradients, and its entries in the ledger.
static bool micro_step(struct trainer_session *session, uint32_t micro, double *loss,
                       uint64_t *ledger, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const float scale = (float)session->state.scale.factor / (float)plan->accumulation;
    const bool last = micro + 1 == plan->accumulation;
    struct trainer_wanted wanted;
    const struct proto_batch *batch = NULL;
    struct model_rdt_call call;
    double mean = 0;
    if (!trainer_session_take(session, &wanted, &batch, error)) return false;
    for (uint32_t i = 0; i < wanted.count; i++) {
        *ledger += proto_ledger_entry(wanted.first + i, batch->samples[i]);
        if (session->ids) session->ids[micro * plan->rank_batch + i] = batch->samples[i];
    }
    bool done =
        trainer_intake_train(session->intake, batch, wanted.first, wanted.count, &call, error);
    if (done && last) call.ready = trainer_buckets_ready(&session->buckets);
    done = done && model_rdt_train(session->rdt, &call, session->state.weights,
                                   session->state.gradients, scale, &mean, error);
    trainer_session_release(session);
    *loss += mean / plan->accumulation;
    return done;
}

// Losses, waits and stops of all ranks; the loss is summed in the order of the ranks.
static bool step_exchange(struct trainer_session *session, double loss, struct step *step,
                          struct proto_error *error) {
    const uint32_t ranks = session->plan.ranks;
    const double mine[EXCHANGED] = {loss, session->data_wait_s,
                                    trainer_collective_waited_s(session->collective),
                                    proto_link_stop(session->link) != PROTO_GO_ON};
    if (!trainer_collective_gather(session->collective, mine, EXCHANGED, session->gathered,
                                   error) ||
        !trainer_collective_sum_u64(session->collective, &step->ledger, 1, error))
        return false;
    step->loss = 0;
    for (uint32_t rank = 0; rank < ranks; rank++) {
        const double *theirs = session->gathered + rank * EXCHANGED;
        step->loss += theirs[0] / ranks;
        step->data_wait_s[rank] = theirs[1];
        step->collective_wait_s[rank] = theirs[2];
        step->stop = step->stop || theirs[3] != 0;
    }
    return true;
}

// Ids of all ranks, put into the order of positions.
static bool step_gather_ids(struct trainer_session *session, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const uint32_t count = plan->rank_batch * plan->accumulation;
    double part[TRAINER_COLLECTIVE_SMALL_MAX];
    for (uint32_t first = 0; first < count; first += TRAINER_COLLECTIVE_SMALL_MAX) {
        const uint32_t left = count - first;
        const uint32_t size =
            left < TRAINER_COLLECTIVE_SMALL_MAX ? left : TRAINER_COLLECTIVE_SMALL_MAX;
        // ids are below 2^40 (proto/stream.h), a double holds them
        for (uint32_t i = 0; i < size; i++) part[i] = (double)session->ids[first + i];
        if (!trainer_collective_gather(session->collective, part, size, session->gathered, error))
            return false;
        for (uint32_t rank = 0; rank < plan->ranks; rank++)
            for (uint32_t i = 0; i < size; i++) {
                const uint32_t micro = (first + i) / plan->rank_batch;
                const uint32_t row = (first + i) % plan->rank_batch;
                session->all_ids[micro * plan->batch + rank * plan->rank_batch + row] =
                    (uint64_t)session->gathered[rank * size + i];
            }
    }
    return true;
}

// What becomes of the gradient, the same on all ranks: it and the loss are. fp16 skips a step whose
// gradient is not finite; the rate waits with the optimiser, as in the official training.
static bool step_apply(struct trainer_session *session, struct step *step,
                       struct proto_error *error) {
    struct trainer_state *state = &session->state;
    struct trainer_scale *scale = &state->scale;
    const bool finite = isfinite(step->loss);
    step->loss_scale = scale->factor;
    step->rate = trainer_schedule_rate(&session->schedule, state->step - scale->skipped);
    if (finite && !trainer_optimizer_step_scaled(state->optimizer, state->weights, state->gradients,
                                                 scale->factor, step->rate, &step->report, error))
        return false;
    if (!finite) step->report.grad_norm = NAN;
    if (!trainer_scale_update(scale, step->report.finite, error)) return false;
    if (!step->report.finite && session->plan.rank == 0)
        proto_link_say(session->link,
                       "step %" PRIu64 " is skipped: its gradient is too large for fp16 at loss "
                       "scale %g; %g from here on (%" PRIu64 " skipped so far)",
                       state->step + 1, step->loss_scale, scale->factor, scale->skipped);
    return true;
}

static bool step_run(struct trainer_session *session, struct step *step,
                     struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    struct trainer_state *state = &session->state;
    double loss = 0;
    *step = (struct step){.start_s = trainer_now_s()};
    session->data_wait_s = 0;
    if (!model_backend_fill(session->backend, state->gradients, 0,
                            state->table->elements * sizeof(float), error))
        return false;
    for (uint32_t micro = 0; micro < plan->accumulation; micro++)
        if (!micro_step(session, micro, &loss, &step->ledger, error)) return false;
    if (!trainer_buckets_finish(&session->buckets, error) ||
        !step_exchange(session, loss, step, error) ||
        (session->ids && !step_gather_ids(session, error)))
        return false;
    if (!step_apply(session, step, error) || !model_backend_wait(session->backend, error))
        return false;
    state->step++;
    state->cursor += (uint64_t)plan->batch * plan->accumulation;
    step->step_s = trainer_now_s() - step->start_s;
    return true;
}

static bool step_record(struct trainer_session *session, const struct step *step,
                        struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const size_t samples = (size_t)plan->batch * plan->accumulation;
    const struct trainer_metrics_line line = {
        .step = session->state.step,
        .cursor = session->state.cursor,
        .attempt = plan->attempt,
        .loss = step->loss,
        .learning_rate = step->rate,
        .grad_norm = step->report.grad_norm,
        .step_s = step->step_s,
        .samples_per_s = (double)samples / step->step_s,
        .data_wait_s = step->data_wait_s,
        .collective_wait_s = step->collective_wait_s,
        .ranks = plan->ranks,
        .loss_scale = session->state.scale.dynamic ? step->loss_scale : 0,
        .skipped = session->state.scale.skipped,
        .ledger = step->ledger,
        .samples = session->all_ids,
        .sample_count = samples,
    };
    return !session->metrics || trainer_metrics_append(session->metrics, &line, error);
}

// JSON has no infinity: what is not finite is null.
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static void step_progress(struct trainer_session *session, const struct step *step) {
    const struct trainer_plan *plan = &session->plan;
    const uint64_t left = plan->steps - session->state.step;
    struct trainer_feed_counters feed = {0};
    trainer_feed_counters(session->feed, &feed);
    json_t *counters = json_pack(
        "{s:I, s:I, s:o, s:f, s:f, s:f, s:f, s:f, s:f}", "step", (json_int_t)session->state.step,
        "max_steps", (json_int_t)plan->steps, "loss", number(step->loss), "learning_rate",
        step->rate, "step_s", session->smooth_step_s, "samples_per_s",
        (double)plan->batch * plan->accumulation / session->smooth_step_s, "eta_s",
        (double)left * session->smooth_step_s, "data_wait_s", step->data_wait_s[plan->rank],
        "collective_wait_s", step->collective_wait_s[plan->rank]);
    json_t *leases =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:i, s:i}", "leased", (json_int_t)feed.leased,
                  "answered", (json_int_t)feed.answered, "released", (json_int_t)feed.released,
                  "duplicates", (json_int_t)feed.duplicates, "damaged", (json_int_t)feed.damaged,
                  "loaders", (int)feed.loaders, "waiting", (int)feed.waiting);
    if (counters && leases) json_object_update(counters, leases);
    if (counters && session->state.scale.dynamic) {
        json_object_set_new(counters, "loss_scale", json_real(session->state.scale.factor));
        json_object_set_new(counters, "skipped_steps",
                            json_integer((json_int_t)session->state.scale.skipped));
    }
    json_decref(leases);
    if (counters) proto_link_progress(session->link, session->done, counters);
}

static bool loop_validate(struct trainer_session *session, struct trainer_validation *result,
                          struct proto_error *error) {
    if (!trainer_validation_run(session, result, error)) return false;
    trainer_validation_say(session, result);
    return true;
}

// Everything is on the disk before any rank leaves.
static bool loop_finish(struct trainer_session *session, struct proto_error *error) {
    if (session->saver && !trainer_saver_finish(session->saver, error)) return false;
    return trainer_collective_barrier(session->collective, error);
}

// One step and what is due behind it.
static bool loop_turn(struct trainer_session *session, struct step *step,
                      struct trainer_validation *validation, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const uint64_t number = session->state.step + 1;
    if (!step_run(session, step, error)) return proto_error_where(error, "step %" PRIu64, number);
    if (!step_record(session, step, error)) return false;
    const double old_s = session->smooth_step_s;
    session->smooth_step_s =
        old_s > 0 ? (1 - SMOOTHING) * old_s + SMOOTHING * step->step_s : step->step_s;
    if (session->saver && !trainer_saver_check(session->saver, error)) return false;
    const bool last = number >= plan->steps || step->stop;
    if ((last || number % plan->checkpoint_period == 0) &&
        !trainer_session_checkpoint(session, error))
        return false;
    const bool leaves = step->stop && number < plan->steps;
    return leaves || !trainer_order_validates(plan, number) ||
           loop_validate(session, validation, error);
}

bool trainer_loop(struct trainer_session *session, bool *stopped, struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    struct trainer_validation validation = {0};
    struct step step = {0};
    double told_s = 0;
    *stopped = false;
    if (session->state.step >= plan->steps) {
        if (plan->rank == 0)
            proto_link_say(session->link, "all %" PRIu64 " steps are done already", plan->steps);
        if (plan->validation_set > 0 && !loop_validate(session, &validation, error)) return false;
    }
    while (session->state.step < plan->steps && !*stopped) {
        if (!loop_turn(session, &step, &validation, error)) return false;
        *stopped = step.stop && session->state.step < plan->steps;
        const bool last = *stopped || session->state.step >= plan->steps;
        if (!last && trainer_now_s() - told_s < PROGRESS_S) continue;
        told_s = trainer_now_s();
        step_progress(session, &step);
    }
    if (!loop_finish(session, error)) return false;
    if (!*stopped && plan->validation_set > 0) trainer_validation_table(session, &validation);
    return true;
}
