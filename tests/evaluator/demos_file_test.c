// tests/evaluator/demos_file_test.c - a file that our writer wrote is a LIBERO file to the loader's
// reader, number for number, and a name is a whole file or none. Oracles: the numbers given, the
// layout that libhdf5 reports, the loader, which is another program's half of the format.
#include "evaluator/demos_file.h"
#include "evaluator/recorded.h"

#include "loader/array.h"
#include "loader/episode.h"
#include "proto/files.h"
#include "tests/check.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

enum { STEPS = 9, WIDTH = 11, SIDE = 8, FRAME = SIDE * SIDE * 3 };

// A demonstration whose every number says where it is from.
struct material {
    double actions[STEPS][7], clean[STEPS][7], states[STEPS][WIDTH];
    struct evaluator_observation seen[STEPS];
    uint8_t agentview[STEPS][FRAME], eye_in_hand[STEPS][FRAME];
    char model_file[100001];  // more than the 64 KB that fit beside an object's header
    struct evaluator_demo demo;
};

static void material_make(struct material *m, uint32_t number) {
    memset(m, 0, sizeof *m);
    for (int t = 0; t < STEPS; t++) {
        const double base = 1000.0 * number + t;
        for (int k = 0; k < 7; k++) {
            m->actions[t][k] = sin(base + 0.1 * k);
            m->clean[t][k] = cos(base + 0.1 * k);
            m->seen[t].joint_pos[k] = base + 0.01 * k;
        }
        for (int k = 0; k < WIDTH; k++) m->states[t][k] = base - 0.01 * k;
        for (int k = 0; k < 3; k++) {
            m->seen[t].eef_pos[k] = base + 0.2 + 0.01 * k;
            m->seen[t].ee_ori[k] = base + 0.3 + 0.01 * k;
        }
        for (int k = 0; k < 4; k++) m->seen[t].eef_quat[k] = base + 0.4 + 0.01 * k;
        for (int k = 0; k < 2; k++) m->seen[t].gripper_qpos[k] = base + 0.5 + 0.01 * k;
        for (int i = 0; i < FRAME; i++) {
            m->agentview[t][i] = (uint8_t)(i * 7 + t * 3 + (int)number);
            m->eye_in_hand[t][i] = (uint8_t)(i * 5 + t + (int)number);
        }
    }
    memset(m->model_file, 'x', sizeof m->model_file - 1);
    m->demo = (struct evaluator_demo){
        .steps = STEPS,
        .actions = m->actions[0],
        .actions_clean = m->clean[0],
        .states = m->states[0],
        .observations = m->seen,
        .agentview = m->agentview[0],
        .eye_in_hand = m->eye_in_hand[0],
        .model_file = m->model_file,
        .init_row = 30 + number,
        .reset_seed = 7 + number,
    };
}

static const struct evaluator_demos_about about = {
    .problem = "libero_kitchen_tabletop_manipulation",
    .language = "close the \"top\" drawer",
    .bddl_name = "bddl_files/libero_90/KITCHEN_SCENE1_close_it.bddl",
    .bddl_content = "(define (problem x))\n",
    .state_width = WIDTH,
    .height = SIDE,
    .width = SIDE,
};

static char folder[256], path[512];

static void path_make(const char *name) {
    check_folder(folder);
    snprintf(path, sizeof path, "%s/%s", folder, name);
}

static void file_write(uint32_t demos) {
    static struct material m;
    struct evaluator_demos_file *file = NULL;
    struct proto_error error = {0};
    CHECK_OK(evaluator_demos_file_create(path, &about, &file, &error), error);
    for (uint32_t d = 0; d < demos; d++) {
        material_make(&m, d);
        CHECK_OK(evaluator_demos_file_append(file, &m.demo, &error), error);
    }
    CHECK_OK(evaluator_demos_file_finish(&file, &error), error);
    CHECK(file == NULL);
}

static struct loader_dataset *dataset_open(void) {
    struct loader_dataset *dataset = NULL;
    struct proto_error error = {0};
    CHECK_OK(loader_dataset_open(path, &dataset, &error), error);
    return dataset;
}

static void cleanup(void) {
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(demos_file_names_its_task_to_the_loader) {
    path_make("x.hdf5");
    file_write(3);
    struct loader_dataset *dataset = dataset_open();
    CHECK_TEXT(dataset->task, "KITCHEN_SCENE1_close_it");
    CHECK_TEXT(dataset->instruction, "close the \"top\" drawer");
    CHECK_NEAR(dataset->control_freq_hz, 20, 0);
    CHECK_TEXT(dataset->image_convention, "opengl");
    CHECK_INT(dataset->demo_count, 3);
    CHECK_TEXT(dataset->demos[2].group, "data/demo_2");
    loader_dataset_close(&dataset);
    cleanup();
}

// Every array equals what was given, in the shapes of LIBERO's files, contiguous.
TEST(demos_file_gives_back_every_number) {
    static struct material m;
    static double read[STEPS * WIDTH];
    static const struct {
        const char *name;
        size_t columns, offset;  // of the first number in an observation; or which array
        const char *join;
        size_t join_from, join_offset;
    } seen[] = {
        {"obs/joint_states", 7, offsetof(struct evaluator_observation, joint_pos), NULL, 7, 0},
        {"obs/gripper_states", 2, offsetof(struct evaluator_observation, gripper_qpos), NULL, 2, 0},
        {"obs/ee_pos", 3, offsetof(struct evaluator_observation, eef_pos), NULL, 3, 0},
        {"obs/ee_ori", 3, offsetof(struct evaluator_observation, ee_ori), NULL, 3, 0},
        {"obs/ee_states", 6, offsetof(struct evaluator_observation, eef_pos), "", 3,
         offsetof(struct evaluator_observation, ee_ori)},
    };
    struct proto_error error = {0};
    path_make("x.hdf5");
    file_write(2);
    material_make(&m, 1);
    struct loader_dataset *dataset = dataset_open();
    const char *group = "data/demo_1";
    CHECK_OK(loader_array_numbers(dataset, group, "actions", STEPS, 7, read, &error), error);
    CHECK(memcmp(read, m.actions, sizeof m.actions) == 0);
    CHECK_OK(loader_array_numbers(dataset, group, "actions_clean", STEPS, 7, read, &error), error);
    CHECK(memcmp(read, m.clean, sizeof m.clean) == 0);
    CHECK_OK(loader_array_numbers(dataset, group, "states", STEPS, WIDTH, read, &error), error);
    CHECK(memcmp(read, m.states, sizeof m.states) == 0);
    for (size_t i = 0; i < PROTO_COUNT(seen); i++) {
        const size_t columns = seen[i].columns;
        TEST_CASE(seen[i].name);
        CHECK_OK(loader_array_numbers(dataset, group, seen[i].name, STEPS, columns, read, &error),
                 error);
        for (size_t t = 0; t < STEPS; t++) {
            const char *at = (const char *)&m.seen[t];
            for (size_t k = 0; k < columns; k++) {
                const size_t offset = k < seen[i].join_from
                                          ? seen[i].offset + k * 8
                                          : seen[i].join_offset + (k - seen[i].join_from) * 8;
                double expected;
                memcpy(&expected, at + offset, sizeof expected);
                CHECK_NEAR(read[t * columns + k], expected, 0);
            }
        }
    }
    TEST_CASE("robot_states");
    CHECK_OK(loader_array_numbers(dataset, group, "robot_states", STEPS, 9, read, &error), error);
    for (size_t t = 0; t < STEPS; t++) {
        CHECK_NEAR(read[t * 9], m.seen[t].gripper_qpos[0], 0);
        CHECK_NEAR(read[t * 9 + 2], m.seen[t].eef_pos[0], 0);
        CHECK_NEAR(read[t * 9 + 8], m.seen[t].eef_quat[3], 0);
    }
    loader_dataset_close(&dataset);
    cleanup();
}

TEST(demos_file_keeps_images_contiguous_and_whole) {
    static struct material m;
    static uint8_t read[STEPS][FRAME];
    static const char *const names[] = {"obs/agentview_rgb", "obs/eye_in_hand_rgb"};
    struct proto_error error = {0};
    path_make("x.hdf5");
    file_write(1);
    material_make(&m, 0);
    struct loader_dataset *dataset = dataset_open();
    for (size_t i = 0; i < 2; i++) {
        struct loader_array array;
        TEST_CASE(names[i]);
        CHECK_OK(loader_array_open(dataset, "data/demo_0", names[i], &array, &error), error);
        CHECK_INT(array.rank, 4);
        CHECK_INT(array.shape[1], SIDE);
        CHECK_INT(array.chunk[0], 0);
        CHECK(array.byte);
        // the bytes lie in the file as they are: what a plain read at its offset sees
        CHECK(pread(dataset->descriptor, read, sizeof read, (off_t)array.offset) == sizeof read);
        CHECK(memcmp(read, i == 0 ? m.agentview : m.eye_in_hand, sizeof read) == 0);
        loader_array_close(&array);
    }
    loader_dataset_close(&dataset);
    cleanup();
}

static int64_t integer_get(hid_t object, const char *name) {
    int64_t value = -1;
    const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    CHECK(attribute >= 0 && H5Aread(attribute, H5T_NATIVE_INT64, &value) >= 0);
    H5Aclose(attribute);
    return value;
}

TEST(demos_file_has_the_attributes_of_libero) {
    path_make("x.hdf5");
    file_write(2);
    struct loader_dataset *dataset = dataset_open();
    struct evaluator_recorded recorded;
    struct proto_error error = {0};
    const hid_t data = H5Gopen2(dataset->file, "data", H5P_DEFAULT);
    CHECK_INT(integer_get(data, "num_demos"), 2);
    CHECK_INT(integer_get(data, "total"), 2 * STEPS);
    H5Gclose(data);
    const hid_t demo = H5Gopen2(dataset->file, "data/demo_1", H5P_DEFAULT);
    CHECK_INT(integer_get(demo, "num_samples"), STEPS);
    CHECK_INT(integer_get(demo, "init_row"), 31);
    CHECK_INT(integer_get(demo, "reset_seed"), 8);
    double init_state[WIDTH];
    const hid_t attribute = H5Aopen(demo, "init_state", H5P_DEFAULT);
    CHECK(attribute >= 0 && H5Aread(attribute, H5T_NATIVE_DOUBLE, init_state) >= 0);
    H5Aclose(attribute);
    H5Gclose(demo);
    CHECK_OK(evaluator_recorded_read(dataset, "data/demo_1", STEPS, &recorded, &error), error);
    CHECK_INT(recorded.state_width, WIDTH);
    CHECK(memcmp(recorded.states, init_state, sizeof init_state) == 0);
    CHECK_INT(strlen(recorded.model_file), 100000);
    evaluator_recorded_free(&recorded);
    CHECK(!evaluator_recorded_read(dataset, "data/demo_1", STEPS + 1, &recorded, &error));
    CHECK_HAS(error.text, "a state for each of the 10 actions");
    CHECK_HAS(error.where, "data/demo_1/states");
    loader_dataset_close(&dataset);
    cleanup();
}

TEST(demos_file_says_its_environment_as_json) {
    path_make("x.hdf5");
    file_write(1);
    const hid_t id = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t attribute = H5Aopen_by_name(id, "data", "env_args", H5P_DEFAULT, H5P_DEFAULT);
    const hid_t type = H5Aget_type(attribute);
    char *text = NULL;
    CHECK(H5Tis_variable_str(type) > 0 && H5Tget_cset(type) == H5T_CSET_UTF8);
    CHECK(H5Aread(attribute, type, &text) >= 0);
    json_t *args = json_loads(text, 0, NULL);
    CHECK_TEXT(json_string_value(json_object_get(args, "env_name")),
               "Libero_Kitchen_Tabletop_Manipulation");
    const json_t *kwargs = json_object_get(args, "env_kwargs");
    CHECK_INT(json_integer_value(json_object_get(kwargs, "control_freq")), 20);
    CHECK_INT(json_integer_value(json_object_get(kwargs, "camera_heights")), SIDE);
    const json_t *controller = json_object_get(kwargs, "controller_configs");
    CHECK_INT(json_integer_value(json_object_get(controller, "kp")), 150);
    CHECK_NEAR(json_number_value(json_array_get(json_object_get(controller, "output_max"), 5)), 0.5,
               0);
    json_decref(args);
    H5free_memory(text);
    H5Tclose(type);
    H5Aclose(attribute);
    H5Fclose(id);
    cleanup();
}

// Time, order of memory and name of the file leave no trace.
TEST(demos_file_is_the_same_bytes_again) {
    uint64_t first, second;
    struct proto_error error = {0};
    path_make("x.hdf5");
    file_write(2);
    CHECK_OK(proto_file_hash(path, &first, &error), error);
    snprintf(path, sizeof path, "%s/other.hdf5", folder);
    file_write(2);
    CHECK_OK(proto_file_hash(path, &second, &error), error);
    CHECK(first == second);
    cleanup();
}

TEST(demos_file_touches_nothing_that_exists) {
    struct evaluator_demos_file *file = NULL;
    struct proto_error error = {0};
    path_make("x.hdf5");
    CHECK_OK(proto_file_write(path, "precious", 8, &error), error);
    CHECK(!evaluator_demos_file_create(path, &about, &file, &error));
    CHECK_INT(error.status, PROTO_USAGE);
    CHECK_HAS(error.text, "exists already");
    CHECK_HAS(error.where, "x.hdf5");
    CHECK(file == NULL);
    char *data = NULL;
    size_t size;
    CHECK_OK(proto_file_read(path, 100, PROTO_FAILED, &data, &size, &error), error);
    CHECK_TEXT(data, "precious");
    free(data);
    cleanup();
}

TEST(demos_file_that_is_abandoned_leaves_nothing) {
    static struct material m;
    struct evaluator_demos_file *file = NULL;
    struct proto_names names;
    struct proto_error error = {0};
    path_make("x.hdf5");
    material_make(&m, 0);
    CHECK_OK(evaluator_demos_file_create(path, &about, &file, &error), error);
    CHECK_OK(evaluator_demos_file_append(file, &m.demo, &error), error);
    CHECK(!proto_path_exists(path));  // no name before it is whole
    evaluator_demos_file_abandon(&file);
    CHECK_OK(proto_folder_list(folder, &names, &error), error);
    CHECK_INT(names.count, 0);
    proto_names_free(&names);
    cleanup();
}

TEST(demos_file_says_where_it_cannot_write) {
    struct evaluator_demos_file *file = NULL;
    struct proto_error error = {0};
    path_make("none/x.hdf5");
    CHECK(!evaluator_demos_file_create(path, &about, &file, &error));
    CHECK(file == NULL);
    CHECK_HAS(error.text, "cannot write the file");
    CHECK_HAS(error.where, "none/x.hdf5");
    cleanup();
}

// A full disk, as a limit on file sizes: an error that names the demonstration, and no half file.
TEST(demos_file_says_that_the_disk_is_full) {
    static struct material m;
    struct evaluator_demos_file *file = NULL;
    struct proto_error error = {0};
    struct rlimit before;
    path_make("x.hdf5");
    signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_OK(evaluator_demos_file_create(path, &about, &file, &error), error);
    CHECK(setrlimit(RLIMIT_FSIZE, &(struct rlimit){5000000, before.rlim_max}) == 0);
    material_make(&m, 0);
    bool done = true;
    for (uint32_t d = 0; done && d < 100; d++)
        done = evaluator_demos_file_append(file, &m.demo, &error);
    if (done) done = evaluator_demos_file_finish(&file, &error);
    evaluator_demos_file_abandon(&file);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(!done);
    CHECK_INT(error.status, PROTO_EXHAUSTED);
    CHECK_HAS(error.text, "no room for");
    CHECK_HAS(error.where, "x.hdf5: data/demo_");
    CHECK(!proto_path_exists(path));
    cleanup();
}

TEST_MAIN(UNIT(demos_file_names_its_task_to_the_loader), UNIT(demos_file_gives_back_every_number),
          UNIT(demos_file_keeps_images_contiguous_and_whole),
          UNIT(demos_file_has_the_attributes_of_libero),
          UNIT(demos_file_says_its_environment_as_json), UNIT(demos_file_is_the_same_bytes_again),
          UNIT(demos_file_touches_nothing_that_exists),
          UNIT(demos_file_that_is_abandoned_leaves_nothing),
          UNIT(demos_file_says_where_it_cannot_write), UNIT(demos_file_says_that_the_disk_is_full))
