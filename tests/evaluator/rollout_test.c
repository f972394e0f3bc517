// tests/evaluator/rollout_test.c - what an episode is, held against an environment that is
// arithmetic: it writes down what it was asked, and its goal is a sum of actions.
#include "tests/check.h"
#include "tests/codec_fixture.h"

#include "evaluator/rollout.h"
#include "proto/files.h"

enum { ENVIRONMENTS_MAX = 5, EPISODES_MAX = 24, ACTIONS = 7, CHUNK = 8 };

// What one environment is in the middle of.
struct fake_env {
    uint32_t row, seed, settled, steps;
    double sum;
};
static struct {
    struct proto_codec *codec;
    struct proto_open_loop *open_loop;
    struct fake_env envs[ENVIRONMENTS_MAX];
    struct evaluator_episode planned[EPISODES_MAX], finished[EPISODES_MAX];
    uint32_t planned_count, next, finished_count;
    uint32_t begun, drawn, questions, batches, widest;
    uint32_t settle_steps;
    bool masked;           // every image of every question was masked
    uint32_t history_sum;  // moments that were there, over all questions
    uint32_t shown, ends[3];
    uint32_t stop_after;  // batches; 0: never
} f;

// ---- the environment ----------------------------------------------------------------------------

static bool fake_begin(void *context, uint32_t environment, uint32_t row, uint32_t seed,
                       struct proto_error *error) {
    (void)context;
    f.envs[environment] = (struct fake_env){.row = row, .seed = seed};
    f.begun++;
    return row != 13 || proto_fail(error, PROTO_FAILED, "physics blew up");
}
static bool fake_settle(void *context, uint32_t environment, struct proto_error *error) {
    (void)context, (void)error;
    CHECK_INT(f.envs[environment].steps, 0);
    f.envs[environment].settled++;
    return true;
}
// The goal: the first action channel has added up to 1.
static bool fake_step(void *context, uint32_t environment, const double *x, bool *success,
                      struct proto_error *error) {
    struct fake_env *env = &f.envs[environment];
    (void)context, (void)error;
    CHECK_INT(env->settled, f.settle_steps);
    env->sum += x[0];
    env->steps++;
    *success = env->sum >= 1 - 1e-9;
    return true;
}
static bool fake_observe(void *context, uint32_t environment, double *state, uint8_t *const *images,
                         struct proto_error *error) {
    const struct fake_env *env = &f.envs[environment];
    (void)context, (void)error;
    for (uint32_t i = 0; i < f.codec->state_count; i++) state[i] = env->row + 0.01 * env->steps;
    for (uint32_t c = 0; images && c < f.codec->camera_count; c++) {
        memset(images[c], (int)(env->row + env->steps + c), (size_t)4 * 6 * 3);
        f.drawn++;
    }
    return true;
}

// ---- the policy ---------------------------------------------------------------------------------

// Acts by what it sees: a pure function of window and noise, as a network is.
static bool fake_decide(void *context, const struct evaluator_query *queries, uint32_t count,
                        struct proto_error *error) {
    (void)context, (void)error;
    f.batches++;
    f.questions += count;
    if (count > f.widest) f.widest = count;
    for (uint32_t i = 0; i < count; i++) {
        const struct proto_observation *now = queries[i].history[f.codec->history - 1];
        CHECK(now);
        for (uint32_t h = 0; h < f.codec->history; h++)
            f.history_sum += queries[i].history[h] != NULL;
        if (now->images[0]) f.masked = false;
        const double speed = now->images[0] ? 0.02 + 0.001 * now->images[0][0] : 0.001;
        for (uint32_t k = 0; k < CHUNK * ACTIONS; k++)
            queries[i].actions[k] = speed + 1e-4 * (double)(queries[i].noise % 16);
    }
    return true;
}

// ---- plan and audience --------------------------------------------------------------------------

static bool fake_next(void *context, struct evaluator_episode *episode, bool *any,
                      struct proto_error *error) {
    (void)context, (void)error;
    *any = f.next < f.planned_count;
    if (*any) *episode = f.planned[f.next++];
    return true;
}
static bool fake_done(void *context, const struct evaluator_episode *episode,
                      struct proto_error *error) {
    (void)context, (void)error;
    CHECK(f.finished_count < EPISODES_MAX);
    f.finished[f.finished_count++] = *episode;
    return true;
}
static bool fake_stop(void *context) {
    (void)context;
    return f.stop_after > 0 && f.batches >= f.stop_after;
}
static bool fake_wants(void *context, const struct evaluator_episode *episode) {
    (void)context;
    return episode->pilot == EVALUATOR_POLICY && episode->row == 10;
}
static bool fake_frame(void *context, const struct evaluator_episode *episode, uint32_t environment,
                       enum evaluator_scene_end end, struct proto_error *error) {
    (void)context, (void)error;
    CHECK_INT(episode->row, 10);
    CHECK_INT(f.envs[environment].row, 10);
    f.shown++;
    f.ends[end]++;
    return true;
}

static void fixture_open(uint32_t history) {
    struct proto_error error = {0};
    memset(&f, 0, sizeof f);
    f.codec = fixture_codec(PROTO_ZSCORE, true, 1);
    f.codec->history = history;
    f.open_loop = proto_alloc(sizeof *f.open_loop, &error);
    CHECK(f.open_loop);
    *f.open_loop = (struct proto_open_loop){.action_count = ACTIONS, .task_count = 1};
    f.open_loop->tasks = proto_alloc_array(1, sizeof *f.open_loop->tasks, &error);
    f.open_loop->tasks[0] = (struct proto_open_loop_task){.steps = 10, .episodes = 1};
    f.open_loop->tasks[0].actions = proto_alloc_array(10 * ACTIONS, sizeof(double), &error);
    for (uint32_t t = 0; t < 10; t++) f.open_loop->tasks[0].actions[t * ACTIONS] = 0.1;
    f.masked = true;
}
static void fixture_close(void) {
    proto_open_loop_free(&f.open_loop);
    proto_codec_free(&f.codec);
}

static void plan(uint32_t row, enum evaluator_pilot pilot) {
    f.planned[f.planned_count++] =
        (struct evaluator_episode){.pilot = pilot, .row = row, .seed = 100 + row};
}

static bool fly(uint32_t environments, uint32_t horizon, uint32_t max_steps,
                struct proto_error *error) {
    static const struct evaluator_audience audience = {NULL, fake_wants, fake_frame};
    f.settle_steps = 3;
    const struct evaluator_rollout rollout = {
        .codec = f.codec,
        .task = "a task",
        .environments = environments,
        .max_steps = max_steps,
        .exec_horizon = horizon,
        .settle_steps = f.settle_steps,
        .simulator = {NULL, fake_begin, fake_settle, fake_step, fake_observe},
        .audience = &audience,
        .open_loop = f.open_loop,
        .decide = fake_decide,
        .next = fake_next,
        .done = fake_done,
        .stop = fake_stop,
    };
    return evaluator_rollout_run(&rollout, error);
}

static const struct evaluator_episode *outcome(uint32_t row, enum evaluator_pilot pilot) {
    for (uint32_t i = 0; i < f.finished_count; i++)
        if (f.finished[i].row == row && f.finished[i].pilot == pilot) return &f.finished[i];
    fail_msg("row %u has no outcome", row);
    return &f.finished[0];
}

// ---- promises -----------------------------------------------------------------------------------

TEST(rollout_ends_at_the_first_success_or_the_last_step) {
    struct proto_error error = {0};
    fixture_open(1);
    plan(10, EVALUATOR_POLICY);
    plan(10, EVALUATOR_OPEN_LOOP);
    plan(10, EVALUATOR_BLIND);
    CHECK_OK(fly(1, 4, 50, &error), error);
    CHECK_INT(f.finished_count, 3);
    // the mean action of 0.1 adds up to 1 in ten steps, exactly where its rows end
    CHECK(outcome(10, EVALUATOR_OPEN_LOOP)->success);
    CHECK_INT(outcome(10, EVALUATOR_OPEN_LOOP)->steps, 10);
    CHECK(outcome(10, EVALUATOR_POLICY)->success);
    CHECK(outcome(10, EVALUATOR_POLICY)->steps > 10 && outcome(10, EVALUATOR_POLICY)->steps < 50);
    // 0.001 a step does not get there
    CHECK(!outcome(10, EVALUATOR_BLIND)->success);
    CHECK_INT(outcome(10, EVALUATOR_BLIND)->steps, 50);
    CHECK_INT(outcome(10, EVALUATOR_POLICY)->seed, 110);
    CHECK_INT(f.begun, 3);
    // a frame at step 0 and after each step, the last of them with the outcome
    CHECK_INT(f.shown, outcome(10, EVALUATOR_POLICY)->steps + 1);
    CHECK_INT(f.ends[EVALUATOR_SUCCEEDED], 1);
    CHECK_INT(f.ends[EVALUATOR_GAVE_UP], 0);
    fixture_close();
}

TEST(rollout_open_loop_rests_behind_its_rows_and_asks_nobody) {
    struct proto_error error = {0};
    fixture_open(1);
    f.open_loop->tasks[0].steps = 9;
    plan(11, EVALUATOR_OPEN_LOOP);
    CHECK_OK(fly(1, 4, 30, &error), error);
    CHECK(!outcome(11, EVALUATOR_OPEN_LOOP)->success);
    CHECK_INT(outcome(11, EVALUATOR_OPEN_LOOP)->steps, 30);
    CHECK_INT(f.questions, 0);
    CHECK_INT(f.drawn, 0);
    fixture_close();
}

TEST(rollout_outcomes_do_not_depend_on_the_number_of_environments) {
    struct evaluator_episode first[EPISODES_MAX];
    uint32_t count = 0;
    struct proto_error error = {0};
    for (uint32_t environments = 1; environments <= ENVIRONMENTS_MAX; environments++) {
        fixture_open(2);
        for (uint32_t row = 20; row < 32; row++) {
            plan(row, EVALUATOR_POLICY);
            plan(row, EVALUATOR_BLIND);
        }
        CHECK_OK(fly(environments, 4, 40, &error), error);
        CHECK_INT(f.finished_count, f.planned_count);
        CHECK_INT(f.widest, environments);  // they ask together
        if (environments == 1) {
            memcpy(first, f.finished, sizeof first);
            count = f.finished_count;
        }
        for (uint32_t i = 0; i < count; i++) {
            const struct evaluator_episode *now = outcome(first[i].row, first[i].pilot);
            CHECK_INT(now->success, first[i].success);
            CHECK_INT(now->steps, first[i].steps);
            CHECK(now->frames_hash == first[i].frames_hash);
        }
        fixture_close();
    }
}

TEST(rollout_draws_only_what_a_question_will_see) {
    struct proto_error error = {0};
    // history 1: one moment a question; 2 cameras
    fixture_open(1);
    plan(0, EVALUATOR_POLICY);
    CHECK_OK(fly(1, 8, 24, &error), error);
    CHECK_INT(outcome(0, EVALUATOR_POLICY)->steps, 24);
    CHECK_INT(f.questions, 3);
    CHECK_INT(f.drawn, 3 * 2);
    CHECK_INT(f.history_sum, 3);
    fixture_close();
    // history 2: the first question has no moment before it, the others have the one before theirs
    fixture_open(2);
    plan(0, EVALUATOR_POLICY);
    CHECK_OK(fly(1, 8, 24, &error), error);
    CHECK_INT(f.history_sum, 1 + 2 + 2);
    CHECK_INT(f.drawn, (1 + 2 + 2 + 1) * 2);  // the last: step 23, before the end is known
    CHECK(!f.masked);
    fixture_close();
    // blind: nothing is drawn, every frame is masked, questions are asked all the same
    fixture_open(2);
    plan(0, EVALUATOR_BLIND);
    CHECK_OK(fly(1, 8, 24, &error), error);
    CHECK_INT(f.questions, 3);
    CHECK_INT(f.drawn, 0);
    CHECK(f.masked);
    CHECK(outcome(0, EVALUATOR_BLIND)->frames_hash == 0);
    fixture_close();
}

TEST(rollout_counts_a_breakdown_as_failure_and_goes_on) {
    struct proto_error error = {0};
    fixture_open(1);
    plan(13, EVALUATOR_POLICY);  // blows up at its start
    plan(14, EVALUATOR_POLICY);
    CHECK_OK(fly(1, 4, 60, &error), error);
    CHECK(!outcome(13, EVALUATOR_POLICY)->success);
    CHECK_TEXT(outcome(13, EVALUATOR_POLICY)->note, "physics blew up");
    CHECK(outcome(14, EVALUATOR_POLICY)->success);
    CHECK_TEXT(outcome(14, EVALUATOR_POLICY)->note, "");
    fixture_close();
}

TEST(rollout_stops_when_it_is_told_to) {
    struct proto_error error = {0};
    fixture_open(1);
    for (uint32_t row = 20; row < 30; row++) plan(row, EVALUATOR_BLIND);
    f.stop_after = 2;
    CHECK(!fly(2, 4, 100, &error));
    CHECK_INT(error.status, PROTO_RESUMABLE);
    CHECK_INT(f.batches, 2);
    fixture_close();
}

TEST(rollout_noise_is_of_task_start_and_step) {
    const uint64_t one = evaluator_policy_noise("a", 3, 16);
    CHECK(one == evaluator_policy_noise("a", 3, 16));
    CHECK(one != evaluator_policy_noise("b", 3, 16));
    CHECK(one != evaluator_policy_noise("a", 4, 16));
    CHECK(one != evaluator_policy_noise("a", 3, 17));
    CHECK(one != evaluator_policy_noise("a", 16, 3));
}

TEST_MAIN(UNIT(rollout_ends_at_the_first_success_or_the_last_step),
          UNIT(rollout_open_loop_rests_behind_its_rows_and_asks_nobody),
          UNIT(rollout_outcomes_do_not_depend_on_the_number_of_environments),
          UNIT(rollout_draws_only_what_a_question_will_see),
          UNIT(rollout_counts_a_breakdown_as_failure_and_goes_on),
          UNIT(rollout_stops_when_it_is_told_to), UNIT(rollout_noise_is_of_task_start_and_step))
