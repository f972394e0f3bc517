// tests/evaluator/predicates_test.c - joint thresholds on their exact side, names that mean
// nothing, and the formulas on placed objects. Oracle: LIBERO's thresholds and formulas as written
// in its classes; 31,488 truths of the official environment are in libero_golden.
#include "tests/evaluator/task_env.h"

#include <math.h>

TEST(predicates_thresholds_are_strict_where_liberos_are) {
    static const struct {
        const char *category;
        enum evaluator_predicate predicate;
        double at;       // the threshold
        double true_by;  // side on which it is true
        bool at_itself;
    } rows[] = {
        {"wooden_cabinet", EVALUATOR_OPEN, -0.14, -1, false},
        {"wooden_cabinet", EVALUATOR_CLOSE, 0, 1, false},
        {"white_cabinet", EVALUATOR_OPEN, -0.14, -1, false},
        {"white_cabinet", EVALUATOR_CLOSE, 0, 1, false},
        {"microwave", EVALUATOR_OPEN, -1.3, -1, false},
        {"microwave", EVALUATOR_CLOSE, -0.005, 1, false},
        {"short_cabinet", EVALUATOR_OPEN, 0.10, 1, false},
        {"short_cabinet", EVALUATOR_CLOSE, 0, -1, false},
        {"short_fridge", EVALUATOR_OPEN, 2.0, 1, false},
        {"short_fridge", EVALUATOR_CLOSE, 0, -1, false},
        {"flat_stove", EVALUATOR_TURNON, 0.5, 1, true},
        {"flat_stove", EVALUATOR_TURNOFF, 0, -1, false},
    };
    for (size_t i = 0; i < PROTO_COUNT(rows); i++) {
        const struct evaluator_category *category = evaluator_category_find(rows[i].category);
        TEST_CASE(rows[i].category);
        CHECK(category);
        const double above = nextafter(rows[i].at, INFINITY);
        const double below = nextafter(rows[i].at, -INFINITY);
        const bool up = rows[i].true_by > 0;
        CHECK(evaluator_category_says(category, rows[i].predicate, above) == up);
        CHECK(evaluator_category_says(category, rows[i].predicate, below) == !up);
        CHECK(evaluator_category_says(category, rows[i].predicate, rows[i].at) ==
              rows[i].at_itself);
    }
}

TEST(predicates_refuse_what_cannot_be_said) {
    static const struct {
        enum evaluator_predicate predicate;
        const char *first, *second, *says;
    } refused[] = {
        {EVALUATOR_ON, "moon_1", "plate_1",
         "\"moon_1\" is no object, fixture or region of this scene"},
        {EVALUATOR_ON, "plate_1", "moon", "\"moon\" is no object, fixture or region of this scene"},
        {EVALUATOR_ON, "plate_1", NULL, "On takes 2 names"},
        {EVALUATOR_OPEN, "wooden_cabinet_1", "plate_1", "Open takes 1 names"},
        {EVALUATOR_OPEN, "plate_1", NULL, "Open cannot be said of \"plate_1\""},
        {EVALUATOR_TURNON, "flat_stove_1_cook_region", NULL,
         "Turnon cannot be said of \"flat_stove_1_cook_region\""},
        {EVALUATOR_IN, "plate_1", "wooden_cabinet_1",
         "In \"wooden_cabinet_1\", which is a thing; must be a region"},
        {EVALUATOR_IN, "wooden_cabinet_1_top_region", "wooden_cabinet_1_top_region",
         "In of \"wooden_cabinet_1_top_region\", which is a region; must be an object"},
    };
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 0);
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        struct proto_error error = {0};
        bool truth;
        TEST_CASE(refused[i].says);
        CHECK(!evaluator_env_predicate(env, refused[i].predicate, refused[i].first,
                                       refused[i].second, &truth, &error));
        CHECK_INT(error.status, PROTO_USAGE);
        CHECK_TEXT(error.text, refused[i].says);
    }
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

static bool holds(struct evaluator_env *env, enum evaluator_predicate predicate, const char *first,
                  const char *second) {
    struct proto_error error = {0};
    bool truth = false;
    CHECK_OK(evaluator_env_predicate(env, predicate, first, second, &truth, &error), error);
    return truth;
}

TEST(predicates_of_a_cabinet_any_drawer_opens_all_must_close) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 0);
    static const char *const drawers[] = {"top", "middle", "bottom"};
    for (size_t open = 0; open < 3; open++) {
        for (size_t i = 0; i < 3; i++) {
            char joint[64];
            snprintf(joint, sizeof joint, "wooden_cabinet_1_%s_level", drawers[i]);
            const int id = mj_name2id(world->model, mjOBJ_JOINT, joint);
            env->data->qpos[world->model->jnt_qposadr[id]] = i == open ? -0.15 : 0.003;
        }
        CHECK(holds(env, EVALUATOR_OPEN, "wooden_cabinet_1", NULL));
        CHECK(!holds(env, EVALUATOR_CLOSE, "wooden_cabinet_1", NULL));
        for (size_t i = 0; i < 3; i++) {
            char region[64];
            snprintf(region, sizeof region, "wooden_cabinet_1_%s_region", drawers[i]);
            CHECK(holds(env, EVALUATOR_OPEN, region, NULL) == (i == open));
            CHECK(holds(env, EVALUATOR_CLOSE, region, NULL) == (i != open));
        }
    }
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

// The formulas on frames set by hand: nothing is computed in between.
TEST(predicates_read_frames_and_contacts_as_they_lie) {
    struct evaluator_world *world = task_world(TASK_STOVE);
    struct evaluator_env *env = task_env(world, 0);
    const mjModel *model = world->model;
    const int bowl = mj_name2id(model, mjOBJ_BODY, "akita_black_bowl_1_main");
    const int region = mj_name2id(model, mjOBJ_SITE, "wooden_cabinet_1_top_region");
    double *p = env->data->xpos + 3 * bowl;
    double *centre = env->data->site_xpos + 3 * region, *frame = env->data->site_xmat + 9 * region;
    const double *size = model->site_size + 3 * region;
    const double quarter[9] = {0, -1, 0, 1, 0, 0, 0, 0, 1};
    memcpy(frame, quarter, sizeof quarter);  // half sizes swap: world axes, not the site's
    memcpy(p, centre, 3 * sizeof *p);
    CHECK(holds(env, EVALUATOR_IN, "akita_black_bowl_1", "wooden_cabinet_1_top_region"));
    p[0] = centre[0] + size[1] - 1e-9;
    CHECK(holds(env, EVALUATOR_IN, "akita_black_bowl_1", "wooden_cabinet_1_top_region"));
    p[0] = centre[0] + size[1] + 1e-9;
    CHECK(!holds(env, EVALUATOR_IN, "akita_black_bowl_1", "wooden_cabinet_1_top_region"));
    p[0] = centre[0];
    p[2] = centre[2] - size[2] - 0.01 + 1e-9;  // a centimetre of room below
    CHECK(holds(env, EVALUATOR_IN, "akita_black_bowl_1", "wooden_cabinet_1_top_region"));
    p[2] = centre[2] - size[2] - 0.01 - 1e-9;
    CHECK(!holds(env, EVALUATOR_IN, "akita_black_bowl_1", "wooden_cabinet_1_top_region"));
    p[2] = 1;
    CHECK(holds(env, EVALUATOR_UP, "akita_black_bowl_1", NULL));
    p[2] = nextafter(1, 0);
    CHECK(!holds(env, EVALUATOR_UP, "akita_black_bowl_1", NULL));
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

TEST_MAIN(UNIT(predicates_thresholds_are_strict_where_liberos_are),
          UNIT(predicates_refuse_what_cannot_be_said),
          UNIT(predicates_of_a_cabinet_any_drawer_opens_all_must_close),
          UNIT(predicates_read_frames_and_contacts_as_they_lie))
