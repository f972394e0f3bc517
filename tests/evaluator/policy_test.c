// tests/evaluator/policy_test.c - what is trained is what is evaluated: a checkpoint asked through
// the policy gives, bit for bit, what the trainer's own validation predicts for the same window.
#include "tests/evaluator/checkpoint_fixture.h"

#include "evaluator/policy.h"
#include "model/conditions.h"
#include "model/sampler.h"
#include "trainer/intake.h"

#include <unistd.h>

enum { SAMPLES = 5, SEED = 9, FIRST = 40 };  // of the noise; position of the first sample

static double sample_state[SAMPLES][2][PROTO_CHANNELS_MAX];
static uint8_t sample_images[SAMPLES][2][2][4 * 6 * 3];

static int begin(void **state) {
    (void)state;
    checkpoint_open(NULL);
    struct proto_random random = proto_random_at(3, PROTO_PURPOSE_WORD, 0);
    for (int s = 0; s < SAMPLES; s++)
        for (int h = 0; h < 2; h++) {
            for (uint32_t i = 0; i < f.codec->state_count; i++)
                sample_state[s][h][i] =
                    f.codec->tasks[s % TASKS].state[i].mean + proto_random_uniform(&random) - 0.5;
            for (int c = 0; c < 2; c++)
                for (size_t i = 0; i < sizeof sample_images[s][h][c]; i++)
                    sample_images[s][h][c][i] = (uint8_t)proto_random_u32(&random);
        }
    return 0;
}
static int end(void **state) {
    (void)state;
    checkpoint_close();
    return 0;
}

// Sample 1 is the first of an episode; sample 2 has lost a camera.
struct window {
    struct proto_observation moments[2];
    const struct proto_observation *history[2];
};
static void window_of(int s, struct window *window) {
    for (int h = 0; h < 2; h++) {
        window->moments[h] = (struct proto_observation){
            .state = sample_state[s][h],
            .images = {sample_images[s][h][0], s == 2 ? NULL : sample_images[s][h][1]}};
        window->history[h] = s == 1 && h == 0 ? NULL : &window->moments[h];
    }
}

// ---- the trainer's own way ----------------------------------------------------------------------

static void trainer_predicts(const float *weights, float *prediction) {
    struct proto_error error = {0};
    struct model_backend *backend = NULL;
    struct model_vision *vision = NULL;
    struct model_rdt *rdt = NULL;
    struct model_sampler *sampler = NULL;
    struct trainer_intake *intake = NULL;
    struct proto_batch *batch = NULL;
    struct model_rdt_call call;
    const float *noise = NULL;
    CHECK_OK(model_backend_open("cpu", 1, &backend, &error), error);
    struct model_vision_settings settings = {.encoder = "pixels",
                                             .path = "",
                                             .patch_grid = GRID,
                                             .patch_size = PATCH,
                                             .deviation = f.codec->image_std,
                                             .height = f.codec->image_height,
                                             .width = f.codec->image_width,
                                             .images_max = SAMPLES * 2 * 3};
    memcpy(settings.mean, f.codec->image_mean, sizeof settings.mean);
    CHECK_OK(model_vision_open(backend, &settings, &vision, &error), error);
    const struct model_rdt_plan plan = {.batch_max = SAMPLES, .lang_max = f.texts.length};
    CHECK_OK(model_rdt_open(backend, &f.sizes, &plan, &rdt, &error), error);
    CHECK_OK(model_sampler_open(rdt, STEPS, &sampler, &error), error);
    const struct trainer_intake_settings in = {.rdt = rdt,
                                               .vision = vision,
                                               .codec = f.codec,
                                               .instructions = &f.texts,
                                               .seed = SEED,
                                               .batch_max = SAMPLES};
    CHECK_OK(trainer_intake_open(&in, &intake, &error), error);
    CHECK_OK(proto_batch_new(f.codec, SAMPLES, &batch, &error), error);
    for (int s = 0; s < SAMPLES; s++) {
        struct window window;
        window_of(s, &window);
        CHECK_OK(proto_sample_build(f.codec, (uint32_t)s % TASKS, window.history, NULL, 0, batch,
                                    (uint32_t)s, &error),
                 error);
    }
    CHECK_OK(trainer_intake_sample(intake, batch, FIRST, SAMPLES, &call, &noise, &error), error);
    CHECK_OK(model_sampler_run(sampler, &call, weights, noise, prediction, &error), error);
    proto_batch_free(&batch);
    trainer_intake_close(&intake);
    model_sampler_close(&sampler);
    model_rdt_close(&rdt);
    model_vision_close(&vision);
    model_backend_close(&backend);
}

// ---- the policy's -------------------------------------------------------------------------------

static struct evaluator_policy *policy_open(const char *checkpoint, bool raw, uint32_t batch) {
    struct proto_error error = {0};
    struct evaluator_policy *policy = NULL;
    const struct evaluator_policy_settings settings = {.checkpoint = checkpoint,
                                                       .raw = raw,
                                                       .device = "cpu",
                                                       .threads = 1,
                                                       .batch = batch,
                                                       .seed = SEED};
    uint32_t task;
    CHECK_OK(evaluator_policy_open(&settings, &policy, &error), error);
    for (uint32_t t = 0; t < TASKS; t++) {
        CHECK_OK(evaluator_policy_task(policy, f.codec->tasks[t].name, "", &task, &error), error);
        CHECK_INT(task, t);
    }
    CHECK_OK(evaluator_policy_start(policy, &error), error);
    return policy;
}

// Asks for samples order[0 .. SAMPLES - 1] at once; actions come back by sample.
static void ask(struct evaluator_policy *policy, const int order[SAMPLES],
                double actions[SAMPLES][8 * 7]) {
    struct proto_error error = {0};
    struct window windows[SAMPLES];
    struct evaluator_query queries[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        const int s = order[i];
        window_of(s, &windows[i]);
        queries[i] = (struct evaluator_query){.task = (uint32_t)s % TASKS,
                                              .history = windows[i].history,
                                              .noise = FIRST + (uint64_t)s,
                                              .actions = actions[s]};
    }
    CHECK_OK(evaluator_policy_predict(policy, queries, SAMPLES, &error), error);
}

static const int in_order[SAMPLES] = {0, 1, 2, 3, 4};

TEST(policy_predicts_what_the_trainer_does_bit_for_bit) {
    static double actions[SAMPLES][8 * 7];
    for (int raw = 0; raw <= 1; raw++) {
        const size_t floats = (size_t)f.codec->chunk * f.codec->width;
        struct proto_error error = {0};
        struct evaluator_policy *policy = policy_open(f.checkpoint, raw, SAMPLES);
        float *expected = proto_alloc_array(SAMPLES * floats, sizeof *expected, &error);
        CHECK(expected);
        CHECK_INT(f.codec->action_count, 7);
        trainer_predicts(raw ? f.weights : f.ema, expected);
        ask(policy, in_order, actions);
        CHECK(memcmp(evaluator_policy_encoded(policy), expected, SAMPLES * floats * 4) == 0);
        // and decodes it by the rows of its task, clipped
        for (int s = 0; s < SAMPLES; s++)
            for (uint32_t t = 0; t < f.codec->chunk; t++)
                for (uint32_t k = 0; k < 7; k++) {
                    const struct proto_codec_row *row = &f.codec->tasks[s % TASKS].action[k];
                    const double y = (double)expected[(size_t)s * floats + t * f.codec->width +
                                                      f.codec->action[k].column];
                    double x = y * row->scale + row->mean;
                    x = x < -1 ? -1 : x > 1 ? 1 : x;
                    CHECK_NEAR(actions[s][t * 7 + k], x, 1e-12);  // one rounding in double
                }
        CHECK_INT(evaluator_policy_facts(policy)->step, 12);
        free(expected);
        evaluator_policy_close(&policy);
    }
}

TEST(policy_answers_do_not_depend_on_who_asks_together) {
    static double alone[SAMPLES][8 * 7], together[SAMPLES][8 * 7];
    static const int orders[][SAMPLES] = {{0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 4, 0, 1, 3}};
    // one at a time every bit is the query's own. In threes (the last filled up) a row's place
    // chooses which of OpenBLAS's edge kernels it meets, and sums of some 100 products differ in
    // their last digits: 1e-5 of the range is far above that and far below any other query's answer
    for (uint32_t batch = 1; batch <= 3; batch += 2) {
        struct evaluator_policy *policy = policy_open(f.checkpoint, false, batch);
        for (size_t i = 0; i < PROTO_COUNT(orders); i++) {
            ask(policy, orders[i], i == 0 && batch == 1 ? alone : together);
            if (batch == 1 && i > 0) CHECK(memcmp(alone, together, sizeof alone) == 0);
            for (int s = 0; batch > 1 && s < SAMPLES; s++)
                for (int k = 0; k < 8 * 7; k++) CHECK_NEAR(together[s][k], alone[s][k], 1e-5);
        }
        double seconds;
        uint64_t rows;
        evaluator_policy_cost(policy, &seconds, &rows);
        CHECK_INT(rows, 3 * SAMPLES);
        evaluator_policy_close(&policy);
    }
}

TEST(policy_finds_its_checkpoint_above_a_safetensors) {
    struct proto_error error = {0};
    static double whole[SAMPLES][8 * 7], file[SAMPLES][8 * 7];
    struct evaluator_policy *policy = policy_open(f.checkpoint, false, 0);
    ask(policy, in_order, whole);
    const uint64_t hash = evaluator_policy_facts(policy)->checkpoint_hash;
    evaluator_policy_close(&policy);
    snprintf(f.path, sizeof f.path, "%s/ema/model.safetensors", f.checkpoint);
    policy = policy_open(f.path, false, 0);
    ask(policy, in_order, file);
    CHECK(memcmp(whole, file, sizeof whole) == 0);
    CHECK(evaluator_policy_facts(policy)->checkpoint_hash == hash);
    evaluator_policy_close(&policy);
    // no codec anywhere above it
    const struct evaluator_policy_settings settings = {.checkpoint = f.path, .device = "cpu"};
    char from[400], to[400];
    snprintf(from, sizeof from, "%s/codec.json", f.checkpoint);
    snprintf(to, sizeof to, "%s/codec.json.away", f.checkpoint);
    CHECK(rename(from, to) == 0);
    snprintf(from, sizeof from, "%s/codec.json", f.folder);
    CHECK(unlink(from) == 0);
    CHECK(!evaluator_policy_open(&settings, &policy, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "codec.json");
    CHECK(!policy);
}

TEST(policy_refuses_a_checkpoint_that_is_not_whole_by_name) {
    static const struct {
        const char *file, *says;
    } cases[] = {
        {"codec.json", "has no codec.json"}, {"open_loop.json", ""},
        {"language.safetensors", ""},        {"config.json", "no config.json"},
        {"trainer_state.json", ""},          {"ema/model.safetensors", ""},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        struct evaluator_policy *policy = NULL;
        const struct evaluator_policy_settings settings = {.checkpoint = f.checkpoint,
                                                           .device = "cpu"};
        TEST_CASE(cases[i].file);
        write_checkpoint();
        snprintf(f.path, sizeof f.path, "%s/%s", f.checkpoint, cases[i].file);
        CHECK(unlink(f.path) == 0);
        CHECK(!evaluator_policy_open(&settings, &policy, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, cases[i].says);
        CHECK(strstr(error.where, cases[i].file) || strstr(error.text, cases[i].file));
        CHECK(!policy);
    }
    TEST_CASE("");
    struct proto_error error = {0};
    struct evaluator_policy *policy = NULL;
    const struct evaluator_policy_settings nowhere = {.checkpoint = "/nowhere", .device = "cpu"};
    CHECK(!evaluator_policy_open(&nowhere, &policy, &error));
    CHECK_INT(error.status, PROTO_USAGE);
}

TEST(policy_takes_an_unseen_task_only_where_that_means_something) {
    struct proto_error error = {0};
    struct evaluator_policy *policy = NULL;
    const struct evaluator_policy_settings settings = {.checkpoint = f.checkpoint, .device = "cpu"};
    uint32_t task;
    // two tasks with rows of their own: none is the new one's
    CHECK_OK(evaluator_policy_open(&settings, &policy, &error), error);
    CHECK(!evaluator_policy_task(policy, "new_task", "do something else", &task, &error));
    CHECK_INT(error.status, PROTO_REFUSED);
    CHECK_HAS(error.text, "rows of their own for each of its 2 tasks");
    evaluator_policy_close(&policy);
    // one set for all: its sentence is encoded, and marked as unseen
    memcpy(f.codec->tasks[1].state, f.codec->tasks[0].state, sizeof f.codec->tasks[0].state);
    memcpy(f.codec->tasks[1].action, f.codec->tasks[0].action, sizeof f.codec->tasks[0].action);
    write_checkpoint();
    CHECK_OK(evaluator_policy_open(&settings, &policy, &error), error);
    CHECK_OK(evaluator_policy_task(policy, "new_task", "do something else", &task, &error), error);
    CHECK(!evaluator_policy_task_at(policy, task)->seen);
    CHECK_TEXT(evaluator_policy_task_at(policy, task)->prompt, "do something else");
    CHECK_OK(evaluator_policy_task(policy, "task_1", "ignored", &task, &error), error);
    CHECK(evaluator_policy_task_at(policy, task)->seen);
    CHECK_TEXT(evaluator_policy_task_at(policy, task)->prompt, "do thing 1.");
    CHECK(!evaluator_policy_task(policy, "long", "a b c d e f g h i j k l m n o", &task, &error));
    CHECK_INT(error.status, PROTO_REFUSED);
    CHECK_OK(evaluator_policy_start(policy, &error), error);
    evaluator_policy_close(&policy);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(policy_predicts_what_the_trainer_does_bit_for_bit),
          CASE(policy_answers_do_not_depend_on_who_asks_together),
          CASE(policy_finds_its_checkpoint_above_a_safetensors),
          CASE(policy_refuses_a_checkpoint_that_is_not_whole_by_name),
          CASE(policy_takes_an_unseen_task_only_where_that_means_something))
