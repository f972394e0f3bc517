// tests/proto/module_test.c - where parts that are loaded at run time are looked for, and what a
// user reads when they are not there or are something else.
//
// Oracle: the words and the status; a library that every machine has stands for a module.
#include "tests/check.h"

#include "proto/files.h"
#include "proto/module.h"

#include <dlfcn.h>
#include <link.h>

TEST(module_named_by_the_environment_goes_first) {
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    setenv("PIPELINE_CUDA_MODULE", "/proc/self/exe", 1);
    CHECK_OK(proto_module_find("cuda", path, &error), error);
    CHECK_TEXT(path, "/proc/self/exe");
    CHECK(proto_module_is_there("cuda"));
    setenv("PIPELINE_CUDA_MODULE", "/nowhere/at/all.so", 1);
    CHECK(!proto_module_find("cuda", path, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_TEXT(error.text, "PIPELINE_CUDA_MODULE is /nowhere/at/all.so, where there is no file");
    unsetenv("PIPELINE_CUDA_MODULE");
}

TEST(module_that_is_nowhere_is_named_with_the_place_looked_at) {
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    CHECK(!proto_module_find("nonesuch", path, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "there is no libpipeline_nonesuch.so in ");
    CHECK_HAS(error.text, "PIPELINE_NONESUCH_MODULE may name another");
    CHECK(!proto_module_is_there("nonesuch"));
}

TEST(module_that_does_not_load_says_why) {
    char folder[256], file[300];
    void *entry = NULL;
    struct proto_error error = {0};
    check_folder(folder);
    snprintf(file, sizeof file, "%s/torn.so", folder);
    CHECK_OK(proto_file_write(file, "\177ELF", 4, &error), error);
    setenv("PIPELINE_CUDA_MODULE", file, 1);
    CHECK(!proto_module_open("cuda", "pipeline_cuda_module", &entry, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "cannot load ");
    CHECK_HAS(error.text, "torn.so");
    unsetenv("PIPELINE_CUDA_MODULE");
    CHECK_OK(proto_folder_remove(folder, &error), error);
}

TEST(module_without_the_entry_is_not_ours) {
    void *entry = NULL;
    struct link_map *map = NULL;
    struct proto_error error = {0};
    void *library = dlopen("libm.so.6", RTLD_NOW);
    CHECK(library && dlinfo(library, RTLD_DI_LINKMAP, &map) == 0);
    setenv("PIPELINE_CUDA_MODULE", map->l_name, 1);
    CHECK(!proto_module_open("cuda", "pipeline_cuda_module", &entry, &error));
    CHECK_INT(error.status, PROTO_MISSING);
    CHECK_HAS(error.text, "has no pipeline_cuda_module: it is not this program's");
    unsetenv("PIPELINE_CUDA_MODULE");
    dlclose(library);
}

TEST_MAIN(UNIT(module_named_by_the_environment_goes_first),
          UNIT(module_that_is_nowhere_is_named_with_the_place_looked_at),
          UNIT(module_that_does_not_load_says_why), UNIT(module_without_the_entry_is_not_ours))
