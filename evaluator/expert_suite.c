// evaluator/expert_suite.c - the plans of the scripted experts for the suite `demo`.
//
// The hand keeps the orientation that it starts with: a turning command of exactly 0 leaves the
// controller's goal of orientation alone, and a policy has three outputs less to learn.
#include "evaluator/expert.h"

#include <math.h>

#define W EVALUATOR_AXES_WORLD
#define ANY NAN, NAN  // no joint is asked for

// The cube is lifted on the way to the plate. Over the plate, near is not asked to be nearer than
// a policy can be: an expert that hovers there teaches hovering.
static const struct evaluator_expert_phase cube_to_plate[] = {
    {"above the cube", 0, W, {0, 0, .10}, 0, 0, -1, 1, .02, ANY, 0, 80},
    {"down to the cube", 0, W, {0, 0, -.003}, 0, 0, -1, 1, .010, ANY, 0, 60},
    {"closing the fingers", 0, W, {0, 0, -.003}, 0, 0, 1, 1, 0, ANY, 8, 20},
    {"over the plate", 1, W, {0, 0, .13}, 0, 0, 1, 1, .035, ANY, 0, 100},
    {"down to the plate", 1, W, {0, 0, .025}, 0, 0, 1, 1, .03, ANY, 0, 60},
    {"letting go", 1, W, {0, 0, .025}, 0, 0, -1, 1, 0, ANY, 7, 20},
    {"going up", 1, W, {0, 0, .12}, 0, 0, -1, 1, 0, ANY, 0, 40},
};

// Closed fingers push the cap down.
static const struct evaluator_expert_phase press_button[] = {
    {"above the button", 0, W, {0, 0, .12}, 0, 0, 1, 1, .02, ANY, 0, 80},
    {"pressing", 0, W, {0, 0, .03}, 0, 0, 1, 1, 0, ANY, 0, 80},
};

// Closed fingers push the front of the drawer home; it is towards the robot, which is at -x.
static const struct evaluator_expert_phase close_drawer[] = {
    {"before the drawer", 0, W, {-.15, 0, .14}, 0, 0, 1, 1, .04, ANY, 0, 80},
    {"down before the drawer", 0, W, {-.14, 0, .02}, 0, 0, 1, 1, .03, ANY, 0, 60},
    {"pushing", 0, W, {-.06, 0, .02}, 0, 0, 1, .7, 0, ANY, 0, 120},
};

#define PLAN(list) .phases = list, .phase_count = PROTO_COUNT(list)
#define DISTURBED .moves_only = true, .noise = 0.2, .noise_memory = 0.7
static const struct evaluator_expert_task tasks[] = {
    {.name = "pick_up_the_cube_and_place_it_on_the_plate",
     PLAN(cube_to_plate),
     .bodies = {"cube_1_main", "plate_1_main"},
     DISTURBED},
    {.name = "press_the_button", PLAN(press_button), .bodies = {"button_1_main"}, DISTURBED},
    {.name = "close_the_drawer", PLAN(close_drawer), .bodies = {"drawer_1_drawer"}, DISTURBED},
};

const struct evaluator_expert_task *evaluator_expert_suite_tasks(size_t *count) {
    *count = PROTO_COUNT(tasks);
    return tasks;
}
