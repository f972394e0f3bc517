// tests/loader/baselines_test.c - the three predictors on sets so small that their errors are
// worked out by hand beside them. Limits are float rounding of encoded numbers up to 1.
#include "tests/codec_fixture.h"

#include "loader/baselines.h"
#include "proto/stream.h"

#include <math.h>

#define EPISODES 4
#define LIMIT 1e-7

// One state channel, actions dx dy dz gripper of which only dx moves. Rows are states and dx:
//   A, B: training, task 0; V: validation, task 0; C: training of task 1, in between A's states.
static const struct {
    uint32_t steps, task;
    bool validation;
    double state[4], dx[4];
} table[EPISODES] = {
    {4, 0, false, {0, 1, 2, 3}, {0.1, 0.2, 0.3, 0.4}},
    {3, 0, false, {10, 11, 12}, {0.5, 0.6, 0.7}},
    {3, 0, true, {1.2, 2.9, 50}, {0.0, 0.2, 0.8}},
    {3, 1, false, {1.2, 2.9, 50}, {-1, -1, -1}},
};

struct fixture {
    struct proto_codec *codec;
    struct proto_index index;
    struct proto_index_episode episodes[EPISODES];
    struct loader_episode_numbers numbers[EPISODES];
    double actions[EPISODES][4][4];
};

static void fixture_new(struct fixture *f, bool after) {
    struct proto_error error = {0};
    *f = (struct fixture){.codec = fixture_codec(PROTO_IDENTITY, false, 2)};
    f->codec->state_count = f->codec->action_count = 0;
    fixture_fields(f->codec, (const char *const[]){"gripper_opening"}, 1, false);
    fixture_fields(f->codec, (const char *const[]){"eef_delta_pos", "gripper"}, 2, true);
    CHECK_OK(proto_codec_layout(f->codec, &error), error);
    for (uint32_t t = 0; t < 2; t++) {
        fixture_rows(f->codec->tasks[t].state, f->codec->state, 1, t, PROTO_IDENTITY);
        fixture_rows(f->codec->tasks[t].action, f->codec->action, 4, t, PROTO_IDENTITY);
    }
    f->codec->after = after;
    f->codec->chunk = 2;
    uint64_t next[2] = {0, 0};
    for (uint32_t e = 0; e < EPISODES; e++) {
        for (uint32_t i = 0; i < 4; i++) {
            f->actions[e][i][0] = table[e].dx[i];
            f->actions[e][i][3] = -1;
        }
        f->numbers[e] = (struct loader_episode_numbers){.state = table[e].state,
                                                        .action = f->actions[e][0],
                                                        .steps = table[e].steps,
                                                        .task = table[e].task};
        const uint32_t samples = table[e].steps - (after ? 1 : 0);
        f->episodes[e] = (struct proto_index_episode){.task = table[e].task,
                                                      .steps = table[e].steps,
                                                      .validation = table[e].validation,
                                                      .sample_count = samples,
                                                      .sample_first = next[table[e].validation]};
        next[table[e].validation] += samples;
    }
    f->index = (struct proto_index){.episodes = f->episodes,
                                    .episode_count = EPISODES,
                                    .task_count = 2,
                                    .after = after,
                                    .train_samples = next[0],
                                    .validation_samples = next[1],
                                    .validation_set = next[1]};
}

TEST(baselines_after_are_those_worked_out_by_hand) {
    struct fixture f;
    struct proto_index_baselines found;
    struct proto_error error = {0};
    fixture_new(&f, true);
    // samples: j 0 -> actions .2 .8; j 1 -> .8. Four action channels, two of them and the gripper
    // without error.
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 42, &found, &error), error);
    // mean of A and B: 2.8 / 7 = .4
    CHECK_NEAR(found.mean_action, ((0.04 + 0.16) / 8 + 0.16 / 4) / 2, LIMIT);
    // at 1: (.2 + .6) / 2 = .4; at 2: (.3 + .7) / 2 = .5
    CHECK_NEAR(found.time_mean, ((0.04 + 0.09) / 8 + 0.09 / 4) / 2, LIMIT);
    // 1.2 -> A's 1: .3 .4; 2.9 -> A's 2, as 3 begins no sample: .4
    CHECK_NEAR(found.nearest_neighbour, ((0.01 + 0.16) / 8 + 0.16 / 4) / 2, LIMIT);
    // positions go on over the end: the same samples twice, another order with another seed
    f.index.validation_set = 4;
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 1, &found, &error), error);
    CHECK_NEAR(found.time_mean, ((0.04 + 0.09) / 8 + 0.09 / 4) / 2, LIMIT);
    // three epochs of two and one more: that one is whichever sample the stream has at 6
    f.index.validation_set = 7;
    const struct proto_stream stream = {.seed = 1, .n = 2, .purpose = PROTO_PURPOSE_VALIDATION};
    const double errors[2] = {(0.04 + 0.09) / 8, 0.09 / 4};
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 1, &found, &error), error);
    CHECK_NEAR(found.time_mean,
               (3 * (errors[0] + errors[1]) + errors[proto_stream_sample(&stream, 6)]) / 7, LIMIT);
    // a set that ends inside the first epoch
    f.index.validation_set = 1;
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 1, &found, &error), error);
    CHECK_NEAR(found.time_mean, errors[proto_stream_sample(&stream, 0)], LIMIT);
    proto_codec_free(&f.codec);
}

TEST(baselines_before_are_those_worked_out_by_hand) {
    struct fixture f;
    struct proto_index_baselines found;
    struct proto_error error = {0};
    fixture_new(&f, false);
    // samples: j 0 -> 0 .2; j 1 -> .2 .8; j 2 -> .8
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 42, &found, &error), error);
    CHECK_NEAR(found.mean_action, ((0.16 + 0.04) / 8 + (0.04 + 0.16) / 8 + 0.16 / 4) / 3, LIMIT);
    // at 0: .3, at 1: .4, at 2: .5
    CHECK_NEAR(found.time_mean, ((0.09 + 0.04) / 8 + (0.04 + 0.09) / 8 + 0.09 / 4) / 3, LIMIT);
    // 1.2 -> A's 1: .2 .3; 2.9 -> A's 3: .4, then rest: 0; 50 -> B's 2: .7
    CHECK_NEAR(found.nearest_neighbour, ((0.04 + 0.01) / 8 + (0.04 + 0.64) / 8 + 0.01 / 4) / 3,
               LIMIT);
    proto_codec_free(&f.codec);
}

// V is longer than all that was trained on: the time-indexed mean keeps its last value.
TEST(baselines_time_mean_beyond_the_longest_episode_stays) {
    struct fixture f;
    struct proto_index_baselines found;
    struct proto_error error = {0};
    fixture_new(&f, false);
    f.numbers[0].steps = f.episodes[0].steps = f.episodes[0].sample_count = 2;
    f.numbers[1].steps = f.episodes[1].steps = f.episodes[1].sample_count = 1;
    f.episodes[1].sample_first = 2;
    f.episodes[3].sample_first = 3;
    f.index.train_samples = 6;
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 42, &found, &error), error);
    // at 0: (.1 + .5) / 2 = .3, at 1: .2, then .2
    CHECK_NEAR(found.time_mean, ((0.09 + 0) / 8 + (0 + 0.36) / 8 + 0.36 / 4) / 3, LIMIT);
    proto_codec_free(&f.codec);
}

TEST(baselines_without_validation_are_none) {
    struct fixture f;
    struct proto_index_baselines found = {0};
    struct proto_error error = {0};
    fixture_new(&f, true);
    f.index.validation_set = 0;
    CHECK_OK(loader_baselines_measure(f.codec, &f.index, f.numbers, 42, &found, &error), error);
    CHECK(isnan(found.mean_action) && isnan(found.time_mean) && isnan(found.nearest_neighbour));
    proto_codec_free(&f.codec);
}

TEST(baselines_of_a_task_without_training_episode_are_refused) {
    struct fixture f;
    struct proto_index_baselines found;
    struct proto_error error = {0};
    fixture_new(&f, true);
    f.numbers[2].task = f.episodes[2].task = 1;
    f.numbers[3].task = f.episodes[3].task = 0;
    CHECK(!loader_baselines_measure(f.codec, &f.index, f.numbers, 42, &found, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "task task_1 has validation samples but no training sample");
    proto_codec_free(&f.codec);
}

TEST_MAIN(UNIT(baselines_after_are_those_worked_out_by_hand),
          UNIT(baselines_before_are_those_worked_out_by_hand),
          UNIT(baselines_time_mean_beyond_the_longest_episode_stays),
          UNIT(baselines_without_validation_are_none),
          UNIT(baselines_of_a_task_without_training_episode_are_refused))
