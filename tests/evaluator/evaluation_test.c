// tests/evaluator/evaluation_test.c - a checkpoint in the real simulator: the same outcomes and the
// same frames whatever the number of environments, stopped or not; what cannot be evaluated is
// named and does not hold up the rest.
#include "tests/evaluator/checkpoint_fixture.h"

#include "evaluator/assets_hash.h"
#include "evaluator/evaluation.h"
#include "evaluator/recording.h"
#include "evaluator/simulation.h"
#include "evaluator/video.h"

#define TASK "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"

static const char *const names[] = {"trained"};
static uint32_t progress_count, stop_at;

static int begin(void **state) {
    (void)state;
    checkpoint_open(TASK);
    progress_count = stop_at = 0;
    return 0;
}
static int end(void **state) {
    (void)state;
    checkpoint_close();
    return 0;
}

static void progress(void *context, const struct evaluator_progress *now) {
    (void)context;
    progress_count++;
    CHECK(now->done <= now->total && now->last);
}
static bool stop(void *context) {
    (void)context;
    return stop_at > 0 && progress_count >= stop_at;
}

static struct evaluator_evaluation evaluation_of(const char *folder) {
    return (struct evaluator_evaluation){.checkpoint = f.checkpoint,
                                         .folder = folder,
                                         .libero = getenv("LIBERO_ROOT"),
                                         .benchmark = "libero_90",
                                         .tasks = names,
                                         .task_count = 1,
                                         .row_first = 10,
                                         .row_count = 2,
                                         .environments = 2,
                                         .max_steps = 9,
                                         .settle_steps = 2,
                                         .exec_horizon = 4,
                                         .controls = true,
                                         .device = "cpu",
                                         .render = "cpu",
                                         .threads = 1,
                                         .progress = progress,
                                         .stop = stop};
}

static bool have_libero(void) {
    const char *root = getenv("LIBERO_ROOT");
    if (root && *root) return true;
    if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not set");
    print_message("needs LIBERO's files in LIBERO_ROOT\n");
    return false;
}

TEST(evaluation_gives_the_same_outcomes_and_frames_with_any_environments) {
    struct proto_error error = {0};
    struct evaluator_results *results[2] = {NULL};
    char folders[2][300];
    bool complete;
    if (!have_libero()) skip();
    for (int i = 0; i < 2; i++) {
        snprintf(folders[i], sizeof folders[i], "%s/eval-%d", f.folder, i);
        struct evaluator_evaluation evaluation = evaluation_of(folders[i]);
        evaluation.environments = i == 0 ? 1 : 3;
        if (i == 1) {  // and told to stop on the way: the same call goes on
            stop_at = progress_count + 1;
            CHECK(!evaluator_evaluation_run(&evaluation, &results[i], &complete, &error));
            CHECK_INT(error.status, PROTO_RESUMABLE);
            stop_at = 0;
        }
        CHECK_OK(evaluator_evaluation_run(&evaluation, &results[i], &complete, &error), error);
        CHECK(complete);
    }
    // the checkpoint's second task is none of LIBERO's
    CHECK_INT(results[0]->task_count, 2);
    CHECK(!results[0]->tasks[0].reason);
    CHECK_HAS(results[0]->tasks[1].reason, "there is no such task");
    CHECK_INT(results[0]->episode_count, 6);
    CHECK_INT(results[1]->episode_count, 6);
    for (uint32_t i = 0; i < 6; i++) {
        const struct evaluator_episode *a = &results[0]->episodes[i];
        const struct evaluator_episode *b = &results[1]->episodes[i];
        CHECK_INT(a->pilot, b->pilot);
        CHECK_INT(a->row, b->row);
        CHECK_INT(a->success, b->success);
        CHECK_INT(a->steps, b->steps);
        CHECK(a->frames_hash == b->frames_hash);
        CHECK((a->frames_hash != 0) == (a->pilot == EVALUATOR_POLICY));
        CHECK_TEXT(a->note, "");
    }
    // different starts look different
    CHECK(results[0]->episodes[0].frames_hash != results[0]->episodes[1].frames_hash);
    struct evaluator_results *read = NULL;
    char path[400];
    snprintf(path, sizeof path, "%s/results.json", folders[1]);
    CHECK_OK(evaluator_results_read(path, &read, &error), error);
    CHECK_INT(read->episode_count, 6);
    CHECK(read->assets_hash != 0 && read->assets_hash == results[0]->assets_hash);
    for (int i = 0; i < 2; i++) evaluator_results_free(&results[i]);
    evaluator_results_free(&read);
}

TEST(evaluation_records_the_episodes_that_were_asked_for) {
    struct proto_error error = {0};
    struct evaluator_results *results = NULL;
    struct evaluator_video *video = NULL;
    char folder[300], videos[310], path[500];
    bool complete;
    if (!have_libero()) skip();
    snprintf(folder, sizeof folder, "%s/eval", f.folder);
    snprintf(videos, sizeof videos, "%s/videos", folder);
    const struct evaluator_video_settings settings = {
        .folder = videos, .render = "cpu", .episodes = 1, .row_first = 10};
    CHECK_OK(evaluator_video_open(&settings, &video, &error), error);
    const struct evaluator_cinema cinema = evaluator_video_cinema(video);
    struct evaluator_evaluation evaluation = evaluation_of(folder);
    evaluation.controls = false;
    evaluation.cinema = &cinema;
    CHECK_OK(evaluator_evaluation_run(&evaluation, &results, &complete, &error), error);
    struct proto_names found;
    CHECK_OK(proto_folder_list(videos, &found, &error), error);
    CHECK_INT(found.count, 1);
    snprintf(path, sizeof path, "%s-10-policy-%s.mp4", TASK,
             results->episodes[0].success ? "success" : "failure");
    CHECK_TEXT(found.items[0], path);
    proto_names_free(&found);
    evaluator_video_close(&video);
    evaluator_results_free(&results);
}

TEST(evaluation_refuses_what_cannot_be_rolled_out) {
    struct proto_error error = {0};
    struct evaluator_results *results = NULL;
    char folder[300];
    bool complete;
    if (!have_libero()) skip();
    snprintf(folder, sizeof folder, "%s/eval", f.folder);
    struct evaluator_evaluation evaluation = evaluation_of(folder);
    evaluation.exec_horizon = 9;  // of 8
    CHECK(!evaluator_evaluation_run(&evaluation, &results, &complete, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "exec_horizon is 9");
    // more starts than there are, and a camera that no scene has: reasons of the task
    evaluation = evaluation_of(folder);
    evaluation.row_count = 41;
    CHECK_OK(evaluator_evaluation_run(&evaluation, &results, &complete, &error), error);
    CHECK_HAS(results->tasks[0].reason, "start states 10:51 were asked for, it has 0:50");
    evaluator_results_free(&results);
    snprintf(f.codec->cameras[1], sizeof f.codec->cameras[1], "left_wrist");
    write_checkpoint();
    snprintf(folder, sizeof folder, "%s/eval2", f.folder);
    evaluation = evaluation_of(folder);
    CHECK_OK(evaluator_evaluation_run(&evaluation, &results, &complete, &error), error);
    CHECK_HAS(results->tasks[0].reason, "trained on a camera \"left_wrist\"");
    CHECK_INT(results->episode_count, 0);
    evaluator_results_free(&results);
}

TEST(recording_has_every_number_at_its_place) {
    struct proto_error error = {0};
    const struct evaluator_observation seen = {.joint_pos = {1, 2, 3, 4, 5, 6, 7},
                                               .gripper_qpos = {0.03, -0.04},
                                               .eef_pos = {-0.1, 0.2, 1.1},
                                               .eef_quat = {0, 0, 1, 0},  // half a turn about z
                                               .ee_ori = {0, 0, 3.141592653589793}};
    double numbers[PROTO_CHANNELS_MAX], action[7];
    CHECK_OK(evaluator_recording_check(f.codec, &error), error);
    evaluator_recording_state(f.codec, &seen, numbers);
    for (int i = 0; i < 7; i++) CHECK(numbers[i] == i + 1);
    CHECK(numbers[7] == 0.03 && numbers[8] == -0.04);
    CHECK(numbers[9] == -0.1 && numbers[10] == 0.2 && numbers[11] == 1.1);
    // columns one and two of the rotation; pi in double turns by 1e-16 less
    static const double columns[] = {-1, 0, 0, 0, -1, 0};
    for (int i = 0; i < 6; i++) CHECK_NEAR(numbers[12 + i], columns[i], 1e-15);
    static const double x[] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, -1};
    evaluator_recording_action(f.codec, x, action);
    CHECK(memcmp(x, action, sizeof x) == 0);
    snprintf(f.codec->state[0].source, sizeof f.codec->state[0].source, "obs/elsewhere");
    CHECK(!evaluator_recording_check(f.codec, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "joint_pos.0 comes from \"obs/elsewhere\"");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(evaluation_gives_the_same_outcomes_and_frames_with_any_environments),
          CASE(evaluation_records_the_episodes_that_were_asked_for),
          CASE(evaluation_refuses_what_cannot_be_rolled_out),
          CASE(recording_has_every_number_at_its_place))
