// evaluator/verb.c - words to a verb, and the help made from the table.
#include "evaluator/verb.h"

#include "proto/error.h"
#include "proto/nearest.h"

#include <stdio.h>
#include <string.h>

static const char env_help[] =
    "  env list [--suite NAME]    LIBERO's tasks in the order of the official benchmark\n"
    "  env render TASK -o FILE    a picture of a task; TASK is a name, or a path to a .bddl\n"
    "\n"
    "  -o, --out FILE   the PNG to write, the right way up\n"
    "  --suite NAME     where TASK is in several suites, or to list one\n"
    "  --row N          start state of the task's init file (default 0); a .bddl has none\n"
    "  --seed S         of the reset, which places the fixtures (default 0)\n"
    "  --steps N        control steps of an open, motionless gripper before it (default 10)\n"
    "  --camera NAME    agentview (default), eye_in_hand or another of the scene\n"
    "  --size WxH       pixels (default 512x512)\n"
    "  --render HOW     auto (a GPU, else software), gpu or cpu\n"
    "  --libero ROOT    where LIBERO's files are; default: the rule that `pipeline doctor` "
    "prints\n";

static const char replay_help[] =
    "DATA is an HDF5 file of demonstrations or a folder of such. Each demonstration is played "
    "back\n"
    "open loop, with its recorded actions and with what the codec makes of them, encoded and\n"
    "decoded with the statistics of the same data. Exit code 1 when one of them does not solve "
    "its\n"
    "task.\n"
    "\n"
    "  --libero ROOT    where LIBERO's files are; default: the rule that `pipeline doctor` "
    "prints\n";
static const char demos_help[] =
    "A scripted expert solves the task from its start states; what succeeds is kept, in LIBERO's\n"
    "own HDF5 layout. An interrupted run keeps what it has. The suite demo needs no LIBERO.\n"
    "\n"
    "  --task NAME      one of --list\n"
    "  --episodes N     how many to keep (default 20)\n"
    "  -o, --out FILE   the HDF5 file to write; must not exist\n"
    "  --rows A:B       start states A..B-1, in turn (default 30 on, of demo 100 on)\n"
    "  --seed S         of the first reset; the next ones count up (default 0)\n"
    "  --noise SD       on the motion commands (default 0, of demo 0.2); what the expert wanted "
    "is\n"
    "                   kept as actions_clean\n"
    "  --size PX        side of the images (default 128, of demo 64)\n"
    "  --render HOW     auto (a GPU, else software), gpu or cpu\n"
    "  --list           names of the tasks that have an expert\n"
    "  --libero ROOT    where LIBERO's files are\n";

static const char eval_help[] =
    "  eval --checkpoint DIR    roll out a checkpoint, or a .safetensors of one\n"
    "  eval diff A B            two results.json, paired on the same starts (exact McNemar test)\n"
    "  eval merge -o FILE A...  parts of one evaluation, without doubles\n"
    "\n"
    "  --benchmark NAME         suite (default libero_90)\n"
    "  --tasks NAME[,NAME]      names, trained (default) or first:N; --num_tasks N is first:N\n"
    "  --rows A:B               start states A .. B-1; default 10:30 (0:10 choose the best)\n"
    "  --episodes_per_task N    start states 10 .. 10+N-1 (default 20)\n"
    "  --max_steps N, --exec_horizon N, --settle_steps N   defaults 200, 16 or the chunk, 10\n"
    "  --controls               open loop and blind beside the policy, from the same starts\n"
    "  --at_least N, --controls_at_most N   exit code 1 where a task has less, or a control more\n"
    "  --environments N         simulators side by side (default 8); outcomes do not depend on it\n"
    "  --seed S                 of reset and noise (default 0); --raw: not the averaged weights\n"
    "  -o, --output_dir DIR     results.json and episodes.jsonl: the same command goes on where "
    "it\n"
    "                           was stopped (or --restart), several at once share the episodes\n"
    "  --record_video           --videos N of each task (default 1), in --video_output_dir DIR\n"
    "  --device D, --threads N, --render auto|gpu|cpu, --libero ROOT, --json\n"
    "  --pretrained is --checkpoint; --text_encoder and --vision_encoder are compared with what "
    "the\n"
    "  checkpoint was trained with; --config is noted.\n";

static const char serve_help[] =
    "Evaluates the checkpoints of a run, the newest first, in the end every one that\n"
    "evaluator.every wants: `pipeline up` starts it as a stage; by hand it evaluates what is "
    "there\n"
    "and ends. Start states 0 to 9 choose RUN/best, those from 10 on are reported. What is "
    "finished\n"
    "is kept: the same command goes on, and several at once share the episodes.\n"
    "\n"
    "  --run DIR    the run folder; the configuration is its pipeline.toml\n"
    "  --number N   of this evaluator (default 0)\n"
    "  --check      only look whether there is all that evaluating needs\n"
    "\n"
    "Results are in DIR/eval/checkpoint-<step>, a line for each in DIR/eval/metrics.jsonl.\n"
    "Exit code 1: some could not be evaluated.\n";

static const struct evaluator_verb verbs[] = {
    {"eval", evaluator_verb_eval,
     "--checkpoint DIR [--tasks NAMES] [--controls] [--record_video] ... | diff A B |\n"
     "           merge -o FILE A...",
     "how often the robot succeeds", eval_help},
    {"env", evaluator_verb_env,
     "list [--suite NAME] | render TASK -o FILE [--row N] [--seed S] [--steps N]\n"
     "           [--camera NAME] [--size WxH] [--render auto|gpu|cpu] [--libero ROOT]",
     "LIBERO's tasks, and a picture of one", env_help},
    {"replay", evaluator_verb_replay, "DATA [--libero ROOT]",
     "demonstrations played back, raw and through the codec", replay_help},
    {"demos", evaluator_verb_demos,
     "--task NAME -o FILE [--episodes N] [--rows A:B] [--seed S] [--noise SD]\n"
     "           [--size PX] [--render auto|gpu|cpu] [--libero ROOT] | --list",
     "demonstrations of a task, made by a scripted expert", demos_help},
    {"serve", evaluator_verb_serve, "--run DIR [--number N] [--check]",
     "the checkpoints of a run, as training writes them", serve_help},
    {"doctor", evaluator_verb_doctor, "[--json] [--libero ROOT]",
     "what this machine offers the simulator, and what is missing", ""},
    {"version", evaluator_verb_version, "[--json]", "versions of this program and its libraries",
     ""},
    {NULL, NULL, NULL, NULL, NULL},
};

const struct evaluator_verb *evaluator_verbs(void) { return verbs; }

static int help_print(void) {
    printf("pipeline-evaluator: LIBERO's tasks without Python\n\n");
    for (const struct evaluator_verb *verb = verbs; verb->name; verb++)
        printf("  %-8s %s\n", verb->name, verb->about);
    printf("\n`pipeline-evaluator VERB --help` tells more; all but serve are verbs of\n`pipeline` "
           "too.\n");
    return fflush(stdout) == 0 ? PROTO_DONE : PROTO_FAILED;
}

static int help_verb(const struct evaluator_verb *verb) {
    // the stage is no verb of `pipeline`
    const char *program = verb->run == evaluator_verb_serve ? "pipeline-evaluator" : "pipeline";
    printf("usage: %s %s %s\n\n%s.\n%s%s", program, verb->name, verb->usage, verb->about,
           verb->help[0] != '\0' ? "\n" : "", verb->help);
    return fflush(stdout) == 0 ? PROTO_DONE : PROTO_FAILED;
}

static int unknown(const char *name) {
    struct proto_error error = {0};
    struct proto_nearest nearest = {.wrong = name};
    for (const struct evaluator_verb *verb = verbs; verb->name; verb++)
        proto_nearest_offer(&nearest, verb->name);
    proto_fail(&error, PROTO_USAGE, "there is no verb %.60s%s%s; see pipeline-evaluator --help",
               name, nearest.best ? "; nearest known: " : "", nearest.best ? nearest.best : "");
    return proto_error_print("pipeline-evaluator", &error);
}

int evaluator_command_line(int count, char **words) {
    const char *name = count > 1 ? words[1] : "--help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help_print();
    if (strcmp(name, "--version") == 0) name = "version";
    for (const struct evaluator_verb *verb = verbs; verb->name; verb++) {
        if (strcmp(verb->name, name) != 0) continue;
        for (int i = 2; i < count && strcmp(words[i], "--") != 0; i++)
            if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0)
                return help_verb(verb);
        return verb->run(count - 1, words + 1);
    }
    return unknown(name);
}
