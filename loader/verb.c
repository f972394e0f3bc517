// loader/verb.c - words to a verb and its arguments.
#include "loader/verb.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option { RUN = 1, NUMBER = 2, EPISODE = 4, STEP = 8, CONNECT = 16, SET = 32, JSON = 64 };

static const struct verb {
    const char *name;
    bool (*run)(const struct loader_arguments *arguments, struct proto_error *error);
    unsigned options, needs;  // sets of enum option
    const char *file;         // name of its plain word; NULL: it takes none
    const char *usage, *about;
} verbs[] = {
    {"index", loader_verb_index, RUN, RUN, NULL, "--run DIR",
     "read the data once: index.json, codec.json, dataset_statistics.json, "
     "open_loop.json"},
    {"serve", loader_verb_serve, RUN | NUMBER | CONNECT, RUN, NULL,
     "--run DIR [--number N] [--connect ENDPOINT]...",
     "build batches for the trainers of a run until told to stop"},
    {"check", loader_verb_check, SET | JSON, 0, "FILE", "FILE [--set key=value]... [--json]",
     "may this configuration be trained with this data? What is found, channel by channel"},
    {"stats", loader_verb_stats, SET | JSON, 0, "DATA", "DATA [--set key=value]... [--json]",
     "statistics of every channel of a file or folder"},
    {"sample", loader_verb_sample, EPISODE | STEP | SET | JSON, EPISODE | STEP, "DATA",
     "DATA --episode demo_3 --step 17 [--set key=value]... [--json]",
     "one sample as the network would get it"},
    {"version", loader_verb_version, JSON, 0, NULL, "[--json]",
     "versions of this program and of libhdf5"},
};

static const struct {
    const char *word;
    enum option option;
    size_t offset;  // in struct loader_arguments
} words_known[] = {
    {"--run", RUN, offsetof(struct loader_arguments, run)},
    {"--number", NUMBER, offsetof(struct loader_arguments, number)},
    {"--episode", EPISODE, offsetof(struct loader_arguments, episode)},
    {"--step", STEP, offsetof(struct loader_arguments, step)},
    {"--connect", CONNECT, 0},
    {"--set", SET, 0},
    {"--json", JSON, 0},
};

static bool repeat(const char *list[static LOADER_WORDS_MAX], uint32_t *count, const char *word,
                   const char *value, struct proto_error *error) {
    if (*count == LOADER_WORDS_MAX)
        return proto_fail(error, PROTO_USAGE, "%s may be given %d times", word, LOADER_WORDS_MAX);
    list[(*count)++] = value;
    return true;
}

// One option at words[*i], which may take the word after it.
static bool option_take(const struct verb *verb, int count, char **words, int *i,
                        struct loader_arguments *arguments, struct proto_error *error) {
    const char *word = words[*i];
    for (size_t k = 0; k < PROTO_COUNT(words_known); k++) {
        const enum option option = words_known[k].option;
        if (strcmp(words_known[k].word, word) != 0 || !(verb->options & option)) continue;
        if (option == JSON) {
            arguments->json = true;
            return true;
        }
        if (++*i == count) return proto_fail(error, PROTO_USAGE, "%s needs a value", word);
        const char *value = words[*i];
        if (option == CONNECT)
            return repeat(arguments->connect, &arguments->connect_count, word, value, error);
        if (option == SET)
            return repeat(arguments->sets, &arguments->set_count, word, value, error);
        *(const char **)((char *)arguments + words_known[k].offset) = value;
        return true;
    }
    return proto_fail(error, PROTO_USAGE, "%s knows no option %.60s; it takes %s", verb->name, word,
                      verb->usage);
}

static bool arguments_take(const struct verb *verb, int count, char **words,
                           struct loader_arguments *arguments, struct proto_error *error) {
    *arguments = (struct loader_arguments){0};
    for (int i = 0; i < count; i++) {
        if (words[i][0] == '-' && words[i][1] != '\0') {
            if (!option_take(verb, count, words, &i, arguments, error)) return false;
        } else if (verb->file && !arguments->file) {
            arguments->file = words[i];
        } else {
            return proto_fail(error, PROTO_USAGE, "%.60s is one word too many; %s takes %s",
                              words[i], verb->name, verb->usage);
        }
    }
    if (verb->file && !arguments->file)
        return proto_fail(error, PROTO_USAGE, "%s needs %s: %s", verb->name, verb->file,
                          verb->usage);
    for (size_t k = 0; k < PROTO_COUNT(words_known); k++)
        if ((verb->needs & words_known[k].option) &&
            !*(const char **)((char *)arguments + words_known[k].offset))
            return proto_fail(error, PROTO_USAGE, "%s needs %s: %s", verb->name,
                              words_known[k].word, verb->usage);
    return true;
}

static int help(void) {
    printf("pipeline-loader: demonstrations in, batches out\n\n");
    for (size_t i = 0; i < PROTO_COUNT(verbs); i++)
        printf("  pipeline-loader %s %s\n      %s\n", verbs[i].name, verbs[i].usage,
               verbs[i].about);
    printf("\ncheck, stats and sample are also verbs of `pipeline`.\n");
    return fflush(stdout) == 0 ? PROTO_DONE : PROTO_FAILED;
}

int loader_command_line(int count, char **words) {
    struct proto_error error = {0};
    struct loader_arguments arguments;
    const char *name = count > 1 ? words[1] : "--help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return help();
    if (strcmp(name, "--version") == 0) name = "version";
    for (size_t i = 0; i < PROTO_COUNT(verbs); i++) {
        if (strcmp(verbs[i].name, name) != 0) continue;
        for (int k = 2; k < count; k++)
            if (strcmp(words[k], "--help") == 0) return help();
        if (arguments_take(&verbs[i], count - 2, words + 2, &arguments, &error) &&
            verbs[i].run(&arguments, &error))
            return PROTO_DONE;
        // a stage has told its supervisor already, which prints
        return error.text[0] != '\0' ? proto_error_print("pipeline-loader", &error)
                                     : (int)error.status;
    }
    proto_fail(&error, PROTO_USAGE, "there is no verb %.60s; see pipeline-loader --help", name);
    return proto_error_print("pipeline-loader", &error);
}
