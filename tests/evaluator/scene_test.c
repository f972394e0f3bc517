// tests/evaluator/scene_test.c - what composing does to names, files and classes, and the words for
// tasks that cannot be composed. Oracle of the whole: a recorded model, equal in every field.
#include "evaluator/scene_xml.h"
#include "tests/evaluator/model_compare.h"
#include "tests/evaluator/scene_fixture.h"

#include <math.h>

static struct evaluator_scene *composed(void) {
    struct evaluator_scene *scene = NULL;
    struct proto_error error = {0};
    CHECK_OK(evaluator_scene_compose(&libero, task_path, &scene, &error), error);
    return scene;
}

TEST(scene_paths_are_absolute_as_text) {
    static const struct {
        const char *folder, *path, *absolute;
    } cases[] = {
        {"/a/scenes", "../textures/t.png", "/a/textures/t.png"},
        {"/a", "./b/./c.msh", "/a/b/c.msh"},
        {"/a", "/b//c/", "/b/c"},
        {"/a", "../../../b", "/b"},
        {"/a", "..", "/"},
        {"/a", "b..c/.d", "/a/b..c/.d"},
    };
    for (size_t i = 0; i < PROTO_COUNT(cases); i++) {
        struct proto_error error = {0};
        char *absolute = evaluator_path_absolute(cases[i].folder, cases[i].path, &error);
        CHECK_OK(absolute, error);
        CHECK_TEXT(absolute, cases[i].absolute);
        free(absolute);
    }
    char here[512], expected[600];
    struct proto_error error = {0};
    CHECK(getcwd(here, sizeof here));
    snprintf(expected, sizeof expected, "%s/x/y", here);
    char *absolute = evaluator_path_absolute("x", "y", &error);
    CHECK_OK(absolute, error);
    CHECK_TEXT(absolute, expected);
    free(absolute);
}

TEST(scene_categories_have_one_row_each) {
    size_t count;
    const struct evaluator_category *rows = evaluator_categories(&count);
    CHECK(count >= 33);
    for (size_t i = 0; i < count; i++) {
        TEST_CASE(rows[i].name);
        CHECK(evaluator_category_find(rows[i].name) == &rows[i]);
        CHECK(rows[i].rotation[0].axis >= 'x' && rows[i].rotation[0].axis <= 'z');
        CHECK(rows[i].rotation[0].low <= rows[i].rotation[0].high);
        // a state that reset samples has a threshold, which the sampled range touches
        CHECK(isnan(rows[i].open.low) == (isnan(rows[i].open_above) && isnan(rows[i].open_below)));
        CHECK(isnan(rows[i].close.low) ==
              (isnan(rows[i].close_above) && isnan(rows[i].close_below)));
        CHECK(isnan(rows[i].on.low) == isnan(rows[i].on_above));
        CHECK(isnan(rows[i].off.low) == isnan(rows[i].off_below));
    }
    TEST_CASE("");
    CHECK(evaluator_category_find("sofa") == NULL);
}

TEST(scene_of_a_recorded_task_equals_its_model) {
    need_libero();
    NEED_SHARED();
    char path[1200], words[512] = "";
    struct evaluator_libero whole = libero;
    struct evaluator_scene *scene = NULL;
    mjModel *ours = NULL;
    struct proto_error error = {0};
    snprintf(whole.assets, sizeof whole.assets, "%s/libero", golden_root());
    snprintf(path, sizeof path,
             "%s/bddl_files/libero_90/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet.bddl",
             golden_root());
    CHECK_OK(evaluator_scene_compose(&whole, path, &scene, &error), error);
    CHECK_OK(evaluator_scene_compile(scene, &ours, &error), error);
    snprintf(path, sizeof path,
             "%s/data/libero/goldens/KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet/model.xml",
             check_shared());
    mjModel *theirs = model_read(path, golden_root(), words, sizeof words);
    if (!theirs) fail_msg("%s", words);
    struct model_difference difference;
    model_compare(ours, theirs, &difference);
    CHECK_TEXT(difference.first, "");
    CHECK_NEAR(difference.largest, 0, 0);
    CHECK(difference.fields > 500);

    // the comparison sees one number and one letter
    ours->geom_friction[7] += 1e-15;
    model_compare(ours, theirs, &difference);
    CHECK_HAS(difference.first, "geom_friction[7]");
    CHECK_INT(difference.differing, 1);
    ours->names[ours->name_bodyadr[1] + 2] = 'X';
    model_compare(ours, theirs, &difference);
    CHECK_HAS(difference.first, "recorded \"table\"");
    CHECK(isinf(difference.largest));
    mj_deleteModel(theirs);
    mj_deleteModel(ours);

    // and what the XML says besides the model
    CHECK_INT(scene->thing_count, 5);
    const struct evaluator_thing *cabinet = &scene->things[4];
    CHECK_TEXT(cabinet->name, "wooden_cabinet_1");
    CHECK(cabinet->fixture && !scene->things[0].fixture);
    CHECK_NEAR(cabinet->bottom_z, -0.045, 0);
    CHECK_NEAR(cabinet->top_z, 0.045, 0);
    CHECK_NEAR(cabinet->radius, 0.045, 0);
    CHECK_INT(cabinet->joint_count, 3);
    CHECK_TEXT(cabinet->joints[1], "wooden_cabinet_1_middle_level");
    CHECK_TEXT(cabinet->contact_geoms[0], "wooden_cabinet_1_g1");
    CHECK_TEXT(scene->things[2].name, "butter_2");
    CHECK_TEXT(scene->things[2].joints[0], "butter_2_joint0");
    CHECK_INT(scene->site_count, 9);
    CHECK_TEXT(scene->sites[0].name, "kitchen_table_wooden_cabinet_init_region");
    CHECK_INT(scene->sites[0].thing, -1);
    CHECK_INT(scene->sites[0].joint_count, 0);
    // one region of a drawer, one of the cabinet itself, which has no joint of its own
    for (uint32_t i = 5; i < 9; i++) {
        const bool top = strcmp(scene->sites[i].name, "wooden_cabinet_1_top_side") == 0;
        CHECK_INT(scene->sites[i].thing, 4);
        CHECK_INT(scene->sites[i].joint_count, top ? 0 : 1);
        if (strcmp(scene->sites[i].name, "wooden_cabinet_1_bottom_region") == 0)
            CHECK_TEXT(scene->sites[i].joints[0], "wooden_cabinet_1_bottom_level");
    }
    CHECK_NEAR(scene->workspace[2], 0.90, 0);
    CHECK_NEAR(scene->fixture_z_offset, -0.04, 0);
    CHECK(!scene->shrinks_ranges);
    evaluator_scene_free(&scene);
}

// An object that has every case: classes, names with and without prefix, groups, an asset twice.
static const char odd_object[] =
    "<mujoco model='odd'>\n"
    "<default>stray text<default class='shell'><geom type='box' size='.1 .1 .1' group='1'/>\n"
    "<default class='inner'><geom group='3'/></default></default></default>\n"
    "<asset><texture name='skin' file='./visual/../texture_map.png' type='2d'/>\n"
    "<texture name='skin' file='other.png' type='2d'/>\n"
    "<material name='butter_1_skin' texture='skin'/></asset>\n"
    "<worldbody><body><!-- a comment --><body name='object' pos='0 -.1 0'>\n"
    "<geom class='shell' size='.2 .2 .2' material='butter_1_skin'/>\n"
    "<geom type='sphere' size='.01' group='0'/>\n"
    "<body name='lid'><joint name='hinge' type='hinge'/><site name='inside' size='.1 .1 .1'/>\n"
    "<geom name='knob' type='sphere' size='.01'/><geom type='sphere' size='.01' group='2'/>\n"
    "</body></body>\n"
    "<site name='bottom_site' pos='0 0 -.25'/><site name='top_site' pos='0 0 .5'/>\n"
    "<site name='horizontal_radius_site' pos='.75 .1 0'/></body></worldbody></mujoco>\n";

TEST(scene_things_are_named_and_inlined) {
    need_libero();
    restore_butter();
    write_text(butter[0], odd_object);
    write_task("(inside (:target butter_1)) (nowhere (:target butter_1))", "", "butter_1 - butter");
    struct evaluator_scene *scene = composed();
    const struct evaluator_thing *thing = &scene->things[0];
    CHECK_NEAR(thing->bottom_z, -0.25, 0);
    CHECK_NEAR(thing->top_z, 0.5, 0);
    CHECK_NEAR(thing->radius, 0.75, 0);
    // geoms are numbered over the whole object, those of group 0 and none are for contacts
    CHECK_INT(thing->contact_geom_count, 2);
    CHECK_TEXT(thing->contact_geoms[0], "butter_1_g1");
    CHECK_TEXT(thing->contact_geoms[1], "butter_1_knob");
    CHECK_INT(thing->joint_count, 2);
    CHECK_TEXT(thing->joints[0], "butter_1_hinge");
    CHECK_TEXT(thing->joints[1], "butter_1_joint0");
    CHECK_INT(scene->site_count, 2);
    CHECK_TEXT(scene->sites[1].name, "butter_1_inside");
    CHECK_TEXT(scene->sites[1].joints[0], "butter_1_hinge");

    mjModel *model = NULL;
    struct proto_error error = {0};
    CHECK_OK(evaluator_scene_compile(scene, &model, &error), error);
    const int shell = mj_name2id(model, mjOBJ_GEOM, "butter_1_g0");
    CHECK(shell >= 0 && mj_name2id(model, mjOBJ_GEOM, "butter_1_g3") > shell);
    CHECK_INT(model->geom_type[shell], mjGEOM_BOX);   // of its class
    CHECK_INT(model->geom_group[shell], 1);           // of its class, not the nested one
    CHECK_NEAR(model->geom_size[3 * shell], 0.2, 0);  // its own
    CHECK_INT(model->geom_matid[shell], mj_name2id(model, mjOBJ_MATERIAL, "butter_1_skin"));
    CHECK(strstr(scene->xml, BUTTER "/texture_map.png"));  // the first of two, its path made plain
    CHECK(!strstr(scene->xml, "other.png"));
    CHECK(!strstr(scene->xml, "butter_1_butter_1_"));
    CHECK(!strstr(scene->xml, "comment"));
    const int body = mj_name2id(model, mjOBJ_BODY, "butter_1_main");
    CHECK_NEAR(model->body_pos[3 * body + 1], -0.1, 0);
    const int joint = mj_name2id(model, mjOBJ_JOINT, "butter_1_joint0");
    for (int i = 0; i < 6; i++)
        CHECK_NEAR(model->dof_damping[model->jnt_dofadr[joint] + i], 0.0005, 0);
    mj_deleteModel(model);
    evaluator_scene_free(&scene);

    // the same category twice, and as a fixture: no free joint, assets of its own
    write_task("", "shelf - butter", "butter_1 butter_2 - butter");
    scene = composed();
    CHECK_INT(scene->thing_count, 3);
    CHECK_TEXT(scene->things[2].name, "shelf");
    CHECK_INT(scene->things[2].joint_count, 1);
    CHECK(strstr(scene->xml, "name=\"butter_2_skin\""));
    CHECK(!strstr(scene->xml, "shelf_joint0"));
    evaluator_scene_free(&scene);
}

TEST(scene_names_the_object_and_line_of_an_unknown_category) {
    need_libero();
    restore_butter();
    write_task("", "", "butter_1 - butter\n    sofa_1 - sofa");
    check_refused(PROTO_DAMAGED, "task.bddl:7: sofa_1",
                  "is of category \"sofa\", which LIBERO does not have");
}

TEST(scene_refuses_tasks_that_it_cannot_place) {
    need_libero();
    restore_butter();
    write_task("(edge (:target floor))", "", "butter_1 - butter");
    check_refused(PROTO_DAMAGED, "task.bddl:4: floor_edge", "needs :ranges ((x0 y0 x1 y1))");
    write_text(task_path, "(define (problem Moon_Manipulation) (:domain robosuite) (:language x)\n"
                          "(:regions) (:fixtures floor - floor) (:objects butter_1 - butter)\n"
                          "(:obj_of_interest) (:init) (:goal (And (Up butter_1))))");
    check_refused(PROTO_DAMAGED, "task.bddl",
                  "problem is \"moon_manipulation\", expected one of libero_tabletop");
}

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(scene_paths_are_absolute_as_text),
        UNIT(scene_categories_have_one_row_each),
        UNIT(scene_of_a_recorded_task_equals_its_model),
        UNIT(scene_things_are_named_and_inlined),
        UNIT(scene_names_the_object_and_line_of_an_unknown_category),
        UNIT(scene_refuses_tasks_that_it_cannot_place),
    };
    return cmocka_run_group_tests(units, NULL, tear_down);
}
