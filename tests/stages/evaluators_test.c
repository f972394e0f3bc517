// tests/stages/evaluators_test.c - evaluators beside a run: they never set training back, finish
// what is left when it is complete, and are asked before it starts. Oracle: the words of policy.h
// and of evaluator.when in the table of options; stages are fakes (fake_stage_program.c),
// everything else is real.
#include "tests/stages/world.h"

#include "proto/checkpoint.h"
#include "proto/evaluated.h"

static void world_evaluates(struct world *world, const char *when, const char *steps) {
    world_open(world);
    world_set(world, when);
    world_set(world, "evaluator.device=cpu");
    world_order(world, "period", "20\n");
    world_order(world, "steps", steps);
}

static size_t events_count(const struct world *world, const char *name) {
    json_t *events = world_events(world, name);
    const size_t count = json_array_size(events);
    json_decref(events);
    return count;
}

// Where in events.jsonl the event of a name and stage (NULL: any) comes first.
static size_t event_index(const struct world *world, const char *name, const char *stage) {
    json_t *events = world_events(world, NULL), *event;
    size_t i, found = SIZE_MAX;
    json_array_foreach(events, i, event) {
        const char *of = json_string_value(json_object_get(event, "stage"));
        if (strcmp(json_string_value(json_object_get(event, "event")), name) != 0) continue;
        if (stage && (!of || strcmp(of, stage) != 0)) continue;
        found = i;
        break;
    }
    json_decref(events);
    return found;
}

static void check_all_evaluated(const struct world *world, size_t expected) {
    struct proto_error error = {0};
    uint64_t *steps = NULL;
    size_t count = 0;
    CHECK_OK(proto_checkpoint_list(world->run, &steps, &count, &error), error);
    CHECK_INT(count, expected);
    for (size_t i = 0; i < count; i++) CHECK(proto_evaluated_done(world->run, steps[i]));
    CHECK_INT(events_count(world, "evaluation_finished"), expected);
    free(steps);
}

TEST(evaluators_finish_what_is_left_when_training_is_complete) {
    struct world world;
    world_evaluates(&world, "evaluator.when=during", "60\n");
    world_set(&world, "evaluator.workers=1");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_all_evaluated(&world, 3);
    world_says(&world, "Success: 60 of 1000 (6 %) at step 60");
    world_says(&world, "Best checkpoint: ");
    // asked before the trainers were started
    CHECK(event_index(&world, "exit", "evaluator-check") < event_index(&world, "start", "trainer"));
    CHECK(event_index(&world, "start", "evaluator") < event_index(&world, "exit", "trainer"));
    // once more: training is complete, nothing is left to evaluate
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_all_evaluated(&world, 3);
    world_close(&world);
}

TEST(evaluators_wait_for_the_end_of_training_when_told_so) {
    struct world world;
    world_evaluates(&world, "evaluator.when=after", "60\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_all_evaluated(&world, 3);
    CHECK(event_index(&world, "start", "evaluator") > event_index(&world, "exit", "trainer"));
    world_close(&world);
}

TEST(evaluators_that_die_are_started_again_and_training_goes_on) {
    struct world world;
    world_evaluates(&world, "evaluator.when=during", "100\n");
    world_order(&world, "evaluator-0", "signal 9 3\nsignal 11 3\nleave\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_all_evaluated(&world, 5);
    CHECK_INT(events_count(&world, "restart"), 3);
    CHECK_INT(events_count(&world, "restart_group"), 0);
    // index, check, two trainers, two loaders, one evaluator and three more lives of it
    CHECK_INT(events_count(&world, "start"), 10);
    world_close(&world);
}

TEST(evaluators_that_cannot_work_are_given_up_and_named_at_the_end) {
    static const struct {
        const char *name, *orders, *says;
    } cases[] = {
        {"limit", "exit 1\nexit 1\nfail 1 the renderer is gone\n", "the renderer is gone"},
        {"final", "fail 4 no such suite\n", "no such suite"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct world world;
        TEST_CASE(cases[i].name);
        world_evaluates(&world, "evaluator.when=during", "40\n");
        world_set(&world, "supervisor.restart_limit=2");
        world_order(&world, "evaluator-0", cases[i].orders);
        world_up(&world);
        CHECK_INT(world_wait(&world), 1);
        world_says(&world, cases[i].says);
        world_says(&world, "Training finished");
        world_says(&world, "are not evaluated: checkpoint-20, checkpoint-40");
        CHECK_INT(events_count(&world, "given_up"), 1);
        // what is missing is evaluated by the next `up`
        world_up(&world);
        CHECK_INT(world_wait(&world), 0);
        check_all_evaluated(&world, 2);
        world_close(&world);
    }
    TEST_CASE("");
}

TEST(evaluators_are_asked_before_training_whether_they_can) {
    struct world world;
    world_evaluates(&world, "evaluator.when=during", "40\n");
    world_order(&world, "evaluator-check-0", "fail 4 no assets of LIBERO\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 4);
    world_says(&world, "no assets of LIBERO");
    world_says(&world, "--set evaluator.when=never");
    CHECK(event_index(&world, "start", "trainer") == SIZE_MAX);
    world_close(&world);
    // a program that is not there cannot say so itself
    char path[1100];
    world_evaluates(&world, "evaluator.when=after", "40\n");
    snprintf(path, sizeof path, "%s/pipeline-evaluator", world.programs);
    CHECK(unlink(path) == 0);
    world_up(&world);
    CHECK_INT(world_wait(&world), 4);
    world_says(&world, "pipeline-evaluator is needed");
    CHECK(event_index(&world, "start", "trainer") == SIZE_MAX);
    world_close(&world);
}

TEST(evaluators_that_cannot_are_left_out_by_auto_and_that_is_said) {
    struct world world;
    world_evaluates(&world, "evaluator.when=auto", "40\n");
    world_order(&world, "evaluator-check-0", "fail 4 no assets of LIBERO\n");
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    world_says(&world, "NOT EVALUATED: ");
    world_says(&world, "no assets of LIBERO");
    CHECK_INT(events_count(&world, "evaluation_off"), 1);
    CHECK(event_index(&world, "start", "evaluator") == SIZE_MAX);
    world_close(&world);
}

TEST(evaluators_leave_at_once_and_the_next_up_goes_on_with_them) {
    struct world world;
    world_evaluates(&world, "evaluator.when=during", "40\n");
    world_order(&world, "evaluator-0", "slow\n");
    world_up(&world);
    // training is complete, and the evaluator is at work
    world_seen(&world, "evaluation_started", 1);
    world_seen(&world, "exit", 6);  // index, check, two trainers, and the loaders after them
    CHECK(kill(world.up, SIGINT) == 0);
    CHECK_INT(world_wait(&world), 130);
    world_says(&world, "the episodes that they finished are kept");
    world_says(&world, "Not evaluated yet: checkpoint-20, checkpoint-40");
    CHECK_INT(events_count(&world, "death"), 0);
    world_up(&world);
    CHECK_INT(world_wait(&world), 0);
    check_all_evaluated(&world, 2);
    world_close(&world);
}

TEST(evaluators_are_stopped_with_the_run_and_trainers_still_write) {
    struct world world;
    world_evaluates(&world, "evaluator.when=during", "100000\n");
    world_up(&world);
    world_seen(&world, "evaluation_finished", 1);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    CHECK_INT(events_count(&world, "death"), 0);
    // the evaluator does not wait for the trainers' checkpoint
    json_t *exits = world_events(&world, "exit");
    CHECK(json_array_size(exits) >= 7);
    json_decref(exits);
    world_close(&world);
}

TEST(evaluators_outlive_the_trainers_restart) {
    struct world world;
    pid_t trainers[2] = {0}, evaluators[1] = {0}, still[1] = {0};
    world_evaluates(&world, "evaluator.when=during", "100000\n");
    world_up(&world);
    world_seen(&world, "evaluation_finished", 1);
    CHECK_INT(world_count(&world, "trainer", "running", trainers, 2), 2);
    CHECK_INT(world_count(&world, "evaluator", "running", evaluators, 1), 1);
    CHECK(kill(trainers[0], SIGKILL) == 0);
    world_seen(&world, "restart_group", 1);
    world_reach(&world, "trainer", "running", 2, WORLD_DEADLINE_MS);
    CHECK_INT(world_count(&world, "evaluator", "running", still, 1), 1);
    CHECK(still[0] == evaluators[0]);
    json_t *status = world_status(&world);
    const json_t *newest = json_object_get(json_object_get(status, "evaluation"), "newest");
    CHECK_INT(integer_of(newest, "successes"), integer_of(newest, "step"));
    json_decref(status);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST(evaluators_are_scaled_live) {
    struct world world;
    static const int counts[] = {3, 1};
    world_evaluates(&world, "evaluator.when=during", "100000\n");
    world_up(&world);
    world_seen(&world, "ready", 5);
    for (size_t i = 0; i < PROTO_COUNT(counts); i++) {
        struct proto_error error = {0};
        json_t *answer = NULL;
        CHECK_OK(stage_client_call(world.run,
                                   json_pack("{s:s, s:s, s:i}", "verb", "scale", "stage",
                                             "evaluator", "count", counts[i]),
                                   &answer, &error),
                 error);
        json_decref(answer);
        world_reach(&world, "evaluator", "running", (size_t)counts[i], 2000);
        world_reach(&world, "evaluator", "draining", 0, 2000);
    }
    CHECK_INT(events_count(&world, "death"), 0);
    CHECK(kill(world.up, SIGTERM) == 0);
    CHECK_INT(world_wait(&world), 143);
    world_close(&world);
}

TEST_MAIN(UNIT(evaluators_finish_what_is_left_when_training_is_complete),
          UNIT(evaluators_wait_for_the_end_of_training_when_told_so),
          UNIT(evaluators_that_die_are_started_again_and_training_goes_on),
          UNIT(evaluators_that_cannot_work_are_given_up_and_named_at_the_end),
          UNIT(evaluators_are_asked_before_training_whether_they_can),
          UNIT(evaluators_that_cannot_are_left_out_by_auto_and_that_is_said),
          UNIT(evaluators_leave_at_once_and_the_next_up_goes_on_with_them),
          UNIT(evaluators_are_stopped_with_the_run_and_trainers_still_write),
          UNIT(evaluators_outlive_the_trainers_restart), UNIT(evaluators_are_scaled_live))
