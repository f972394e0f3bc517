// trainer/main.c - the program `pipeline-trainer`: one rank of a training run, and the checker of
// its ledger.
#include "trainer/expect.h"
#include "trainer/ledger.h"
#include "trainer/loop.h"
#include "trainer/verb_devices.h"
#include "trainer/verb_plan.h"

#include "proto/json.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "pipeline-trainer"
#define ATTEMPT_MAX ((1u << 24) - 1)  // ticket ids are attempt << 40 | number

static const char usage[] =
    "usage: pipeline-trainer --run DIR [--rank R] [--attempt A]\n"
    "       pipeline-trainer ledger verify RUN [--json]\n"
    "       pipeline-trainer plan FILE [--set key=value]... [--json]\n"
    "       pipeline-trainer devices [--json]\n"
    "       pipeline-trainer collective [--backend nccl] [--devices cuda:0,cuda:1] [--json]\n"
    "\n"
    "Trains one rank of the run in DIR, which holds pipeline.toml, index.json and codec.json; its\n"
    "devices are trainer.devices, one rank each. `pipeline up` starts all ranks and loaders; by\n"
    "hand, start every rank with the same --attempt and one `pipeline-loader serve` or more.\n"
    "  --run DIR      the run folder\n"
    "  --rank R       which of trainer.devices, from 0 (default 0)\n"
    "  --attempt A    number of this start of the group, grows with every start (default 1)\n"
    "SIGINT and SIGTERM: finish the step, write a checkpoint, leave with 130 or 143.\n"
    "\n"
    "`ledger verify` recomputes from run.seed and index.json what every step had to consume and\n"
    "compares it with metrics.jsonl: exit 0 when each position was consumed exactly once, in\n"
    "order; 1 when not; 3 when a file is damaged.\n";

// A whole number within limits, nothing behind it.
static bool number_parse(const char *option, const char *text, uint32_t max, uint32_t *value,
                         struct proto_error *error) {
    char *end = NULL;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || number > max)
        return proto_fail(error, PROTO_USAGE, "%s is \"%s\", must be a number 0..%u", option, text,
                          max);
    *value = (uint32_t)number;
    return true;
}

static int ledger_print(const char *run, const struct trainer_ledger_report *report, bool json) {
    if (json) {
        json_t *object =
            json_pack("{s:o, s:b, s:I, s:I, s:b}", "run", proto_json_string(run), "exactly_once",
                      report->agrees, "steps", (json_int_t)report->steps, "samples",
                      (json_int_t)report->samples, "ids_compared", report->with_ids);
        if (object && !report->agrees) {
            json_object_set_new(object, "line", json_integer((json_int_t)report->line));
            json_object_set_new(object, "text", proto_json_string(report->text));
        }
        if (object) json_dumpf(object, stdout, JSON_INDENT(2));
        putchar('\n');
        json_decref(object);
    } else if (report->agrees) {
        printf("%" PRIu64 " steps, %" PRIu64 " samples, each position consumed exactly once, in "
               "order%s\n",
               report->steps, report->samples, report->with_ids ? "; sample ids compared" : "");
        if (report->first_step > 1)
            printf("counted from behind step %" PRIu64 ", where another run's checkpoint was "
                   "resumed\n",
                   report->first_step);
    } else {
        printf("%s/metrics.jsonl: line %" PRIu64 ": %s\n", run, report->line, report->text);
    }
    return report->agrees ? PROTO_DONE : PROTO_FAILED;
}

// ledger verify RUN [--json], in any order.
static int ledger_main(int count, char **words) {
    struct proto_error error = {0};
    struct trainer_ledger_report report;
    const char *run = NULL;
    bool json = false;
    const bool verify = count > 0 && strcmp(words[0], "verify") == 0;
    for (int i = 1; verify && i < count; i++) {
        if (strcmp(words[i], "--json") == 0)
            json = true;
        else if (words[i][0] != '-' && !run)
            run = words[i];
        else
            run = "";
    }
    if (!run || !*run) {
        proto_fail(&error, PROTO_USAGE, "expected: ledger verify RUN [--json]");
        return proto_error_print(PROGRAM, &error);
    }
    if (!trainer_ledger_verify(run, &report, &error)) return proto_error_print(PROGRAM, &error);
    return ledger_print(run, &report, json);
}

// How an error leaves: told to the supervisor first, then to the other ranks, so that the cause is
// known before they say that they were aborted.
static int train_failed(struct trainer_session *session, struct proto_link *link, bool opened,
                        const struct proto_error *error) {
    const enum proto_stop stop = proto_link_stop(link);
    const bool told = stop == PROTO_STOP_NOW || (!opened && stop != PROTO_GO_ON);
    if (!told) proto_link_failed(link, error);
    if (session->collective) trainer_collective_fail(session->collective, error);
    return told ? PROTO_RESUMABLE : (int)error->status;
}

// The exit code of a stop: by hand, the signal's.
static int train_stopped(const struct proto_link *link) {
    const int number = proto_link_supervised(link) ? 0 : proto_link_signal(link);
    return number != 0 ? 128 + number : PROTO_RESUMABLE;
}

static int train(const char *run, uint32_t rank, uint32_t attempt) {
    struct proto_error error = {0};
    struct proto_link *link = NULL;
    static struct trainer_session session;
    bool stopped = false;
    if (!proto_link_open("trainer", rank, &link, &error)) return proto_error_print(PROGRAM, &error);
    proto_link_signal_means(link, PROTO_STOP_CHECKPOINT);
    int code = PROTO_DONE;
    const bool opened = trainer_session_open(run, rank, attempt, link, &session, &error);
    if (opened) proto_link_ready(link);
    if (!opened || !trainer_loop(&session, &stopped, &error)) {
        trainer_expect_advise(&session, &error);
        code = train_failed(&session, link, opened, &error);
    } else if (stopped) {
        code = train_stopped(link);
    }
    trainer_session_close(&session);
    proto_link_close(&link);
    return code;
}

static const struct {
    const char *name;
    int (*run)(int count, char **words);
} verbs[] = {{"plan", trainer_verb_plan},
             {"devices", trainer_verb_devices},
             {"collective", trainer_verb_collective}};

int main(int count, char **words) {
    static const struct option options[] = {{"run", required_argument, NULL, 'r'},
                                            {"rank", required_argument, NULL, 'k'},
                                            {"attempt", required_argument, NULL, 'a'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct proto_error error = {0};
    const char *run = NULL;
    uint32_t rank = 0, attempt = 1;
    if (count > 1 && strcmp(words[1], "ledger") == 0) return ledger_main(count - 2, words + 2);
    for (size_t i = 0; count > 1 && i < PROTO_COUNT(verbs); i++)
        if (strcmp(words[1], verbs[i].name) == 0) return verbs[i].run(count - 1, words + 1);
    opterr = 0;
    for (int option; (option = getopt_long(count, words, "h", options, NULL)) != -1;) {
        if (option == 'h') return fputs(usage, stdout) < 0 ? PROTO_FAILED : PROTO_DONE;
        if (option == 'r') {
            run = optarg;
        } else if (option == 'k' || option == 'a') {
            if (!number_parse(option == 'k' ? "--rank" : "--attempt", optarg,
                              option == 'k' ? TRAINER_RANKS_MAX - 1 : ATTEMPT_MAX,
                              option == 'k' ? &rank : &attempt, &error))
                return proto_error_print(PROGRAM, &error);
        } else {
            proto_fail(&error, PROTO_USAGE, "%s is not known; see --help", words[optind - 1]);
            return proto_error_print(PROGRAM, &error);
        }
    }
    if (!run || optind < count) {
        proto_fail(&error, PROTO_USAGE, "expected: --run DIR [--rank R] [--attempt A]; see --help");
        return proto_error_print(PROGRAM, &error);
    }
    return train(run, rank, attempt);
}
