// stages/verbs.c - the table of verbs, the help made from it, and the dispatch: our own functions,
// or the stage program beside this one.
#include "stages/verb.h"

#include "proto/config_docs.h"
#include "proto/nearest.h"
#include "proto/programs.h"
#include "proto/run.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char up_help[] =
    "Starts all stages of the run that FILE describes and stays until it ends; a folder that\n"
    "already holds a run is resumed from its newest checkpoint (run.resume).\n"
    "\n"
    "  --set section.key=value   override a key of FILE; the value is TOML, or else a string\n"
    "  --detach                  go to the background once all trainers are ready\n"
    "\n"
    "Checked before anything runs: configuration (exit 2), devices and libraries (4), data (3).\n"
    "Ctrl-C finishes the step, writes a checkpoint and ends with 130; SIGTERM with 143; `pipeline\n"
    "down` with 75. Ctrl-C twice leaves at once, without a checkpoint.\n"
    "A loader that dies is started again and costs nothing; when a trainer dies all trainers "
    "start\n"
    "again from the newest checkpoint. What happened is in events.jsonl of the run folder, what "
    "was\n"
    "said in training.log, the output of each stage in logs/.\n";
static const char status_help[] =
    "Shows the processes of a live run: state, restarts, memory, cores in use, their counters.\n"
    "\n"
    "  --json      one JSON object: run, phase, attempt, processes, devices\n"
    "  --watch     again every second, until Ctrl-C\n"
    "  --run DIR   the run folder; default: the newest run of this user\n"
    "\n"
    "Exit code 1: nothing runs there; what the files tell is shown all the same.\n";
static const char scale_help[] =
    "Changes the number of loader processes of a live run, for this run only; loader.workers is\n"
    "the number it starts with. New ones start at once, surplus ones finish what they have begun.\n"
    "No step waits for it, and no sample is lost or seen twice.\n"
    "\n"
    "  --run DIR   the run folder; default: the newest run of this user\n";
static const char logs_help[] =
    "Prints what the stages wrote, each line behind its stage: loader, trainer-1,\n"
    "evaluator, index.\n"
    "\n"
    "  -f          go on with new lines until the run ends; starts near the end\n"
    "  --run DIR   the run folder; default: the newest run of this user\n";
static const char down_help[] =
    "Stops a live run and waits for its end: trainers finish their step and write a checkpoint,\n"
    "loaders finish what they have begun. `pipeline up` with the same file goes on from there.\n"
    "\n"
    "  --now       leave at once, without a checkpoint\n"
    "  --run DIR   the run folder; default: the newest run of this user\n";
static const char plot_help[] =
    "Draws a run as SVG: how often the robot succeeded and how large the error was, over steps.\n"
    "Reads metrics.jsonl, events.jsonl and eval/metrics.jsonl of the run folder, live runs too.\n"
    "\n"
    "  -o FILE          where to; default: stdout\n"
    "  --results FILE   a results.json whose rows are shown beside the curves\n"
    "\n"
    "RUN is the run folder; default: the newest run of this user.\n";
static const char doctor_help[] =
    "Says what this machine offers a run and what is missing for it: devices, libraries, data,\n"
    "disk, limits.\n"
    "\n"
    "`pipeline doctor nccl` looks at what two GPUs need to add their gradients: driver, peer "
    "access,\n"
    "shared memory, NCCL_* variables; with two GPUs it lets two processes do it. Exit code 1: it\n"
    "found something to complain of.\n";
static const char version_help[] = "Versions of everything that matters to a result.\n";

static const struct stage_verb verbs[] = {
    {"up", stage_up, NULL, "FILE [--set key=value]... [--detach]", "start or resume a run",
     up_help},
    {"status", stage_status, NULL, "[--json] [--watch] [--run DIR]", "what runs, and how it does",
     status_help},
    {"scale", stage_scale, NULL, "loader=N | evaluator=N [--run DIR]",
     "more or fewer loaders or evaluators, live", scale_help},
    {"logs", stage_logs, NULL, "[STAGE] [-f] [--run DIR]", "what the stages wrote", logs_help},
    {"down", stage_down, NULL, "[--now] [--run DIR]", "stop a run with a checkpoint", down_help},
    {"plot", stage_plot, NULL, "[RUN] [-o FILE.svg] [--results FILE]", "a picture of a run",
     plot_help},
    {"check", NULL, "pipeline-loader", "FILE [--set key=value]... [--json]",
     "prove configuration, data and codec before training", NULL},
    {"plan", NULL, "pipeline-trainer", "FILE [--set key=value]... [--json]",
     "memory, disk and hours of a run before it runs", NULL},
    {"stats", NULL, "pipeline-loader", "DATA [--json]", "statistics of demonstrations", NULL},
    {"sample", NULL, "pipeline-loader", "DATA --episode NAME --step N [--json]",
     "one sample as the network sees it", NULL},
    {"ledger", NULL, "pipeline-trainer", "verify RUN", "prove that each sample was used once",
     NULL},
    {"eval", NULL, "pipeline-evaluator", "--checkpoint DIR [--tasks NAMES] ... | diff A B",
     "how often the robot succeeds", NULL},
    {"replay", NULL, "pipeline-evaluator", "DATA [--libero ROOT]",
     "demonstrations played back in the simulator", NULL},
    {"demos", NULL, "pipeline-evaluator", "--task NAME -o FILE [--episodes N] [--libero ROOT]",
     "demonstrations by a scripted expert", NULL},
    {"env", NULL, "pipeline-evaluator", "list | render TASK -o FILE [--libero ROOT]",
     "LIBERO's tasks, and a picture of one", NULL},
    {"doctor", stage_doctor, NULL, "[nccl] [--json] [--libero ROOT]", "what this machine offers",
     doctor_help},
    {"version", stage_version, NULL, "[--json]", "versions of program and libraries", version_help},
    {NULL, NULL, NULL, NULL, NULL, NULL},
};

const struct stage_verb *stage_verbs(void) { return verbs; }

const struct stage_verb *stage_verb_find(const char *name) {
    for (const struct stage_verb *verb = verbs; verb->name; verb++)
        if (strcmp(verb->name, name) == 0) return verb;
    return NULL;
}

const struct stage_verb *stage_verb_nearest(const char *name) {
    struct proto_nearest nearest = {.wrong = name};
    for (const struct stage_verb *verb = verbs; verb->name; verb++)
        proto_nearest_offer(&nearest, verb->name);
    return nearest.best ? stage_verb_find(nearest.best) : NULL;
}

void stage_verb_help(const struct stage_verb *verb) {
    printf("usage: pipeline %s %s\n\n", verb->name, verb->usage);
    if (verb->help) fputs(verb->help, stdout);
}

static void help_all(FILE *to) {
    fputs("pipeline: trains robotics diffusion transformers with cooperating processes\n\n", to);
    for (const struct stage_verb *verb = verbs; verb->name; verb++)
        fprintf(to, "  %-8s %s\n", verb->name, verb->about);
    fputs(
        "\n`pipeline help VERB` or `pipeline VERB --help` tells more; `pipeline help options`, or\n"
        "`pipeline help options trainer`, lists the keys of a configuration.\n\nexit codes:\n",
        to);
    static const int codes[] = {PROTO_DONE,        PROTO_FAILED,    PROTO_USAGE,   PROTO_DAMAGED,
                                PROTO_MISSING,     PROTO_EXHAUSTED, PROTO_REFUSED, PROTO_RESUMABLE,
                                PROTO_INTERRUPTED, PROTO_TERMINATED};
    for (size_t i = 0; i < PROTO_COUNT(codes); i++)
        fprintf(to, "  %3d  %s\n", codes[i], proto_status_meaning(codes[i]));
}

// Becomes the stage program that owns the verb; returns only when that is not to be had.
static int become(const struct stage_verb *verb, char **words, const char *only) {
    struct proto_error error = {0};
    char path[PROTO_PATH_MAX];
    char *help[] = {(char *)(uintptr_t)verb->program, (char *)(uintptr_t)verb->name,
                    (char *)(uintptr_t)only, NULL};
    if (!proto_programs_path(verb->program, path, &error))
        return proto_error_print("pipeline", &error);
    words[0] = help[0];
    execv(path, only ? help : words);
    proto_fail_errno(&error, PROTO_MISSING, "%s cannot be executed", path);
    return proto_error_print("pipeline", &error);
}

// The options of a configuration, from their table; section NULL: all.
static int help_options(const char *section) {
    if (proto_config_help(stdout, section)) return PROTO_DONE;
    struct proto_error error = {0};
    proto_fail(&error, PROTO_USAGE, "there is no section [%s]; `pipeline help options` has all",
               section);
    return proto_error_print("pipeline", &error);
}

static int help(int count, char **words) {
    if (count < 2) {
        help_all(stdout);
        return PROTO_DONE;
    }
    if (strcmp(words[1], "options") == 0) return help_options(count > 2 ? words[2] : NULL);
    const struct stage_verb *verb = stage_verb_find(words[1]);
    if (verb && verb->program) return become(verb, words, "--help");
    if (verb) {
        stage_verb_help(verb);
        return PROTO_DONE;
    }
    struct proto_error error = {0};
    proto_fail(&error, PROTO_USAGE, "there is no verb %s; `pipeline help` lists them", words[1]);
    return proto_error_print("pipeline", &error);
}

int stage_command_line(int count, char **words) {
    if (count < 2) {
        help_all(stderr);
        return PROTO_USAGE;
    }
    const char *name = words[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(count - 1, words + 1);
    if (strcmp(name, "--version") == 0) name = "version";
    const struct stage_verb *verb = stage_verb_find(name);
    if (!verb) {
        struct proto_error error = {0};
        const struct stage_verb *nearest = stage_verb_nearest(name);
        proto_fail(&error, PROTO_USAGE, "there is no verb %s%s%s; `pipeline help` lists them", name,
                   nearest ? "; nearest known: " : "", nearest ? nearest->name : "");
        return proto_error_print("pipeline", &error);
    }
    if (verb->program) return become(verb, words, NULL);
    for (int i = 2; i < count; i++) {
        if (strcmp(words[i], "--") == 0) break;
        if (strcmp(words[i], "--help") != 0 && strcmp(words[i], "-h") != 0) continue;
        stage_verb_help(verb);
        return PROTO_DONE;
    }
    return verb->run(count - 1, words + 1);
}
