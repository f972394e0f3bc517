// tests/stages/plot_test.c - what a run's files say is what the picture shows: each step once, torn
// lines left out, damage named by line. The oracle of positions is the picture's own scale: 0 % and
// 100 % are 190 px apart, the last step is 582 px right of step 0.
#include "tests/check.h"

#include "proto/files.h"
#include "stages/plot.h"

#include <math.h>

static char folder[256];

static void file_put(const char *name, const char *text) {
    struct proto_error error = {0};
    char path[300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK_OK(proto_file_write(path, text, strlen(text), &error), error);
}

static void run_make(void) {
    struct proto_error error = {0};
    char path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/eval", folder);
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    file_put("metrics.jsonl", "{\"step\": 1, \"loss\": 0.5}\n{\"step\": 2, \"loss\": 0.25}\n"
                              "{\"step\": 3, \"loss\": 0.1}\n{\"step\": 4, \"lo");
}

static void run_remove(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

static char *drawn(const struct stage_plot *plot) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    CHECK(memory);
    stage_plot_draw(plot, memory);
    CHECK_INT(fclose(memory), 0);
    return text;
}

TEST(plot_reads_each_step_once_in_order_and_no_torn_line) {
    struct proto_error error = {0};
    struct stage_plot plot;
    run_make();
    // the newest checkpoint is evaluated first; one was evaluated again after a restart
    file_put("eval/metrics.jsonl",
             "{\"step\": 3, \"successes\": 20, \"episodes\": 20, \"success_rate\": 1.0, "
             "\"interval95\": [0.84, 1.0]}\n"
             "{\"step\": 1, \"successes\": 5, \"episodes\": 20, \"success_rate\": 0.25, "
             "\"interval95\": [0.11, 0.47]}\n"
             "{\"step\": 2, \"successes\": 9, \"episodes\": 20, \"success_rate\": 0.45, "
             "\"interval95\": [0.26, 0.66]}\n"
             "{\"step\": 1, \"successes\": 6, \"episodes\": 20, \"success_rate\": 0.3, "
             "\"interval95\": [0.15, 0.52]}\n{\"step\": 9");
    file_put("events.jsonl", "{\"event\": \"start\"}\n"
                             "{\"event\": \"validation\", \"step\": 2, \"policy\": 0.2, "
                             "\"mean_action\": 0.6, \"time_mean\": null}\n");
    CHECK_OK(stage_plot_read(folder, &plot, &error), error);
    CHECK_INT(plot.loss_count, 3);
    CHECK_INT(plot.losses[2].step, 3);
    CHECK_INT(plot.rate_count, 3);
    CHECK_INT(plot.rates[0].step, 1);
    CHECK_INT(plot.rates[0].successes, 6);
    CHECK_INT(plot.rates[1].step, 2);
    CHECK_INT(plot.rates[2].step, 3);
    CHECK_INT(plot.validation_count, 1);
    CHECK_NEAR(plot.validations[0].policy, 0.2, 0);
    CHECK(plot.validations[0].time_mean != plot.validations[0].time_mean);  // not a number
    char *text = drawn(&plot);
    // step 1 of 3, 30 %: x = 62 + 582 / 3, y = 30 + 190 * 0.7
    CHECK_HAS(text, "<circle cx=\"256.0\" cy=\"163.0\"");
    CHECK_HAS(text, "<circle cx=\"644.0\" cy=\"30.0\"");
    CHECK_HAS(text, "20 starts");
    CHECK_HAS(text, "mean action");
    CHECK(!strstr(text, "time-indexed mean"));
    CHECK(!strstr(text, "nan") && !strstr(text, "inf"));
    free(text);
    stage_plot_free(&plot);
    run_remove();
}

TEST(plot_shows_the_rows_of_a_report_summed_over_tasks) {
    struct proto_error error = {0};
    struct stage_plot plot;
    char path[300];
    run_make();
    CHECK_OK(stage_plot_read(folder, &plot, &error), error);
    char *text = drawn(&plot);
    CHECK(!strstr(text, "success of the robot"));  // nothing was evaluated
    free(text);
    file_put("results.json",
             "{\"step\": 3, \"tasks\": [{\"rows\": {"
             "\"policy\": {\"episodes\": 50, \"successes\": 49, \"success_rate\": 0.98, "
             "\"interval95\": [0.895, 0.997]}, \"blind\": {\"episodes\": 50, \"successes\": 0, "
             "\"success_rate\": 0, \"interval95\": [0, 0.07]}}}, {\"rows\": {"
             "\"policy\": {\"episodes\": 50, \"successes\": 26, \"success_rate\": 0.52, "
             "\"interval95\": [0.38, 0.65]}}}]}");
    snprintf(path, sizeof path, "%s/results.json", folder);
    CHECK_OK(stage_plot_read_results(path, &plot, &error), error);
    CHECK_INT(plot.reports[STAGE_PLOT_POLICY].successes, 75);
    CHECK_INT(plot.reports[STAGE_PLOT_POLICY].episodes, 100);
    CHECK_NEAR(plot.reports[STAGE_PLOT_POLICY].rate, 0.75, 0);
    CHECK_INT(plot.reports[STAGE_PLOT_OPEN_LOOP].episodes, 0);
    text = drawn(&plot);
    CHECK_HAS(text, "policy 75/100");
    CHECK_HAS(text, "blind 0/50");
    CHECK(!strstr(text, "open loop"));
    CHECK_HAS(text, "report of step 3");
    free(text);
    stage_plot_free(&plot);
    run_remove();
}

TEST(plot_names_file_and_line_of_what_is_damaged) {
    static const struct {
        const char *name, *file, *text, *where, *says;
    } cases[] = {
        {"no loss", "metrics.jsonl", "{\"step\": 1, \"loss\": 1}\n{\"step\": 2}\n",
         "metrics.jsonl: line 2: loss", "is missing"},
        {"no JSON", "metrics.jsonl", "{\"step\": 1, \"loss\": 1}\nsteps\n", "metrics.jsonl: line 2",
         ""},
        {"no step", "metrics.jsonl", "", "", "has no step yet"},
        {"more than all", "eval/metrics.jsonl",
         "{\"step\": 1, \"successes\": 3, \"episodes\": 2, \"success_rate\": 1, "
         "\"interval95\": [0, 1]}\n",
         "eval/metrics.jsonl: line 1: successes", "must be 0..2"},
        {"one end", "eval/metrics.jsonl",
         "{\"step\": 1, \"successes\": 1, \"episodes\": 2, \"success_rate\": 0.5, "
         "\"interval95\": [0.9]}\n",
         "eval/metrics.jsonl: line 1", "must be within 0..1"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        struct stage_plot plot;
        TEST_CASE(cases[i].name);
        run_make();
        file_put(cases[i].file, cases[i].text);
        CHECK(!stage_plot_read(folder, &plot, &error));
        CHECK_HAS(error.where, cases[i].where);
        CHECK_HAS(error.text, cases[i].says);
        stage_plot_free(&plot);
        run_remove();
    }
    TEST_CASE("");
}

// A run of a million steps must not make a picture of a hundred megabytes.
TEST(plot_of_a_long_run_stays_small) {
    enum { STEPS = 200000 };
    struct stage_plot plot = {.loss_count = STEPS};
    plot.losses = malloc(STEPS * sizeof *plot.losses);
    CHECK(plot.losses);
    for (uint32_t i = 0; i < STEPS; i++)
        plot.losses[i] = (struct stage_plot_loss){.step = i + 1, .loss = i % 7 == 0 ? NAN : 0.1};
    char *text = drawn(&plot);
    CHECK(strlen(text) < 64 << 10);
    CHECK(!strstr(text, "nan") && !strstr(text, "inf"));
    free(text);
    stage_plot_free(&plot);
}

TEST_MAIN(UNIT(plot_reads_each_step_once_in_order_and_no_torn_line),
          UNIT(plot_shows_the_rows_of_a_report_summed_over_tasks),
          UNIT(plot_names_file_and_line_of_what_is_damaged), UNIT(plot_of_a_long_run_stays_small))
