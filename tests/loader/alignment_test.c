// tests/loader/alignment_test.c - the order of observations and actions, measured on simulated arms
// whose order is known and on recordings of LIBERO.
//
// The simulated arm is what robosuite's OSC does to a point: each of 25 substeps of 2 ms
// accelerates by kp (goal - p) - 2 sqrt(kp) v, kp = 150, goal = start of the step + 0.05 m *
// command.
#include "tests/codec_fixture.h"

#include "loader/alignment.h"
#include "proto/random.h"
#include "proto/safetensors.h"

#include <hdf5.h>
#include <math.h>

#define STEPS 120
#define STATE 18  // of the fixture's codec: eef_pos at 9
#define ACTION 7

struct recording {
    double state[STEPS][STATE], action[STEPS][ACTION];
};

enum driver {
    NOISY,    // a feedback expert whose executed commands are disturbed, as demonstrations are
    EXPERT,   // the same without any disturbance: commands are a function of what was seen
    SMOOTH,   // a hand on a joystick: slow, smooth commands, which know nothing of the arm
    STANDING  // nothing moves
};

struct arm {
    double p[3], v[3], target[3], hand[3];
    struct proto_random random;
};

static double draw(struct arm *arm, double low, double high) {
    return low + (high - low) * proto_random_uniform(&arm->random);
}

static void command(struct arm *arm, enum driver driver, uint32_t t, double a[static 3]) {
    for (int i = 0; i < 3; i++) {
        if (t % 25 == 0) arm->target[i] = draw(arm, -0.2, 0.2);
        if (driver == SMOOTH) arm->hand[i] = 0.9 * arm->hand[i] + draw(arm, -0.2, 0.2);
        const double pull = 2 * (arm->target[i] - arm->p[i]) / 0.05;
        a[i] =
            driver == SMOOTH ? arm->hand[i] : pull + (driver == NOISY ? draw(arm, -0.3, 0.3) : 0);
        a[i] = driver == STANDING ? 0 : fmin(fmax(a[i], -1), 1);
    }
}

static void move(struct arm *arm, const double a[static 3]) {
    const double kp = 150, h = 0.002;
    double goal[3];
    for (int i = 0; i < 3; i++) goal[i] = arm->p[i] + 0.05 * a[i];
    for (int sub = 0; sub < 25; sub++)
        for (int i = 0; i < 3; i++) {
            arm->v[i] += h * (kp * (goal[i] - arm->p[i]) - 2 * sqrt(kp) * arm->v[i]);
            arm->p[i] += h * arm->v[i];
        }
}

static void record(struct recording *r, enum driver driver, bool after, uint64_t number) {
    struct arm arm = {.random = proto_random_at(6, PROTO_PURPOSE_WORD, number)};
    for (uint32_t t = 0; t < STEPS; t++) {
        double a[3];
        command(&arm, driver, t, a);
        memset(r->state[t], 0, sizeof r->state[t]);
        memset(r->action[t], 0, sizeof r->action[t]);
        memcpy(r->action[t], a, sizeof a);
        r->action[t][6] = t < STEPS / 2 ? -1 : 1;
        if (!after) memcpy(r->state[t] + 9, arm.p, sizeof arm.p);
        move(&arm, a);
        if (after) memcpy(r->state[t] + 9, arm.p, sizeof arm.p);
    }
}

static bool judge(enum driver driver, bool after, uint32_t episodes,
                  struct loader_alignment_verdict *verdict, struct proto_error *error) {
    struct proto_codec *codec = fixture_codec(PROTO_ZSCORE, true, 1);
    struct loader_alignment *alignment = NULL;
    static struct recording recording;
    CHECK_OK(loader_alignment_new(codec, &alignment, error), *error);
    for (uint32_t e = 0; e < episodes; e++) {
        record(&recording, driver, after, e);
        const struct loader_episode_numbers numbers = {
            .state = recording.state[0], .action = recording.action[0], .steps = STEPS};
        loader_alignment_add(alignment, &numbers);
    }
    const bool known = loader_alignment_decide(alignment, verdict, error);
    loader_alignment_free(&alignment);
    loader_alignment_free(&alignment);  // NULL is fine
    proto_codec_free(&codec);
    return known;
}

TEST(alignment_of_a_simulated_arm_is_found) {
    static const struct {
        const char *name;
        enum driver driver;
        uint32_t episodes;
    } rows[] = {
        {"noisy expert", NOISY, 10},
        {"noisy expert, one episode", NOISY, 1},
        {"joystick", SMOOTH, 10},
        {"joystick, one episode", SMOOTH, 1},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++)
        for (int after = 0; after < 2; after++) {
            TEST_CASE(rows[i].name);
            struct loader_alignment_verdict verdict;
            struct proto_error error = {0};
            CHECK_OK(judge(rows[i].driver, after, rows[i].episodes, &verdict, &error), error);
            CHECK_INT(verdict.after, after);
            // the motion is linear in command and velocity; two past motions tell the velocity but
            // for the last command's share, so a little stays unexplained
            CHECK(verdict.score[after ? 2 : 1] > 0.95);
            CHECK(verdict.confidence > 0.3);
            CHECK_INT(verdict.episodes, rows[i].episodes);
            CHECK_INT(verdict.motions, rows[i].episodes * (STEPS - 3));
            CHECK_TEXT(verdict.pose, "eef_pos");
        }
    TEST_CASE("");
}

// A command that is a function of what was just seen can be told from it; whatever is concluded,
// it must not be the wrong order.
TEST(alignment_of_an_undisturbed_expert_is_never_wrong) {
    for (int after = 0; after < 2; after++) {
        struct loader_alignment_verdict verdict;
        struct proto_error error = {0};
        const bool known = judge(EXPERT, after, 10, &verdict, &error);
        CHECK(!known || verdict.after == after);
        CHECK(known || error.status == PROTO_REFUSED);
    }
}

TEST(alignment_that_cannot_be_told_says_what_to_set) {
    static const struct {
        const char *name;
        enum driver driver;
        uint32_t episodes;
        const char *says;
    } rows[] = {
        {"standing", STANDING, 5, "no lag explains the motion"},
        {"nothing", NOISY, 0, "there is too little motion"},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        TEST_CASE(rows[i].name);
        struct loader_alignment_verdict verdict;
        struct proto_error error = {0};
        CHECK(!judge(rows[i].driver, true, rows[i].episodes, &verdict, &error));
        CHECK_INT(error.status, PROTO_REFUSED);
        CHECK_HAS(error.text, rows[i].says);
        CHECK_HAS(error.text, "set data.alignment to \"after\"");
    }
    TEST_CASE("");
}

TEST(alignment_without_a_pose_is_refused) {
    struct proto_codec codec = {.compact = true};
    struct loader_alignment *alignment = NULL;
    struct proto_error error = {0};
    fixture_fields(&codec, (const char *const[]){"gripper_qpos"}, 1, false);
    fixture_fields(&codec, (const char *const[]){"eef_delta_pos"}, 1, true);
    CHECK(!loader_alignment_new(&codec, &alignment, &error));
    CHECK_INT(error.status, PROTO_REFUSED);
    CHECK_HAS(error.text, "neither eef_pos nor joint_pos");
}

// Recordings. Positions and commands as in the file; the codec has one field of pose.

static struct proto_codec pose_codec(const char *pose) {
    struct proto_codec codec = {.compact = true};
    fixture_fields(&codec, &pose, 1, false);
    fixture_fields(&codec, (const char *const[]){"eef_delta_pos", "eef_delta_rot", "gripper"}, 3,
                   true);
    return codec;
}

static const double *tensor(const struct proto_safetensors *file, const char *name,
                            uint32_t *steps) {
    const struct proto_tensor_info *info = proto_safetensors_find(file, name);
    CHECK(info && info->dtype == PROTO_F64 && info->dimensions == 2);
    *steps = (uint32_t)info->shape[0];
    return proto_safetensors_data(file, info);
}

static void judge_episode(const struct proto_safetensors *file, const char *field,
                          const char *dataset, bool shift) {
    struct loader_alignment *alignment = NULL;
    struct loader_alignment_verdict verdict;
    struct proto_error error = {0};
    const struct proto_codec codec = pose_codec(field);
    struct loader_episode_numbers numbers = {0};
    numbers.action = tensor(file, "actions", &numbers.steps);
    numbers.state = tensor(file, dataset, &numbers.steps);
    if (shift) {  // pair obs[j] with action[j + 1]: the order is then `before`
        numbers.action += codec.action_count;
        numbers.steps--;
    }
    CHECK_OK(loader_alignment_new(&codec, &alignment, &error), error);
    loader_alignment_add(alignment, &numbers);
    CHECK_OK(loader_alignment_decide(alignment, &verdict, &error), error);
    CHECK_INT(verdict.after, !shift);
    CHECK_TEXT(verdict.pose, field);
    loader_alignment_free(&alignment);
}

TEST(alignment_of_one_libero_episode_is_after) {
    struct proto_safetensors *file = NULL;
    struct proto_error error = {0};
    CHECK_OK(proto_safetensors_open(TESTS_DATA "/libero_episode.safetensors", &file, &error),
             error);
    judge_episode(file, "eef_pos", "ee_pos", false);
    judge_episode(file, "eef_pos", "ee_pos", true);
    judge_episode(file, "joint_pos", "joint_states", false);
    judge_episode(file, "joint_pos", "joint_states", true);
    proto_safetensors_close(&file);
}

static double *read_dataset(hid_t file, const char *path, hsize_t columns, uint32_t *steps) {
    hsize_t shape[2] = {0};
    const hid_t dataset = H5Dopen2(file, path, H5P_DEFAULT);
    const hid_t space = H5Dget_space(dataset);
    CHECK_INT(H5Sget_simple_extent_dims(space, shape, NULL), 2);
    CHECK_INT(shape[1], columns);
    double *values = malloc(shape[0] * columns * sizeof *values);
    CHECK(values);
    CHECK(H5Dread(dataset, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    *steps = (uint32_t)shape[0];
    H5Sclose(space);
    H5Dclose(dataset);
    return values;
}

// Oracle: the protocol of the recording, and an independent least-squares fit with numpy over the
// same motions, which gave the three scores below.
TEST(alignment_of_the_recorded_file_is_after) {
    NEED_SHARED();
    static const double numpys[] = {0.04575753407127958, 0.024595347315975458, 0.22497288104067037};
    char path[512];
    snprintf(path, sizeof path,
             "%s/data/libero/demos/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet_demo.hdf5",
             check_shared());
    struct loader_alignment *alignment = NULL;
    struct loader_alignment_verdict verdict;
    struct proto_error error = {0};
    const struct proto_codec codec = pose_codec("eef_pos");
    CHECK_OK(loader_alignment_new(&codec, &alignment, &error), error);
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    CHECK(file >= 0);
    for (int e = 0; e < 8; e++) {
        char name[64];
        struct loader_episode_numbers numbers = {0};
        snprintf(name, sizeof name, "data/demo_%d/obs/ee_pos", e);
        double *poses = read_dataset(file, name, 3, &numbers.steps);
        snprintf(name, sizeof name, "data/demo_%d/actions", e);
        double *action = read_dataset(file, name, 7, &numbers.steps);
        numbers.state = poses;
        numbers.action = action;
        loader_alignment_add(alignment, &numbers);
        free(poses);
        free(action);
    }
    H5Fclose(file);
    CHECK_OK(loader_alignment_decide(alignment, &verdict, &error), error);
    CHECK(verdict.after);
    CHECK_INT(verdict.episodes, 8);
    CHECK_INT(verdict.motions, 1199);
    // moments square the condition of the fit, about 1e3 here: 1e6 * 2^-53 and room
    for (int i = 0; i < 3; i++) CHECK_NEAR(verdict.score[i], numpys[i], 1e-8);
    loader_alignment_free(&alignment);
}

TEST_MAIN(UNIT(alignment_of_a_simulated_arm_is_found),
          UNIT(alignment_of_an_undisturbed_expert_is_never_wrong),
          UNIT(alignment_that_cannot_be_told_says_what_to_set),
          UNIT(alignment_without_a_pose_is_refused), UNIT(alignment_of_one_libero_episode_is_after),
          UNIT(alignment_of_the_recorded_file_is_after))
