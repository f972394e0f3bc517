// stages/evaluators.c - the evaluators of a run: when they are wanted, what they are told, and what
// comes of their work.
//
// Whether the run can be evaluated at all is asked before training starts, by a process of its own
// (STAGE_CHECK): nobody shall train for hours and then learn that LIBERO's files are missing. After
// that nothing an evaluator does ends the run. They find their work in the run folder; what they
// are told is only when to look there again and that no more will come.
#include "proto/checkpoint.h"
#include "proto/evaluated.h"
#include "proto/json.h"
#include "stages/clock.h"
#include "stages/supervisor.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MISSING_SHOWN 8

static bool is_auto(const struct stage_supervisor *supervisor) {
    return strcmp(supervisor->run->config->evaluator.when, "auto") == 0;
}

bool stage_evaluators_open(struct stage_supervisor *supervisor, struct proto_error *error) {
    supervisor->evaluator_target = (uint32_t)supervisor->run->config->evaluator.workers;
    if (supervisor->evaluator_target > STAGE_EVALUATORS_MAX)
        supervisor->evaluator_target = STAGE_EVALUATORS_MAX;
    if (!stage_scores_open(&supervisor->scores, supervisor->run->folder, error)) return false;
    stage_scores_text(stage_scores_newest(&supervisor->scores),
                      stage_scores_best_one(&supervisor->scores), supervisor->console.success);
    return true;
}

void stage_evaluators_close(struct stage_supervisor *supervisor) {
    stage_scores_free(&supervisor->scores);
}

// What room a GPU has beside a trainer shows only when the trainer is at work, and an evaluator
// that takes it then ends the trainer's step. So the two take turns unless told otherwise.
static bool shares_a_gpu(const struct proto_config *config) {
    if (strcmp(config->evaluator.device, "cpu") == 0) return false;
    for (size_t i = 0; i < config->trainer.devices.count; i++)
        if (strcmp(config->trainer.devices.items[i], config->evaluator.device) == 0) return true;
    return false;
}

void stage_evaluators_plan(struct stage_supervisor *supervisor) {
    const struct proto_config *config = supervisor->run->config;
    const char *when = config->evaluator.when;
    char line[256];
    if (strcmp(when, "never") == 0) {
        supervisor->evaluation = STAGE_EVALUATION_OFF;
    } else if (strcmp(when, "after") == 0) {
        supervisor->evaluation = STAGE_EVALUATION_AFTER;
    } else if (is_auto(supervisor) && shares_a_gpu(config)) {
        supervisor->evaluation = STAGE_EVALUATION_AFTER;
        snprintf(line, sizeof line,
                 "checkpoints are evaluated when training is complete: %s trains too; with "
                 "--set evaluator.when=during they share it from the start",
                 config->evaluator.device);
        stage_notice(supervisor, line);
    } else {
        supervisor->evaluation = STAGE_EVALUATION_DURING;
    }
}

void stage_evaluators_refuse(struct stage_supervisor *supervisor, const struct proto_error *why) {
    struct proto_error error = *why;
    char line[2048];
    if (is_auto(supervisor)) {
        supervisor->evaluation = STAGE_EVALUATION_OFF;
        stage_event(supervisor, "evaluation_off",
                    json_pack("{s:i, s:o, s:o}", "status", (int)why->status, "where",
                              proto_json_string(why->where), "text", proto_json_string(why->text)));
        snprintf(line, sizeof line,
                 "NOT EVALUATED: %s%s%s (evaluator.when = \"auto\": training goes on without)",
                 why->where, why->where[0] != '\0' ? ": " : "", why->text);
        stage_console_say(&supervisor->console, "supervisor", "%s", line);
        return;
    }
    stage_console_say(&supervisor->console, "supervisor",
                      "Nothing is trained that cannot be evaluated afterwards. To train without "
                      "evaluation: --set evaluator.when=never");
    proto_error_where(&error, "evaluator.when = \"%s\"", supervisor->run->config->evaluator.when);
    stage_conduct_failure(supervisor, &error);
}

void stage_evaluators_give_up(struct stage_supervisor *supervisor, struct stage_process *evaluator,
                              const struct proto_error *why) {
    evaluator->given_up = true;
    evaluator->state = STAGE_DONE;
    stage_event_of(supervisor, evaluator, "given_up",
                   json_pack("{s:i, s:o, s:o}", "status", (int)why->status, "where",
                             proto_json_string(why->where), "text", proto_json_string(why->text)));
    stage_console_say(&supervisor->console, "supervisor",
                      "%s: %s; it is not started again, training is not concerned", why->where,
                      why->text);
}

void stage_evaluators_tell(struct stage_supervisor *supervisor, struct stage_process *evaluator) {
    struct proto_error ignored = {0};  // it is dead, or has not read the same words from before
    const bool last = supervisor->phase == STAGE_EVALUATING;
    if (evaluator->line < 0) return;
    if (!proto_link_send_checkpoints(evaluator->line, last, &ignored)) return;
}

void stage_evaluators_tell_all(struct stage_supervisor *supervisor) {
    for (uint32_t i = 0; i < STAGE_EVALUATORS_MAX; i++)
        if (supervisor->evaluators[i].pid != 0)
            stage_evaluators_tell(supervisor, &supervisor->evaluators[i]);
}

bool stage_evaluators_busy(const struct stage_supervisor *supervisor) {
    for (uint32_t i = 0; i < STAGE_EVALUATORS_MAX; i++)
        if (supervisor->evaluators[i].pid != 0 &&
            json_is_integer(json_object_get(supervisor->evaluators[i].counters, "evaluating")))
            return true;
    return false;
}

void stage_evaluators_event(struct stage_supervisor *supervisor, const char *name,
                            const json_t *event) {
    const json_t *step = json_object_get(event, "step");
    if (strcmp(name, "evaluation_finished") == 0)
        (void)stage_scores_note(&supervisor->scores, event);
    else if (strcmp(name, "best") == 0 && json_is_integer(step) && json_integer_value(step) >= 0)
        stage_scores_best(&supervisor->scores, (uint64_t)json_integer_value(step));
    else
        return;
    stage_scores_text(stage_scores_newest(&supervisor->scores),
                      stage_scores_best_one(&supervisor->scores), supervisor->console.success);
}

void stage_evaluators_conduct(struct stage_supervisor *supervisor) {
    const bool training =
        supervisor->phase == STAGE_WORKING || supervisor->phase == STAGE_REGROUPING;
    const bool wanted =
        (training && supervisor->evaluation == STAGE_EVALUATION_DURING) ||
        (supervisor->phase == STAGE_EVALUATING && supervisor->evaluation != STAGE_EVALUATION_OFF);
    for (uint32_t i = 0; i < STAGE_EVALUATORS_MAX; i++) {
        struct stage_process *evaluator = &supervisor->evaluators[i];
        const bool dead = evaluator->state == STAGE_DONE || evaluator->state == STAGE_FAILED;
        const bool through = evaluator->finished || evaluator->given_up;
        if (!wanted || i >= supervisor->evaluator_target) {
            if (evaluator->state != STAGE_DRAINING && evaluator->state != STAGE_DONE)
                stage_conduct(supervisor, evaluator, STAGE_UNWANTED);
        } else if (dead && !through && !supervisor->failing &&
                   supervisor->now_ms >= evaluator->wake_ms) {
            stage_conduct(supervisor, evaluator, STAGE_WANTED);
        }
    }
}

bool stage_evaluators_settled(const struct stage_supervisor *supervisor) {
    if (supervisor->evaluation == STAGE_EVALUATION_OFF) return true;
    for (uint32_t i = 0; i < supervisor->evaluator_target; i++)
        if (!supervisor->evaluators[i].finished && !supervisor->evaluators[i].given_up)
            return false;
    return true;
}

// Checkpoints that should be evaluated and are not: how many, and the first of them by name.
static size_t missing_count(const struct stage_supervisor *supervisor, char *names,
                            size_t names_bytes) {
    const struct proto_config *config = supervisor->run->config;
    struct proto_error ignored = {0};
    uint64_t *steps = NULL;
    size_t count = 0, missing = 0, used = 0;
    names[0] = '\0';
    if (!proto_checkpoint_list(supervisor->run->folder, &steps, &count, &ignored)) return 0;
    for (size_t i = 0; i < count; i++) {
        if (!proto_evaluated_wanted(steps[i], steps[count - 1],
                                    (uint64_t)config->trainer.checkpointing_period,
                                    (uint64_t)config->evaluator.every) ||
            proto_evaluated_done(supervisor->run->folder, steps[i]))
            continue;
        if (missing < MISSING_SHOWN && used < names_bytes)
            used += (size_t)snprintf(names + used, names_bytes - used, "%scheckpoint-%" PRIu64,
                                     missing > 0 ? ", " : "", steps[i]);
        else if (missing == MISSING_SHOWN && used < names_bytes)
            used += (size_t)snprintf(names + used, names_bytes - used, ", ...");
        missing++;
    }
    free(steps);
    return missing;
}

// What the evaluations under way have cost the steps of training.
static void say_cost(struct stage_supervisor *supervisor) {
    const struct stage_cost *cost = &supervisor->cost;
    double alone_s, under_way_s;
    if (cost->steps[1] == 0) return;
    if (!stage_cost_means(cost, &alone_s, &under_way_s)) {
        stage_console_say(&supervisor->console, "supervisor",
                          "What evaluation cost training cannot be said: %" PRIu64
                          " steps while one was under way, %" PRIu64 " while none was",
                          cost->steps[1], cost->steps[0]);
        return;
    }
    stage_event(supervisor, "evaluation_cost",
                json_pack("{s:f, s:f, s:I, s:I}", "step_s_alone", alone_s, "step_s_evaluating",
                          under_way_s, "steps_alone", (json_int_t)cost->steps[0],
                          "steps_evaluating", (json_int_t)cost->steps[1]));
    stage_console_say(&supervisor->console, "supervisor",
                      "Evaluation cost training: %.3g s/step while one was under way (%" PRIu64
                      " steps), %.3g s/step while none was (%" PRIu64 " steps): %+.0f %%",
                      under_way_s, cost->steps[1], alone_s, cost->steps[0],
                      100 * (under_way_s / alone_s - 1));
}

bool stage_evaluators_sum_up(struct stage_supervisor *supervisor, struct proto_error *error) {
    char names[320];
    const struct stage_score *newest = stage_scores_newest(&supervisor->scores);
    const struct stage_score *best = stage_scores_best_one(&supervisor->scores);
    if (supervisor->evaluation == STAGE_EVALUATION_OFF) {
        if (is_auto(supervisor))
            stage_console_say(&supervisor->console, "supervisor",
                              "Checkpoints were NOT EVALUATED: the reason stands in training.log");
        return true;
    }
    if (newest)
        stage_console_say(&supervisor->console, "supervisor",
                          "Success: %u of %u (%.0f %%) at step %" PRIu64 "; results: %s/eval",
                          newest->successes, newest->episodes,
                          100.0 * newest->successes / newest->episodes, newest->step,
                          supervisor->run->folder);
    if (best)
        stage_console_say(&supervisor->console, "supervisor",
                          "Best checkpoint: %s/checkpoint-%" PRIu64 ", %u of %u (%.0f %%)",
                          supervisor->run->folder, best->step, best->successes, best->episodes,
                          100.0 * best->successes / best->episodes);
    say_cost(supervisor);
    const size_t missing = missing_count(supervisor, names, sizeof names);
    if (missing == 0 || !supervisor->finished) return true;
    if (!supervisor->asked) {
        proto_fail(error, PROTO_FAILED,
                   "training is complete, but %zu of its checkpoints are not evaluated: %s; "
                   "`pipeline up` again evaluates them, and events.jsonl says what happened",
                   missing, names);
        return proto_error_where(error, "%s", supervisor->run->folder);
    }
    stage_console_say(&supervisor->console, "supervisor",
                      "Not evaluated yet: %s; `pipeline up` goes on with them", names);
    return true;
}

json_t *stage_evaluators_report(const struct stage_supervisor *supervisor) {
    static const char *const names[] = {"never", "during", "after"};
    if (supervisor->evaluation == STAGE_EVALUATION_OFF) return json_null();
    return json_pack("{s:s, s:o, s:o}", "when", names[supervisor->evaluation], "newest",
                     stage_score_json(stage_scores_newest(&supervisor->scores)), "best",
                     stage_score_json(stage_scores_best_one(&supervisor->scores)));
}
