// tests/proto/evaluated_test.c - which checkpoints are evaluated and where. Oracle: the words of
// evaluated.h and of evaluator.every in the table of options.
#include "proto/evaluated.h"

#include "tests/check.h"

#include "proto/files.h"

TEST(evaluated_is_every_nth_by_period_and_the_last) {
    static const struct {
        const char *name;
        uint64_t step, newest, period, every;
        bool wanted;
    } cases[] = {
        {"every one", 20, 0, 20, 1, true},
        {"one between, as a stop leaves behind", 37, 0, 20, 1, true},
        {"first of two", 20, 0, 20, 2, false},
        {"second of two", 40, 0, 20, 2, true},
        {"the last, out of turn", 60, 60, 20, 2, true},
        {"before the last", 20, 60, 20, 2, false},
        {"third of three", 3000, 0, 1000, 3, true},
        {"huge", UINT64_MAX, 0, 1, UINT64_MAX, true},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].name);
        CHECK(proto_evaluated_wanted(cases[i].step, cases[i].newest, cases[i].period,
                                     cases[i].every) == cases[i].wanted);
    }
    TEST_CASE("");
}

TEST(evaluated_is_done_when_its_results_are_there) {
    char folder[256], path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    check_folder(folder);
    CHECK_OK(proto_evaluated_path(folder, 40, NULL, path, &error), error);
    CHECK_HAS(path, "/eval/checkpoint-40");
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    CHECK(!proto_evaluated_done(folder, 40));
    CHECK_OK(proto_evaluated_path(folder, 40, "results.json", path, &error), error);
    CHECK_OK(proto_file_write(path, "{}\n", 3, &error), error);
    CHECK(proto_evaluated_done(folder, 40));
    CHECK(!proto_evaluated_done(folder, 4));
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(evaluated_refuses_a_name_that_does_not_fit) {
    char path[PROTO_PATH_MAX], name[300];
    struct proto_error error = {0};
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    CHECK(!proto_evaluated_path("run", 1, name, path, &error));
    CHECK_INT(error.status, PROTO_USAGE);
}

TEST_MAIN(UNIT(evaluated_is_every_nth_by_period_and_the_last),
          UNIT(evaluated_is_done_when_its_results_are_there),
          UNIT(evaluated_refuses_a_name_that_does_not_fit))
