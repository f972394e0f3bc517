// tests/evaluator/scene_fixture.h - scenes to break: LIBERO's floor with one object, the butter,
// whose three files are copies that a test may change. The rest are links to LIBERO's own.
#ifndef TESTS_EVALUATOR_SCENE_FIXTURE_H
#define TESTS_EVALUATOR_SCENE_FIXTURE_H

#include "evaluator/scene.h"
#include "tests/evaluator/golden_model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BUTTER "stable_hope_objects/butter"

static struct evaluator_libero libero;  // a folder of links to LIBERO's, but for the butter
static char folder[256], task_path[300];

// Each content gets a time of its own: libmujoco keeps meshes that it has read and knows a changed
// file by its time, in seconds.
static inline void write_bytes(const char *path, const char *bytes, size_t size) {
    static time_t now = 1000000000;
    struct proto_error error = {0};
    CHECK_OK(proto_file_write(path, bytes, size, &error), error);
    const struct timespec times[2] = {{.tv_sec = ++now}, {.tv_sec = now}};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}
static inline void write_text(const char *path, const char *text) {
    write_bytes(path, text, strlen(text));
}

// A task on the floor: more lines of regions, fixtures and objects.
static inline void write_task(const char *regions, const char *fixtures, const char *objects) {
    char text[2048];
    snprintf(text, sizeof text,
             "(define (problem LIBERO_Floor_Manipulation)\n"
             "  (:domain robosuite)\n"
             "  (:language take the butter)\n"
             "  (:regions (butter_region (:target floor) (:ranges ((-0.1 0 0.1 0.2)))) %s)\n"
             "  (:fixtures floor - floor %s)\n"
             "  (:objects %s)\n"
             "  (:obj_of_interest butter_1)\n"
             "  (:init (On butter_1 floor_butter_region))\n"
             "  (:goal (And (On butter_1 floor_butter_region)))\n"
             ")\n",
             regions, fixtures, objects);
    write_text(task_path, text);
}

static inline void copy_file(const char *from, const char *to) {
    char *bytes;
    size_t size;
    struct proto_error error = {0};
    CHECK_OK(proto_file_read(from, 64 << 20, PROTO_MISSING, &bytes, &size, &error), error);
    write_bytes(to, bytes, size);
    free(bytes);
}

static char butter[3][400];  // XML, mesh, texture
static const char *const butter_files[3] = {"butter.xml", "visual/butter_vis.msh",
                                            "texture_map.png"};

static inline void restore_butter(void) {
    for (size_t i = 0; i < 3; i++) {
        char from[1200];
        snprintf(from, sizeof from, "%s/libero/" BUTTER "/%s", golden_root(), butter_files[i]);
        copy_file(from, butter[i]);
    }
    write_task("", "", "butter_1 - butter");
}

// Skips the test where LIBERO is not, and makes the folder once.
static inline void need_libero(void) {
    static const char *const links[] = {"scenes", "textures", "articulated_objects",
                                        "stable_scanned_objects"};
    struct proto_error error = {0};
    const char *root = golden_root();
    if (folder[0]) return;
    check_folder(folder);
    snprintf(libero.assets, sizeof libero.assets, "%s/libero", folder);
    snprintf(libero.robosuite, sizeof libero.robosuite, "%s/robosuite", root);
    snprintf(libero.how, sizeof libero.how, "--libero: %s", folder);
    snprintf(task_path, sizeof task_path, "%s/task.bddl", folder);
    char path[1200], target[1200];
    snprintf(path, sizeof path, "%s/" BUTTER "/visual", libero.assets);
    CHECK_OK(proto_folder_make(path, 0755, &error), error);
    for (size_t i = 0; i < PROTO_COUNT(links); i++) {
        snprintf(target, sizeof target, "%s/libero/%s", root, links[i]);
        snprintf(path, sizeof path, "%s/%s", libero.assets, links[i]);
        CHECK(symlink(target, path) == 0);
    }
    for (size_t i = 0; i < 3; i++)
        snprintf(butter[i], sizeof butter[i], "%s/libero/" BUTTER "/%s", folder, butter_files[i]);
    restore_butter();
}

static inline int tear_down(void **state __attribute__((unused))) {
    struct proto_error error = {0};
    return folder[0] && !proto_folder_remove(folder, &error);
}

// Composing or compiling must fail with this status, with these words in place and text.
static inline void check_refused(enum proto_status status, const char *where, const char *says) {
    struct evaluator_scene *scene = NULL;
    mjModel *model = NULL;
    struct proto_error error = {0};
    const bool done = evaluator_scene_compose(&libero, task_path, &scene, &error) &&
                      evaluator_scene_compile(scene, &model, &error);
    if (model) mj_deleteModel(model);
    evaluator_scene_free(&scene);
    CHECK(!done);
    CHECK_HAS(error.where, where);
    CHECK_HAS(error.text, says);
    CHECK_INT(error.status, status);
}

#endif
