// tests/evaluator/libero_test.c - LIBERO's tasks, their instructions, and where its files are.
// Oracles: sizes and first tasks of the official suites, folders made here.
#include "evaluator/libero.h"

#include "proto/files.h"
#include "tests/check.h"

#include <unistd.h>

TEST(libero_has_the_tasks_of_the_official_suites_in_their_order) {
    static const struct {
        const char *suite;
        size_t count;
        const char *first, *last;
    } suites[] = {
        {"libero_spatial", 10,
         "pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate",
         "pick_up_the_black_bowl_on_the_wooden_cabinet_and_place_it_on_the_plate"},
        {"libero_object", 10, "pick_up_the_alphabet_soup_and_place_it_in_the_basket",
         "pick_up_the_orange_juice_and_place_it_in_the_basket"},
        {"libero_goal", 10, "open_the_middle_drawer_of_the_cabinet",
         "put_the_wine_bottle_on_the_rack"},
        {"libero_10", 10,
         "LIVING_ROOM_SCENE2_put_both_the_alphabet_soup_and_the_tomato_sauce_in_the_basket",
         "KITCHEN_SCENE6_put_the_yellow_and_white_mug_in_the_microwave_and_close_it"},
        {"libero_90", 90, "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
         "STUDY_SCENE4_pick_up_the_book_on_the_right_and_place_it_under_the_cabinet_shelf"},
    };
    size_t count, at = 0;
    const struct evaluator_task *tasks = evaluator_tasks(&count);
    CHECK_INT(count, 130);
    for (size_t i = 0; i < PROTO_COUNT(suites); i++) {
        TEST_CASE(suites[i].suite);
        CHECK_TEXT(tasks[at].name, suites[i].first);
        CHECK_TEXT(tasks[at + suites[i].count - 1].name, suites[i].last);
        for (size_t j = at; j < at + suites[i].count; j++) {
            CHECK_TEXT(tasks[j].suite, suites[i].suite);
            for (size_t k = at; k < j; k++) CHECK(strcmp(tasks[j].name, tasks[k].name) != 0);
        }
        at += suites[i].count;
    }
    CHECK_INT(at, count);
}

TEST(libero_tasks_are_found_by_name_and_wrong_names_get_the_nearest) {
    const char *nearest = NULL;
    const struct evaluator_task *task = evaluator_task_find(NULL, "turn_on_the_stove", &nearest);
    CHECK(task != NULL);
    CHECK_TEXT(task->suite, "libero_goal");
    CHECK(evaluator_task_find("libero_goal", "turn_on_the_stove", NULL) == task);
    CHECK(evaluator_task_find("libero_10", "turn_on_the_stove", &nearest) == NULL);
    CHECK(evaluator_task_find("", "turn_on_the_stoof", &nearest) == NULL);
    CHECK_TEXT(nearest, "turn_on_the_stove");
}

TEST(libero_sentence_is_the_name_without_its_scene) {
    static const struct {
        const char *name, *sentence;
    } cases[] = {
        {"KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet",
         "close the top drawer of the cabinet"},
        {"LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate",
         "put the red mug on the left plate"},
        {"STUDY_SCENE1_pick_up_the_book", "pick up the book"},
        {"turn_on_the_stove", "turn on the stove"},
        {"push_the_SCENE1_away", "push the SCENE1 away"},
    };
    char sentence[128];
    struct proto_error error = {0};
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].name);
        CHECK_OK(evaluator_task_sentence(cases[i].name, sentence, sizeof sentence, &error), error);
        CHECK_TEXT(sentence, cases[i].sentence);
    }
    CHECK(!evaluator_task_sentence("turn_on_the_stove", sentence, 17, &error));
    CHECK(!evaluator_task_sentence("KITCHEN_SCENE1_", sentence, sizeof sentence, &error));
}

static void live_in(const char *home) {
    static const char *const others[] = {"LIBERO_CONFIG_PATH", "VIRTUAL_ENV", "CONDA_PREFIX",
                                         "XDG_CACHE_HOME"};
    setenv("HOME", home, 1);
    setenv("PATH", "/nonexistent", 1);
    for (size_t i = 0; i < PROTO_COUNT(others); i++) unsetenv(others[i]);
}

static void make(const char *root, const char *inside, bool file) {
    char path[600];
    struct proto_error error = {0};
    snprintf(path, sizeof path, "%s/%s", root, inside);
    if (file)
        CHECK_OK(proto_file_write(path, "x", 1, &error), error);
    else
        CHECK_OK(proto_folder_make(path, 0755, &error), error);
}

// Where robosuite's files may lie, relative to the home folder, with the root at LIBERO.
static const char *const robots[] = {
    "LIBERO/robosuite",
    "robosuite/robosuite/models/assets",
    "robosuite/models/assets",
    ".cache/pipeline/robosuite-1.4.0/robosuite/models/assets",
};
TEST(libero_is_complete_with_robot_files_in_it_beside_it_or_fetched) {
    static struct evaluator_libero libero;
    for (size_t i = 0; i < PROTO_COUNT(robots); i++) {
        char home[256], root[300], file[600], expected[600];
        struct proto_error error = {0};
        TEST_CASE(robots[i]);
        check_folder(home);
        live_in(home);
        snprintf(root, sizeof root, "%s/LIBERO", home);
        make(root, "libero/libero/assets/scenes", false);
        make(root, "libero/libero/bddl_files", false);
        make(root, "libero/libero/init_files", false);
        CHECK(!evaluator_libero_find(root, &libero, &error));
        CHECK_INT(error.status, PROTO_MISSING);
        CHECK_HAS(error.text, "there are no robosuite files");
        make(home, robots[i], false);
        snprintf(file, sizeof file, "%s/base.xml", robots[i]);
        make(home, file, true);
        CHECK_OK(evaluator_libero_find(root, &libero, &error), error);
        snprintf(expected, sizeof expected, "%s/%s", home, robots[i]);
        CHECK_TEXT(libero.robosuite, expected);
        snprintf(expected, sizeof expected, "%s/libero/libero/assets", root);
        CHECK_TEXT(libero.assets, expected);
        CHECK_HAS(libero.how, "libero.root: ");
        CHECK_OK(proto_folder_remove(home, &error), error);
    }
}

TEST(libero_that_is_partial_says_what_lacks_and_where_was_looked) {
    static struct evaluator_libero libero;
    char home[256], root[300];
    struct proto_error error = {0};
    check_folder(home);
    live_in(home);
    snprintf(root, sizeof root, "%s/part", home);
    CHECK(!evaluator_libero_find(root, &libero, &error));
    CHECK_HAS(error.text, "no such folder");
    make(root, "libero/scenes", false);
    make(root, "init_files", false);
    make(root, "robosuite", false);
    make(root, "robosuite/base.xml", true);
    CHECK(!evaluator_libero_find(root, &libero, &error));
    CHECK_HAS(error.text, "there are no bddl_files; give --libero ROOT");
    CHECK_HAS(error.text, root);
    CHECK(strchr(error.text, '\n') == NULL);
    CHECK(libero.assets[0] != '\0');  // what was found is there for those who need no more
    CHECK(!evaluator_libero_find(NULL, &libero, &error));
    CHECK_HAS(error.text, "~/.libero");
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST_MAIN(UNIT(libero_has_the_tasks_of_the_official_suites_in_their_order),
          UNIT(libero_tasks_are_found_by_name_and_wrong_names_get_the_nearest),
          UNIT(libero_sentence_is_the_name_without_its_scene),
          UNIT(libero_is_complete_with_robot_files_in_it_beside_it_or_fetched),
          UNIT(libero_that_is_partial_says_what_lacks_and_where_was_looked))
