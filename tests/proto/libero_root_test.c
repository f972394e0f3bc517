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
    write_config(folder, "assets: /x\n");
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

TEST_MAIN(UNIT(libero_root_of_the_configuration_is_the_only_place),
          UNIT(libero_root_is_read_from_liberos_own_configuration),
          UNIT(libero_root_is_found_in_installed_packages_last))
