// trainer/session.h - everything that one rank holds open while it trains, opened in one order and
// closed in the other: configuration, network, state, feed, collective, metrics, checkpoints.
#ifndef TRAINER_SESSION_H
#define TRAINER_SESSION_H

#include "model/sampler.h"
#include "proto/link.h"
#include "trainer/buckets.h"
#include "trainer/collective.h"
#include "trainer/feed.h"
#include "trainer/intake.h"
#include "trainer/order.h"
#include "trainer/saver.h"
#include "trainer/schedule.h"
#include "trainer/state.h"

struct trainer_session {
    struct proto_link *link;  // borrowed
    struct trainer_plan plan;
    struct model_backend *backend;
    char kernels[64];  // what the bits of the run depend on: the backend's, and the precision
    struct model_vision *vision;
    struct model_language *language;
    struct trainer_instructions instructions;
    struct model_rdt *rdt;
    struct model_sampler *sampler;  // NULL without validation
    struct trainer_state state;
    struct trainer_intake *intake;
    struct trainer_schedule schedule;
    struct trainer_feed *feed;
    struct trainer_collective *collective;
    struct trainer_buckets buckets;
    struct trainer_metrics *metrics;    // rank 0, else NULL
    struct trainer_saver *saver;        // rank 0, else NULL
    struct trainer_snapshot weights;    // the others: what ranks compare
    struct trainer_order ahead, order;  // tickets asked for; the next batch to take
    float *prediction;                  // host [rank_validation_batch, chunk, width]
    double *gathered;                   // [ranks * TRAINER_COLLECTIVE_SMALL_MAX]
    uint64_t *ids, *all_ids;            // of a step: this rank's, all; NULL without trainer.ledger
    double data_wait_s;                 // since the step began
    uint64_t done;                      // batches taken: grows with work
    double smooth_step_s;               // running mean, for the forecast
};

// Opens all of it, says what a user should know, and meets the other ranks. Close also after a
// failure.
PROTO_MUST_CHECK bool trainer_session_open(const char *run, uint32_t rank, uint32_t attempt,
                                           struct proto_link *link, struct trainer_session *session,
                                           struct proto_error *error);
void trainer_session_close(struct trainer_session *session);

// Takes the next batch in order and says what it is; the caller releases it. Asks for tickets ahead
// as far as there is room. PROTO_RESUMABLE: the rank was told to leave at once.
PROTO_MUST_CHECK bool trainer_session_take(struct trainer_session *session,
                                           struct trainer_wanted *wanted,
                                           const struct proto_batch **batch,
                                           struct proto_error *error);
void trainer_session_release(struct trainer_session *session);

// Writes a checkpoint of the state as it is, and fails when the ranks' weights differ.
PROTO_MUST_CHECK bool trainer_session_checkpoint(struct trainer_session *session,
                                                 struct proto_error *error);

double trainer_now_s(void);  // monotonic

#endif
