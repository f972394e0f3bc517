// evaluator/expert_tasks.c - the plans of the scripted experts, and which tasks they are for.
//
// Places on the wooden cabinet and the stove's knob are those of their collision boxes; a hand that
// points down has its fingers apart along y and their tips 15 mm below the grip site.
#include "evaluator/expert.h"

#include <math.h>
#include <string.h>

#define W EVALUATOR_AXES_WORLD
#define B EVALUATOR_AXES_BODY
#define ANY NAN, NAN  // no joint is asked for
#define HALF_TURN 3.14159265358979323846

// Closed fingers push the bar of the handle home; the drawer counts as closed beyond 0.
static const struct evaluator_expert_phase close_drawer[] = {
    {"before the handle", 0, B, {-.003, -.18, .20}, HALF_TURN, 0, 1, 1, .02, ANY, 0, 80},
    {"pushing", 0, B, {-.003, -.05, .20}, HALF_TURN, 0, 1, .5, 0, ANY, 0, 200},
};

// One finger behind the bar of the handle, one before it; then the hand walks away from the
// cabinet. Open is beyond -0.14, the end of the rail is at -0.16.
static const struct evaluator_expert_phase open_drawer[] = {
    {"before the handle", 0, B, {-.003, -.22, .20}, HALF_TURN, 1.3, -1, 1, .02, ANY, 0, 100},
    {"at the handle", 0, B, {-.003, -.1016, .184}, HALF_TURN, 1.3, -1, .5, .012, ANY, 0, 100},
    {"closing the fingers", 0, B, {-.003, -.1016, .184}, HALF_TURN, 1.3, 1, .3, 0, ANY, 10, 20},
    {"pulling", 0, B, {-.003, -.14, .184}, HALF_TURN, 1.3, 1, .7, 0, ANY, 0, 200},
};

// Fingers on both sides of the knob's lever; they turn ahead of the knob. On is beyond 0.5.
static const struct evaluator_expert_phase turn_knob[] = {
    {"above the knob", 0, B, {0, .007, .16}, -HALF_TURN / 2, 0, -1, 1, .02, ANY, 0, 100},
    {"down to the knob", 0, B, {0, .007, .046}, -HALF_TURN / 2, 0, -1, .5, .012, ANY, 0, 100},
    {"closing the fingers", 0, B, {0, .007, .046}, -HALF_TURN / 2, 0, 1, .3, 0, ANY, 10, 20},
    {"turning", 0, B, {0, .007, .046}, -HALF_TURN / 2 + .4, 0, 1, .3, 0, .62, NAN, 0, 200},
    {"letting go", 0, B, {0, .007, .046}, -HALF_TURN / 2, 0, -1, .3, 0, ANY, 8, 20},
};

// A can or a low box from above, over the basket's rim, let go inside.
static const struct evaluator_expert_phase can_to_basket[] = {
    {"above the can", 0, W, {0, 0, .12}, 0, 0, -1, 1, .015, ANY, 0, 100},
    {"down to the can", 0, W, {0, 0, .012}, 0, 0, -1, .6, .012, ANY, 0, 80},
    {"closing the fingers", 0, W, {0, 0, .012}, 0, 0, 1, .2, 0, ANY, 10, 20},
    {"lifting", 1, W, {0, 0, .30}, 0, 0, 1, 1, 0, ANY, 14, 20},
    {"over the basket", 1, W, {0, 0, .25}, 0, 0, 1, 1, .03, ANY, 0, 120},
    {"letting go", 1, W, {0, 0, .20}, 0, 0, -1, .5, 0, ANY, 20, 60},
};

#undef W
#undef B
#undef ANY

#define PLAN(list) .phases = list, .phase_count = PROTO_COUNT(list)
#define TOP(cabinet) {cabinet "_cabinet_top"}, cabinet "_top_level", 0
#define MIDDLE(cabinet) {cabinet "_cabinet_middle"}, cabinet "_middle_level", -.0735
#define STOVE {"flat_stove_1_button"}, "flat_stove_1_button", 0
#define INTO_BASKET(thing) {thing "_main", "basket_1_main"}, NULL
static const struct evaluator_expert_task tasks[] = {
    {"KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet", PLAN(close_drawer),
     TOP("wooden_cabinet_1")},
    {"KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet", PLAN(close_drawer),
     TOP("white_cabinet_1")},
    {"KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet", PLAN(open_drawer),
     TOP("wooden_cabinet_1")},
    {"KITCHEN_SCENE2_open_the_top_drawer_of_the_cabinet", PLAN(open_drawer),
     TOP("wooden_cabinet_1")},
    {"open_the_middle_drawer_of_the_cabinet", PLAN(open_drawer), MIDDLE("wooden_cabinet_1")},
    {"turn_on_the_stove", PLAN(turn_knob), STOVE},
    {"KITCHEN_SCENE3_turn_on_the_stove", PLAN(turn_knob), STOVE},
    {"KITCHEN_SCENE9_turn_on_the_stove", PLAN(turn_knob), STOVE},
    {"pick_up_the_alphabet_soup_and_place_it_in_the_basket", PLAN(can_to_basket),
     INTO_BASKET("alphabet_soup_1"), 0},
    {"pick_up_the_tomato_sauce_and_place_it_in_the_basket", PLAN(can_to_basket),
     INTO_BASKET("tomato_sauce_1"), 0},
    {"pick_up_the_butter_and_place_it_in_the_basket", PLAN(can_to_basket), INTO_BASKET("butter_1"),
     0},
};

const struct evaluator_expert_task *evaluator_expert_tasks(size_t *count) {
    *count = PROTO_COUNT(tasks);
    return tasks;
}

const struct evaluator_expert_task *evaluator_expert_find(const char *name) {
    for (size_t i = 0; i < PROTO_COUNT(tasks); i++)
        if (strcmp(tasks[i].name, name) == 0) return &tasks[i];
    size_t count;
    const struct evaluator_expert_task *own = evaluator_expert_suite_tasks(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(own[i].name, name) == 0) return &own[i];
    return NULL;
}
