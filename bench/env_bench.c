// bench/env_bench.c - how fast LIBERO runs here, against libmujoco alone in the same run.
//
//     env_bench LIBERO_ROOT [--render cpu|gpu] [--threads] [TASK]...
//
// Per task, one core unless said otherwise:
//   steps     control steps/s without pictures: physics, controller, observation, predicates
//   bare      25 mj_step of the same model over the same states with the same torques; goal: steps
//             is at least 55 % of it
//   pictures  control steps/s when the last two of every 16 steps are seen by two cameras of
//             128x128, as a policy with two moments of history and 16 actions at a time sees them
//   threads   control steps/s of two environments over one model in two threads, as a multiple of
//   one reset     ms, median; goal: under 50
// Rounds of the first two alternate, so that a neighbour's load falls on both; medians are printed.
#include "evaluator/camera.h"

#include "proto/words.h"

#include <mujoco/mujoco.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ROUNDS = 7,
    STEPS = 100,
    SUBSTEPS = 25,
    CONTROLS_MAX = 32,
    SIDE = 128,
    CHUNK = 16,
    RESETS = 9
};

static const char *const golden_tasks[] = {
    "KITCHEN_SCENE10_close_the_top_drawer_of_the_cabinet", "turn_on_the_stove",
    "pick_up_the_black_bowl_between_the_plate_and_the_ramekin_and_place_it_on_the_plate",
    "pick_up_the_alphabet_soup_and_place_it_in_the_basket"};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

// The same actions in every run: slow sweeps of all axes, fingers opening and closing.
static void action_at(int step, double action[static 7]) {
    for (int i = 0; i < 7; i++) action[i] = 0.5 * ((step * (i + 3)) % 41 - 20) / 20.0;
}

// One environment, and the torques of its last STEPS steps.
struct run {
    struct evaluator_env *env;
    struct evaluator_rows *rows;
    double *torques;  // [STEPS * SUBSTEPS, nu]
    size_t substeps;
    double seconds;
    struct proto_error error;
    bool done;
};

static void torques_note(void *context, uint32_t substep) {
    struct run *run = context;
    const mjModel *model = evaluator_env_model(run->env);
    (void)substep;
    memcpy(run->torques + run->substeps++ * (size_t)model->nu, evaluator_env_data(run->env)->ctrl,
           (size_t)model->nu * sizeof(double));
}

static bool start(struct run *run, struct proto_error *error) {
    evaluator_env_seed(run->env, 0);
    return evaluator_env_reset(run->env, error) &&
           evaluator_env_set_state(run->env, run->rows->values, run->rows->width, error);
}

static bool steps_time(struct run *run, double *rate, struct proto_error *error) {
    double action[7];
    bool success;
    if (!start(run, error)) return false;
    const double begin = now_s();
    for (int i = 0; i < STEPS; i++) {
        action_at(i, action);
        if (!evaluator_env_step(run->env, action, &success, error)) return false;
    }
    *rate = STEPS / (now_s() - begin);
    return true;
}

// The recorded torques through mj_step alone.
static bool bare_time(struct run *run, double *rate, struct proto_error *error) {
    const mjModel *model = evaluator_env_model(run->env);
    mjData *data = mj_makeData(model);
    if (!data) return proto_fail(error, PROTO_EXHAUSTED, "no memory for mjData");
    if (!start(run, error)) return false;
    mj_copyData(data, model, evaluator_env_data(run->env));
    const double begin = now_s();
    for (size_t i = 0; i < run->substeps; i++) {
        memcpy(data->ctrl, run->torques + i * (size_t)model->nu,
               (size_t)model->nu * sizeof(double));
        mj_step(model, data);
    }
    *rate = (double)run->substeps / SUBSTEPS / (now_s() - begin);
    mj_deleteData(data);
    return true;
}

static bool pictures_time(struct run *run, struct evaluator_camera *camera, double *rate,
                          struct proto_error *error) {
    static uint8_t rgb[SIDE * SIDE * 3];
    double action[7];
    bool success;
    const int steps = 2 * CHUNK;
    if (!start(run, error)) return false;
    const double begin = now_s();
    for (int i = 0; i < steps; i++) {
        const bool seen = i % CHUNK >= CHUNK - 2;
        action_at(i, action);
        evaluator_env_keep_pictures(run->env, seen);
        if (!evaluator_env_step(run->env, action, &success, error)) return false;
        if (seen && (!evaluator_camera_draw(camera, run->env, "agentview", rgb, error) ||
                     !evaluator_camera_draw(camera, run->env, "eye_in_hand", rgb, error)))
            return false;
    }
    *rate = steps / (now_s() - begin);
    evaluator_env_keep_pictures(run->env, false);
    return true;
}

static void *thread_steps(void *context) {
    struct run *run = context;
    double rate;
    run->done = steps_time(run, &rate, &run->error);
    return NULL;
}

// Two environments of one world at once; control steps/s of both together.
static bool threads_time(struct evaluator_world *world, struct evaluator_rows *rows, double *rate,
                         struct proto_error *error) {
    struct run runs[2] = {{.rows = rows}, {.rows = rows}};
    pthread_t threads[2];
    bool done = evaluator_env_new(world, &runs[0].env, error) &&
                evaluator_env_new(world, &runs[1].env, error);
    const double begin = now_s();
    size_t started = 0;
    for (; done && started < 2; started++)
        if (pthread_create(&threads[started], NULL, thread_steps, &runs[started]) != 0)
            done = proto_fail(error, PROTO_EXHAUSTED, "no thread to be had");
    for (size_t i = 0; i < started; i++) pthread_join(threads[i], NULL);
    *rate = 2 * STEPS / (now_s() - begin);
    for (size_t i = 0; i < 2; i++) {
        if (done && !runs[i].done) {
            *error = runs[i].error;
            done = false;
        }
        evaluator_env_free(&runs[i].env);
    }
    return done;
}

static bool reset_time(struct run *run, double *ms, struct proto_error *error) {
    double times[RESETS];
    for (int i = 0; i < RESETS; i++) {
        const double begin = now_s();
        if (!evaluator_env_reset(run->env, error)) return false;
        times[i] = 1e3 * (now_s() - begin);
    }
    *ms = median(times, RESETS);
    return true;
}

struct wishes {
    const char *render;
    bool threads;
};

static bool measure(struct evaluator_world *world, struct run *run, const char *task,
                    const struct wishes *wishes, struct proto_error *error) {
    double steps[ROUNDS], bare[ROUNDS], pictures[3], both[3], reset_ms = 0;
    struct evaluator_camera *camera = NULL;
    run->torques = proto_alloc_array(STEPS * SUBSTEPS * CONTROLS_MAX, sizeof(double), error);
    if (!run->torques) return false;
    if (evaluator_env_model(run->env)->nu > CONTROLS_MAX)
        return proto_fail(error, PROTO_FAILED, "more than %d controls", CONTROLS_MAX);
    // one pass that only records what bare mj_step will be given
    evaluator_env_watch(run->env, torques_note, run);
    bool done = steps_time(run, &steps[0], error);
    evaluator_env_watch(run->env, NULL, NULL);
    for (int i = 0; i < ROUNDS && done; i++)
        done = steps_time(run, &steps[i], error) && bare_time(run, &bare[i], error);
    done = done && reset_time(run, &reset_ms, error);
    if (wishes->threads)
        for (int i = 0; i < 3 && done; i++) done = threads_time(world, run->rows, &both[i], error);
    done = done && evaluator_camera_open(world, wishes->render, SIDE, SIDE, &camera, error);
    for (int i = 0; i < 3 && done; i++) done = pictures_time(run, camera, &pictures[i], error);
    if (done) {
        const double ours = median(steps, ROUNDS), theirs = median(bare, ROUNDS);
        printf("ours %.32s steps %.1f bare %.1f share %.2f pictures %.1f reset %.1f", task, ours,
               theirs, ours / theirs, median(pictures, 3), reset_ms);
        if (wishes->threads) printf(" threads %.2f", median(both, 3) / ours);
        printf(" renderer %s\n", evaluator_camera_renderer(camera));
        fflush(stdout);
    }
    evaluator_camera_close(&camera);
    free(run->torques);
    return done;
}

static bool task_measure(const struct evaluator_libero *libero, const char *name,
                         const struct wishes *wishes, struct proto_error *error) {
    char bddl[2 * EVALUATOR_PATH_MAX], init[2 * EVALUATOR_PATH_MAX];
    struct evaluator_world *world = NULL;
    struct evaluator_rows rows = {0};
    struct run run = {.rows = &rows};
    const struct evaluator_task *task = evaluator_task_find(NULL, name, NULL);
    if (!task) return proto_fail(error, PROTO_USAGE, "there is no task %s", name);
    snprintf(bddl, sizeof bddl, "%s/%s/%s.bddl", libero->bddl_files, task->suite, name);
    snprintf(init, sizeof init, "%s/%s/%s.pruned_init", libero->init_files, task->suite, name);
    const bool done = evaluator_world_open(libero, bddl, 0, &world, error) &&
                      evaluator_rows_read(init, &rows, error) &&
                      evaluator_env_new(world, &run.env, error) &&
                      measure(world, &run, name, wishes, error);
    evaluator_env_free(&run.env);
    evaluator_rows_free(&rows);
    evaluator_world_close(&world);
    return done;
}

int main(int count, char **words) {
    static struct evaluator_libero libero;
    struct proto_error error = {0};
    struct wishes wishes = {.render = "cpu"};
    const char *rest[8];
    size_t rest_count;
    const struct proto_word options[] = {{"--render", PROTO_WORD_TEXT, &wishes.render},
                                         {"--threads", PROTO_WORD_FLAG, &wishes.threads}};
    bool done = proto_words_read(count, words, options, PROTO_COUNT(options), rest, 8, &rest_count,
                                 &error) &&
                (rest_count > 0 ||
                 proto_fail(&error, PROTO_USAGE, "usage: env_bench LIBERO_ROOT [TASK]...")) &&
                evaluator_libero_find(rest[0], &libero, &error);
    const size_t tasks = rest_count > 1 ? rest_count - 1 : PROTO_COUNT(golden_tasks);
    for (size_t i = 0; i < tasks && done; i++)
        done =
            task_measure(&libero, rest_count > 1 ? rest[1 + i] : golden_tasks[i], &wishes, &error);
    return done ? PROTO_DONE : proto_error_print("env_bench", &error);
}
