// evaluator/verb.h - the command line of `pipeline-evaluator`: a table of verbs. `pipeline VERB`
// runs them too.
#ifndef EVALUATOR_VERB_H
#define EVALUATOR_VERB_H

struct evaluator_verb {
    const char *name;
    int (*run)(int argc, char **argv);  // argv[0] is the verb; returns the exit code
    const char *usage, *about, *help;   // help: at most one screen
};
const struct evaluator_verb *evaluator_verbs(void);  // ends in a row without a name

// Runs the whole command line: words[0] is the program. Returns the exit code, errors are printed.
int evaluator_command_line(int count, char **words);

int evaluator_verb_doctor(int argc, char **argv);
int evaluator_verb_env(int argc, char **argv);
int evaluator_verb_eval(int argc, char **argv);
int evaluator_verb_demos(int argc, char **argv);
int evaluator_verb_replay(int argc, char **argv);
int evaluator_verb_serve(int argc, char **argv);
int evaluator_verb_version(int argc, char **argv);

#endif
