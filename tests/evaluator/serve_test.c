// tests/evaluator/serve_test.c - what an evaluator of a run does next, which checkpoint is the
// best, and what becomes of those that are gone. Oracle: the words of serve_queue.h, scoreboard.h
// and announced.h; nothing here needs a simulator.
#include "evaluator/announced.h"
#include "evaluator/scoreboard.h"
#include "evaluator/serve_queue.h"
#include "tests/check.h"

#include "proto/files.h"

#include <sys/wait.h>
#include <unistd.h>

// ---- what is next -------------------------------------------------------------------------------

// A checkpoint as a letter: n not done, d done, c done with controls, f failed, o with others, O
// done but for controls, which are with others. They are 20, 40, 60 ... steps.
static size_t items_of(const char *letters, struct evaluator_serve_item *items) {
    size_t count = 0;
    for (; letters[count] != '\0'; count++) {
        const char letter = letters[count];
        items[count] = (struct evaluator_serve_item){
            .step = 20 * (count + 1),
            .done = letter == 'd' || letter == 'c' || letter == 'O',
            .controls = letter == 'c',
            .failed = letter == 'f',
            .others = letter == 'o' || letter == 'O',
        };
    }
    return count;
}

TEST(serve_takes_the_newest_first_and_in_the_end_every_one) {
    static const struct {
        const char *name, *items;
        bool last;
        uint64_t every, best;  // best 0: none
        enum evaluator_serve_controls controls;
        enum evaluator_serve_action action;
        uint64_t step;
        uint32_t waiting;
    } cases[] = {
        {"nothing yet", "", false, 1, 0, EVALUATOR_BEST, EVALUATOR_SERVE_WAIT, 0, 0},
        {"nothing, and nothing will come", "", true, 1, 0, EVALUATOR_BEST, EVALUATOR_SERVE_LEAVE, 0,
         0},
        {"newest", "nnn", false, 1, 0, EVALUATOR_BEST, EVALUATOR_SERVE_EVALUATE, 60, 2},
        {"then what it passed over", "nnd", false, 1, 60, EVALUATOR_BEST, EVALUATOR_SERVE_EVALUATE,
         40, 1},
        {"all done, more will come", "ddd", false, 1, 60, EVALUATOR_ALL, EVALUATOR_SERVE_WAIT, 0,
         0},
        {"all done, the best lacks controls", "ddd", true, 1, 40, EVALUATOR_BEST,
         EVALUATOR_SERVE_CONTROLS, 40, 0},
        {"the best has them", "dcd", true, 1, 40, EVALUATOR_BEST, EVALUATOR_SERVE_LEAVE, 0, 0},
        {"another was the best before", "dcd", true, 1, 60, EVALUATOR_BEST,
         EVALUATOR_SERVE_CONTROLS, 60, 0},
        {"controls never", "ddd", true, 1, 40, EVALUATOR_NEVER, EVALUATOR_SERVE_LEAVE, 0, 0},
        {"controls of all, newest first", "dcd", true, 1, 40, EVALUATOR_ALL,
         EVALUATOR_SERVE_CONTROLS, 60, 0},
        {"no controls before the last evaluation", "ndd", true, 1, 60, EVALUATOR_BEST,
         EVALUATOR_SERVE_EVALUATE, 20, 0},
        {"a failed one is passed over", "nfn", false, 1, 0, EVALUATOR_BEST,
         EVALUATOR_SERVE_EVALUATE, 60, 1},
        {"a failed one holds nobody up", "dfc", true, 1, 60, EVALUATOR_BEST, EVALUATOR_SERVE_LEAVE,
         0, 0},
        {"only failed ones", "ff", true, 1, 0, EVALUATOR_BEST, EVALUATOR_SERVE_LEAVE, 0, 0},
        {"others are at it: an older one", "nno", false, 1, 0, EVALUATOR_BEST,
         EVALUATOR_SERVE_EVALUATE, 40, 2},
        {"others are at all that is left", "ddo", true, 1, 40, EVALUATOR_BEST, EVALUATOR_SERVE_LOOK,
         0, 1},
        {"others fly the controls", "dOd", true, 1, 40, EVALUATOR_BEST, EVALUATOR_SERVE_LOOK, 0, 0},
        {"every second: the first is none", "n", false, 2, 0, EVALUATOR_BEST, EVALUATOR_SERVE_WAIT,
         0, 0},
        {"every second", "nn", false, 2, 0, EVALUATOR_BEST, EVALUATOR_SERVE_EVALUATE, 40, 0},
        {"every second, and the last", "ndn", true, 2, 40, EVALUATOR_NEVER,
         EVALUATOR_SERVE_EVALUATE, 60, 0},
        {"every second, not the last before it is known", "ndn", false, 2, 40, EVALUATOR_NEVER,
         EVALUATOR_SERVE_WAIT, 0, 0},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct evaluator_serve_item items[8];
        const struct evaluator_serve_run run = {.items = items,
                                                .count = items_of(cases[i].items, items),
                                                .last = cases[i].last,
                                                .period = 20,
                                                .every = cases[i].every,
                                                .controls = cases[i].controls,
                                                .best_known = cases[i].best > 0,
                                                .best_step = cases[i].best};
        TEST_CASE(cases[i].name);
        const struct evaluator_serve_next next = evaluator_serve_next(&run);
        CHECK_INT(next.action, cases[i].action);
        CHECK_INT(next.step, cases[i].step);
        CHECK_INT(next.waiting, cases[i].waiting);
    }
    TEST_CASE("");
}

// ---- the board ----------------------------------------------------------------------------------

static char folder[256];

static int begin(void **state) {
    struct proto_error error = {0};
    (void)state;
    check_folder(folder);
    char path[300];
    snprintf(path, sizeof path, "%s/eval", folder);
    return proto_folder_make(path, 0755, &error) ? 0 : 1;
}
static int end(void **state) {
    struct proto_error error = {0};
    (void)state;
    return proto_folder_remove(folder, &error) ? 0 : 1;
}

static void append_text(const char *name, const char *text) {
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "a");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static struct evaluator_score score_of(uint64_t step, uint64_t hash, uint32_t selection) {
    return (struct evaluator_score){.step = step,
                                    .checkpoint_hash = hash,
                                    .policy = {18, 20},
                                    .selection = {selection, 10},
                                    .interval95 = {0.699, 0.9721},
                                    .wall_s = 41.25};
}

TEST(serve_board_keeps_the_newest_line_of_each_step_whatever_a_kill_left) {
    struct proto_error error = {0};
    struct evaluator_scoreboard board;
    CHECK_OK(evaluator_scoreboard_read(folder, &board, &error), error);
    CHECK_INT(board.count, 0);
    const struct evaluator_score first = score_of(40, 7, 3), other = score_of(20, 8, 5);
    struct evaluator_score again = score_of(40, 7, 3);
    again.controls = true;
    again.open_loop = (struct evaluator_count){2, 20};
    again.blind = (struct evaluator_count){0, 20};
    again.not_evaluated = 1;
    CHECK_OK(evaluator_scoreboard_append(folder, &first, &error), error);
    append_text("eval/metrics.jsonl", "{\"step\": 60, \"succ");  // a kill in the middle of a write
    CHECK_OK(evaluator_scoreboard_append(folder, &other, &error), error);
    append_text("eval/metrics.jsonl", "\n{\"step\": 80, \"success_rate\": 1}\nnonsense\n[]\n");
    CHECK_OK(evaluator_scoreboard_append(folder, &again, &error), error);
    CHECK_OK(evaluator_scoreboard_read(folder, &board, &error), error);
    CHECK_INT(board.count, 2);
    CHECK_INT(board.scores[0].step, 20);
    CHECK_INT(board.scores[0].selection.successes, 5);
    CHECK_INT(board.scores[1].step, 40);
    CHECK(board.scores[1].controls && !board.scores[0].controls);
    CHECK_INT(board.scores[1].open_loop.successes, 2);
    CHECK_INT(board.scores[1].blind.episodes, 20);
    CHECK_INT(board.scores[1].not_evaluated, 1);
    CHECK_INT(board.scores[1].policy.successes, 18);
    CHECK(board.scores[1].wall_s == 41.25 && board.scores[1].interval95[1] == 0.9721);
    CHECK(evaluator_scoreboard_find(&board, 40, 7) == &board.scores[1]);
    CHECK(!evaluator_scoreboard_find(&board, 40, 9));  // another checkpoint of that step
    evaluator_scoreboard_free(&board);
}

TEST(serve_best_is_the_most_successes_of_selection_and_the_later_of_equals) {
    static const struct {
        const char *name;
        struct evaluator_present present[4];
        size_t count;
        uint64_t best;  // 0: none
    } cases[] = {
        {"no checkpoint", {{0}}, 0, 0},
        {"none of them has a score", {{99, 1}}, 1, 0},
        {"the later of equals", {{20, 1}, {40, 2}, {60, 3}, {80, 4}}, 4, 60},
        {"one that is gone is none", {{20, 1}, {40, 2}, {80, 4}}, 3, 40},
        {"nor is another of the same step", {{20, 1}, {40, 2}, {60, 33}, {80, 4}}, 4, 40},
        {"a worse one, alone", {{20, 1}}, 1, 20},
    };
    struct evaluator_score scores[] = {score_of(20, 1, 4), score_of(40, 2, 9), score_of(60, 3, 9),
                                       score_of(80, 4, 8)};
    scores[0].policy.successes = 20;  // what is reported does not choose
    const struct evaluator_scoreboard board = {scores, PROTO_COUNT(scores)};
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].name);
        const struct evaluator_score *best =
            evaluator_best_choose(&board, cases[i].present, cases[i].count);
        CHECK_INT(best ? best->step : 0, cases[i].best);
    }
    TEST_CASE("");
}

static void check_link(uint64_t step, bool expected_change, const char *target) {
    struct proto_error error = {0};
    char path[300], found[64] = "";
    bool changed = !expected_change;
    CHECK_OK(evaluator_best_link(folder, step, &changed, &error), error);
    CHECK(changed == expected_change);
    snprintf(path, sizeof path, "%s/best", folder);
    CHECK(readlink(path, found, sizeof found - 1) > 0);
    CHECK_TEXT(found, target);
}

TEST(serve_best_link_is_relative_and_replaced_at_once) {
    char path[300];
    check_link(40, true, "checkpoint-40");
    check_link(40, false, "checkpoint-40");
    snprintf(path, sizeof path, "%s/best.partial", folder);
    CHECK_INT(symlink("checkpoint-1", path), 0);  // a kill before the rename
    check_link(60, true, "checkpoint-60");
    CHECK(!proto_path_exists(path));
}

TEST(serve_best_that_is_a_folder_is_not_touched) {
    struct proto_error error = {0};
    char path[300];
    bool changed = true;
    snprintf(path, sizeof path, "%s/best", folder);
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    CHECK(!evaluator_best_link(folder, 40, &changed, &error));
    CHECK(!changed && proto_path_is_folder(path));
}

TEST(serve_board_is_held_by_one_at_a_time) {
    struct proto_error error = {0};
    int lock = -1, pipes[2];
    char byte = 0;
    CHECK_INT(pipe(pipes), 0);
    CHECK_OK(evaluator_scoreboard_lock(folder, &lock, &error), error);
    const pid_t child = fork();
    if (child == 0) {
        int other = -1;
        close(lock);  // its copy would hold what the parent lets go
        if (!evaluator_scoreboard_lock(folder, &other, &error)) _exit(1);
        // what the holder wrote before it let go is there
        if (read(pipes[0], &byte, 1) != 1) _exit(2);
        _exit(byte == 'x' ? 0 : 3);
    }
    CHECK_INT(write(pipes[1], "x", 1), 1);
    close(lock);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_INT(status, 0);
    close(pipes[0]);
    close(pipes[1]);
}

// ---- checkpoints that went ----------------------------------------------------------------------

static enum evaluator_fate fate_of(const struct evaluator_announced *announced, uint64_t step) {
    for (size_t i = 0; i < announced->count; i++)
        if (announced->items[i].step == step) return announced->items[i].fate;
    fail_msg("step %d is not known", (int)step);
    return EVALUATOR_SKIPPED;
}

TEST(serve_reads_events_as_they_grow_and_what_became_of_each_checkpoint) {
    struct proto_error error = {0};
    struct evaluator_announced announced = {0};
    CHECK_OK(evaluator_announced_read(&announced, folder, &error), error);  // no file yet
    CHECK_INT(announced.count, 0);
    append_text("events.jsonl", "{\"event\": \"up\"}\n{\"event\": \"checkpoint\", \"step\": 20}\n"
                                "{\"event\": \"checkpoint\", \"step\": 40}\n{\"event\": \"chec");
    CHECK_OK(evaluator_announced_read(&announced, folder, &error), error);
    CHECK_INT(announced.count, 2);
    append_text("events.jsonl", "kpoint\", \"step\": 60}\nnonsense\n{\"event\": \"checkpoint\"}\n"
                                "{\"event\": \"evaluation_finished\", \"step\": 40}\n"
                                "{\"event\": \"evaluation_skipped\", \"step\": 20}\n"
                                "{\"event\": \"evaluation_failed\", \"step\": 60}\n");
    CHECK_OK(evaluator_announced_read(&announced, folder, &error), error);
    CHECK_INT(announced.count, 3);
    CHECK_INT(fate_of(&announced, 20), EVALUATOR_SKIPPED);
    CHECK_INT(fate_of(&announced, 40), EVALUATOR_FINISHED);
    CHECK_INT(fate_of(&announced, 60), EVALUATOR_FAILED);
    // written again after going back: it begins anew
    append_text("events.jsonl", "{\"event\": \"checkpoint\", \"step\": 40}\n");
    CHECK_OK(evaluator_announced_read(&announced, folder, &error), error);
    CHECK_INT(fate_of(&announced, 40), EVALUATOR_WRITTEN);
    CHECK_OK(evaluator_announced_see(&announced, 80, &error), error);  // before its event
    CHECK_INT(fate_of(&announced, 80), EVALUATOR_WRITTEN);
    CHECK_OK(evaluator_announced_see(&announced, 20, &error), error);
    CHECK_INT(fate_of(&announced, 20), EVALUATOR_SKIPPED);
    evaluator_announced_free(&announced);
}

TEST(serve_reads_long_and_many_events) {
    struct proto_error error = {0};
    struct evaluator_announced announced = {0};
    char *line = malloc(200001);
    CHECK(line);
    memset(line, ' ', 200000);
    memcpy(line, "{\"event\": \"checkpoint\", \"step\": 20}", 35);
    line[199999] = '\n';
    line[200000] = '\0';
    append_text("events.jsonl", line);
    free(line);
    for (int i = 2; i <= 3000; i++) {
        char text[80];
        snprintf(text, sizeof text, "{\"event\": \"checkpoint\", \"step\": %d}\n", 20 * i);
        if (i % 10 == 0) append_text("events.jsonl", text);
    }
    CHECK_OK(evaluator_announced_read(&announced, folder, &error), error);
    CHECK_INT(announced.count, 301);
    evaluator_announced_free(&announced);
}

#define WITH_FOLDER(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(UNIT(serve_takes_the_newest_first_and_in_the_end_every_one),
          WITH_FOLDER(serve_board_keeps_the_newest_line_of_each_step_whatever_a_kill_left),
          UNIT(serve_best_is_the_most_successes_of_selection_and_the_later_of_equals),
          WITH_FOLDER(serve_best_link_is_relative_and_replaced_at_once),
          WITH_FOLDER(serve_best_that_is_a_folder_is_not_touched),
          WITH_FOLDER(serve_board_is_held_by_one_at_a_time),
          WITH_FOLDER(serve_reads_events_as_they_grow_and_what_became_of_each_checkpoint),
          WITH_FOLDER(serve_reads_long_and_many_events))
