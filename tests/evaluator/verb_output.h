// tests/evaluator/verb_output.h - runs a command line of pipeline-evaluator in this process, its
// standard output or error kept.
#ifndef TESTS_EVALUATOR_VERB_OUTPUT_H
#define TESTS_EVALUATOR_VERB_OUTPUT_H

#include "evaluator/verb.h"
#include "tests/check.h"

#include <unistd.h>

#define VERB_WORDS_MAX 32
#define VERB_OUTPUT_BYTES_MAX 65536

// words end in NULL; the program's name is added. stream is stdout or stderr. The caller frees
// *output.
static inline int verb_run(FILE *stream, const char *const *words, char **output) {
    char folder[256], path[300], *all[VERB_WORDS_MAX + 2] = {(char *)(uintptr_t) "evaluator"};
    int count = 1;
    for (; words[count - 1]; count++) {
        CHECK(count < VERB_WORDS_MAX);
        all[count] = (char *)(uintptr_t)words[count - 1];
    }
    check_folder(folder);
    snprintf(path, sizeof path, "%s/out", folder);
    fflush(stream);
    const int kept = dup(fileno(stream));
    FILE *file = fopen(path, "w+");
    CHECK(kept >= 0 && file && dup2(fileno(file), fileno(stream)) >= 0);
    const int code = evaluator_command_line(count, all);
    fflush(stream);
    CHECK(dup2(kept, fileno(stream)) >= 0);
    close(kept);
    *output = calloc(1, VERB_OUTPUT_BYTES_MAX);
    CHECK(*output && fseek(file, 0, SEEK_SET) == 0);
    (void)!fread(*output, 1, VERB_OUTPUT_BYTES_MAX - 1, file);
    (void)fclose(file);
    unlink(path);
    rmdir(folder);
    return code;
}

#endif
