// tests/evaluator/recorder_test.c - what is recorded of an expert plays back to the same end.
// Oracles: the simulator's own goal, and the recorded states: a replay of our own recording sees
// the same numbers, so it must be equal to the last bit.
#include "evaluator/recorder.h"
#include "evaluator/replay.h"

#include "tests/evaluator/world_fixture.h"

#include <math.h>

static struct world_fixture fixture;
static struct evaluator_recorder *recorder;

// Closing a drawer: the quickest expert.
static bool task_open(double noise) {
    static const char task[] = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet";
    struct proto_error error = {0};
    evaluator_recorder_free(&recorder);
    if (!world_fixture_open(&fixture, "libero_90", task)) return false;
    const struct evaluator_recorder_settings settings = {
        .world = fixture.world,
        .env = fixture.env,
        .task = evaluator_expert_find(task),
        .noise = noise,
    };
    CHECK(settings.task);
    CHECK_OK(evaluator_recorder_new(&settings, &recorder, &error), error);
    return true;
}

static void attempt_make(uint32_t row, uint32_t seed, struct evaluator_attempt *attempt) {
    struct proto_error error = {0};
    CHECK_OK(evaluator_recorder_run(recorder, world_fixture_row(&fixture, row), fixture.rows.width,
                                    seed, attempt, &error),
             error);
}

static struct evaluator_recorded as_recorded(const struct evaluator_attempt *attempt) {
    return (struct evaluator_recorded){
        .steps = attempt->demo.steps,
        .state_width = fixture.rows.width,
        .states = (double *)(uintptr_t)attempt->demo.states,
        .model_file = (char *)(uintptr_t)attempt->demo.model_file,
    };
}

TEST(recorder_keeps_what_a_replay_repeats_bit_for_bit) {
    struct evaluator_attempt attempt;
    struct evaluator_replay replay;
    struct proto_error error = {0};
    if (!task_open(0.1)) skip();
    attempt_make(33, 5, &attempt);
    CHECK(attempt.success && attempt.demo.agentview == NULL);
    CHECK_INT(attempt.success_step + EVALUATOR_RECORDER_HOLD + 1, attempt.demo.steps);
    const struct evaluator_recorded recorded = as_recorded(&attempt);
    CHECK_OK(evaluator_replay_run(fixture.world, fixture.env, &recorded, attempt.demo.actions,
                                  &replay, &error),
             error);
    CHECK(replay.success);
    CHECK_INT(replay.success_step, attempt.success_step);
    CHECK_INT(replay.steps, attempt.demo.steps);
    CHECK_NEAR(replay.off, 0, 0);
    CHECK_TEXT(replay.trouble, "");
}

// What a replay is for: each of these mistakes is seen.
TEST(recorder_replay_sees_a_wrong_sign_and_a_wrong_model) {
    struct evaluator_attempt attempt;
    struct evaluator_replay replay;
    struct proto_error error = {0};
    if (!task_open(0)) skip();
    attempt_make(30, 0, &attempt);
    CHECK(attempt.success);
    struct evaluator_recorded recorded = as_recorded(&attempt);
    const size_t numbers = (size_t)attempt.demo.steps * 7;
    double *wrong = proto_alloc_array(numbers, sizeof *wrong, &error);
    for (size_t i = 0; i < numbers; i++)
        wrong[i] = i % 7 == 1 ? -attempt.demo.actions[i] : attempt.demo.actions[i];
    CHECK_OK(evaluator_replay_run(fixture.world, fixture.env, &recorded, wrong, &replay, &error),
             error);
    CHECK(!replay.success);
    CHECK(replay.off > 0.1);
    free(wrong);
    recorded.model_file = (char[]){"<mujoco/>"};
    CHECK(!evaluator_replay_run(fixture.world, fixture.env, &recorded, attempt.demo.actions,
                                &replay, &error));
    CHECK_HAS(error.where, "model_file");
    CHECK_HAS(error.text, "has no body wooden_cabinet_1_main");
    recorded = as_recorded(&attempt);
    recorded.state_width--;
    CHECK(!evaluator_replay_run(fixture.world, fixture.env, &recorded, attempt.demo.actions,
                                &replay, &error));
    CHECK_HAS(error.where, "states");
}

TEST(recorder_noise_is_what_separates_executed_from_clean) {
    struct evaluator_attempt attempt;
    double square = 0;
    if (!task_open(0.1)) skip();
    attempt_make(30, 9, &attempt);
    const uint32_t steps = attempt.demo.steps;
    size_t count = 0;
    for (size_t i = 0; i < (size_t)steps * 7; i++) {
        const double executed = attempt.demo.actions[i], clean = attempt.demo.actions_clean[i];
        CHECK(executed >= -1 && executed <= 1 && clean >= -1 && clean <= 1);
        if (i % 7 == 6) {
            CHECK_NEAR(executed, clean, 0);  // the gripper has none
        } else if (fabs(executed) < 1) {
            square += (executed - clean) * (executed - clean);
            count++;
        }
    }
    // a sample deviation of n numbers is off by sigma / sqrt(2 n), 0.004 for 300; five times that
    CHECK(count > 300);
    CHECK_NEAR(sqrt(square / (double)count), 0.1, 0.02);
    const double first = attempt.demo.actions[8];  // the second step's y, well inside the range
    attempt_make(30, 9, &attempt);
    CHECK_NEAR(attempt.demo.actions[8], first, 0);  // the seed's
    attempt_make(30, 10, &attempt);
    CHECK(attempt.demo.actions[8] != first);
}

static bool stop_at_once(void *context) { return ++*(int *)context > 3; }

TEST(recorder_stops_when_asked) {
    struct evaluator_attempt attempt;
    struct proto_error error = {0};
    int asked = 0;
    if (!task_open(0)) skip();
    evaluator_recorder_free(&recorder);
    const struct evaluator_recorder_settings settings = {
        .world = fixture.world,
        .env = fixture.env,
        .task = evaluator_expert_find("KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"),
        .stop = stop_at_once,
        .context = &asked,
    };
    CHECK_OK(evaluator_recorder_new(&settings, &recorder, &error), error);
    attempt_make(30, 0, &attempt);
    CHECK(attempt.stopped && !attempt.success);
    CHECK_INT(attempt.demo.steps, 3);
}

static int tear_down(void **state) {
    (void)state;
    evaluator_recorder_free(&recorder);
    world_fixture_close(&fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(recorder_keeps_what_a_replay_repeats_bit_for_bit),
        UNIT(recorder_replay_sees_a_wrong_sign_and_a_wrong_model),
        UNIT(recorder_noise_is_what_separates_executed_from_clean),
        UNIT(recorder_stops_when_asked),
    };
    return cmocka_run_group_tests(units, NULL, tear_down);
}
