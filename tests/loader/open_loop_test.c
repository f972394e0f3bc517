// tests/loader/open_loop_test.c - open_loop.json is the mean of the training episodes, step by
// step, and says nothing of the others. Oracle: sums of small whole numbers, exact in double.
#include "tests/check.h"
#include "tests/codec_fixture.h"

#include "loader/open_loop.h"
#include "proto/files.h"
#include "proto/open_loop.h"

#include <unistd.h>

enum { ACTIONS = 7, EPISODES = 5, LONGEST = 4 };

// Episode e's action at step t, channel k: whole numbers, so that sums are exact.
static double action_of(uint32_t e, uint32_t t, uint32_t k) { return 10.0 * e + 3.0 * t + k; }

static struct {
    struct proto_codec *codec;
    struct proto_index index;
    struct proto_index_episode episodes[EPISODES];
    struct loader_episode_numbers numbers[EPISODES];
    double actions[EPISODES][LONGEST * ACTIONS];
} f;

static void fixture_open(void) {
    // episode 1 is for validation, episode 3 is of the other task
    static const uint32_t steps[EPISODES] = {4, 4, 2, 3, 2};
    memset(&f, 0, sizeof f);
    f.codec = fixture_codec(PROTO_ZSCORE, true, 2);
    CHECK_INT(f.codec->action_count, ACTIONS);
    f.index = (struct proto_index){.episodes = f.episodes, .episode_count = EPISODES};
    for (uint32_t e = 0; e < EPISODES; e++) {
        f.episodes[e] = (struct proto_index_episode){.steps = steps[e], .validation = e == 1};
        f.numbers[e] = (struct loader_episode_numbers){
            .action = f.actions[e], .steps = steps[e], .task = e == 3 ? 1 : 0};
        for (uint32_t t = 0; t < steps[e]; t++)
            for (uint32_t k = 0; k < ACTIONS; k++)
                f.actions[e][t * ACTIONS + k] = action_of(e, t, k);
    }
}

TEST(open_loop_is_the_mean_of_the_training_episodes_that_are_that_long) {
    struct proto_error error = {0};
    struct proto_open_loop *made = NULL;
    fixture_open();
    CHECK_OK(loader_open_loop_new(f.codec, &f.index, f.numbers, &made, &error), error);
    CHECK_INT(made->tasks[0].episodes, 3);
    CHECK_INT(made->tasks[0].steps, 4);
    CHECK_INT(made->tasks[1].episodes, 1);
    CHECK_INT(made->tasks[1].steps, 3);
    for (uint32_t k = 0; k < ACTIONS; k++) {
        const double three = action_of(0, 1, k) + action_of(2, 1, k) + action_of(4, 1, k);
        CHECK(made->tasks[0].actions[1 * ACTIONS + k] == three / 3);
        // only the longest is there
        CHECK(made->tasks[0].actions[3 * ACTIONS + k] == action_of(0, 3, k));
        CHECK(made->tasks[1].actions[2 * ACTIONS + k] == action_of(3, 2, k));
    }
    proto_open_loop_free(&made);
    proto_codec_free(&f.codec);
}

TEST(open_loop_goes_through_its_file_bit_for_bit_and_rests_behind_its_end) {
    char folder[256], path[300];
    struct proto_error error = {0};
    struct proto_open_loop *made = NULL, *read = NULL;
    double x[ACTIONS];
    fixture_open();
    f.actions[0][5] = 0.1;  // a number that has no short binary form
    check_folder(folder);
    snprintf(path, sizeof path, "%s/open_loop.json", folder);
    CHECK_OK(loader_open_loop_new(f.codec, &f.index, f.numbers, &made, &error), error);
    CHECK_OK(proto_open_loop_write(path, f.codec, made, &error), error);
    CHECK_OK(proto_open_loop_read(path, f.codec, &read, &error), error);
    for (uint32_t task = 0; task < 2; task++) {
        CHECK_INT(read->tasks[task].steps, made->tasks[task].steps);
        CHECK(memcmp(read->tasks[task].actions, made->tasks[task].actions,
                     made->tasks[task].steps * sizeof x) == 0);
    }
    // behind the last row: no motion, and the gripper stays as it was
    proto_open_loop_action(read, f.codec, 0, 3, x);
    CHECK(memcmp(x, made->tasks[0].actions + 3 * ACTIONS, sizeof x) == 0);
    const double gripper = x[6];
    proto_open_loop_action(read, f.codec, 0, 4, x);
    for (uint32_t k = 0; k < 6; k++) CHECK(x[k] == 0);
    CHECK(x[6] == gripper);
    proto_open_loop_free(&made);
    proto_open_loop_free(&read);

    // a file of another codec, or damaged, is refused by place
    static const struct {
        const char *text, *says, *where;
    } bad[] = {
        {"{}", "is missing, must be a text", "format"},
        {"{\"format\": \"pipeline-open-loop\", \"version\": 1, \"channels\": [\"gripper\"], "
         "\"tasks\": []}",
         "channels has 1 entries, the codec 7 actions", ""},
        {"{\"format\": \"pipeline-open-loop\", \"version\": 1, \"channels\": "
         "[\"eef_delta_pos.0\", \"eef_delta_pos.1\", \"eef_delta_pos.2\", \"eef_delta_rot.0\", "
         "\"eef_delta_rot.1\", \"eef_delta_rot.2\", \"gripper\"], \"tasks\": [{\"name\": "
         "\"task_0\", \"episodes\": 1, \"actions\": [[1, 2, 3, 4, 5, 6]]}, {}]}",
         "actions[0] is no list of 7 numbers", "tasks[0]"},
        {"{\"format\": \"pipeline-open-loop\", \"version\": 1, \"channels\": "
         "[\"eef_delta_pos.0\", \"eef_delta_pos.1\", \"eef_delta_pos.2\", \"eef_delta_rot.0\", "
         "\"eef_delta_rot.1\", \"eef_delta_rot.2\", \"gripper\"], \"tasks\": [{\"name\": "
         "\"other\", \"episodes\": 1, \"actions\": []}, {}]}",
         "name is other, the codec's is task_0", "tasks[0]"},
    };
    for (size_t i = 0; i < PROTO_COUNT(bad); i++) {
        TEST_CASE(bad[i].says);
        CHECK_OK(proto_file_write(path, bad[i].text, strlen(bad[i].text), &error), error);
        CHECK(!proto_open_loop_read(path, f.codec, &read, &error));
        CHECK(read == NULL);
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, bad[i].says);
        CHECK_HAS(error.where, bad[i].where);
    }
    CHECK_OK(proto_folder_remove(folder, &error), error);
    proto_codec_free(&f.codec);
}

TEST_MAIN(UNIT(open_loop_is_the_mean_of_the_training_episodes_that_are_that_long),
          UNIT(open_loop_goes_through_its_file_bit_for_bit_and_rests_behind_its_end))
