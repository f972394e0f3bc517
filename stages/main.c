// stages/main.c - the program `pipeline`; its verbs are rows of verbs.c.
#include "stages/verb.h"

int main(int count, char **words) { return stage_command_line(count, words); }
