// tests/evaluator/bddl_test.c - a task is what its BDDL file states, and a file that states nothing
// usable is refused with line, found and expected.
// Oracles: the small texts of tests/fuzz/corpus/bddl, whose names begin with ok or no; LIBERO's own
// 130 files, counted by a program of its own.
#include "evaluator/bddl.h"

#include "evaluator/libero.h"
#include "tests/mutate.h"

#define CORPUS TESTS_ROOT "/tests/fuzz/corpus/bddl"
#define MUTANTS 30000

TEST(bddl_gives_what_the_file_states) {
    struct evaluator_bddl *bddl = NULL;
    struct proto_error error = {0};
    CHECK_OK(evaluator_bddl_read(CORPUS "/ok-task", &bddl, &error), error);
    CHECK_TEXT(bddl->problem, "libero_tabletop_manipulation");
    CHECK_TEXT(bddl->language, "put the cup in the tray");
    CHECK_INT(bddl->region_count, 3);
    CHECK_TEXT(bddl->regions[0].name, "main_table_left");
    CHECK_TEXT(bddl->regions[0].target, "main_table");
    CHECK(bddl->regions[0].has_ranges && bddl->regions[0].has_yaw && !bddl->regions[0].has_rgba);
    CHECK(bddl->regions[0].ranges[0] == -0.1 && bddl->regions[0].ranges[3] == 0.2);
    CHECK(bddl->regions[0].yaw[1] == 3.14);
    CHECK_INT(bddl->regions[0].line, 7);
    CHECK_TEXT(bddl->regions[1].name, "chest_1_lid");
    CHECK(!bddl->regions[1].has_ranges && bddl->regions[1].yaw[0] == 0);
    CHECK(bddl->regions[2].ranges[1] == 0.01 && bddl->regions[2].rgba[3] == 0.5f);
    CHECK_INT(bddl->fixture_count, 2);
    CHECK_TEXT(bddl->fixtures[1].name, "chest_1");
    CHECK_TEXT(bddl->fixtures[1].type, "chest");
    CHECK_INT(bddl->object_count, 3);
    CHECK_TEXT(bddl->objects[0].type, "cup");
    CHECK_TEXT(bddl->objects[1].name, "cup_2");
    CHECK_TEXT(bddl->objects[1].type, "cup");
    CHECK_INT(bddl->interest_count, 2);
    CHECK_TEXT(bddl->of_interest[1], "tray_1");
    CHECK_INT(bddl->init_count, 4);
    CHECK_INT(bddl->init[3].predicate, EVALUATOR_TURNON);
    CHECK(bddl->init[3].arguments[1] == NULL);
    CHECK_INT(bddl->goal_count, 3);
    CHECK_INT(bddl->goal[1].predicate, EVALUATOR_IN);
    CHECK_TEXT(bddl->goal[1].arguments[0], "cup_2");
    CHECK_TEXT(bddl->goal[1].arguments[1], "chest_1_lid");
    CHECK_INT(bddl->goal[2].line, 14);
    CHECK_TEXT(evaluator_predicate_name(bddl->goal[2].predicate), "Close");
    evaluator_bddl_free(&bddl);
    CHECK(bddl == NULL);
    evaluator_bddl_free(&bddl);
}

TEST(bddl_takes_sound_texts_and_no_others) {
    static struct seeds seeds;
    size_t sound = 0;
    seeds_read(CORPUS, &seeds);
    for (size_t i = 0; i < seeds.count; i++) {
        struct evaluator_bddl *bddl = NULL;
        struct proto_error error = {0};
        TEST_CASE(seeds.items[i].name);
        const bool done = evaluator_bddl_parse("t", (const char *)seeds.items[i].bytes,
                                               seeds.items[i].size, &bddl, &error);
        CHECK_INT(done, strncmp(seeds.items[i].name, "ok-", 3) == 0);
        if (!done) {
            CHECK_INT(error.status, PROTO_DAMAGED);
            CHECK(error.text[0] != '\0' && strncmp(error.where, "t:", 2) == 0 && !bddl);
        }
        sound += done;
        evaluator_bddl_free(&bddl);
    }
    TEST_CASE("");
    CHECK_INT(sound, 4);
    seeds_free(&seeds);
}

static const struct {
    const char *name, *where, *says;
} refused[] = {
    {"no-empty", "1", "no text, expected (define ...)"},
    {"no-unclosed", "9", "the text ends with 4 brackets open, the last of line 9"},
    {"no-closed_twice", "15", "text behind the end of (define ...)"},
    {"no-deep", "1", "16 brackets are open"},
    {"no-long_word", "1", "a word of 200 bytes, at most 128"},
    {"no-nul", "11", "byte 0x00, expected text"},
    {"no-section", "12", "section :obj_of_disinterest is unknown"},
    {"no-section_twice", "3", "section :domain is there twice"},
    {"no-predicate", "13", "predicate turnedon is unknown, nearest: turnon; known: On, In,"},
    {"no-object", "14", "On names cup_3, which no section declares, nearest: cup_1"},
    {"no-target_absent", "13", "Open names a region of box_1, which no section declares"},
    {"no-type_twice", "11", "type cup is there twice"},
    {"no-no_type", "11", "tray_1 has no type"},
    {"no-two_ranges", "7", ":ranges has 2 lists, exactly one is taken"},
    {"no-expression", "7", ":yaw_rotation: pi, expected a decimal number"},
    {"no-nan", "7", ":yaw_rotation: nan, expected a decimal number"},
    {"no-list_as_name", "8", "a list, expected a target"},
};
TEST(bddl_errors_name_line_found_and_expected) {
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        char path[512], where[600];
        struct evaluator_bddl *bddl = NULL;
        struct proto_error error = {0};
        TEST_CASE(refused[i].name);
        snprintf(path, sizeof path, "%s/%s", CORPUS, refused[i].name);
        snprintf(where, sizeof where, "%s:%s", path, refused[i].where);
        CHECK(!evaluator_bddl_read(path, &bddl, &error));
        CHECK_HAS(error.text, refused[i].says);
        CHECK_TEXT(error.where, where);
    }
    struct evaluator_bddl *bddl = NULL;
    struct proto_error error = {0};
    CHECK(!evaluator_bddl_read("/nonexistent/t.bddl", &bddl, &error));
    CHECK_INT(error.status, PROTO_MISSING);
}

// Clauses put into a text that is sound otherwise.
static const struct {
    const char *clause, *says;
} clauses[] = {
    {"(On cup_1)", "On has 1 arguments, expected 2"},
    {"(Open chest_1 chest_1)", "Open has 2 arguments, expected 1"},
    {"(On main_table_left cup_1)", "On takes an object or fixture here, main_table_left is a"},
    {"(Turnon main_table_left)", "Turnon takes an object or fixture here"},
    {"cup_1", "expected a predicate in brackets"},
    {"((On) cup_1)", "expected a predicate in brackets"},
    {"(On cup_1 (chest_1))", "a list, expected a name"},
    {"(On cup_1 ../chest)", "../chest, expected a name: letters, digits and _"},
};
TEST(bddl_clauses_must_fit_their_predicate) {
    static const char text[] =
        "(define (problem p) (:domain robosuite) (:regions (left (:target main_table)))\n"
        "(:fixtures main_table - table chest_1 - chest) (:objects cup_1 - cup) (:init)\n"
        "(:goal (And (Up cup_1) %s)))";
    for (size_t i = 0; i < PROTO_COUNT(clauses); i++) {
        char whole[600];
        const char *gap = strstr(text, "%s");
        struct evaluator_bddl *bddl = NULL;
        struct proto_error error = {0};
        TEST_CASE(clauses[i].clause);
        const int size = snprintf(whole, sizeof whole, "%.*s%s%s", (int)(gap - text), text,
                                  clauses[i].clause, gap + 2);
        CHECK(!evaluator_bddl_parse("t", whole, (size_t)size, &bddl, &error));
        CHECK_HAS(error.text, clauses[i].says);
        CHECK_TEXT(error.where, "t:3");
    }
}

TEST(bddl_of_any_size_stays_bounded) {
    struct evaluator_bddl *bddl = NULL;
    struct proto_error error = {0};
    const size_t size = 1 << 19;
    char *text = malloc(size);
    CHECK(text);
    memset(text, ' ', size);
    CHECK(!evaluator_bddl_parse("t", text, size, &bddl, &error));
    CHECK_HAS(error.text, "524288 bytes");
    text[0] = '(';
    for (size_t i = 1; i < 1 << 18; i++) text[i] = i % 2 ? 'a' : ' ';
    CHECK(!evaluator_bddl_parse("t", text, 1 << 18, &bddl, &error));
    CHECK_HAS(error.text, "more than 8192 words and lists");
    free(text);
}

// Every pointer that others follow is there, every text ends.
static size_t walk(const struct evaluator_bddl *bddl) {
    size_t bytes = strlen(bddl->problem) + strlen(bddl->language);
    for (uint32_t i = 0; i < bddl->region_count; i++)
        bytes += strlen(bddl->regions[i].name) + strlen(bddl->regions[i].target);
    for (uint32_t i = 0; i < bddl->object_count; i++)
        bytes += strlen(bddl->objects[i].name) + strlen(bddl->objects[i].type);
    for (uint32_t i = 0; i < bddl->fixture_count; i++)
        bytes += strlen(bddl->fixtures[i].name) + strlen(bddl->fixtures[i].type);
    for (uint32_t i = 0; i < bddl->interest_count; i++) bytes += strlen(bddl->of_interest[i]);
    for (uint32_t i = 0; i < bddl->init_count; i++) bytes += strlen(bddl->init[i].arguments[0]);
    for (uint32_t i = 0; i < bddl->goal_count; i++) {
        const struct evaluator_clause *clause = &bddl->goal[i];
        const bool two = clause->predicate == EVALUATOR_ON || clause->predicate == EVALUATOR_IN;
        CHECK(two == (clause->arguments[1] != NULL));
        bytes += strlen(clause->arguments[0]);
    }
    return bytes;
}

TEST(bddl_reader_survives_mutants) {
    static struct seeds seeds;
    size_t sound = 0, bytes = 0;
    seeds_read(CORPUS, &seeds);
    for (uint64_t seed = 0; seed < MUTANTS; seed++) {
        const size_t parent = (size_t)(seed % seeds.count);
        size_t size;
        struct evaluator_bddl *bddl = NULL;
        struct proto_error error = {0};
        uint8_t *mutant = mutate(seeds.items[parent].bytes, seeds.items[parent].size, seed, &size);
        if (evaluator_bddl_parse("t", (const char *)mutant, size, &bddl, &error)) {
            sound++;
            bytes += walk(bddl);
        } else {
            CHECK(error.status == PROTO_DAMAGED && error.text[0] != '\0' && !bddl);
        }
        evaluator_bddl_free(&bddl);
        free(mutant);
    }
    // the mutants reach both ends
    CHECK(sound > MUTANTS / 100 && sound < MUTANTS / 2 && bytes > sound * 100);
    seeds_free(&seeds);
}

TEST(bddl_of_all_tasks_of_libero_is_read) {
    // over all 130 files: in :init, in :goal
    static const uint32_t expected[][2] = {
        [EVALUATOR_ON] = {647, 61},  [EVALUATOR_IN] = {1, 63},    [EVALUATOR_OPEN] = {22, 7},
        [EVALUATOR_CLOSE] = {3, 11}, [EVALUATOR_TURNON] = {3, 8}, [EVALUATOR_TURNOFF] = {0, 1},
        [EVALUATOR_UP] = {0, 0},
    };
    uint32_t found[PROTO_COUNT(expected)][2] = {{0}}, ranges = 0;
    const char *root = getenv("LIBERO_ROOT");
    if (!root || !proto_path_is_folder(root)) {
        if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not a folder");
        print_message("needs LIBERO's unpacked files (LIBERO_ROOT)\n");
        skip();
    }
    size_t count;
    const struct evaluator_task *tasks = evaluator_tasks(&count);
    CHECK_INT(count, 130);
    for (size_t i = 0; i < count; i++) {
        char path[1024];
        struct evaluator_bddl *bddl = NULL;
        struct proto_error error = {0};
        TEST_CASE(tasks[i].name);
        snprintf(path, sizeof path, "%s/bddl_files/%s/%s.bddl", root, tasks[i].suite,
                 tasks[i].name);
        CHECK_OK(evaluator_bddl_read(path, &bddl, &error), error);
        for (uint32_t j = 0; j < bddl->init_count; j++) found[bddl->init[j].predicate][0]++;
        for (uint32_t j = 0; j < bddl->goal_count; j++) found[bddl->goal[j].predicate][1]++;
        for (uint32_t j = 0; j < bddl->region_count; j++) ranges += bddl->regions[j].has_ranges;
        evaluator_bddl_free(&bddl);
    }
    for (size_t i = 0; i < PROTO_COUNT(expected); i++) {
        TEST_CASE(evaluator_predicate_name((enum evaluator_predicate)i));
        CHECK_INT(found[i][0], expected[i][0]);
        CHECK_INT(found[i][1], expected[i][1]);
    }
    CHECK_INT(ranges, 731);
}

TEST_MAIN(UNIT(bddl_gives_what_the_file_states), UNIT(bddl_takes_sound_texts_and_no_others),
          UNIT(bddl_errors_name_line_found_and_expected),
          UNIT(bddl_clauses_must_fit_their_predicate), UNIT(bddl_of_any_size_stays_bounded),
          UNIT(bddl_reader_survives_mutants), UNIT(bddl_of_all_tasks_of_libero_is_read))
