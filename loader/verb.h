// loader/verb.h - the command line of `pipeline-loader`: a table of verbs, a table of options.
#ifndef LOADER_VERB_H
#define LOADER_VERB_H

#include "proto/error.h"

#include <stdint.h>

#define LOADER_WORDS_MAX 64  // of one option that may be repeated

// What the words of a command line said. Texts are borrowed from it.
struct loader_arguments {
    const char *file;  // the word that is no option
    const char *run, *number, *episode, *step;
    const char *connect[LOADER_WORDS_MAX], *sets[LOADER_WORDS_MAX];
    uint32_t connect_count, set_count;
    bool json;
};

// Runs the whole command line: words[0] is the program. Returns the exit code, errors are printed.
int loader_command_line(int count, char **words);

// The verbs. Each fills the error and returns false, or has printed its result.
bool loader_verb_index(const struct loader_arguments *arguments, struct proto_error *error);
bool loader_verb_serve(const struct loader_arguments *arguments, struct proto_error *error);
bool loader_verb_check(const struct loader_arguments *arguments, struct proto_error *error);
bool loader_verb_stats(const struct loader_arguments *arguments, struct proto_error *error);
bool loader_verb_sample(const struct loader_arguments *arguments, struct proto_error *error);
bool loader_verb_version(const struct loader_arguments *arguments, struct proto_error *error);

#endif
