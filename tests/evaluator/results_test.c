// tests/evaluator/results_test.c - results.json gives every outcome back, parts become the whole
// without doubles, and only what may be compared is compared.
#include "tests/check.h"

#include "evaluator/results.h"
#include "proto/files.h"
#include "proto/json.h"

static char folder[256], path[300];

static struct evaluator_results *results_new(uint32_t tasks) {
    struct evaluator_results *results = NULL;
    struct proto_error error = {0};
    char name[16];
    uint32_t row;
    CHECK_OK(evaluator_results_new(&results, &error), error);
    *results = (struct evaluator_results){.seed = 7,
                                          .max_steps = 160,
                                          .exec_horizon = 4,
                                          .settle_steps = 10,
                                          .mujoco = "3.3.2",
                                          .assets_hash = 0xfedcba9876543210u,
                                          .step = 1200,
                                          .checkpoint_hash = 0x8000000000000001u,
                                          .codec_hash = 3};
    results->checkpoint = proto_format(&error, "run/checkpoint-1200/ema/model.safetensors");
    results->benchmark = proto_format(&error, "libero_90");
    results->renderer = proto_format(&error, "a renderer");
    for (uint32_t t = 0; t < tasks; t++) {
        snprintf(name, sizeof name, "task_%u", t);
        CHECK_OK(evaluator_results_add_task(results, name, "do it", t == 0, NULL, &row, &error),
                 error);
        CHECK_INT(row, t);
    }
    return results;
}

// steps 0: a failure.
static void put(struct evaluator_results *results, uint32_t task, enum evaluator_pilot pilot,
                uint32_t row, uint32_t steps) {
    struct proto_error error = {0};
    const struct evaluator_episode episode = {.task = task,
                                              .pilot = pilot,
                                              .row = row,
                                              .seed = 7 + row,
                                              .success = steps > 0,
                                              .steps = steps > 0 ? steps : 160,
                                              .frames_hash = row * 1000 + 1};
    CHECK_OK(evaluator_results_add(results, &episode, &error), error);
}

static struct evaluator_results *whole_new(void) {
    struct evaluator_results *results = results_new(2);
    for (uint32_t row = 14; row >= 10; row--) {  // in any order
        put(results, 1, EVALUATOR_POLICY, row, row == 12 ? 0 : 60 + row);
        put(results, 0, EVALUATOR_BLIND, row, 0);
        put(results, 0, EVALUATOR_POLICY, row, 50 + row);
        put(results, 0, EVALUATOR_OPEN_LOOP, row, row == 11 ? 90 : 0);
    }
    return results;
}

static bool equal(const struct evaluator_results *a, const struct evaluator_results *b) {
    json_t *one = evaluator_results_json(a), *other = evaluator_results_json(b);
    const bool same = one && other && json_equal(one, other);
    json_decref(one);
    json_decref(other);
    return same;
}

static int begin(void **state) {
    (void)state;
    check_folder(folder);
    snprintf(path, sizeof path, "%s/results.json", folder);
    return 0;
}
static int end(void **state) {
    struct proto_error error;
    (void)state;
    return proto_folder_remove(folder, &error) ? 0 : -1;
}

TEST(results_have_the_form_that_is_promised) {
    struct proto_error error = {0};
    struct evaluator_results *results = whole_new(), *read = NULL;
    CHECK_OK(evaluator_results_write(path, results, &error), error);
    json_t *json = proto_json_read(path, 1 << 20, &error);
    CHECK_OK(json, error);
    static const char *const keys[] = {"tasks",           "mujoco",     "renderer",
                                       "checkpoint_hash", "codec_hash", "assets_hash"};
    for (size_t i = 0; i < PROTO_COUNT(keys); i++) {
        TEST_CASE(keys[i]);
        CHECK(json_object_get(json, keys[i]));
    }
    TEST_CASE("");
    const json_t *task = json_array_get(json_object_get(json, "tasks"), 0);
    static const char *const inner[] = {"task",      "language",     "seen",
                                        "rows",      "init_states",  "seeds",
                                        "max_steps", "exec_horizon", "settle_steps"};
    for (size_t i = 0; i < PROTO_COUNT(inner); i++) {
        TEST_CASE(inner[i]);
        CHECK(json_object_get(task, inner[i]));
    }
    TEST_CASE("");
    const json_t *open_loop = json_object_get(json_object_get(task, "rows"), "open_loop");
    CHECK_INT(json_integer_value(json_object_get(open_loop, "episodes")), 5);
    CHECK_INT(json_integer_value(json_object_get(open_loop, "successes")), 1);
    CHECK_NEAR(json_number_value(json_object_get(open_loop, "success_rate")), 0.2, 1e-15);
    CHECK_INT(json_array_size(json_object_get(open_loop, "interval95")), 2);
    const json_t *steps = json_object_get(open_loop, "steps_to_success");
    CHECK(json_is_null(json_array_get(steps, 0)));
    CHECK_INT(json_integer_value(json_array_get(steps, 1)), 90);
    CHECK_INT(json_integer_value(json_array_get(json_object_get(task, "seeds"), 1)), 18);
    json_decref(json);
    CHECK_OK(evaluator_results_read(path, &read, &error), error);
    CHECK(equal(results, read));
    CHECK_INT(read->episode_count, 20);
    evaluator_results_free(&read);
    evaluator_results_free(&results);
}

TEST(results_parts_become_the_whole_without_doubles) {
    struct proto_error error = {0};
    struct evaluator_results *whole = whole_new(), *parts[3], *read = NULL;
    // three overlapping parts, through their files; episodes 0..11, 6..15, 10..19
    static const uint32_t from[] = {0, 6, 10}, to[] = {12, 16, 20};
    for (int i = 0; i < 3; i++) {
        parts[i] = results_new(2);
        for (uint32_t e = from[i]; e < to[i]; e++)
            CHECK_OK(evaluator_results_add(parts[i], &whole->episodes[e], &error), error);
        CHECK_OK(evaluator_results_write(path, parts[i], &error), error);
        CHECK_OK(evaluator_results_read(path, &read, &error), error);
        if (i == 0) {
            evaluator_results_free(&parts[0]);
            parts[0] = read;
        } else {
            CHECK_OK(evaluator_results_merge(parts[0], read, &error), error);
            evaluator_results_free(&read);
        }
        read = NULL;
    }
    CHECK(equal(parts[0], whole));
    // the same start with another outcome is no double but an error
    struct evaluator_episode other = whole->episodes[3];
    other.success = !other.success;
    CHECK(!evaluator_results_add(parts[0], &other, &error));
    CHECK_INT(error.status, PROTO_DAMAGED);
    CHECK_HAS(error.text, "twice with different outcomes");
    for (int i = 0; i < 3; i++) evaluator_results_free(&parts[i]);
    evaluator_results_free(&whole);
}

static char *printed(bool (*print)(FILE *out, void *context), void *context, bool *done) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    CHECK(out);
    *done = print(out, context);
    fclose(out);
    return text;
}
struct two {
    const struct evaluator_results *a, *b;
    struct proto_error error;
};
static bool print_diff(FILE *out, void *context) {
    struct two *two = context;
    return evaluator_results_diff(two->a, two->b, out, &two->error);
}
static bool print_table(FILE *out, void *context) {
    evaluator_results_table(context, out);
    return true;
}

TEST(results_are_compared_in_pairs_and_only_under_one_protocol) {
    bool done;
    struct evaluator_results *a = results_new(1), *b = results_new(1);
    for (uint32_t row = 10; row < 30; row++) {
        put(a, 0, EVALUATOR_POLICY, row, row < 20 ? 50 : 0);                  // 10 of 20
        put(b, 0, EVALUATOR_POLICY, row, row == 10 ? 0 : row < 29 ? 60 : 0);  // 18 of 20
    }
    put(b, 0, EVALUATOR_POLICY, 40, 60);  // no partner
    struct two two = {a, b, {0}};
    char *text = printed(print_diff, &two, &done);
    CHECK(done);
    CHECK_HAS(text, "   20   50.0 %   90.0 %       1       9    0.0215");  // 2 * 11 / 1024
    free(text);
    static const struct {
        const char *says;
        size_t offset;
    } other[] = {
        {"seed is 7 there and 8 here", offsetof(struct evaluator_results, seed)},
        {"max_steps is 160 there and 161 here", offsetof(struct evaluator_results, max_steps)},
        {"exec_horizon is 4 there and 5 here", offsetof(struct evaluator_results, exec_horizon)},
        {"settle_steps is 10 there and 11 here", offsetof(struct evaluator_results, settle_steps)},
    };
    for (size_t i = 0; i < PROTO_COUNT(other); i++) {
        TEST_CASE(other[i].says);
        uint32_t *number = (uint32_t *)((char *)b + other[i].offset);  // low half of a seed
        (*number)++;
        free(printed(print_diff, &two, &done));
        CHECK(!done);
        CHECK_INT(two.error.status, PROTO_USAGE);
        CHECK_HAS(two.error.text, other[i].says);
        (*number)--;
    }
    TEST_CASE("");
    evaluator_results_free(&a);
    evaluator_results_free(&b);
}

TEST(results_table_says_when_a_rate_proves_nothing) {
    bool done;
    struct proto_error error = {0};
    uint32_t row;
    struct evaluator_results *results = results_new(1);
    CHECK_OK(evaluator_results_add_task(results, "other", "", false, "no encoder", &row, &error),
             error);
    for (uint32_t i = 0; i < 20; i++) {
        put(results, 0, EVALUATOR_POLICY, i, 80);
        put(results, 0, EVALUATOR_OPEN_LOOP, i, 90);
    }
    char *text = printed(print_table, results, &done);
    CHECK_HAS(text, "20/20    100.0 %  [ 83.9, 100.0]    80.0");
    CHECK_HAS(text, "no proof that the policy sees");
    CHECK_HAS(text, "not evaluated: no encoder");
    free(text);
    evaluator_results_free(&results);
}

// Oracle: Wilson's intervals of 20 of 20 [83.9, 100], 19 [76.4, 99.1] and 3 [5.2, 36.0].
TEST(results_doubt_a_rate_that_a_control_reaches) {
    static const struct {
        const char *name, *doubt;   // NULL: none
        uint32_t open_loop, blind;  // successes of 20; UINT32_MAX: not run
    } cases[] = {
        {"no controls", NULL, UINT32_MAX, UINT32_MAX},
        {"both fail", NULL, 0, 3},
        {"open loop does it too", "open loop does about as well", 19, 0},
        {"the blind policy does it too", "blind does about as well", 3, 19},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].name);
        struct evaluator_results *results = results_new(1);
        for (uint32_t row = 0; row < 20; row++) {
            put(results, 0, EVALUATOR_POLICY, row, 80);
            if (cases[i].open_loop <= 20)
                put(results, 0, EVALUATOR_OPEN_LOOP, row, row < cases[i].open_loop ? 90 : 0);
            if (cases[i].blind <= 20)
                put(results, 0, EVALUATOR_BLIND, row, row < cases[i].blind ? 90 : 0);
        }
        const char *doubt = evaluator_results_doubt(results);
        if (cases[i].doubt)
            CHECK_HAS(doubt, cases[i].doubt);
        else
            CHECK(!doubt);
        evaluator_results_free(&results);
    }
}

TEST(results_prove_what_is_asked_in_every_task) {
    static const struct {
        const char *name;
        uint32_t policy_min, control_max;
        const char *where, *says;  // NULL: proved
    } cases[] = {
        {"nothing asked", UINT32_MAX, UINT32_MAX, NULL, NULL},
        {"just enough", 4, UINT32_MAX, NULL, NULL},
        {"one short", 5, UINT32_MAX, "task_1", "policy succeeded in 4 of 5 episodes, at least 5"},
        {"a control is lucky", 0, 0, "task_0", "open loop succeeded in 1 of 5 episodes, at most 0"},
        {"a control is missing", 0, 1, "task_1", "open loop succeeded in 0 of 0 episodes"},
    };
    struct evaluator_results *results = whole_new();
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        TEST_CASE(cases[i].name);
        CHECK(evaluator_results_prove(results, cases[i].policy_min, cases[i].control_max, &error) ==
              (cases[i].where == NULL));
        if (!cases[i].where) continue;
        CHECK_INT(error.status, PROTO_FAILED);
        CHECK_TEXT(error.where, cases[i].where);
        CHECK_HAS(error.text, cases[i].says);
    }
    TEST_CASE("");
    evaluator_results_free(&results);
}

TEST(results_that_are_damaged_are_refused_by_place) {
    static const struct {
        const char *key, *value, *says, *where;  // value NULL: the key is taken away
    } cases[] = {
        {"mujoco", NULL, "missing", "mujoco"},
        {"codec_hash", "\"xyz\"", "", "codec_hash"},
        {"format", "\"other\"", "", ""},
        {"tasks", "[{}]", "", "tasks[0]"},
    };
    struct proto_error error = {0};
    struct evaluator_results *results = whole_new(), *read = NULL;
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        TEST_CASE(cases[i].key);
        json_t *json = evaluator_results_json(results);
        if (cases[i].value)
            json_object_set_new(json, cases[i].key,
                                json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(json, cases[i].key);
        CHECK_OK(proto_json_write(path, json, &error), error);
        json_decref(json);
        CHECK(!evaluator_results_read(path, &read, &error));
        CHECK(!read);
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_HAS(error.text, cases[i].says);
        CHECK_HAS(error.where, cases[i].where);
    }
    // a count that its episodes do not bear out
    json_t *json = evaluator_results_json(results);
    json_t *row = json_object_get(
        json_object_get(json_array_get(json_object_get(json, "tasks"), 0), "rows"), "policy");
    json_object_set_new(row, "successes", json_integer(4));
    CHECK_OK(proto_json_write(path, json, &error), error);
    json_decref(json);
    CHECK(!evaluator_results_read(path, &read, &error));
    CHECK_HAS(error.text, "successes is 4, its episodes have 5");
    CHECK_HAS(error.where, "tasks[0]: rows.policy");
    TEST_CASE("");
    evaluator_results_free(&results);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin, end)
TEST_MAIN(CASE(results_have_the_form_that_is_promised),
          CASE(results_parts_become_the_whole_without_doubles),
          CASE(results_are_compared_in_pairs_and_only_under_one_protocol),
          CASE(results_table_says_when_a_rate_proves_nothing),
          CASE(results_doubt_a_rate_that_a_control_reaches),
          CASE(results_prove_what_is_asked_in_every_task),
          CASE(results_that_are_damaged_are_refused_by_place))
