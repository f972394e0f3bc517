// tests/stages/console_test.c - what a person sees: the progress line, lines of stages that cannot
// steer the terminal, and how often a file gets a line. Oracle: the words of console.h.
#include "tests/check.h"

#include "proto/files.h"
#include "stages/clock.h"
#include "stages/console.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

TEST(console_progress_line_shows_what_is_known) {
    static const struct {
        struct stage_progress progress;
        unsigned columns;
        const char *text;
    } cases[] = {
        {{
             12,
             300,
             0.1234,
             1.23,
             13.04,
             354,
             "success 18/20 at step 10 (best 19/20 at 5)",
         },
         0,
         "Steps: 12/300 [                        ] loss 0.1234  1.23 s/step  13.0 samples/s  "
         "ETA 0:05:54  success 18/20 at step 10 (best 19/20 at 5)"},
        {{150, 300, 0.5, NAN, NAN, NAN, ""},
         0,
         "Steps: 150/300 [===========>            ] loss 0.5"},
        {{300, 300, NAN, NAN, NAN, NAN, ""}, 0, "Steps: 300/300 [========================]"},
        {{7, 0, INFINITY, NAN, NAN, 1e300, ""}, 0, "Steps: 7/0 [                        ]  ETA -"},
        {{150, 300, 0.5, NAN, NAN, NAN, ""}, 20, "Steps: 150/300 [==="},
    };
    char text[256];
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        stage_progress_text(&cases[i].progress, cases[i].columns, text);
        CHECK_TEXT(text, cases[i].text);
    }
}

TEST(console_evaluation_line_shows_what_is_known) {
    static const struct {
        const char *counters, *success;
        unsigned columns;
        const char *text;  // NULL: none
    } cases[] = {
        {"{\"evaluating\": 1750, \"episode\": 12, \"episodes\": 30, \"waiting\": 3, \"eta_s\": "
         "80.5}",
         "success 18/20 at step 2000", 0,
         "Evaluating checkpoint-1750: 12/30 episodes, 3 more wait  ETA 0:01:20  success 18/20 at "
         "step 2000"},
        {"{\"evaluating\": 5, \"episode\": 0, \"episodes\": 30, \"eta_s\": null}", "", 0,
         "Evaluating checkpoint-5: 0/30 episodes"},
        {"{\"evaluating\": 5, \"episode\": 0, \"episodes\": 30}", "", 16, "Evaluating chec"},
        {"{\"evaluating\": null, \"waiting\": 0}", "success 1/2 at step 3", 0, NULL},
        {"{}", "", 0, NULL},
    };
    char text[256];
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].counters);
        json_t *counters = json_loads(cases[i].counters, 0, NULL);
        CHECK(counters != NULL);
        CHECK(stage_evaluation_text(counters, cases[i].success, cases[i].columns, text) ==
              (cases[i].text != NULL));
        if (cases[i].text) CHECK_TEXT(text, cases[i].text);
        json_decref(counters);
    }
    TEST_CASE("");
}

TEST(console_durations_are_hours_minutes_seconds) {
    char text[32];
    stage_duration_text(3725.9, text);
    CHECK_TEXT(text, "1:02:05");
    stage_duration_text(NAN, text);
    CHECK_TEXT(text, "-");
    stage_duration_text(-1, text);
    CHECK_TEXT(text, "-");
}

static void read_back(const char *path, char *text, size_t size_bytes) {
    const int file = open(path, O_RDONLY);
    CHECK(file >= 0);
    const ssize_t count = read(file, text, size_bytes - 1);
    CHECK(count >= 0);
    text[count] = '\0';
    close(file);
}

TEST(console_lines_cannot_steer_the_terminal_and_are_logged_with_their_time) {
    char folder[256], out[300], log[300], text[4096];
    struct proto_error error = {0};
    struct stage_console console;
    check_folder(folder);
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(log, sizeof log, "%s/training.log", folder);
    const int output = open(out, O_WRONLY | O_CREAT, 0644);
    CHECK_OK(stage_console_open(&console, output, log, &error), error);
    stage_console_say(&console, "trainer-0", "%s", "\033[2Jowned\r\nsecond");
    stage_console_close(&console);
    read_back(out, text, sizeof text);
    CHECK_TEXT(text, " [2Jowned  second\n");
    read_back(log, text, sizeof text);
    CHECK_HAS(text, "Z trainer-0   [2Jowned  second\n");
    close(output);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

static size_t count_lines(const char *text) {
    size_t lines = 0;
    for (; *text; text++) lines += *text == '\n';
    return lines;
}

static void give(struct stage_console *console, int step, int max_steps, int64_t now_ms) {
    json_t *counters = json_pack("{s:i, s:i}", "step", step, "max_steps", max_steps);
    stage_console_progress(console, counters, now_ms);
    json_decref(counters);
}

TEST(console_plain_progress_comes_every_twentieth_or_after_a_growing_wait) {
    char folder[256], out[300], log[300];
    static char text[65536];
    struct proto_error error = {0};
    struct stage_console console;
    check_folder(folder);
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(log, sizeof log, "%s/training.log", folder);
    int output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_OK(stage_console_open(&console, output, log, &error), error);
    // fast: the first of 1000 steps, then every 50th, and the last
    for (int step = 1; step <= 1000; step++) give(&console, step, 1000, 1000 + step);
    stage_console_close(&console);
    close(output);
    read_back(out, text, sizeof text);
    CHECK_INT(count_lines(text), 21);
    CHECK_HAS(text, "Steps: 1/1000");
    CHECK_HAS(text, "Steps: 1000/1000");
    // slow: 10 s a step of a million for an hour: waits of 5, 10, 20, 40 s, then 80 s each
    output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_OK(stage_console_open(&console, output, log, &error), error);
    for (int step = 1; step <= 360; step++) give(&console, step, 1000000, step * 10000);
    stage_console_close(&console);
    close(output);
    read_back(out, text, sizeof text);
    const size_t lines = count_lines(text);
    CHECK(lines >= 45 && lines <= 51);
    // what comes again after a restart from a checkpoint is shown
    output = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    CHECK_OK(stage_console_open(&console, output, log, &error), error);
    give(&console, 40, 1000, 1000);
    give(&console, 20, 1000, 1100);
    stage_console_close(&console);
    close(output);
    read_back(out, text, sizeof text);
    CHECK_HAS(text, "Steps: 20/1000");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(console_progress_line_shows_what_is_known),
          UNIT(console_evaluation_line_shows_what_is_known),
          UNIT(console_durations_are_hours_minutes_seconds),
          UNIT(console_lines_cannot_steer_the_terminal_and_are_logged_with_their_time),
          UNIT(console_plain_progress_comes_every_twentieth_or_after_a_growing_wait))
