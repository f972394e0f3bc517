// tests/stages/cost_test.c - what evaluation costs training, out of a metrics.jsonl that grows
// while evaluations come and go. Oracle: means of the numbers that the test itself writes.
#include "tests/check.h"

#include "proto/files.h"
#include "stages/cost.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static void write_steps(const char *path, int count, double step_s) {
    FILE *file = fopen(path, "a");
    CHECK(file != NULL);
    for (int i = 0; i < count; i++) fprintf(file, "{\"step\": 1, \"step_s\": %.17g}\n", step_s);
    CHECK(fclose(file) == 0);
}

TEST(cost_is_the_mean_step_with_and_without_an_evaluation) {
    char folder[256], path[300];
    struct proto_error error = {0};
    struct stage_cost cost = {0};
    double alone_s, under_way_s;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    stage_cost_look(&cost, path, false);  // no file yet
    write_steps(path, 50, 100);           // of the life before: nobody's
    stage_cost_look(&cost, path, false);
    write_steps(path, 20, 0.5);
    stage_cost_look(&cost, path, false);
    CHECK(!stage_cost_means(&cost, &alone_s, &under_way_s));
    write_steps(path, 7, 100);  // an evaluation began somewhere between: nobody's
    stage_cost_look(&cost, path, true);
    write_steps(path, 10, 0.75);
    stage_cost_look(&cost, path, true);
    write_steps(path, 10, 0.25);
    stage_cost_look(&cost, path, true);
    CHECK(stage_cost_means(&cost, &alone_s, &under_way_s));
    CHECK(fabs(alone_s - 0.5) < 1e-12 && fabs(under_way_s - 0.5) < 1e-12);
    CHECK_INT(cost.steps[0], 20);
    CHECK_INT(cost.steps[1], 20);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(cost_survives_half_lines_long_lines_and_a_file_that_was_cut_back) {
    char folder[256], path[300];
    struct proto_error error = {0};
    struct stage_cost cost = {0};
    check_folder(folder);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    write_steps(path, 1, 1);
    stage_cost_look(&cost, path, false);
    FILE *file = fopen(path, "a");
    CHECK(file != NULL);
    fputs("{\"step_s\": 1", file);
    fflush(file);
    stage_cost_look(&cost, path, false);
    CHECK_INT(cost.steps[0], 0);
    fputs("}\nnot JSON\n{\"step_s\": \"x\"}\n", file);
    fflush(file);
    stage_cost_look(&cost, path, false);
    CHECK_INT(cost.steps[0], 1);
    // longer than what is read at once: passed over, and the next one counts again
    for (int i = 0; i < 300000; i++) fputc(' ', file);
    fputs("\n{\"step_s\": 1}\n", file);
    CHECK(fclose(file) == 0);
    stage_cost_look(&cost, path, false);
    CHECK_INT(cost.steps[0], 2);
    // set back to a checkpoint
    CHECK(truncate(path, 10) == 0);
    stage_cost_look(&cost, path, false);
    write_steps(path, 3, 1);
    stage_cost_look(&cost, path, false);
    CHECK(cost.steps[0] >= 4 && cost.steps[0] <= 5);  // the line at the cut is a half one
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(cost_is_the_mean_step_with_and_without_an_evaluation),
          UNIT(cost_survives_half_lines_long_lines_and_a_file_that_was_cut_back))
