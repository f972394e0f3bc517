// tests/evaluator/placement_test.c - resets put things where LIBERO's put them, and say so when
// they cannot. Oracle: the official start rows of six tasks, of every kind of workspace:
// heights and orientations of what lies on a workspace or on another object are the same in every
// row, to the last bit; positions lie in the region. (Fixture poses of seeds are in libero_golden.)
#include "tests/evaluator/task_env.h"

#include <math.h>

static const char *const tasks[] = {
    TASK_BOWL,
    TASK_SOUP,
    "libero_spatial/pick_up_the_black_bowl_on_the_ramekin_and_place_it_on_the_plate",
    "libero_90/KITCHEN_SCENE9_put_the_frying_pan_on_the_cabinet_shelf",
    "libero_90/LIVING_ROOM_SCENE6_put_the_chocolate_pudding_to_the_left_of_the_plate",
    "libero_90/STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy"};

TEST(placement_heights_and_turns_are_those_of_official_rows) {
    uint32_t compared = 0;
    for (size_t t = 0; t < PROTO_COUNT(tasks); t++) {
        struct evaluator_world *world = task_world(tasks[t]);
        struct evaluator_env *env = task_env(world, 4);
        struct evaluator_rows rows;
        TEST_CASE(tasks[t]);
        task_rows(tasks[t], &rows);
        for (uint32_t i = 0; i < world->plan->placement_count; i++) {
            const struct evaluator_placement *place = &world->plan->placements[i];
            const int32_t at = world->things[place->thing].free_qpos;
            if (place->kind != EVALUATOR_OBJECT_ON_WORKSPACE &&
                place->kind != EVALUATOR_OBJECT_ON_OBJECT)
                continue;
            const double *ours = env->data->qpos + at;
            const double *theirs = rows.values + 7 * rows.width + 1 + at;
            const struct evaluator_thing *thing = &world->scene->things[place->thing];
            const bool turned =
                thing->category->rotation[0].low != thing->category->rotation[0].high;
            if (ours[2] != theirs[2] ||
                (!turned && memcmp(ours + 3, theirs + 3, 4 * sizeof *ours) != 0))
                fail_msg("%s: %s: z %.17g, official %.17g, or another quaternion", tasks[t],
                         thing->name, ours[2], theirs[2]);
            compared++;
            if (!place->region) continue;
            const double shrink =
                world->scene->shrinks_ranges ? world->scene->things[place->thing].radius : 0;
            for (int axis = 0; axis < 2; axis++) {
                const double low = place->region->ranges[axis] + shrink;
                const double high = place->region->ranges[axis + 2] - shrink;
                const double in = ours[axis] - world->scene->workspace[axis];
                CHECK(in >= fmin(low, high) - 1e-12 && in <= fmax(low, high) + 1e-12);
            }
        }
        evaluator_rows_free(&rows);
        evaluator_env_free(&env);
        evaluator_world_close(&world);
    }
    CHECK(compared >= 15);
}

// :init of this task has In before On; of the other one, On a ramekin before On the table.
TEST(placement_draws_workspace_then_sites_then_objects) {
    static const struct {
        const char *task;
        enum evaluator_placement_kind last;
    } rows[] = {
        {"libero_spatial/pick_up_the_black_bowl_in_the_top_drawer_of_the_wooden_cabinet_and_place_"
         "it_on_the_plate",
         EVALUATOR_OBJECT_IN_SITE},
        {"libero_spatial/pick_up_the_black_bowl_on_the_ramekin_and_place_it_on_the_plate",
         EVALUATOR_OBJECT_ON_OBJECT},
    };
    for (size_t t = 0; t < PROTO_COUNT(rows); t++) {
        struct evaluator_world *world = task_world(rows[t].task);
        enum evaluator_placement_kind before = EVALUATOR_FIXTURE_ON_WORKSPACE;
        for (uint32_t i = 0; i < world->plan->placement_count; i++) {
            const enum evaluator_placement_kind kind = world->plan->placements[i].kind;
            CHECK(kind >= before || kind <= EVALUATOR_OBJECT_ON_WORKSPACE);
            before = kind;
        }
        CHECK_INT(before, rows[t].last);
        evaluator_world_close(&world);
    }
}

// ---- what cannot be placed
// -----------------------------------------------------------------------

static bool open_text(const char *regions, const char *init, struct evaluator_world **world,
                      struct proto_error *error) {
    struct evaluator_libero libero;
    char folder[256], path[300], text[2048];
    task_libero(&libero);
    check_folder(folder);
    snprintf(path, sizeof path, "%s/task.bddl", folder);
    snprintf(text, sizeof text,
             "(define (problem LIBERO_Kitchen_Tabletop_Manipulation)\n"
             "  (:domain robosuite)\n"
             "  (:language take the butter)\n"
             "  (:regions %s)\n"
             "  (:fixtures kitchen_table - kitchen_table)\n"
             "  (:objects butter_1 butter_2 - butter basket_1 - basket)\n"
             "  (:obj_of_interest butter_1)\n"
             "  (:init %s)\n"
             "  (:goal (And (In butter_1 basket_1_contain_region)))\n"
             ")\n",
             regions, init);
    CHECK_OK(proto_file_write(path, text, strlen(text), error), *error);
    const bool done = evaluator_world_open(&libero, path, 0, world, error);
    struct proto_error ignored;
    CHECK(proto_folder_remove(folder, &ignored));
    return done;
}

#define SPOTS                                                                                      \
    "(spot (:target kitchen_table) (:ranges ((0 0 0.001 0.001)))) "                                \
    "(far (:target kitchen_table) (:ranges ((0.3 0.3 0.31 0.31)))) (contain_region (:target "      \
    "basket_1))"

TEST(placement_without_room_ends_and_says_so) {
    struct evaluator_world *world = NULL;
    struct evaluator_env *env = NULL;
    struct proto_error error = {0};
    CHECK_OK(open_text(SPOTS,
                       "(On butter_1 kitchen_table_spot) (On butter_2 kitchen_table_spot) (On "
                       "basket_1 kitchen_table_far)",
                       &world, &error),
             error);
    CHECK_OK(evaluator_env_new(world, &env, &error), error);
    CHECK(!evaluator_env_reset(env, &error));
    CHECK_INT(error.status, PROTO_FAILED);
    CHECK_HAS(error.text, "no room for all objects");
    evaluator_env_free(&env);
    evaluator_world_close(&world);
}

TEST(placement_refuses_an_init_that_cannot_be_carried_out) {
    static const struct {
        const char *init, *says;
    } refused[] = {
        {"(On butter_1 kitchen_table_spot) (On butter_1 kitchen_table_far)",
         ":init places \"butter_1\" twice"},
        {"(On butter_1 butter_2) (On basket_1 kitchen_table_far)",
         ":init places \"butter_1\" at \"butter_2\", which it does not place before"},
        {"(On butter_1 kitchen_table_spot) (In butter_2 basket_1_contain_region)",
         ":init places \"butter_2\" at \"basket_1\", which it does not place before"},
        {"(In butter_1 kitchen_table_spot)",
         "(In butter_1 kitchen_table_spot): nothing is In a workspace; use On"},
        {"(Open butter_1)", "Open cannot be said of \"butter_1\""},
    };
    for (size_t i = 0; i < PROTO_COUNT(refused); i++) {
        struct evaluator_world *world = NULL;
        struct proto_error error = {0};
        TEST_CASE(refused[i].init);
        CHECK(!open_text(SPOTS, refused[i].init, &world, &error));
        CHECK(!world);
        CHECK_INT(error.status, PROTO_DAMAGED);
        CHECK_TEXT(error.text, refused[i].says);
        CHECK_HAS(error.where, "task.bddl");
        CHECK_HAS(error.where, ":init");
    }
}

TEST_MAIN(UNIT(placement_heights_and_turns_are_those_of_official_rows),
          UNIT(placement_draws_workspace_then_sites_then_objects),
          UNIT(placement_without_room_ends_and_says_so),
          UNIT(placement_refuses_an_init_that_cannot_be_carried_out))
