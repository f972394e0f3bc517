// tests/loader/survey_test.c - what `index` finds out of data, and that the same data gives the
// same files. Oracles: counts by arithmetic, statistics by a plain loop over what the test reads
// with libhdf5 itself, the recorded LIBERO demonstrations' own README.
#include "loader/indexer.h"
#include "loader/proof.h"
#include "loader/report.h"
#include "loader/survey.h"
#include "proto/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/loader/demo_file.h"

static char folder[256], path[400];

static void begin(const struct demo_file *file) {
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a_demo.hdf5", folder);
    if (file) demo_file_write(path, file);
}

static void end(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

static struct loader_survey *survey_of(const char *data, const char *const *sets) {
    struct proto_config *config = demo_config(data, sets);
    struct loader_survey *survey = NULL;
    struct proto_error error = {0};
    CHECK_OK(loader_survey_new(&(struct loader_survey_settings){.config = config}, &survey, &error),
             error);
    proto_config_free(&config);
    return survey;
}

static void survey_refused(const char *data, const char *const *sets, enum proto_status status,
                           const char *where, const char *says) {
    struct proto_config *config = demo_config(data, sets);
    struct loader_survey *survey = NULL;
    struct proto_error error = {0};
    TEST_CASE(says);
    CHECK(!loader_survey_new(&(struct loader_survey_settings){.config = config}, &survey, &error));
    CHECK(!survey);
    CHECK_INT(error.status, status);
    CHECK_HAS(error.text, says);
    CHECK_HAS(error.where, where);
    proto_config_free(&config);
}

TEST(survey_measures_the_order_of_observations_and_counts_samples) {
    for (int before = 0; before < 2; before++) {
        begin(&(struct demo_file){.demos = 6, .steps = 40, .before = before});
        struct loader_survey *survey = survey_of(path, NULL);
        const struct proto_index *index = survey->index;
        CHECK(survey->alignment_measured);
        CHECK(index->after == !before);
        CHECK(survey->codec->after == index->after);
        CHECK_INT(index->episode_count, 6);
        // 40 + .. + 45 steps, one less per episode when the last observation has no action
        CHECK_INT(index->train_samples + index->validation_samples, 255 - (before ? 0 : 6));
        uint32_t validation = 0;
        for (uint32_t i = 0; i < 6; i++) validation += index->episodes[i].validation;
        CHECK_INT(validation, 1);
        CHECK_INT(index->validation_set, 2 * 4);  // sample_batch_size * num_sample_batches
        CHECK(isfinite(index->baselines.mean_action));
        loader_survey_free(&survey);
        end();
    }
}

TEST(survey_refuses_what_does_not_fit_the_data_at_the_option_to_change) {
    begin(&(struct demo_file){.demos = 2, .steps = 40});
    const char *after = "data.alignment=after";
    survey_refused(path, (const char *[]){after, "data.validation_episodes=2", NULL}, PROTO_USAGE,
                   "data.validation_episodes", "set it to at most 1");
    survey_refused(path, (const char *[]){after, "data.control_freq=10", NULL}, PROTO_USAGE,
                   "data.control_freq", "was recorded at 20 Hz: set data.control_freq = 20");
    survey_refused(path, (const char *[]){after, "data.cameras=[\"ceiling\"]", NULL}, PROTO_DAMAGED,
                   path, "no images of camera ceiling");
    survey_refused(path, (const char *[]){after, "data.statistics=/nonexistent.json", NULL},
                   PROTO_DAMAGED, "/nonexistent.json", "");
    end();
    // too short to tell the order
    begin(&(struct demo_file){.demos = 2, .steps = 4});
    survey_refused(path, NULL, PROTO_REFUSED, "data.alignment", "set data.alignment to \"after\"");
    end();
}

TEST(survey_refuses_files_that_do_not_go_together) {
    char other[400];
    begin(&(struct demo_file){.demos = 2, .steps = 10});
    snprintf(other, sizeof other, "%s/b_demo.hdf5", folder);
    const char *sets[] = {"data.alignment=after", NULL};
    demo_file_write(other, &(struct demo_file){.demos = 2, .steps = 10, .instruction = "open it"});
    survey_refused(folder, sets, PROTO_DAMAGED, other,
                   "has the instruction \"open it\" here and \"close the drawer\"");
    demo_file_write(other, &(struct demo_file){.demos = 2, .steps = 10, .robomimic = true});
    survey_refused(folder, sets, PROTO_DAMAGED, other,
                   "images are stored as opencv (row 0 on top)");
    demo_file_write(other, &(struct demo_file){.demos = 2, .steps = 10});
    const hid_t file = demo_file_edit(other);
    static const uint8_t small[10 * 8 * 8 * 3];
    demo_replace(file, "data/demo_0/obs/agentview_rgb", H5T_STD_U8LE, H5T_NATIVE_UINT8, 4,
                 (hsize_t[]){10, 8, 8, 3}, small);
    H5Fclose(file);
    survey_refused(folder, sets, PROTO_DAMAGED, other, "frames are 8 x 8 pixels");
    end();
}

TEST(survey_merges_files_of_one_task_and_keeps_a_split_when_another_task_comes) {
    char other[400], third[400];
    begin(&(struct demo_file){.demos = 5, .steps = 20});
    const char *sets[] = {"data.alignment=after", "data.validation_episodes=2", NULL};
    struct loader_survey *alone = survey_of(folder, sets);
    // no attributes of LIBERO that name a task: the file does
    snprintf(other, sizeof other, "%s/open_the_door_demo.hdf5", folder);
    demo_file_write(other, &(struct demo_file){.demos = 3, .steps = 20, .seed = 1});
    const hid_t file = demo_file_edit(other), data = H5Gopen2(file, "data", H5P_DEFAULT);
    H5Adelete(data, "bddl_file_name");
    H5Adelete(data, "problem_info");
    H5Gclose(data);
    H5Fclose(file);
    struct loader_survey *both = survey_of(folder, sets);
    CHECK_INT(both->index->task_count, 2);
    CHECK_TEXT(both->index->tasks[1].instruction, "open the door");
    CHECK_TEXT(both->statistics_kind, "per-task");
    for (uint32_t i = 0; i < 5; i++)
        CHECK_INT(both->index->episodes[i].validation, alone->index->episodes[i].validation);
    snprintf(third, sizeof third, "%s/z_demo.hdf5", folder);
    demo_file_write(third, &(struct demo_file){.demos = 1, .steps = 20, .seed = 2});
    struct loader_survey *merged = survey_of(folder, sets);
    CHECK_INT(merged->index->task_count, 2);
    CHECK_INT(merged->index->episodes[8].task, 0);
    loader_survey_free(&alone);
    loader_survey_free(&both);
    loader_survey_free(&merged);
    end();
}

// The proof: its bound holds, and a codec that loses something is caught.
TEST(proof_holds_for_a_sound_codec_and_fails_for_one_that_loses_precision) {
    struct loader_proof proof;
    struct proto_error error = {0};
    begin(&(struct demo_file){.demos = 3, .steps = 30});
    struct loader_survey *survey = survey_of(path, NULL);
    CHECK_OK(loader_proof_run(survey, &proof, &error), error);
    CHECK_INT(proof.steps, 30 + 31 + 32);
    CHECK(proof.state[0].error > 0);  // f32 does lose something, and it is seen
    CHECK(proof.state[0].excess <= 1);
    CHECK(proof.action[0].clipped == 0);
    // a command outside the controller's range is counted and compared with what the robot gets
    survey->episodes[0].action[0] = 1.5;
    CHECK_OK(loader_proof_run(survey, &proof, &error), error);
    CHECK_INT(proof.action[0].clipped, 1);
    // two channels in one column: the first is overwritten
    survey->codec->state[0].column = survey->codec->state[1].column;
    CHECK(!loader_proof_run(survey, &proof, &error));
    CHECK_INT(error.status, PROTO_REFUSED);
    CHECK_HAS(error.text, "joint_pos.0 does not survive the codec");
    loader_survey_free(&survey);
    end();
}

static void run_write(const char *run, const char *data, const char *more) {
    char text[1024], file[400];
    struct proto_error error = {0};
    snprintf(file, sizeof file, "%s/pipeline.toml", run);
    const int size =
        snprintf(text, sizeof text, "[data]\npath = \"%s\"\n%s\n[model]\npreset = \"rdt-tiny\"\n",
                 data, more);
    CHECK_OK(proto_file_write(file, text, (size_t)size, &error), error);
}

static void file_bytes(const char *run, const char *name, char **bytes, size_t *size) {
    char file[400];
    struct proto_error error = {0};
    snprintf(file, sizeof file, "%s/%s", run, name);
    CHECK_OK(proto_file_read(file, 1 << 24, PROTO_FAILED, bytes, size, &error), error);
}

TEST(index_is_the_same_bytes_again_and_refuses_a_change_by_name) {
    static const char *const names[] = {"index.json", "codec.json", "dataset_statistics.json",
                                        "open_loop.json"};
    char runs[2][300], moved[400];
    struct proto_link *link = NULL;
    struct proto_error error = {0};
    begin(NULL);
    for (int i = 0; i < 2; i++) {
        snprintf(runs[i], sizeof runs[i], "%s/run%d", folder, i);
        CHECK(mkdir(runs[i], 0700) == 0);
    }
    snprintf(path, sizeof path, "%s/a_demo.hdf5", folder);
    demo_file_write(path, &(struct demo_file){.demos = 4, .steps = 30});
    CHECK_OK(proto_link_open("index", 0, &link, &error), error);
    for (int i = 0; i < 2; i++) {
        run_write(runs[i], path, "validation_episodes = 1");
        CHECK_OK(loader_index_run(runs[i], link, &error), error);
    }
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        char *one, *other;
        size_t one_size, other_size;
        file_bytes(runs[0], names[i], &one, &one_size);
        file_bytes(runs[1], names[i], &other, &other_size);
        TEST_CASE(names[i]);
        CHECK_INT(one_size, other_size);
        CHECK(memcmp(one, other, one_size) == 0);
        free(one);
        free(other);
    }
    // the run goes on with moved data, not with another split, codec or content
    snprintf(moved, sizeof moved, "%s/moved_demo.hdf5", folder);
    CHECK(rename(path, moved) == 0);
    run_write(runs[0], moved, "validation_episodes = 1");
    CHECK_OK(loader_index_run(runs[0], link, &error), error);
    run_write(runs[0], moved, "validation_episodes = 2");
    CHECK(!loader_index_run(runs[0], link, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "see run.seed and data.validation_episodes");
    run_write(runs[0], moved, "validation_episodes = 1\ntransform = \"q01q99\"");
    CHECK(!loader_index_run(runs[0], link, &error));
    CHECK_HAS(error.text, "gives another codec");
    demo_file_write(moved, &(struct demo_file){.demos = 4, .steps = 30, .seed = 5});
    run_write(runs[0], moved, "validation_episodes = 1");
    CHECK(!loader_index_run(runs[0], link, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "has changed since this run was started");
    CHECK_HAS(error.where, "moved_demo.hdf5");
    proto_link_close(&link);
    end();
}

// Mean and population deviation by a plain loop over the training episodes, read here.
static void column_statistics(const char *file_path, const struct proto_index *index,
                              const char *name, int columns, int column, double *mean,
                              double *std) {
    static double values[4096], numbers[512 * 8];
    size_t count = 0;
    const hid_t file = H5Fopen(file_path, H5F_ACC_RDONLY, H5P_DEFAULT);
    for (uint32_t i = 0; i < index->episode_count; i++) {
        char dataset[128];
        if (index->episodes[i].validation) continue;
        snprintf(dataset, sizeof dataset, "%s/%s", index->episodes[i].group, name);
        const hid_t id = H5Dopen2(file, dataset, H5P_DEFAULT);
        CHECK(id >= 0 && index->episodes[i].steps <= 512);
        CHECK(H5Dread(id, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, numbers) >= 0);
        H5Dclose(id);
        for (uint32_t t = 0; t < index->episodes[i].steps; t++)
            values[count++] = numbers[(size_t)t * (size_t)columns + (size_t)column];
    }
    H5Fclose(file);
    long double sum = 0, squares = 0;
    for (size_t i = 0; i < count; i++) sum += values[i];
    *mean = (double)(sum / count);
    for (size_t i = 0; i < count; i++) {
        const long double off = values[i] - sum / count;
        squares += off * off;
    }
    *std = sqrt((double)(squares / count));
}

TEST(recorded_demonstrations_have_the_counts_order_and_statistics_they_should) {
    char data[400];
    double mean, std;
    NEED_SHARED();
    snprintf(data, sizeof data, "%s/data/libero/demos", check_shared());
    struct loader_survey *survey =
        survey_of(data, (const char *[]){"data.validation_episodes=2", NULL});
    const struct proto_index *index = survey->index;
    CHECK_TEXT(index->tasks[0].name, "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet");
    CHECK_TEXT(index->tasks[0].instruction, "close the top drawer of the cabinet");
    CHECK_INT(index->episode_count, 8);
    CHECK(index->after);
    // 1223 steps in 8 episodes: each loses its last observation
    CHECK_INT(index->train_samples + index->validation_samples, 1223 - 8);
    CHECK_INT(survey->codec->image_height, 128);
    CHECK_TEXT(survey->codec->image_orientation, "opengl");
    CHECK_TEXT(survey->statistics_kind, "single-task");
    CHECK(survey->codec->tasks[0].action[6].constant);  // pushes with the gripper closed
    // 1e-12: both add doubles of one size, ours with compensation
    column_statistics(index->files[0].path, index, "actions", 7, 1, &mean, &std);
    CHECK_NEAR(survey->codec->tasks[0].action[1].statistics.mean, mean, 1e-12);
    CHECK_NEAR(survey->codec->tasks[0].action[1].statistics.std, std, 1e-12);
    column_statistics(index->files[0].path, index, "obs/joint_states", 7, 3, &mean, &std);
    CHECK_NEAR(survey->codec->tasks[0].state[3].statistics.mean, mean, 1e-12);
    CHECK_NEAR(survey->codec->tasks[0].state[3].statistics.std, std, 1e-12);
    loader_survey_free(&survey);
}

TEST(coverage_counts_every_training_sample_once_and_knows_padded_and_masked_ones) {
    struct loader_coverage coverage;
    begin(&(struct demo_file){.demos = 3, .steps = 30});
    struct loader_survey *survey = survey_of(
        path, (const char *[]){"data.validation_episodes=0", "model.img_history_size=2", NULL});
    loader_coverage_count(survey, &coverage);
    uint64_t sum = 0;
    for (int i = 0; i < LOADER_HISTOGRAM_BINS; i++) sum += coverage.histogram[i];
    CHECK_INT(coverage.samples, 29 + 30 + 31);
    CHECK_INT(sum, coverage.samples);
    CHECK_INT(coverage.padded, 3 * 7);  // chunks of 8: the last 7 of each episode
    CHECK_INT(coverage.masked, 3);      // history of 2: the first of each
    loader_survey_free(&survey);
    end();
}

TEST_MAIN(UNIT(survey_measures_the_order_of_observations_and_counts_samples),
          UNIT(survey_refuses_what_does_not_fit_the_data_at_the_option_to_change),
          UNIT(survey_refuses_files_that_do_not_go_together),
          UNIT(survey_merges_files_of_one_task_and_keeps_a_split_when_another_task_comes),
          UNIT(proof_holds_for_a_sound_codec_and_fails_for_one_that_loses_precision),
          UNIT(index_is_the_same_bytes_again_and_refuses_a_change_by_name),
          UNIT(recorded_demonstrations_have_the_counts_order_and_statistics_they_should),
          UNIT(coverage_counts_every_training_sample_once_and_knows_padded_and_masked_ones))
