// stages/up_command.c - the command line of `pipeline up`.
#include "proto/words.h"
#include "stages/detach.h"
#include "stages/up.h"
#include "stages/verb.h"

#include <stdlib.h>
#include <unistd.h>

static int up_finish(const struct stage_up_settings *settings) {
    struct proto_error error = {0};
    int code = PROTO_FAILED;
    if (!stage_up_run(settings, &code, &error)) proto_error_print("pipeline up", &error);
    return code;
}

int stage_up(int count, char **words) {
    struct proto_error error = {0};
    bool detach = false;
    const char *file = NULL;
    size_t rest = 0;
    struct proto_texts sets = {.items = proto_alloc_array((size_t)count, sizeof(char *), &error)};
    const struct proto_word options[] = {{"--set", PROTO_WORD_TEXTS, &sets},
                                         {"--detach", PROTO_WORD_FLAG, &detach}};
    int code = PROTO_FAILED;
    if (!sets.items ||
        !proto_words_read(count, words, options, PROTO_COUNT(options), &file, 1, &rest, &error)) {
        code = proto_error_print("pipeline up", &error);
    } else if (rest == 0) {
        proto_fail(&error, PROTO_USAGE, "which configuration? usage: pipeline up %s",
                   stage_verb_find("up")->usage);
        code = proto_error_print("pipeline up", &error);
    } else {
        const struct stage_up_settings settings = {
            .file = file, .sets = sets.items, .set_count = sets.count, .output = STDOUT_FILENO};
        code = detach ? stage_detach(&settings, up_finish) : up_finish(&settings);
    }
    free(sets.items);
    return code;
}
