// tests/loader/episode_test.c - the arrays of an episode: numbers and frames come out as they were
// written, in either layout of files and images, and every form that is wrong is refused with file
// and dataset. Oracle: the arrays the test wrote; 6-D rotations by Rodrigues' formula.
#include "loader/array.h"
#include "loader/channels.h"
#include "loader/episode.h"
#include "loader/frames.h"
#include "loader/hdf5.h"
#include "proto/files.h"

#include "tests/loader/demo_file.h"

static char folder[256], path[400];

struct opened {
    struct proto_config *config;
    struct loader_dataset *dataset;
    struct proto_codec *codec;
};

// A file with channels laid out; what goes wrong on the way ends the test unless `error` is given.
static bool open_at(struct opened *opened, const char *const *sets, struct proto_error *error) {
    opened->config = demo_config(path, sets);
    opened->codec = proto_alloc(sizeof *opened->codec, error);
    opened->codec->compact = true;
    opened->dataset = NULL;
    return loader_dataset_open(path, &opened->dataset, error) &&
           loader_channels_find(opened->config, opened->dataset, opened->dataset->demos[0].group,
                                opened->codec, error);
}

static void close_all(struct opened *opened) {
    loader_dataset_close(&opened->dataset);
    proto_codec_free(&opened->codec);
    proto_config_free(&opened->config);
}

static void begin(void) {
    check_folder(folder);
    snprintf(path, sizeof path, "%s/a_demo.hdf5", folder);
}

static void end(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

// First two columns of the rotation by |v| around v.
static void rodrigues(const double v[3], double out[6]) {
    const double angle = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    const double n[3] = {v[0] / angle, v[1] / angle, v[2] / angle};
    const double s = sin(angle), c = cos(angle);
    const double R[3][2] = {
        {c + n[0] * n[0] * (1 - c), n[0] * n[1] * (1 - c) - n[2] * s},
        {n[1] * n[0] * (1 - c) + n[2] * s, c + n[1] * n[1] * (1 - c)},
        {n[2] * n[0] * (1 - c) - n[1] * s, n[2] * n[1] * (1 - c) + n[0] * s},
    };
    for (int i = 0; i < 6; i++) out[i] = R[i % 3][i / 3];
}

// f8 files give the very numbers; f4 files (robomimic) their rounding, 2^-24 of values below 8.
static void numbers_are_those_written(bool robomimic) {
    const double off = robomimic ? 8 * 0x1p-24 : 0, rotation_off = robomimic ? 1e-6 : 1e-14;
    const struct demo_file file = {.demos = 2, .steps = 9, .robomimic = robomimic};
    static struct demo_numbers n;
    struct opened opened;
    struct loader_episode episode = {0};
    struct proto_error error = {0};
    begin();
    demo_file_write(path, &file);
    CHECK_OK(open_at(&opened, NULL, &error), error);
    CHECK_INT(opened.codec->state_count, 18);
    CHECK_INT(opened.codec->width, 18);
    CHECK_TEXT(opened.codec->state[0].source,
               robomimic ? "obs/robot0_joint_pos" : "obs/joint_states");
    CHECK_OK(loader_episode_read(opened.dataset, "data/demo_1", opened.codec, &episode, &error),
             error);
    CHECK_INT(episode.steps, 10);
    demo_numbers_make(&file, 1, 10, &n);
    for (uint32_t t = 0; t < 10; t++) {
        const double *state = episode.state + t * 18, *action = episode.action + t * 7;
        double rotation[6];
        rodrigues(n.orientation[t], rotation);
        for (int k = 0; k < 7; k++) CHECK_NEAR(state[k], n.joint[t][k], off);
        for (int k = 0; k < 2; k++) CHECK_NEAR(state[7 + k], n.gripper[t][k], off);
        for (int k = 0; k < 3; k++) CHECK_NEAR(state[9 + k], n.position[t][k], off);
        for (int k = 0; k < 6; k++) CHECK_NEAR(state[12 + k], rotation[k], rotation_off);
        for (int k = 0; k < 7; k++) CHECK_NEAR(action[k], n.action[t][k], off);
    }
    loader_episode_free(&episode);
    close_all(&opened);
    end();
}
TEST(episode_of_libero_gives_the_numbers_that_were_written) { numbers_are_those_written(false); }
TEST(episode_of_robomimic_gives_them_through_its_own_names) { numbers_are_those_written(true); }

TEST(frames_are_the_bytes_written_whatever_the_layout) {
    static const enum demo_layout layouts[] = {DEMO_CONTIGUOUS, DEMO_CHUNKED, DEMO_GZIP};
    static const char *const cameras[] = {"agentview", "eye_in_hand"};
    struct proto_error error = {0};
    uint8_t frame[DEMO_SIDE * DEMO_SIDE * 3];
    begin();
    for (size_t l = 0; l < 3; l++)
        for (uint32_t c = 0; c < 2; c++) {
            struct loader_dataset *dataset = NULL;
            struct loader_frames frames;
            demo_file_write(
                path, &(struct demo_file){
                          .demos = 2, .steps = 12, .layout = layouts[l], .robomimic = c == 1});
            CHECK_OK(loader_dataset_open(path, &dataset, &error), error);
            CHECK_OK(
                loader_frames_open(dataset, "data/demo_1", cameras[c], 13, 4096, &frames, &error),
                error);
            CHECK_INT(frames.height, DEMO_SIDE);
            CHECK_INT(frames.frame_bytes, sizeof frame);
            CHECK((frames.array.offset > 0) == (layouts[l] == DEMO_CONTIGUOUS));
            for (uint32_t k = 0; k < 13; k++) {
                const uint32_t t = k * 5 % 13;
                CHECK_OK(loader_frames_read(&frames, t, frame, &error), error);
                for (uint32_t i = 0; i < sizeof frame; i++)
                    if (frame[i] != demo_pixel(1, t, c, i)) fail_msg("frame %u byte %u", t, i);
            }
            loader_frames_close(&frames);
            loader_dataset_close(&dataset);
        }
    end();
}

// One spoilt dataset: its form, and what is said about it.
struct spoilt {
    const char *name;
    int rank;
    hsize_t shape[4];
    hid_t type;  // negative: not written again, it is missing
    bool written;
    const char *says;
};

static void spoilt_is_refused(const struct spoilt *spoilt) {
    static double zeros[64 * 64];
    static uint8_t bytes[20 * DEMO_SIDE * DEMO_SIDE * 3];
    char name[128];
    struct opened opened = {0};
    struct loader_episode episode = {0};
    struct proto_error error = {0};
    demo_file_write(path, &(struct demo_file){.demos = 2, .steps = 9});
    const hid_t file = demo_file_edit(path);
    snprintf(name, sizeof name, "data/demo_1/%s", spoilt->name);
    const bool integer = spoilt->type >= 0 && H5Tget_class(spoilt->type) == H5T_INTEGER;
    if (spoilt->type < 0)
        CHECK(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    else
        demo_replace(file, name, spoilt->type, integer ? H5T_NATIVE_UINT8 : H5T_NATIVE_DOUBLE,
                     spoilt->rank, spoilt->shape,
                     !spoilt->written ? NULL
                     : integer        ? (const void *)bytes
                                      : zeros);
    H5Fclose(file);
    TEST_CASE(spoilt->says);
    CHECK_OK(open_at(&opened, NULL, &error), error);
    bool done = loader_episode_read(opened.dataset, "data/demo_1", opened.codec, &episode, &error);
    if (done) {
        struct loader_frames frames;
        done = loader_frames_open(opened.dataset, "data/demo_1", "agentview", episode.steps, 4096,
                                  &frames, &error);
        loader_episode_free(&episode);
    }
    CHECK(!done);
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, spoilt->says);
    CHECK_HAS(error.where, path);
    CHECK_HAS(error.where, "data/demo_1");
    close_all(&opened);
}

TEST(every_wrong_form_of_a_dataset_is_refused_with_its_place) {
    const hid_t f8 = H5T_IEEE_F64LE, f4 = H5T_IEEE_F32LE, u1 = H5T_STD_U8LE, i4 = H5T_STD_I32LE;
    const hsize_t s = DEMO_SIDE;
    const struct spoilt cases[] = {
        {"actions", 0, {0}, -1, false, "is missing; data/demo_1 has num"},
        {"actions", 2, {10, 6}, f8, true, "is real numbers [10, 6]; expected"},
        {"actions", 2, {10, 7}, i4, true, "is integers [10, 7]"},
        {"actions", 3, {10, 7, 1}, f8, true, "[10, 7, ...]"},
        {"actions", 2, {9, 7}, f8, true, "num_samples is 10, the actions have 9 rows"},
        {"actions", 2, {0, 7}, f8, true, "has 0 steps"},
        {"actions", 2, {1, 7}, f8, true, "has 1 steps"},
        {"actions", 2, {10, 7}, f8, false, "nothing was written"},
        {"obs/joint_states", 0, {0}, -1, false, "is missing; data/demo_1/obs has"},
        {"obs/joint_states", 2, {9, 7}, f4, true, "is real numbers [9, 7]"},
        {"obs/ee_ori", 2, {10, 4}, f8, true, "expected real numbers (f4 or f8) [10, 3]"},
        {"obs/agentview_rgb", 0, {0}, -1, false, "no images of camera agentview"},
        {"obs/agentview_rgb", 4, {9, s, s, 3}, u1, true, "has 9 frames; the episode has 10"},
        {"obs/agentview_rgb", 4, {10, s, s, 4}, u1, true, "is no series of RGB images"},
        {"obs/agentview_rgb", 3, {10, s, 3}, u1, true, "is no series of RGB images: 3 axes"},
        {"obs/agentview_rgb", 4, {10, 4, 4, 3}, f8, true, "of real numbers"},
    };
    begin();
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct spoilt spoilt = cases[i];
        if (i == 0) spoilt.says = "is missing; data/demo_1 has obs";
        spoilt_is_refused(&spoilt);
    }
    end();
}

TEST(a_number_that_is_not_finite_is_refused_with_row_and_column) {
    static const struct {
        const char *name;
        hsize_t columns;
        double value;
        const char *says;
    } cases[] = {{"actions", 7, NAN, "row 3, column 5 is NaN"},
                 {"actions", 7, INFINITY, "row 3, column 5 is infinite"},
                 {"obs/joint_states", 7, -INFINITY, "row 3, column 5 is infinite"}};
    begin();
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        double numbers[9 * 7] = {0};
        char name[64];
        struct opened opened = {0};
        struct loader_episode episode = {0};
        struct proto_error error = {0};
        numbers[3 * 7 + 5] = cases[i].value;
        demo_file_write(path, &(struct demo_file){.demos = 1, .steps = 9});
        const hid_t file = demo_file_edit(path);
        snprintf(name, sizeof name, "data/demo_0/%s", cases[i].name);
        demo_replace(file, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2,
                     (hsize_t[]){9, cases[i].columns}, numbers);
        H5Fclose(file);
        CHECK_OK(open_at(&opened, NULL, &error), error);
        CHECK(!loader_episode_read(opened.dataset, "data/demo_0", opened.codec, &episode, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, cases[i].says);
        CHECK_HAS(error.where, name);
        close_all(&opened);
    }
    end();
}

TEST(channels_that_cannot_be_are_refused_by_name) {
    static const struct {
        const char *set;
        enum proto_status status;
        const char *says;
    } cases[] = {
        {"data.state=[\"joint_vel\"]", PROTO_DAMAGED, "looked for obs/robot0_joint_vel"},
        {"data.state=[\"gripper_qpos\", \"gripper_opening\"]", PROTO_USAGE, "both fill slot 10"},
        {"data.action=[\"eef_delta_pos\"]", PROTO_DAMAGED, "has 7 columns; the fields of"},
        {"data.action_key=\"commands\"", PROTO_DAMAGED, "is missing; data/demo_0 has"},
    };
    begin();
    demo_file_write(path, &(struct demo_file){.demos = 1, .steps = 9});
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct opened opened = {0};
        struct proto_error error = {0};
        TEST_CASE(cases[i].set);
        CHECK(!open_at(&opened, (const char *[]){cases[i].set, NULL}, &error));
        CHECK_INT(error.status, cases[i].status);
        CHECK_HAS(error.text, cases[i].says);
        close_all(&opened);
    }
    end();
}

TEST(numbers_kept_outside_the_file_are_not_read) {
    struct loader_dataset *dataset = NULL;
    struct loader_array array;
    struct proto_error error = {0};
    begin();
    demo_file_write(path, &(struct demo_file){.demos = 1, .steps = 9});
    const hid_t file = demo_file_edit(path);
    const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
    const hid_t space = H5Screate_simple(2, (hsize_t[]){9, 7}, NULL);
    CHECK(H5Ldelete(file, "data/demo_0/actions", H5P_DEFAULT) >= 0);
    H5Pset_external(plan, "/etc/passwd", 0, 9 * 7 * 8);
    H5Dclose(H5Dcreate2(file, "data/demo_0/actions", H5T_IEEE_F64LE, space, H5P_DEFAULT, plan,
                        H5P_DEFAULT));
    H5Sclose(space);
    H5Pclose(plan);
    H5Fclose(file);
    CHECK_OK(loader_dataset_open(path, &dataset, &error), error);
    CHECK(!loader_array_open(dataset, "data/demo_0", "actions", &array, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "keeps its numbers outside this file");
    loader_dataset_close(&dataset);
    end();
}

TEST_MAIN(UNIT(episode_of_libero_gives_the_numbers_that_were_written),
          UNIT(episode_of_robomimic_gives_them_through_its_own_names),
          UNIT(frames_are_the_bytes_written_whatever_the_layout),
          UNIT(every_wrong_form_of_a_dataset_is_refused_with_its_place),
          UNIT(a_number_that_is_not_finite_is_refused_with_row_and_column),
          UNIT(channels_that_cannot_be_are_refused_by_name),
          UNIT(numbers_kept_outside_the_file_are_not_read))
