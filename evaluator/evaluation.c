// evaluator/evaluation.c - tasks one after the other, the episodes of each in one rollout.
#include "evaluator/evaluation.h"

#include "evaluator/assets_hash.h"
#include "evaluator/journal.h"
#include "evaluator/recording.h"
#include "evaluator/suite.h"
#include "proto/files.h"
#include "proto/words.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXEC_HORIZON_DEFAULT 16

// A task of the plan; its row in results and plan is the same.
struct planned {
    char bddl[EVALUATOR_PATH_MAX], init[EVALUATOR_PATH_MAX];
    uint32_t policy_task;
};

struct session {
    const struct evaluator_evaluation *asked;
    struct evaluator_libero libero;
    struct evaluator_policy *policy;
    const struct evaluator_policy_facts *facts;
    struct evaluator_results *results;
    struct evaluator_journal *journal;
    struct planned *tasks;  // [results->task_count]
    const char **names;     // of all that were asked for
    size_t name_count;
    uint32_t task, next;  // of the rollout under way: task, number of its next episode
    uint32_t begun_done;  // outcomes that were there at the start
    double start_s;
};

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static uint32_t pilots(const struct session *session) {
    return session->asked->controls ? EVALUATOR_PILOTS : 1;
}

// ---- which tasks --------------------------------------------------------------------------------

static bool name_add(struct session *session, const char *name, struct proto_error *error) {
    for (size_t i = 0; i < session->name_count; i++)
        if (strcmp(session->names[i], name) == 0) return true;
    const char **names =
        realloc(session->names, (session->name_count + 1) * sizeof *session->names);
    if (!names) return proto_fail(error, PROTO_EXHAUSTED, "no memory for the tasks");
    session->names = names;
    session->names[session->name_count++] = name;
    return true;
}

static bool names_first(struct session *session, const char *number, struct proto_error *error) {
    uint64_t wanted = 0;
    size_t count, there = 0;
    const bool own = strcmp(session->asked->benchmark, EVALUATOR_SUITE) == 0;
    const struct evaluator_task *tasks =
        own ? evaluator_suite_tasks(&count) : evaluator_tasks(&count);
    if (!proto_words_number("first", number, UINT32_MAX, &wanted, error)) return false;
    for (size_t i = 0; i < count && there < wanted; i++) {
        if (strcmp(tasks[i].suite, session->asked->benchmark) != 0) continue;
        if (!name_add(session, tasks[i].name, error)) return false;
        there++;
    }
    return there == wanted && there > 0
               ? true
               : proto_fail(error, PROTO_USAGE, "%s has %zu tasks, the first %llu were asked for",
                            session->asked->benchmark, there, (unsigned long long)wanted);
}

static bool names_find(struct session *session, struct proto_error *error) {
    const struct evaluator_evaluation *asked = session->asked;
    const struct proto_codec *codec = session->facts->codec;
    for (size_t i = 0; i < asked->task_count; i++) {
        const char *name = asked->tasks[i];
        if (strcmp(name, "trained") == 0) {
            for (uint32_t t = 0; t < codec->task_count; t++)
                if (!name_add(session, codec->tasks[t].name, error)) return false;
        } else if (strncmp(name, "first:", 6) == 0) {
            if (!names_first(session, name + 6, error)) return false;
        } else if (!name_add(session, name, error)) {
            return false;
        }
    }
    return true;
}

// Files of a task, and its sentence for a policy that was not trained on it.
static bool task_files(const struct session *session, const char *name, struct planned *planned,
                       char **sentence, struct proto_error *error) {
    const char *nearest = NULL;
    struct evaluator_bddl *bddl = NULL;
    const struct evaluator_task *task =
        evaluator_task_find(session->asked->benchmark, name, &nearest);
    if (!task) task = evaluator_task_find("", name, &nearest);
    if (!task)
        return proto_fail(error, PROTO_REFUSED, "there is no such task%s%s; `pipeline env list`",
                          nearest ? "; nearest known: " : "", nearest ? nearest : "");
    const int bddl_length = snprintf(planned->bddl, sizeof planned->bddl, "%s/%s/%s.bddl",
                                     session->libero.bddl_files, task->suite, task->name);
    const bool own = strcmp(task->suite, EVALUATOR_SUITE) == 0;  // its rows are in no file
    const int init_length =
        own ? 0
            : snprintf(planned->init, sizeof planned->init, "%s/%s/%s.pruned_init",
                       session->libero.init_files, task->suite, task->name);
    if (bddl_length >= (int)sizeof planned->bddl || init_length >= (int)sizeof planned->init)
        return proto_fail(error, PROTO_REFUSED, "the path of its files is too long");
    if (!evaluator_bddl_read(planned->bddl, &bddl, error)) return false;
    *sentence = proto_format(error, "%s", bddl->language);
    evaluator_bddl_free(&bddl);
    return *sentence != NULL;
}

static bool rows_fit(const struct session *session, const struct planned *planned,
                     struct proto_error *error) {
    const struct evaluator_evaluation *asked = session->asked;
    struct evaluator_rows rows = {0};
    uint32_t count = EVALUATOR_SUITE_ROWS;
    if (planned->init[0] != '\0') {
        if (!evaluator_rows_read(planned->init, &rows, error)) return false;
        count = rows.count;
        evaluator_rows_free(&rows);
    }
    return (uint64_t)asked->row_first + asked->row_count <= count ||
           proto_fail(error, PROTO_REFUSED, "start states %u:%u were asked for, it has 0:%u",
                      asked->row_first, asked->row_first + asked->row_count, count);
}

// What a task lacks is its reason; anything else ends the evaluation.
static bool is_reason(const struct proto_error *error) {
    return error->status == PROTO_REFUSED || error->status == PROTO_MISSING ||
           error->status == PROTO_DAMAGED || error->status == PROTO_USAGE;
}

static bool task_plan(struct session *session, const char *name, struct proto_error *error) {
    struct planned planned = {0};
    char *sentence = NULL, reason[1400] = "";
    uint32_t row = 0;
    bool done = true;
    const bool ready =
        task_files(session, name, &planned, &sentence, error) &&
        rows_fit(session, &planned, error) &&
        evaluator_policy_task(session->policy, name, sentence, &planned.policy_task, error);
    if (!ready) {
        done = is_reason(error);
        snprintf(reason, sizeof reason, "%s%s%s", error->where, error->where[0] ? ": " : "",
                 error->text);
    }
    const struct evaluator_policy_task *task =
        ready ? evaluator_policy_task_at(session->policy, planned.policy_task) : NULL;
    done =
        done && evaluator_results_add_task(session->results, name,
                                           task       ? task->prompt
                                           : sentence ? sentence
                                                      : "",
                                           task && task->seen, ready ? NULL : reason, &row, error);
    free(sentence);
    if (!done) return false;
    session->tasks[row] = planned;
    return true;
}

static bool tasks_plan(struct session *session, struct proto_error *error) {
    if (!names_find(session, error)) return false;
    session->tasks = proto_alloc_array(session->name_count, sizeof *session->tasks, error);
    if (!session->tasks) return false;
    for (size_t i = 0; i < session->name_count; i++)
        if (!task_plan(session, session->names[i], error)) return false;
    return true;
}

// ---- the session --------------------------------------------------------------------------------

static bool protocol_set(struct session *session, struct proto_error *error) {
    const struct evaluator_evaluation *asked = session->asked;
    const struct proto_codec *codec = session->facts->codec;
    struct evaluator_results *results = session->results;
    uint32_t horizon = asked->exec_horizon;
    if (horizon == 0)
        horizon = codec->chunk < EXEC_HORIZON_DEFAULT ? codec->chunk : EXEC_HORIZON_DEFAULT;
    if (horizon > codec->chunk)
        return proto_fail(error, PROTO_USAGE,
                          "exec_horizon is %u, the checkpoint predicts %u actions at a time",
                          horizon, codec->chunk);
    if (asked->seed > UINT32_MAX - asked->row_first - asked->row_count)
        return proto_fail(error, PROTO_USAGE,
                          "the seed is %llu; with the start state added it "
                          "must fit 32 bits",
                          (unsigned long long)asked->seed);
    results->seed = asked->seed;
    results->max_steps = asked->max_steps;
    results->exec_horizon = horizon;
    results->settle_steps = asked->settle_steps;
    snprintf(results->mujoco, sizeof results->mujoco, "%s", evaluator_mujoco_version());
    results->step = session->facts->step;
    results->checkpoint_hash = session->facts->checkpoint_hash;
    results->codec_hash = codec->hash;
    results->checkpoint = proto_format(error, "%s", session->facts->weights);
    results->benchmark = results->checkpoint ? proto_format(error, "%s", asked->benchmark) : NULL;
    results->renderer = results->benchmark ? proto_format(error, "none") : NULL;
    return results->renderer &&
           evaluator_assets_hash(&session->libero, asked->benchmark, &results->assets_hash, error);
}

static bool journal_clear(const char *folder, struct proto_error *error) {
    static const char *const names[] = {"episodes.jsonl", "results.json", "videos"};
    for (size_t i = 0; i < PROTO_COUNT(names); i++) {
        char *path = proto_format(error, "%s/%s", folder, names[i]);
        const bool done = path && proto_folder_remove(path, error);
        free(path);
        if (!done) return false;
    }
    return true;
}

static bool session_open(struct session *session, struct proto_error *error) {
    const struct evaluator_evaluation *asked = session->asked;
    const struct evaluator_policy_settings policy = {.checkpoint = asked->checkpoint,
                                                     .raw = asked->raw,
                                                     .device = asked->device,
                                                     .threads = asked->threads,
                                                     .batch = asked->batch,
                                                     .seed = asked->seed};
    if (!evaluator_policy_open(&policy, &session->policy, error)) return false;
    session->facts = evaluator_policy_facts(session->policy);
    if (asked->accept && !asked->accept(asked->context, session->facts, error)) return false;
    if (!evaluator_recording_check(session->facts->codec, error))
        return proto_error_where(error, "%s", session->facts->folder);
    if (!evaluator_suite_find(asked->benchmark, asked->libero, &session->libero, error) ||
        !evaluator_results_new(&session->results, error) || !protocol_set(session, error) ||
        !tasks_plan(session, error))
        return false;
    if (asked->restart && !journal_clear(asked->folder, error)) return false;
    if (evaluator_journal_open(asked->folder, session->results, &session->journal, error))
        return true;
    // the journal's one PROTO_USAGE: its episodes are of something else
    return asked->renew && error->status == PROTO_USAGE && journal_clear(asked->folder, error) &&
           evaluator_journal_open(asked->folder, session->results, &session->journal, error);
}

static void session_close(struct session *session) {
    evaluator_journal_close(&session->journal);
    evaluator_policy_close(&session->policy);
    evaluator_results_free(&session->results);
    free(session->tasks);
    free(session->names);
}

// ---- progress -----------------------------------------------------------------------------------

// Episode i of a task: the policy's first, then those of the controls.
static struct evaluator_episode episode_at(const struct session *session, uint32_t task,
                                           uint32_t i) {
    const struct evaluator_evaluation *asked = session->asked;
    const uint32_t row = asked->row_first + i % asked->row_count;
    return (struct evaluator_episode){.task = task,
                                      .pilot = (enum evaluator_pilot)(i / asked->row_count),
                                      .row = row,
                                      .seed = (uint32_t)asked->seed + row};
}

// What was not trained on has no mean of its training episodes.
static bool applies(const struct session *session, const struct evaluator_episode *episode) {
    return episode->pilot != EVALUATOR_OPEN_LOOP || session->results->tasks[episode->task].seen;
}

static uint32_t episodes_of(const struct session *session) {
    return session->asked->row_count * pilots(session);
}

// Planned episodes and how many of them have an outcome.
static void count(const struct session *session, uint32_t *total, uint32_t *done) {
    *total = *done = 0;
    for (uint32_t t = 0; t < session->results->task_count; t++) {
        if (session->results->tasks[t].reason) continue;
        for (uint32_t i = 0; i < episodes_of(session); i++) {
            const struct evaluator_episode episode = episode_at(session, t, i);
            if (!applies(session, &episode)) continue;
            (*total)++;
            *done += evaluator_results_have(session->results, &episode);
        }
    }
}

static void tell(struct session *session, const struct evaluator_episode *last) {
    const struct evaluator_evaluation *asked = session->asked;
    const struct evaluator_tally tally =
        evaluator_results_tally(session->results, UINT32_MAX, EVALUATOR_POLICY);
    struct evaluator_progress progress = {.successes = tally.successes,
                                          .successes_of = tally.episodes,
                                          .elapsed_s = now_s() - session->start_s,
                                          .left_s = -1,
                                          .last = last,
                                          .task = session->results->tasks[session->task].task};
    if (!asked->progress) return;
    count(session, &progress.total, &progress.done);
    const uint32_t fresh = progress.done - session->begun_done;
    if (fresh > 0) progress.left_s = progress.elapsed_s / fresh * (progress.total - progress.done);
    asked->progress(asked->context, &progress);
}

static void say(const struct session *session, const char *line) {
    if (session->asked->say) session->asked->say(session->asked->context, line);
}

// ---- one task -----------------------------------------------------------------------------------

static bool decide(void *context, const struct evaluator_query *queries, uint32_t query_count,
                   struct proto_error *error) {
    struct session *session = context;
    return evaluator_policy_predict(session->policy, queries, query_count, error);
}

static bool next(void *context, struct evaluator_episode *episode, bool *any,
                 struct proto_error *error) {
    struct session *session = context;
    for (*any = false; session->next < episodes_of(session);) {
        enum evaluator_claim claim;
        *episode = episode_at(session, session->task, session->next++);
        if (!applies(session, episode)) continue;
        if (!evaluator_journal_claim(session->journal, episode, &claim, error)) return false;
        if (claim != EVALUATOR_MINE) continue;
        *any = true;
        return true;
    }
    return true;
}

static bool done_one(void *context, const struct evaluator_episode *episode,
                     struct proto_error *error) {
    struct session *session = context;
    if (!evaluator_journal_record(session->journal, episode, error)) return false;
    tell(session, episode);
    return true;
}

static bool stop(void *context) {
    const struct session *session = context;
    return session->asked->stop && session->asked->stop(session->asked->context);
}

static bool renderer_note(struct session *session, const struct evaluator_simulation *simulation,
                          struct proto_error *error) {
    char *renderer = proto_format(error, "%s", evaluator_simulation_renderer(simulation));
    if (!renderer) return false;
    free(session->results->renderer);
    session->results->renderer = renderer;
    return true;
}

static bool fly(struct session *session, struct evaluator_simulation *simulation,
                struct proto_error *error) {
    const struct evaluator_evaluation *asked = session->asked;
    const struct evaluator_results_task *task = &session->results->tasks[session->task];
    const uint32_t policy_task = session->tasks[session->task].policy_task;
    struct evaluator_audience *audience = NULL;
    if (asked->cinema &&
        !asked->cinema->enter(asked->cinema->context, task, simulation, &audience, error))
        return false;
    const struct evaluator_rollout rollout = {
        .codec = session->facts->codec,
        .task = task->task,
        .policy_task = policy_task,
        .environments = asked->environments,
        .max_steps = asked->max_steps,
        .exec_horizon = session->results->exec_horizon,
        .settle_steps = asked->settle_steps,
        .simulator = evaluator_simulation_table(simulation),
        .audience = audience,
        .open_loop = session->facts->open_loop,
        .open_loop_task = evaluator_policy_task_at(session->policy, policy_task)->rows,
        .context = session,
        .decide = decide,
        .next = next,
        .done = done_one,
        .stop = stop,
    };
    session->next = 0;
    const bool done = evaluator_rollout_run(&rollout, error);
    if (asked->cinema) asked->cinema->leave(asked->cinema->context);
    return done;
}

// Whether this process has anything to do for the task: a world takes a second to open.
static bool task_open_work(const struct session *session) {
    for (uint32_t i = 0; i < episodes_of(session); i++) {
        const struct evaluator_episode episode = episode_at(session, session->task, i);
        if (applies(session, &episode) && !evaluator_results_have(session->results, &episode))
            return true;
    }
    return false;
}

static bool task_run(struct session *session, struct proto_error *error) {
    const struct evaluator_evaluation *asked = session->asked;
    struct evaluator_results_task *task = &session->results->tasks[session->task];
    const struct planned *planned = &session->tasks[session->task];
    struct evaluator_simulation *simulation = NULL;
    if (task->reason || !task_open_work(session)) return true;
    const struct evaluator_simulation_settings settings = {
        .libero = &session->libero,
        .bddl_path = planned->bddl,
        .init_path = planned->init,
        .codec = session->facts->codec,
        .environments =
            asked->environments < episodes_of(session) ? asked->environments : episodes_of(session),
        .render = asked->render,
        .pictures = true,
    };
    bool done = evaluator_simulation_open(&settings, &simulation, error);
    if (done) {
        done = renderer_note(session, simulation, error) && fly(session, simulation, error);
        evaluator_simulation_close(&simulation);
        return done || (error->where[0] ? false : proto_error_where(error, "%s", task->task));
    }
    // a scene that cannot be made is this task's reason; a missing GL is everybody's
    if (error->status != PROTO_REFUSED && error->status != PROTO_DAMAGED) return false;
    task->reason =
        proto_format(error, "%s%s%s", error->where, error->where[0] ? ": " : "", error->text);
    return task->reason != NULL;
}

static bool finish(struct session *session, bool *complete, struct proto_error *error) {
    uint32_t total, done;
    char *path = NULL;
    if (!evaluator_journal_refresh(session->journal, error)) return false;
    count(session, &total, &done);
    *complete = done == total;
    if (!*complete) return true;
    path = proto_format(error, "%s/results.json", session->asked->folder);
    const bool written = path && evaluator_results_write(path, session->results, error);
    free(path);
    return written;
}

static bool run_all(struct session *session, bool *complete, struct proto_error *error) {
    char line[256];
    uint32_t total, done;
    count(session, &total, &done);
    session->begun_done = done;
    session->start_s = now_s();
    snprintf(line, sizeof line, "%u of %u episodes are still to do", total - done, total);
    say(session, line);
    if (done < total && !evaluator_policy_start(session->policy, error)) return false;
    for (session->task = 0; session->task < session->results->task_count; session->task++)
        if (!task_run(session, error)) return false;
    return finish(session, complete, error);
}

bool evaluator_evaluation_run(const struct evaluator_evaluation *evaluation,
                              struct evaluator_results **results, bool *complete,
                              struct proto_error *error) {
    struct session session = {.asked = evaluation};
    *complete = false;
    const bool done = session_open(&session, error) && run_all(&session, complete, error);
    if (done) {
        *results = session.results;
        session.results = NULL;
    }
    session_close(&session);
    return done;
}
