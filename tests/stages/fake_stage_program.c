// tests/stages/fake_stage_program.c - a stage that speaks the link and does what a test tells it:
// to work, to die, to hang, to crash at a place of the data, to fail with a status.
//
// Tests put it into a folder under the names of the real programs. What it does in each life is the
// next line of RUN/fake/<stage>-<number>, taken away as it begins; without a line it works until it
// is told to stop. A trainer is finished after as many steps as RUN/fake/steps says, counted over
// all lives in RUN/fake/step, its "checkpoint". Lines:
//   signal N TICKS   raises signal N after so many ticks of work
//   place N TEXT     notes TEXT as the place in the data, then raises signal N
//   exit N           leaves with that code
//   fail N TEXT      says that it failed with that status, leaves with it
//   silent           stops itself (SIGSTOP), so that even its link's thread is still
//   stuck            lives, works on nothing
//   hungry           works and never gets to its checkpoint; leaves only when it must now
//   deaf             works and obeys nothing but a closed line
//   child            starts a process of its own that never ends, then works
//   slow             an evaluator: never comes to the end of an evaluation
//   leave            an evaluator: leaves with 0 whatever is left to do
// A trainer writes RUN/checkpoint-<step> every RUN/fake/period steps (none without that file) and
// says so. An evaluator "evaluates" what is there, one checkpoint in a few ticks, as the real one
// does: the newest first, results.json renamed into place; of 1000 episodes as many succeed as the
// step counts.
#include "proto/checkpoint.h"
#include "proto/evaluated.h"
#include "proto/files.h"
#include "proto/link.h"
#include "proto/place.h"
#include "proto/run.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS 5
#define EVALUATION_TICKS 20
#define STEPS_MAX 1000000

struct fake {
    struct proto_link *link;
    const char *run, *stage;
    uint32_t number;
    char order[256];
    uint64_t done, steps;
    bool trainer, check;
};

static void fake_path(const struct fake *fake, const char *name, char path[static 512]) {
    snprintf(path, 512, "%s/fake/%s", fake->run, name);
}

static unsigned long read_number(const struct fake *fake, const char *name,
                                 unsigned long otherwise) {
    char path[512];
    unsigned long number = otherwise;
    fake_path(fake, name, path);
    FILE *file = fopen(path, "r");
    if (!file) return otherwise;
    if (fscanf(file, "%lu", &number) != 1) number = otherwise;
    fclose(file);
    return number;
}

static void write_number(const struct fake *fake, const char *name, unsigned long number) {
    char path[512], next[560];
    fake_path(fake, name, path);
    snprintf(next, sizeof next, "%s.next", path);
    FILE *file = fopen(next, "w");
    if (!file) return;
    fprintf(file, "%lu\n", number);
    fclose(file);
    if (rename(next, path) != 0) perror(path);
}

// Takes the first line of this stage's orders.
static void take_order(struct fake *fake) {
    char name[64], path[512], orders[4096] = "";
    snprintf(name, sizeof name, "%s-%u", fake->stage, fake->number);
    fake_path(fake, name, path);
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    const ssize_t count = read(file, orders, sizeof orders - 1);
    if (count > 0) {
        const size_t line = strcspn(orders, "\n");
        snprintf(fake->order, sizeof fake->order, "%.*s", (int)line, orders);
        const char *rest = orders[line] == '\n' ? orders + line + 1 : "";
        if (ftruncate(file, 0) != 0 || pwrite(file, rest, strlen(rest), 0) < 0) perror(path);
    }
    close(file);
}

// The words behind a command of the order: two numbers and a text. False: another command.
static bool ordered(const struct fake *fake, const char *command, int *first, const char **text) {
    const size_t length = strlen(command);
    if (strncmp(fake->order, command, length) != 0) return false;
    char *end = NULL;
    *first = (int)strtol(fake->order + length, &end, 10);
    *text = *end == ' ' ? end + 1 : end;
    return true;
}

// A whole one, as far as a resume looks at it, of a network of one number.
static bool write_checkpoint(const struct fake *fake, struct proto_error *error) {
    static const char *const names[] = {"codec.json", "dataset_statistics.json", "open_loop.json"};
    static const float number = 1;
    char paths[PROTO_COUNT(names)][PROTO_PATH_MAX];
    const struct proto_tensor_out tensor = {"number", PROTO_F32, 1, {1}, &number};
    for (size_t i = 0; i < PROTO_COUNT(names); i++)
        if (!proto_run_path(fake->run, names[i], paths[i], error) ||
            !proto_file_write(paths[i], "{}\n", 3, error))
            return false;
    json_t *config = json_object();
    const struct proto_checkpoint checkpoint = {
        .state = {.step = fake->done, .attempt = 1, .ranks = 2, .threads = 1, .kernels = "fake"},
        .config = config,
        .codec_path = paths[0],
        .statistics_path = paths[1],
        .open_loop_path = paths[2],
        .model = &tensor,
        .ema = &tensor,
        .optimizer = &tensor,
        .language = &tensor,
        .model_count = 1,
        .ema_count = 1,
        .optimizer_count = 1,
        .language_count = 1};
    const bool done = proto_checkpoint_write(fake->run, &checkpoint, error);
    json_decref(config);
    if (done)
        proto_link_event(fake->link, "checkpoint",
                         json_pack("{s:I}", "step", (json_int_t)fake->done));
    return done;
}

static void tell(struct fake *fake) {
    fake->done++;
    if (!fake->trainer) {
        proto_link_progress(fake->link, fake->done, json_pack("{s:I}", "batches", fake->done));
        return;
    }
    struct proto_error error = {0};
    const unsigned long period = read_number(fake, "period", 0);
    if (fake->number == 0) {
        write_number(fake, "step", (unsigned long)fake->done);
        if (period > 0 && (fake->done % period == 0 || fake->done == fake->steps))
            if (!write_checkpoint(fake, &error)) fprintf(stderr, "%s\n", error.text);
    }
    proto_link_progress(fake->link, fake->done,
                        json_pack("{s:I, s:I, s:f}", "step", (json_int_t)fake->done, "max_steps",
                                  (json_int_t)fake->steps, "loss", 0.5));
}

// Dies of the signal also where a sanitizer would catch it.
static void die(int number) {
    signal(number, SIG_DFL);
    raise(number);
}

static int work(struct fake *fake) {
    int number = 0, ticks = -1;
    const char *text = "";
    const bool dies = ordered(fake, "signal", &number, &text);
    const bool stuck = strcmp(fake->order, "stuck") == 0;
    const bool idle = strcmp(fake->order, "idle") == 0;
    const bool hungry = strcmp(fake->order, "hungry") == 0;
    const bool deaf = strcmp(fake->order, "deaf") == 0;
    if (dies) ticks = (int)strtol(text, NULL, 10);
    for (int tick = 0;; tick++) {
        if (dies && tick >= ticks) die(number);
        const enum proto_stop stop = proto_link_stop(fake->link);
        if (stop != PROTO_GO_ON && !deaf && (!hungry || stop == PROTO_STOP_NOW)) {
            if (!fake->trainer) return 0;
            if (stop == PROTO_STOP_CHECKPOINT)
                proto_link_event(fake->link, "checkpoint",
                                 json_pack("{s:I}", "step", (json_int_t)fake->done));
            return stop == PROTO_STOP_CHECKPOINT ? PROTO_RESUMABLE : PROTO_FAILED;
        }
        if (idle)  // says, again and again, that it has nothing to do
            proto_link_progress(fake->link, 0, json_pack("{s:i}", "held", 0));
        else if (!stuck)
            tell(fake);
        if (fake->trainer) fake->steps = read_number(fake, "steps", STEPS_MAX);
        if (fake->trainer && fake->done >= fake->steps) return 0;
        struct pollfd set = {.fd = (deaf || hungry) ? -1 : proto_link_descriptor(fake->link),
                             .events = POLLIN};
        poll(&set, 1, TICK_MS);
    }
}

// The newest checkpoint that is not evaluated; 0: none.
static uint64_t find_work(const struct fake *fake, uint64_t *waiting) {
    struct proto_error error = {0};
    uint64_t *steps = NULL, found = 0;
    size_t count = 0;
    *waiting = 0;
    if (!proto_checkpoint_list(fake->run, &steps, &count, &error)) return 0;
    for (size_t i = 0; i < count; i++) {
        if (proto_evaluated_done(fake->run, steps[i])) continue;
        found = steps[i];
        ++*waiting;
    }
    free(steps);
    return found;
}

static void finish_evaluation(struct fake *fake, uint64_t step) {
    char path[PROTO_PATH_MAX];
    struct proto_error error = {0};
    if (!proto_evaluated_path(fake->run, step, NULL, path, &error) ||
        !proto_folder_make(path, 0755, &error) ||
        !proto_evaluated_path(fake->run, step, "results.json", path, &error) ||
        !proto_file_write(path, "{}\n", 3, &error))
        fprintf(stderr, "%s\n", error.text);
    proto_link_event(fake->link, "evaluation_finished",
                     json_pack("{s:I, s:I, s:i}", "step", (json_int_t)step, "successes",
                               (json_int_t)step, "episodes", 1000));
    proto_link_event(fake->link, "best", json_pack("{s:I}", "step", (json_int_t)step));
}

static int evaluate(struct fake *fake) {
    const bool leaves = strcmp(fake->order, "leave") == 0;
    int number = 0, ticks = -1;
    const char *text = "";
    const bool dies = ordered(fake, "signal", &number, &text);
    if (dies) ticks = (int)strtol(text, NULL, 10);
    uint64_t step = 0, waiting = 0;
    for (int tick = 0, began = 0;; tick++) {
        bool last = false;
        (void)proto_link_checkpoints(fake->link, &last);
        if (proto_link_stop(fake->link) != PROTO_GO_ON) return PROTO_RESUMABLE;
        if (leaves) return PROTO_DONE;
        if (step == 0 && (step = find_work(fake, &waiting)) > 0) {
            began = tick;
            proto_link_event(fake->link, "evaluation_started",
                             json_pack("{s:I}", "step", (json_int_t)step));
        }
        if (step == 0 && last) return PROTO_DONE;
        if (step > 0 && dies && tick >= ticks) die(number);
        if (step > 0 && tick - began >= EVALUATION_TICKS && strcmp(fake->order, "slow") != 0) {
            finish_evaluation(fake, step);
            fake->done++;
            step = 0;
        }
        proto_link_progress(fake->link, fake->done,
                            step > 0
                                ? json_pack("{s:I, s:i, s:i, s:I}", "evaluating", (json_int_t)step,
                                            "episode", tick - began, "episodes", EVALUATION_TICKS,
                                            "waiting", (json_int_t)waiting - 1)
                                : json_pack("{s:n, s:i}", "evaluating", "waiting", 0));
        struct pollfd set = {.fd = proto_link_descriptor(fake->link), .events = POLLIN};
        poll(&set, 1, TICK_MS);
    }
}

static int obey(struct fake *fake) {
    int number = 0;
    const char *text = "";
    if (ordered(fake, "exit", &number, &text)) return number;
    if (ordered(fake, "fail", &number, &text)) {
        struct proto_error error = {0};
        proto_fail(&error, (enum proto_status)number, "%s", text);
        proto_link_failed(fake->link, &error);
        return number;
    }
    if (ordered(fake, "place", &number, &text)) {
        proto_place_note(text, "");
        die(number);
    }
    if (strcmp(fake->order, "silent") == 0) raise(SIGSTOP);
    if (strcmp(fake->order, "child") == 0 && fork() == 0)
        for (;;) pause();
    if (fake->check) return 0;
    if (strcmp(fake->stage, "index") == 0 && strcmp(fake->order, "stuck") != 0) return 0;
    proto_link_ready(fake->link);
    proto_link_say(fake->link, "%s %u is ready", fake->stage, fake->number);
    return strcmp(fake->stage, "evaluator") == 0 ? evaluate(fake) : work(fake);
}

int main(int count, char **words) {
    struct fake fake = {.stage = strstr(words[0], "trainer")     ? "trainer"
                                 : strstr(words[0], "evaluator") ? "evaluator"
                                                                 : "loader"};
    struct proto_error error = {0};
    for (int i = 1; i < count; i++) {
        if (strcmp(words[i], "index") == 0) fake.stage = "index";
        if (strcmp(words[i], "--check") == 0) fake.check = true;
        if (i + 1 == count) break;
        if (strcmp(words[i], "--run") == 0) fake.run = words[i + 1];
        if (strcmp(words[i], "--number") == 0 || strcmp(words[i], "--rank") == 0)
            fake.number = (uint32_t)strtoul(words[i + 1], NULL, 10);
    }
    if (fake.check) fake.stage = "evaluator-check";
    fake.trainer = strcmp(fake.stage, "trainer") == 0;
    if (!fake.run || !proto_link_open(fake.stage, fake.number, &fake.link, &error)) {
        fprintf(stderr, "%s\n", error.text);
        return PROTO_USAGE;
    }
    const char *threads = getenv("OPENBLAS_NUM_THREADS"), *debug = getenv("NCCL_DEBUG");
    printf("started as %s %u: threads %s, NCCL_DEBUG %s, words:", fake.stage, fake.number,
           threads ? threads : "-", debug ? debug : "-");
    for (int i = 1; i < count; i++) printf(" %s", words[i]);
    printf("\n");
    fflush(stdout);
    if (fake.trainer) {
        fake.steps = read_number(&fake, "steps", STEPS_MAX);
        fake.done = read_number(&fake, "step", 0);
    }
    take_order(&fake);
    const int code = obey(&fake);
    proto_link_close(&fake.link);
    return code;
}
