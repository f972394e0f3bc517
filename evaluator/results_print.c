// evaluator/results_print.c - results for people: the table of one evaluation, whether it proves
// what it should, and two compared.
#include "evaluator/results.h"
#include "evaluator/statistics.h"

#include <inttypes.h>
#include <string.h>

static const char *const pilot_titles[EVALUATOR_PILOTS] = {"policy", "open loop", "blind"};

// Tasks of a scene differ at the ends of their names only: none is cut.
static int width_of(const struct evaluator_results *results) {
    size_t width = strlen("task");
    for (uint32_t t = 0; t < results->task_count; t++)
        if (strlen(results->tasks[t].task) > width) width = strlen(results->tasks[t].task);
    return (int)width;
}

static void print_tally(FILE *out, int width, const char *name, enum evaluator_pilot pilot,
                        const struct evaluator_tally *tally, const char *note) {
    fprintf(out, "%-*s  %-9s  %4u/%-4u  %5.1f %%  [%5.1f, %5.1f]", width, name, pilot_titles[pilot],
            tally->successes, tally->episodes,
            tally->episodes > 0 ? 100.0 * tally->successes / tally->episodes : 0.0,
            100 * tally->interval95[0], 100 * tally->interval95[1]);
    if (tally->successes > 0)
        fprintf(out, "  %6.1f", tally->steps_mean);
    else
        fprintf(out, "  %6s", "-");
    fprintf(out, "%s\n", note);
}

bool evaluator_results_prove(const struct evaluator_results *results, uint32_t policy_min,
                             uint32_t control_max, struct proto_error *error) {
    for (uint32_t t = 0; t < results->task_count; t++)
        for (int pilot = 0; pilot < EVALUATOR_PILOTS; pilot++) {
            const struct evaluator_tally tally =
                evaluator_results_tally(results, t, (enum evaluator_pilot)pilot);
            const bool policy = pilot == EVALUATOR_POLICY;
            const uint32_t limit = policy ? policy_min : control_max;
            if (limit == UINT32_MAX) continue;
            if (tally.episodes > 0 &&
                (policy ? tally.successes >= limit : tally.successes <= limit))
                continue;
            proto_fail(error, PROTO_FAILED,
                       "%s succeeded in %u of %u episodes, %s %u were asked for",
                       pilot_titles[pilot], tally.successes, tally.episodes,
                       policy ? "at least" : "at most", limit);
            return proto_error_where(error, "%s", results->tasks[t].task);
        }
    return true;
}

// A control whose interval reaches the policy's did the same without seeing.
const char *evaluator_results_doubt(const struct evaluator_results *results) {
    static const char *const doubts[EVALUATOR_PILOTS] = {
        [EVALUATOR_OPEN_LOOP] =
            "open loop does about as well: this rate is no proof that the policy sees",
        [EVALUATOR_BLIND] = "blind does about as well: this rate is no proof that the policy sees",
    };
    const struct evaluator_tally policy =
        evaluator_results_tally(results, UINT32_MAX, EVALUATOR_POLICY);
    for (int pilot = 0; policy.successes > 0 && pilot < EVALUATOR_PILOTS; pilot++) {
        const struct evaluator_tally control =
            evaluator_results_tally(results, UINT32_MAX, (enum evaluator_pilot)pilot);
        if (doubts[pilot] && control.episodes > 0 && control.interval95[1] >= policy.interval95[0])
            return doubts[pilot];
    }
    return NULL;
}

void evaluator_results_table(const struct evaluator_results *results, FILE *out) {
    const int width = width_of(results);
    uint32_t evaluated = 0;
    fprintf(out, "%-*s  %-9s  %9s  %7s  %14s  %6s\n", width, "task", "row", "success", "rate",
            "95 % interval", "steps");
    for (uint32_t t = 0; t < results->task_count; t++) {
        const struct evaluator_results_task *task = &results->tasks[t];
        if (task->reason) {
            fprintf(out, "%-*s  not evaluated: %s\n", width, task->task, task->reason);
            continue;
        }
        evaluated++;
        for (int pilot = 0; pilot < EVALUATOR_PILOTS; pilot++) {
            const struct evaluator_tally tally =
                evaluator_results_tally(results, t, (enum evaluator_pilot)pilot);
            if (tally.episodes > 0)
                print_tally(out, width, task->task, (enum evaluator_pilot)pilot, &tally,
                            task->seen ? "" : "  unseen");
        }
    }
    for (int pilot = 0; evaluated > 1 && pilot < EVALUATOR_PILOTS; pilot++) {
        const struct evaluator_tally tally =
            evaluator_results_tally(results, UINT32_MAX, (enum evaluator_pilot)pilot);
        if (tally.episodes > 0)
            print_tally(out, width, "all", (enum evaluator_pilot)pilot, &tally, "");
    }
    const char *doubt = evaluator_results_doubt(results);
    if (doubt) fprintf(out, "%s\n", doubt);
    fprintf(out,
            "max_steps %u, exec_horizon %u, settle_steps %u, seed %" PRIu64
            ", mujoco %s; Wilson intervals\n",
            results->max_steps, results->exec_horizon, results->settle_steps, results->seed,
            results->mujoco);
}

// ---- two compared -------------------------------------------------------------------------------

struct pairs {
    uint32_t both, first, second, neither;
};

static const struct evaluator_episode *find(const struct evaluator_results *results,
                                            const char *task,
                                            const struct evaluator_episode *like) {
    for (uint32_t i = 0; i < results->episode_count; i++) {
        const struct evaluator_episode *episode = &results->episodes[i];
        if (episode->pilot == like->pilot && episode->row == like->row &&
            episode->seed == like->seed && strcmp(results->tasks[episode->task].task, task) == 0)
            return episode;
    }
    return NULL;
}

static void count_pairs(const struct evaluator_results *a, const struct evaluator_results *b,
                        uint32_t task, enum evaluator_pilot pilot, struct pairs *pairs) {
    for (uint32_t i = 0; i < a->episode_count; i++) {
        const struct evaluator_episode *first = &a->episodes[i];
        if (first->task != task || first->pilot != pilot) continue;
        const struct evaluator_episode *second = find(b, a->tasks[task].task, first);
        if (!second) continue;
        if (first->success && second->success) pairs->both++;
        if (first->success && !second->success) pairs->first++;
        if (!first->success && second->success) pairs->second++;
        if (!first->success && !second->success) pairs->neither++;
    }
}

static uint32_t print_pairs(FILE *out, int width, const char *name, enum evaluator_pilot pilot,
                            const struct pairs *pairs) {
    const uint32_t n = pairs->both + pairs->first + pairs->second + pairs->neither;
    if (n == 0) return 0;
    fprintf(out, "%-*s  %-9s  %5u  %5.1f %%  %5.1f %%  %6u  %6u  %8.4f\n", width, name,
            pilot_titles[pilot], n, 100.0 * (pairs->both + pairs->first) / n,
            100.0 * (pairs->both + pairs->second) / n, pairs->first, pairs->second,
            evaluator_mcnemar(pairs->first, pairs->second));
    return n;
}

bool evaluator_results_diff(const struct evaluator_results *a, const struct evaluator_results *b,
                            FILE *out, struct proto_error *error) {
    struct pairs all[EVALUATOR_PILOTS] = {0};
    uint32_t shown = 0, tasks = 0;
    const int width = width_of(a);
    if (!evaluator_results_comparable(a, b, error)) return false;
    fprintf(out, "%-*s  %-9s  %5s  %7s  %7s  %6s  %6s  %8s\n", width, "task", "row", "pairs",
            "first", "second", "only 1", "only 2", "p");
    for (uint32_t t = 0; t < a->task_count; t++) {
        uint32_t here = 0;
        for (int pilot = 0; pilot < EVALUATOR_PILOTS; pilot++) {
            struct pairs pairs = {0};
            count_pairs(a, b, t, (enum evaluator_pilot)pilot, &pairs);
            here += print_pairs(out, width, a->tasks[t].task, (enum evaluator_pilot)pilot, &pairs);
            all[pilot].both += pairs.both;
            all[pilot].first += pairs.first;
            all[pilot].second += pairs.second;
            all[pilot].neither += pairs.neither;
        }
        shown += here;
        tasks += here > 0;
    }
    if (shown == 0)
        return proto_fail(error, PROTO_USAGE,
                          "the two have no start in common (task, row, start state and seed)");
    for (int pilot = 0; tasks > 1 && pilot < EVALUATOR_PILOTS; pilot++)
        print_pairs(out, width, "all", (enum evaluator_pilot)pilot, &all[pilot]);
    fprintf(out, "paired on the same starts; p: exact McNemar test, two-sided\n");
    if (strcmp(a->renderer, b->renderer) != 0)
        fprintf(out, "note: pictures were drawn by %s, and by %s\n", a->renderer, b->renderer);
    return true;
}
