// evaluator/results.c - outcomes as a sorted set.
#include "evaluator/results.h"

#include "evaluator/statistics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool evaluator_results_new(struct evaluator_results **results, struct proto_error *error) {
    *results = proto_alloc(sizeof **results, error);
    return *results != NULL;
}

void evaluator_results_free(struct evaluator_results **results) {
    struct evaluator_results *freed = *results;
    if (!freed) return;
    for (uint32_t i = 0; i < freed->task_count; i++) {
        free(freed->tasks[i].task);
        free(freed->tasks[i].language);
        free(freed->tasks[i].reason);
    }
    free(freed->tasks);
    free(freed->episodes);
    free(freed->checkpoint);
    free(freed->benchmark);
    free(freed->renderer);
    free(freed);
    *results = NULL;
}

bool evaluator_results_add_task(struct evaluator_results *results, const char *task,
                                const char *language, bool seen, const char *reason, uint32_t *row,
                                struct proto_error *error) {
    struct evaluator_results_task *tasks =
        realloc(results->tasks, (results->task_count + (size_t)1) * sizeof *tasks);
    if (!tasks) return proto_fail(error, PROTO_EXHAUSTED, "no memory for another task");
    results->tasks = tasks;
    struct evaluator_results_task *made = &tasks[results->task_count];
    *made = (struct evaluator_results_task){.seen = seen};
    made->task = proto_format(error, "%s", task);
    made->language = proto_format(error, "%s", language);
    made->reason = reason ? proto_format(error, "%s", reason) : NULL;
    *row = results->task_count++;  // free looks at it from now on
    return made->task && made->language && (made->reason || !reason);
}

static int order(const struct evaluator_episode *a, const struct evaluator_episode *b) {
    if (a->task != b->task) return a->task < b->task ? -1 : 1;
    if (a->pilot != b->pilot) return a->pilot < b->pilot ? -1 : 1;
    return (a->row > b->row) - (a->row < b->row);
}

// Where an episode is, or would be.
static uint32_t lower_bound(const struct evaluator_results *results,
                            const struct evaluator_episode *episode) {
    uint32_t low = 0, high = results->episode_count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (order(&results->episodes[middle], episode) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool evaluator_results_add(struct evaluator_results *results,
                           const struct evaluator_episode *episode, struct proto_error *error) {
    const uint32_t low = lower_bound(results, episode);
    if (low < results->episode_count && order(&results->episodes[low], episode) == 0) {
        const struct evaluator_episode *there = &results->episodes[low];
        return (there->success == episode->success && there->seed == episode->seed &&
                (!there->success || there->steps == episode->steps)) ||
               proto_fail(error, PROTO_DAMAGED,
                          "%s: %s from start state %u is there twice with different outcomes "
                          "(%s after %u steps, %s after %u): not of the same protocol",
                          results->tasks[episode->task].task, evaluator_pilot_names[episode->pilot],
                          episode->row, there->success ? "success" : "failure", there->steps,
                          episode->success ? "success" : "failure", episode->steps);
    }
    if (results->episode_count == EVALUATOR_EPISODES_MAX)
        return proto_fail(error, PROTO_EXHAUSTED, "more than %d episodes", EVALUATOR_EPISODES_MAX);
    struct evaluator_episode *episodes =
        realloc(results->episodes, (results->episode_count + (size_t)1) * sizeof *episodes);
    if (!episodes) return proto_fail(error, PROTO_EXHAUSTED, "no memory for another episode");
    results->episodes = episodes;
    memmove(episodes + low + 1, episodes + low, (results->episode_count - low) * sizeof *episodes);
    episodes[low] = *episode;
    results->episode_count++;
    return true;
}

bool evaluator_results_comparable(const struct evaluator_results *a,
                                  const struct evaluator_results *b, struct proto_error *error) {
    const struct {
        const char *name;
        uint64_t a, b;
        bool hex;
    } rows[] = {
        {"seed", a->seed, b->seed, false},
        {"max_steps", a->max_steps, b->max_steps, false},
        {"exec_horizon", a->exec_horizon, b->exec_horizon, false},
        {"settle_steps", a->settle_steps, b->settle_steps, false},
        {"assets_hash", a->assets_hash, b->assets_hash, true},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        if (rows[i].a != rows[i].b)
            return rows[i].hex ? proto_fail(error, PROTO_USAGE,
                                            "another protocol: %s is %016" PRIx64
                                            " there and %016" PRIx64 " here",
                                            rows[i].name, rows[i].a, rows[i].b)
                               : proto_fail(error, PROTO_USAGE,
                                            "another protocol: %s is %" PRIu64 " there and %" PRIu64
                                            " here; only results of one protocol may be compared",
                                            rows[i].name, rows[i].a, rows[i].b);
    return strcmp(a->mujoco, b->mujoco) == 0 ||
           proto_fail(error, PROTO_USAGE, "another protocol: mujoco is %s there and %s here",
                      a->mujoco, b->mujoco);
}

bool evaluator_results_have(const struct evaluator_results *results,
                            const struct evaluator_episode *episode) {
    const uint32_t place = lower_bound(results, episode);
    return place < results->episode_count && order(&results->episodes[place], episode) == 0;
}

static uint32_t find_task(const struct evaluator_results *results, const char *name) {
    for (uint32_t i = 0; i < results->task_count; i++)
        if (strcmp(results->tasks[i].task, name) == 0) return i;
    return UINT32_MAX;
}

bool evaluator_results_merge(struct evaluator_results *results,
                             const struct evaluator_results *from, struct proto_error *error) {
    if (!evaluator_results_comparable(results, from, error)) return false;
    if (results->checkpoint_hash != from->checkpoint_hash ||
        results->codec_hash != from->codec_hash)
        return proto_fail(error, PROTO_USAGE,
                          "of another checkpoint (%016" PRIx64 ", and %016" PRIx64 "): `eval diff` "
                          "compares two, merging is for parts of one evaluation",
                          results->checkpoint_hash, from->checkpoint_hash);
    for (uint32_t i = 0; i < from->task_count; i++) {
        const struct evaluator_results_task *task = &from->tasks[i];
        uint32_t row = find_task(results, task->task);
        if (row == UINT32_MAX) {
            if (!evaluator_results_add_task(results, task->task, task->language, task->seen,
                                            task->reason, &row, error))
                return false;
        } else if (results->tasks[row].reason && !task->reason) {
            free(results->tasks[row].reason);  // somebody could
            results->tasks[row].reason = NULL;
        }
        for (uint32_t e = 0; e < from->episode_count; e++) {
            struct evaluator_episode episode = from->episodes[e];
            if (episode.task != i) continue;
            episode.task = row;
            if (!evaluator_results_add(results, &episode, error)) return false;
        }
    }
    return true;
}

struct evaluator_tally evaluator_results_tally(const struct evaluator_results *results,
                                               uint32_t task, enum evaluator_pilot pilot) {
    struct evaluator_tally tally = {0};
    uint64_t steps = 0;
    for (uint32_t i = 0; i < results->episode_count; i++) {
        const struct evaluator_episode *episode = &results->episodes[i];
        if ((task != UINT32_MAX && episode->task != task) || episode->pilot != pilot) continue;
        tally.episodes++;
        if (!episode->success) continue;
        tally.successes++;
        steps += episode->steps;
    }
    evaluator_wilson95(tally.successes, tally.episodes, tally.interval95);
    if (tally.successes > 0) tally.steps_mean = (double)steps / tally.successes;
    return tally;
}
