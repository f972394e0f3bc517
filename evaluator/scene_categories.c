// evaluator/scene_categories.c - the categories of objects and fixtures: where the XML lies, when
// their joints count as open or on, and how an object is turned when it is placed. One row each;
// the values are those of the class of the same name in LIBERO's envs/objects.
#include "evaluator/scene.h"

#include "proto/files.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NO NAN
#define QUARTER 1.5707963267948966  // pi / 2
#define NO_JOINTS                                                                                  \
    .open = {NO, NO}, .close = {NO, NO}, .on = {NO, NO}, .off = {NO, NO}, .open_above = NO,        \
    .open_below = NO, .close_above = NO, .close_below = NO, .on_above = NO, .off_below = NO
#define HOPE .folder = "stable_hope_objects", NO_JOINTS
#define SCANNED .folder = "stable_scanned_objects", NO_JOINTS
#define TURBOSQUID .folder = "turbosquid_objects", NO_JOINTS
#define ARTICULATED .folder = "articulated_objects", .rotation = {{QUARTER / 2, QUARTER, 'x'}}
#define DEMO .folder = "demo_objects"  // of the suite that comes with the program
#define TURN(low, high, axis) .rotation = {{low, high, axis}}
#define TURN_X_THEN_Z .rotation = {{QUARTER, QUARTER, 'x'}, {QUARTER, QUARTER, 'z'}}
// Drawers and doors: what reset samples as open and closed, and which side of a threshold counts.
#define PULLED_BELOW(low, high, close_low, close_high)                                             \
    .open = {low, high}, .close = {close_low, close_high}, .on = {NO, NO}, .off = {NO, NO},        \
    .open_below = high, .open_above = NO, .close_above = close_low, .close_below = NO,             \
    .on_above = NO, .off_below = NO
#define PULLED_ABOVE(low, high, close_low, close_high)                                             \
    .open = {low, high}, .close = {close_low, close_high}, .on = {NO, NO}, .off = {NO, NO},        \
    .open_above = low, .open_below = NO, .close_below = close_high, .close_above = NO,             \
    .on_above = NO, .off_below = NO

static const struct evaluator_category categories[] = {
    {.name = "alphabet_soup", HOPE, TURN(QUARTER, QUARTER, 'z')},
    {.name = "bbq_sauce", HOPE, TURN(QUARTER, QUARTER, 'x')},
    {.name = "butter", HOPE, TURN(0, 0, 'x')},
    {.name = "cherries", HOPE, TURN(QUARTER, QUARTER, 'x')},
    {.name = "chocolate_pudding", HOPE, TURN(0, 0, 'x')},
    {.name = "cookies", HOPE, TURN(QUARTER, QUARTER, 'x')},
    {.name = "corn", HOPE, TURN(QUARTER, QUARTER, 'x')},
    {.name = "cream_cheese", HOPE, TURN(0, 0, 'x')},
    {.name = "ketchup", HOPE, TURN_X_THEN_Z},
    {.name = "macaroni_and_cheese", HOPE, TURN_X_THEN_Z},
    {.name = "mayo", HOPE, TURN_X_THEN_Z},
    {.name = "milk", HOPE, TURN_X_THEN_Z},
    {.name = "new_salad_dressing", HOPE, TURN_X_THEN_Z},
    {.name = "orange_juice", HOPE, TURN_X_THEN_Z},
    {.name = "popcorn", HOPE, TURN(0, 0, 'x')},
    {.name = "salad_dressing", HOPE, TURN_X_THEN_Z},
    {.name = "tomato_sauce", HOPE, TURN(QUARTER, QUARTER, 'z')},

    {.name = "demo_cube", DEMO, NO_JOINTS, TURN(0, 0, 'z')},
    {.name = "demo_plate", DEMO, NO_JOINTS, TURN(0, 0, 'z')},
    {.name = "demo_button",
     DEMO,
     TURN(0, 0, 'z'),
     .open = {NO, NO},
     .close = {NO, NO},
     .on = {0.010, 0.015},
     .off = {0, 0},
     .open_above = NO,
     .open_below = NO,
     .close_above = NO,
     .close_below = NO,
     .on_above = 0.010,
     .off_below = 0.002},
    {.name = "demo_drawer", DEMO, TURN(0, 0, 'z'), PULLED_BELOW(-0.11, -0.08, -0.008, 0)},

    {.name = "akita_black_bowl", SCANNED, TURN(QUARTER, QUARTER, 'x')},
    {.name = "basket", SCANNED, TURN(QUARTER, QUARTER, 'x')},
    {.name = "chefmate_8_frypan", SCANNED, TURN(QUARTER, QUARTER, 'x')},
    {.name = "glazed_rim_porcelain_ramekin", SCANNED, TURN(QUARTER, QUARTER, 'x')},
    {.name = "plate", SCANNED, TURN(QUARTER, QUARTER, 'x')},
    {.name = "rack", .file = "simple_rack", SCANNED, TURN(0, 0, 'x')},
    {.name = "white_bowl", SCANNED, TURN(QUARTER, QUARTER, 'x')},

    {.name = "black_book", TURBOSQUID, TURN(-QUARTER, -QUARTER / 2, 'x')},
    {.name = "bowl_drainer", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "desk_caddy", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "dining_set_group", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "moka_pot", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "porcelain_mug", TURBOSQUID, TURN(-QUARTER, -QUARTER, 'x')},
    {.name = "red_coffee_mug", TURBOSQUID, TURN(-QUARTER, -QUARTER, 'x')},
    {.name = "white_storage_box", TURBOSQUID, TURN(0, 0, 'y')},
    {.name = "white_yellow_mug", TURBOSQUID, TURN(-QUARTER, -QUARTER, 'x')},
    {.name = "wine_bottle", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "wine_rack", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "wooden_shelf", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "wooden_tray", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "wooden_two_layer_shelf", TURBOSQUID, TURN(0, 0, 'x')},
    {.name = "yellow_book", TURBOSQUID, TURN(-QUARTER, -QUARTER / 2, 'x')},

    {.name = "basin_faucet", ARTICULATED, NO_JOINTS},
    {.name = "faucet", ARTICULATED, NO_JOINTS},
    {.name = "flat_stove",
     .folder = "articulated_objects",
     TURN(0, 0, 'y'),
     .open = {NO, NO},
     .close = {NO, NO},
     .on = {0.5, 2.1},
     .off = {-0.005, 0.0},
     .open_above = NO,
     .open_below = NO,
     .close_above = NO,
     .close_below = NO,
     .on_above = 0.5,
     .off_below = 0.0},
    {.name = "microwave", ARTICULATED, PULLED_BELOW(-2.094, -1.3, -0.005, 0.0)},
    {.name = "short_cabinet", ARTICULATED, PULLED_ABOVE(0.10, 0.16, -0.005, 0.0)},
    {.name = "short_fridge", ARTICULATED, PULLED_ABOVE(2.0, 2.7, -0.005, 0.0)},
    {.name = "slide_cabinet", ARTICULATED, NO_JOINTS},
    {.name = "white_cabinet", ARTICULATED, PULLED_BELOW(-0.16, -0.14, 0.0, 0.005)},
    {.name = "window", ARTICULATED, NO_JOINTS},
    {.name = "wooden_cabinet", ARTICULATED, PULLED_BELOW(-0.16, -0.14, 0.0, 0.005)},
};

const struct evaluator_category *evaluator_categories(size_t *count) {
    *count = PROTO_COUNT(categories);
    return categories;
}

const struct evaluator_category *evaluator_category_find(const char *name) {
    for (size_t i = 0; i < PROTO_COUNT(categories); i++)
        if (strcmp(categories[i].name, name) == 0) return &categories[i];
    return NULL;
}

bool evaluator_category_path(const struct evaluator_libero *libero,
                             const struct evaluator_category *category,
                             char path[EVALUATOR_PATH_MAX], struct proto_error *error) {
    const char *file = category->file ? category->file : category->name;
    const bool own_folder = strcmp(category->folder, "articulated_objects") != 0 &&
                            strcmp(category->folder, "demo_objects") != 0;
    const int length = own_folder ? snprintf(path, EVALUATOR_PATH_MAX, "%s/%s/%s/%s.xml",
                                             libero->assets, category->folder, file, file)
                                  : snprintf(path, EVALUATOR_PATH_MAX, "%s/%s/%s.xml",
                                             libero->assets, category->folder, file);
    if (length < 0 || length >= EVALUATOR_PATH_MAX)
        return proto_fail(error, PROTO_USAGE, "the path of LIBERO's assets is too long");
    if (!proto_path_exists(path))
        return proto_fail(error, PROTO_MISSING, "%s is not there: LIBERO's assets are incomplete",
                          path);
    return true;
}
