// stages/verb.h - the verbs of the command line `pipeline`: those that concern a run live here, all
// others are run by the stage program that owns the matter, as git does.
#ifndef STAGES_VERB_H
#define STAGES_VERB_H

#include "proto/error.h"

struct stage_verb {
    const char *name;
    // words[0] is the verb itself. Returns the exit code and prints its own errors. NULL: the
    // program beside this one runs it.
    int (*run)(int count, char **words);
    const char *program;  // that owns the verb, NULL for our own
    const char *usage;    // arguments, one line
    const char *about;    // one line for `pipeline help`
    const char *help;     // the rest of `pipeline help VERB`; at most one screen
};

// The table, ending in a row without a name.
const struct stage_verb *stage_verbs(void);
const struct stage_verb *stage_verb_find(const char *name);
// The known verb nearest to a misspelt one, or NULL when none is near.
const struct stage_verb *stage_verb_nearest(const char *name);
// Prints the screen of one verb on stdout.
void stage_verb_help(const struct stage_verb *verb);

// Runs the whole command line: words[0] is the program.
int stage_command_line(int count, char **words);

int stage_up(int count, char **words);
int stage_status(int count, char **words);
int stage_scale(int count, char **words);
int stage_logs(int count, char **words);
int stage_down(int count, char **words);
int stage_plot(int count, char **words);     // stages/plot.c
int stage_doctor(int count, char **words);   // stages/doctor.c
int stage_version(int count, char **words);  // stages/version.c

#endif
