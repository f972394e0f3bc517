// tests/evaluator/journal_test.c - episodes that several processes share are each counted once,
// whoever is killed when.
#include "tests/check.h"

#include "evaluator/journal.h"
#include "proto/files.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EPISODES = 40 };
static char folder[256], path[300];

static struct evaluator_results *results_new(uint64_t seed) {
    struct evaluator_results *results = NULL;
    struct proto_error error = {0};
    uint32_t row;
    CHECK_OK(evaluator_results_new(&results, &error), error);
    results->seed = seed;
    results->max_steps = 100;
    results->exec_horizon = 4;
    CHECK_OK(evaluator_results_add_task(results, "a_task", "", true, NULL, &row, &error), error);
    return results;
}

static struct evaluator_episode episode(uint32_t row) {
    return (struct evaluator_episode){.pilot = row % 2 ? EVALUATOR_BLIND : EVALUATOR_POLICY,
                                      .row = row,
                                      .seed = row,
                                      .success = row % 3 == 0,
                                      .steps = row + 1,
                                      .frames_hash = 0xfedcba9876543210u + row};
}

static int begin(void **state) {
    (void)state;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/episodes.jsonl", folder);
    return 0;
}
static int end(void **state) {
    struct proto_error error;
    (void)state;
    return proto_folder_remove(folder, &error) ? 0 : -1;
}

// Works through the list; dies without a word in the middle of episode `fatal`. Returns how many it
// did.
static uint32_t work(uint32_t fatal) {
    struct proto_error error = {0};
    struct evaluator_results *results = results_new(0);
    struct evaluator_journal *journal = NULL;
    uint32_t mine = 0;
    CHECK_OK(evaluator_journal_open(folder, results, &journal, &error), error);
    for (uint32_t row = 0; row < EPISODES; row++) {
        const struct evaluator_episode now = episode(row);
        enum evaluator_claim claim;
        CHECK_OK(evaluator_journal_claim(journal, &now, &claim, &error), error);
        if (claim != EVALUATOR_MINE) continue;
        if (row == fatal) raise(SIGKILL);
        CHECK_OK(evaluator_journal_record(journal, &now, &error), error);
        mine++;
    }
    evaluator_journal_close(&journal);
    evaluator_results_free(&results);
    return mine;
}

// Lines that hold an episode.
static uint32_t lines(void) {
    char *text = NULL;
    size_t size = 0;
    uint32_t count = 0;
    struct proto_error error = {0};
    CHECK_OK(proto_file_read(path, 1 << 20, PROTO_FAILED, &text, &size, &error), error);
    for (const char *at = text; (at = strstr(at, "\"init_state\"")); at++) count++;
    free(text);
    return count;
}

TEST(journal_of_several_processes_has_each_episode_once_whoever_dies) {
    pid_t children[4];
    fflush(NULL);
    for (uint32_t i = 0; i < PROTO_COUNT(children); i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            work(i < 2 ? 5 + 9 * i : EPISODES);  // two die, if they get that far
            _exit(0);
        }
    }
    for (uint32_t i = 0; i < PROTO_COUNT(children); i++) {
        int status;
        CHECK(waitpid(children[i], &status, 0) == children[i]);
    }
    // whoever comes last does what the dead had begun, and nothing else is left
    work(EPISODES);
    CHECK_INT(lines(), EPISODES);
    CHECK_INT(work(EPISODES), 0);
    struct proto_error error = {0};
    struct evaluator_results *results = results_new(0);
    struct evaluator_journal *journal = NULL;
    CHECK_OK(evaluator_journal_open(folder, results, &journal, &error), error);
    CHECK_INT(results->episode_count, EPISODES);
    for (uint32_t i = 0; i < EPISODES; i++) {
        const struct evaluator_episode *read = &results->episodes[i];
        const struct evaluator_episode wrote = episode(read->row);
        CHECK_INT(read->pilot, wrote.pilot);
        CHECK_INT(read->success, wrote.success);
        CHECK_INT(read->steps, wrote.steps);
        CHECK(read->frames_hash == wrote.frames_hash);
    }
    evaluator_journal_close(&journal);
    evaluator_results_free(&results);
}

TEST(journal_claims_are_of_one_process_and_end_with_it) {
    struct proto_error error = {0};
    struct evaluator_results *first = results_new(0), *second = results_new(0);
    struct evaluator_journal *a = NULL, *b = NULL;
    const struct evaluator_episode now = episode(3);
    enum evaluator_claim claim;
    CHECK_OK(evaluator_journal_open(folder, first, &a, &error), error);
    CHECK_OK(evaluator_journal_open(folder, second, &b, &error), error);
    CHECK_OK(evaluator_journal_claim(a, &now, &claim, &error), error);
    CHECK_INT(claim, EVALUATOR_MINE);
    CHECK_OK(evaluator_journal_claim(b, &now, &claim, &error), error);
    CHECK_INT(claim, EVALUATOR_BUSY);
    evaluator_journal_close(&a);  // as a death does
    CHECK_OK(evaluator_journal_claim(b, &now, &claim, &error), error);
    CHECK_INT(claim, EVALUATOR_MINE);
    CHECK_OK(evaluator_journal_record(b, &now, &error), error);
    CHECK_OK(evaluator_journal_open(folder, first, &a, &error), error);
    CHECK_OK(evaluator_journal_claim(a, &now, &claim, &error), error);
    CHECK_INT(claim, EVALUATOR_DONE);
    evaluator_journal_close(&a);
    evaluator_journal_close(&b);
    evaluator_results_free(&first);
    evaluator_results_free(&second);
}

TEST(journal_passes_over_a_line_that_was_cut_short) {
    struct proto_error error = {0};
    CHECK_INT(work(EPISODES), EPISODES);
    char *text = NULL;
    size_t size = 0;
    CHECK_OK(proto_file_read(path, 1 << 20, PROTO_FAILED, &text, &size, &error), error);
    free(text);
    CHECK(truncate(path, (off_t)size - 20) == 0);  // the last episode's line
    CHECK_INT(work(EPISODES), 1);
    CHECK_INT(work(EPISODES), 0);
}

TEST(journal_of_another_protocol_is_refused) {
    struct proto_error error = {0};
    struct evaluator_journal *journal = NULL;
    work(EPISODES);
    struct evaluator_results *other = results_new(1);
    CHECK(!evaluator_journal_open(folder, other, &journal, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "--output_dir");
    CHECK(!journal);
    evaluator_results_free(&other);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(journal_of_several_processes_has_each_episode_once_whoever_dies),
          CASE(journal_claims_are_of_one_process_and_end_with_it),
          CASE(journal_passes_over_a_line_that_was_cut_short),
          CASE(journal_of_another_protocol_is_refused))
