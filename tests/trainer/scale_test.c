// tests/trainer/scale_test.c - when fp16's loss scale moves, and when a run ends over it.
//
// Oracle: the rule as torch.amp.GradScaler documents it, by hand.
#include "tests/check.h"

#include "trainer/scale.h"

static void update(struct trainer_scale *scale, bool finite) {
    struct proto_error error = {0};
    CHECK_OK(trainer_scale_update(scale, finite, &error), error);
}

TEST(scale_halves_at_once_and_doubles_after_2000_good_steps) {
    struct trainer_scale scale = trainer_scale_start(true);
    CHECK(scale.factor == 65536);
    update(&scale, false);
    CHECK(scale.factor == 32768 && scale.skipped == 1);
    for (int i = 0; i < 1999; i++) update(&scale, true);
    CHECK(scale.factor == 32768);
    update(&scale, false);  // counts from the beginning again
    CHECK(scale.factor == 16384 && scale.skipped == 2);
    for (int i = 0; i < 1999; i++) update(&scale, true);
    CHECK(scale.factor == 16384);
    update(&scale, true);
    CHECK(scale.factor == 32768 && scale.good == 0 && scale.skipped == 2);
}

TEST(scale_stays_within_its_limits) {
    struct proto_error error = {0};
    struct trainer_scale scale = trainer_scale_start(true);
    for (int i = 0; i < 20 * 2000; i++) update(&scale, true);
    CHECK(scale.factor == TRAINER_SCALE_MAX);
    scale = trainer_scale_start(true);
    for (int i = 0; i < 16; i++) update(&scale, false);
    CHECK(scale.factor == 1);
    CHECK(!trainer_scale_update(&scale, false, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    CHECK_HAS(error.text, "trainer.mixed_precision = \"bf16\"");
}

TEST(scale_without_fp16_is_one_and_forgives_nothing) {
    struct proto_error error = {0};
    struct trainer_scale scale = trainer_scale_start(false);
    for (int i = 0; i < 5000; i++) update(&scale, true);
    CHECK(scale.factor == 1);
    CHECK(!trainer_scale_update(&scale, false, &error));
    CHECK_HAS(error.text, "not finite");
    CHECK_HAS(error.text, "trainer.learning_rate");
}

TEST(scale_goes_on_from_a_checkpoint) {
    struct trainer_scale scale = trainer_scale_restore(true, 1024, 1999, 7);
    update(&scale, true);
    CHECK(scale.factor == 2048 && scale.skipped == 7);
    // of a run that was not fp16 then, and of one that is not any more
    scale = trainer_scale_restore(true, 0, 0, 0);
    CHECK(scale.factor == 65536);
    scale = trainer_scale_restore(false, 1024, 5, 7);
    CHECK(scale.factor == 1 && scale.skipped == 7);
}

TEST_MAIN(UNIT(scale_halves_at_once_and_doubles_after_2000_good_steps),
          UNIT(scale_stays_within_its_limits), UNIT(scale_without_fp16_is_one_and_forgives_nothing),
          UNIT(scale_goes_on_from_a_checkpoint))
