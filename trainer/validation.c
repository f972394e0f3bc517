// trainer/validation.c - samples action chunks for the validation set and compares them.
#include "trainer/validation.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

// Adds the errors of one batch, predicted with `weights`.
static bool validation_batch(struct trainer_session *session, const struct proto_batch *batch,
                             uint32_t count, const struct model_rdt_call *call,
                             const float *weights, const float *noise, double *sum,
                             struct proto_error *error) {
    const struct proto_codec *codec = session->plan.codec;
    const size_t floats = (size_t)codec->chunk * codec->width;
    if (!model_sampler_run(session->sampler, call, weights, noise, session->prediction, error))
        return false;
    for (uint32_t i = 0; i < count; i++)
        *sum += proto_action_error(codec, session->prediction + i * floats,
                                   batch->action + i * floats, batch->steps_valid[i]);
    return true;
}

static bool validation_take(struct trainer_session *session, double sums[static 2],
                            struct proto_error *error) {
    struct trainer_wanted wanted;
    const struct proto_batch *batch = NULL;
    struct model_rdt_call call;
    const float *noise = NULL;
    if (!trainer_session_take(session, &wanted, &batch, error)) return false;
    const float *averaged = trainer_optimizer_ema(session->state.optimizer);
    const bool done =
        trainer_intake_sample(session->intake, batch, wanted.first, wanted.count, &call, &noise,
                              error) &&
        validation_batch(session, batch, wanted.count, &call, averaged, noise, &sums[0], error) &&
        validation_batch(session, batch, wanted.count, &call, session->state.weights, noise,
                         &sums[1], error);
    trainer_session_release(session);
    return done;
}

bool trainer_validation_run(struct trainer_session *session, struct trainer_validation *result,
                            struct proto_error *error) {
    const struct trainer_plan *plan = &session->plan;
    const double start_s = trainer_now_s();
    double sums[2] = {0};
    for (uint64_t first = 0; first < plan->validation_set; first += plan->validation_batch) {
        if (trainer_order_validation_slice(plan, first).count == 0) continue;
        if (!validation_take(session, sums, error)) return false;
    }
    if (!trainer_collective_sum(session->collective, sums, 2, error)) return false;
    *result = (struct trainer_validation){.policy = sums[0] / (double)plan->validation_set,
                                          .raw = sums[1] / (double)plan->validation_set,
                                          .samples = plan->validation_set,
                                          .seconds = trainer_now_s() - start_s};
    return true;
}

// JSON has no NaN: what is not known is null.
static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

void trainer_validation_say(struct trainer_session *session,
                            const struct trainer_validation *result) {
    const struct proto_index_baselines *baselines = &session->plan.index->baselines;
    if (session->plan.rank != 0) return;
    proto_link_event(session->link, "validation",
                     json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:f}", "step",
                               (json_int_t)session->state.step, "policy", number(result->policy),
                               "raw", number(result->raw), "mean_action",
                               number(baselines->mean_action), "time_mean",
                               number(baselines->time_mean), "nearest_neighbour",
                               number(baselines->nearest_neighbour), "samples",
                               (json_int_t)result->samples, "seconds", result->seconds));
    proto_link_say(session->link,
                   "step %" PRIu64 ": validation action error %.4f (raw weights %.4f; mean action "
                   "%.4f), %.1f s",
                   session->state.step, result->policy, result->raw, baselines->mean_action,
                   result->seconds);
}

void trainer_validation_table(struct trainer_session *session,
                              const struct trainer_validation *result) {
    const struct trainer_plan *plan = &session->plan;
    const struct proto_index_baselines *baselines = &plan->index->baselines;
    uint32_t episodes = 0;
    if (plan->rank != 0) return;
    for (uint32_t i = 0; i < plan->index->episode_count; i++)
        if (plan->index->episodes[i].validation) episodes++;
    const struct {
        const char *name;
        double value;
    } rows[] = {
        {"policy (averaged weights)", result->policy},
        {"policy (raw weights)", result->raw},
        {"mean action", baselines->mean_action},
        {"time-indexed mean action", baselines->time_mean},
        {"nearest neighbour on the state", baselines->nearest_neighbour},
    };
    proto_link_say(session->link,
                   "validation action error after step %" PRIu64 ": mean squared error, normalised "
                   "units (%s), %" PRIu64 " samples of %u episodes never trained on",
                   session->state.step, plan->config->data.transform, result->samples, episodes);
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        proto_link_say(session->link, "  %-32s %.4f", rows[i].name, rows[i].value);
}
