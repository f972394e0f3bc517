// tests/trainer/schedule_test.c - learning rates against hand-computed values of diffusers'
// formulas (double, so 1e-15 relative); whole recorded curves are compared by rdt_golden.
#include "tests/check.h"

#include "trainer/schedule.h"

static struct trainer_schedule made(const char *name, uint64_t warmup) {
    struct proto_error error = {0};
    struct trainer_schedule s;
    CHECK_OK(trainer_schedule_make(name, 1e-3, warmup, 110, 2, 2, &s, &error), error);
    return s;
}

TEST(schedules_are_the_formulas) {
    static const struct {
        const char *name;
        uint64_t step;
        double rate;
    } rows[] = {
        {"constant_with_warmup", 0, 0},
        {"constant_with_warmup", 5, 5e-4},
        {"constant_with_warmup", 10, 1e-3},
        {"constant_with_warmup", 999, 1e-3},
        {"linear", 9, 9e-4},
        {"linear", 35, 7.5e-4},
        {"linear", 110, 0},
        {"linear", 300, 0},
        {"cosine", 10, 1e-3},
        {"cosine", 60, 5e-4},
        {"cosine", 110, 0},
        {"cosine", 210, 1e-3},  // rises again past the total
        {"cosine_with_restarts", 35, 5e-4},
        {"cosine_with_restarts", 60, 1e-3},
        {"cosine_with_restarts", 110, 0},
        {"cosine_with_restarts", 400, 0},
        {"polynomial", 10, 1e-3},
        {"polynomial", 60, (1e-3 - 1e-7) / 4 + 1e-7},
        {"polynomial", 110, 1e-7},
        {"polynomial", 111, 1e-7},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        const struct trainer_schedule s = made(rows[i].name, 10);
        TEST_CASE(rows[i].name);
        CHECK_NEAR(trainer_schedule_rate(&s, rows[i].step), rows[i].rate, 1e-18);
    }
    const struct trainer_schedule s = made("constant", 0);
    CHECK(trainer_schedule_rate(&s, 0) == 1e-3 && trainer_schedule_rate(&s, 100000) == 1e-3);
}

TEST(schedules_without_steps_left_do_not_divide_by_zero) {
    struct proto_error error = {0};
    static const char *const names[] = {"linear", "cosine", "cosine_with_restarts", "polynomial"};
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        struct trainer_schedule s;
        CHECK_OK(trainer_schedule_make(names[i], 1e-3, 5, 5, 1, 1, &s, &error), error);
        for (uint64_t step = 0; step < 8; step++) {
            const double rate = trainer_schedule_rate(&s, step);
            CHECK(rate >= 0 && rate <= 1e-3);
        }
    }
}

TEST(warm_up_with_plain_constant_is_refused_with_the_reason) {
    struct proto_error error = {0};
    struct trainer_schedule s;
    CHECK(!trainer_schedule_make("constant", 1e-3, 500, 1000, 1, 1, &s, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "lr_warmup_steps is 500");
    CHECK_HAS(error.text, "constant_with_warmup");
    CHECK(!trainer_schedule_make("cosin", 1e-3, 0, 1000, 1, 1, &s, &error));
    CHECK_HAS(error.text, "\"cosin\", must be constant");
    CHECK(!trainer_schedule_make("linear", -1, 0, 1000, 1, 1, &s, &error));
    CHECK(!trainer_schedule_make("polynomial", 1e-8, 0, 1000, 1, 1, &s, &error));
    CHECK_HAS(error.text, "needs a larger one");
}

TEST_MAIN(UNIT(schedules_are_the_formulas),
          UNIT(schedules_without_steps_left_do_not_divide_by_zero),
          UNIT(warm_up_with_plain_constant_is_refused_with_the_reason))
