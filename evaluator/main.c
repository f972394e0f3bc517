// evaluator/main.c - the program `pipeline-evaluator`; its verbs are rows of verb.c.
#include "evaluator/verb.h"

int main(int count, char **words) { return evaluator_command_line(count, words); }
