// tests/trainer/order_test.c - the order of tickets: every position of the stream and of the
// validation set once, over all ranks, wherever the walk begins. Oracle: counting.
#include "tests/check.h"

#include "trainer/order.h"

static struct trainer_plan plan_of(uint32_t rank, uint32_t ranks) {
    return (struct trainer_plan){.rank = rank,
                                 .ranks = ranks,
                                 .batch = 12,
                                 .accumulation = 2,
                                 .validation_batch = 5,
                                 .validation_set = 13,
                                 .steps = 7,
                                 .sample_period = 3};
}

TEST(order_takes_every_position_once_over_all_ranks) {
    for (uint32_t ranks = 1; ranks <= 4; ranks++) {
        uint32_t trained[7 * 24] = {0}, validated[13] = {0};
        for (uint32_t rank = 0; rank < ranks; rank++) {
            const struct trainer_plan plan = plan_of(rank, ranks);
            struct trainer_order order = trainer_order_from(&plan, 0, 0);
            struct trainer_wanted wanted;
            while (trainer_order_next(&order, &wanted)) {
                CHECK(wanted.count > 0);
                CHECK(wanted.first + wanted.count <= (wanted.validation ? 13 : 7 * 24));
                for (uint32_t i = 0; i < wanted.count; i++)
                    (wanted.validation ? validated : trained)[wanted.first + i]++;
            }
        }
        for (size_t i = 0; i < PROTO_COUNT(trained); i++) CHECK_INT(trained[i], 1);
        // behind steps 3, 6 and the last
        for (size_t i = 0; i < PROTO_COUNT(validated); i++) CHECK_INT(validated[i], 3);
    }
}

// Contiguous slices, equal but for the last; a rank may have none.
TEST(order_splits_the_last_validation_batch_unevenly) {
    static const uint32_t counts[4] = {1, 1, 1, 0};
    uint64_t next = 10;
    for (uint32_t rank = 0; rank < 4; rank++) {
        const struct trainer_plan plan = plan_of(rank, 4);
        const struct proto_slice slice = trainer_order_validation_slice(&plan, 10);
        CHECK_INT(slice.count, counts[rank]);
        CHECK_INT(slice.first, next);
        next += slice.count;
    }
}

TEST(order_goes_on_where_a_checkpoint_was) {
    const struct trainer_plan plan = plan_of(1, 2);
    struct trainer_order whole = trainer_order_from(&plan, 0, 0);
    struct trainer_order resumed = trainer_order_from(&plan, 4, 4 * 24);
    struct trainer_wanted a, b;
    do CHECK(trainer_order_next(&whole, &a));
    while (a.validation || a.first < 4 * 24);
    while (trainer_order_next(&resumed, &b)) {
        CHECK(a.validation == b.validation && a.first == b.first && a.count == b.count);
        if (!trainer_order_next(&whole, &a)) a = (struct trainer_wanted){0};
    }
    CHECK_INT(a.count, 0);
}

TEST(order_of_a_finished_run_is_its_last_validation) {
    const struct trainer_plan plan = plan_of(0, 1);
    for (uint64_t done = 7; done < 10; done++) {
        struct trainer_order order = trainer_order_from(&plan, done, done * 24);
        struct trainer_wanted wanted;
        uint32_t samples = 0;
        while (trainer_order_next(&order, &wanted)) {
            CHECK(wanted.validation);
            samples += wanted.count;
        }
        CHECK_INT(samples, 13);
    }
}

TEST(order_has_no_validation_without_a_validation_set) {
    struct trainer_plan plan = plan_of(0, 1);
    plan.validation_set = 0;
    struct trainer_order order = trainer_order_from(&plan, 0, 0);
    struct trainer_wanted wanted;
    for (uint32_t i = 0; i < 14; i++) {
        CHECK(trainer_order_next(&order, &wanted));
        CHECK(!wanted.validation);
    }
    CHECK(!trainer_order_next(&order, &wanted));
}

TEST_MAIN(UNIT(order_takes_every_position_once_over_all_ranks),
          UNIT(order_splits_the_last_validation_batch_unevenly),
          UNIT(order_goes_on_where_a_checkpoint_was),
          UNIT(order_of_a_finished_run_is_its_last_validation),
          UNIT(order_has_no_validation_without_a_validation_set))
