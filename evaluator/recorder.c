// evaluator/recorder.c - expert, environment and cameras, one step after the other.
#include "evaluator/recorder.h"

#include "evaluator/model_file.h"
#include "proto/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTION_WIDTH 7
#define SETTLE_STEPS 5
#define ROOM_STEPS 64  // by which the arrays grow

struct evaluator_recorder {
    struct evaluator_recorder_settings settings;
    struct evaluator_expert *expert;
    uint32_t state_width, room;  // room: steps that fit
    size_t image_bytes;
    double *actions, *clean, *states;
    struct evaluator_observation *observations;
    uint8_t *agentview, *eye_in_hand;
    char *model_file;
    double noise[6];  // of the last step
};

bool evaluator_recorder_new(const struct evaluator_recorder_settings *settings,
                            struct evaluator_recorder **out, struct proto_error *error) {
    struct evaluator_recorder *recorder = proto_alloc(sizeof *recorder, error);
    if (!recorder) return false;
    recorder->settings = *settings;
    recorder->state_width = evaluator_world_state_width(settings->world);
    recorder->image_bytes = settings->camera ? (size_t)settings->height * settings->width * 3 : 0;
    if (!evaluator_expert_new(settings->task, settings->env, &recorder->expert, error)) {
        evaluator_recorder_free(&recorder);
        return false;
    }
    evaluator_env_keep_pictures(settings->env, settings->camera != NULL);
    *out = recorder;
    return true;
}

void evaluator_recorder_free(struct evaluator_recorder **recorder_pointer) {
    struct evaluator_recorder *recorder = *recorder_pointer;
    if (!recorder) return;
    evaluator_expert_free(&recorder->expert);
    free(recorder->actions);
    free(recorder->clean);
    free(recorder->states);
    free(recorder->observations);
    free(recorder->agentview);
    free(recorder->eye_in_hand);
    free(recorder->model_file);
    free(recorder);
    *recorder_pointer = NULL;
}

// *array becomes room for `count` items; its content stays.
static bool grow(void *array_pointer, size_t count, size_t item_bytes, struct proto_error *error) {
    void **array = array_pointer, *grown = NULL;
    size_t size_bytes;
    if (proto_mul(count, item_bytes, &size_bytes)) grown = realloc(*array, size_bytes);
    if (!grown) return proto_fail(error, PROTO_EXHAUSTED, "no memory for %zu steps", count);
    *array = grown;
    return true;
}

static bool room_make(struct evaluator_recorder *recorder, uint32_t steps,
                      struct proto_error *error) {
    if (steps <= recorder->room) return true;
    const size_t room = recorder->room + ROOM_STEPS, image = recorder->image_bytes;
    if (!grow(&recorder->actions, room, ACTION_WIDTH * sizeof(double), error) ||
        !grow(&recorder->clean, room, ACTION_WIDTH * sizeof(double), error) ||
        !grow(&recorder->states, room, recorder->state_width * sizeof(double), error) ||
        !grow(&recorder->observations, room, sizeof *recorder->observations, error) ||
        (image > 0 && (!grow(&recorder->agentview, room, image, error) ||
                       !grow(&recorder->eye_in_hand, room, image, error))))
        return false;
    recorder->room = (uint32_t)room;
    return true;
}

// Reset and start state.
static bool begin(struct evaluator_recorder *recorder, const double *state, uint32_t width,
                  uint32_t seed, struct proto_error *error) {
    struct evaluator_env *env = recorder->settings.env;
    free(recorder->model_file);
    recorder->model_file = NULL;
    evaluator_env_seed(env, seed);
    if (!evaluator_env_reset(env, error) ||
        !evaluator_model_file_make(recorder->settings.world, env, &recorder->model_file, error) ||
        !evaluator_env_set_state(env, state, width, error))
        return false;
    evaluator_expert_begin(recorder->expert);
    return true;
}

// The steps that no demonstration keeps. False: the physics blew up; the attempt says how.
static bool settle(struct evaluator_recorder *recorder, struct evaluator_attempt *attempt) {
    const double still[ACTION_WIDTH] = {
        0, 0, 0, 0, 0, 0, evaluator_expert_first_grip(recorder->settings.task)};
    for (int i = 0; i < SETTLE_STEPS; i++) {
        bool success;
        struct proto_error trouble = {0};
        if (evaluator_env_step(recorder->settings.env, still, &success, &trouble)) continue;
        snprintf(attempt->why, sizeof attempt->why, "%.200s before the first step", trouble.text);
        return false;
    }
    return true;
}

// What is executed: what the expert wants plus noise, within the controller's range. A task that
// keeps the hand's orientation has its motion disturbed only, by noise that lasts over steps.
static void disturb(struct evaluator_recorder *recorder, const double clean[ACTION_WIDTH],
                    uint32_t seed, uint32_t t, double executed[ACTION_WIDTH]) {
    const struct evaluator_expert_task *task = recorder->settings.task;
    const double noise = recorder->settings.noise;
    const int count = task->moves_only ? 3 : 6;
    float normal[6] = {0};
    memcpy(executed, clean, ACTION_WIDTH * sizeof *executed);
    if (!(noise > 0)) return;
    struct proto_random random = proto_random_at(seed, PROTO_PURPOSE_EXPERT, t);
    proto_random_normal(&random, normal, 6);
    for (int i = 0; i < count; i++) {
        const double kept = t > 0 ? task->noise_memory * recorder->noise[i] : 0;
        recorder->noise[i] = kept + noise * (double)normal[i];
        executed[i] += recorder->noise[i];
        executed[i] = executed[i] < -1 ? -1 : executed[i] > 1 ? 1 : executed[i];
    }
}

static bool pictures_take(struct evaluator_recorder *recorder, uint32_t t,
                          struct proto_error *error) {
    struct evaluator_camera *camera = recorder->settings.camera;
    struct evaluator_env *env = recorder->settings.env;
    const size_t at = t * recorder->image_bytes;
    return !camera ||
           (evaluator_camera_draw(camera, env, "agentview", recorder->agentview + at, error) &&
            evaluator_camera_draw(camera, env, "robot0_eye_in_hand", recorder->eye_in_hand + at,
                                  error));
}

enum turn { TURN_ERROR, TURN_DONE, TURN_TROUBLE };

// One recorded step. TURN_TROUBLE: the physics blew up; *error says how.
static enum turn step(struct evaluator_recorder *recorder, uint32_t seed, uint32_t t, bool *stuck,
                      bool *success, struct proto_error *error) {
    struct evaluator_env *env = recorder->settings.env;
    if (!room_make(recorder, t + 1, error)) return TURN_ERROR;
    double *clean = recorder->clean + (size_t)t * ACTION_WIDTH;
    double *executed = recorder->actions + (size_t)t * ACTION_WIDTH;
    evaluator_env_state(env, recorder->states + (size_t)t * recorder->state_width);
    *stuck = !evaluator_expert_act(recorder->expert, clean);
    disturb(recorder, clean, seed, t, executed);
    if (!evaluator_env_step(env, executed, success, error)) return TURN_TROUBLE;
    recorder->observations[t] = *evaluator_env_observation(env);
    return pictures_take(recorder, t, error) ? TURN_DONE : TURN_ERROR;
}

// Steps until the goal has held long enough, or something is in the way.
static bool play(struct evaluator_recorder *recorder, uint32_t seed,
                 struct evaluator_attempt *attempt, struct proto_error *error) {
    uint32_t held = 0, t = 0;
    for (; held <= EVALUATOR_RECORDER_HOLD; t++) {
        bool stuck = false, success = false;
        attempt->stopped =
            recorder->settings.stop && recorder->settings.stop(recorder->settings.context);
        if (attempt->stopped) break;
        const enum turn turn = step(recorder, seed, t, &stuck, &success, error);
        if (turn == TURN_ERROR) return false;
        const char *doing = evaluator_expert_doing(recorder->expert);
        if (turn == TURN_TROUBLE) {
            snprintf(attempt->why, sizeof attempt->why, "%.200s at step %u (%.60s)", error->text, t,
                     doing);
            break;
        }
        if (success && held == 0) attempt->success_step = t;
        held = success || held > 0 ? held + 1 : 0;
        if (held > EVALUATOR_RECORDER_HOLD && !success)
            snprintf(attempt->why, sizeof attempt->why,
                     "the goal was true after step %u and did not stay so", attempt->success_step);
        if (held == 0 && (stuck || t + 1 == EVALUATOR_RECORDER_STEPS_MAX)) {
            snprintf(attempt->why, sizeof attempt->why, "stuck at \"%.60s\" after %u steps", doing,
                     t + 1);
            break;
        }
    }
    attempt->success = !attempt->stopped && attempt->why[0] == '\0';
    attempt->demo.steps = t;
    return true;
}

bool evaluator_recorder_run(struct evaluator_recorder *recorder, const double *state,
                            uint32_t width, uint32_t seed, struct evaluator_attempt *attempt,
                            struct proto_error *error) {
    *attempt = (struct evaluator_attempt){.success = false};
    if (!begin(recorder, state, width, seed, error)) return false;
    if (!settle(recorder, attempt)) return true;
    if (!play(recorder, seed, attempt, error)) return false;
    attempt->demo.actions = recorder->actions;
    attempt->demo.actions_clean = recorder->clean;
    attempt->demo.states = recorder->states;
    attempt->demo.observations = recorder->observations;
    attempt->demo.agentview = recorder->agentview;
    attempt->demo.eye_in_hand = recorder->eye_in_hand;
    attempt->demo.model_file = recorder->model_file;
    attempt->demo.reset_seed = seed;
    return true;
}
