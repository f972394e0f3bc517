// loader/main.c - the program `pipeline-loader`; its verbs are rows of verb.c.
#include "loader/verb.h"

int main(int count, char **words) { return loader_command_line(count, words); }
