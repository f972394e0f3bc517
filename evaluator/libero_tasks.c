// evaluator/libero_tasks.c - the 130 tasks in the order of the official benchmark's task map, and
// the instructions that follow from their names.
#include "evaluator/libero.h"

#include "evaluator/suite.h"
#include "proto/nearest.h"

#include <string.h>

static const struct evaluator_task tasks[] = {
    {"libero_spatial",
     "pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_next_to_the_ramekin_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_from_table_center_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_on_the_cookie_box_and_place_it_on_the_plate"},
    {"libero_spatial",
     "pick_up_the_black_bowl_in_the_top_drawer_of_the_wooden_cabinet_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_on_the_ramekin_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_next_to_the_cookie_box_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_on_the_stove_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_next_to_the_plate_and_place_it_on_the_plate"},
    {"libero_spatial", "pick_up_the_black_bowl_on_the_wooden_cabinet_and_place_it_on_the_plate"},
    {"libero_object", "pick_up_the_alphabet_soup_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_cream_cheese_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_salad_dressing_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_bbq_sauce_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_ketchup_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_tomato_sauce_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_butter_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_milk_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_chocolate_pudding_and_place_it_in_the_basket"},
    {"libero_object", "pick_up_the_orange_juice_and_place_it_in_the_basket"},
    {"libero_goal", "open_the_middle_drawer_of_the_cabinet"},
    {"libero_goal", "put_the_bowl_on_the_stove"},
    {"libero_goal", "put_the_wine_bottle_on_top_of_the_cabinet"},
    {"libero_goal", "open_the_top_drawer_and_put_the_bowl_inside"},
    {"libero_goal", "put_the_bowl_on_top_of_the_cabinet"},
    {"libero_goal", "push_the_plate_to_the_front_of_the_stove"},
    {"libero_goal", "put_the_cream_cheese_in_the_bowl"},
    {"libero_goal", "turn_on_the_stove"},
    {"libero_goal", "put_the_bowl_on_the_plate"},
    {"libero_goal", "put_the_wine_bottle_on_the_rack"},
    {"libero_10",
     "LIVING_ROOM_SCENE2_put_both_the_alphabet_soup_and_the_tomato_sauce_in_the_basket"},
    {"libero_10", "LIVING_ROOM_SCENE2_put_both_the_cream_cheese_box_and_the_butter_in_the_basket"},
    {"libero_10", "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_moka_pot_on_it"},
    {"libero_10",
     "KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet_and_close_it"},
    {"libero_10", "LIVING_ROOM_SCENE5_put_the_white_mug_on_the_left_plate_and_put_the_yellow_and_"
                  "white_mug_on_the_right_plate"},
    {"libero_10",
     "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_back_compartment_of_the_caddy"},
    {"libero_10", "LIVING_ROOM_SCENE6_put_the_white_mug_on_the_plate_and_put_the_chocolate_pudding_"
                  "to_the_right_of_the_plate"},
    {"libero_10",
     "LIVING_ROOM_SCENE1_put_both_the_alphabet_soup_and_the_cream_cheese_box_in_the_basket"},
    {"libero_10", "KITCHEN_SCENE8_put_both_moka_pots_on_the_stove"},
    {"libero_10", "KITCHEN_SCENE6_put_the_yellow_and_white_mug_in_the_microwave_and_close_it"},
    {"libero_90", "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet"},
    {"libero_90",
     "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet_and_put_the_black_bowl_on_top_of_it"},
    {"libero_90", "KITCHEN_SCENE10_put_the_black_bowl_in_the_top_drawer_of_the_cabinet"},
    {"libero_90",
     "KITCHEN_SCENE10_put_the_butter_at_the_back_in_the_top_drawer_of_the_cabinet_and_close_it"},
    {"libero_90",
     "KITCHEN_SCENE10_put_the_butter_at_the_front_in_the_top_drawer_of_the_cabinet_and_close_it"},
    {"libero_90",
     "KITCHEN_SCENE10_put_the_chocolate_pudding_in_the_top_drawer_of_the_cabinet_and_close_it"},
    {"libero_90", "KITCHEN_SCENE1_open_the_bottom_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE1_open_the_top_drawer_of_the_cabinet_and_put_the_bowl_in_it"},
    {"libero_90", "KITCHEN_SCENE1_put_the_black_bowl_on_the_plate"},
    {"libero_90", "KITCHEN_SCENE1_put_the_black_bowl_on_top_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE2_open_the_top_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE2_put_the_black_bowl_at_the_back_on_the_plate"},
    {"libero_90", "KITCHEN_SCENE2_put_the_black_bowl_at_the_front_on_the_plate"},
    {"libero_90", "KITCHEN_SCENE2_put_the_middle_black_bowl_on_the_plate"},
    {"libero_90", "KITCHEN_SCENE2_put_the_middle_black_bowl_on_top_of_the_cabinet"},
    {"libero_90",
     "KITCHEN_SCENE2_stack_the_black_bowl_at_the_front_on_the_black_bowl_in_the_middle"},
    {"libero_90", "KITCHEN_SCENE2_stack_the_middle_black_bowl_on_the_back_black_bowl"},
    {"libero_90", "KITCHEN_SCENE3_put_the_frying_pan_on_the_stove"},
    {"libero_90", "KITCHEN_SCENE3_put_the_moka_pot_on_the_stove"},
    {"libero_90", "KITCHEN_SCENE3_turn_on_the_stove"},
    {"libero_90", "KITCHEN_SCENE3_turn_on_the_stove_and_put_the_frying_pan_on_it"},
    {"libero_90", "KITCHEN_SCENE4_close_the_bottom_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE4_close_the_bottom_drawer_of_the_cabinet_and_open_the_top_drawer"},
    {"libero_90", "KITCHEN_SCENE4_put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE4_put_the_black_bowl_on_top_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE4_put_the_wine_bottle_in_the_bottom_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE4_put_the_wine_bottle_on_the_wine_rack"},
    {"libero_90", "KITCHEN_SCENE5_close_the_top_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE5_put_the_black_bowl_in_the_top_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE5_put_the_black_bowl_on_the_plate"},
    {"libero_90", "KITCHEN_SCENE5_put_the_black_bowl_on_top_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE5_put_the_ketchup_in_the_top_drawer_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE6_close_the_microwave"},
    {"libero_90", "KITCHEN_SCENE6_put_the_yellow_and_white_mug_to_the_front_of_the_white_mug"},
    {"libero_90", "KITCHEN_SCENE7_open_the_microwave"},
    {"libero_90", "KITCHEN_SCENE7_put_the_white_bowl_on_the_plate"},
    {"libero_90", "KITCHEN_SCENE7_put_the_white_bowl_to_the_right_of_the_plate"},
    {"libero_90", "KITCHEN_SCENE8_put_the_right_moka_pot_on_the_stove"},
    {"libero_90", "KITCHEN_SCENE8_turn_off_the_stove"},
    {"libero_90", "KITCHEN_SCENE9_put_the_frying_pan_on_the_cabinet_shelf"},
    {"libero_90", "KITCHEN_SCENE9_put_the_frying_pan_on_top_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE9_put_the_frying_pan_under_the_cabinet_shelf"},
    {"libero_90", "KITCHEN_SCENE9_put_the_white_bowl_on_top_of_the_cabinet"},
    {"libero_90", "KITCHEN_SCENE9_turn_on_the_stove"},
    {"libero_90", "KITCHEN_SCENE9_turn_on_the_stove_and_put_the_frying_pan_on_it"},
    {"libero_90", "LIVING_ROOM_SCENE1_pick_up_the_alphabet_soup_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE1_pick_up_the_cream_cheese_box_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE1_pick_up_the_ketchup_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE1_pick_up_the_tomato_sauce_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE2_pick_up_the_alphabet_soup_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE2_pick_up_the_butter_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE2_pick_up_the_milk_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE2_pick_up_the_orange_juice_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE2_pick_up_the_tomato_sauce_and_put_it_in_the_basket"},
    {"libero_90", "LIVING_ROOM_SCENE3_pick_up_the_alphabet_soup_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE3_pick_up_the_butter_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE3_pick_up_the_cream_cheese_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE3_pick_up_the_ketchup_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE3_pick_up_the_tomato_sauce_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE4_pick_up_the_black_bowl_on_the_left_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE4_pick_up_the_chocolate_pudding_and_put_it_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE4_pick_up_the_salad_dressing_and_put_it_in_the_tray"},
    {"libero_90",
     "LIVING_ROOM_SCENE4_stack_the_left_bowl_on_the_right_bowl_and_place_them_in_the_tray"},
    {"libero_90",
     "LIVING_ROOM_SCENE4_stack_the_right_bowl_on_the_left_bowl_and_place_them_in_the_tray"},
    {"libero_90", "LIVING_ROOM_SCENE5_put_the_red_mug_on_the_left_plate"},
    {"libero_90", "LIVING_ROOM_SCENE5_put_the_red_mug_on_the_right_plate"},
    {"libero_90", "LIVING_ROOM_SCENE5_put_the_white_mug_on_the_left_plate"},
    {"libero_90", "LIVING_ROOM_SCENE5_put_the_yellow_and_white_mug_on_the_right_plate"},
    {"libero_90", "LIVING_ROOM_SCENE6_put_the_chocolate_pudding_to_the_left_of_the_plate"},
    {"libero_90", "LIVING_ROOM_SCENE6_put_the_chocolate_pudding_to_the_right_of_the_plate"},
    {"libero_90", "LIVING_ROOM_SCENE6_put_the_red_mug_on_the_plate"},
    {"libero_90", "LIVING_ROOM_SCENE6_put_the_white_mug_on_the_plate"},
    {"libero_90",
     "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_front_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE1_pick_up_the_book_and_place_it_in_the_right_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE1_pick_up_the_yellow_and_white_mug_and_place_it_to_the_right_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE2_pick_up_the_book_and_place_it_in_the_back_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE2_pick_up_the_book_and_place_it_in_the_front_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE2_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE2_pick_up_the_book_and_place_it_in_the_right_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE3_pick_up_the_book_and_place_it_in_the_front_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE3_pick_up_the_book_and_place_it_in_the_left_compartment_of_the_caddy"},
    {"libero_90",
     "STUDY_SCENE3_pick_up_the_book_and_place_it_in_the_right_compartment_of_the_caddy"},
    {"libero_90", "STUDY_SCENE3_pick_up_the_red_mug_and_place_it_to_the_right_of_the_caddy"},
    {"libero_90", "STUDY_SCENE3_pick_up_the_white_mug_and_place_it_to_the_right_of_the_caddy"},
    {"libero_90", "STUDY_SCENE4_pick_up_the_book_in_the_middle_and_place_it_on_the_cabinet_shelf"},
    {"libero_90", "STUDY_SCENE4_pick_up_the_book_on_the_left_and_place_it_on_top_of_the_shelf"},
    {"libero_90", "STUDY_SCENE4_pick_up_the_book_on_the_right_and_place_it_on_the_cabinet_shelf"},
    {"libero_90",
     "STUDY_SCENE4_pick_up_the_book_on_the_right_and_place_it_under_the_cabinet_shelf"},
};

const struct evaluator_task *evaluator_tasks(size_t *count) {
    *count = PROTO_COUNT(tasks);
    return tasks;
}

// The first of a table by name, and of its suite where one is asked for.
static const struct evaluator_task *find(const struct evaluator_task *rows, size_t count,
                                         const char *suite, const char *name,
                                         struct proto_nearest *best) {
    const bool any = !suite || suite[0] == '\0';
    for (size_t i = 0; i < count; i++) {
        if (!any && strcmp(rows[i].suite, suite) != 0) continue;
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
        proto_nearest_offer(best, rows[i].name);
    }
    return NULL;
}

const struct evaluator_task *evaluator_task_find(const char *suite, const char *name,
                                                 const char **nearest) {
    struct proto_nearest best = {.wrong = name};
    size_t count;
    const struct evaluator_task *own = evaluator_suite_tasks(&count);
    const struct evaluator_task *task = find(own, count, suite, name, &best);
    if (!task) task = find(tasks, PROTO_COUNT(tasks), suite, name, &best);
    if (task) return task;
    if (nearest) *nearest = best.best;
    return NULL;
}

// Length of "KITCHEN_SCENE10_" and its like; 0 without one.
static size_t scene_prefix(const char *name) {
    const char *scene = strstr(name, "_SCENE");
    if (!scene || scene == name) return 0;
    if (strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") < (size_t)(scene - name)) return 0;
    const char *number = scene + strlen("_SCENE");
    const size_t digits = strspn(number, "0123456789");
    if (digits == 0 || number[digits] != '_') return 0;
    return (size_t)(number - name) + digits + 1;
}

bool evaluator_task_sentence(const char *name, char *sentence, size_t size,
                             struct proto_error *error) {
    const char *words = name + scene_prefix(name);
    const size_t bytes = strlen(words);
    if (bytes == 0) return proto_fail(error, PROTO_USAGE, "task %s has no words", name);
    if (bytes >= size)
        return proto_fail(error, PROTO_USAGE, "task name has %zu bytes, at most %zu are taken",
                          bytes, size);
    for (size_t i = 0; i <= bytes; i++) sentence[i] = words[i] == '_' ? ' ' : words[i];
    return true;
}
