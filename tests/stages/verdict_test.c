// tests/stages/verdict_test.c - what is said of waits. Oracle: cases made by hand, in which one
// cause is planted.
#include "tests/check.h"

#include "stages/verdict.h"

#include <unistd.h>

TEST(verdict_names_the_cause_that_was_planted) {
    static const struct {
        const char *name;
        struct stage_waits waits;
        bool held_up;
        const char *says;
    } rows[] = {
        {"balanced",
         {.ranks = 2, .step_s = 1, .data_s = {0.01, 0.01}, .collective_s = {0.02, 0.03}},
         false,
         "nothing holds the ranks up: 1.0 % of a step waiting for batches, at most 3.0 %"},
        {"one rank", {.ranks = 1, .step_s = 1, .data_s = {0}}, false, "nothing holds"},
        {"loaders",
         {.ranks = 2, .step_s = 1, .data_s = {0.4, 0.4}, .collective_s = {0.01, 0.01}},
         true,
         "loader-bound: ranks wait 40 % of a step"},
        {"a slow rank",
         {.ranks = 2, .step_s = 1, .data_s = {0, 0}, .collective_s = {0.3, 0.01}},
         true,
         "rank 1 is slower: the others wait 29 % of a step"},
        {"a hungry rank",
         {.ranks = 2, .step_s = 1, .data_s = {0.3, 0}, .collective_s = {0.01, 0.3}},
         true,
         "rank 0 gets its batches later"},
        {"communication",
         {.ranks = 2, .step_s = 1, .data_s = {0, 0}, .collective_s = {0.4, 0.41}},
         true,
         "communication: every rank waits 40 % of a step"},
        {"two causes",
         {.ranks = 2, .step_s = 2, .data_s = {1, 1}, .collective_s = {0.5, 0.5}},
         true,
         ""},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        char text[STAGE_VERDICT_TEXT_BYTES];
        TEST_CASE(rows[i].name);
        CHECK(stage_verdict(&rows[i].waits, text) == rows[i].held_up);
        if (strcmp(rows[i].name, "two causes") == 0) {
            CHECK_HAS(text, "loader-bound: ranks wait 50 %");
            CHECK_HAS(text, "; communication: every rank waits 25 %");
        } else {
            CHECK_HAS(text, rows[i].says);
        }
    }
}

TEST(verdict_reads_the_newest_steps_of_the_same_ranks) {
    char folder[256], path[300];
    struct stage_waits waits;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    CHECK(!stage_waits_read(folder, &waits));
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    // an earlier life with one rank, a damaged line, then twenty steps of two ranks
    for (int i = 0; i < 20; i++)
        fprintf(file,
                "{\"step\": %d, \"step_s\": 9, \"data_wait_s\": [9], "
                "\"collective_wait_s\": [0]}\n",
                i);
    fprintf(file, "{\"step\"\n");
    for (int i = 0; i < 20; i++)
        fprintf(file,
                "{\"step\": %d, \"step_s\": 0.5, \"data_wait_s\": [0.1, 0.2], "
                "\"collective_wait_s\": [0.03, %g]}\n",
                i, i % 2 ? 0.02 : 0.04);
    fprintf(file, "{\"step\": 40, \"step_s\": 0.5, \"data_wait");  // being written
    CHECK(fclose(file) == 0);
    CHECK(stage_waits_read(folder, &waits));
    CHECK_INT(waits.steps, 20);
    CHECK_INT(waits.ranks, 2);
    // sums of at most 20 doubles: some ulp
    CHECK(waits.step_s > 0.5 - 1e-12 && waits.step_s < 0.5 + 1e-12);
    CHECK(waits.data_s[1] > 0.2 - 1e-12 && waits.data_s[1] < 0.2 + 1e-12);
    CHECK(waits.collective_s[1] > 0.03 - 1e-12 && waits.collective_s[1] < 0.03 + 1e-12);
    unlink(path);
    rmdir(folder);
}

TEST_MAIN(UNIT(verdict_names_the_cause_that_was_planted),
          UNIT(verdict_reads_the_newest_steps_of_the_same_ranks))
