// tests/stages/scores_test.c - what is known of a run's success: from its files, from events, and
// what people read of it. Oracle: the words of scores.h.
#include "tests/check.h"

#include "proto/files.h"
#include "stages/scores.h"

#include <unistd.h>

static void note(struct stage_scores *scores, const char *text, bool taken) {
    json_t *finished = json_loads(text, 0, NULL);
    CHECK(finished != NULL);
    CHECK(stage_scores_note(scores, finished) == taken);
    json_decref(finished);
}

TEST(scores_show_the_newest_checkpoint_and_the_best_whatever_the_order) {
    struct stage_scores scores = {0};
    char text[STAGE_SCORES_TEXT_BYTES];
    stage_scores_text(stage_scores_newest(&scores), stage_scores_best_one(&scores), text);
    CHECK_TEXT(text, "");
    note(&scores, "{\"step\": 2000, \"successes\": 18, \"episodes\": 20}", true);
    note(&scores, "{\"step\": 1750, \"successes\": 3, \"episodes\": 20}", true);
    stage_scores_text(stage_scores_newest(&scores), stage_scores_best_one(&scores), text);
    CHECK_TEXT(text, "success 18/20 at step 2000");
    // evaluated again: the later word counts
    note(&scores, "{\"step\": 1750, \"successes\": 20, \"episodes\": 20}", true);
    stage_scores_best(&scores, 1750);
    stage_scores_text(stage_scores_newest(&scores), stage_scores_best_one(&scores), text);
    CHECK_TEXT(text, "success 18/20 at step 2000 (best 20/20 at 1750)");
    CHECK_INT(scores.count, 2);
    // best of a life that left no numbers
    stage_scores_best(&scores, 10);
    CHECK(stage_scores_best_one(&scores) == NULL);
    stage_scores_free(&scores);
}

TEST(scores_pass_over_what_makes_no_sense) {
    static const char *const wrong[] = {
        "{}",
        "{\"step\": -1, \"successes\": 1, \"episodes\": 2}",
        "{\"step\": 1, \"successes\": 3, \"episodes\": 2}",
        "{\"step\": 1, \"successes\": 0, \"episodes\": 0}",
        "{\"step\": 1, \"successes\": -1, \"episodes\": 2}",
        "{\"step\": 1, \"successes\": 0, \"episodes\": 5000000000}",
        "{\"step\": \"1\", \"successes\": 0, \"episodes\": 1}",
        "[1]",
    };
    struct stage_scores scores = {0};
    for (size_t i = 0; i < PROTO_COUNT(wrong); i++) {
        TEST_CASE(wrong[i]);
        note(&scores, wrong[i], false);
    }
    TEST_CASE("");
    CHECK_INT(scores.count, 0);
    stage_scores_free(&scores);
}

TEST(scores_of_earlier_lives_come_from_the_run_folder) {
    static const char lines[] =
        "{\"step\": 20, \"success_rate\": 0.5, \"successes\": 10, \"episodes\": 20}\n"
        "not JSON\n"
        "{\"step\": 40, \"successes\": 12, \"episodes\": 20}\n"
        "{\"step\": 60, \"succes";  // a crash cut it short
    char folder[256], path[300];
    struct proto_error error = {0};
    struct stage_scores scores;
    check_folder(folder);
    CHECK_OK(stage_scores_open(&scores, folder, &error), error);
    CHECK_INT(scores.count, 0);
    CHECK(!scores.best_known);
    stage_scores_free(&scores);
    snprintf(path, sizeof path, "%s/eval", folder);
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    snprintf(path, sizeof path, "%s/eval/metrics.jsonl", folder);
    CHECK_OK(proto_file_write(path, lines, sizeof lines - 1, &error), error);
    snprintf(path, sizeof path, "%s/best", folder);
    CHECK(symlink("checkpoint-20", path) == 0);
    CHECK_OK(stage_scores_open(&scores, folder, &error), error);
    CHECK_INT(scores.count, 2);
    CHECK_INT(stage_scores_newest(&scores)->step, 40);
    CHECK_INT(stage_scores_best_one(&scores)->step, 20);
    stage_scores_free(&scores);
    // a link to something else is nobody's best
    CHECK(unlink(path) == 0 && symlink("checkpoint-20/..", path) == 0);
    CHECK_OK(stage_scores_open(&scores, folder, &error), error);
    CHECK(!scores.best_known);
    stage_scores_free(&scores);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(scores_are_json_and_back) {
    const struct stage_score score = {1750, 19, 20};
    struct stage_score again;
    json_t *object = stage_score_json(&score);
    CHECK(stage_score_read(object, &again));
    CHECK_INT(again.step, 1750);
    CHECK_INT(again.successes, 19);
    CHECK_INT(again.episodes, 20);
    CHECK(json_real_value(json_object_get(object, "success_rate")) == 0.95);
    json_decref(object);
    CHECK(json_is_null(stage_score_json(NULL)));
}

TEST_MAIN(UNIT(scores_show_the_newest_checkpoint_and_the_best_whatever_the_order),
          UNIT(scores_pass_over_what_makes_no_sense),
          UNIT(scores_of_earlier_lives_come_from_the_run_folder), UNIT(scores_are_json_and_back))
