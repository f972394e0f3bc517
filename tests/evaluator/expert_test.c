// tests/evaluator/expert_test.c - scripted experts solve their tasks, from a start state that no
// plan was tuned on, and say where they are stuck. Oracle: the simulator's own goal.
#include "evaluator/expert.h"
#include "evaluator/recorder.h"

#include "tests/evaluator/world_fixture.h"

#include <math.h>

// One task per kind of plan, and one start state, to be quick.
static const struct {
    const char *suite, *task;
} kinds[] = {
    {"libero_90", "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet"},
    {"libero_goal", "turn_on_the_stove"},
    {"libero_object", "pick_up_the_alphabet_soup_and_place_it_in_the_basket"},
};

static struct world_fixture fixture;
static size_t open_now;  // the kind whose world is open

static bool task_open(size_t kind) {
    if (kind != open_now) world_fixture_close(&fixture);
    open_now = kind;
    return world_fixture_open(&fixture, kinds[kind].suite, kinds[kind].task);
}

static void attempt_make(const struct evaluator_expert_task *task,
                         struct evaluator_attempt *attempt) {
    const struct evaluator_recorder_settings settings = {
        .world = fixture.world, .env = fixture.env, .task = task};
    struct evaluator_recorder *recorder = NULL;
    struct proto_error error = {0};
    CHECK(task);
    CHECK_OK(evaluator_recorder_new(&settings, &recorder, &error), error);
    CHECK_OK(evaluator_recorder_run(recorder, world_fixture_row(&fixture, 31), fixture.rows.width,
                                    1, attempt, &error),
             error);
    evaluator_recorder_free(&recorder);
}

TEST(expert_solves_its_task) {
    for (size_t kind = PROTO_COUNT(kinds); kind-- > 0;) {
        TEST_CASE(kinds[kind].task);
        if (!task_open(kind)) skip();
        struct evaluator_attempt attempt;
        attempt_make(evaluator_expert_find(kinds[kind].task), &attempt);
        if (!attempt.success) fail_msg("%s: %s", kinds[kind].task, attempt.why);
    }
}

// An expert whose place cannot be reached says in which phase it is stuck; one for another scene is
// refused.
TEST(expert_says_where_it_is_stuck) {
    static const struct evaluator_expert_phase phases[] = {
        {"to the moon", 0, EVALUATOR_AXES_WORLD, {0, 0, 9}, 0, 0, 1, 1, .01, NAN, NAN, 0, 12},
        {"back", 0, EVALUATOR_AXES_WORLD, {0, 0, 0}, 0, 0, 1, 1, .01, NAN, NAN, 0, 12},
    };
    struct evaluator_expert_task task = {.name = "test",
                                         .phases = phases,
                                         .phase_count = PROTO_COUNT(phases),
                                         .bodies = {"wooden_cabinet_1_main"}};
    struct evaluator_attempt attempt;
    struct proto_error error = {0};
    if (!task_open(0)) skip();
    attempt_make(&task, &attempt);
    CHECK(!attempt.success);
    CHECK_TEXT(attempt.why, "stuck at \"to the moon\" after 13 steps");
    task.bodies[0] = "moon_main";
    struct evaluator_expert *expert = NULL;
    CHECK(!evaluator_expert_new(&task, fixture.env, &expert, &error));
    CHECK_HAS(error.text, "the scene has no moon_main");
}

TEST(expert_is_for_a_task_of_libero) {
    size_t count;
    const struct evaluator_expert_task *tasks = evaluator_expert_tasks(&count);
    CHECK(count >= PROTO_COUNT(kinds));
    for (size_t i = 0; i < count; i++) {
        const char *nearest = NULL;
        TEST_CASE(tasks[i].name);
        CHECK(evaluator_task_find(NULL, tasks[i].name, &nearest) != NULL);
        CHECK(evaluator_expert_find(tasks[i].name) == &tasks[i]);
    }
    CHECK(evaluator_expert_find("make_coffee") == NULL);
}

static int tear_down(void **state) {
    (void)state;
    world_fixture_close(&fixture);
    return 0;
}

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(expert_solves_its_task),
        UNIT(expert_says_where_it_is_stuck),
        UNIT(expert_is_for_a_task_of_libero),
    };
    return cmocka_run_group_tests(units, NULL, tear_down);
}
