// tests/trainer/ledger_test.c - the exactly-once checker says yes to what happened and names the
// first step of what did not. Oracle: lines made here from the stream itself, then spoiled.
#include "tests/trainer/run_world.h"

#include "trainer/ledger.h"
#include "trainer/metrics.h"

#define STEPS 6
#define BATCH 5

static const struct proto_stream stream = {
    .seed = WORLD_SEED, .n = WORLD_TRAIN_SAMPLES, .purpose = PROTO_PURPOSE_SHUFFLE};

// How one step of a run may go wrong.
struct spoil {
    uint64_t step;
    int64_t skip;         // positions lost (or taken twice) before this step
    bool other_sample;    // one sample was built for another position
    bool other_id;        // the list of ids disagrees, the ledger does not
    bool missing, twice;  // the step's line
    const char *says;
};

static void run_write(const struct world *world, const struct spoil *spoil, bool with_ids) {
    char path[300];
    struct proto_error error = {0};
    struct trainer_metrics *metrics = NULL;
    const double waits[1] = {0};
    uint64_t ids[BATCH], lines = 0, cursor = 0;
    snprintf(path, sizeof path, "%s/metrics.jsonl", world->run);
    unlink(path);
    CHECK_OK(trainer_metrics_open(path, 0, 1, BATCH, &metrics, &lines, &error), error);
    for (uint64_t step = 1; step <= STEPS; step++) {
        const bool here = spoil && spoil->step == step;
        struct trainer_metrics_line line = {.step = step,
                                            .attempt = 1,
                                            .data_wait_s = waits,
                                            .collective_wait_s = waits,
                                            .ranks = 1,
                                            .samples = with_ids ? ids : NULL,
                                            .sample_count = BATCH};
        const uint64_t first = cursor + (uint64_t)(here ? spoil->skip : 0);
        for (uint64_t i = 0; i < BATCH; i++) {
            const uint64_t g = first + i;
            const bool wrong = here && spoil->other_sample && i == 2;
            ids[i] = proto_stream_sample(&stream, wrong ? g + 1 : g);
            line.ledger += proto_ledger_entry(g, ids[i]);
        }
        if (here && spoil->other_id) ids[3]++;
        cursor = line.cursor = first + BATCH;
        for (int copy = 0; copy < 1 + (here && spoil->twice); copy++)
            if (!here || !spoil->missing)
                CHECK_OK(trainer_metrics_append(metrics, &line, &error), error);
    }
    trainer_metrics_close(&metrics);
}

TEST(ledger_agrees_with_a_run_that_consumed_the_stream) {
    struct world world;
    struct trainer_ledger_report report;
    struct proto_error error = {0};
    world_open(&world, STEPS, "devices = [\"cpu\"]\n");
    for (int with_ids = 0; with_ids < 2; with_ids++) {
        run_write(&world, NULL, with_ids);
        CHECK_OK(trainer_ledger_verify(world.run, &report, &error), error);
        TEST_CASE(report.text);
        CHECK(report.agrees);
        CHECK_INT(report.steps, STEPS);
        CHECK_INT(report.samples, STEPS * BATCH);
        CHECK_INT(report.with_ids, with_ids);
        TEST_CASE("");
    }
}

TEST(ledger_names_the_first_step_that_disagrees) {
    static const struct spoil spoils[] = {
        {.step = 3, .skip = 2, .says = "step 3 consumed other samples"},
        {.step = 4, .skip = -1, .says = "step 4 consumed other samples"},
        {.step = 2, .other_sample = true, .says = "step 2 consumed other samples"},
        {.step = 5, .other_id = true, .says = "step 5, position 23: sample"},
        {.step = 3, .missing = true, .says = "it is step 4, expected step 3"},
        {.step = 1, .missing = true, .says = "it is step 2, expected step 1"},
        {.step = 3, .twice = true, .says = "it is step 3, expected step 4"},
    };
    struct world world;
    struct trainer_ledger_report report;
    struct proto_error error = {0};
    world_open(&world, STEPS, "devices = [\"cpu\"]\n");
    for (size_t i = 0; i < PROTO_COUNT(spoils); i++) {
        TEST_CASE(spoils[i].says);
        run_write(&world, &spoils[i], true);
        CHECK_OK(trainer_ledger_verify(world.run, &report, &error), error);
        CHECK(!report.agrees);
        CHECK_HAS(report.text, spoils[i].says);
        CHECK_INT(report.line, spoils[i].step + spoils[i].twice);
    }
    TEST_CASE("");
}

TEST(ledger_calls_damaged_files_damaged) {
    struct world world;
    struct trainer_ledger_report report;
    struct proto_error error = {0};
    char path[300];
    world_open(&world, STEPS, "devices = [\"cpu\"]\n");
    CHECK(!trainer_ledger_verify(world.run, &report, &error));  // no metrics.jsonl
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "metrics.jsonl");
    snprintf(path, sizeof path, "%s/metrics.jsonl", world.run);
    static const char line[] = "{\"step\": 1, \"cursor\": 5, \"ledger\": \"12\"}\n";
    CHECK_OK(proto_file_write(path, line, sizeof line - 1, &error), error);
    CHECK(!trainer_ledger_verify(world.run, &report, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.where, "metrics.jsonl: line 1");
    CHECK(!trainer_ledger_verify("/nonexistent", &report, &error));
}

TEST_MAIN(UNIT(ledger_agrees_with_a_run_that_consumed_the_stream),
          UNIT(ledger_names_the_first_step_that_disagrees),
          UNIT(ledger_calls_damaged_files_damaged))
