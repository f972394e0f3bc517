// tests/loader/dataset_test.c - which files data.path means, what is found in one, and the words
// that files get which are no demonstrations. Oracle: what the test wrote into the file.
#include "loader/dataset.h"
#include "loader/dataset_paths.h"
#include "loader/hdf5.h"
#include "proto/files.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/loader/demo_file.h"

static char folder[256], path[400];

static const char *named(const char *name) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void refused(const char *file, enum proto_status status, const char *says) {
    struct loader_dataset *dataset = NULL;
    struct proto_error error = {0};
    TEST_CASE(says);
    CHECK(!loader_dataset_open(file, &dataset, &error));
    CHECK(!dataset);
    CHECK_INT(error.status, status);
    CHECK_HAS(error.text, says);
    CHECK_HAS(error.where, file);
}

TEST(dataset_of_libero_tells_task_instruction_and_demos_in_number_order) {
    struct loader_dataset *dataset = NULL;
    struct proto_error error = {0};
    check_folder(folder);
    demo_file_write(named("a_demo.hdf5"), &(struct demo_file){.demos = 12, .steps = 4});
    CHECK_OK(loader_dataset_open(path, &dataset, &error), error);
    CHECK_TEXT(dataset->task, "KITCHEN_SCENE1_close_the_drawer");
    CHECK_TEXT(dataset->instruction, "close the drawer");
    CHECK_TEXT(dataset->image_convention, "opengl");
    CHECK_NEAR(dataset->control_freq_hz, 20, 0);
    CHECK_INT(dataset->demo_count, 12);
    CHECK_TEXT(dataset->demos[2].group, "data/demo_2");  // the file's own order puts demo_10 here
    CHECK_TEXT(dataset->demos[11].group, "data/demo_11");
    loader_dataset_close(&dataset);
    CHECK(!dataset);
    loader_dataset_close(&dataset);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(dataset_of_robomimic_is_named_by_its_file_and_its_filters_are_known) {
    struct loader_dataset *dataset = NULL;
    struct proto_error error = {0};
    check_folder(folder);
    named("KITCHEN_SCENE3_turn_on_the_stove_demo.hdf5");
    demo_file_write(path, &(struct demo_file){.demos = 1, .steps = 4, .robomimic = true});
    const hid_t file = demo_file_edit(path);
    demo_array(file, "mask/train", H5T_STD_U8LE, H5T_NATIVE_UINT8, 1, (hsize_t[]){1},
               DEMO_CONTIGUOUS, (uint8_t[]){0});
    H5Fclose(file);
    CHECK_OK(loader_dataset_open(path, &dataset, &error), error);
    CHECK_TEXT(dataset->task, "KITCHEN_SCENE3_turn_on_the_stove");
    CHECK_TEXT(dataset->instruction, "turn on the stove");
    CHECK_TEXT(dataset->filters, "train");
    CHECK(!dataset->image_convention);
    loader_dataset_close(&dataset);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(dataset_refuses_what_is_no_file_of_demonstrations_by_name) {
    struct proto_error error = {0};
    check_folder(folder);
    refused(named("none.hdf5"), PROTO_USAGE, "cannot be opened");
    refused(folder, PROTO_USAGE, "is not a file");
    CHECK_OK(proto_file_write(named("empty.hdf5"), "", 0, &error), error);
    refused(path, PROTO_DAMAGED, "is empty");
    CHECK_OK(proto_file_write(named("text.hdf5"), "not HDF5 at all", 15, &error), error);
    refused(path, PROTO_DAMAGED, "is not an HDF5 file");
    demo_file_write(named("cut.hdf5"), &(struct demo_file){.demos = 2, .steps = 20});
    CHECK(truncate(path, 30000) == 0);
    refused(path, PROTO_DAMAGED, "truncated file");
    // sound HDF5, but nothing of ours in it
    hid_t file = H5Fcreate(named("other.hdf5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(file, "episodes", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Fclose(file);
    refused(path, PROTO_DAMAGED, "no group /data: found episodes");
    file = H5Fcreate(named("nodemos.hdf5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t data = H5Gcreate2(file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Gclose(H5Gcreate2(data, "demo_x", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    H5Gclose(data);
    H5Fclose(file);
    refused(path, PROTO_DAMAGED, "no demonstrations: found demo_x; expected groups demo_0");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(dataset_refuses_attributes_that_are_not_what_they_should_be) {
    struct proto_error error = {0};
    check_folder(folder);
    named("a.hdf5");
    static const struct {
        const char *name, *value, *says;
    } cases[] = {
        {"problem_info", "{\"language_instruction\": ", "found"},
        {"problem_info", "{\"language_instruction\": 7}", "language_instruction is not a text"},
        {"macros_image_convention", "sideways", "expected opengl or opencv"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct loader_dataset *dataset = NULL;
        demo_file_write(path, &(struct demo_file){.demos = 1, .steps = 4});
        const hid_t file = demo_file_edit(path), data = H5Gopen2(file, "data", H5P_DEFAULT);
        H5Adelete(data, cases[i].name);
        demo_text(data, cases[i].name, cases[i].value);
        H5Gclose(data);
        H5Fclose(file);
        TEST_CASE(cases[i].value);
        CHECK(!loader_dataset_open(path, &dataset, &error));
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.where, cases[i].name);
        if (i > 0) CHECK_HAS(error.text, cases[i].says);
    }
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(hdf5_does_not_follow_links_out_of_the_file) {
    struct proto_error error = {0};
    check_folder(folder);
    demo_file_write(named("inner.hdf5"), &(struct demo_file){.demos = 1, .steps = 4});
    const hid_t file = H5Fcreate(named("outer.hdf5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    CHECK(H5Lcreate_external("inner.hdf5", "/data", file, "data", H5P_DEFAULT, H5P_DEFAULT) >= 0);
    H5Fclose(file);
    refused(path, PROTO_DAMAGED, "no group /data");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(instruction_of_a_task_name_leaves_the_scene_out) {
    static const char *const cases[][2] = {
        {"KITCHEN_SCENE10_close_the_top_drawer", "close the top drawer"},
        {"LIVING_ROOM_SCENE2_put_it_there", "put it there"},
        {"turn_on_the_stove", "turn on the stove"},
        {"KITCHEN_SCENE1_", "KITCHEN SCENE1 "},
    };
    struct proto_error error = {0};
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        char *text = loader_instruction_from_task(cases[i][0], &error);
        CHECK_TEXT(text, cases[i][1]);
        free(text);
    }
}

static void paths_refused(const char *const *items, size_t count, enum proto_status status,
                          const char *says) {
    struct proto_names files;
    struct proto_error error = {0};
    const struct proto_list list = {.items = (char **)(uintptr_t)items, .count = count};
    TEST_CASE(says);
    CHECK(!loader_dataset_paths(&list, &files, &error));
    CHECK_INT(error.status, status);
    CHECK_HAS(error.text, says);
    CHECK_HAS(error.where, "data.path");
}

TEST(dataset_paths_are_sorted_files_of_a_folder_not_of_those_below) {
    struct proto_names files;
    struct proto_error error = {0};
    char single[300], other[300], empty[300];
    check_folder(folder);
    static const char *const names[] = {"b_demo.hdf5", "a_demo.hdf5", "c.txt", "below.hdf5/x.hdf5"};
    snprintf(other, sizeof other, "%s/below.hdf5", folder);
    snprintf(empty, sizeof empty, "%s/empty", folder);
    CHECK(mkdir(other, 0700) == 0 && mkdir(empty, 0700) == 0);
    for (size_t i = 0; i < PROTO_COUNT(names); i++)
        CHECK_OK(proto_file_write(named(names[i]), "x", 1, &error), error);
    const struct proto_list list = {.items = (char *[]){folder}, .count = 1};
    CHECK_OK(loader_dataset_paths(&list, &files, &error), error);
    CHECK_INT(files.count, 2);
    CHECK(strstr(files.items[0], "/a_demo.hdf5") && strstr(files.items[1], "/b_demo.hdf5"));
    CHECK(files.items[0][0] == '/');
    proto_names_free(&files);
    snprintf(single, sizeof single, "%s/b_demo.hdf5", folder);
    paths_refused(NULL, 0, PROTO_USAGE, "is empty");
    paths_refused((const char *[]){"/nonexistent/x.hdf5"}, 1, PROTO_USAGE, "cannot be found");
    paths_refused((const char *[]){single, folder}, 2, PROTO_USAGE, "named twice");
    paths_refused((const char *[]){empty}, 1, PROTO_DAMAGED, "no *.hdf5 files");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(dataset_of_libero_tells_task_instruction_and_demos_in_number_order),
          UNIT(dataset_of_robomimic_is_named_by_its_file_and_its_filters_are_known),
          UNIT(dataset_refuses_what_is_no_file_of_demonstrations_by_name),
          UNIT(dataset_refuses_attributes_that_are_not_what_they_should_be),
          UNIT(hdf5_does_not_follow_links_out_of_the_file),
          UNIT(instruction_of_a_task_name_leaves_the_scene_out),
          UNIT(dataset_paths_are_sorted_files_of_a_folder_not_of_those_below))
