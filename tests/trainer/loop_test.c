// tests/trainer/loop_test.c - whole runs of real ranks and real loaders: the same training whatever
// happens to the processes, and what a run leaves behind.
//
// Oracle of equality: an undisturbed run with one loader; equal means every bit of losses, ledger
// and final weights, because arithmetic, threads and order of sums are the same.
#include "tests/trainer/run_world.h"

#include <math.h>

#define STEPS 12
#define TWO_RANKS "devices = [\"cpu\", \"cpu\"]\ntrain_batch_size = 8\nlearning_rate = 3e-3\n"

static void same_file(const struct world *a, const struct world *b, const char *name) {
    char path[800];
    uint64_t one = 0, other = 1;
    struct proto_error error = {0};
    TEST_CASE(name);
    snprintf(path, sizeof path, "%s/%s", a->run, name);
    CHECK_OK(proto_file_hash(path, &one, &error), error);
    snprintf(path, sizeof path, "%s/%s", b->run, name);
    CHECK_OK(proto_file_hash(path, &other, &error), error);
    CHECK(one == other);
    TEST_CASE("");
}

// Relative difference of losses at most `tolerance`; 0 means every bit, and the final weights too.
static void same_training(const struct world *a, const struct world *b, double tolerance) {
    json_t *first = world_metrics(a), *second = world_metrics(b);
    CHECK_INT(json_array_size(first), STEPS);
    CHECK_INT(json_array_size(second), STEPS);
    for (size_t i = 0; i < STEPS; i++) {
        const json_t *x = json_array_get(first, i), *y = json_array_get(second, i);
        const double loss = world_value(x, "loss");
        CHECK_INT(world_value(x, "step"), i + 1);
        CHECK_INT(world_value(y, "step"), i + 1);
        CHECK_INT(world_value(y, "cursor"), world_value(x, "cursor"));
        CHECK_TEXT(json_string_value(json_object_get(y, "ledger")),
                   json_string_value(json_object_get(x, "ledger")));
        CHECK_NEAR(world_value(y, "loss"), loss, tolerance * loss);
    }
    json_decref(first);
    json_decref(second);
    if (tolerance > 0) return;
    same_file(a, b, "checkpoint-12/model.safetensors");
    same_file(a, b, "checkpoint-12/ema/model.safetensors");
    same_file(a, b, "checkpoint-12/optimizer.safetensors");
}

// The undisturbed run: two ranks, one loader. Made once.
static struct world reference_world;
static const struct world *reference(void) {
    if (reference_world.run[0]) return &reference_world;
    world_open(&reference_world, STEPS, TWO_RANKS);
    world_run(&reference_world, 2, 1, 1, 0);
    return &reference_world;
}

static void world_remove(struct world *world) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(world->run, &error), error);
}

static int ledger_verify(const struct world *world) {
    char program[] = TESTS_BIN "/pipeline-trainer";
    char *arguments[] = {program, (char *)"ledger", (char *)"verify", (char *)world->run, NULL};
    return world_end(world, world_start(world, arguments));
}

TEST(loop_leaves_metrics_checkpoints_and_a_table_behind) {
    const struct world *world = reference();
    char *log = world_text(world, "log");
    static const char *const says[] = {"Distributed training: world_size=2, rank=0",
                                       "Distributed training: world_size=2, rank=1",
                                       "1 task found: single-task statistics",
                                       "effective batch 8",
                                       "policy (averaged weights)",
                                       "mean action",
                                       "time-indexed mean",
                                       "nearest neighbour",
                                       "7 samples of 1 episodes never trained on"};
    for (size_t i = 0; i < PROTO_COUNT(says); i++) CHECK_HAS(log, says[i]);
    free(log);
    json_t *metrics = world_metrics(world);
    const json_t *line = json_array_get(metrics, STEPS - 1);
    static const char *const keys[] = {"attempt",          "learning_rate", "grad_norm",
                                       "step_s",           "samples_per_s", "data_wait_s",
                                       "collective_wait_s"};
    for (size_t i = 0; i < PROTO_COUNT(keys); i++) CHECK(json_object_get(line, keys[i]));
    CHECK_INT(json_array_size(json_object_get(line, "data_wait_s")), 2);
    CHECK_INT(world_value(line, "cursor"), STEPS * 8);
    CHECK(world_value(line, "loss") < world_value(json_array_get(metrics, 0), "loss"));
    json_decref(metrics);
    char path[800];
    for (uint32_t step = 4; step <= STEPS; step += 4) {
        snprintf(path, sizeof path, "%s/checkpoint-%u/trainer_state.json", world->run, step);
        CHECK(proto_path_exists(path));
    }
    CHECK_INT(ledger_verify(world), 0);
    log = world_text(world, "log");
    CHECK_HAS(log, "12 steps, 96 samples, each position consumed exactly once, in order");
    free(log);
}

TEST(loop_is_bit_equal_with_three_loaders_of_which_one_is_killed) {
    struct world world;
    world_open(&world, STEPS, TWO_RANKS "ledger = true\n");
    world_gate(&world, 3 * 8);
    for (uint32_t i = 0; i < 3; i++) world_loader_start(&world, i);
    world_ranks_start(&world, 2, 1);
    world_wait_step(&world, 3);
    kill(world.loaders[1], SIGKILL);
    world_gate(&world, UINT64_MAX);
    for (uint32_t rank = 0; rank < 2; rank++) CHECK_INT(world_end(&world, world.ranks[rank]), 0);
    world_loaders_stop(&world);
    same_training(reference(), &world, 0);
    CHECK_INT(ledger_verify(&world), 0);
    char *log = world_text(&world, "log");
    CHECK_HAS(log, "sample ids compared");
    free(log);
    world_remove(&world);
}

TEST(loop_resumes_bit_equal_after_a_kill_and_after_a_stop) {
    struct world world;
    world_open(&world, STEPS, TWO_RANKS);
    world_gate(&world, 6 * 8);
    world_loader_start(&world, 0);
    world_ranks_start(&world, 2, 1);
    world_wait_step(&world, 6);
    kill(world.ranks[1], SIGKILL);
    world_gate(&world, UINT64_MAX);  // rank 0 goes on until it needs rank 1
    CHECK_INT(world_end(&world, world.ranks[1]), 128 + SIGKILL);
    CHECK_INT(world_end(&world, world.ranks[0]), 1);  // by name, not at the deadline
    char *log = world_text(&world, "log");
    CHECK_HAS(log, "rank 1 (process ");
    CHECK_HAS(log, "died");
    free(log);
    world_gate(&world, 9 * 8);
    world_ranks_start(&world, 2, 2);
    world_wait_step(&world, 9);
    kill(world.ranks[1], SIGINT);  // one is told, all stop behind the step they are in
    world_gate(&world, UINT64_MAX);
    CHECK_INT(world_end(&world, world.ranks[1]), 130);
    CHECK_INT(world_end(&world, world.ranks[0]), 75);
    json_t *metrics = world_metrics(&world);
    const size_t stopped = json_array_size(metrics);
    json_decref(metrics);
    char path[800];
    snprintf(path, sizeof path, "%s/checkpoint-%zu", world.run, stopped);
    CHECK(stopped < STEPS && proto_path_exists(path));
    world_run(&world, 2, 0, 3, 0);
    world_loaders_stop(&world);
    same_training(reference(), &world, 0);
    CHECK_INT(ledger_verify(&world), 0);
    world_remove(&world);
}

// Two halves of a gradient are added in another place, so fp32 sums differ by some 1e-7 relative,
// which Adam's division by a small root carries on: measured after 12 steps 1e-8 of the loss. A
// wrong scale of the gradients would show above 1e-3.
TEST(loop_accumulates_to_what_two_ranks_compute) {
    struct world world;
    world_open(&world, STEPS,
               "devices = [\"cpu\"]\ntrain_batch_size = 4\ngradient_accumulation_steps = 2\n"
               "learning_rate = 3e-3\n");
    world_run(&world, 1, 2, 1, 0);
    same_training(reference(), &world, 1e-6);
    world_remove(&world);
}

// With a rate of 0 the network keeps predicting 0 (its last layer starts at 0), so the validation
// error is the mean over samples of the mean square of the targets, computed here from the same
// numbers in double. Seven samples over two ranks in batches of four: uneven shares.
TEST(loop_measures_validation_error_as_defined) {
    struct world world;
    struct proto_batch *batch = NULL;
    struct proto_error error = {0};
    struct proto_codec *codec = world_codec_new();
    const struct proto_stream stream = {
        .seed = WORLD_SEED, .n = WORLD_VALIDATION_SAMPLES, .purpose = PROTO_PURPOSE_VALIDATION};
    double expected = 0;
    CHECK_OK(proto_batch_new(codec, 1, &batch, &error), error);
    for (uint64_t g = 0; g < WORLD_VALIDATION_SET; g++) {
        const uint64_t id = proto_stream_sample(&stream, g);
        CHECK_OK(world_sample(codec, true, id, batch, 0, &error), error);
        double sum = 0;
        for (uint32_t t = 0; t < world_valid(id); t++)
            for (uint32_t i = 0; i < codec->action_count; i++) {
                const double y = (double)batch->action[t * codec->width + codec->action[i].column];
                sum += y * y / codec->action_count;
            }
        expected += sum / world_valid(id) / WORLD_VALIDATION_SET;
    }
    proto_batch_free(&batch);
    proto_codec_free(&codec);
    world_open(&world, 1,
               "devices = [\"cpu\", \"cpu\"]\ntrain_batch_size = 2\nlearning_rate = 0.0\n");
    world_run(&world, 2, 1, 1, 0);
    char *log = world_text(&world, "log"), says[64];
    snprintf(says, sizeof says, "policy (averaged weights)        %.4f", expected);
    CHECK_HAS(log, says);
    snprintf(says, sizeof says, "policy (raw weights)             %.4f", expected);
    CHECK_HAS(log, says);
    free(log);
    world_remove(&world);
}

// What a resume refuses, each by name and before metrics are touched.
TEST(loop_refuses_to_resume_what_does_not_belong_together) {
    struct world world;
    char path[800];
    world_open(&world, 4, "devices = [\"cpu\"]\ntrain_batch_size = 2\n");
    world_run(&world, 1, 1, 1, 0);
    world_config(&world, 8, "devices = [\"cpu\"]\ntrain_batch_size = 2\nema_power = 0.5\n");
    world_run(&world, 1, 0, 2, PROTO_USAGE);
    char *log = world_text(&world, "log");
    CHECK_HAS(log, "checkpoint-4");
    CHECK_HAS(log, "pipeline.toml is not the one this checkpoint was trained with");
    free(log);
    world_config(&world, 8, "devices = [\"cpu\"]\ntrain_batch_size = 2\n");
    snprintf(path, sizeof path, "%s/checkpoint-4/optimizer.safetensors", world.run);
    CHECK_INT(truncate(path, 1000), 0);
    world_run(&world, 1, 0, 3, PROTO_DAMAGED);
    log = world_text(&world, "log");
    CHECK_HAS(log, "optimizer.safetensors");
    free(log);
    json_t *metrics = world_metrics(&world);
    CHECK_INT(json_array_size(metrics), 4);
    json_decref(metrics);
    world_remove(&world);
}

TEST(loop_refuses_a_batch_that_does_not_divide_by_the_ranks) {
    struct world world;
    world_open(&world, 4, "devices = [\"cpu\", \"cpu\"]\ntrain_batch_size = 7\n");
    world_ranks_start(&world, 1, 1);
    CHECK_INT(world_end(&world, world.ranks[0]), PROTO_USAGE);
    char *log = world_text(&world, "log");
    CHECK_HAS(log, "train_batch_size");
    CHECK_HAS(log, "7");
    free(log);
    world_remove(&world);
}

int main(int count, char **arguments) {
    if (count > 3 && strcmp(arguments[1], "--loader") == 0)
        return world_loader(arguments[2], arguments[3]);
    const struct CMUnitTest units[] = {
        UNIT(loop_leaves_metrics_checkpoints_and_a_table_behind),
        UNIT(loop_is_bit_equal_with_three_loaders_of_which_one_is_killed),
        UNIT(loop_resumes_bit_equal_after_a_kill_and_after_a_stop),
        UNIT(loop_accumulates_to_what_two_ranks_compute),
        UNIT(loop_measures_validation_error_as_defined),
        UNIT(loop_refuses_to_resume_what_does_not_belong_together),
        UNIT(loop_refuses_a_batch_that_does_not_divide_by_the_ranks)};
    const int failed = cmocka_run_group_tests(units, NULL, NULL);
    struct proto_error error = {0};
    if (failed == 0 && reference_world.run[0] && !proto_folder_remove(reference_world.run, &error))
        return proto_error_print("loop_test", &error);
    return failed;
}
