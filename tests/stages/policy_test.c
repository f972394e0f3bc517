// tests/stages/policy_test.c - what is done about each event, how restarts are paced and limited,
// and what counts as a fault of the data. Oracle: the promises written in policy.h.
#include "tests/check.h"

#include "stages/policy.h"

#include <signal.h>

TEST(policy_has_a_rule_that_leads_somewhere_for_every_case) {
    for (int role = 0; role < STAGE_ROLES; role++)
        for (int from = 0; from < STAGE_STATES; from++)
            for (int event = 0; event < STAGE_EVENTS; event++) {
                const struct stage_rule rule = stage_rule(
                    (enum stage_role)role, (enum stage_state)from, (enum stage_event)event);
                CHECK(rule.next < STAGE_STATES);
                CHECK(rule.action <= STAGE_GIVE_UP);
                // whatever kind of death it is, a living state ends in a dead one
                const bool living =
                    from == STAGE_STARTING || from == STAGE_RUNNING || from == STAGE_DRAINING;
                if (living && event >= STAGE_LEFT)
                    CHECK(rule.next == STAGE_DONE || rule.next == STAGE_FAILED);
                // nothing is started beside one that lives, nothing dead is asked or killed
                if (living) CHECK(rule.action != STAGE_SPAWN);
                if (!living) CHECK(rule.action == STAGE_NOTHING || rule.action == STAGE_SPAWN);
                if (rule.action == STAGE_SPAWN) CHECK_INT(rule.next, STAGE_STARTING);
                // training is never ended or set back by who only looks at its checkpoints
                if (role == STAGE_EVALUATOR) {
                    CHECK(rule.action != STAGE_FAIL_RUN && rule.action != STAGE_REFUSE);
                    CHECK(rule.action != STAGE_RESTART_GROUP);
                }
            }
}

TEST(policy_does_what_each_death_asks_for) {
    static const struct {
        const char *name;
        enum stage_role role;
        enum stage_state state;
        bool signalled;
        int code;
        enum stage_state next;
        enum stage_action action;
    } cases[] = {
        {"killed loader", STAGE_LOADER, STAGE_RUNNING, true, SIGKILL, STAGE_FAILED, STAGE_RESTART},
        {"crashed loader", STAGE_LOADER, STAGE_RUNNING, true, SIGSEGV, STAGE_FAILED, STAGE_RESTART},
        {"loader that left", STAGE_LOADER, STAGE_RUNNING, false, 0, STAGE_FAILED, STAGE_RESTART},
        {"loader, damaged data", STAGE_LOADER, STAGE_RUNNING, false, 3, STAGE_FAILED,
         STAGE_FAIL_RUN},
        {"loader, no memory", STAGE_LOADER, STAGE_RUNNING, false, 5, STAGE_FAILED, STAGE_RESTART},
        {"drained loader", STAGE_LOADER, STAGE_DRAINING, false, 0, STAGE_DONE, STAGE_NOTHING},
        {"killed while draining", STAGE_LOADER, STAGE_DRAINING, true, SIGKILL, STAGE_DONE,
         STAGE_NOTHING},
        {"killed trainer", STAGE_TRAINER, STAGE_RUNNING, true, SIGKILL, STAGE_FAILED,
         STAGE_RESTART_GROUP},
        {"trainer, other rank died", STAGE_TRAINER, STAGE_RUNNING, false, 1, STAGE_FAILED,
         STAGE_RESTART_GROUP},
        {"trainer, disk full", STAGE_TRAINER, STAGE_RUNNING, false, 5, STAGE_FAILED,
         STAGE_FAIL_RUN},
        {"trainer, weights of another network", STAGE_TRAINER, STAGE_STARTING, false, 6,
         STAGE_FAILED, STAGE_FAIL_RUN},
        {"trainer that finished", STAGE_TRAINER, STAGE_RUNNING, false, 0, STAGE_DONE, STAGE_FINISH},
        {"trainer after its checkpoint", STAGE_TRAINER, STAGE_DRAINING, false, 75, STAGE_DONE,
         STAGE_NOTHING},
        {"trainer, disk full while draining", STAGE_TRAINER, STAGE_DRAINING, false, 5, STAGE_FAILED,
         STAGE_FAIL_RUN},
        {"index that finished", STAGE_INDEX, STAGE_STARTING, false, 0, STAGE_DONE, STAGE_FINISH},
        {"index that failed", STAGE_INDEX, STAGE_RUNNING, false, 1, STAGE_FAILED, STAGE_FAIL_RUN},
        {"evaluator that is through", STAGE_EVALUATOR, STAGE_RUNNING, false, 0, STAGE_DONE,
         STAGE_FINISH},
        {"killed evaluator", STAGE_EVALUATOR, STAGE_RUNNING, true, SIGKILL, STAGE_FAILED,
         STAGE_RESTART},
        {"crashed evaluator", STAGE_EVALUATOR, STAGE_STARTING, true, SIGSEGV, STAGE_FAILED,
         STAGE_RESTART},
        {"evaluator, disk full", STAGE_EVALUATOR, STAGE_RUNNING, false, 5, STAGE_FAILED,
         STAGE_RESTART},
        {"evaluator without its files", STAGE_EVALUATOR, STAGE_STARTING, false, 4, STAGE_DONE,
         STAGE_GIVE_UP},
        {"evaluator told to leave", STAGE_EVALUATOR, STAGE_DRAINING, false, 75, STAGE_DONE,
         STAGE_NOTHING},
        {"check that says yes", STAGE_CHECK, STAGE_STARTING, false, 0, STAGE_DONE, STAGE_FINISH},
        {"check without LIBERO", STAGE_CHECK, STAGE_STARTING, false, 4, STAGE_FAILED, STAGE_REFUSE},
        {"crashed check", STAGE_CHECK, STAGE_RUNNING, true, SIGSEGV, STAGE_FAILED, STAGE_REFUSE},
        {"crashed index", STAGE_INDEX, STAGE_RUNNING, true, SIGBUS, STAGE_FAILED, STAGE_RESTART},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].name);
        const enum stage_event event =
            stage_death(cases[i].role, cases[i].signalled, cases[i].code);
        const struct stage_rule rule = stage_rule(cases[i].role, cases[i].state, event);
        CHECK_INT(rule.next, cases[i].next);
        CHECK_INT(rule.action, cases[i].action);
    }
    TEST_CASE("");
}

TEST(policy_paces_restarts_and_ends_them_at_the_limit) {
    static const uint32_t expected_ms[] = {0, 100, 200, 400, 800, 1600, 3200, 5000, 5000};
    struct stage_deaths deaths = {0};
    uint32_t wait_ms = 0;
    for (size_t i = 0; i < PROTO_COUNT(expected_ms); i++) {
        CHECK(stage_deaths_note(&deaths, false, PROTO_COUNT(expected_ms), &wait_ms));
        CHECK_INT(wait_ms, expected_ms[i]);
    }
    CHECK(!stage_deaths_note(&deaths, false, PROTO_COUNT(expected_ms), &wait_ms));
    // progress makes the next death the first one again
    CHECK(stage_deaths_note(&deaths, true, 1, &wait_ms));
    CHECK_INT(wait_ms, 0);
    CHECK_INT(deaths.total, PROTO_COUNT(expected_ms) + 2);
    // a limit of 0 allows no restart at all
    CHECK(!stage_deaths_note(&deaths, true, 0, &wait_ms));
}

TEST(policy_calls_only_faults_faults) {
    static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
    static const int others[] = {SIGKILL, SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGUSR1, SIGXCPU};
    for (size_t i = 0; i < PROTO_COUNT(faults); i++) CHECK(stage_signal_is_fault(faults[i]));
    for (size_t i = 0; i < PROTO_COUNT(others); i++) CHECK(!stage_signal_is_fault(others[i]));
}

TEST(policy_knows_a_place_the_second_time) {
    static struct stage_faults faults;
    char place[32];
    CHECK(!stage_faults_note(&faults, "a.hdf5: data/demo_1/actions"));
    CHECK(!stage_faults_note(&faults, "a.hdf5: data/demo_2/actions"));
    CHECK(stage_faults_note(&faults, "a.hdf5: data/demo_1/actions"));
    // a crash outside of anybody's data accuses no file
    CHECK(!stage_faults_note(&faults, ""));
    CHECK(!stage_faults_note(&faults, ""));
    // the book is bounded: it forgets the oldest
    for (int i = 0; i < STAGE_FAULT_PLACES_MAX; i++) {
        snprintf(place, sizeof place, "b.hdf5: %d", i);
        CHECK(!stage_faults_note(&faults, place));
    }
    CHECK_INT(faults.count, STAGE_FAULT_PLACES_MAX);
    CHECK(!stage_faults_note(&faults, "a.hdf5: data/demo_1/actions"));
}

TEST(policy_says_how_a_process_died) {
    char text[128];
    stage_death_text(true, SIGKILL, text, sizeof text);
    CHECK_TEXT(text, "was killed by SIGKILL");
    stage_death_text(false, 3, text, sizeof text);
    CHECK_TEXT(text, "left with exit code 3 (data damaged)");
}

TEST_MAIN(UNIT(policy_has_a_rule_that_leads_somewhere_for_every_case),
          UNIT(policy_does_what_each_death_asks_for),
          UNIT(policy_paces_restarts_and_ends_them_at_the_limit),
          UNIT(policy_calls_only_faults_faults), UNIT(policy_knows_a_place_the_second_time),
          UNIT(policy_says_how_a_process_died))
