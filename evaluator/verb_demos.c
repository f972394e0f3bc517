// evaluator/verb_demos.c - `demos`: a scripted expert makes demonstrations of a task, in a file as
// LIBERO's own.
#include "evaluator/recorder.h"
#include "evaluator/suite.h"
#include "evaluator/verb.h"

#include "proto/files.h"
#include "proto/link.h"
#include "proto/nearest.h"
#include "proto/words.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWN_ROWS "100:"  // of `demo`: EVALUATOR_SUITE_DEMOS_ROW and on
enum { EPISODES_MAX = 100000, BDDL_BYTES_MAX = 1 << 20, SIDE_MAX = 1024 };

struct demos {
    const char *task, *episodes, *out, *rows, *seed, *noise, *size, *render, *libero;
    bool list;
    uint64_t episode_count, first_row, end_row, first_seed, side;
    bool rows_given;
    double noise_sd;
    const struct evaluator_expert_task *expert;
    const struct evaluator_task *known;
};

// What is open during the work.
struct session {
    struct evaluator_libero *libero;
    struct evaluator_rows rows;
    struct evaluator_world *world;
    struct evaluator_env *env;
    struct evaluator_camera *camera;
    struct evaluator_recorder *recorder;
    struct evaluator_demos_file *file;
    struct proto_link *link;  // for its signals
    char bddl[EVALUATOR_PATH_MAX];
    uint32_t kept, failed;
    uint64_t steps;
    bool interrupted;
};

static void session_close(struct session *session) {
    evaluator_demos_file_abandon(&session->file);
    evaluator_recorder_free(&session->recorder);
    evaluator_camera_close(&session->camera);
    evaluator_env_free(&session->env);
    evaluator_world_close(&session->world);
    evaluator_rows_free(&session->rows);
    proto_link_close(&session->link);
    free(session->libero);
}

// ---- the command line ---------------------------------------------------------------------------

static bool noise_read(struct demos *demos, struct proto_error *error) {
    char *end = NULL;
    demos->noise_sd = demos->expert->noise;
    if (!demos->noise) return true;
    demos->noise_sd = strtod(demos->noise, &end);
    if (end != demos->noise && *end == '\0' && demos->noise_sd >= 0 && demos->noise_sd <= 1)
        return true;
    return proto_fail(error, PROTO_USAGE, "--noise is \"%.40s\", must be 0..1, of a full command",
                      demos->noise);
}

// "30:50": rows 30..49. Either side may be missing.
static bool rows_read(struct demos *demos, struct proto_error *error) {
    char first[16] = "";
    const bool own = strcmp(demos->known->suite, EVALUATOR_SUITE) == 0;
    const char *text = demos->rows ? demos->rows : own ? OWN_ROWS : "30:";
    const size_t length = strcspn(text, ":");
    demos->rows_given = demos->rows != NULL;
    if (text[length] != ':' || length >= sizeof first)
        return proto_fail(error, PROTO_USAGE, "--rows is \"%.40s\", must be like 30:50", text);
    memcpy(first, text, length);
    const char *last = text + length + 1;
    return proto_words_number("--rows, first", length > 0 ? first : "0", UINT32_MAX,
                              &demos->first_row, error) &&
           proto_words_number("--rows, end", *last != '\0' ? last : "4294967295", UINT32_MAX,
                              &demos->end_row, error);
}

static bool task_refuse(const struct demos *demos, struct proto_error *error) {
    char names[512] = "";
    size_t used = 0, count;
    struct proto_nearest nearest = {.wrong = demos->task};
    const struct evaluator_expert_task *tasks = evaluator_expert_suite_tasks(&count);
    for (size_t k = 0; k < count; k++) proto_nearest_offer(&nearest, tasks[k].name);
    tasks = evaluator_expert_tasks(&count);
    for (size_t k = 0; k < count; k++) proto_nearest_offer(&nearest, tasks[k].name);
    size_t i = 0;
    for (; i < count && used + strlen(tasks[i].name) + 8 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i > 0 ? ", " : "",
                                 tasks[i].name);
    return proto_fail(error, PROTO_USAGE, "no expert for %.60s%s%s; there are: %s%s", demos->task,
                      nearest.best ? "; nearest known: " : "", nearest.best ? nearest.best : "",
                      names, i < count ? " and more, see --list" : "");
}

static bool demos_check(struct demos *demos, struct proto_error *error) {
    if (!demos->task)
        return proto_fail(error, PROTO_USAGE, "demos needs --task NAME; --list has the names");
    if (!demos->out) return proto_fail(error, PROTO_USAGE, "demos needs -o FILE");
    demos->expert = evaluator_expert_find(demos->task);
    if (!demos->expert) return task_refuse(demos, error);
    const char *nearest = NULL;
    demos->known = evaluator_task_find(NULL, demos->task, &nearest);
    if (!demos->known)
        return proto_fail(error, PROTO_FAILED, "%s is no task that is known", demos->task);
    if (!demos->size)
        demos->size = strcmp(demos->known->suite, EVALUATOR_SUITE) == 0 ? "64" : "128";
    if (!proto_words_number("--episodes", demos->episodes, EPISODES_MAX, &demos->episode_count,
                            error) ||
        !proto_words_number("--seed", demos->seed, UINT32_MAX, &demos->first_seed, error) ||
        !proto_words_number("--size", demos->size, SIDE_MAX, &demos->side, error) ||
        !rows_read(demos, error) || !noise_read(demos, error))
        return false;
    if (demos->episode_count == 0 || demos->side == 0)
        return proto_fail(error, PROTO_USAGE, "--episodes and --size must be at least 1");
    return true;
}

static int list_print(void) {
    size_t count;
    const struct evaluator_expert_task *tasks = evaluator_expert_suite_tasks(&count);
    for (size_t i = 0; i < count; i++) printf("%s\n", tasks[i].name);
    tasks = evaluator_expert_tasks(&count);
    for (size_t i = 0; i < count; i++) printf("%s\n", tasks[i].name);
    return fflush(stdout) == 0 ? PROTO_DONE : PROTO_FAILED;
}

// ---- the work -----------------------------------------------------------------------------------

// Rows that are there, against rows that are asked for.
static bool rows_open(struct demos *demos, struct session *session, struct proto_error *error) {
    if (!evaluator_suite_rows(session->libero, demos->known, session->world, &session->rows, error))
        return false;
    const uint32_t count = session->rows.count;
    if (demos->end_row == UINT32_MAX) demos->end_row = count;
    if (!demos->rows_given && demos->first_row >= count) demos->first_row = 0;
    if (demos->first_row < demos->end_row && demos->end_row <= count) return true;
    proto_fail(error, PROTO_USAGE, "--rows is %llu:%llu, the task has rows 0:%u",
               (unsigned long long)demos->first_row, (unsigned long long)demos->end_row, count);
    return proto_error_where(error, "%s", demos->task);
}

static bool file_create(const struct demos *demos, struct session *session,
                        struct proto_error *error) {
    const struct evaluator_bddl *bddl = evaluator_world_scene(session->world)->bddl;
    char name[512], *content = NULL;
    size_t size;
    snprintf(name, sizeof name, "bddl_files/%s/%s.bddl", demos->known->suite, demos->known->name);
    if (!proto_file_read(session->bddl, BDDL_BYTES_MAX, PROTO_MISSING, &content, &size, error))
        return false;
    const struct evaluator_demos_about about = {
        .problem = bddl->problem,
        .language = bddl->language,
        .bddl_name = name,
        .bddl_content = content,
        .state_width = evaluator_world_state_width(session->world),
        .height = (uint32_t)demos->side,
        .width = (uint32_t)demos->side,
    };
    const bool done = evaluator_demos_file_create(demos->out, &about, &session->file, error);
    free(content);
    return done;
}

// SIGINT or SIGTERM: what was made so far is kept.
static bool interrupted(void *context) {
    const struct session *session = context;
    return proto_link_stop(session->link) != PROTO_GO_ON;
}

static bool session_open(struct demos *demos, struct session *session, struct proto_error *error) {
    const uint32_t side = (uint32_t)demos->side;
    session->libero = proto_alloc(sizeof *session->libero, error);
    if (!session->libero ||
        !evaluator_suite_find(demos->known->suite, demos->libero, session->libero, error))
        return false;
    if (snprintf(session->bddl, sizeof session->bddl, "%s/%s/%s.bddl", session->libero->bddl_files,
                 demos->known->suite, demos->known->name) >= (int)sizeof session->bddl)
        return proto_fail(error, PROTO_USAGE, "the path of LIBERO's files is too long");
    if (!evaluator_world_open(session->libero, session->bddl, 0, &session->world, error) ||
        !rows_open(demos, session, error) ||
        !evaluator_env_new(session->world, &session->env, error) ||
        !evaluator_camera_open(session->world, demos->render, side, side, &session->camera, error))
        return false;
    printf("drawn by %s\n", evaluator_camera_renderer(session->camera));
    fflush(stdout);
    const struct evaluator_recorder_settings settings = {
        .world = session->world,
        .env = session->env,
        .camera = session->camera,
        .height = side,
        .width = side,
        .task = demos->expert,
        .noise = demos->noise_sd,
        .stop = interrupted,
        .context = session,
    };
    return evaluator_recorder_new(&settings, &session->recorder, error) &&
           file_create(demos, session, error);
}

// The n-th attempt: rows in turn, another seed each.
static bool attempt_make(const struct demos *demos, struct session *session, uint64_t n,
                         struct proto_error *error) {
    const uint64_t row = demos->first_row + n % (demos->end_row - demos->first_row);
    const uint32_t seed = (uint32_t)(demos->first_seed + n);
    struct evaluator_attempt attempt;
    if (!evaluator_recorder_run(session->recorder, session->rows.values + row * session->rows.width,
                                session->rows.width, seed, &attempt, error))
        return proto_error_where(error, "row %llu", (unsigned long long)row);
    session->interrupted = attempt.stopped;
    if (attempt.stopped) return true;
    if (!attempt.success) {
        session->failed++;
        printf("row %llu seed %u: FAILED, not kept: %s\n", (unsigned long long)row, seed,
               attempt.why);
    } else {
        attempt.demo.init_row = (int64_t)row;
        if (!evaluator_demos_file_append(session->file, &attempt.demo, error)) return false;
        session->kept++;
        session->steps += attempt.demo.steps;
        printf("row %llu seed %u: solved after step %u, %u steps (%u of %llu)\n",
               (unsigned long long)row, seed, attempt.success_step, attempt.demo.steps,
               session->kept, (unsigned long long)demos->episode_count);
    }
    fflush(stdout);
    return true;
}

// Attempts until enough are kept; twice as many as wanted, and some, are too many.
static bool attempts_make(const struct demos *demos, struct session *session,
                          struct proto_error *error) {
    const uint64_t attempts_max = 2 * demos->episode_count + 10;
    for (uint64_t n = 0; n < attempts_max && session->kept < demos->episode_count; n++) {
        if (!attempt_make(demos, session, n, error)) return false;
        if (session->interrupted) break;
    }
    return true;
}

static bool demos_run(struct demos *demos, struct session *session, struct proto_error *error) {
    if (!demos_check(demos, error)) return false;
    if (!proto_link_open("evaluator", 0, &session->link, error)) return false;
    if (!session_open(demos, session, error) || !attempts_make(demos, session, error)) return false;
    if (session->kept > 0 && !evaluator_demos_file_finish(&session->file, error)) return false;
    const uint32_t attempts = session->kept + session->failed;
    printf("%u of %u attempts solved (%.0f %%), %u failed; %u episodes, %llu steps%s%s\n",
           session->kept, attempts, attempts > 0 ? 100.0 * session->kept / attempts : 0.0,
           session->failed, session->kept, (unsigned long long)session->steps,
           session->kept > 0 ? ": " : "", session->kept > 0 ? demos->out : "");
    if (fflush(stdout) != 0)
        return proto_fail_errno(error, PROTO_FAILED, "stdout cannot be written");
    if (session->interrupted)
        return proto_fail(error, (enum proto_status)(128 + proto_link_signal(session->link)),
                          "interrupted; kept %u of %llu episodes", session->kept,
                          (unsigned long long)demos->episode_count);
    return session->kept >= demos->episode_count ||
           proto_fail(error, PROTO_FAILED, "only %u of %llu episodes after %u attempts",
                      session->kept, (unsigned long long)demos->episode_count, attempts);
}

int evaluator_verb_demos(int argc, char **argv) {
    struct demos demos = {.episodes = "20", .seed = "0", .render = "auto"};
    const struct proto_word options[] = {
        {"--task", PROTO_WORD_TEXT, &demos.task},
        {"--episodes", PROTO_WORD_TEXT, &demos.episodes},
        {"-o", PROTO_WORD_TEXT, &demos.out},
        {"--out", PROTO_WORD_TEXT, &demos.out},
        {"--rows", PROTO_WORD_TEXT, &demos.rows},
        {"--seed", PROTO_WORD_TEXT, &demos.seed},
        {"--noise", PROTO_WORD_TEXT, &demos.noise},
        {"--size", PROTO_WORD_TEXT, &demos.size},
        {"--render", PROTO_WORD_TEXT, &demos.render},
        {"--libero", PROTO_WORD_TEXT, &demos.libero},
        {"--list", PROTO_WORD_FLAG, &demos.list},
    };
    size_t rest_count;
    struct proto_error error = {0};
    struct session session = {.kept = 0};
    if (!proto_words_read(argc, argv, options, PROTO_COUNT(options), NULL, 0, &rest_count, &error))
        return proto_error_print("pipeline demos", &error);
    if (demos.list) return list_print();
    const bool done = demos_run(&demos, &session, &error);
    session_close(&session);
    return done ? PROTO_DONE : proto_error_print("pipeline demos", &error);
}
