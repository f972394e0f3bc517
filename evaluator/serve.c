// evaluator/serve.c - the loop: look at the run, decide, do one thing, look again.
#include "evaluator/serve_parts.h"

#include "proto/evaluated.h"
#include "proto/files.h"
#include "proto/json.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MS 500       // while others are at work: they may die
#define LOOK_MS_MAX 5000  // a word that something is new may have been lost

// ---- checkpoints that went too early ------------------------------------------------------------

static bool is_present(const struct evaluator_serve *serve, uint64_t step) {
    for (size_t i = 0; i < serve->count; i++)
        if (serve->items[i].step == step) return true;
    return false;
}

static bool has_score(const struct evaluator_serve *serve, uint64_t step) {
    for (size_t i = 0; i < serve->board.count; i++)
        if (serve->board.scores[i].step == step) return true;
    return false;
}

static bool was_begun(const struct evaluator_serve *serve, uint64_t step) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    return proto_evaluated_path(serve->run, step, "selection/episodes.jsonl", path, &ignored) &&
           proto_path_exists(path);
}

static void tell_skipped(struct evaluator_serve *serve, uint64_t step) {
    char reason[160];
    if (was_begun(serve, step))
        snprintf(reason, sizeof reason, "it was removed while it was being evaluated");
    else
        snprintf(reason, sizeof reason,
                 "it was removed before it was evaluated (trainer.checkpoints_total_limit is "
                 "%" PRId64 ")",
                 serve->config->trainer.checkpoints_total_limit);
    proto_link_event(serve->link, "evaluation_skipped",
                     json_pack("{s:I, s:s}", "step", (json_int_t)step, "reason", reason));
    proto_link_say(serve->link, "checkpoint-%" PRIu64 " is not evaluated: %s", step, reason);
    evaluator_announced_set(&serve->announced, step, EVALUATOR_SKIPPED);
}

// One evaluator tells of them, and the events it reads back say what was told: never twice.
static bool look_for_skipped(struct evaluator_serve *serve, struct proto_error *error) {
    const struct proto_config *config = serve->config;
    if (serve->number != 0 || !proto_link_supervised(serve->link)) return true;
    if (!evaluator_announced_read(&serve->announced, serve->run, error)) return false;
    for (size_t i = 0; i < serve->count; i++)
        if (!evaluator_announced_see(&serve->announced, serve->items[i].step, error)) return false;
    for (size_t i = 0; i < serve->announced.count; i++) {
        const struct checkpoint_fate *known = &serve->announced.items[i];
        if (known->fate != EVALUATOR_WRITTEN || is_present(serve, known->step) ||
            !proto_evaluated_wanted(known->step, 0, (uint64_t)config->trainer.checkpointing_period,
                                    (uint64_t)config->evaluator.every))
            continue;
        // evaluated, but nobody heard of it; or somebody has all he needs of it in memory
        if ((!known->finished_once && has_score(serve, known->step)) ||
            evaluator_serve_others(serve->run, known->step))
            continue;
        tell_skipped(serve, known->step);
    }
    return true;
}

// ---- the loop -----------------------------------------------------------------------------------

static bool stopped(const struct evaluator_serve *serve, struct proto_error *error) {
    return proto_link_stop(serve->link) != PROTO_GO_ON &&
           !proto_fail(error, PROTO_RESUMABLE,
                       "stopped; finished episodes are kept, and the same command goes on");
}

static void wait_ms(struct evaluator_serve *serve, int ms) {
    struct pollfd set = {.fd = proto_link_descriptor(serve->link), .events = POLLIN};
    evaluator_serve_tell(serve);
    // an interrupted wait is a look too many
    if (poll(&set, 1, ms) < 0 && errno != EINTR) return;
}

static enum evaluator_serve_controls controls_of(const struct proto_config *config) {
    if (strcmp(config->evaluator.controls, "never") == 0) return EVALUATOR_NEVER;
    return strcmp(config->evaluator.controls, "all") == 0 ? EVALUATOR_ALL : EVALUATOR_BEST;
}

static struct evaluator_serve_next decide(const struct evaluator_serve *serve, bool last) {
    const struct evaluator_score *best =
        evaluator_best_choose(&serve->board, serve->present, serve->count);
    const struct evaluator_serve_run run = {
        .items = serve->items,
        .count = serve->count,
        .last = last,
        .period = (uint64_t)serve->config->trainer.checkpointing_period,
        .every = (uint64_t)serve->config->evaluator.every,
        .controls = controls_of(serve->config),
        .best_known = best != NULL,
        .best_step = best ? best->step : 0,
    };
    return evaluator_serve_next(&run);
}

static bool leave(const struct evaluator_serve *serve, struct proto_error *error) {
    // the supervisor has the events, and sees what is missing
    if (serve->failed == 0 || proto_link_supervised(serve->link)) return true;
    return proto_fail(error, PROTO_FAILED, "%u checkpoint%s could not be evaluated, see above",
                      serve->failed, serve->failed == 1 ? "" : "s");
}

static bool loop(struct evaluator_serve *serve, struct proto_error *error) {
    for (;;) {
        bool last = false;
        if (serve->pause) wait_ms(serve, LOOK_MS);
        serve->pause = false;
        if (stopped(serve, error)) return false;
        // first the lines, then the disk: what comes later wakes again
        proto_link_checkpoints(serve->link, &last);
        if (!evaluator_serve_look(serve, error) || !look_for_skipped(serve, error)) return false;
        const struct evaluator_serve_next next = decide(serve, last);
        serve->counters.waiting = next.waiting;
        switch (next.action) {
        case EVALUATOR_SERVE_EVALUATE:
            if (!evaluator_serve_evaluate(serve, next.step,
                                          controls_of(serve->config) == EVALUATOR_ALL, error))
                return false;
            break;
        case EVALUATOR_SERVE_CONTROLS:
            if (!evaluator_serve_evaluate(serve, next.step, true, error)) return false;
            break;
        case EVALUATOR_SERVE_LOOK:
            wait_ms(serve, LOOK_MS);
            break;
        case EVALUATOR_SERVE_WAIT:
            wait_ms(serve, LOOK_MS_MAX);
            break;
        case EVALUATOR_SERVE_LEAVE:
            return leave(serve, error);
        }
    }
}

// What a killed evaluator had told the board but not done.
static bool best_renew(struct evaluator_serve *serve, struct proto_error *error) {
    int lock = -1;
    if (!evaluator_scoreboard_lock(serve->run, &lock, error)) return false;
    const bool done = evaluator_serve_look(serve, error) && evaluator_serve_best(serve, error);
    close(lock);
    return done;
}

bool evaluator_serve(const struct evaluator_serve_settings *settings, struct proto_error *error) {
    struct evaluator_serve serve = {.run = settings->run,
                                    .number = settings->number,
                                    .config = settings->config,
                                    .link = settings->link,
                                    .counters = {.eta_s = -1}};
    bool done = best_renew(&serve, error);
    if (done) proto_link_ready(serve.link);
    done = done && loop(&serve, error);
    serve.counters.waiting = 0;
    if (done) evaluator_serve_tell(&serve);
    evaluator_scoreboard_free(&serve.board);
    evaluator_announced_free(&serve.announced);
    free(serve.items);
    free(serve.present);
    free(serve.left);
    return done;
}
