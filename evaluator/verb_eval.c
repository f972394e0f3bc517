// evaluator/verb_eval.c - `eval`: rolls out a checkpoint; `eval diff` compares two results, `eval
// merge` joins parts of one.
#include "evaluator/evaluation.h"
#include "evaluator/verb.h"
#include "evaluator/video.h"

#include "proto/files.h"
#include "proto/link.h"
#include "proto/words.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The words of the command line, as texts; numbers are made of them below.
struct words {
    const char *checkpoint, *pretrained, *benchmark, *num_tasks, *rows, *episodes, *max_steps;
    const char *exec_horizon, *settle_steps, *seed, *environments, *output_dir, *video_output_dir;
    const char *device, *threads, *batch, *render, *libero, *text_encoder, *vision_encoder, *config;
    const char *videos, *at_least, *controls_at_most;
    struct proto_texts tasks;
    bool record_video, controls, raw, restart, json;
};

struct eval {
    const struct words *words;
    struct proto_link *link;
    bool terminal;
};

static bool number(const char *option, const char *text, uint64_t min, uint64_t max,
                   uint64_t otherwise, uint64_t *out, struct proto_error *error) {
    *out = otherwise;
    if (!text) return true;
    if (!proto_words_number(option, text, max, out, error)) return false;
    return *out >= min || proto_fail(error, PROTO_USAGE, "%s is %s, must be at least %llu", option,
                                     text, (unsigned long long)min);
}

static bool number32(const char *option, const char *text, uint32_t min, uint32_t max,
                     uint32_t otherwise, uint32_t *out, struct proto_error *error) {
    uint64_t value;
    if (!number(option, text, min, max, otherwise, &value, error)) return false;
    *out = (uint32_t)value;
    return true;
}

// "10:30": start states 10 .. 29.
static bool rows_read(const struct words *words, struct evaluator_evaluation *evaluation,
                      struct proto_error *error) {
    char first[16] = "";
    uint64_t from, to;
    if (!number32("--episodes_per_task", words->episodes, 1, 100000, 20, &evaluation->row_count,
                  error))
        return false;
    evaluation->row_first = EVALUATOR_SELECTION_ROWS;
    if (!words->rows) return true;
    const size_t length = strcspn(words->rows, ":");
    if (words->rows[length] != ':' || length >= sizeof first)
        return proto_fail(error, PROTO_USAGE, "--rows is \"%.40s\", must be like 10:30",
                          words->rows);
    memcpy(first, words->rows, length);
    if (!proto_words_number("--rows, first", first, 1000000, &from, error) ||
        !proto_words_number("--rows, end", words->rows + length + 1, 1000000, &to, error))
        return false;
    if (to <= from)
        return proto_fail(error, PROTO_USAGE, "--rows is %s: the end must be behind the first",
                          words->rows);
    evaluation->row_first = (uint32_t)from;
    evaluation->row_count = (uint32_t)(to - from);
    return true;
}

// What makes the difference between exit codes 0 and 1; UINT32_MAX: nothing is asked.
static bool limits_read(const struct words *words, uint32_t *policy_min, uint32_t *control_max,
                        struct proto_error *error) {
    const uint32_t most = EVALUATOR_EPISODES_MAX, none = UINT32_MAX;
    if (words->controls_at_most && !words->controls)
        return proto_fail(error, PROTO_USAGE, "--controls_at_most needs --controls");
    return number32("--at_least", words->at_least, 0, most, none, policy_min, error) &&
           number32("--controls_at_most", words->controls_at_most, 0, most, none, control_max,
                    error);
}

// Beside the checkpoint, under its name: eval/<name>-by-hand.
static char *folder_default(const char *checkpoint, struct proto_error *error) {
    char *whole = realpath(checkpoint, NULL);
    if (!whole) {
        proto_fail_errno(error, PROTO_USAGE, "there is no such checkpoint");
        proto_error_where(error, "%s", checkpoint);
        return NULL;
    }
    char *slash = strrchr(whole, '/');
    *slash = '\0';
    char *folder = proto_format(error, "%s/eval/%s-by-hand", whole, slash + 1);
    free(whole);
    return folder;
}

static bool numbers_read(const struct words *words, struct evaluator_evaluation *e,
                         struct proto_error *error) {
    return number32("--max_steps", words->max_steps, 1, 100000, 200, &e->max_steps, error) &&
           number32("--exec_horizon", words->exec_horizon, 1, 256, 0, &e->exec_horizon, error) &&
           number32("--settle_steps", words->settle_steps, 0, 1000, 10, &e->settle_steps, error) &&
           number32("--environments", words->environments, 1, 1024, 8, &e->environments, error) &&
           number32("--threads", words->threads, 1, 1024, 0, &e->threads, error) &&
           number32("--batch", words->batch, 1, EVALUATOR_POLICY_BATCH_MAX, 0, &e->batch, error) &&
           number("--seed", words->seed, 0, UINT32_MAX, 0, &e->seed, error) &&
           rows_read(words, e, error);
}

// ---- what the run says --------------------------------------------------------------------------

static void say(void *context, const char *line) {
    (void)context;
    fprintf(stderr, "%s\n", line);
}

static void progress(void *context, const struct evaluator_progress *now) {
    const struct eval *eval = context;
    char left[32] = "";
    if (now->left_s >= 0)
        snprintf(left, sizeof left, ", %d:%02d left", (int)now->left_s / 60, (int)now->left_s % 60);
    fprintf(stderr, "%s%u/%u episodes, policy %u/%u%s  %s %s from %u: %s after %u steps%s",
            eval->terminal ? "\r\033[K" : "", now->done, now->total, now->successes,
            now->successes_of, left, now->task, evaluator_pilot_names[now->last->pilot],
            now->last->row, now->last->success ? "success" : "no success", now->last->steps,
            eval->terminal ? "" : "\n");
    if (now->last->note[0] != '\0')
        fprintf(stderr, "%s  %s\n", eval->terminal ? "\n" : "", now->last->note);
}

static bool stop(void *context) {
    const struct eval *eval = context;
    return proto_link_stop(eval->link) != PROTO_GO_ON;
}

// What the checkpoint knows already is compared with what was said. "google/t5-v1_1-xxl" is t5.
static bool encoder_is(const char *option, const char *said, const char *own,
                       struct proto_error *error) {
    const char *slash = said ? strrchr(said, '/') : NULL;
    const char *name = slash ? slash + 1 : said;
    if (!said || strncmp(name, own, strlen(own)) == 0) return true;
    return proto_fail(error, PROTO_USAGE,
                      "%s is %.100s, the checkpoint was trained with %s: leave the option out",
                      option, said, own);
}

static bool accept(void *context, const struct evaluator_policy_facts *facts,
                   struct proto_error *error) {
    const struct eval *eval = context;
    fprintf(
        stderr, "%s (step %" PRIu64 "), %u task%s trained on, chunk %u, %u camera%s, history %u\n",
        facts->weights, facts->step, facts->codec->task_count,
        facts->codec->task_count == 1 ? "" : "s", facts->codec->chunk, facts->codec->camera_count,
        facts->codec->camera_count == 1 ? "" : "s", facts->codec->history);
    if (eval->words->config)
        fprintf(stderr, "--config %s is noted: the checkpoint has its own configuration\n",
                eval->words->config);
    return encoder_is("--text_encoder", eval->words->text_encoder, facts->language, error) &&
           encoder_is("--vision_encoder", eval->words->vision_encoder, facts->vision, error);
}

// ---- eval ---------------------------------------------------------------------------------------

static bool outcome(const struct words *words, const struct evaluator_results *results,
                    const char *folder, struct proto_error *error) {
    uint32_t lacking = 0;
    for (uint32_t t = 0; t < results->task_count; t++) lacking += results->tasks[t].reason != NULL;
    if (words->json) {
        json_t *json = evaluator_results_json(results);
        const bool printed = json && json_dumpf(json, stdout, JSON_INDENT(2)) == 0;
        json_decref(json);
        if (!printed) return proto_fail(error, PROTO_FAILED, "stdout cannot be written");
        printf("\n");
    } else {
        evaluator_results_table(results, stdout);
        printf("results: %s/results.json\n", folder);
    }
    if (fflush(stdout) != 0) return proto_fail_errno(error, PROTO_FAILED, "stdout");
    if (lacking > 0)
        return proto_fail(error, PROTO_FAILED, "%u of %u tasks were not evaluated", lacking,
                          results->task_count);
    uint32_t policy_min, control_max;
    return limits_read(words, &policy_min, &control_max, error) &&
           evaluator_results_prove(results, policy_min, control_max, error);
}

static bool eval_run(const struct words *words, struct eval *eval,
                     struct evaluator_evaluation *evaluation, struct proto_error *error) {
    struct evaluator_results *results = NULL;
    struct evaluator_video *video = NULL;
    struct evaluator_cinema cinema;
    char *videos = NULL;
    bool complete = false, done = true;
    uint32_t video_count, policy_min, control_max;
    if (!limits_read(words, &policy_min, &control_max, error)) return false;
    if (!number32("--videos", words->videos, 1, 100000, 1, &video_count, error)) return false;
    if (words->record_video) {
        videos = words->video_output_dir ? proto_format(error, "%s", words->video_output_dir)
                                         : proto_format(error, "%s/videos", evaluation->folder);
        const struct evaluator_video_settings settings = {.folder = videos,
                                                          .render = evaluation->render,
                                                          .episodes = video_count,
                                                          .row_first = evaluation->row_first};
        done = videos && evaluator_video_open(&settings, &video, error);
        if (done) {
            cinema = evaluator_video_cinema(video);
            evaluation->cinema = &cinema;
        }
    }
    done = done && evaluator_evaluation_run(evaluation, &results, &complete, error);
    if (eval->terminal) fprintf(stderr, "\n");
    if (done && complete)
        done = outcome(words, results, evaluation->folder, error);
    else if (done)
        fprintf(stderr, "the other episodes are still with another process, which will write %s\n",
                evaluation->folder);
    if (video && done) printf("videos: %s\n", videos);
    evaluator_video_close(&video);
    evaluator_results_free(&results);
    free(videos);
    return done;
}

static bool tasks_read(const struct words *words, char first[static 32], const char **only,
                       struct evaluator_evaluation *evaluation, struct proto_error *error) {
    uint64_t count;
    evaluation->tasks = words->tasks.items;
    evaluation->task_count = words->tasks.count;
    if (words->num_tasks) {
        if (words->tasks.count > 0)
            return proto_fail(error, PROTO_USAGE, "--num_tasks and --tasks: give one of them");
        if (!number("--num_tasks", words->num_tasks, 1, 1000, 0, &count, error)) return false;
        snprintf(first, 32, "first:%" PRIu64, count);
        *only = first;
    } else if (words->tasks.count == 0) {
        *only = "trained";
    }
    if (*only) {
        evaluation->tasks = only;
        evaluation->task_count = 1;
    }
    return true;
}

static bool eval_do(const struct words *words, struct proto_error *error) {
    const char *checkpoint = words->checkpoint ? words->checkpoint : words->pretrained;
    const char *only = NULL;
    char first[32], *folder = NULL;
    struct eval eval = {.words = words, .terminal = isatty(STDERR_FILENO) == 1};
    struct evaluator_evaluation evaluation = {
        .checkpoint = checkpoint,
        .restart = words->restart,
        .libero = words->libero,
        .benchmark = words->benchmark,
        .controls = words->controls,
        .raw = words->raw,
        .device = words->device,
        .render = words->render,
        .context = &eval,
        .say = say,
        .progress = progress,
        .stop = stop,
        .accept = accept,
    };
    if (!checkpoint)
        return proto_fail(error, PROTO_USAGE,
                          "--checkpoint is needed: a folder, or a .safetensors");
    if (words->checkpoint && words->pretrained && strcmp(checkpoint, words->pretrained) != 0)
        return proto_fail(error, PROTO_USAGE, "--checkpoint and --pretrained name two checkpoints");
    if (!numbers_read(words, &evaluation, error) ||
        !tasks_read(words, first, &only, &evaluation, error))
        return false;
    folder = words->output_dir ? proto_format(error, "%s", words->output_dir)
                               : folder_default(checkpoint, error);
    bool done = folder && proto_link_open("evaluator", 0, &eval.link, error);
    evaluation.folder = folder;
    if (done) {
        done = eval_run(words, &eval, &evaluation, error);
        // what is finished is kept: the same command goes on
        const int signal = proto_link_signal(eval.link);
        if (!done && error->status == PROTO_RESUMABLE && signal > 0)
            error->status = (enum proto_status)(128 + signal);
    }
    proto_link_close(&eval.link);
    free(folder);
    return done;
}

// ---- diff and merge -----------------------------------------------------------------------------

static bool diff(const char *const *files, size_t count, struct proto_error *error) {
    struct evaluator_results *a = NULL, *b = NULL;
    if (count != 2) return proto_fail(error, PROTO_USAGE, "eval diff takes two results.json");
    bool done =
        evaluator_results_read(files[0], &a, error) && evaluator_results_read(files[1], &b, error);
    if (done)
        done = evaluator_results_diff(a, b, stdout, error) ||
               proto_error_where(error, "%s, %s", files[0], files[1]);
    evaluator_results_free(&a);
    evaluator_results_free(&b);
    return done;
}

static bool merge(const char *out, const char *const *files, size_t count,
                  struct proto_error *error) {
    struct evaluator_results *whole = NULL, *part = NULL;
    if (count == 0 || !out)
        return proto_fail(error, PROTO_USAGE, "eval merge takes results.json files and -o FILE");
    bool done = evaluator_results_read(files[0], &whole, error);
    for (size_t i = 1; done && i < count; i++) {
        done = evaluator_results_read(files[i], &part, error) &&
               (evaluator_results_merge(whole, part, error) ||
                proto_error_where(error, "%s", files[i]));
        evaluator_results_free(&part);
    }
    done = done && evaluator_results_write(out, whole, error);
    if (done) evaluator_results_table(whole, stdout);
    evaluator_results_free(&whole);
    return done;
}

// ---- words --------------------------------------------------------------------------------------

// "--tasks a,b" is "--tasks a --tasks b". The texts lie in `copy`.
static bool tasks_split(struct proto_texts *tasks, char **copy, struct proto_error *error) {
    size_t size = 1, count = 0;
    for (size_t i = 0; i < tasks->count; i++) size += strlen(tasks->items[i]) + 1;
    *copy = proto_alloc(size, error);
    const char **items = *copy ? proto_alloc_array(size, sizeof *items, error) : NULL;
    if (!items) return false;
    char *at = *copy;
    for (size_t i = 0; i < tasks->count; i++)
        for (const char *word = tasks->items[i]; *word != '\0';) {
            const size_t length = strcspn(word, ",");
            if (length > 0) {
                memcpy(at, word, length);
                items[count++] = at;
                at += length + 1;
            }
            word += length + (word[length] == ',');
        }
    tasks->items = items;
    tasks->count = count;
    return true;
}

static bool eval_words(int argc, char **argv, struct proto_error *error) {
    struct words w = {.benchmark = "libero_90", .device = "cpu", .render = "auto", .libero = ""};
    const struct proto_word options[] = {
        {"--checkpoint", PROTO_WORD_TEXT, &w.checkpoint},
        {"--pretrained", PROTO_WORD_TEXT, &w.pretrained},
        {"--benchmark", PROTO_WORD_TEXT, &w.benchmark},
        {"--num_tasks", PROTO_WORD_TEXT, &w.num_tasks},
        {"--tasks", PROTO_WORD_TEXTS, &w.tasks},
        {"--task", PROTO_WORD_TEXTS, &w.tasks},
        {"--rows", PROTO_WORD_TEXT, &w.rows},
        {"--episodes_per_task", PROTO_WORD_TEXT, &w.episodes},
        {"--max_steps", PROTO_WORD_TEXT, &w.max_steps},
        {"--exec_horizon", PROTO_WORD_TEXT, &w.exec_horizon},
        {"--settle_steps", PROTO_WORD_TEXT, &w.settle_steps},
        {"--seed", PROTO_WORD_TEXT, &w.seed},
        {"--environments", PROTO_WORD_TEXT, &w.environments},
        {"--output_dir", PROTO_WORD_TEXT, &w.output_dir},
        {"-o", PROTO_WORD_TEXT, &w.output_dir},
        {"--record_video", PROTO_WORD_FLAG, &w.record_video},
        {"--video_output_dir", PROTO_WORD_TEXT, &w.video_output_dir},
        {"--videos", PROTO_WORD_TEXT, &w.videos},
        {"--controls", PROTO_WORD_FLAG, &w.controls},
        {"--at_least", PROTO_WORD_TEXT, &w.at_least},
        {"--controls_at_most", PROTO_WORD_TEXT, &w.controls_at_most},
        {"--raw", PROTO_WORD_FLAG, &w.raw},
        {"--restart", PROTO_WORD_FLAG, &w.restart},
        {"--json", PROTO_WORD_FLAG, &w.json},
        {"--device", PROTO_WORD_TEXT, &w.device},
        {"--threads", PROTO_WORD_TEXT, &w.threads},
        {"--batch", PROTO_WORD_TEXT, &w.batch},
        {"--render", PROTO_WORD_TEXT, &w.render},
        {"--libero", PROTO_WORD_TEXT, &w.libero},
        {"--text_encoder", PROTO_WORD_TEXT, &w.text_encoder},
        {"--vision_encoder", PROTO_WORD_TEXT, &w.vision_encoder},
        {"--config", PROTO_WORD_TEXT, &w.config},
    };
    const size_t words = (size_t)argc;
    const char **rest = proto_alloc_array(words, sizeof *rest, error);
    const char **given = rest ? proto_alloc_array(words, sizeof *given, error) : NULL;
    size_t rest_count = 0;
    char *copy = NULL;
    w.tasks.items = given;
    bool done = given && proto_words_read(argc, argv, options, PROTO_COUNT(options), rest, words,
                                          &rest_count, error);
    if (done && rest_count > 0) {
        if (strcmp(rest[0], "diff") == 0)
            done = diff(rest + 1, rest_count - 1, error);
        else if (strcmp(rest[0], "merge") == 0)
            done = merge(w.output_dir, rest + 1, rest_count - 1, error);
        else
            done =
                proto_fail(error, PROTO_USAGE, "eval knows diff and merge, not \"%.60s\"", rest[0]);
    } else if (done) {
        done = tasks_split(&w.tasks, &copy, error) && eval_do(&w, error);
        if (w.tasks.items != given) free(w.tasks.items);
    }
    free(copy);
    free(given);
    free(rest);
    return done;
}

int evaluator_verb_eval(int argc, char **argv) {
    struct proto_error error = {0};
    if (eval_words(argc, argv, &error)) return PROTO_DONE;
    return proto_error_print("pipeline eval", &error);
}
