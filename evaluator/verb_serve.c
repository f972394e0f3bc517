// evaluator/verb_serve.c - `serve`: the evaluator as a stage of a run, or by hand over a run's
// checkpoints.
#include "evaluator/serve.h"
#include "evaluator/verb.h"

#include "proto/run.h"
#include "proto/words.h"

#include <signal.h>
#include <stddef.h>

static bool run(const char *folder, uint32_t number, bool check, struct proto_link *link,
                struct proto_error *error) {
    char path[PROTO_PATH_MAX];
    struct proto_config *config = NULL;
    if (!proto_run_path(folder, "pipeline.toml", path, error) ||
        !proto_config_read(path, NULL, 0, &config, error))
        return false;
    const struct evaluator_serve_settings settings = {
        .run = folder, .number = number, .config = config, .link = link};
    const bool done =
        check ? evaluator_serve_check(folder, config, error) : evaluator_serve(&settings, error);
    proto_config_free(&config);
    return done;
}

// Its error goes to the supervisor, or to stderr by hand.
static int end(struct proto_link **link, bool done, struct proto_error *error) {
    const int number = proto_link_signal(*link);
    if (!done && error->status == PROTO_RESUMABLE && number != 0)
        error->status = number == SIGINT ? PROTO_INTERRUPTED : PROTO_TERMINATED;
    if (!done) proto_link_failed(*link, error);
    proto_link_close(link);
    return done ? PROTO_DONE : (int)error->status;
}

int evaluator_verb_serve(int argc, char **argv) {
    const char *folder = NULL, *number_text = NULL;
    bool check = false;
    struct proto_error error = {0};
    struct proto_link *link = NULL;
    uint64_t number = 0;
    size_t rest_count = 0;
    const struct proto_word options[] = {
        {"--run", PROTO_WORD_TEXT, &folder},
        {"--number", PROTO_WORD_TEXT, &number_text},
        {"--check", PROTO_WORD_FLAG, &check},
    };
    bool done =
        proto_words_read(argc, argv, options, PROTO_COUNT(options), NULL, 0, &rest_count, &error) &&
        (!number_text || proto_words_number("--number", number_text, 65535, &number, &error));
    if (done && !folder)
        done = proto_fail(&error, PROTO_USAGE, "serve needs --run DIR, the folder of a run");
    if (!done || !proto_link_open("evaluator", (uint32_t)number, &link, &error))
        return proto_error_print("pipeline-evaluator", &error);
    return end(&link, run(folder, (uint32_t)number, check, link, &error), &error);
}
