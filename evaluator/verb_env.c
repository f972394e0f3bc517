// evaluator/verb_env.c - `env list` and `env render`: which tasks there are, and what one looks
// like.
#include "evaluator/camera.h"
#include "evaluator/suite.h"
#include "evaluator/verb.h"

#include "proto/nearest.h"
#include "proto/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 10000, DIGITS_MAX = 5 };

struct render {
    const char *task, *out, *suite, *row, *seed, *steps, *camera, *size, *render, *libero;
    uint64_t row_number, seed_number, step_count;
    uint32_t height, width;
};

static bool list(const char *suite, struct proto_error *error) {
    size_t count, shown = 0;
    const struct evaluator_task *tasks = evaluator_suite_tasks(&count);
    struct proto_nearest nearest = {.wrong = suite};
    for (size_t i = 0; i < count; i++) {
        if (suite) proto_nearest_offer(&nearest, tasks[i].suite);
        if (suite && strcmp(suite, tasks[i].suite) != 0) continue;
        printf("%-14s  %s\n", tasks[i].suite, tasks[i].name);
        shown++;
    }
    tasks = evaluator_tasks(&count);
    for (size_t i = 0; i < count; i++) {
        if (suite) proto_nearest_offer(&nearest, tasks[i].suite);
        if (suite && strcmp(suite, tasks[i].suite) != 0) continue;
        printf("%-14s  %s\n", tasks[i].suite, tasks[i].name);
        shown++;
    }
    if (shown == 0)
        return proto_fail(error, PROTO_USAGE, "there is no suite %.60s%s%s", suite,
                          nearest.best ? "; nearest known: " : "",
                          nearest.best ? nearest.best : "");
    return fflush(stdout) == 0 || proto_fail_errno(error, PROTO_FAILED, "stdout cannot be written");
}

// "640x480"
static bool size_read(const char *text, uint32_t *width, uint32_t *height,
                      struct proto_error *error) {
    char first[DIGITS_MAX + 1] = "";
    const size_t length = strcspn(text, "x");
    uint64_t across, down;
    if (text[length] != 'x' || length > DIGITS_MAX)
        return proto_fail(error, PROTO_USAGE, "--size is \"%.40s\", must be like 640x480", text);
    memcpy(first, text, length);
    if (!proto_words_number("--size, width", first, EVALUATOR_CAMERA_SIDE_MAX, &across, error) ||
        !proto_words_number("--size, height", text + length + 1, EVALUATOR_CAMERA_SIDE_MAX, &down,
                            error))
        return false;
    *width = (uint32_t)across;
    *height = (uint32_t)down;
    return true;
}

static bool render_check(struct render *render, struct proto_error *error) {
    if (!render->task)
        return proto_fail(error, PROTO_USAGE, "render needs a task; `pipeline env list` has them");
    if (!render->out) return proto_fail(error, PROTO_USAGE, "render needs -o FILE");
    return proto_words_number("--row", render->row ? render->row : "0", UINT32_MAX,
                              &render->row_number, error) &&
           proto_words_number("--seed", render->seed, UINT32_MAX, &render->seed_number, error) &&
           proto_words_number("--steps", render->steps, STEPS_MAX, &render->step_count, error) &&
           size_read(render->size, &render->width, &render->height, error);
}

static bool is_file(const char *task) {
    const size_t length = strlen(task);
    return length > 5 && strcmp(task + length - 5, ".bddl") == 0;
}

// The task of the benchmark that is meant; NULL when it is a .bddl of somebody's own.
static bool task_find(const struct render *render, const struct evaluator_task **task,
                      struct proto_error *error) {
    const char *nearest = NULL;
    *task = NULL;
    if (is_file(render->task))
        return !render->row ||
               proto_fail(error, PROTO_USAGE, "--row is for LIBERO's tasks; a .bddl has no rows");
    *task = evaluator_task_find(render->suite, render->task, &nearest);
    return *task ||
           proto_fail(error, PROTO_USAGE,
                      "there is no task %.120s%s%.40s%s%s; `pipeline env list` has them",
                      render->task, render->suite ? " in " : "", render->suite ? render->suite : "",
                      nearest ? "; nearest known: " : "", nearest ? nearest : "");
}

// The file that states the task.
static bool task_path(const char *given, const struct evaluator_task *task,
                      const struct evaluator_libero *libero, char bddl[static EVALUATOR_PATH_MAX],
                      struct proto_error *error) {
    const int length = task ? snprintf(bddl, EVALUATOR_PATH_MAX, "%s/%s/%s.bddl",
                                       libero->bddl_files, task->suite, task->name)
                            : snprintf(bddl, EVALUATOR_PATH_MAX, "%s", given);
    return length < EVALUATOR_PATH_MAX ||
           proto_fail(error, PROTO_USAGE, "the path of the task is too long");
}

static bool row_set(struct evaluator_world *world, struct evaluator_env *env,
                    const struct evaluator_libero *libero, const struct evaluator_task *task,
                    uint64_t row, struct proto_error *error) {
    struct evaluator_rows rows = {0};
    if (!evaluator_suite_rows(libero, task, world, &rows, error)) return false;
    bool done =
        row < rows.count || proto_fail(error, PROTO_USAGE, "--row is %llu, the task has rows 0..%u",
                                       (unsigned long long)row, rows.count - 1);
    if (done)
        done = evaluator_env_set_state(env, rows.values + row * rows.width, rows.width, error);
    if (!done) proto_error_where(error, "%s", task->name);
    evaluator_rows_free(&rows);
    return done;
}

// Reset, start state, steps of a motionless open gripper; the last one is the one to be drawn.
static bool env_bring(struct evaluator_world *world, struct evaluator_env *env,
                      const struct render *render, const struct evaluator_libero *libero,
                      const struct evaluator_task *task, struct proto_error *error) {
    static const double still[7] = {0, 0, 0, 0, 0, 0, -1};
    bool success;
    evaluator_env_keep_pictures(env, true);
    evaluator_env_seed(env, (uint32_t)render->seed_number);
    if (!evaluator_env_reset(env, error)) return false;
    if (task && !row_set(world, env, libero, task, render->row_number, error)) return false;
    for (uint64_t i = 0; i < render->step_count; i++)
        if (!evaluator_env_step(env, still, &success, error)) return false;
    return true;
}

static bool draw(struct evaluator_world *world, struct evaluator_env *env,
                 const struct render *render, struct proto_error *error) {
    struct evaluator_camera *camera = NULL;
    uint8_t *rgb = proto_alloc_array((size_t)render->width * render->height, 3, error);
    if (!rgb) return false;
    const bool done =
        evaluator_camera_open(world, render->render, render->height, render->width, &camera,
                              error) &&
        evaluator_camera_draw(camera, env, render->camera, rgb, error) &&
        evaluator_png_write(render->out, rgb, render->height, render->width, true, error);
    if (done)
        printf("%s: %ux%u, drawn by %s\n", render->out, render->width, render->height,
               evaluator_camera_renderer(camera));
    evaluator_camera_close(&camera);
    free(rgb);
    return done;
}

static bool render_run(struct render *render, struct proto_error *error) {
    struct evaluator_world *world = NULL;
    struct evaluator_env *env = NULL;
    char bddl[EVALUATOR_PATH_MAX];
    const struct evaluator_task *task;
    if (!render_check(render, error) || !task_find(render, &task, error)) return false;
    struct evaluator_libero *libero = proto_alloc(sizeof *libero, error);
    if (!libero) return false;
    const bool done =
        evaluator_suite_find(task ? task->suite : "", render->libero, libero, error) &&
        task_path(render->task, task, libero, bddl, error) &&
        evaluator_world_open(libero, bddl, 0, &world, error) &&
        evaluator_env_new(world, &env, error) &&
        env_bring(world, env, render, libero, task, error) && draw(world, env, render, error);
    evaluator_env_free(&env);
    evaluator_world_close(&world);
    free(libero);
    return done;
}

int evaluator_verb_env(int argc, char **argv) {
    struct render render = {
        .seed = "0", .steps = "10", .camera = "agentview", .size = "512x512", .render = "auto"};
    const struct proto_word options[] = {
        {"-o", PROTO_WORD_TEXT, &render.out},
        {"--out", PROTO_WORD_TEXT, &render.out},
        {"--suite", PROTO_WORD_TEXT, &render.suite},
        {"--row", PROTO_WORD_TEXT, &render.row},
        {"--seed", PROTO_WORD_TEXT, &render.seed},
        {"--steps", PROTO_WORD_TEXT, &render.steps},
        {"--camera", PROTO_WORD_TEXT, &render.camera},
        {"--size", PROTO_WORD_TEXT, &render.size},
        {"--render", PROTO_WORD_TEXT, &render.render},
        {"--libero", PROTO_WORD_TEXT, &render.libero},
    };
    const char *rest[2];
    size_t rest_count;
    struct proto_error error = {0};
    bool done =
        proto_words_read(argc, argv, options, PROTO_COUNT(options), rest, 2, &rest_count, &error);
    if (done) {
        render.task = rest_count > 1 ? rest[1] : NULL;
        if (rest_count > 0 && strcmp(rest[0], "render") == 0)
            done = render_run(&render, &error);
        else if (rest_count == 1 && strcmp(rest[0], "list") == 0)
            done = list(render.suite, &error);
        else
            done = proto_fail(&error, PROTO_USAGE, "env is followed by list, or by render TASK");
    }
    return done ? PROTO_DONE : proto_error_print("pipeline env", &error);
}
