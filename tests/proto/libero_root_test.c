// tests/proto/libero_root_test.c - LIBERO's files are found in the stated order, and each place
// that was looked at says what it lacks. Oracle: folders made here.
#include "proto/libero_root.h"

#include "proto/files.h"
#include "tests/check.h"

#include <unistd.h>

// path + "/" + name, made with all three folders in it.
static void make_root(const char *path) {
    static const char *const inside[] = {"assets", "bddl_files", "init_files"};
    struct proto_error error = {0};
    for (size_t i = 0; i < PROTO_COUNT(inside); i++) {
        char folder[600];
        snprintf(folder, sizeof folder, "%s/%s", path, inside[i]);
        CHECK_OK(proto_folder_make(folder, 0755, &error), error);
    }
}

// A machine of our own: nothing but `home` counts, apart from /usr, where these tests expect none.
static void live_in(const char *home) {
    setenv("HOME", home, 1);
    unsetenv("LIBERO_CONFIG_PATH");
    unsetenv("VIRTUAL_ENV");
    unsetenv("CONDA_PREFIX");
    unsetenv("XDG_CACHE_HOME");
    setenv("PATH", "/nonexistent", 1);
}

static void write_config(const char *folder, const char *text) {
    char path[600];
    struct proto_error error = {0};
    CHECK_OK(proto_folder_make(folder, 0755, &error), error);
    snprintf(path, sizeof path, "%s/config.yaml", folder);
    CHECK_OK(proto_file_write(path, text, strlen(text), &error), error);
}

TEST(libero_root_of_the_configuration_is_the_only_place) {
    char home[256], root[300];
    static struct proto_libero_root found;
    check_folder(home);
    live_in(home);
    snprintf(root, sizeof root, "%s/root", home);
    proto_libero_find(root, &found);
    CHECK_INT(found.count, 1);
    CHECK_TEXT(found.places[0].rule, "libero.root");
    CHECK_TEXT(found.places[0].missing, "no such folder");
    CHECK(found.chosen == NULL);
    make_root(root);
    proto_libero_find(root, &found);
    CHECK(found.chosen == &found.places[0]);
    CHECK_TEXT(found.chosen->path, root);
    char assets[400];
    snprintf(assets, sizeof assets, "%s/assets", root);
    CHECK(rmdir(assets) == 0);
    proto_libero_find(root, &found);
    CHECK(found.chosen == NULL);
    CHECK_TEXT(found.places[0].missing, "no assets");
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST(libero_root_is_read_from_liberos_own_configuration) {
    char home[256], root[300], folder[300], text[700];
    static struct proto_libero_root found;
    check_folder(home);
    live_in(home);
    snprintf(root, sizeof root, "%s/a root", home);
    snprintf(folder, sizeof folder, "%s/.libero", home);
    make_root(root);
    static const char *const forms[] = {"assets: /x\n\nbenchmark_root: %s\n",
                                        "benchmark_root: '%s'\n", "benchmark_root:   \"%s\"  \n",
                                        "# c\nxbenchmark_root: /y\nbenchmark_root: %s"};
    for (size_t i = 0; i < PROTO_COUNT(forms); i++) {
        TEST_CASE(forms[i]);
        const char *gap = strstr(forms[i], "%s");
        snprintf(text, sizeof text, "%.*s%s%s", (int)(gap - forms[i]), forms[i], root, gap + 2);
        write_config(folder, text);
        proto_libero_find("", &found);
        CHECK(found.chosen == &found.places[0]);
        CHECK_TEXT(found.places[0].rule, "~/.libero");
        CHECK_TEXT(found.places[0].path, root);
    }
    TEST_CASE("");
    write_config(folder, "datasets: /x\n");
    proto_libero_find("", &found);
    CHECK_TEXT(found.places[0].missing, "has no benchmark_root");
    // the variable wins over the home folder, and is named when it leads nowhere
    char other[300];
    snprintf(other, sizeof other, "%s/other", home);
    setenv("LIBERO_CONFIG_PATH", other, 1);
    proto_libero_find("", &found);
    CHECK_TEXT(found.places[0].rule, "LIBERO_CONFIG_PATH");
    CHECK_TEXT(found.places[0].missing, "no such file");
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST(libero_root_is_found_in_installed_packages_last) {
    char home[256], package[400], root[300], folder[300], text[700];
    static struct proto_libero_root found;
    check_folder(home);
    live_in(home);
    snprintf(package, sizeof package, "%s/venv/lib/python3.11/site-packages/libero/libero", home);
    make_root(package);
    char venv[300];
    snprintf(venv, sizeof venv, "%s/venv", home);
    setenv("VIRTUAL_ENV", venv, 1);
    proto_libero_find("", &found);
    CHECK(found.chosen != NULL);
    CHECK_TEXT(found.chosen->rule, "package libero");
    CHECK_TEXT(found.chosen->path, package);
    snprintf(root, sizeof root, "%s/root", home);
    make_root(root);
    snprintf(folder, sizeof folder, "%s/.libero", home);
    snprintf(text, sizeof text, "benchmark_root: %s\n", root);
    write_config(folder, text);
    proto_libero_find("", &found);
    CHECK_TEXT(found.chosen->path, root);
    CHECK(found.count >= 2);  // the package is still shown
    struct proto_error error = {0};
    CHECK_OK(proto_folder_remove(home, &error), error);
}

// A folder in `home` and where its parts must be found; "" for those it lacks.
static const struct {
    const char *name, *inside[3], *parts[3];
} layouts[] = {
    {"checkout",
     {"libero/libero/assets", "libero/libero/bddl_files", "libero/libero/init_files"},
     {"libero/libero/assets", "libero/libero/bddl_files", "libero/libero/init_files"}},
    {"archive",
     {"libero/scenes", "bddl_files", "init_files"},
     {"libero", "bddl_files", "init_files"}},
    {"inner", {"assets", "bddl_files", "init_files"}, {"assets", "bddl_files", "init_files"}},
    {"partial", {"libero/scenes", "init_files", ""}, {"libero", NULL, "init_files"}},
};
TEST(libero_root_may_be_a_checkout_its_inside_or_an_archive) {
    char home[256], root[300], path[700];
    static struct proto_libero_root found;
    struct proto_error error = {0};
    check_folder(home);
    live_in(home);
    for (size_t i = 0; i < PROTO_COUNT(layouts); i++) {
        TEST_CASE(layouts[i].name);
        snprintf(root, sizeof root, "%s/%s", home, layouts[i].name);
        for (size_t j = 0; j < 3; j++) {
            snprintf(path, sizeof path, "%s/%s", root, layouts[i].inside[j]);
            CHECK_OK(proto_folder_make(path, 0755, &error), error);
        }
        proto_libero_find(root, &found);
        CHECK_INT(found.count, 1);
        for (size_t j = 0; j < 3; j++) {
            CHECK(!layouts[i].parts[j] == !found.parts[j]);
            if (!layouts[i].parts[j]) continue;
            snprintf(path, sizeof path, "%s/%s", root, layouts[i].parts[j]);
            CHECK_TEXT(found.parts[j], path);
        }
    }
    CHECK(found.chosen == NULL);
    CHECK_TEXT(found.places[0].missing, "no bddl_files");
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST(libero_root_with_assets_alone_gets_the_fetched_tasks) {
    char home[256], path[600], root[300];
    static struct proto_libero_root found;
    static const char *const tasks[] = {"bddl_files", "init_files"};
    struct proto_error error = {0};
    check_folder(home);
    live_in(home);
    snprintf(root, sizeof root, "%s/assets", home);
    snprintf(path, sizeof path, "%s/scenes", root);
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/.cache/pipeline/libero-tasks-0.1.4/libero/libero/%s", home,
                 tasks[i]);
        CHECK_OK(proto_folder_make(path, 0755, &error), error);
    }
    proto_libero_find(root, &found);
    CHECK_TEXT(found.parts[PROTO_LIBERO_ASSETS], root);
    CHECK_TEXT(found.parts[PROTO_LIBERO_INIT_FILES], path);
    CHECK(found.chosen == NULL);
    // without a root the tasks are found too, and the assets are not
    proto_libero_find("", &found);
    CHECK(found.parts[PROTO_LIBERO_ASSETS] == NULL);
    CHECK_TEXT(found.parts[PROTO_LIBERO_INIT_FILES], path);
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST(libero_root_asks_the_python_of_the_path_first) {
    char home[256], path[600], package[600];
    static struct proto_libero_root found;
    struct proto_error error = {0};
    check_folder(home);
    live_in(home);
    snprintf(path, sizeof path, "%s/venv/bin/python3", home);
    snprintf(package, sizeof package, "%s/venv/bin", home);
    CHECK_OK(proto_folder_make(package, 0755, &error), error);
    CHECK(symlink("/bin/true", path) == 0);  // a virtual environment's is a link
    setenv("PATH", package, 1);
    snprintf(package, sizeof package, "%s/venv/lib/python3.11/site-packages/libero/libero", home);
    make_root(package);
    proto_libero_find("", &found);
    CHECK(found.chosen != NULL);
    CHECK_TEXT(found.chosen->path, package);
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST(libero_root_takes_each_folder_that_the_configuration_names) {
    char home[256], folder[300], text[900], path[600];
    static struct proto_libero_root found;
    static const char *const keys[] = {"assets", "bddl_files", "init_states"};
    struct proto_error error = {0};
    size_t used = 0;
    check_folder(home);
    live_in(home);
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/elsewhere/%s", home, keys[i]);
        CHECK_OK(proto_folder_make(path, 0755, &error), error);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s: %s\n", keys[i], path);
    }
    snprintf(folder, sizeof folder, "%s/.libero", home);
    write_config(folder, text);
    proto_libero_find("", &found);
    CHECK(found.chosen == &found.places[0]);
    CHECK_TEXT(found.parts[PROTO_LIBERO_INIT_FILES], path);
    CHECK_OK(proto_folder_remove(home, &error), error);
}

TEST_MAIN(UNIT(libero_root_may_be_a_checkout_its_inside_or_an_archive),
          UNIT(libero_root_with_assets_alone_gets_the_fetched_tasks),
          UNIT(libero_root_asks_the_python_of_the_path_first),
          UNIT(libero_root_takes_each_folder_that_the_configuration_names),
          UNIT(libero_root_of_the_configuration_is_the_only_place),
          UNIT(libero_root_is_read_from_liberos_own_configuration),
          UNIT(libero_root_is_found_in_installed_packages_last))
