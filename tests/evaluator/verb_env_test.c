// tests/evaluator/verb_env_test.c - `env list` names the benchmark's tasks, `env render` writes a
// picture the right way up, and wrong words are refused before anything is compiled.
#include "evaluator/camera.h"

#include "proto/error.h"
#include "proto/files.h"
#include "tests/evaluator/golden_model.h"
#include "tests/evaluator/verb_output.h"

static const char kitchen[] = "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet";
enum { SIDE = 128, BYTES = SIDE * SIDE * 3 };

static size_t count_lines(const char *text) {
    size_t lines = 0;
    for (; *text != '\0'; text++) lines += *text == '\n';
    return lines;
}

TEST(verb_env_list_has_all_tasks_and_each_suite) {
    static const struct {
        const char *suite;
        size_t count;
    } suites[] = {{"demo", 3},         {"libero_spatial", 10}, {"libero_object", 10},
                  {"libero_goal", 10}, {"libero_10", 10},      {"libero_90", 90}};
    char *output;
    CHECK_INT(verb_run(stdout, (const char *const[]){"env", "list", NULL}, &output), PROTO_DONE);
    CHECK_INT(count_lines(output), 133);  // LIBERO's 130 and our own
    CHECK_HAS(output, kitchen);
    free(output);
    for (size_t i = 0; i < PROTO_COUNT(suites); i++) {
        const char *const words[] = {"env", "list", "--suite", suites[i].suite, NULL};
        CHECK_INT(verb_run(stdout, words, &output), PROTO_DONE);
        CHECK_INT(count_lines(output), suites[i].count);
        free(output);
    }
}

TEST(verb_env_refuses_wrong_words_by_name) {
    static const struct {
        const char *words[8], *says;
    } rows[] = {
        {{"env", "list", "--suite", "libero_spatal"}, "nearest known: libero_spatial"},
        {{"env", "render"}, "render needs a task"},
        {{"env", "render", "turn_on_the_stove"}, "render needs -o FILE"},
        {{"env", "render", "turn_on_the_stov", "-o", "x.png"}, "nearest known: turn_on_the_stove"},
        {{"env", "render", "turn_on_the_stove", "-o", "x.png", "--size", "12"}, "like 640x480"},
        {{"env", "render", "turn_on_the_stove", "-o", "x.png", "--size", "8x9999"}, "0..4096"},
        {{"env", "render", "turn_on_the_stove", "-o", "x.png", "--steps", "-1"}, "--steps is"},
        {{"env", "render", "my.bddl", "-o", "x.png", "--row", "1"}, "a .bddl has no rows"},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        char *output;
        CHECK_INT(verb_run(stderr, rows[i].words, &output), PROTO_USAGE);
        CHECK_HAS(output, rows[i].says);
        free(output);
    }
}

static double mean_difference(const uint8_t *a, const uint8_t *b, bool upside_down) {
    double sum = 0;
    for (size_t row = 0; row < SIDE; row++) {
        const uint8_t *line = b + (upside_down ? SIDE - 1 - row : row) * SIDE * 3;
        for (size_t i = 0; i < SIDE * 3; i++) sum += abs(a[row * SIDE * 3 + i] - line[i]);
    }
    return sum / BYTES;
}

// One step of a motionless gripper against the recorded picture after one step of a random action:
// the arm moved by less than a pixel, so 1 level in the mean is ample; upside down it is over 20.
TEST(verb_env_render_draws_the_recorded_start_upright) {
    char folder[256], path[300], recorded_path[1024], *output;
    uint8_t *drawn, *recorded;
    uint32_t height, width;
    struct proto_error error = {0};
    NEED_SHARED();
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a.png", folder);
    const char *const words[] = {"env",      "render",      kitchen,  "-o",      path,
                                 "--libero", golden_root(), "--size", "128x128", "--steps",
                                 "1",        "--render",    "cpu",    NULL};
    CHECK_INT(verb_run(stdout, words, &output), PROTO_DONE);
    CHECK_HAS(output, "128x128, drawn by llvmpipe");
    free(output);
    snprintf(recorded_path, sizeof recorded_path, "%s/data/libero/goldens/%s/agentview_00.png",
             check_shared(), kitchen);
    CHECK_OK(evaluator_png_read(path, &drawn, &height, &width, &error), error);
    CHECK_INT(height, SIDE);
    CHECK_INT(width, SIDE);
    CHECK_OK(evaluator_png_read(recorded_path, &recorded, &height, &width, &error), error);
    CHECK(mean_difference(drawn, recorded, false) < 1);
    CHECK(mean_difference(drawn, recorded, true) > 20);
    free(drawn);
    free(recorded);
    const char *const far[] = {"env",      "render",      kitchen, "-o", path,
                               "--libero", golden_root(), "--row", "50", NULL};
    CHECK_INT(verb_run(stderr, far, &output), PROTO_USAGE);
    CHECK_HAS(output, "--row is 50, the task has rows 0..49");
    free(output);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(verb_env_list_has_all_tasks_and_each_suite),
          UNIT(verb_env_refuses_wrong_words_by_name),
          UNIT(verb_env_render_draws_the_recorded_start_upright))
