// tests/evaluator/inventory_test.c - the files that LIBERO's tasks need are known by name, and
// those that are not there are told. Oracle: LIBERO's complete files; a folder that lacks what was
// left out here.
#include "evaluator/inventory.h"

#include "proto/files.h"
#include "tests/check.h"

#include <unistd.h>

static const char *libero_root(void) {
    const char *root = getenv("LIBERO_ROOT");
    if (root && proto_path_is_folder(root)) return root;
    if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not a folder");
    print_message("needs LIBERO's unpacked files (LIBERO_ROOT)\n");
    skip();
    return "";
}

TEST(inventory_of_complete_files_misses_none) {
    static struct evaluator_libero libero;
    static struct evaluator_inventory inventory;
    struct proto_error error = {0};
    CHECK_OK(evaluator_libero_find(libero_root(), &libero, &error), error);
    CHECK_OK(evaluator_inventory_take(&libero, &inventory, &error), error);
    CHECK_INT(inventory.task_count, 130);
    CHECK_TEXT(inventory.missing[0], "");
    CHECK_INT(inventory.missing_count, 0);
    // 2 files for each task, 5 scenes, 4 files of the robot, 33 categories; of meshes and
    // textures each category has two or more, the robot some 40
    CHECK(inventory.scene_count >= 5 + 4 + 30 && inventory.scene_count <= 60);
    CHECK(inventory.file_count > 2 * 130 + inventory.scene_count + 100);
}

// A folder of links to all of `from` but one name.
static void link_all_but(const char *from, const char *to, const char *left_out) {
    struct proto_names names;
    struct proto_error error = {0};
    CHECK_OK(proto_folder_make(to, 0755, &error), error);
    CHECK_OK(proto_folder_list(from, &names, &error), error);
    for (size_t i = 0; i < names.count; i++) {
        char source[1200], target[1200];
        if (strcmp(names.items[i], left_out) == 0) continue;
        snprintf(source, sizeof source, "%s/%s", from, names.items[i]);
        snprintf(target, sizeof target, "%s/%s", to, names.items[i]);
        CHECK(symlink(source, target) == 0);
    }
    proto_names_free(&names);
}

TEST(inventory_names_what_is_missing) {
    static struct evaluator_libero libero;
    static struct evaluator_inventory inventory;
    struct proto_error error = {0};
    char folder[256], inside[1200], whole[1200];
    CHECK_OK(evaluator_libero_find(libero_root(), &libero, &error), error);
    check_folder(folder);
    // the kitchen's wall lacks
    snprintf(whole, sizeof whole, "%s", libero.assets);
    snprintf(libero.assets, sizeof libero.assets, "%s/assets", folder);
    link_all_but(whole, libero.assets, "textures");
    snprintf(inside, sizeof inside, "%s/textures", whole);
    char textures[1200];
    snprintf(textures, sizeof textures, "%s/textures", libero.assets);
    link_all_but(inside, textures, "yellow_linen_wall_texture.png");
    CHECK_OK(evaluator_inventory_take(&libero, &inventory, &error), error);
    CHECK_INT(inventory.task_count, 130);
    CHECK_INT(inventory.missing_count, 1);
    snprintf(inside, sizeof inside, "%s/yellow_linen_wall_texture.png", textures);
    CHECK_TEXT(inventory.missing[0], inside);
    // nothing but the tasks
    snprintf(libero.assets, sizeof libero.assets, "%s/none", folder);
    CHECK_OK(evaluator_inventory_take(&libero, &inventory, &error), error);
    CHECK(inventory.missing_count > 30);
    CHECK(strncmp(inventory.missing[0], libero.assets, strlen(libero.assets)) == 0);
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST_MAIN(UNIT(inventory_of_complete_files_misses_none), UNIT(inventory_names_what_is_missing))
