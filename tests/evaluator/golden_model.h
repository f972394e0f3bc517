// tests/evaluator/golden_model.h - a recorded task's own model at its recorded start, for tests of
// parts that do not compose scenes: fixtures placed, gripper sites hidden as reset leaves them.
#ifndef TESTS_EVALUATOR_GOLDEN_MODEL_H
#define TESTS_EVALUATOR_GOLDEN_MODEL_H

#include "proto/files.h"
#include "proto/json.h"
#include "tests/check.h"

#include <mujoco/mujoco.h>

// LIBERO's unpacked assets; ends the test without them where they are required.
static inline const char *golden_root(void) {
    const char *root = getenv("LIBERO_ROOT");
    if (root && proto_path_is_folder(root)) return root;
    if (getenv("PIPELINE_REQUIRE_SHARED")) fail_msg("LIBERO_ROOT is not a folder");
    print_message("needs LIBERO's unpacked assets (LIBERO_ROOT)\n");
    skip();
    return NULL;
}

// Recorded doubles, count of them at `first`.
static inline void golden_read(const char *task, const char *name, size_t first, size_t count,
                               double *values) {
    char path[1024];
    struct proto_error error = {0};
    char *bytes;
    size_t size_bytes;
    snprintf(path, sizeof path, "%s/data/libero/goldens/%s/%s.f64", check_shared(), task, name);
    CHECK_OK(proto_file_read(path, 64 << 20, PROTO_DAMAGED, &bytes, &size_bytes, &error), error);
    CHECK((first + count) * sizeof *values <= size_bytes);
    memcpy(values, bytes + first * sizeof *values, count * sizeof *values);
    free(bytes);
}

// The recorded text names its assets relative to the unpacked folder.
static inline char *golden_text(const char *task) {
    char path[1024];
    struct proto_error error = {0};
    char *text;
    size_t size_bytes;
    const char *root = golden_root();
    snprintf(path, sizeof path, "%s/data/libero/goldens/%s/model.xml", check_shared(), task);
    CHECK_OK(proto_file_read(path, 16 << 20, PROTO_DAMAGED, &text, &size_bytes, &error), error);
    char *whole = malloc(size_bytes + 4096 * (strlen(root) + 1)), *to = whole;
    size_t files = 0;
    CHECK(whole);
    for (const char *from = text; *from != '\0';) {
        if (strncmp(from, "file=\"libero/", 13) == 0 ||
            strncmp(from, "file=\"robosuite/", 16) == 0) {
            CHECK(++files < 4096);
            to += snprintf(to, strlen(root) + 8, "file=\"%s/", root);
            from += 6;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    free(text);
    return whole;
}

static inline void golden_fixtures(const char *task, mjModel *model) {
    char path[1024];
    struct proto_error error = {0};
    snprintf(path, sizeof path, "%s/data/libero/goldens/%s/info.json", check_shared(), task);
    json_t *info = proto_json_read(path, 16 << 20, &error), *fixture;
    CHECK_OK(info != NULL, error);
    const char *name;
    json_object_foreach(json_object_get(info, "fixtures"), name, fixture) {
        const int body =
            mj_name2id(model, mjOBJ_BODY, json_string_value(json_object_get(fixture, "root_body")));
        CHECK(body > 0);
        for (size_t i = 0; i < 3; i++)
            model->body_pos[3 * body + (int)i] =
                json_number_value(json_array_get(json_object_get(fixture, "body_pos"), i));
        for (size_t i = 0; i < 4; i++)
            model->body_quat[4 * body + (int)i] =
                json_number_value(json_array_get(json_object_get(fixture, "body_quat"), i));
    }
    json_decref(info);
}

static inline mjModel *golden_model(const char *task) {
    char words[1024] = "";
    char *text = golden_text(task);
    mjSpec *spec = mj_parseXMLString(text, NULL, words, sizeof words);
    if (!spec) fail_msg("%s", words);
    mjModel *model = mj_compile(spec, NULL);
    if (!model) fail_msg("%s", mjs_getError(spec));
    mj_deleteSpec(spec);
    free(text);
    golden_fixtures(task, model);
    for (int i = 0; i < model->nsite; i++)
        if (strncmp(mj_id2name(model, mjOBJ_SITE, i), "gripper0_", 9) == 0)
            model->site_rgba[4 * i + 3] *= -1;
    const int burner = mj_name2id(model, mjOBJ_SITE, "flat_stove_1_burner");
    if (burner >= 0) model->site_rgba[4 * burner + 3] = 0;  // off, as at the recorded start
    return model;
}

#endif
