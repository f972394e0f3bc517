// evaluator/rollout.c - rounds: every environment that needs a chunk asks, the policy answers all
// at once, each environment then executes its actions.
//
// A frame is drawn only for a step that will be in the window of a later question.
#include "evaluator/rollout.h"

#include "proto/files.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const evaluator_pilot_names[EVALUATOR_PILOTS] = {"policy", "open_loop", "blind"};

// One environment and the episode it is in. Moments lie in a ring: that of step s at s % history.
struct slot {
    bool active, watched;
    uint32_t number;
    struct evaluator_episode episode;
    double *states;   // [history, state_count]
    uint8_t *frames;  // [history, cameras, frame_bytes]
    double *actions;  // [chunk, action_count], from the last question on
    struct proto_observation moments[PROTO_HISTORY_MAX];
    const struct proto_observation *window[PROTO_HISTORY_MAX];
};

struct run {
    const struct evaluator_rollout *rollout;
    const struct proto_codec *codec;
    size_t frame_bytes;
    struct slot *slots;               // [environments]
    struct evaluator_query *queries;  // [environments]
    bool exhausted;                   // `next` has no more
};

// ---- memory -------------------------------------------------------------------------------------

static bool run_open(struct run *run, struct proto_error *error) {
    const struct proto_codec *codec = run->codec;
    const uint32_t count = run->rollout->environments;
    run->frame_bytes = (size_t)codec->image_height * codec->image_width * 3;
    run->slots = proto_alloc_array(count, sizeof *run->slots, error);
    if (!run->slots) return false;
    run->queries = proto_alloc_array(count, sizeof *run->queries, error);
    if (!run->queries) return false;
    for (uint32_t i = 0; i < count; i++) {
        struct slot *slot = &run->slots[i];
        slot->number = i;
        slot->states = proto_alloc_array((size_t)codec->history * codec->state_count,
                                         sizeof *slot->states, error);
        if (!slot->states) return false;
        slot->frames = proto_alloc_array((size_t)codec->history * codec->camera_count,
                                         run->frame_bytes, error);
        if (!slot->frames) return false;
        slot->actions = proto_alloc_array((size_t)codec->chunk * codec->action_count,
                                          sizeof *slot->actions, error);
        if (!slot->actions) return false;
    }
    return true;
}

static void run_close(struct run *run) {
    for (uint32_t i = 0; run->slots && i < run->rollout->environments; i++) {
        free(run->slots[i].states);
        free(run->slots[i].frames);
        free(run->slots[i].actions);
    }
    free(run->slots);
    free(run->queries);
}

// ---- an episode's end ---------------------------------------------------------------------------

static bool finish(struct run *run, struct slot *slot, bool success, struct proto_error *error) {
    const struct evaluator_rollout *rollout = run->rollout;
    slot->episode.success = success;
    slot->active = false;
    if (slot->watched &&
        !rollout->audience->frame(rollout->audience->context, &slot->episode, slot->number,
                                  success ? EVALUATOR_SUCCEEDED : EVALUATOR_GAVE_UP, error))
        return false;
    return rollout->done(rollout->context, &slot->episode, error);
}

// A simulator that broke down is a failed episode; what else goes wrong is ours.
static bool broke(struct run *run, struct slot *slot, struct proto_error *error) {
    if (error->status != PROTO_FAILED) return false;
    snprintf(slot->episode.note, sizeof slot->episode.note, "%.159s", error->text);
    return finish(run, slot, false, error);
}

// ---- moments ------------------------------------------------------------------------------------

static bool asks(const struct slot *slot) { return slot->episode.pilot != EVALUATOR_OPEN_LOOP; }

// Takes the moment of the present step, if a question will want it.
static bool observe(struct run *run, struct slot *slot, struct proto_error *error) {
    const struct evaluator_rollout *rollout = run->rollout;
    const struct proto_codec *codec = run->codec;
    const uint32_t step = slot->episode.steps, horizon = rollout->exec_horizon;
    const uint32_t to_question = (horizon - step % horizon) % horizon;
    if (!asks(slot) || to_question >= codec->history) return true;
    const uint32_t place = step % codec->history;
    const bool sees = slot->episode.pilot == EVALUATOR_POLICY;
    struct proto_observation *moment = &slot->moments[place];
    double *state = slot->states + (size_t)place * codec->state_count;
    uint8_t *images[PROTO_CAMERAS_MAX] = {0};
    *moment = (struct proto_observation){.state = state};
    for (uint32_t c = 0; sees && c < codec->camera_count; c++) {
        images[c] = slot->frames + ((size_t)place * codec->camera_count + c) * run->frame_bytes;
        moment->images[c] = images[c];
    }
    if (!rollout->simulator.observe(rollout->simulator.context, slot->number, state,
                                    sees ? images : NULL, error))
        return false;
    for (uint32_t c = 0; sees && c < codec->camera_count; c++) {
        moment->frame_ids[c] = proto_hash(images[c], run->frame_bytes);
        const uint64_t chain[] = {slot->episode.frames_hash, moment->frame_ids[c]};
        slot->episode.frames_hash = proto_hash(chain, sizeof chain);
    }
    return true;
}

static bool show(struct run *run, struct slot *slot, struct proto_error *error) {
    const struct evaluator_audience *audience = run->rollout->audience;
    return !slot->watched || audience->frame(audience->context, &slot->episode, slot->number,
                                             EVALUATOR_RUNNING, error);
}

// ---- begin, ask, act ----------------------------------------------------------------------------

static bool begin_simulator(struct run *run, struct slot *slot, struct proto_error *error) {
    const struct evaluator_simulator *simulator = &run->rollout->simulator;
    const struct evaluator_episode *episode = &slot->episode;
    if (!simulator->begin(simulator->context, slot->number, episode->row, episode->seed, error))
        return false;
    for (uint32_t i = 0; i < run->rollout->settle_steps; i++)
        if (!simulator->settle(simulator->context, slot->number, error)) return false;
    return observe(run, slot, error);
}

// Gives an idle environment its next episode, as long as there are any.
static bool begin(struct run *run, struct slot *slot, struct proto_error *error) {
    const struct evaluator_rollout *rollout = run->rollout;
    while (!slot->active && !run->exhausted) {
        bool any = false;
        memset(&slot->episode, 0, sizeof slot->episode);
        if (!rollout->next(rollout->context, &slot->episode, &any, error)) return false;
        run->exhausted = !any;
        if (!any) return true;
        assert(slot->episode.pilot != EVALUATOR_OPEN_LOOP || rollout->open_loop);
        slot->active = true;
        slot->watched = rollout->audience &&
                        rollout->audience->wants(rollout->audience->context, &slot->episode);
        if (begin_simulator(run, slot, error)) {
            if (!show(run, slot, error)) return false;
        } else if (!broke(run, slot, error)) {
            return false;
        }
    }
    return true;
}

static bool ask_all(struct run *run, struct proto_error *error) {
    const struct evaluator_rollout *rollout = run->rollout;
    const uint32_t history = run->codec->history;
    uint32_t count = 0;
    for (uint32_t i = 0; i < rollout->environments; i++) {
        struct slot *slot = &run->slots[i];
        if (!slot->active || !asks(slot)) continue;
        const uint32_t step = slot->episode.steps;
        for (uint32_t h = 0; h < history; h++) {
            const uint32_t back = history - 1 - h;
            slot->window[h] = back > step ? NULL : &slot->moments[(step - back) % history];
        }
        run->queries[count++] = (struct evaluator_query){
            .task = rollout->policy_task,
            .history = slot->window,
            .noise = evaluator_policy_noise(rollout->task, slot->episode.row, step),
            .actions = slot->actions,
        };
    }
    return count == 0 || rollout->decide(rollout->context, run->queries, count, error);
}

// One control step; *over when it was the episode's last.
static bool act(struct run *run, struct slot *slot, uint32_t i, bool *over,
                struct proto_error *error) {
    const struct evaluator_rollout *rollout = run->rollout;
    const struct evaluator_simulator *simulator = &rollout->simulator;
    double mean[PROTO_CHANNELS_MAX];
    const double *x = slot->actions + (size_t)i * run->codec->action_count;
    bool success = false;
    if (!asks(slot)) {
        proto_open_loop_action(rollout->open_loop, run->codec, rollout->open_loop_task,
                               slot->episode.steps, mean);
        x = mean;
    }
    *over = true;
    if (!simulator->step(simulator->context, slot->number, x, &success, error))
        return broke(run, slot, error);
    slot->episode.steps++;
    if (success || slot->episode.steps == rollout->max_steps)
        return finish(run, slot, success, error);
    *over = false;
    if (observe(run, slot, error)) return show(run, slot, error);
    *over = true;
    return broke(run, slot, error);
}

static bool act_all(struct run *run, struct proto_error *error) {
    for (uint32_t i = 0; i < run->rollout->environments; i++) {
        struct slot *slot = &run->slots[i];
        bool over = !slot->active;
        for (uint32_t k = 0; !over && k < run->rollout->exec_horizon; k++)
            if (!act(run, slot, k, &over, error)) return false;
    }
    return true;
}

bool evaluator_rollout_run(const struct evaluator_rollout *rollout, struct proto_error *error) {
    struct run run = {.rollout = rollout, .codec = rollout->codec};
    assert(rollout->exec_horizon >= 1 && rollout->exec_horizon <= rollout->codec->chunk);
    assert(rollout->environments >= 1 && rollout->max_steps >= 1);
    bool done = run_open(&run, error), any = done;
    while (done && any) {
        any = false;
        if (rollout->stop && rollout->stop(rollout->context)) {
            done = proto_fail(error, PROTO_RESUMABLE, "stopped");
            break;
        }
        for (uint32_t i = 0; done && i < rollout->environments; i++) {
            done = begin(&run, &run.slots[i], error);
            any = any || run.slots[i].active;
        }
        done = done && ask_all(&run, error) && act_all(&run, error);
    }
    run_close(&run);
    return done;
}
