// tests/trainer/expect_test.c - what a run is told of its devices, and of a full one. The device is
// one that only counts, by the name and with the memory of a card. Oracle: the forecast of the same
// recipe, which tests/trainer/forecast_test.c compares with formulas.
#include "tests/codec_fixture.h"

#include "model/backend_counting.h"
#include "trainer/expect.h"
#include "trainer/forecast.h"

#include <unistd.h>

// A session as far as a forecast looks: `ranks` GPUs of a kind, rdt-1b.
static void session_make(struct trainer_session *session, const char *kernels, size_t total_bytes,
                         uint32_t ranks) {
    struct proto_error error = {0};
    static const char *const sets[] = {"vision.encoder=pixels", "vision.patch_grid=27",
                                       "language.encoder=hash", "collective.backend=nccl",
                                       "trainer.devices=[\"cuda:0\", \"cuda:1\"]"};
    const struct model_counting_settings settings = {.total_bytes = total_bytes};
    memset(session, 0, sizeof *session);
    CHECK_OK(proto_link_open("trainer", 0, &session->link, &error), error);
    CHECK_OK(proto_config_read(NULL, sets, PROTO_COUNT(sets), &session->plan.config, &error),
             error);
    session->plan.codec = fixture_codec(PROTO_ZSCORE, false, 1);
    session->plan.device = "cuda:0";
    session->plan.ranks = ranks;
    session->plan.rank_batch = 16 / ranks;
    session->plan.accumulation = 1;
    session->plan.precision = MODEL_BF16;
    session->instructions.length = 32;
    CHECK_OK(model_language_open("hash", "", 64, &session->language, &error), error);
    CHECK_OK(model_backend_counting_open(&settings, &session->backend, &error), error);
    snprintf(session->backend->kernels, sizeof session->backend->kernels, "%s", kernels);
}
static void session_free(struct trainer_session *session) {
    model_backend_close(&session->backend);
    model_language_close(&session->language);
    proto_codec_free(&session->plan.codec);
    proto_config_free(&session->plan.config);
    proto_link_close(&session->link);
}

// What expect_say prints.
static void said(struct trainer_session *session, char text[static 1024]) {
    char folder[256], path[300];
    check_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    fflush(stdout);
    const int kept = dup(STDOUT_FILENO);
    CHECK(kept >= 0 && freopen(path, "w", stdout));
    trainer_expect_say(session);
    fflush(stdout);
    CHECK(dup2(kept, STDOUT_FILENO) >= 0);
    close(kept);
    FILE *file = fopen(path, "r");
    memset(text, 0, 1024);
    CHECK(file != NULL);
    (void)!fread(text, 1, 1023, file);
    (void)fclose(file);
    unlink(path);
    rmdir(folder);
}

TEST(expect_predicts_two_cards_that_it_knows) {
    struct trainer_session session;
    char text[1024];
    session_make(&session, "NVIDIA H100 80GB HBM3+cublas13.1", 0, 2);
    said(&session, text);
    CHECK_HAS(text, "predicted for 2 x H100 80GB: ");
    CHECK_HAS(text, " times as fast as one");
    CHECK_HAS(text, "`pipeline plan`");
    session.plan.rank = 1;
    said(&session, text);
    CHECK_TEXT(text, "");
    session_free(&session);
}

TEST(expect_of_one_card_speaks_of_no_scaling_and_of_others_not_at_all) {
    struct trainer_session session;
    char text[1024];
    session_make(&session, "NVIDIA GeForce RTX 4090+cublas13.1", 0, 1);
    said(&session, text);
    CHECK_HAS(text, "predicted for 1 x RTX 4090: ");
    CHECK(!strstr(text, "times as fast"));
    session_free(&session);
    session_make(&session, "NVIDIA Strange 9000+cublas13.1", 0, 1);
    said(&session, text);
    CHECK_HAS(text, "Strange 9000+cublas13.1 is a device of no known kind");
    session.plan.device = "cpu";
    said(&session, text);
    CHECK_TEXT(text, "");
    session_free(&session);
}

// 16 samples of rdt-1b a GPU: keys and values of the images alone are 2 GB a sample.
TEST(expect_advises_what_fits_a_full_device) {
    static const struct {
        const char *name;
        size_t total_bytes;
        enum proto_status status;
        const char *says;
    } rows[] = {
        {"half of it", 60000000000, PROTO_EXHAUSTED,
         "it is full. By forecast, trainer.train_batch_size = 8 with "
         "gradient_accumulation_steps = 2 fits ("},
        // the forecast finds room for all: what failed is not named again
        {"all of it", 200000000000, PROTO_EXHAUSTED, "trainer.train_batch_size = 8 with"},
        {"nothing", 24000000000, PROTO_EXHAUSTED, "nothing fits: one sample at a time"},
        {"another error", 60000000000, PROTO_FAILED, NULL},
        {"not said", 0, PROTO_EXHAUSTED, NULL},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        struct trainer_session session;
        struct proto_error error = {0};
        TEST_CASE(rows[i].name);
        session_make(&session, "NVIDIA H100 80GB HBM3", rows[i].total_bytes, 1);
        proto_fail(&error, rows[i].status, "it is full");
        trainer_expect_advise(&session, &error);
        CHECK_INT(error.status, rows[i].status);
        if (rows[i].says)
            CHECK_HAS(error.text, rows[i].says);
        else
            CHECK_TEXT(error.text, "it is full");
        session_free(&session);
    }
}

TEST_MAIN(UNIT(expect_predicts_two_cards_that_it_knows),
          UNIT(expect_of_one_card_speaks_of_no_scaling_and_of_others_not_at_all),
          UNIT(expect_advises_what_fits_a_full_device))
