// tests/evaluator/libero_golden_predicates.c - recorded states whose predicates the official
// environment judged, on both sides of every bound at distances down to 1e-9: all must agree.
#include "tests/evaluator/libero_golden.h"

#include "proto/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 4096, STATES_MAX = 1 << 20, SETS_MAX = 64 };

struct column {
    enum evaluator_predicate predicate;
    const char *arguments[2];
};

static bool predicate_of(const char *word, enum evaluator_predicate *predicate) {
    for (int i = EVALUATOR_ON; i <= EVALUATOR_UP; i++) {
        *predicate = (enum evaluator_predicate)i;
        if (strcasecmp(word, evaluator_predicate_name(*predicate)) == 0) return true;
    }
    return false;
}

static bool read_columns(const json_t *info, struct column **columns, size_t *count,
                         struct proto_error *error) {
    const json_t *array;
    if (!proto_json_array(info, "columns", COLUMNS_MAX, &array, error)) return false;
    *count = json_array_size(array);
    *columns = proto_alloc_array(*count, sizeof **columns, error);
    if (!*columns) return false;
    for (size_t i = 0; i < *count; i++) {
        const json_t *row = json_array_get(array, i);
        const size_t words = json_array_size(row);
        const char *verb = json_string_value(json_array_get(row, 0));
        if (!verb || words < 2 || words > 3 || !predicate_of(verb, &(*columns)[i].predicate))
            return proto_fail(error, PROTO_DAMAGED, "columns[%zu]: no predicate", i);
        for (size_t j = 1; j < words; j++)
            (*columns)[i].arguments[j - 1] = json_string_value(json_array_get(row, j));
    }
    return true;
}

// What differs in all states, by kind.
struct differences {
    size_t truths, goals, conjuncts;
    char truth[256], goal[256], conjunct[256];
};

static bool check_state(struct golden_task *task, const struct column *columns, size_t count,
                        size_t conjuncts, size_t state, const char *truth, char goal,
                        struct differences *differ, struct proto_error *error) {
    bool whole = true;
    for (size_t i = 0; i < count; i++) {
        bool holds;
        if (!evaluator_env_predicate(task->env, columns[i].predicate, columns[i].arguments[0],
                                     columns[i].arguments[1], &holds, error))
            return proto_error_where(error, "columns[%zu]", i);
        if (holds != (truth[i] == '1') && differ->truths++ == 0)
            snprintf(differ->truth, sizeof differ->truth, "state %zu: %s %s %s is %d", state,
                     evaluator_predicate_name(columns[i].predicate), columns[i].arguments[0],
                     columns[i].arguments[1] ? columns[i].arguments[1] : "", holds);
        if (i >= conjuncts) continue;
        const bool judged = evaluator_env_goal(task->env, (uint32_t)i);
        whole = whole && judged;
        if (judged != (truth[i] == '1') && differ->conjuncts++ == 0)
            snprintf(differ->conjunct, sizeof differ->conjunct, "state %zu, conjunct %zu", state,
                     i);
    }
    if (whole != (goal == '1') && differ->goals++ == 0)
        snprintf(differ->goal, sizeof differ->goal, "state %zu", state);
    return true;
}

// What predicates.json says of its states, checked against their number.
struct recorded {
    const json_t *sets, *truth;
    const char *goal, *set_of;
    size_t states;
    int64_t conjuncts;
};
static bool read_recorded(const json_t *info, size_t columns, struct recorded *recorded,
                          struct proto_error *error) {
    if (!proto_json_array(info, "truth", STATES_MAX, &recorded->truth, error) ||
        !proto_json_array(info, "fixture_sets", SETS_MAX, &recorded->sets, error) ||
        !proto_json_text(info, "goal", &recorded->goal, error) ||
        !proto_json_text(info, "fixture_set", &recorded->set_of, error) ||
        !proto_json_integer(info, "goal_conjuncts", 0, (int64_t)columns, &recorded->conjuncts,
                            error))
        return false;
    recorded->states = json_array_size(recorded->truth);
    if (strlen(recorded->goal) != recorded->states || strlen(recorded->set_of) != recorded->states)
        return proto_fail(error, PROTO_DAMAGED, "truth, goal and fixture_set differ in length");
    for (size_t i = 0; i < recorded->states; i++) {
        const char *row = json_string_value(json_array_get(recorded->truth, i));
        if (!row || strlen(row) != columns)
            return proto_fail(error, PROTO_DAMAGED, "truth[%zu] is not %zu characters", i, columns);
        if (!json_array_get(recorded->sets, (size_t)(recorded->set_of[i] - '0')))
            return proto_fail(error, PROTO_DAMAGED, "fixture_set[%zu] is '%c'", i,
                              recorded->set_of[i]);
    }
    return true;
}

bool golden_predicates(struct golden_task *task, struct proto_error *error) {
    const size_t width = evaluator_world_state_width(task->world);
    struct column *columns = NULL;
    struct recorded recorded = {0};
    struct differences differ = {0};
    double *states = NULL;
    size_t count = 0;
    bool done = read_columns(task->info, &columns, &count, error) &&
                read_recorded(task->info, count, &recorded, error) &&
                golden_fixtures_compare(task, json_array_get(recorded.sets, 0), error);
    if (done) {
        golden_report_count(task, "goal conjuncts, in number",
                            evaluator_env_goal_count(task->env) != (size_t)recorded.conjuncts,
                            (size_t)recorded.conjuncts, "");
        states = golden_doubles(task, "states", recorded.states * width, error);
        done = states != NULL;
    }
    for (size_t i = 0; done && i < recorded.states; i++) {
        const json_t *fixtures = json_array_get(recorded.sets, (size_t)(recorded.set_of[i] - '0'));
        done = golden_fixtures_place(task, fixtures, error) &&
               evaluator_env_set_state(task->env, states + i * width, (uint32_t)width, error) &&
               check_state(task, columns, count, (size_t)recorded.conjuncts, i,
                           json_string_value(json_array_get(recorded.truth, i)), recorded.goal[i],
                           &differ, error);
        if (!done) proto_error_where(error, "state %zu", i);
    }
    if (done) {
        golden_report_count(task, "predicates", differ.truths, recorded.states * count,
                            differ.truth);
        golden_report_count(task, "goal conjuncts as steps judge them", differ.conjuncts,
                            recorded.states * (size_t)recorded.conjuncts, differ.conjunct);
        golden_report_count(task, "whole goals", differ.goals, recorded.states, differ.goal);
    }
    free(states);
    free(columns);
    return done;
}
