// stages/scale.c - `pipeline scale loader=N` and `pipeline down`: requests to a live run.
#include "proto/words.h"
#include "stages/client.h"
#include "stages/verb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// "loader=4" -> loader, 4. The supervisor checks both.
static bool scale_read(const char *word, char stage[static 32], long *count,
                       struct proto_error *error) {
    const char *equals = strchr(word, '=');
    char *end = NULL;
    errno = 0;
    const long number = equals ? strtol(equals + 1, &end, 10) : 0;
    if (!equals || equals == word || equals - word >= 32 || end == equals + 1 || *end != '\0' ||
        errno != 0)
        return proto_fail(error, PROTO_USAGE, "\"%s\" is no stage=number, as in loader=4", word);
    snprintf(stage, 32, "%.*s", (int)(equals - word), word);
    *count = number;
    return true;
}

int stage_scale(int count, char **words) {
    struct proto_error error = {0};
    const char *given = NULL, *what = NULL;
    char run[PROTO_PATH_MAX], stage[32];
    size_t rest = 0;
    long wanted = 0;
    json_t *answer = NULL;
    const struct proto_word options[] = {{"--run", PROTO_WORD_TEXT, &given}};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), &what, 1, &rest, &error))
        return proto_error_print("pipeline scale", &error);
    if (rest == 0) {
        proto_fail(&error, PROTO_USAGE, "how many? usage: pipeline scale loader=N, or evaluator=N");
        return proto_error_print("pipeline scale", &error);
    }
    if (!scale_read(what, stage, &wanted, &error) || !stage_run_find(given, run, &error) ||
        !stage_client_call(run,
                           json_pack("{s:s, s:s, s:I}", "verb", "scale", "stage", stage, "count",
                                     (json_int_t)wanted),
                           &answer, &error))
        return proto_error_print("pipeline scale", &error);
    printf("%s: %lld -> %lld\n", stage,
           (long long)json_integer_value(json_object_get(answer, "from")),
           (long long)json_integer_value(json_object_get(answer, "to")));
    json_decref(answer);
    return PROTO_DONE;
}

// The supervisor closes the connection when it ends: that is what is waited for.
int stage_down(int count, char **words) {
    struct proto_error error = {0};
    const char *given = NULL;
    char run[PROTO_PATH_MAX], block[256];
    bool now = false;
    size_t rest = 0;
    int line = -1;
    json_t *answer = NULL;
    const struct proto_word options[] = {{"--run", PROTO_WORD_TEXT, &given},
                                         {"--now", PROTO_WORD_FLAG, &now}};
    if (!proto_words_read(count, words, options, PROTO_COUNT(options), NULL, 0, &rest, &error) ||
        !stage_run_find(given, run, &error) || !stage_client_open(run, &line, &error))
        return proto_error_print("pipeline down", &error);
    if (!stage_client_ask(line, json_pack("{s:s, s:b}", "verb", "down", "now", (int)now), &answer,
                          &error)) {
        close(line);
        return proto_error_print("pipeline down", &error);
    }
    printf("stopping %s (pid %lld)%s\n", run,
           (long long)json_integer_value(json_object_get(answer, "pid")),
           now ? "" : ": the trainers write a checkpoint");
    fflush(stdout);
    json_decref(answer);
    for (;;) {
        const ssize_t got = read(line, block, sizeof block);
        if (got == 0 || (got < 0 && errno != EINTR)) break;
    }
    close(line);
    printf("stopped; `pipeline up` with the same file goes on\n");
    return PROTO_DONE;
}
