// evaluator/verb_replay.c - `replay DATA`: recorded demonstrations played back in the simulator,
// as they are and through the codec's encode and decode, with the statistics of the same data.
//
// The data is read twice: first in a guarded child, because a damaged file can crash libhdf5, then
// here, once the child came through.
#include "evaluator/replay.h"
#include "evaluator/suite.h"
#include "evaluator/verb.h"

#include "loader/guard.h"
#include "loader/survey.h"
#include "loader/verb_data.h"
#include "proto/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTION_WIDTH 7

// What is open while the episodes go by: file and task change seldom.
struct session {
    const struct proto_config *config;
    struct evaluator_libero *libero;
    const char *root;  // of LIBERO's files, as given
    struct loader_survey *survey;
    struct loader_dataset *dataset;
    uint32_t dataset_row;  // in the index's files, while dataset is open
    struct evaluator_world *world;
    struct evaluator_env *env;
    uint32_t task_row;    // in the index's tasks, while world is open
    uint32_t raw, coded;  // successes
};

static void session_close(struct session *session) {
    evaluator_env_free(&session->env);
    evaluator_world_close(&session->world);
    loader_dataset_close(&session->dataset);
    loader_survey_free(&session->survey);
}

static bool survey_read(struct session *session, struct proto_error *error) {
    const struct loader_survey_settings settings = {
        .config = session->config, .no_images = true, .no_measures = true};
    return loader_survey_new(&settings, &session->survey, error);
}

static bool recording_read(struct session *session, uint32_t row,
                           struct evaluator_recorded *recorded, struct proto_error *error) {
    const struct proto_index_episode *episode = &session->survey->index->episodes[row];
    if (session->dataset && session->dataset_row != episode->file)
        loader_dataset_close(&session->dataset);
    session->dataset_row = episode->file;
    const char *path = session->survey->index->files[episode->file].path;
    return (session->dataset || loader_dataset_open(path, &session->dataset, error)) &&
           evaluator_recorded_read(session->dataset, episode->group, episode->steps, recorded,
                                   error);
}

// In the child: everything that will be read is read.
static bool look(void *context, FILE *out, struct proto_error *error) {
    struct session *session = context;
    (void)out;
    bool done = survey_read(session, error);
    for (uint32_t i = 0; done && i < session->survey->index->episode_count; i++) {
        struct evaluator_recorded recorded;
        done = recording_read(session, i, &recorded, error);
        if (done) evaluator_recorded_free(&recorded);
    }
    session_close(session);
    return done;
}

// The world of an episode's task.
static bool world_bring(struct session *session, uint32_t row, struct proto_error *error) {
    const struct proto_index *index = session->survey->index;
    const uint32_t task_row = index->episodes[row].task;
    if (session->world && session->task_row == task_row) return true;
    evaluator_env_free(&session->env);
    evaluator_world_close(&session->world);
    session->task_row = task_row;
    const char *name = index->tasks[task_row].name, *nearest = NULL;
    const struct evaluator_task *task = evaluator_task_find(NULL, name, &nearest);
    if (!task) {
        proto_fail(error, PROTO_USAGE, "%.120s is no task that is known%s%s", name,
                   nearest ? "; nearest known: " : "", nearest ? nearest : "");
        return proto_error_where(error, "%s", index->files[index->episodes[row].file].path);
    }
    char bddl[EVALUATOR_PATH_MAX];
    if (!evaluator_suite_find(task->suite, session->root, session->libero, error)) return false;
    if (snprintf(bddl, sizeof bddl, "%s/%s/%s.bddl", session->libero->bddl_files, task->suite,
                 task->name) >= (int)sizeof bddl)
        return proto_fail(error, PROTO_USAGE, "the path of LIBERO's files is too long");
    return evaluator_world_open(session->libero, bddl, 0, &session->world, error) &&
           evaluator_env_new(session->world, &session->env, error);
}

// What the policy's side of the codec makes of recorded actions. The caller frees it.
static double *actions_code(const struct session *session, uint32_t row, double *worst,
                            struct proto_error *error) {
    const struct proto_codec *codec = session->survey->codec;
    const struct loader_episode *episode = &session->survey->episodes[row];
    const uint32_t task = session->survey->index->episodes[row].task;
    double *coded = proto_alloc_array((size_t)episode->steps * ACTION_WIDTH, sizeof *coded, error);
    float *vector = proto_alloc_array(codec->width, sizeof *vector, error);
    *worst = 0;
    for (size_t t = 0; coded && vector && t < episode->steps; t++) {
        const double *raw = episode->action + t * ACTION_WIDTH;
        proto_codec_encode_action(codec, task, raw, vector, NULL);
        proto_codec_decode_action(codec, task, vector, coded + t * ACTION_WIDTH);
        for (size_t k = 0; k < ACTION_WIDTH; k++)
            *worst = fmax(*worst, fabs(coded[t * ACTION_WIDTH + k] - raw[k]));
    }
    free(vector);
    if (vector) return coded;
    free(coded);
    return NULL;
}

static void replay_print(const char *how, const struct evaluator_replay *replay) {
    if (replay->success)
        printf("  %-5s  solved after step %u", how, replay->success_step);
    else
        printf("  %-5s  NOT solved in %u steps", how, replay->steps);
    printf(", states within %.1e (step %u)", replay->off, replay->off_step);
    if (replay->trouble[0] != '\0') printf("; %s", replay->trouble);
}

static bool episode_replay(struct session *session, uint32_t row, struct proto_error *error) {
    const struct proto_index *index = session->survey->index;
    const struct proto_index_episode *episode = &index->episodes[row];
    const char *path = index->files[episode->file].path;
    struct evaluator_recorded recorded = {.steps = 0};
    struct evaluator_replay raw, coded;
    double worst = 0, *actions = NULL;
    bool done = recording_read(session, row, &recorded, error) &&
                world_bring(session, row, error) &&
                (actions = actions_code(session, row, &worst, error)) != NULL;
    if (done) {
        done =
            evaluator_replay_run(session->world, session->env, &recorded,
                                 session->survey->episodes[row].action, &raw, error) &&
            evaluator_replay_run(session->world, session->env, &recorded, actions, &coded, error);
        if (!done) proto_error_where(error, "%s: %s", path, episode->group);
    }
    if (done) {
        printf("%s %s, %u steps\n", index->tasks[episode->task].name, episode->group,
               episode->steps);
        replay_print("raw", &raw);
        printf("\n");
        replay_print("codec", &coded);
        printf(", actions within %.1e\n", worst);
        fflush(stdout);
        session->raw += raw.success;
        session->coded += coded.success;
    }
    free(actions);
    evaluator_recorded_free(&recorded);
    return done;
}

static bool replay_all(struct session *session, const char *root, struct proto_error *error) {
    session->root = root;
    if (!survey_read(session, error)) return false;
    const struct proto_index *index = session->survey->index;
    if (session->survey->codec->action_count != ACTION_WIDTH)
        return proto_fail(error, PROTO_USAGE,
                          "the actions have %u numbers; the simulator's robot takes %d",
                          session->survey->codec->action_count, ACTION_WIDTH);
    for (uint32_t i = 0; i < index->episode_count; i++)
        if (!episode_replay(session, i, error)) return false;
    printf("%u of %u raw, %u of %u through the codec\n", session->raw, index->episode_count,
           session->coded, index->episode_count);
    return fflush(stdout) == 0 || proto_fail_errno(error, PROTO_FAILED, "stdout cannot be written");
}

// *all: every demonstration was solved both ways.
static bool replay_run(const char *data, const char *root, bool *all, struct proto_error *error) {
    struct loader_arguments arguments = {.file = data};
    struct proto_config *config = NULL;
    if (!loader_data_config(&arguments, &config, error)) return false;
    struct session session = {.config = config};
    const struct loader_guard_work work = {.run = look, .context = &session};
    session.libero = proto_alloc(sizeof *session.libero, error);
    const bool done =
        session.libero && loader_guard_run(&work, error) && replay_all(&session, root, error);
    if (done) {
        const uint32_t count = session.survey->index->episode_count;
        *all = session.raw == count && session.coded == count;
    }
    session_close(&session);
    free(session.libero);
    proto_config_free(&config);
    return done;
}

int evaluator_verb_replay(int argc, char **argv) {
    const char *libero = NULL, *rest[1];
    size_t rest_count = 0;
    const struct proto_word options[] = {{"--libero", PROTO_WORD_TEXT, &libero}};
    struct proto_error error = {0};
    bool all = false;
    bool done =
        proto_words_read(argc, argv, options, PROTO_COUNT(options), rest, 1, &rest_count, &error);
    if (done && rest_count == 0)
        done = proto_fail(&error, PROTO_USAGE,
                          "replay needs DATA: a file of demonstrations or a folder of such");
    done = done && replay_run(rest[0], libero, &all, &error);
    if (!done) return proto_error_print("pipeline replay", &error);
    return all ? PROTO_DONE : PROTO_FAILED;
}
