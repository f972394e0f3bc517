// evaluator/serve_check.c - before anything is trained: will there be something to evaluate with?
#include "evaluator/serve.h"

#include "evaluator/simulation.h"
#include "evaluator/suite.h"
#include "model/backend.h"
#include "proto/run.h"
#include "proto/words.h"

#include <stdio.h>
#include <string.h>

struct looked {
    const struct proto_config *config;
    struct evaluator_libero libero;
    struct proto_codec *codec;
    const struct evaluator_task *first;  // task that is opened
};

// A name as evaluation takes it: of the suite, else of any.
static bool task_find(struct looked *looked, const char *name, struct proto_error *error) {
    const char *nearest = NULL;
    const struct evaluator_task *task =
        evaluator_task_find(looked->config->evaluator.benchmark, name, &nearest);
    if (!task) task = evaluator_task_find("", name, &nearest);
    if (!task)
        return proto_fail(error, PROTO_USAGE,
                          "there is no task %.100s%s%s; `pipeline env list` has all", name,
                          nearest ? "; nearest known: " : "", nearest ? nearest : "");
    if (!looked->first) looked->first = task;
    return true;
}

static bool first_of_suite(struct looked *looked, const char *number, struct proto_error *error) {
    const char *benchmark = looked->config->evaluator.benchmark;
    uint64_t wanted = 0, there = 0;
    size_t count;
    const bool own = strcmp(benchmark, EVALUATOR_SUITE) == 0;
    const struct evaluator_task *tasks =
        own ? evaluator_suite_tasks(&count) : evaluator_tasks(&count);
    if (!proto_words_number("first", number, UINT32_MAX, &wanted, error)) return false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tasks[i].suite, benchmark) != 0) continue;
        there++;
        if (!looked->first) looked->first = &tasks[i];
    }
    return (wanted > 0 && wanted <= there) ||
           proto_fail(error, PROTO_USAGE, "%s has %zu tasks, the first %zu were asked for",
                      benchmark, (size_t)there, (size_t)wanted);
}

static bool tasks_find(struct looked *looked, struct proto_error *error) {
    const struct proto_list *tasks = &looked->config->evaluator.tasks;
    for (size_t i = 0; i < tasks->count; i++) {
        const char *name = tasks->items[i];
        bool done = true;
        if (strcmp(name, "trained") == 0)
            for (uint32_t t = 0; done && t < looked->codec->task_count; t++)
                done = task_find(looked, looked->codec->tasks[t].name, error);
        else if (strncmp(name, "first:", 6) == 0)
            done = first_of_suite(looked, name + 6, error);
        else
            done = task_find(looked, name, error);
        if (!done) return proto_config_place(looked->config, "evaluator", "tasks", error);
    }
    return looked->first || proto_fail(error, PROTO_USAGE, "no task is to be evaluated");
}

// The scene with the cameras of the codec, and a start state of each list.
static bool open_first(const struct looked *looked, struct proto_error *error) {
    const struct evaluator_task *task = looked->first;
    const bool own = strcmp(task->suite, EVALUATOR_SUITE) == 0;
    char bddl[EVALUATOR_PATH_MAX], init[EVALUATOR_PATH_MAX] = "";
    const int bddl_length = snprintf(bddl, sizeof bddl, "%s/%s/%s.bddl", looked->libero.bddl_files,
                                     task->suite, task->name);
    const int init_length = own ? 0
                                : snprintf(init, sizeof init, "%s/%s/%s.pruned_init",
                                           looked->libero.init_files, task->suite, task->name);
    if (bddl_length >= (int)sizeof bddl || init_length >= (int)sizeof init)
        return proto_fail(error, PROTO_USAGE, "the path of the benchmark's files is too long");
    struct evaluator_simulation *simulation = NULL;
    const struct evaluator_simulation_settings settings = {.libero = &looked->libero,
                                                           .bddl_path = bddl,
                                                           .init_path = init,
                                                           .codec = looked->codec,
                                                           .environments = 1,
                                                           .render = "auto",
                                                           .pictures = true};
    const bool done = evaluator_simulation_open(&settings, &simulation, error);
    evaluator_simulation_close(&simulation);
    return done;
}

static bool device_opens(const struct proto_config *config, struct proto_error *error) {
    struct model_backend *backend = NULL;
    if (!model_backend_open(config->evaluator.device, 1, &backend, error))
        return proto_config_place(config, "evaluator", "device", error);
    model_backend_close(&backend);
    return true;
}

bool evaluator_serve_check(const char *run, const struct proto_config *config,
                           struct proto_error *error) {
    struct looked looked = {.config = config};
    char path[PROTO_PATH_MAX];
    if (!device_opens(config, error) ||
        !evaluator_suite_find(config->evaluator.benchmark, config->libero.root, &looked.libero,
                              error) ||
        !proto_run_path(run, "codec.json", path, error) ||
        !proto_codec_read(path, &looked.codec, error))
        return false;
    const bool done =
        tasks_find(&looked, error) &&
        (open_first(&looked, error) ||
         (error->where[0] ? false : proto_error_where(error, "%s", looked.first->name)));
    proto_codec_free(&looked.codec);
    return done;
}
