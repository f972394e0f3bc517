// evaluator/results_file.c - results.json out of outcomes, and back.
//
// A task's `init_states` and `seeds` name its starts; each row of outcomes is in their order. A row
// that lacks some of them (a part of an evaluation) has an `init_states` of its own.
#include "evaluator/results.h"
#include "evaluator/statistics.h"
#include "proto/json_strict.h"

#include <stdlib.h>
#include <string.h>

#define FORMAT "pipeline-results"
#define VERSION 1
#define FILE_BYTES_MAX ((size_t)256 << 20)
#define TASKS_MAX 4096

// ---- writing ------------------------------------------------------------------------------------

static bool push(json_t *array, json_t *value) { return json_array_append_new(array, value) == 0; }

static json_t *hex(uint64_t value) {
    char text[17];
    proto_hex64(value, text);
    return json_string(text);
}

// Start states of a task over all pilots, ascending, with their seeds.
static bool starts(const struct evaluator_results *results, uint32_t task, json_t *rows,
                   json_t *seeds) {
    int64_t last = -1;
    for (;;) {
        const struct evaluator_episode *next = NULL;
        for (uint32_t i = 0; i < results->episode_count; i++) {
            const struct evaluator_episode *episode = &results->episodes[i];
            if (episode->task == task && episode->row > last && (!next || episode->row < next->row))
                next = episode;
        }
        if (!next) return true;
        if (!push(rows, json_integer(next->row)) || !push(seeds, json_integer(next->seed)))
            return false;
        last = next->row;
    }
}

static json_t *row_json(const struct evaluator_results *results, uint32_t task,
                        enum evaluator_pilot pilot, size_t start_count) {
    const struct evaluator_tally tally = evaluator_results_tally(results, task, pilot);
    json_t *steps = json_array(), *rows = json_array(), *notes = json_object();
    json_t *frames = json_array();
    bool good = steps && rows && notes && frames;
    for (uint32_t i = 0; good && i < results->episode_count; i++) {
        const struct evaluator_episode *episode = &results->episodes[i];
        char number[16];
        if (episode->task != task || episode->pilot != pilot) continue;
        good = push(steps, episode->success ? json_integer(episode->steps) : json_null()) &&
               push(rows, json_integer(episode->row)) && push(frames, hex(episode->frames_hash));
        snprintf(number, sizeof number, "%u", episode->row);
        if (good && episode->note[0] != '\0')
            good = json_object_set_new(notes, number, proto_json_string(episode->note)) == 0;
    }
    json_t *row =
        json_pack("{s:i, s:i, s:f, s:[f, f], s:O}", "episodes", (int)tally.episodes, "successes",
                  (int)tally.successes, "success_rate",
                  tally.episodes > 0 ? (double)tally.successes / tally.episodes : 0.0, "interval95",
                  tally.interval95[0], tally.interval95[1], "steps_to_success", steps);
    good = good && row;
    if (good && json_array_size(rows) < start_count)
        good = json_object_set(row, "init_states", rows) == 0;
    if (good && pilot == EVALUATOR_POLICY) good = json_object_set(row, "frames", frames) == 0;
    if (good && json_object_size(notes) > 0) good = json_object_set(row, "notes", notes) == 0;
    json_decref(steps);
    json_decref(rows);
    json_decref(notes);
    json_decref(frames);
    if (good) return row;
    json_decref(row);
    return NULL;
}

static json_t *task_json(const struct evaluator_results *results, uint32_t task) {
    const struct evaluator_results_task *info = &results->tasks[task];
    json_t *rows = json_object(), *states = json_array(), *seeds = json_array();
    bool good = rows && states && seeds && starts(results, task, states, seeds);
    for (int pilot = 0; good && pilot < EVALUATOR_PILOTS; pilot++) {
        const enum evaluator_pilot who = (enum evaluator_pilot)pilot;
        if (evaluator_results_tally(results, task, who).episodes == 0) continue;
        good = json_object_set_new(rows, evaluator_pilot_names[pilot],
                                   row_json(results, task, who, json_array_size(states))) == 0;
    }
    json_t *json =
        json_pack("{s:s, s:s, s:b, s:O, s:O, s:O, s:i, s:i, s:i}", "task", info->task, "language",
                  info->language, "seen", info->seen, "rows", rows, "init_states", states, "seeds",
                  seeds, "max_steps", (int)results->max_steps, "exec_horizon",
                  (int)results->exec_horizon, "settle_steps", (int)results->settle_steps);
    good = good && json;
    if (good && info->reason)
        good = json_object_set_new(json, "not_evaluated", proto_json_string(info->reason)) == 0;
    json_decref(rows);
    json_decref(states);
    json_decref(seeds);
    if (good) return json;
    json_decref(json);
    return NULL;
}

json_t *evaluator_results_json(const struct evaluator_results *results) {
    json_t *tasks = json_array();
    bool good = tasks != NULL;
    for (uint32_t t = 0; good && t < results->task_count; t++)
        good = push(tasks, task_json(results, t));
    json_t *json = json_pack(
        "{s:s, s:i, s:o, s:s, s:I, s:I, s:O, s:s, s:o, s:o, s:o, s:o}", "format", FORMAT, "version",
        VERSION, "checkpoint", proto_json_string(results->checkpoint), "benchmark",
        results->benchmark, "step", (json_int_t)results->step, "seed", (json_int_t)results->seed,
        "tasks", tasks, "mujoco", results->mujoco, "renderer", proto_json_string(results->renderer),
        "checkpoint_hash", hex(results->checkpoint_hash), "codec_hash", hex(results->codec_hash),
        "assets_hash", hex(results->assets_hash));
    json_decref(tasks);
    if (good) return json;
    json_decref(json);
    return NULL;
}

bool evaluator_results_write(const char *path, const struct evaluator_results *results,
                             struct proto_error *error) {
    json_t *json = evaluator_results_json(results);
    if (!json) return proto_fail(error, PROTO_EXHAUSTED, "no memory for the results");
    const bool done = proto_json_write(path, json, error);
    json_decref(json);
    return done;
}

// ---- reading ------------------------------------------------------------------------------------

static bool read_u32(const json_t *object, const char *key, uint32_t *value,
                     struct proto_error *error) {
    int64_t number = 0;
    if (!proto_json_integer(object, key, 0, UINT32_MAX, &number, error)) return false;
    *value = (uint32_t)number;
    return true;
}

// Element i of a list of numbers; PROTO_DAMAGED when it is none.
static bool element(const json_t *list, size_t i, const char *key, uint32_t *value,
                    struct proto_error *error) {
    const json_t *number = json_array_get(list, i);
    const json_int_t found = json_integer_value(number);
    if (!json_is_integer(number) || found < 0 || found > UINT32_MAX)
        return proto_fail(error, PROTO_DAMAGED, "%s[%zu] is no number of 0..%u", key, i,
                          UINT32_MAX);
    *value = (uint32_t)found;
    return true;
}

static bool seed_of(const json_t *states, const json_t *seeds, uint32_t row, uint32_t *seed,
                    struct proto_error *error) {
    for (size_t i = 0; i < json_array_size(states); i++) {
        uint32_t state = 0;
        if (!element(states, i, "init_states", &state, error)) return false;
        if (state == row) return element(seeds, i, "seeds", seed, error);
    }
    return proto_fail(error, PROTO_DAMAGED, "start state %u is none of the task's", row);
}

struct reading {
    struct evaluator_results *results;
    uint32_t task;
    const json_t *states, *seeds;
};

static bool read_row(const struct reading *reading, const json_t *row, enum evaluator_pilot pilot,
                     struct proto_error *error) {
    const json_t *steps = NULL, *states = json_object_get(row, "init_states");
    const json_t *frames = json_object_get(row, "frames"), *notes = json_object_get(row, "notes");
    uint32_t episodes = 0, successes = 0;
    if (!states) states = reading->states;
    if (!proto_json_array(row, "steps_to_success", EVALUATOR_EPISODES_MAX, &steps, error) ||
        !read_u32(row, "episodes", &episodes, error) ||
        !read_u32(row, "successes", &successes, error))
        return false;
    if (json_array_size(steps) != json_array_size(states) || json_array_size(steps) != episodes)
        return proto_fail(error, PROTO_DAMAGED,
                          "%u episodes, %zu entries of steps_to_success, %zu start states: they "
                          "must be equally many",
                          episodes, json_array_size(steps), json_array_size(states));
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *step = json_array_get(steps, i);
        const char *frame = json_string_value(json_array_get(frames, i));
        struct evaluator_episode episode = {.task = reading->task,
                                            .pilot = pilot,
                                            .success = !json_is_null(step),
                                            .steps = reading->results->max_steps};
        char number[16];
        if (!element(states, i, "init_states", &episode.row, error) ||
            !seed_of(reading->states, reading->seeds, episode.row, &episode.seed, error) ||
            (episode.success && !element(steps, i, "steps_to_success", &episode.steps, error)))
            return false;
        if (frame) episode.frames_hash = strtoull(frame, NULL, 16);
        snprintf(number, sizeof number, "%u", episode.row);
        const char *note = json_string_value(json_object_get(notes, number));
        snprintf(episode.note, sizeof episode.note, "%.159s", note ? note : "");
        if (!evaluator_results_add(reading->results, &episode, error)) return false;
    }
    const struct evaluator_tally tally =
        evaluator_results_tally(reading->results, reading->task, pilot);
    return (tally.successes == successes && tally.episodes == episodes) ||
           proto_fail(error, PROTO_DAMAGED, "successes is %u, its episodes have %u", successes,
                      tally.successes);
}

static bool read_task(struct evaluator_results *results, const json_t *json, bool first,
                      struct proto_error *error) {
    const char *task = NULL, *language = NULL;
    const json_t *rows = NULL;
    struct reading reading = {.results = results};
    uint32_t max_steps = 0, exec_horizon = 0, settle_steps = 0;
    bool seen = false;
    if (!proto_json_text(json, "task", &task, error) ||
        !proto_json_text(json, "language", &language, error) ||
        !proto_json_boolean(json, "seen", &seen, error) ||
        !proto_json_object(json, "rows", &rows, error) ||
        !proto_json_array(json, "init_states", EVALUATOR_EPISODES_MAX, &reading.states, error) ||
        !proto_json_array(json, "seeds", EVALUATOR_EPISODES_MAX, &reading.seeds, error) ||
        !read_u32(json, "max_steps", &max_steps, error) ||
        !read_u32(json, "exec_horizon", &exec_horizon, error) ||
        !read_u32(json, "settle_steps", &settle_steps, error))
        return false;
    if (first) {
        results->max_steps = max_steps;
        results->exec_horizon = exec_horizon;
        results->settle_steps = settle_steps;
    } else if (results->max_steps != max_steps || results->exec_horizon != exec_horizon ||
               results->settle_steps != settle_steps) {
        return proto_fail(error, PROTO_DAMAGED, "its protocol is not that of the task before it");
    }
    if (!evaluator_results_add_task(results, task, language, seen,
                                    json_string_value(json_object_get(json, "not_evaluated")),
                                    &reading.task, error))
        return false;
    for (int pilot = 0; pilot < EVALUATOR_PILOTS; pilot++) {
        const json_t *row = json_object_get(rows, evaluator_pilot_names[pilot]);
        if (row && !read_row(&reading, row, (enum evaluator_pilot)pilot, error))
            return proto_error_where(error, "rows.%s", evaluator_pilot_names[pilot]);
    }
    return true;
}

static bool read_all(struct evaluator_results *results, const json_t *json,
                     struct proto_error *error) {
    const json_t *tasks = NULL;
    const char *mujoco = NULL;
    int64_t step = 0, seed = 0;
    if (!proto_json_format(json, FORMAT, VERSION, error) ||
        !proto_json_text_copy(json, "checkpoint", &results->checkpoint, error) ||
        !proto_json_text_copy(json, "benchmark", &results->benchmark, error) ||
        !proto_json_text_copy(json, "renderer", &results->renderer, error) ||
        !proto_json_integer(json, "step", 0, INT64_MAX, &step, error) ||
        !proto_json_integer(json, "seed", 0, INT64_MAX, &seed, error) ||
        !proto_json_text(json, "mujoco", &mujoco, error) ||
        !proto_json_hex64(json, "checkpoint_hash", &results->checkpoint_hash, error) ||
        !proto_json_hex64(json, "codec_hash", &results->codec_hash, error) ||
        !proto_json_hex64(json, "assets_hash", &results->assets_hash, error) ||
        !proto_json_array(json, "tasks", TASKS_MAX, &tasks, error))
        return false;
    results->step = (uint64_t)step;
    results->seed = (uint64_t)seed;
    snprintf(results->mujoco, sizeof results->mujoco, "%s", mujoco);
    for (size_t i = 0; i < json_array_size(tasks); i++)
        if (!read_task(results, json_array_get(tasks, i), i == 0, error))
            return proto_error_where(error, "tasks[%zu]", i);
    return true;
}

bool evaluator_results_read(const char *path, struct evaluator_results **results,
                            struct proto_error *error) {
    struct evaluator_results *read = NULL;
    json_t *json = proto_json_read(path, FILE_BYTES_MAX, error);
    if (!json) return false;
    const bool done = evaluator_results_new(&read, error) && read_all(read, json, error);
    json_decref(json);
    if (!done) {
        evaluator_results_free(&read);
        return proto_error_where(error, "%s", path);
    }
    *results = read;
    return true;
}
