// stages/main.c - the program `pipeline`; its verbs are rows of verbs.c.
#include "stages/verb.h"

#include <signal.h>

int main(int count, char **words) {
    // a file over the limit of its size is an error of that write, as a full disk is
    signal(SIGXFSZ, SIG_IGN);
    return stage_command_line(count, words);
}
