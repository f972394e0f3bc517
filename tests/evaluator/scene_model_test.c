// tests/evaluator/scene_model_test.c - files of a scene that lack or are damaged: refused, and the
// words name the file, the object and the line of the task.
#include "tests/evaluator/scene_fixture.h"

#include <math.h>

TEST(scene_model_names_files_that_lack) {
    need_libero();
    restore_butter();
    CHECK(unlink(butter[0]) == 0);
    check_refused(PROTO_MISSING, "task.bddl:6: butter_1", BUTTER "/butter.xml is not there");
    restore_butter();
    CHECK(unlink(butter[1]) == 0 && unlink(butter[2]) == 0);
    check_refused(PROTO_MISSING, "", "2 asset files of the scene lack: ");
    check_refused(PROTO_MISSING, "", BUTTER "/texture_map.png, ");

    struct evaluator_libero none = libero;
    struct evaluator_scene *scene = NULL;
    struct proto_error error = {0};
    none.assets[0] = '\0';
    CHECK(!evaluator_scene_compose(&none, task_path, &scene, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "LIBERO's assets were not found; looked at:\n--libero: /");
    none = libero;
    snprintf(none.robosuite, sizeof none.robosuite, "%s", folder);
    CHECK(!evaluator_scene_compose(&none, task_path, &scene, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.where, "base.xml");
}

// Files damaged in each way that is told apart: where the place, what the text must hold.
static const struct {
    int file;  // of the butter's three
    const char *text, *where, *says;
} damaged[] = {
    {0, "<mujoco><worldbody>", "butter.xml", "line 1 is not XML: "},
    {0, "", "butter.xml", "line 1 is not XML: "},
    {0, "<!DOCTYPE m [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><mujoco>&a;</mujoco>", "butter.xml",
     "has a DOCTYPE or entities"},
    {0, "<robot/>", "butter.xml", "its root element is <robot>, expected <mujoco>"},
    {0, "<mujoco/>", "task.bddl:6: butter_1", "expected worldbody/body/body"},
    {0, "<mujoco><worldbody><body><body name='object'/></body></worldbody></mujoco>",
     "task.bddl:6: butter_1", "butter.xml: its outer body needs a site \"bottom_site\""},
    {0,
     "<mujoco><worldbody><body><body name='object'/><site name='bottom_site' pos='0 nan'/></body>"
     "</worldbody></mujoco>",
     "task.bddl:6: butter_1", "its outer body needs a site \"bottom_site\""},
    {0,
     "<mujoco>\n<worldbody><body><body name='object'>\n<geom class='no'/></body></body></worldbody>"
     "</mujoco>",
     "task.bddl:6: butter_1", "butter.xml:3: class \"no\" is not in its <default>"},
    {1, "abc", "butter_vis.msh", "is cut off within its header"},
    {1, "aaaabbbbccccdddd", "butter_vis.msh", "has 16 bytes, but its header promises "},
    {1, "", "butter_vis.msh", "has 0 bytes, expected 1.."},
    {2, "JFIF, one would think", "texture_map.png", "does not begin as a PNG file"},
    {2, "\x89PNG\r\n\x1a\n and no more", "texture_map.png", "libmujoco does not take the scene: "},
};

TEST(scene_model_names_the_file_that_is_damaged) {
    need_libero();
    for (size_t i = 0; i < PROTO_COUNT(damaged); i++) {
        restore_butter();
        TEST_CASE(damaged[i].says);
        write_text(butter[damaged[i].file], damaged[i].text);
        check_refused(PROTO_DAMAGED, damaged[i].where, damaged[i].says);
    }
    TEST_CASE("");
    // what only libmujoco sees: a kind of geom that it does not know
    char *text;
    size_t size;
    struct proto_error error = {0};
    restore_butter();
    CHECK_OK(proto_file_read(butter[0], 1 << 20, PROTO_MISSING, &text, &size, &error), error);
    char *type = strstr(text, "type=\"box\"");
    CHECK(type);
    memcpy(type, "type=\"bog\"", 10);
    write_bytes(butter[0], text, size);
    free(text);
    check_refused(PROTO_DAMAGED, "", "libmujoco does not take the scene: ");
    check_refused(PROTO_DAMAGED, "", "name=\"butter_1_g1\"");
}

// A mesh of the right size with faces of vertices that it has not, or vertices that are no numbers.
TEST(scene_model_meshes_with_senseless_numbers_are_refused) {
    need_libero();
    const uint32_t far = 0x7fffffff;
    const float nan = NAN;
    for (int vertex = 0; vertex < 2; vertex++) {
        char *bytes;
        size_t size;
        struct proto_error error = {0};
        restore_butter();
        CHECK_OK(proto_file_read(butter[1], 64 << 20, PROTO_MISSING, &bytes, &size, &error), error);
        if (vertex)
            memcpy(bytes + 16, &nan, sizeof nan);
        else
            memcpy(bytes + size - sizeof far, &far, sizeof far);
        write_bytes(butter[1], bytes, size);
        free(bytes);
        check_refused(PROTO_DAMAGED, "butter_vis.msh", "libmujoco does not take the scene: ");
    }
    restore_butter();
}

int main(void) {
    const struct CMUnitTest units[] = {
        UNIT(scene_model_names_files_that_lack),
        UNIT(scene_model_names_the_file_that_is_damaged),
        UNIT(scene_model_meshes_with_senseless_numbers_are_refused),
    };
    return cmocka_run_group_tests(units, NULL, tear_down);
}
