// evaluator/serve_checkpoint.c - the evaluation of one checkpoint of a run, and what is told of it.
#include "evaluator/serve_parts.h"

#include "evaluator/evaluation.h"
#include "evaluator/video.h"
#include "proto/checkpoint.h"
#include "proto/evaluated.h"
#include "proto/files.h"
#include "proto/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define VIDEOS 1  // of each task: the first start that is reported

enum { SELECTION, REPORTED, LISTS };

struct attempt {
    struct evaluator_serve *serve;
    uint64_t step, hash;
    bool hash_known, controls, alone;
    char checkpoint[PROTO_PATH_MAX], folders[LISTS][PROTO_PATH_MAX], videos[PROTO_PATH_MAX];
    int lock, pin;
    double start_s;
    struct evaluator_results *results[LISTS];
    bool complete[LISTS];
};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

// ---- what is told while it runs -----------------------------------------------------------------

static json_t *step_json(bool known, uint64_t step) {
    return known ? json_integer((json_int_t)step) : json_null();
}

void evaluator_serve_tell(struct evaluator_serve *serve) {
    const struct evaluator_serve_counters *now = &serve->counters;
    const struct evaluator_score *newest =
        serve->board.count > 0 ? &serve->board.scores[serve->board.count - 1] : NULL;
    const struct evaluator_score *best =
        evaluator_best_choose(&serve->board, serve->present, serve->count);
    const double rate = newest && newest->policy.episodes > 0
                            ? (double)newest->policy.successes / newest->policy.episodes
                            : 0;
    proto_link_progress(
        serve->link, now->flown,
        json_pack("{s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "evaluating",
                  step_json(now->evaluating, now->step), "episode", (json_int_t)now->episode,
                  "episodes", (json_int_t)now->episodes, "waiting", (json_int_t)now->waiting,
                  "success_step", step_json(newest, newest ? newest->step : 0), "success_rate",
                  newest ? json_real(rate) : json_null(), "successes",
                  step_json(newest, newest ? newest->policy.successes : 0), "success_episodes",
                  step_json(newest, newest ? newest->policy.episodes : 0), "best_step",
                  step_json(best, best ? best->step : 0), "eta_s",
                  now->eta_s >= 0 ? json_real(now->eta_s) : json_null()));
}

static void progress(void *context, const struct evaluator_progress *seen) {
    const struct attempt *attempt = context;
    const struct proto_config *config = attempt->serve->config;
    struct evaluator_serve_counters *now = &attempt->serve->counters;
    const double episode_s = seen->left_s >= 0 && seen->total > seen->done
                                 ? seen->left_s / (seen->total - seen->done)
                                 : (now->eta_s >= 0 && now->episodes > now->episode
                                        ? now->eta_s / ((double)now->episodes - now->episode +
                                                        (double)now->waiting * now->episodes)
                                        : -1);
    now->flown++;
    now->episode = now->before + seen->done;
    now->episodes = now->before + seen->total;
    // the second list is planned when the first is through; it has the same tasks
    if (now->before == 0)
        now->episodes +=
            (uint32_t)((uint64_t)seen->total * (uint64_t)config->evaluator.episodes_per_task *
                       (attempt->controls ? EVALUATOR_PILOTS : 1) / EVALUATOR_SELECTION_ROWS);
    now->eta_s = episode_s < 0 ? -1
                               : episode_s * ((double)now->episodes - now->episode +
                                              (double)now->waiting * now->episodes);
    evaluator_serve_tell(attempt->serve);
}

static bool stop(void *context) {
    const struct attempt *attempt = context;
    return proto_link_stop(attempt->serve->link) != PROTO_GO_ON;
}

// A checkpoint of the same step may have taken the place of the one that was looked at.
static bool accept(void *context, const struct evaluator_policy_facts *facts,
                   struct proto_error *error) {
    const struct attempt *attempt = context;
    return facts->checkpoint_hash == attempt->hash ||
           proto_fail(error, PROTO_FAILED, "the checkpoint was replaced meanwhile");
}

static void video_dropped(void *context, const struct proto_error *error) {
    const struct attempt *attempt = context;
    char text[1400];
    snprintf(text, sizeof text, "%s%s%s", error->where, error->where[0] != '\0' ? ": " : "",
             error->text);
    proto_link_event(attempt->serve->link, "video_dropped",
                     json_pack("{s:I, s:o}", "step", (json_int_t)attempt->step, "error",
                               proto_json_string(text)));
    proto_link_say(attempt->serve->link,
                   "checkpoint-%" PRIu64 ": no video, the evaluation goes on: %s", attempt->step,
                   text);
}

// ---- the two lists of start states --------------------------------------------------------------

// On a cpu that trains too, one thread; else the workers share the cores.
static uint32_t threads(const struct proto_config *config) {
    const long cores = sysconf(_SC_NPROCESSORS_ONLN), workers = (long)config->evaluator.workers;
    if (strcmp(config->evaluator.device, "cpu") != 0) return 0;
    if (strcmp(config->trainer.devices.items[0], "cpu") == 0) return 1;
    return cores > workers ? (uint32_t)(cores / workers) : 1;
}

// Actions executed of each chunk: as configured, but no more than there are.
static uint32_t horizon(const struct proto_config *config) {
    const int64_t chunk = config->model.chunk_size, wanted = config->evaluator.exec_horizon;
    return (uint32_t)(wanted > chunk ? chunk : wanted);
}

static bool list_run(struct attempt *attempt, int list, struct proto_error *error) {
    const struct proto_config *config = attempt->serve->config;
    struct evaluator_video *video = NULL;
    struct evaluator_cinema cinema;
    struct evaluator_evaluation evaluation = {
        .checkpoint = attempt->checkpoint,
        .folder = attempt->folders[list],
        .renew = attempt->alone,
        .libero = config->libero.root,
        .benchmark = config->evaluator.benchmark,
        .tasks = (const char *const *)config->evaluator.tasks.items,
        .task_count = config->evaluator.tasks.count,
        .row_first = list == SELECTION ? 0 : EVALUATOR_SELECTION_ROWS,
        .row_count = list == SELECTION ? EVALUATOR_SELECTION_ROWS
                                       : (uint32_t)config->evaluator.episodes_per_task,
        .environments = (uint32_t)config->evaluator.environments,
        .max_steps = (uint32_t)config->evaluator.max_steps,
        .settle_steps = (uint32_t)config->evaluator.settle_steps,
        .exec_horizon = horizon(config),
        .seed = (uint64_t)config->evaluator.seed,
        .controls = list == REPORTED && attempt->controls,
        .device = config->evaluator.device,
        .render = "auto",
        .threads = threads(config),
        .context = attempt,
        .progress = progress,
        .stop = stop,
        .accept = accept,
    };
    const struct evaluator_video_settings filming = {.folder = attempt->videos,
                                                     .render = evaluation.render,
                                                     .episodes = VIDEOS,
                                                     .row_first = evaluation.row_first,
                                                     .dropped = video_dropped,
                                                     .context = attempt};
    if (list == REPORTED && config->evaluator.record_video) {
        struct proto_error why = {0};
        if (evaluator_video_open(&filming, &video, &why)) {
            cinema = evaluator_video_cinema(video);
            evaluation.cinema = &cinema;
        } else {
            video_dropped(attempt, &why);
        }
    }
    const bool done = evaluator_evaluation_run(&evaluation, &attempt->results[list],
                                               &attempt->complete[list], error);
    evaluator_video_close(&video);
    return done;
}

// Outcomes of nothing are no evaluation: the reason of the first task is that of the checkpoint.
static bool any_evaluated(const struct attempt *attempt, int list, struct proto_error *error) {
    const struct evaluator_results *results = attempt->results[list];
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    if (!attempt->complete[list]) return true;
    if (evaluator_results_tally(results, UINT32_MAX, EVALUATOR_POLICY).episodes > 0) return true;
    if (snprintf(path, sizeof path, "%s/results.json", attempt->folders[list]) < (int)sizeof path &&
        !proto_folder_remove(path, &ignored))
        return proto_fail(error, PROTO_FAILED, "%s", ignored.text);
    const char *reason = results->task_count > 0 ? results->tasks[0].reason : NULL;
    proto_fail(error, PROTO_REFUSED, "%.700s", reason ? reason : "it has no task to be evaluated");
    return results->task_count == 0 || proto_error_where(error, "%s", results->tasks[0].task);
}

static bool lists_run(struct attempt *attempt, struct proto_error *error) {
    struct evaluator_serve_counters *now = &attempt->serve->counters;
    for (int list = 0; list < LISTS; list++) {
        if (!list_run(attempt, list, error) || !any_evaluated(attempt, list, error)) return false;
        if (list == SELECTION) now->before = attempt->results[list]->episode_count;
    }
    return true;
}

// ---- what came of it ----------------------------------------------------------------------------

static struct evaluator_count count_of(const struct evaluator_results *results,
                                       enum evaluator_pilot pilot) {
    const struct evaluator_tally tally = evaluator_results_tally(results, UINT32_MAX, pilot);
    return (struct evaluator_count){tally.successes, tally.episodes};
}

static struct evaluator_score score_of(const struct attempt *attempt) {
    const struct evaluator_results *reported = attempt->results[REPORTED];
    const struct evaluator_tally tally =
        evaluator_results_tally(reported, UINT32_MAX, EVALUATOR_POLICY);
    struct evaluator_score score = {
        .step = attempt->step,
        .checkpoint_hash = attempt->hash,
        .policy = {tally.successes, tally.episodes},
        .selection = count_of(attempt->results[SELECTION], EVALUATOR_POLICY),
        .controls = attempt->controls,
        .open_loop = count_of(reported, EVALUATOR_OPEN_LOOP),
        .blind = count_of(reported, EVALUATOR_BLIND),
        .interval95 = {tally.interval95[0], tally.interval95[1]},
        .wall_s = now_s() - attempt->start_s,
    };
    for (uint32_t t = 0; t < reported->task_count; t++)
        score.not_evaluated += reported->tasks[t].reason != NULL;
    return score;
}

static void say_score(const struct attempt *attempt, const struct evaluator_score *score) {
    const struct evaluator_results *reported = attempt->results[REPORTED];
    char controls[96] = "";
    if (score->controls)
        snprintf(controls, sizeof controls, "; open loop %u of %u, blind %u of %u",
                 score->open_loop.successes, score->open_loop.episodes, score->blind.successes,
                 score->blind.episodes);
    proto_link_say(attempt->serve->link,
                   "checkpoint-%" PRIu64
                   ": success %u of %u (%.0f %%, 95 %% interval %.0f to %.0f %%), selection %u of "
                   "%u%s; %.0f s",
                   score->step, score->policy.successes, score->policy.episodes,
                   100.0 * score->policy.successes / score->policy.episodes,
                   100 * score->interval95[0], 100 * score->interval95[1],
                   score->selection.successes, score->selection.episodes, controls, score->wall_s);
    const char *doubt = score->controls ? evaluator_results_doubt(reported) : NULL;
    if (doubt)
        proto_link_say(attempt->serve->link, "checkpoint-%" PRIu64 ": %s", score->step, doubt);
    for (uint32_t t = 0; t < reported->task_count; t++)
        if (reported->tasks[t].reason)
            proto_link_say(attempt->serve->link, "checkpoint-%" PRIu64 ": %s not evaluated: %s",
                           score->step, reported->tasks[t].task, reported->tasks[t].reason);
}

bool evaluator_serve_best(struct evaluator_serve *serve, struct proto_error *error) {
    bool changed = false;
    const struct evaluator_score *best =
        evaluator_best_choose(&serve->board, serve->present, serve->count);
    if (!best) return true;
    if (!evaluator_best_link(serve->run, best->step, &changed, error)) return false;
    if (!changed) return true;
    proto_link_event(serve->link, "best", evaluator_score_json(best));
    proto_link_say(serve->link, "best is checkpoint-%" PRIu64 ", %u of %u in selection", best->step,
                   best->selection.successes, best->selection.episodes);
    return true;
}

// Under the board's lock: tells what was not told yet, and brings `best` up to date.
static bool announce_locked(struct attempt *attempt, struct proto_error *error) {
    struct evaluator_serve *serve = attempt->serve;
    struct evaluator_scoreboard board;
    char path[PROTO_PATH_MAX];
    const struct evaluator_score score = score_of(attempt);
    if (!proto_evaluated_path(serve->run, attempt->step, "failed.json", path, error) ||
        !proto_folder_remove(path, error) || !evaluator_scoreboard_read(serve->run, &board, error))
        return false;
    const struct evaluator_score *there =
        evaluator_scoreboard_find(&board, attempt->step, attempt->hash);
    const bool tell = !there || (score.controls && !there->controls);
    evaluator_scoreboard_free(&board);
    if ((tell && !evaluator_scoreboard_append(serve->run, &score, error)) ||
        !evaluator_serve_look(serve, error))
        return false;
    if (tell) {
        const struct evaluator_score *best =
            evaluator_best_choose(&serve->board, serve->present, serve->count);
        json_t *event = evaluator_score_json(&score);
        if (event)
            json_object_set_new(event, "best", json_boolean(best && best->step == score.step));
        proto_link_event(serve->link, "evaluation_finished", event);
        evaluator_announced_set(&serve->announced, attempt->step, EVALUATOR_FINISHED);
        say_score(attempt, &score);
    }
    serve->counters.checkpoint_s = score.wall_s;
    return evaluator_serve_best(serve, error);
}

static bool announce(struct attempt *attempt, struct proto_error *error) {
    int lock = -1;
    if (!evaluator_scoreboard_lock(attempt->serve->run, &lock, error)) return false;
    const bool done = announce_locked(attempt, error);
    close(lock);
    return done;
}

// ---- failures -----------------------------------------------------------------------------------

static bool leave_to_others(struct evaluator_serve *serve, uint64_t step,
                            struct proto_error *error) {
    uint64_t *left = realloc(serve->left, (serve->left_count + 1) * sizeof *left);
    if (!left) return proto_fail(error, PROTO_EXHAUSTED, "no memory");
    left[serve->left_count++] = step;
    serve->left = left;
    return true;
}

static void take_back(struct evaluator_serve *serve, uint64_t step) {
    size_t kept = 0;
    for (size_t i = 0; i < serve->left_count; i++)
        if (serve->left[i] != step) serve->left[kept++] = serve->left[i];
    serve->left_count = kept;
}

// Rotation has the lock that a pin needs, and takes the checkpoint away: a moment later it is gone.
static bool is_going(const struct attempt *attempt) {
    struct proto_error ignored = {0};
    char path[PROTO_PATH_MAX];
    return attempt->pin < 0 && proto_run_path(attempt->checkpoint, "config.json", path, &ignored) &&
           proto_path_exists(path);
}

// Removed or replaced since it was looked at. One that could not say what it is: removed.
static bool is_gone(const struct attempt *attempt) {
    uint64_t hash = 0;
    if (!proto_path_is_folder(attempt->checkpoint)) return true;
    return attempt->hash_known &&
           (!evaluator_serve_hash(attempt->serve->run, attempt->step, &hash) ||
            hash != attempt->hash);
}

static bool give_up(struct attempt *attempt, const struct proto_error *why,
                    struct proto_error *error) {
    struct evaluator_serve *serve = attempt->serve;
    char text[1400];
    bool told = false;
    int lock = -1;
    if (!evaluator_scoreboard_lock(serve->run, &lock, error)) return false;
    const bool done =
        evaluator_serve_give_up(serve, attempt->step, attempt->hash, why, &told, error);
    close(lock);
    if (!done) return false;
    serve->failed++;
    if (told) return true;
    snprintf(text, sizeof text, "%s%s%s", why->where, why->where[0] != '\0' ? ": " : "", why->text);
    proto_link_event(serve->link, "evaluation_failed",
                     json_pack("{s:I, s:i, s:o}", "step", (json_int_t)attempt->step, "status",
                               (int)why->status, "error", proto_json_string(text)));
    evaluator_announced_set(&serve->announced, attempt->step, EVALUATOR_FAILED);
    proto_link_say(serve->link, "checkpoint-%" PRIu64 " CANNOT BE EVALUATED: %s", attempt->step,
                   text);
    return true;
}

// What a failure means: for this process, for this checkpoint, or for nobody.
static bool failed(struct attempt *attempt, const struct proto_error *why,
                   struct proto_error *error) {
    if (why->status == PROTO_RESUMABLE) {
        *error = *why;
        return false;
    }
    if (is_gone(attempt)) {
        proto_link_say(attempt->serve->link,
                       "checkpoint-%" PRIu64 " was removed or replaced while it was evaluated",
                       attempt->step);
        return true;
    }
    if (is_going(attempt)) {
        attempt->serve->pause = true;
        return true;
    }
    if (why->status == PROTO_EXHAUSTED || why->status == PROTO_MISSING) {
        *error = *why;
        return proto_error_where(error, "checkpoint-%" PRIu64, attempt->step);
    }
    // others are at work on what this journal was made for: when they are through, it is renewed
    if (why->status == PROTO_USAGE && !attempt->alone)
        return leave_to_others(attempt->serve, attempt->step, error);
    return give_up(attempt, why, error);
}

// ---- one checkpoint -----------------------------------------------------------------------------

static bool attempt_open(struct attempt *attempt, struct proto_error *error) {
    struct evaluator_serve *serve = attempt->serve;
    if (!evaluator_serve_checkpoint(serve->run, attempt->step, attempt->checkpoint, error) ||
        !proto_evaluated_path(serve->run, attempt->step, "selection", attempt->folders[SELECTION],
                              error) ||
        !proto_evaluated_path(serve->run, attempt->step, NULL, attempt->folders[REPORTED], error) ||
        !proto_evaluated_path(serve->run, attempt->step, "videos", attempt->videos, error) ||
        !evaluator_serve_join(serve->run, attempt->step, &attempt->lock, &attempt->alone, error))
        return false;
    attempt->hash_known = evaluator_serve_hash(serve->run, attempt->step, &attempt->hash);
    return true;
}

static bool attempt_run(struct attempt *attempt, struct proto_error *error) {
    struct evaluator_serve *serve = attempt->serve;
    struct proto_error why = {0};
    if (attempt->alone)
        proto_link_event(serve->link, "evaluation_started",
                         json_pack("{s:I}", "step", (json_int_t)attempt->step));
    // held over both lists and until `best` is known, so that rotation cannot come between
    if (!proto_checkpoint_pin(attempt->checkpoint, &attempt->pin, &why) ||
        !lists_run(attempt, &why))
        return failed(attempt, &why, error);
    if (!attempt->complete[SELECTION] || !attempt->complete[REPORTED])
        return leave_to_others(serve, attempt->step, error);
    return announce(attempt, error);
}

bool evaluator_serve_evaluate(struct evaluator_serve *serve, uint64_t step, bool controls,
                              struct proto_error *error) {
    struct attempt attempt = {.serve = serve,
                              .step = step,
                              .controls = controls,
                              .lock = -1,
                              .pin = -1,
                              .start_s = now_s()};
    struct evaluator_serve_counters *now = &serve->counters;
    take_back(serve, step);
    now->evaluating = true;
    now->step = step;
    now->episode = now->episodes = now->before = 0;
    now->eta_s = -1;
    evaluator_serve_tell(serve);
    const bool done = attempt_open(&attempt, error) && attempt_run(&attempt, error);
    now->evaluating = false;
    now->eta_s = -1;
    if (attempt.pin >= 0) close(attempt.pin);
    if (attempt.lock >= 0) close(attempt.lock);
    for (int list = 0; list < LISTS; list++) evaluator_results_free(&attempt.results[list]);
    return done;
}
